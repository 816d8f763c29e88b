//! Counts for people: how much stands where.

use time::OffsetDateTime;

use super::error::Doing;
use super::inbox::LISTENING_GAP;
use super::{Store, StoreError};
use crate::domain::id::SenderId;

/// How much stands in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCount {
    /// The state, as `wa.messages` names it.
    pub state: String,
    /// The status, where WhatsApp has said anything.
    pub status: Option<String>,
    /// So many messages.
    pub messages: i64,
}

/// The webhook inbox in numbers, none of them higher than [`COUNTED_AT_MOST`].
#[derive(Clone, Debug)]
pub struct InboxSummary {
    /// Stored and not yet applied.
    pub pending: i64,
    /// Could not be read.
    pub bad: i64,
    /// Statuses of messages that are not ours, or not yet.
    pub unmatched: i64,
}

/// How a sender stands: what holds it, who works it, how it goes, and what waits. Counts no further than
/// [`SenderStanding::counted_at_most`], so it costs the same whatever is queued.
#[derive(Clone, Debug)]
pub struct SenderStanding {
    /// The sender.
    pub sender: String,
    /// `env:NAME` or `file:PATH`.
    pub credential: String,
    /// Where its provider is.
    pub base_url: String,
    /// Requests a second, as it is set.
    pub rate_per_second: f64,
    /// Why it is held. It stays behind when the hold's time is over, until somebody has noticed.
    pub held_reason: Option<String>,
    /// By whom.
    pub held_by: Option<String>,
    /// Since when.
    pub held_at: Option<OffsetDateTime>,
    /// Until when.
    pub held_until: Option<OffsetDateTime>,
    /// The class of the cause, see [`Cause`](crate::domain::hold::Cause).
    pub held_cause: Option<String>,
    /// Meta's code.
    pub held_code: Option<i64>,
    /// When one message is tried.
    pub probe_at: Option<OffsetDateTime>,
    /// So many were tried and refused.
    pub probes: i32,
    /// One is being tried, and is given up then.
    pub probing_until: Option<OffsetDateTime>,
    /// When it was last released.
    pub released_at: Option<OffsetDateTime>,
    /// By whom.
    pub released_by: Option<String>,
    /// Why.
    pub released_why: Option<String>,
    /// Who works it, by name.
    pub worker: Option<String>,
    /// And by number.
    pub worker_id: Option<i64>,
    /// How often it has changed hands.
    pub epoch: i64,
    /// What the owner says stands in its way.
    pub problem: Option<String>,
    /// Workers that run, whoever works this sender.
    pub workers: i64,
    /// When the owner last said how it goes; none of the figures below is known without it.
    pub said_at: Option<OffsetDateTime>,
    /// Requests that left in the last second.
    pub rate_now: Option<f64>,
    /// Requests a second that are permitted at the moment.
    pub rate_limit: Option<f64>,
    /// Where that limit comes from, in words.
    pub limit_source: Option<String>,
    /// Requests that are out.
    pub in_flight: Option<i32>,
    /// Messages read ahead and not begun.
    pub at_hand: Option<i32>,
    /// `closed`, `open` or `half_open`.
    pub breaker: Option<String>,
    /// When an open breaker lets a probe through.
    pub breaker_until: Option<OffsetDateTime>,
    /// Until when it was told to be silent.
    pub slow_until: Option<OffsetDateTime>,
    /// The last thing that went wrong, in words.
    pub last_error: Option<String>,
    /// When.
    pub last_error_at: Option<OffsetDateTime>,
    /// Messages that may leave now.
    pub due: i64,
    /// Messages that may be sent, now or later, or are being sent.
    pub queued: i64,
    /// Neither count is higher; one as high means "at least".
    pub counted_at_most: i64,
    /// The oldest that is due.
    pub oldest_due_at: Option<OffsetDateTime>,
    /// The first that is not due yet.
    pub next_due_at: Option<OffsetDateTime>,
    /// Its templates that are held.
    pub held_templates: i64,
    /// Its campaigns that have messages queued and none that may leave now: drafts, paused ones, those of another hour.
    pub resting_campaigns: i64,
    /// The database's time of all this.
    pub now: OffsetDateTime,
}

/// No count for people is higher: this one means "more than 10,000".
pub const COUNTED_AT_MOST: i64 = 10_001;

/// Rows that are counted of all senders together, at most; of each its share of that, 100 at least.
pub(super) const COUNTED_OF_ALL: i64 = 100_000;

/// Who works a sender, and whether it can. Counts nothing, so it costs the same whatever is queued.
#[derive(Clone, Debug)]
pub struct SenderOwner {
    /// The sender.
    pub sender: String,
    /// The worker that holds its lease.
    pub worker: Option<String>,
    /// What the owner says stands in its way.
    pub problem: Option<String>,
}

/// The uncertain messages in numbers, as far as [`COUNTED_AT_MOST`] of them tell.
#[derive(Clone, Debug)]
pub struct UncertainSummary {
    /// So many.
    pub messages: i64,
    /// Those that only a person can settle.
    pub needs_person: i64,
    /// When the request of the oldest was begun.
    pub oldest_begun_at: Option<OffsetDateTime>,
}

/// What concerns all senders, at a cost that does not depend on how much there is. No count is higher than
/// [`COUNTED_AT_MOST`].
#[derive(Clone, Debug)]
pub struct Overview {
    /// Workers that run.
    pub workers: i64,
    /// Messages whose answer was lost.
    pub uncertain: i64,
    /// Those of them, as far as they are counted, that only a person can settle.
    pub needs_person: i64,
    /// When the oldest webhook came that is not applied yet.
    pub oldest_delivery_at: Option<OffsetDateTime>,
    /// When the last status came.
    pub last_status_at: Option<OffsetDateTime>,
    /// Whether somebody listens to webhooks; none where nobody ever has.
    pub is_listening: Option<bool>,
    /// The database's time of all this.
    pub now: OffsetDateTime,
}

impl Store {
    /// What concerns all senders.
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        sqlx::query_file_as!(
            Overview,
            "src/store/sql/overview.sql",
            COUNTED_AT_MOST,
            LISTENING_GAP.as_secs_f64()
        )
        .fetch_one(&self.pool)
        .await
        .doing("read how it goes")
    }

    /// Messages by state and status, every one of them. Scans what has ended, so it is for tests and benches; people read the
    /// [`census`](Self::census).
    pub async fn counts(&self) -> Result<Vec<StateCount>, StoreError> {
        sqlx::query_as!(
            StateCount,
            r#"select state as "state!", status, count(*) as "messages!" from wa.messages group by 1, 2 order by 1, 2"#
        )
        .fetch_all(&self.pool)
        .await
        .doing("count the messages")
    }

    /// How many messages have not ended yet: the narrow tables only.
    pub async fn open_messages(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            r#"select (select count(*) from wa.queue) + (select count(*) from wa.waiting) + (select count(*) from wa.uncertain) as "open!""#
        )
        .fetch_one(&self.pool)
        .await
        .doing("count the open messages")
    }

    /// The webhook inbox in numbers. Reads the front of partial indexes that an ordinary delivery leaves or never enters.
    pub async fn inbox_summary(&self) -> Result<InboxSummary, StoreError> {
        sqlx::query_as!(
            InboxSummary,
            r#"select wa.count_waiting_deliveries($1) as "pending!",
                      (select count(*) from (select state from wa.webhook_inbox where state = 'bad' or bad_entries is not null
                         order by id desc limit $1) b where b.state = 'bad') as "bad!",
                      (select count(*) from (select from wa.status_events where id is null
                         order by received_at desc limit $1) u) as "unmatched!""#,
            COUNTED_AT_MOST
        )
        .fetch_one(&self.pool)
        .await
        .doing("count the webhook deliveries")
    }

    /// How one sender stands, counted up to [`COUNTED_AT_MOST`], or every one, counted up to its share of a bound on all.
    pub async fn sender_standings(
        &self,
        sender: Option<&SenderId>,
    ) -> Result<Vec<SenderStanding>, StoreError> {
        sqlx::query_file_as!(
            SenderStanding,
            "src/store/sql/sender_standings.sql",
            sender.map(SenderId::as_str),
            COUNTED_AT_MOST,
            COUNTED_OF_ALL
        )
        .fetch_all(&self.pool)
        .await
        .doing("read how the senders stand")
    }

    /// Who works each sender.
    pub async fn sender_owners(&self) -> Result<Vec<SenderOwner>, StoreError> {
        sqlx::query_as!(
            SenderOwner,
            r#"select s.sender, w.name as "worker?", l.problem
               from wa.senders s
               left join wa.leases l using (sender)
               left join wa.workers w on w.worker = l.worker and w.expires_at > now()
               order by s.sender"#
        )
        .fetch_all(&self.pool)
        .await
        .doing("read who works the senders")
    }

    /// The uncertain messages in numbers.
    pub async fn uncertain_summary(&self) -> Result<UncertainSummary, StoreError> {
        sqlx::query_as!(
            UncertainSummary,
            r#"select count(*) as "messages!", count(*) filter (where needs_person) as "needs_person!",
                      min(begun_at) as oldest_begun_at
               from (select needs_person, begun_at from wa.uncertain order by id limit $1) u"#,
            COUNTED_AT_MOST
        )
        .fetch_one(&self.pool)
        .await
        .doing("count the uncertain messages")
    }
}
