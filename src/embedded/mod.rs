//! Runs a PostgreSQL server of our own, for `demo` and for the tests.
//!
//! Nobody should need a database administrator to see a first message leave. This module takes PostgreSQL's own programs
//! (installed, or fetched once), makes a cluster in a folder of its own and starts it, reachable through a unix socket
//! that only its user can open. A data folder appears complete or not at all, so a kill at any moment costs nothing but
//! a second start.
//!
//! Two purposes. A [`Purpose::Durable`] server writes through to the disk, outlives its user's death and stops on request.
//! A [`Purpose::Tests`] server trades durability for speed, is shared by all test processes of one user, and is stopped by
//! a reaper one second after the last of them has gone, however it went.
//!
//! Everything here blocks: call it through `spawn_blocking`. Unix only, as PostgreSQL's peer of a unix socket is.

mod account;
mod cluster;
mod error;
#[cfg(feature = "fetch-postgres")]
mod fetch;
mod folder;
mod lease;
mod programs;

use std::fs::File;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use account::Account;
use cluster::{Cluster, Listen, Settings, State};
pub use error::EmbeddedError;
use folder::Folder;
pub use programs::Search;

/// The database role that a server of ours is made with. It may do anything.
const SUPERUSER: &str = "postgres";

/// What a server is for, which decides where it lives, how safe it is and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Data that must survive: fsync is on, and the server runs until [`Server::stop`], whatever becomes of us.
    Durable {
        /// Where the data is kept; made if missing. [`demo_folder`] is the usual one.
        folder: PathBuf,
        /// Also listen on this port of 127.0.0.1 (0: any free one), with a password. `None`: the unix socket alone.
        tcp_port: Option<u16>,
    },
    /// One fast server, without any durability, for all test processes of this user. It lives in memory
    /// (`/dev/shm`) where there is room, else in the temporary folder; `WA_OUTBOX_TESTS_DIR` names another place.
    Tests,
}

/// A running server, and our share in it: while this value lives, nobody who asks nicely stops the server.
///
/// Dropping it gives the share back and stops nothing. A durable server goes on; a test server is left to its reaper.
pub struct Server {
    cluster: Cluster,
    lease: File,
    version: u32,
    listen: Listen,
    password: SecretString,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("folder", &self.cluster.folder.root())
            .field("version", &self.version)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Starts the server for `purpose`, or joins it where it runs already.
    ///
    /// # Errors
    /// Says what could not be done and what to do about it; a server that does not start brings the end of its log.
    pub fn start(purpose: Purpose) -> Result<Self, EmbeddedError> {
        Self::start_with(purpose, &Search::this_machine())
    }

    /// [`Server::start`] with PostgreSQL's programs looked for as `search` says.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(purpose: Purpose, search: &Search) -> Result<Self, EmbeddedError> {
        loop {
            let (folder, settings) = match &purpose {
                Purpose::Durable { folder, tcp_port } => {
                    let folder = Folder::open(folder, Account::to_serve(folder)?)?;
                    (
                        folder,
                        Settings::Durable {
                            tcp_port: *tcp_port,
                        },
                    )
                }
                Purpose::Tests => (Folder::of_tests()?, Settings::Fast),
            };
            // Held until the server answers: all that follows is done by one process at a time.
            if let Some(_starting) = lease::lock_start(&folder)? {
                return Self::start_in(folder, settings, search);
            }
        }
    }

    fn start_in(
        folder: Folder,
        settings: Settings,
        search: &Search,
    ) -> Result<Self, EmbeddedError> {
        let lease = lease::share(&folder)?;
        let programs = match search.find(folder.account(), folder.version_of_data()) {
            Ok(programs) => programs,
            Err(error) => {
                folder.remove_if_empty();
                return Err(error);
            }
        };
        let cluster = Cluster {
            folder,
            programs,
            settings,
        };
        let listen = cluster.ensure_running(|| lease::alone(&cluster.folder, &lease))?;
        if settings == Settings::Fast {
            lease::start_reaper(&cluster)?;
        }
        let version = cluster
            .folder
            .version_of_data()
            .unwrap_or(cluster.programs.version());
        let password = cluster.folder.password()?;
        Ok(Self {
            cluster,
            lease,
            version,
            listen,
            password,
        })
    }

    /// The address of `database`, for sqlx and libpq: the superuser, through the unix socket, no password.
    pub fn url(&self, database: &str) -> String {
        let socket = encode(&self.cluster.folder.socket_folder().to_string_lossy());
        format!(
            "postgresql://{SUPERUSER}@{socket}:{}/{}",
            self.listen.port,
            encode(database)
        )
    }

    /// The address of `database` over 127.0.0.1, for any program on this machine; `None` without a TCP port.
    /// It holds the superuser's password: show it to the person who asked, keep it out of logs.
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let password = encode(self.password.expose_secret());
        let address = format!("127.0.0.1:{}", self.listen.port);
        self.listen.tcp.then(|| {
            format!(
                "postgresql://{SUPERUSER}:{password}@{address}/{}",
                encode(database)
            )
        })
    }

    /// What a person types to look into `database`.
    pub fn psql_line(&self, database: &str) -> String {
        let socket = self.cluster.folder.socket_folder().to_string_lossy();
        let (psql, socket, database) = (
            self.cluster.programs.psql(),
            shell_word(&socket),
            shell_word(database),
        );
        format!(
            "{psql} -h {socket} -p {} -U {SUPERUSER} {database}",
            self.listen.port
        )
    }

    /// PostgreSQL's major version, such as 15.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The process id of the server, while it runs.
    pub fn postmaster_pid(&self) -> Option<u32> {
        self.cluster.postmaster()
    }

    /// Stops the server, unless another process still uses it. The data stays.
    ///
    /// # Errors
    /// When the server does not stop within a minute.
    pub fn stop(self) -> Result<(), EmbeddedError> {
        // Gone with its folder: then there is nothing to stop.
        let Some(_starting) = lease::lock_start(&self.cluster.folder)? else {
            return Ok(());
        };
        if lease::alone(&self.cluster.folder, &self.lease)? {
            self.cluster.stop()?;
        }
        Ok(())
    }

    /// Stops the server and deletes its data and all else that was made for it.
    ///
    /// # Errors
    /// When another process still uses the server, it does not stop, or a file cannot be deleted.
    pub fn remove(self) -> Result<(), EmbeddedError> {
        let Some(_starting) = lease::lock_start(&self.cluster.folder)? else {
            return Ok(());
        };
        if !lease::alone(&self.cluster.folder, &self.lease)? {
            return Err(EmbeddedError::InUse {
                folder: self.cluster.folder.root().to_owned(),
            });
        }
        if self.cluster.state() != State::Stopped {
            self.cluster.stop()?;
        }
        self.cluster.folder.remove()
    }
}

/// Where `demo` keeps its data: of the system for root, whose home the server's user may not enter, else of the user.
pub fn demo_folder() -> PathBuf {
    folder::demo()
}

/// Percent-encodes all that has a meaning in an address, so that a path can stand where a host does.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// `text` as one word of a shell, quoted only if it needs to be.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_folder_can_stand_where_the_host_does() {
        assert_eq!(encode("/run/my data"), "%2Frun%2Fmy%20data");
    }

    #[test]
    fn a_quote_in_a_path_does_not_end_the_shell_word() {
        assert_eq!(shell_word("/run/demo-1"), "/run/demo-1");
        assert_eq!(shell_word("it's; rm"), r"'it'\''s; rm'");
        assert_eq!(shell_word(""), "''");
    }
}
