//! What the fleet does, in steps of five seconds: told by each process, read for charts.

use std::time::Duration;

use time::OffsetDateTime;

use super::error::Doing;
use super::{Store, StoreError};

/// A process tells its activity in steps so long.
pub const STEP: Duration = Duration::from_secs(5);
/// What is older is forgotten.
const KEPT: Duration = Duration::from_secs(86_400);

/// What one process did in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Activity {
    /// Messages that WhatsApp took.
    pub accepted: u64,
    /// Messages that ended by a verdict, or without an attempt left.
    pub failed: u64,
    /// Messages whose answer was lost.
    pub uncertain: u64,
    /// Answers that said too fast.
    pub throttled: u64,
    /// Statuses `sent` of messages of ours.
    pub sent: u64,
    /// Statuses `delivered`.
    pub delivered: u64,
    /// Statuses `read` and `played`.
    pub read: u64,
    /// Statuses `failed`.
    pub undelivered: u64,
    /// Messages queued or being sent in the whole database, counted up to a limit; none where this process does not look.
    pub queued: Option<i64>,
    /// For how long the oldest that may leave has been due, in seconds.
    pub oldest_due_s: Option<f64>,
}

/// What the whole fleet did in one span of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetActivity {
    /// Since when.
    pub at: OffsetDateTime,
    /// Messages that WhatsApp took.
    pub accepted: i64,
    /// Messages that ended by a verdict, or without an attempt left.
    pub failed: i64,
    /// Messages whose answer was lost.
    pub uncertain: i64,
    /// Answers that said too fast.
    pub throttled: i64,
    /// Statuses `delivered`.
    pub delivered: i64,
    /// Statuses `failed`.
    pub undelivered: i64,
    /// The most that was queued; none where nobody looked.
    pub queued: Option<i64>,
    /// The oldest that was due, in seconds.
    pub oldest_due_s: Option<f64>,
}

impl Store {
    /// Tells what a process has done in the step that is under way. Told twice in one step, it adds up. Says whether somebody
    /// watches the fleet ([`super::tail`]), for those who have not heard.
    pub async fn tell_activity(
        &self,
        process: &str,
        activity: &Activity,
    ) -> Result<bool, StoreError> {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        sqlx::query_file_scalar!(
            "src/store/sql/tell_activity.sql",
            process,
            STEP.as_secs_f64(),
            count(activity.accepted),
            count(activity.failed),
            count(activity.uncertain),
            count(activity.throttled),
            count(activity.sent),
            count(activity.delivered),
            count(activity.read),
            count(activity.undelivered),
            activity.queued,
            activity.oldest_due_s
        )
        .fetch_one(&self.pool)
        .await
        .doing("tell what this process does")
    }

    /// What the fleet did in the last `spans` spans of `span` each, those without a word left out, the oldest first.
    pub async fn activity(
        &self,
        span: Duration,
        spans: i32,
    ) -> Result<Vec<FleetActivity>, StoreError> {
        sqlx::query_file_as!(
            FleetActivity,
            "src/store/sql/activity.sql",
            span.as_secs_f64(),
            f64::from(spans)
        )
        .fetch_all(&self.pool)
        .await
        .doing("read what the fleet does")
    }

    /// Forgets what is older than a day.
    pub async fn forget_activity(&self) -> Result<u64, StoreError> {
        let forgotten = sqlx::query!(
            "delete from wa.activity where at < now() - make_interval(secs => $1)",
            KEPT.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .doing("forget what the fleet did yesterday")?;
        Ok(forgotten.rows_affected())
    }
}
