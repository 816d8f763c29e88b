//! Sees that no part of a service is missing while the others go on.
//!
//! A part runs as long as its process. If one panics, the rest would carry on as if nothing were amiss: leases would be renewed
//! for senders that nobody works, outcomes kept that nobody writes. So the first part that breaks is told to whoever runs the
//! service, who ends it; what watches over the process starts it anew.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tracing::error;

/// Watches over parts. Clones watch together.
#[derive(Clone, Debug, Default)]
pub(super) struct Supervision {
    broken: watch::Sender<Option<&'static str>>,
}

impl Supervision {
    /// The work of a part. A panic ends it as a return would, and is told.
    pub(super) fn of(
        &self,
        part: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let broken = self.broken.clone();
        async move {
            // Nothing of the part is used afterwards.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                // What it said has gone to standard error; it may name data, so it is not repeated here.
                error!("The {part} broke off; this process cannot go on without it");
                broken.send_if_modified(|first| first.replace(part).is_none());
            }
        }
    }

    /// Waits until a part has broken off, and names it.
    pub(super) async fn broken(&self) -> &'static str {
        let mut broken = self.broken.subscribe();
        loop {
            if let Some(part) = *broken.borrow_and_update() {
                return part;
            }
            // The sender is `self`, so it cannot be gone.
            let _ = broken.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_named_and_one_that_returns_is_not() {
        let parts = Supervision::default();
        tokio::spawn(parts.of("recorder", async {}))
            .await
            .expect("it returns");
        assert!(parts.broken().now_or_never().is_none());

        let breaks = parts.of("dispatcher", async { panic!("out of its mind") });
        tokio::spawn(breaks)
            .await
            .expect("the panic goes no further");
        assert_eq!(parts.broken().now_or_never(), Some("dispatcher"));
    }
}
