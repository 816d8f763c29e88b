//! Begins a walk every hour, in one process of the fleet.
//!
//! Whose turn it is stands in a row of the database and is renewed with the walk; when its process dies another one begins anew
//! within two minutes. A walk rests nine times as long as it works, so what it takes of the database is a tenth of one connection.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::walk::{Limits, Pruned, Walk};
use crate::clock::Clock;
use crate::domain::retention::Retention;
use crate::metrics::Metrics;
use crate::store::prune::Pass;
use crate::store::{Store, StoreError};

/// Between two looks whether it is time for a walk.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// From the end of a walk to the beginning of the next one.
const WALK_EVERY: Duration = Duration::from_secs(60 * 60);
/// A process that has not said for so long that it goes on does not go on.
const LASTS: Duration = Duration::from_secs(60);
/// How often it says so.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// So many times as long as a slice took, a walk rests after it.
const REST: u32 = 9;
const SHORTEST_REST: Duration = Duration::from_millis(20);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Keeps no longer than is wanted, until it is stopped.
pub struct Keeper {
    store: Store,
    retention: Retention,
    clock: Clock,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Keeper {
    /// Of this database, by these settings.
    pub fn new(
        store: Store,
        retention: Retention,
        clock: Clock,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            retention,
            clock,
            metrics,
            stop,
        }
    }

    /// Looks every minute whether it is time for a walk.
    pub async fn run(self) {
        if self.retention.is_nothing() {
            return;
        }
        while !self.stop.is_cancelled() {
            match self.run_once().await {
                Ok(Some(pruned)) if pruned.all() > 0 => info!(
                    messages = pruned.messages,
                    webhooks = pruned.deliveries,
                    "Deleted what was older than the settings [retention]: {} messages, {} webhook deliveries, {} statuses of no message",
                    pruned.messages,
                    pruned.deliveries,
                    pruned.statuses
                ),
                Ok(_) => {}
                Err(error) => warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not delete what is older than the settings [retention]; trying again"
                ),
            }
            self.rest(LOOK_EVERY).await;
        }
    }

    /// Walks, if it is time and nobody else does. None: it was not, or the walk was broken off.
    ///
    /// # Errors
    /// When the database does not do it.
    pub async fn run_once(&self) -> Result<Option<Pruned>, StoreError> {
        // Where the database has gone back, nothing is deleted before that is settled.
        if !self.store.may_conclude().await? {
            return Ok(None);
        }
        let Some(pass) = self.store.begin_pruning(LASTS).await? else {
            return Ok(None);
        };
        match self.walk(pass).await {
            Ok(Some(pruned)) => {
                self.store.end_pruning(pass, WALK_EVERY).await?;
                Ok(Some(pruned))
            }
            // Somebody else goes on.
            broken_off => {
                self.store.end_pruning(pass, Duration::ZERO).await?;
                broken_off
            }
        }
    }

    async fn walk(&self, pass: Pass) -> Result<Option<Pruned>, StoreError> {
        let limits = Limits::now(&self.store, self.retention).await?;
        let mut walk = Walk::new(&self.store, limits, false);
        let mut said_at = self.clock.boot();
        loop {
            let begun = self.clock.boot();
            let Some(step) = walk.step().await? else {
                if let Some(error) = walk.kept() {
                    warn!(
                        error = error as &dyn std::error::Error,
                        "Rows of a table of your own refer to old messages, which stay with what lies beside them: \
                         let them go with their message (on delete cascade), or delete there first"
                    );
                }
                return Ok(Some(walk.pruned()));
            };
            let pruned = u64::try_from(step.slice.pruned).unwrap_or_default();
            self.metrics.pruned.of(step.part).inc_by(pruned);
            // A stretch in which nothing is left is passed by quickly.
            let shortest = match step.slice.looked {
                0 => Duration::ZERO,
                _ => SHORTEST_REST,
            };
            let took = begun.until(self.clock.boot());
            self.rest((took * REST).clamp(shortest, LONGEST_REST)).await;
            if said_at.until(self.clock.boot()) > SAY_EVERY {
                said_at = self.clock.boot();
                if !self.store.go_on_pruning(pass, LASTS).await? {
                    return Ok(None);
                }
            }
            if self.stop.is_cancelled() {
                return Ok(None);
            }
        }
    }

    async fn rest(&self, span: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(span) => {}
        }
    }
}
