//! Reads from the database what only it knows, for the metrics.
//!
//! Every 15 seconds, whoever scrapes and however often. Each figure is read from the front of an index and counted up to a limit,
//! so a look costs the same whatever is queued. While the database does not answer the figures stay as they were, and their age
//! grows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::metrics::{Metrics, Standing};
use crate::store::{Store, StoreError};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Looks from time to time.
pub struct Sampler {
    store: Store,
    metrics: Arc<Metrics>,
    looked_at: Arc<Mutex<Instant>>,
}

impl Sampler {
    /// One that has not looked yet.
    pub fn new(store: Store, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            metrics,
            looked_at: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// How long ago it looked, for whoever asks.
    pub fn age(&self) -> impl Fn() -> Duration + Send + Sync + 'static {
        let looked_at = Arc::clone(&self.looked_at);
        move || {
            looked_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .elapsed()
        }
    }

    /// Looks until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.run_once().await {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "Could not read the figures of the metrics; trying again"
                );
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// One look.
    ///
    /// # Errors
    /// When the database does not answer; the figures stay as they were.
    pub async fn run_once(&self) -> Result<(), StoreError> {
        let senders = self.store.watched_senders().await?;
        let figures = self.store.watched_figures().await?;
        self.metrics
            .senders
            .say_standing(senders.into_iter().map(|one| {
                let standing = Standing {
                    rate_set: one.rate_per_second,
                    held: one.held,
                    queued: one.queued,
                    oldest_due_s: one.oldest_due_s,
                    status_watermark_s: one.status_watermark_s,
                };
                (one.sender, standing)
            }));
        let sampled = &self.metrics.sampled;
        sampled.webhook_lag.set(figures.webhook_lag_s);
        sampled.oldest_uncertain.set(figures.oldest_uncertain_s);
        for (gauge, figure) in [
            (&sampled.uncertain, figures.uncertain),
            (&sampled.needs_person, figures.needs_person),
            (&sampled.doubled_by_resend, figures.doubled_by_resend),
            (&sampled.doubled_by_transport, figures.doubled_by_transport),
            (&sampled.webhooks_pending, figures.webhooks_pending),
            (&sampled.campaigns_running, figures.campaigns_running),
            (
                &sampled.campaigns_self_paused,
                figures.campaigns_self_paused,
            ),
            (&sampled.sequences_halted, figures.sequences_halted),
            (&sampled.templates_held, figures.templates_held),
            (&sampled.workers, figures.workers),
            (&sampled.senders_unowned, figures.senders_unowned),
        ] {
            gauge.set(figure);
        }
        *self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(())
    }
}
