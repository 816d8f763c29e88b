//! Decides as which user the server's programs run, and runs them so.
//!
//! PostgreSQL refuses to run as root, so root hands its programs to `postgres`, or to `nobody`. A server outlives us, so
//! its programs get a bare environment: an access token of ours must not live on in the environment of another process.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::EmbeddedError;

/// What a program may inherit: enough to be found, to load its libraries and to know the time zone.
const INHERITED: [&str; 6] = [
    "PATH",
    "HOME",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "TZ",
    "TZDIR",
];

/// A locale that every supported system has, and that keeps text in UTF-8.
pub(super) const LOCALE: &str = if cfg!(target_os = "macos") {
    "C"
} else {
    "C.UTF-8"
};

/// The user that runs the server: ourselves, or the one that root steps down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
    /// We are root, and this account is not.
    stepped_down: bool,
}

impl Account {
    /// The account for the server whose data is, or will be, in `folder`.
    pub(super) fn to_serve(folder: &Path) -> Result<Self, EmbeddedError> {
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        if uid != 0 {
            return Ok(Self {
                uid,
                gid,
                stepped_down: false,
            });
        }
        // Data that is there decides: it stays readable when `postgres` comes to exist after `nobody` has made it.
        let owner = fs::symlink_metadata(folder.join("data"))
            .ok()
            .filter(|data| data.uid() != 0);
        let owner = owner.map(|data| (data.uid(), data.gid()));
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let known = || find(&accounts, "postgres").or_else(|| find(&accounts, "nobody"));
        let (uid, gid) = owner.or_else(known).ok_or(EmbeddedError::NoAccount)?;
        Ok(Self {
            uid,
            gid,
            stepped_down: true,
        })
    }

    pub(super) fn uid(self) -> u32 {
        self.uid
    }

    /// Whether it is another user than we are.
    pub(super) fn is_another(self) -> bool {
        self.stepped_down
    }

    /// `program`, to be run as this account, in a clean environment, with nothing of ours to read or write.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", LOCALE).current_dir("/");
        command.envs(
            INHERITED
                .iter()
                .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
        );
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if self.stepped_down {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Gives `path` to this account.
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        if self.stepped_down {
            chown(path, Some(self.uid), Some(self.gid))
        } else {
            Ok(())
        }
    }

    /// Whether this account can get into `folder`. Asked of the system, which also knows access lists.
    pub(super) fn may_enter(self, folder: &Path) -> bool {
        let mut shell = self.command(Path::new("/bin/sh"));
        shell.args(["-c", r#"cd -- "$0""#]).arg(folder);
        shell.status().is_ok_and(|status| status.success())
    }
}

/// User and group id of `name` in the text of /etc/passwd (passwd(5)).
fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2).map_while(|id| id.parse().ok());
    // An account called `postgres` with root's id would be refused by PostgreSQL.
    Some((ids.next()?, ids.next()?)).filter(|(uid, _)| *uid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/bin/false\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        assert_eq!(find(PASSWD, "postgres"), Some((101, 104)));
        assert_eq!(find(PASSWD, "nobody"), Some((65534, 65533)));
        assert_eq!(find(PASSWD, "post"), None);
    }

    #[test]
    fn root_under_another_name_is_no_account() {
        assert_eq!(find("postgres:x:0:0::/:/bin/sh", "postgres"), None);
    }

    #[test]
    fn a_program_inherits_no_variable_but_the_named_ones() {
        let account = Account {
            uid: 1,
            gid: 1,
            stepped_down: false,
        };
        let output = account
            .command(Path::new("/usr/bin/env"))
            .stdout(Stdio::piped())
            .output()
            .expect("env runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split('=').next())
            .collect();
        assert!(names.contains(&"LC_ALL"));
        // Cargo sets this for every test, so it stands for whatever the environment holds.
        assert!(
            std::env::var_os("CARGO_MANIFEST_DIR").is_some()
                && !names.contains(&"CARGO_MANIFEST_DIR")
        );
    }
}
