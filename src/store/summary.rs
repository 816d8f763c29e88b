//! Counts for people: how much stands where.

use time::OffsetDateTime;

use super::error::Doing;
use super::{Store, StoreError};

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

/// The webhook inbox in numbers.
#[derive(Clone, Debug)]
pub struct InboxSummary {
    /// Stored and not yet applied.
    pub pending: i64,
    /// Could not be read.
    pub bad: i64,
    /// Statuses of messages that are not ours, or not yet.
    pub unmatched: i64,
}

/// One sender in numbers.
#[derive(Clone, Debug)]
pub struct SenderSummary {
    /// The sender.
    pub sender: String,
    /// Messages that may be sent or are being sent.
    pub queued: i64,
    /// The oldest of them that is due.
    pub oldest_due_at: Option<OffsetDateTime>,
    /// Who works it.
    pub worker: Option<String>,
    /// Why it is held.
    pub held_reason: Option<String>,
    /// What the owner says stands in its way.
    pub problem: Option<String>,
}

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

/// The uncertain messages in numbers.
#[derive(Clone, Debug)]
pub struct UncertainSummary {
    /// All of them.
    pub messages: i64,
    /// Those that only a person can settle.
    pub needs_person: i64,
    /// When the request of the oldest was begun.
    pub oldest_begun_at: Option<OffsetDateTime>,
}

impl Store {
    /// Messages by state and status. Scans what has ended, so it is for people and tests, not for a metric.
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

    /// The webhook inbox in numbers.
    pub async fn inbox_summary(&self) -> Result<InboxSummary, StoreError> {
        sqlx::query_as!(
            InboxSummary,
            r#"select (select count(*) from wa.webhook_inbox where state = 'pending') as "pending!",
                      (select count(*) from wa.webhook_inbox where state = 'bad') as "bad!",
                      (select count(*) from wa.status_events where id is null) as "unmatched!""#
        )
        .fetch_one(&self.pool)
        .await
        .doing("count the webhook deliveries")
    }

    /// The senders in numbers.
    pub async fn sender_summaries(&self) -> Result<Vec<SenderSummary>, StoreError> {
        sqlx::query_as!(
            SenderSummary,
            r#"select s.sender, w.name as "worker?", s.held_reason, l.problem,
                      (select count(*) from wa.queue q where q.sender = s.sender) as "queued!",
                      (select min(q.due_at) from wa.queue q where q.sender = s.sender and q.state = 'queued' and q.due_at <= now())
                        as oldest_due_at
               from wa.senders s
               left join wa.leases l using (sender)
               left join wa.workers w on w.worker = l.worker and w.expires_at > now()
               order by s.sender"#
        )
        .fetch_all(&self.pool)
        .await
        .doing("sum up the senders")
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
               from wa.uncertain"#
        )
        .fetch_one(&self.pool)
        .await
        .doing("count the uncertain messages")
    }
}
