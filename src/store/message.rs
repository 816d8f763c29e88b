//! Reads messages, their attempts and their statuses.

use time::OffsetDateTime;

use super::error::Doing;
use super::summary::COUNTED_AT_MOST;
use super::{Store, StoreError};
use crate::domain::id::{MessageId, Wamid};
use crate::domain::placeholders::{Template, Variables};

/// A message as `wa.messages` shows it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id.
    pub id: i64,
    /// From this sender.
    pub sender: String,
    /// To whom: personal data.
    pub recipient: String,
    /// Ours: queued, waiting, sending, uncertain, accepted, failed, expired, cancelled.
    pub state: String,
    /// WhatsApp's: sent, delivered, read, played, failed.
    pub status: Option<String>,
    /// WhatsApp's id: personal data.
    pub wamid: Option<String>,
    /// Attempts spent.
    pub attempts: i32,
    /// What it waits for, in words.
    pub waiting_for: Option<String>,
    /// Meta's code.
    pub error_code: Option<i64>,
    /// Why it failed, in words.
    pub error_message: Option<String>,
    /// 0 leaves first.
    pub priority: i16,
    /// Since when, or from when, it may leave.
    pub due_at: OffsetDateTime,
    /// Not after this.
    pub expires_at: Option<OffsetDateTime>,
    /// The sequence it is in.
    pub sequence: Option<String>,
    /// The application's key.
    pub dedup_key: Option<String>,
    /// The application's id.
    pub reference: Option<String>,
    /// When it was written.
    pub created_at: OffsetDateTime,
    /// When WhatsApp took it.
    pub accepted_at: Option<OffsetDateTime>,
    /// When it left WhatsApp.
    pub sent_at: Option<OffsetDateTime>,
    /// When it reached the recipient.
    pub delivered_at: Option<OffsetDateTime>,
    /// When it was read.
    pub read_at: Option<OffsetDateTime>,
    /// When it failed.
    pub failed_at: Option<OffsetDateTime>,
    /// Set when WhatsApp took it twice: why.
    pub duplicate: Option<String>,
    /// WhatsApp reported it both failed and delivered.
    pub status_conflict: bool,
}

/// A request that did not end in plain acceptance.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// Its number.
    pub attempt: i32,
    /// When it was begun.
    pub begun_at: Option<OffsetDateTime>,
    /// When it ended.
    pub ended_at: OffsetDateTime,
    /// How.
    pub outcome: String,
    /// The HTTP status.
    pub http_status: Option<i32>,
    /// Meta's code.
    pub error_code: Option<i64>,
    /// Meta's words.
    pub error_title: Option<String>,
    /// Meta's details.
    pub error_details: Option<String>,
    /// For Meta's support.
    pub fbtrace_id: Option<String>,
    /// Ours.
    pub note: Option<String>,
    /// What settled it: response, webhook, policy, operator.
    pub settled_by: Option<String>,
    /// When.
    pub settled_at: Option<OffsetDateTime>,
    /// The operator's reason.
    pub settled_note: Option<String>,
}

/// A wamid that was learned for a message.
#[derive(Clone, Debug)]
pub struct AcceptanceRow {
    /// WhatsApp's id.
    pub wamid: Wamid,
    /// For this request.
    pub attempt: i32,
    /// From response, webhook or operator.
    pub learned_from: String,
    /// When.
    pub learned_at: OffsetDateTime,
}

/// A status as it came.
#[derive(Clone, Debug)]
pub struct StatusRow {
    /// What it says.
    pub status: String,
    /// When WhatsApp says it happened.
    pub occurred_at: OffsetDateTime,
    /// When it came.
    pub received_at: OffsetDateTime,
    /// Why it failed.
    pub error_code: Option<i64>,
    /// In Meta's words.
    pub error_title: Option<String>,
    /// In more of them.
    pub error_details: Option<String>,
}

/// Of a history so much is told from its beginning. A message that is throttled gains a request every few seconds, for days.
pub const FIRST_TOLD: i64 = 20;
/// And so much from its end.
pub const NEWEST_TOLD: i64 = 100;

/// How much of a history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Of requests, wamids and statuses the first [`FIRST_TOLD`] and the newest [`NEWEST_TOLD`] each.
    BothEnds,
    /// All of it, however much that is.
    Whole,
}

impl Reach {
    /// So many from the beginning, and so many from the end.
    fn ends(self) -> (i64, i64) {
        match self {
            Self::BothEnds => (FIRST_TOLD, NEWEST_TOLD),
            Self::Whole => (i64::MAX, 0),
        }
    }

    /// Whether there may be some between the two ends, when so many were read.
    fn may_leave_out(self, read: usize) -> bool {
        self == Self::BothEnds && read as i64 >= FIRST_TOLD + NEWEST_TOLD
    }
}

/// How many stand between the first and the newest that were read, each counted up to [`COUNTED_AT_MOST`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Requests.
    pub requests: i64,
    /// Wamids.
    pub acceptances: i64,
    /// Statuses.
    pub statuses: i64,
}

/// Everything that is known about one message.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The message.
    pub message: Message,
    /// Its requests that did not end in plain acceptance.
    pub attempts: Vec<AttemptRow>,
    /// Its wamids; more than one is a duplicate.
    pub acceptances: Vec<AcceptanceRow>,
    /// Its statuses in the order they came.
    pub statuses: Vec<StatusRow>,
    /// What of these was not read.
    pub left_out: LeftOut,
}

/// What stands in front of a message, and how its request goes. Every count goes as far as [`COUNTED_AT_MOST`].
#[derive(Clone, Debug)]
pub struct Place {
    /// `queued` or `sending`; none for one that is in no queue.
    pub state: Option<String>,
    /// The request that is out, or was last.
    pub attempt: Option<i32>,
    /// When that was begun.
    pub begun_at: Option<OffsetDateTime>,
    /// Whether its answer should have come by now.
    pub is_overdue: Option<bool>,
    /// Messages in its lane that are due and leave before it.
    pub ahead: i64,
    /// Those of them with a more urgent priority.
    pub more_urgent: i64,
    /// Members of its sequence that wait and come before it.
    pub before_in_sequence: i64,
}

impl Store {
    /// One message.
    pub async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        sqlx::query_file_as!(Message, "src/store/sql/message.sql", id.0)
            .fetch_optional(&self.pool)
            .await
            .doing("read the message")
    }

    /// One message with what is known of it, as far as that is asked for.
    pub async fn timeline(
        &self,
        id: MessageId,
        reach: Reach,
    ) -> Result<Option<Timeline>, StoreError> {
        let Some(message) = self.message(id).await? else {
            return Ok(None);
        };
        let (attempts, requests) = self.requests(&message, reach).await?;
        let (acceptances, wamids) = self.acceptances(id, reach).await?;
        let (statuses, told) = self.statuses(id, reach).await?;
        Ok(Some(Timeline {
            message,
            attempts,
            acceptances,
            statuses,
            left_out: LeftOut {
                requests,
                acceptances: wamids.min(COUNTED_AT_MOST),
                statuses: told.min(COUNTED_AT_MOST),
            },
        }))
    }

    /// The requests of a message that did not end in plain acceptance, and how many were left out.
    async fn requests(
        &self,
        message: &Message,
        reach: Reach,
    ) -> Result<(Vec<AttemptRow>, i64), StoreError> {
        let (first, newest) = reach.ends();
        let read = sqlx::query_file_as!(
            AttemptRow,
            "src/store/sql/message_requests.sql",
            message.id,
            message.sender,
            first,
            newest
        )
        .fetch_all(&self.pool)
        .await
        .doing("read the message's requests")?;
        let ends = read
            .get(FIRST_TOLD as usize - 1)
            .zip(read.get(FIRST_TOLD as usize));
        let Some((last, next)) = ends.filter(|_| reach.may_leave_out(read.len())) else {
            return Ok((read, 0));
        };
        let between = sqlx::query_scalar!(
            r#"select count(*) as "count!" from (
                 select from wa.attempts where id = $1 and sender = $2 and attempt > $3 and attempt < $4 limit $5
               ) as between_them"#,
            message.id,
            message.sender,
            last.attempt,
            next.attempt,
            COUNTED_AT_MOST
        )
        .fetch_one(&self.pool)
        .await
        .doing("count the message's requests")?;
        Ok((read, between))
    }

    /// The wamids of a message in the order they were learned, and how many were left out.
    async fn acceptances(
        &self,
        id: MessageId,
        reach: Reach,
    ) -> Result<(Vec<AcceptanceRow>, i64), StoreError> {
        let (first, newest) = reach.ends();
        let rows = sqlx::query!(
            r#"select wamid as "wamid!", attempt as "attempt!", learned_from as "learned_from!", learned_at as "learned_at!", of as "of!"
               from (
                 select k.*, row_number() over (order by learned_at, attempt, wamid) as place, count(*) over () as of
                 from wa.known_wamids k where id = $1
               ) as known
               where place <= $2 or place > of - $3 order by place"#,
            id.0,
            first,
            newest
        )
        .fetch_all(&self.pool)
        .await
        .doing("read the message's wamids")?;
        let left_out = rows.first().map_or(0, |row| row.of - rows.len() as i64);
        let learned = rows.into_iter().map(|row| AcceptanceRow {
            wamid: Wamid::from(row.wamid),
            attempt: row.attempt,
            learned_from: row.learned_from,
            learned_at: row.learned_at,
        });
        Ok((learned.collect(), left_out))
    }

    /// The statuses of a message in the order they came, and how many were left out.
    async fn statuses(
        &self,
        id: MessageId,
        reach: Reach,
    ) -> Result<(Vec<StatusRow>, i64), StoreError> {
        let (first, newest) = reach.ends();
        let rows = sqlx::query!(
            r#"select status, occurred_at, received_at, error_code, error_title, error_details, of as "of!"
               from (
                 select s.*, row_number() over (order by event) as place, count(*) over () as of
                 from wa.status_events s where id = $1
               ) as told
               where place <= $2 or place > of - $3 order by place"#,
            id.0,
            first,
            newest
        )
        .fetch_all(&self.pool)
        .await
        .doing("read the message's statuses")?;
        let left_out = rows.first().map_or(0, |row| row.of - rows.len() as i64);
        let told = rows.into_iter().map(|row| StatusRow {
            status: row.status,
            occurred_at: row.occurred_at,
            received_at: row.received_at,
            error_code: row.error_code,
            error_title: row.error_title,
            error_details: row.error_details,
        });
        Ok((told.collect(), left_out))
    }

    /// What stands in front of a message, and how its request goes.
    pub async fn place(&self, id: MessageId) -> Result<Option<Place>, StoreError> {
        sqlx::query_file_as!(
            Place,
            "src/store/sql/message_place.sql",
            id.0,
            COUNTED_AT_MOST
        )
        .fetch_optional(&self.pool)
        .await
        .doing("read what stands in front of the message")
    }

    /// The content of a message: personal data. As it was written; for a row of a campaign as it is sent, filled with its variables,
    /// or with the placeholders where those do not fill it.
    pub async fn payload(&self, id: MessageId) -> Result<Option<String>, StoreError> {
        let found = sqlx::query!(
            r#"select coalesce(o.payload, c.payload)::text as payload,
                 case when o.payload is null then o.variables end::text as variables
               from wa.outbox o left join wa.campaigns c on c.id = o.campaign_id where o.id = $1"#,
            id.0
        )
        .fetch_optional(&self.pool)
        .await
        .doing("read the message's content")?;
        Ok(found.and_then(|row| {
            let payload = row.payload?;
            let filled = row.variables.and_then(|variables| {
                let variables = Variables::parse(&variables).ok()?;
                Template::parse(&payload).ok()?.fill(&variables).ok()
            });
            Some(filled.unwrap_or(payload))
        }))
    }

    /// When a message ended, if it has: accepted, failed, expired or cancelled.
    pub async fn ended_at(&self, id: MessageId) -> Result<Option<OffsetDateTime>, StoreError> {
        sqlx::query_scalar!("select ended_at from wa.results where id = $1", id.0)
            .fetch_optional(&self.pool)
            .await
            .doing("read when the message ended")
    }
}
