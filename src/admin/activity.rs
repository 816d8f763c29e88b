//! Tells the fleet what this process does, each five seconds.
//!
//! A page of any process can then show the pace of all of them, also what was before it was opened. It is read off counters that are
//! kept anyway, so it costs a message nothing, and the database one small row a process and step.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::domain::status::Status;
use crate::metrics::{Done, Metrics};
use crate::store::activity::{Activity, STEP};
use crate::store::{Store, StoreError};
use crate::tail::Tail;

/// Once in so many steps what is old is forgotten.
const FORGET_AFTER: u32 = 120;

/// Tells what this process does.
pub struct Teller {
    store: Store,
    metrics: Arc<Metrics>,
    tail: Tail,
    process: String,
    told: Done,
}

impl Teller {
    /// One that has told nothing yet. `process`: its name in the fleet.
    pub fn new(store: Store, metrics: Arc<Metrics>, tail: Tail, process: String) -> Self {
        let told = metrics.done();
        Self {
            store,
            metrics,
            tail,
            process,
            told,
        }
    }

    /// Tells until it is stopped, and once more then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut steps = 0_u32;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(STEP) => {}
            }
            steps += 1;
            let told = match self.run_once().await {
                Ok(()) if steps.is_multiple_of(FORGET_AFTER) => {
                    self.store.forget_activity().await.map(drop)
                }
                told => told,
            };
            if let Err(error) = told {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "Could not tell what this process does; it is told with the next step"
                );
            }
        }
    }

    /// Tells what was done since it was told last.
    ///
    /// # Errors
    /// When the database does not answer; then it is told the next time.
    pub async fn run_once(&mut self) -> Result<(), StoreError> {
        let done = self.metrics.done();
        let since = |pick: fn(&Done) -> u64| pick(&done) - pick(&self.told);
        let (queued, oldest_due_s) = self.metrics.senders.backlog().unzip();
        let activity = Activity {
            accepted: since(|done| done.accepted),
            failed: since(|done| done.failed),
            uncertain: since(|done| done.uncertain),
            throttled: since(|done| done.throttled),
            sent: since(|done| done.told[Status::Sent.place()]),
            delivered: since(|done| done.told[Status::Delivered.place()]),
            read: since(|done| done.told[Status::Read.place()] + done.told[Status::Played.place()]),
            undelivered: since(|done| done.told[Status::Failed.place()]),
            queued,
            oldest_due_s,
        };
        let is_watched = self.store.tell_activity(&self.process, &activity).await?;
        self.told = done;
        if is_watched {
            self.tail.call();
        }
        Ok(())
    }
}
