//! How webhooks flow, for people: what waits, what could not be read, and what nobody here knows.
//!
//! Counts go as far as [`COUNTED_AT_MOST`] and lists are pages; both walk partial indexes that an ordinary delivery, and a status of an
//! ordinary message, leave at once or never enter.

use time::OffsetDateTime;

use super::error::Doing;
use super::inbox::LISTENING_GAP;
use super::summary::COUNTED_AT_MOST;
use super::{Store, StoreError};

/// How webhooks flow.
#[derive(Clone, Debug)]
pub struct WebhookHealth {
    /// Stored and not applied yet.
    pub pending: i64,
    /// When the oldest of those came.
    pub oldest_pending_at: Option<OffsetDateTime>,
    /// When the last delivery came, whatever was in it.
    pub last_delivery_at: Option<OffsetDateTime>,
    /// When the last status came, of any sender.
    pub last_status_at: Option<OffsetDateTime>,
    /// Deliveries in which something, or everything, could not be read.
    pub bad: i64,
    /// Statuses of messages that are not ours, or not yet.
    pub unmatched: i64,
    /// Whether somebody listens; none where nobody ever has.
    pub is_listening: Option<bool>,
    /// The database's time of all this.
    pub now: OffsetDateTime,
}

/// What a sender has heard from WhatsApp.
#[derive(Clone, Debug)]
pub struct SenderFlow {
    /// The sender.
    pub sender: String,
    /// When the last status about one of its messages came; none: never.
    pub last_status_at: Option<OffsetDateTime>,
    /// When the latest of its messages was accepted of which a status has come.
    pub accepted_watermark: Option<OffsetDateTime>,
    /// Whether statuses bring our callback data back.
    pub echoes: bool,
}

/// A delivery of which something could not be read.
#[derive(Clone, Debug)]
pub struct BadDelivery {
    /// Its number.
    pub id: i64,
    /// When it came.
    pub received_at: OffsetDateTime,
    /// Nothing in it could be read; else the rest was applied.
    pub is_unreadable: bool,
    /// Statuses that were found in it.
    pub statuses: Option<i32>,
    /// Entries of it that could not be read.
    pub entries: i64,
    /// Where the first of those stands.
    pub place: Option<String>,
    /// And why it could not be read.
    pub reason: Option<String>,
}

/// A status of a message that is not known here.
#[derive(Clone, Debug)]
pub struct UnmatchedStatus {
    /// Its number.
    pub event: i64,
    /// What it says.
    pub status: String,
    /// When WhatsApp says it happened.
    pub occurred_at: OffsetDateTime,
    /// When it came.
    pub received_at: OffsetDateTime,
    /// Why it failed.
    pub error_code: Option<i64>,
    /// To which sender it was told, where it was said.
    pub sender: Option<String>,
    /// In which delivery.
    pub delivery: Option<i64>,
}

/// Where a page of unmatched statuses ended: the next one is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnmatchedCursor {
    /// When the last one came.
    pub received_at: OffsetDateTime,
    /// Its number.
    pub event: i64,
}

impl UnmatchedStatus {
    /// What comes after it on the next page.
    pub fn cursor(&self) -> UnmatchedCursor {
        UnmatchedCursor {
            received_at: self.received_at,
            event: self.event,
        }
    }
}

impl Store {
    /// How webhooks flow.
    pub async fn webhook_health(&self) -> Result<WebhookHealth, StoreError> {
        sqlx::query_file_as!(
            WebhookHealth,
            "src/store/sql/webhook_health.sql",
            COUNTED_AT_MOST,
            LISTENING_GAP.as_secs_f64()
        )
        .fetch_one(&self.pool)
        .await
        .doing("read how webhooks flow")
    }

    /// What each sender has heard. One row a sender.
    pub async fn sender_flows(&self) -> Result<Vec<SenderFlow>, StoreError> {
        sqlx::query_as!(
            SenderFlow,
            r#"select s.sender, f.last_status_at as "last_status_at?", f.accepted_watermark, coalesce(f.echoes, false) as "echoes!"
               from wa.senders s left join wa.webhook_flow f on f.sender = s.sender order by s.sender"#
        )
        .fetch_all(&self.pool)
        .await
        .doing("read what the senders have heard")
    }

    /// Deliveries of which something could not be read, newest first, older than the one given. Without their bodies.
    pub async fn bad_deliveries(
        &self,
        limit: i64,
        before: Option<i64>,
    ) -> Result<Vec<BadDelivery>, StoreError> {
        sqlx::query_as!(
            BadDelivery,
            r#"select i.id, i.received_at, i.state = 'bad' as "is_unreadable!", i.statuses,
                 case when json_typeof(i.bad_entries) = 'array' then json_array_length(i.bad_entries) else 0 end::bigint as "entries!",
                 i.bad_entries -> 0 ->> 'place' as place, i.bad_entries -> 0 ->> 'reason' as reason
               from wa.webhook_inbox i
               where (i.state = 'bad' or i.bad_entries is not null) and i.id < coalesce($2::bigint, 9223372036854775807)
               order by i.id desc limit $1"#,
            limit,
            before
        )
        .fetch_all(&self.pool)
        .await
        .doing("list bad deliveries")
    }

    /// Statuses of messages that are not known here, newest first, older than the one given. Without their wamids.
    pub async fn unmatched_statuses(
        &self,
        limit: i64,
        before: Option<UnmatchedCursor>,
    ) -> Result<Vec<UnmatchedStatus>, StoreError> {
        sqlx::query_as!(
            UnmatchedStatus,
            r#"select e.event, e.status, e.occurred_at, e.received_at, e.error_code, e.sender, e.inbox_id as delivery
               from wa.status_events e
               where e.id is null
                 and e.received_at <= coalesce($2::timestamptz, 'infinity')
                 and (e.received_at, e.event) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::bigint, 9223372036854775807))
               order by e.received_at desc, e.event desc limit $1"#,
            limit,
            before.map(|cursor| cursor.received_at),
            before.map(|cursor| cursor.event)
        )
        .fetch_all(&self.pool)
        .await
        .doing("list unmatched statuses")
    }
}
