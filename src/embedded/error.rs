//! Why a server of our own could not be had, told to a person who has never run one.

use std::io;
use std::path::{Path, PathBuf};

/// Why the embedded server could not be started, stopped or removed. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// PostgreSQL is not installed where we look, and could not be fetched.
    #[error("{}", no_programs(.searched, .refused, .fetch.as_deref()))]
    NoPrograms {
        /// The folders that were looked into.
        searched: Vec<PathBuf>,
        /// What was found and could not be used, with the reason.
        refused: Vec<String>,
        /// Why fetching failed; `None` if it was not tried.
        fetch: Option<String>,
    },
    /// `WA_OUTBOX_PG_BIN` is set, and does not name a usable installation.
    #[error("WA_OUTBOX_PG_BIN names {}, but {reason}; set it to a folder with initdb, pg_ctl and postgres (14 or newer)", .folder.display())]
    GivenPrograms {
        /// The folder named.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The data belongs to another major version than the programs at hand.
    #[error("the data in {} was made by PostgreSQL {data}, but only PostgreSQL {programs} was found; install PostgreSQL {data}, or delete that folder to start anew", .folder.display())]
    OtherVersion {
        /// The folder with the data.
        folder: PathBuf,
        /// The major version of the data.
        data: u32,
        /// The major version of the programs found.
        programs: u32,
    },
    /// We are root, and there is no account to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and neither `postgres` nor `nobody` is in /etc/passwd; run this as an ordinary user, or make an account `postgres`"
    )]
    NoAccount,
    /// The account that runs the server cannot get into the folder.
    #[error("PostgreSQL does not run as root, and the user it runs as (uid {uid}) may not enter {}; let others pass (chmod o+x), or choose another folder than {}", .barred.display(), .folder.display())]
    Unreachable {
        /// The folder asked for.
        folder: PathBuf,
        /// That one, or the one above that bars the way.
        barred: PathBuf,
        /// The user id of the server.
        uid: u32,
    },
    /// The folder, or what is in it, belongs to another user.
    #[error("{} belongs to another user (uid {owner}); choose another folder", .path.display())]
    NotOurs {
        /// What belongs to another user.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
    },
    /// There is a data folder that was not made here.
    #[error("{} holds data that was not made by wa-outbox; it is left alone, choose another folder", .folder.display())]
    NotACluster {
        /// The folder asked for.
        folder: PathBuf,
    },
    /// Another process uses the server.
    #[error("another process still uses the server in {}; end it first", .folder.display())]
    InUse {
        /// The folder of the server.
        folder: PathBuf,
    },
    /// `initdb` failed.
    #[error("could not make a database cluster in {}: initdb said:\n{said}", .folder.display())]
    Make {
        /// The folder of the server.
        folder: PathBuf,
        /// What initdb wrote.
        said: String,
    },
    /// The server did not start.
    #[error("could not start PostgreSQL in {}; its log ends with:\n{log}", .folder.display())]
    Start {
        /// The folder of the server.
        folder: PathBuf,
        /// The end of the server's log.
        log: String,
    },
    /// The server did not stop.
    #[error("PostgreSQL in {} did not stop; its log ends with:\n{log}", .folder.display())]
    Stop {
        /// The folder of the server.
        folder: PathBuf,
        /// The end of the server's log.
        log: String,
    },
    /// A file or a program could not be used.
    #[error("could not {doing}")]
    Io {
        /// What we were doing.
        doing: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl EmbeddedError {
    /// For `map_err`: `doing` something with `path` failed.
    pub(super) fn io(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let doing = format!("{doing} {}", path.display());
        move |source| Self::Io { doing, source }
    }
}

fn no_programs(searched: &[PathBuf], refused: &[String], fetch: Option<&str>) -> String {
    let mut text = String::from(
        "no PostgreSQL (14 or newer) was found: initdb, pg_ctl and postgres are needed.\n\nLooked in:\n",
    );
    for place in searched {
        text += &format!("  {}\n", place.display());
    }
    for reason in refused {
        text += &format!("Not usable: {reason}\n");
    }
    if let Some(fetch) = fetch {
        text += &format!("Fetching it failed: {fetch}\n");
    }
    text + "\nInstall it:\n  \
        Debian, Ubuntu   apt-get install -y postgresql\n  \
        Fedora, RHEL     dnf install postgresql-server\n  \
        macOS            brew install postgresql\n\
        or name its folder in WA_OUTBOX_PG_BIN."
}
