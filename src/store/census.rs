//! How much stands where, at a cost that does not depend on how much there is.
//!
//! What has not ended is counted, up to [`COUNTED_AT_MOST`] of each. What has ended is without end: of that the newest [`ENDED_LOOKED_AT`]
//! tell what becomes of messages now, and how many messages there are at all is Postgres' own estimate, and called one.

use time::OffsetDateTime;

use super::error::Doing;
use super::summary::{COUNTED_AT_MOST, StateCount};
use super::{Store, StoreError};

/// So many of the messages that have ended are looked at, newest first.
pub const ENDED_LOOKED_AT: i64 = 10_000;

/// How much stands where.
#[derive(Clone, Debug)]
pub struct Census {
    /// May be sent, now or later.
    pub queued: i64,
    /// Their request is out.
    pub sending: i64,
    /// Behind another one of their sequence.
    pub waiting: i64,
    /// Their answer was lost.
    pub uncertain: i64,
    /// What became of the newest that have ended, by state and status.
    pub ended: Vec<StateCount>,
    /// So many those are.
    pub ended_looked_at: i64,
    /// When the oldest of those was written.
    pub ended_back_to: Option<OffsetDateTime>,
    /// Messages in the outbox, wherever they stand.
    pub total: i64,
    /// `total` was not counted: it is what Postgres thinks, as of its last look at the table, grown with the table since.
    pub total_is_estimate: bool,
    /// The database's time of all this.
    pub now: OffsetDateTime,
}

impl Census {
    /// Whether `ended` tells of all that have ended.
    pub fn ended_is_whole(&self) -> bool {
        self.ended_looked_at < ENDED_LOOKED_AT
    }

    /// Whether there is no message at all.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

impl Store {
    /// How much stands where.
    pub async fn census(&self) -> Result<Census, StoreError> {
        let doing = "count the messages";
        let open = sqlx::query_file!("src/store/sql/census.sql", COUNTED_AT_MOST)
            .fetch_one(&self.pool)
            .await
            .doing(doing)?;
        let ended = sqlx::query_file!("src/store/sql/census_of_ended.sql", ENDED_LOOKED_AT)
            .fetch_all(&self.pool)
            .await
            .doing(doing)?;
        let sending = self.messages_under_way().await?.len() as i64;
        let is_capped = open.in_queue >= COUNTED_AT_MOST;
        Ok(Census {
            queued: if is_capped {
                COUNTED_AT_MOST
            } else {
                (open.in_queue - sending).max(0)
            },
            sending,
            waiting: open.waiting,
            uncertain: open.uncertain,
            ended_looked_at: ended.iter().map(|row| row.messages).sum(),
            ended_back_to: ended.iter().filter_map(|row| row.back_to).min(),
            ended: ended
                .into_iter()
                .map(|row| StateCount {
                    state: row.state,
                    status: row.status,
                    messages: row.messages,
                })
                .collect(),
            total: if open.counted < COUNTED_AT_MOST {
                open.counted
            } else {
                open.estimated.max(COUNTED_AT_MOST)
            },
            total_is_estimate: open.counted >= COUNTED_AT_MOST,
            now: open.now,
        })
    }
}
