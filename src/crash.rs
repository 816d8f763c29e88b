//! Points at which a process can be made to die, for the tests that show that nothing is lost there.
//!
//! A point marks the moment between two steps whose order matters: a fact has become known and is not written yet, or is written and
//! nobody knows it yet. In builds with debug assertions the process aborts at the point that `WA_OUTBOX_CRASH_AT` names (`POINT`, or
//! `POINT:N` for the N-th time it is passed), as if it had been killed there; other builds have none of it.

/// Marks a point by its name, `ROOM.STEP`.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::crash::pass($name);
    };
}

pub(crate) use crash_point;

/// Dies when it was asked to do so at this point.
#[cfg(debug_assertions)]
pub(crate) fn pass(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Where to die, and at the how-manieth time.
    static ASKED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();

    let asked = ASKED.get_or_init(|| {
        let asked = std::env::var("WA_OUTBOX_CRASH_AT").ok()?;
        let (point, times) = asked.split_once(':').unwrap_or((&asked, "1"));
        Some((point.to_owned(), AtomicU64::new(times.parse().ok()?)))
    });
    if let Some((point, times)) = asked
        && point == name
        && times.fetch_sub(1, Ordering::AcqRel) == 1
    {
        std::process::abort();
    }
}
