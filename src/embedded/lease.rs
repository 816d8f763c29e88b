//! Knows who uses a server: three lock files, and a reaper for test servers.
//!
//! A lock is dropped by the kernel when its holder is gone, even by `kill -9`, so nothing here can be left behind. Rust
//! opens files close-on-exec, so neither the server nor any other child keeps a lock of ours alive.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use super::EmbeddedError;
use super::cluster::Cluster;
use super::folder::Folder;

/// Stops a test server when nobody uses it any more.
const REAPER: &str = include_str!("reaper.sh");

/// Waits until no other process starts, stops or removes this server; dropping the file lets the next one in. `None` if
/// the folder was removed meanwhile, and the lock with it: such a lock protects nothing.
pub(super) fn lock_start(folder: &Folder) -> Result<Option<File>, EmbeddedError> {
    let path = folder.lock_file("start");
    let file = match open(&path) {
        Err(EmbeddedError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(None);
        }
        file => file?,
    };
    file.lock().map_err(EmbeddedError::io("lock", &path))?;
    let place = |file: Metadata| (file.dev(), file.ino());
    let (there, ours) = (
        fs::metadata(&path).ok().map(place),
        file.metadata().ok().map(place),
    );
    Ok(Some(file).filter(|_| there == ours))
}

/// Our share in the server, until the file is dropped.
pub(super) fn share(folder: &Folder) -> Result<File, EmbeddedError> {
    let path = folder.lock_file("lease");
    let lease = open(&path)?;
    // A reaper at work holds it alone for as long as it stops the server.
    lease
        .lock_shared()
        .map_err(EmbeddedError::io("lock", &path))?;
    Ok(lease)
}

/// Whether nobody else uses the server. To be called under the start lock, so that nobody comes while we act on it.
pub(super) fn alone(folder: &Folder, lease: &File) -> Result<bool, EmbeddedError> {
    let path = folder.lock_file("lease");
    // Given back first: what taking a lock over one's own does is left to the system by std.
    lease.unlock().map_err(EmbeddedError::io("unlock", &path))?;
    let alone = match lease.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => return Err(EmbeddedError::io("lock", &path)(error)),
    };
    lease.unlock().map_err(EmbeddedError::io("unlock", &path))?;
    lease
        .lock_shared()
        .map_err(EmbeddedError::io("lock", &path))?;
    Ok(alone)
}

/// Starts a reaper for this server. Every user does, so a reaper that was killed is replaced; its lock lets one stay.
pub(super) fn start_reaper(cluster: &Cluster) -> Result<(), EmbeddedError> {
    let (folder, account) = (&cluster.folder, cluster.folder.account());
    for name in ["lease", "reaper"] {
        let path = folder.lock_file(name);
        open(&path)?;
        account
            .own(&path)
            .map_err(EmbeddedError::io("give to the server's user", &path))?;
    }
    let shell = Path::new("/bin/sh");
    let mut reaper = account.command(shell);
    reaper
        .arg("-s")
        .arg(folder.root())
        .arg(cluster.programs.path("pg_ctl"));
    // Not of our process group: a runner that kills the group must not kill the reaper with it.
    reaper.process_group(0).stdin(Stdio::piped());
    let started = reaper.spawn().and_then(|mut shell| {
        shell
            .stdin
            .take()
            .map_or(Ok(()), |mut script| script.write_all(REAPER.as_bytes()))?;
        shell.wait().map(|_| ())
    });
    started.map_err(EmbeddedError::io("start the reaper with", shell))
}

fn open(path: &Path) -> Result<File, EmbeddedError> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    file.map_err(EmbeddedError::io("open", path))
}
