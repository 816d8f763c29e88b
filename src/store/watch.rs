//! Figures for the metrics. Each is read from the front of an index and counted up to a limit: a metric must not grow with what
//! it measures.

use super::error::Doing;
use super::hold::MACHINE;
use super::summary::{COUNTED_AT_MOST, COUNTED_OF_ALL};
use super::{Store, StoreError};
use crate::domain::id::SenderId;

/// How a sender stands.
#[derive(Clone, Debug)]
pub struct WatchedSender {
    /// The sender.
    pub sender: SenderId,
    /// Requests a second, as it is set.
    pub rate_per_second: f64,
    /// It is held.
    pub held: bool,
    /// Messages queued or being sent, counted up to a limit.
    pub queued: i64,
    /// For how long the oldest that may leave has been due, in seconds.
    pub oldest_due_s: f64,
    /// When the latest message was accepted of which a status has come, in seconds since 1970; 0 where none has.
    pub status_watermark_s: f64,
}

/// What is told of everything together. Counts go up to [`COUNTED_AT_MOST`].
#[derive(Clone, Debug)]
pub struct WatchedFigures {
    /// Messages whose outcome is unknown.
    pub uncertain: i64,
    /// Of those, the ones that only a person can settle.
    pub needs_person: i64,
    /// How long ago the request of the oldest of them was begun, in seconds.
    pub oldest_uncertain_s: f64,
    /// Messages that were accepted twice because we sent them again.
    pub doubled_by_resend: i64,
    /// Messages that were accepted twice though we had sent them once.
    pub doubled_by_transport: i64,
    /// Webhook deliveries stored and not applied.
    pub webhooks_pending: i64,
    /// How long the oldest of them has been waiting, in seconds.
    pub webhook_lag_s: f64,
    /// Campaigns that run.
    pub campaigns_running: i64,
    /// Campaigns that paused by themselves.
    pub campaigns_self_paused: i64,
    /// Sequences that wait for a person.
    pub sequences_halted: i64,
    /// Templates that are held.
    pub templates_held: i64,
    /// Workers whose lease lasts.
    pub workers: i64,
    /// Senders that none of them holds.
    pub senders_unowned: i64,
}

impl Store {
    /// How every sender stands.
    pub async fn watched_senders(&self) -> Result<Vec<WatchedSender>, StoreError> {
        sqlx::query_file_as!(
            WatchedSender,
            "src/store/sql/watched_senders.sql",
            COUNTED_OF_ALL
        )
        .fetch_all(&self.pool)
        .await
        .doing("read how the senders stand")
    }

    /// How everything together stands.
    pub async fn watched_figures(&self) -> Result<WatchedFigures, StoreError> {
        sqlx::query_file_as!(
            WatchedFigures,
            "src/store/sql/watched_figures.sql",
            COUNTED_AT_MOST,
            MACHINE
        )
        .fetch_one(&self.pool)
        .await
        .doing("read the figures of the metrics")
    }
}
