//! What the owner of a sender says of it, once a second, for people.

use time::OffsetDateTime;

use super::error::Doing;
use super::lease::WorkerId;
use super::{Store, StoreError};
use crate::domain::id::Epoch;

/// How one sender goes at the moment.
#[derive(Clone, Debug)]
pub struct SenderRuntime {
    /// The sender.
    pub sender: String,
    /// Held under this epoch.
    pub epoch: Epoch,
    /// Requests that left in the last second.
    pub rate_now: f64,
    /// Requests a second that its throttle permits at the moment.
    pub rate_limit: f64,
    /// Where that limit comes from, in words.
    pub limit_source: String,
    /// Requests that are out.
    pub in_flight: i32,
    /// Messages read ahead and not begun.
    pub at_hand: i32,
    /// `closed`, `open` or `half_open`.
    pub breaker: &'static str,
    /// When an open breaker lets a probe through.
    pub breaker_until: Option<OffsetDateTime>,
    /// Until when it was told to be silent.
    pub slow_until: Option<OffsetDateTime>,
    /// The last thing that went wrong, in words.
    pub last_error: Option<String>,
    /// When.
    pub last_error_at: Option<OffsetDateTime>,
}

impl Store {
    /// Says how the senders of a worker go.
    pub async fn say_runtime(
        &self,
        worker: WorkerId,
        runtimes: &[SenderRuntime],
    ) -> Result<(), StoreError> {
        let column =
            |pick: fn(&SenderRuntime) -> f64| -> Vec<f64> { runtimes.iter().map(pick).collect() };
        let senders: Vec<&str> = runtimes.iter().map(|one| one.sender.as_str()).collect();
        let epochs: Vec<i64> = runtimes.iter().map(|one| one.epoch.0).collect();
        let sources: Vec<&str> = runtimes
            .iter()
            .map(|one| one.limit_source.as_str())
            .collect();
        let in_flight: Vec<i32> = runtimes.iter().map(|one| one.in_flight).collect();
        let at_hand: Vec<i32> = runtimes.iter().map(|one| one.at_hand).collect();
        let breakers: Vec<&str> = runtimes.iter().map(|one| one.breaker).collect();
        let breaker_until: Vec<Option<OffsetDateTime>> =
            runtimes.iter().map(|one| one.breaker_until).collect();
        let slow_until: Vec<Option<OffsetDateTime>> =
            runtimes.iter().map(|one| one.slow_until).collect();
        let errors: Vec<Option<&str>> = runtimes
            .iter()
            .map(|one| one.last_error.as_deref())
            .collect();
        let error_times: Vec<Option<OffsetDateTime>> =
            runtimes.iter().map(|one| one.last_error_at).collect();
        sqlx::query_file!(
            "src/store/sql/say_runtime.sql",
            worker.0,
            &senders as &[&str],
            &epochs,
            &column(|one| one.rate_now),
            &column(|one| one.rate_limit),
            &sources as &[&str],
            &in_flight,
            &at_hand,
            &breakers as &[&str],
            &breaker_until as &[Option<OffsetDateTime>],
            &slow_until as &[Option<OffsetDateTime>],
            &errors as &[Option<&str>],
            &error_times as &[Option<OffsetDateTime>]
        )
        .execute(&self.pool)
        .await
        .doing("say how the senders go")
        .map(drop)
    }
}
