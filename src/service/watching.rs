//! Sees that the sending loop turns.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::admin;
use crate::clock::Clock;
use crate::dispatch::signals::Signals;

/// How long ago the sending loop last turned; before its first turn, how long ago it was started.
pub(super) fn progress_of(signals: Arc<Signals>, clock: Clock) -> admin::Progress {
    let started = clock.boot();
    Arc::new(move || {
        let now = clock.boot();
        signals
            .stalled_for(now)
            .unwrap_or_else(|| started.until(now))
    })
}

/// Says loudly when the sending loop has stopped turning; `/readyz` says it too.
pub(super) async fn watch_over(signals: Arc<Signals>, clock: Clock, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Some(stalled) = signals
            .stalled_for(clock.boot())
            .filter(|stalled| *stalled > STALLED)
        {
            error!(
                "The sending loop has not turned for {} s: nothing leaves; restart this process if it lasts",
                stalled.as_secs()
            );
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(STALLED) => {}
        }
    }
}

/// A sending loop that has not turned for so long is stuck.
const STALLED: Duration = Duration::from_secs(10);
