//! Who did what by the dashboard, or by a command that cannot be undone, and why.
//!
//! It is written before the deed is done, so that one which breaks off half way is seen; how it ended is added once and never
//! changed. No recipient and no wamid stands here: what was done is told by ids.

use time::OffsetDateTime;

use super::error::Doing;
use super::record::storable;
use super::{Store, StoreError};

/// Something that a person is about to do.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a> {
    /// Who.
    pub author: &'a str,
    /// As what: `viewer` or `operator`.
    pub role: &'a str,
    /// From which address.
    pub address: &'a str,
    /// What, as a word: `hold_sender`.
    pub what: &'a str,
    /// To what, by its id.
    pub target: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// Something that a person did.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// Its number.
    pub event: i64,
    /// When.
    pub at: OffsetDateTime,
    /// Who.
    pub author: String,
    /// As what.
    pub role: String,
    /// What.
    pub what: String,
    /// To what.
    pub target: String,
    /// Why.
    pub reason: String,
    /// How it ended, in words; none while it is under way, or where it broke off.
    pub outcome: Option<String>,
    /// Whether it was done.
    pub succeeded: Option<bool>,
}

impl Store {
    /// Writes down what is about to be done, and gives its number.
    pub async fn begin_deed(&self, deed: &Deed<'_>) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            "insert into wa.audit (author, role, address, what, target, reason) values ($1, $2, $3, $4, $5, $6) returning event",
            storable(deed.author),
            deed.role,
            deed.address,
            deed.what,
            storable(deed.target),
            storable(deed.reason)
        )
        .fetch_one(&self.pool)
        .await
        .doing("write down who does what")
    }

    /// Writes down how it ended.
    pub async fn end_deed(
        &self,
        event: i64,
        outcome: &str,
        succeeded: bool,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update wa.audit set ended_at = clock_timestamp(), outcome = $2, succeeded = $3 where event = $1",
            event,
            storable(outcome),
            succeeded
        )
        .execute(&self.pool)
        .await
        .doing("write down how it ended")
        .map(drop)
    }

    /// What was done, the latest first, a page at a time: before this event, at most so many.
    pub async fn audit(
        &self,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        sqlx::query_as!(
            AuditEvent,
            "select event, at, author, role, what, target, reason, outcome, succeeded from wa.audit
             where $1::bigint is null or event < $1 order by event desc limit $2",
            before,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .doing("read who did what")
    }
}
