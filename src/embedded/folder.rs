//! The folder of a server: where it is, what is in it, and whose it is.
//!
//! ```text
//! FOLDER            ours
//!   start.lock      held while a server is started, stopped or removed
//!   lease.lock      held, shared, by every user of the server for as long as it lives
//!   reaper.lock     held by the reaper of a test server
//!   password        the superuser's, for 127.0.0.1; also the mark that the data was made here
//!   data/           the cluster, of the server's user; it appears by one rename when it is complete
//!   run/            of the server's user, closed to all others: the socket and the log
//! ```
//! A socket's path has 107 bytes at most (unix(7); 103 on macOS), so a longer one moves to a short folder in /tmp.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::EmbeddedError;
use super::account::Account;

/// What a test server needs in memory: a cluster, its log of changes and a few hundred small databases.
const ROOM_FOR_TESTS: u64 = 1 << 30;

/// The longest path of a socket's folder: 103 bytes less the name of the socket.
const LONGEST_SOCKET_FOLDER: usize = 103 - "/.s.PGSQL.65535".len();

/// How the folder of a cluster begins that is not complete yet.
const HALF_MADE: &str = "data.new.";

/// How often, and how far apart, leftovers are swept on removal: an orphaned initdb lasts about a second.
const SWEEPS: u32 = 40;
const BETWEEN_SWEEPS: Duration = Duration::from_millis(50);

/// A folder that is ours, with a place in it that is the server's.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
    run: PathBuf,
    account: Account,
}

impl Folder {
    /// Makes `root` ready for a server that runs as `account`.
    pub(super) fn open(root: &Path, account: Account) -> Result<Self, EmbeddedError> {
        let root = std::path::absolute(root).map_err(EmbeddedError::io("find", root))?;
        make_above(&root, account)?;
        // Passable for the server's user, and only passable.
        let made = make(&root, 0o711)?;
        owned_by(&root, &[rustix::process::geteuid().as_raw()])?;
        if !account.may_enter(&root) {
            let barred = barred(&root, account);
            let _ = made.then(|| fs::remove_dir(&root));
            return Err(EmbeddedError::Unreachable {
                folder: root,
                barred,
                uid: account.uid(),
            });
        }
        let run = run_folder(&root);
        make(&run, 0o700)?;
        account.own_new(&run)?;
        Ok(Self { root, run, account })
    }

    /// The folder of the server that this user's tests share: the first of a few places that can be had.
    pub(super) fn of_tests() -> Result<Self, EmbeddedError> {
        let open = |root: &Path| Self::open(root, Account::to_serve(root)?);
        if let Some(given) = std::env::var_os("WA_OUTBOX_TESTS_DIR") {
            return open(Path::new(&given));
        }
        let name = format!("wa-outbox-tests-{}", rustix::process::geteuid().as_raw());
        let memory = Path::new("/dev/shm");
        let in_memory = memory.join(&name).is_dir() || has_room(memory);
        let temporary = std::env::temp_dir();
        let places = in_memory
            .then_some(memory)
            .into_iter()
            .chain([temporary.as_path()]);
        // A place that another user has taken, or that the server's user may not enter, is passed over.
        let usable = places
            .map(|place| open(&place.join(&name)))
            .find(Result::is_ok);
        usable.unwrap_or_else(|| open(&Path::new("/tmp").join(&name)))
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn account(&self) -> Account {
        self.account
    }

    pub(super) fn lock_file(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.lock"))
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(super) fn socket_folder(&self) -> &Path {
        &self.run
    }

    pub(super) fn log(&self) -> PathBuf {
        self.run.join("server.log")
    }

    /// Clears what a killed server left in its socket's folder. Only for when no server runs: PostgreSQL, which cannot
    /// know that the folder is ours alone, would spare a socket whose process number is in use again.
    pub(super) fn sweep_sockets(&self) {
        for entry in fs::read_dir(&self.run).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(b".s.PGSQL.") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The last lines of the server's log.
    pub(super) fn end_of_log(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let end = &lines[lines.len().saturating_sub(20)..];
        if end.is_empty() {
            format!("(nothing was written to {})", self.log().display())
        } else {
            end.join("\n")
        }
    }

    /// The major version of the data, if there is any.
    pub(super) fn version_of_data(&self) -> Option<u32> {
        fs::read_to_string(self.data().join("PG_VERSION"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// The superuser's password, made at the first call.
    pub(super) fn password(&self) -> Result<SecretString, EmbeddedError> {
        let path = self.root.join("password");
        match fs::read_to_string(&path) {
            Ok(password) if !password.is_empty() => Ok(password.into()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(EmbeddedError::io("read", &path)(error))
            }
            // An empty one is left of a kill before anything was made with it.
            Ok(_) | Err(_) => {
                let password = new_password()?;
                let _ = fs::remove_file(&path);
                write_secret(&path, &password)?;
                Ok(password)
            }
        }
    }

    /// Whether the data, if there is any, was made here.
    pub(super) fn is_known(&self) -> bool {
        !self.data().exists()
            || self.root.join("password").exists() && self.version_of_data().is_some()
    }

    /// A file, for the server's user alone, that holds the password. The caller deletes it.
    pub(super) fn password_for_initdb(&self) -> Result<PathBuf, EmbeddedError> {
        let path = self.run.join("password");
        let _ = fs::remove_file(&path);
        write_secret(&path, &self.password()?)?;
        self.account.own_new(&path)?;
        Ok(path)
    }

    /// A new, empty folder of the server's user, to make a cluster in.
    pub(super) fn new_data(&self) -> Result<PathBuf, EmbeddedError> {
        // A name of its own each time: an initdb whose starter was killed goes on for a moment, and must not write here.
        let path = self
            .root
            .join(format!("{HALF_MADE}{:016x}", fastrand::u64(..)));
        make(&path, 0o700)?;
        self.account.own_new(&path)?;
        Ok(path)
    }

    /// Deletes what starts that were killed have left; `false` if an initdb still writes some of it.
    pub(super) fn sweep_half_made(&self) -> bool {
        let mut clean = true;
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry
                .file_name()
                .as_bytes()
                .starts_with(HALF_MADE.as_bytes())
            {
                clean &= fs::remove_dir_all(entry.path()).is_ok();
            }
        }
        clean
    }

    /// Leaves no trace of a server that was never made.
    pub(super) fn remove_if_empty(&self) {
        if !self.data().exists() {
            // It only tidies up on the way to an error that says more.
            let _ = self.remove();
        }
    }

    /// Deletes what was made in this folder, and the folder itself if nothing else is in it.
    pub(super) fn remove(&self) -> Result<(), EmbeddedError> {
        for folder in [&self.data(), &self.run] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(EmbeddedError::io("delete", folder)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        for name in ["password", "reaper.lock", "lease.lock", "start.lock"] {
            let _ = fs::remove_file(self.root.join(name));
        }
        for _ in 0..SWEEPS {
            if self.sweep_half_made() {
                break;
            }
            std::thread::sleep(BETWEEN_SWEEPS);
        }
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }
}

impl Account {
    fn own_new(self, path: &Path) -> Result<(), EmbeddedError> {
        // What exists already must be the server's, or ours to give: another user could have put it there to listen in.
        // (Looked at once: another process of ours may be giving it away.)
        let owner = owned_by(path, &[self.uid(), rustix::process::geteuid().as_raw()])?;
        if owner == self.uid() {
            return Ok(());
        }
        self.own(path)
            .map_err(EmbeddedError::io("give to the server's user", path))
    }
}

/// Where `demo` keeps its data.
pub(super) fn demo() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let uid = rustix::process::geteuid();
    let state = || {
        variable("XDG_STATE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
    };
    let folder = if uid.is_root() {
        // Not in /var/lib/wa-outbox: there systemd keeps the state of the service, closed to others.
        Some(PathBuf::from("/var/lib/wa-outbox-demo"))
    } else {
        state().map(|state| state.join("wa-outbox/demo"))
    };
    let usable = |folder: &PathBuf| {
        Account::to_serve(folder).is_ok_and(|account| make_above(folder, account).is_ok())
    };
    folder
        .filter(usable)
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/wa-outbox-demo-{}", uid.as_raw())))
}

/// Makes what is missing of the folders above, passable for a server that runs as another user, whatever the umask.
fn make_above(folder: &Path, account: Account) -> Result<(), EmbeddedError> {
    let above = folder.ancestors().skip(1);
    let missing: Vec<_> = above.take_while(|above| !above.exists()).collect();
    for above in missing.into_iter().rev() {
        if account.is_another() {
            make(above, 0o755)?;
        } else {
            // Not `create_dir`: another process may make it at the same time.
            fs::create_dir_all(above).map_err(EmbeddedError::io("make the folder", above))?;
        }
    }
    Ok(())
}

/// The first folder on the way that the server's user may not enter.
fn barred(folder: &Path, account: Account) -> PathBuf {
    let mut way: Vec<_> = folder.ancestors().collect();
    way.reverse();
    let barred = way.into_iter().find(|part| !account.may_enter(part));
    barred.unwrap_or(folder).to_owned()
}

/// The folder of the socket: in `root`, or where its path is too long a short one in /tmp that belongs to this root.
fn run_folder(root: &Path) -> PathBuf {
    let run = root.join("run");
    if run.as_os_str().len() <= LONGEST_SOCKET_FOLDER {
        return run;
    }
    // FNV-1a: the same for every process and every build, which std's hasher does not promise.
    let hash = root
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    PathBuf::from(format!("/tmp/wa-outbox-{hash:016x}"))
}

/// Makes a folder of ours with exactly this mode; `false` if there is one already.
fn make(path: &Path, mode: u32) -> Result<bool, EmbeddedError> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            // Said again, because the umask may have taken bits away.
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(path, mode).map_err(EmbeddedError::io("open up", path))?;
            Ok(true)
        }
        // Not a link: that could lead anywhere.
        Err(_) if fs::symlink_metadata(path).is_ok_and(|there| there.is_dir()) => Ok(false),
        Err(error) => Err(EmbeddedError::io("make the folder", path)(error)),
    }
}

/// Which of these users it belongs to.
fn owned_by(path: &Path, users: &[u32]) -> Result<u32, EmbeddedError> {
    let owner = fs::symlink_metadata(path)
        .map_err(EmbeddedError::io("look at", path))?
        .uid();
    if users.contains(&owner) {
        Ok(owner)
    } else {
        Err(EmbeddedError::NotOurs {
            path: path.to_owned(),
            owner,
        })
    }
}

fn has_room(place: &Path) -> bool {
    rustix::fs::statvfs(place)
        .is_ok_and(|there| there.f_bavail.saturating_mul(there.f_frsize) >= ROOM_FOR_TESTS)
}

fn new_password() -> Result<SecretString, EmbeddedError> {
    let mut bytes = [0; 24];
    let no_chance = |_| {
        EmbeddedError::io("draw a password from", Path::new("the system"))(
            io::ErrorKind::Other.into(),
        )
    };
    aws_lc_rs::rand::fill(&mut bytes).map_err(no_chance)?;
    Ok(data_encoding::BASE64URL_NOPAD.encode(&bytes).into())
}

fn write_secret(path: &Path, secret: &SecretString) -> Result<(), EmbeddedError> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| io::Write::write_all(&mut file, secret.expose_secret().as_bytes()))
        .map_err(EmbeddedError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_moves_the_socket_to_a_short_one_of_its_own() {
        let (one, other) = (
            PathBuf::from("/x".repeat(80)),
            PathBuf::from("/y".repeat(80)),
        );
        assert!(run_folder(&one).as_os_str().len() <= LONGEST_SOCKET_FOLDER);
        assert_eq!(run_folder(&one), run_folder(&one));
        assert_ne!(run_folder(&one), run_folder(&other));
        assert_eq!(run_folder(Path::new("/short")), Path::new("/short/run"));
    }

    #[test]
    fn who_open_a_new_folder_at_the_same_time_get_it() {
        let above = tempfile::tempdir().expect("a folder");
        for nth in 0..2_000 {
            let root = above.path().join(nth.to_string());
            let account = Account::to_serve(&root).expect("an account");
            let (run, barrier) = (root.join("run"), std::sync::Barrier::new(2));
            fs::create_dir(&root).expect("a folder");
            std::thread::scope(|scope| {
                let open = || {
                    barrier.wait();
                    make(&run, 0o700).and_then(|_| account.own_new(&run))
                };
                let other = scope.spawn(open);
                let opened = [open(), other.join().expect("it does not panic")];
                for one in opened {
                    one.unwrap_or_else(|error| panic!("{error}"));
                }
            });
        }
    }

    #[test]
    fn the_folders_above_are_passable_for_a_server_of_another_user() {
        let place = tempfile::tempdir().expect("a folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place.path(), open).expect("is opened");
        let closed = place.path().join("closed");
        let root = closed.join("below/demo");
        let account = Account::to_serve(&root).expect("an account");
        if !account.is_another() {
            eprintln!("not tried: only root hands its server to another user");
            return;
        }
        make_above(&root, account).expect("they are made");
        let mode = |path: &Path| fs::metadata(path).expect("is there").mode() & 0o777;
        assert_eq!(mode(&closed.join("below")), 0o755);

        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("is closed");
        let error = Folder::open(&root, account).expect_err("it may not enter");
        let said = format!("may not enter {};", closed.display());
        assert!(error.to_string().contains(&said), "{error}");
    }

    #[test]
    fn a_link_is_not_taken_for_a_folder_of_ours() {
        let link = std::env::temp_dir().join(format!("wa-outbox-link-{}", std::process::id()));
        std::os::unix::fs::symlink("/", &link).expect("a link");
        let made = make(&link, 0o700);
        fs::remove_file(&link).expect("removed");
        assert!(made.is_err());
    }
}
