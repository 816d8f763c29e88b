//! Reads due messages ahead, and begins attempts.
//!
//! Reading ahead changes nothing: a message that was read is still `queued`, and a crash costs it nothing. Beginning is the
//! write-ahead intent: once it is committed the request may leave, and if nothing is recorded afterwards the message is
//! uncertain. It is one statement for all senders of a worker, and it locks their lease rows for share, so a takeover waits
//! for it and nothing of an old epoch can begin after a new one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::error::Doing;
use super::lease::WorkerId;
use super::{Store, StoreError};
use crate::domain::id::{AttemptNumber, Epoch, Era, MessageId, SenderId};

/// What is overdue ends so many at a time (`expire_overdue.sql`), and as many that wait in sequences.
pub const EXPIRED_AT_ONCE: u64 = 1_000;

/// So often one read looks again, in place of suppressed recipients that it has ended.
const LOOKS_PAST_SUPPRESSED: u32 = 5;

/// A message takes one place among those that are at hand, and one more for each of these bytes. So what is at hand has an end, also where
/// somebody writes pictures into messages.
const PLACE_BYTES: usize = 16 * 1024;
/// What is stored in more bytes, mostly compressed, is read only when it is known to find room, a place for each of these.
const LARGE_BYTES: i32 = 8 * 1024;

/// Where to go on reading one lane of one sender: its own messages of one priority, or the rows of a campaign. Only a hint: a row that
/// was committed late, or came back, lies behind it, so from time to time the reader starts again from the front.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Of this sender.
    pub sender: SenderId,
    /// Of this campaign; 0: of none.
    pub campaign: i64,
    /// With this priority; for a campaign, the one that it has now.
    pub priority: i16,
    /// After this place in the order (due time, then id).
    pub after: (OffsetDateTime, i64),
    /// What takes so many places at most, without those that are known; one in any case.
    pub limit: i64,
    /// So many that are known may lie behind that place.
    pub known: i64,
}

/// A due message, read ahead.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its id.
    pub id: MessageId,
    /// From this sender.
    pub sender: SenderId,
    /// Its campaign; 0: none.
    pub campaign: i64,
    /// 0 leaves first; for a row of a campaign, as it was asked for.
    pub priority: i16,
    /// Since when it may leave.
    pub due_at: OffsetDateTime,
    /// To whom.
    pub recipient: String,
    /// `phone`, `user` or `group`.
    pub recipient_kind: String,
    /// What it says, as the application wrote it; empty for a row of a campaign, which has what it says
    /// ([`super::campaign_work::Lane::payload`]).
    pub payload: String,
    /// What fills the placeholders of its campaign: a JSON object.
    pub variables: Option<String>,
    /// After this it is not worth sending.
    pub expires_at: Option<OffsetDateTime>,
    /// Its last request; 0 before the first.
    pub last_attempt: AttemptNumber,
}

impl Ask {
    fn is_for(&self, due: &Due) -> bool {
        (&self.sender, self.campaign, self.priority) == (&due.sender, due.campaign, due.priority)
    }
}

impl Due {
    /// So many places it takes.
    pub fn places(&self) -> usize {
        let bytes = self.payload.len() + self.variables.as_ref().map_or(0, String::len);
        1 + bytes / PLACE_BYTES
    }

    /// The request that it is begun with next.
    pub fn next_attempt(&self) -> AttemptNumber {
        AttemptNumber(self.last_attempt.0 + 1)
    }
}

/// A message that may leave now, under the epoch its sender is held with.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its id.
    pub id: MessageId,
    /// From this sender.
    pub sender: SenderId,
    /// Held under this epoch.
    pub epoch: Epoch,
    /// For this request.
    pub attempt: AttemptNumber,
}

/// An attempt that is written down: its request may leave.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// The message.
    pub id: MessageId,
    /// Its how-manieth request.
    pub attempt: AttemptNumber,
    /// Attempts spent, this one included.
    pub attempts: i32,
    /// When, by the database's clock.
    pub begun_at: OffsetDateTime,
    /// In this era of the database.
    pub era: Era,
}

/// A row that somebody else holds is waited for so long, as PostgreSQL writes it: all that is begun with it waits, too.
const LOCKED_FOR: &str = "50ms";
/// After that has happened rows that are locked are left out for so long.
const IMPATIENT_FOR: Duration = Duration::from_secs(10);

/// Whether rows that somebody else holds are waited for.
#[derive(Default)]
pub(super) struct Patience(Mutex<Option<Instant>>);

impl Patience {
    fn is_lost(&self) -> bool {
        let lost_until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost_until.is_some_and(|until| Instant::now() < until)
    }

    fn lose(&self) {
        let until = Instant::now() + IMPATIENT_FOR;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

impl Store {
    /// Due messages of several senders and lanes, in order, without those that are `known`.
    ///
    /// Rows of campaigns whose recipients must not be messaged are ended here and not given out; others are read in their
    /// place. Where very many follow one another, a few looks must do: nobody else is read meanwhile.
    pub async fn read_ahead(&self, asks: &[Ask], known: &[i64]) -> Result<Vec<Due>, StoreError> {
        let mut looks = 0;
        loop {
            let read = self.look_ahead(asks, known).await?;
            let (suppressed, due): (Vec<_>, Vec<_>) = read
                .into_iter()
                .partition(|(_, is_suppressed)| *is_suppressed);
            looks += 1;
            let ids: Vec<MessageId> = suppressed.iter().map(|(due, _)| due.id).collect();
            let ended = match ids.is_empty() {
                true => 0,
                false => self.end_suppressed(&ids).await?,
            };
            if ended == 0 || looks == LOOKS_PAST_SUPPRESSED {
                return Ok(due.into_iter().map(|(due, _)| due).collect());
            }
        }
    }

    /// The last id that was drawn for a message, whether that is committed or not; 0 before the first. Costs next to nothing.
    pub async fn newest_message(&self) -> Result<MessageId, StoreError> {
        sqlx::query_scalar!(
            r#"select case when is_called then last_value else 0 end as "newest!" from wa.outbox_id_seq"#
        )
            .fetch_one(&self.pool)
            .await
            .doing("see whether there are new messages")
            .map(MessageId)
    }

    /// Those of these senders that have anything in the queue, due or not, or waiting in a sequence.
    pub async fn senders_with_something_open(
        &self,
        senders: &[SenderId],
    ) -> Result<Vec<SenderId>, StoreError> {
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        let found = sqlx::query_scalar!(
            r#"select s.sender as "sender!" from unnest($1::text[]) as s (sender)
               where exists (select from wa.queue q where q.sender = s.sender and q.campaign >= 0 and q.state = 'queued')
                 or exists (select from wa.waiting w where w.sender = s.sender)"#,
            &senders as &[&str]
        )
        .fetch_all(&self.pool)
        .await
        .doing("look for senders with something to send")?;
        Ok(found.into_iter().map(SenderId::from).collect())
    }

    /// What is due, and whether its recipient must not be messaged.
    async fn look_ahead(
        &self,
        asks: &[Ask],
        known: &[i64],
    ) -> Result<Vec<(Due, bool)>, StoreError> {
        let senders: Vec<&str> = asks.iter().map(|ask| ask.sender.as_str()).collect();
        let campaigns: Vec<i64> = asks.iter().map(|ask| ask.campaign).collect();
        let priorities: Vec<i16> = asks.iter().map(|ask| ask.priority).collect();
        let after_due: Vec<OffsetDateTime> = asks.iter().map(|ask| ask.after.0).collect();
        let after_id: Vec<i64> = asks.iter().map(|ask| ask.after.1).collect();
        let limits: Vec<i64> = asks.iter().map(|ask| ask.limit + ask.known).collect();
        let rows = sqlx::query_file!(
            "src/store/sql/read_ahead.sql",
            &senders as &[&str],
            &campaigns,
            &priorities,
            &after_due,
            &after_id,
            &limits,
            known,
            LARGE_BYTES
        )
        .fetch_all(&self.pool)
        .await
        .doing("read due messages ahead")?;
        let mut found = Vec::with_capacity(rows.len());
        let mut large = HashMap::new();
        for row in rows {
            if row.payload.is_none() {
                large.insert(row.id, row.stored as usize);
            }
            let due = Due {
                id: MessageId(row.id),
                sender: SenderId::from(row.sender),
                campaign: row.campaign,
                priority: row.priority,
                due_at: row.due_at,
                recipient: row.recipient,
                recipient_kind: row.recipient_kind,
                payload: row.payload.unwrap_or_default(),
                variables: row.variables,
                expires_at: row.expires_at,
                last_attempt: AttemptNumber(row.attempt),
            };
            found.push((due, row.is_suppressed));
        }
        if !large.is_empty() {
            self.read_large(&mut found, &large, asks).await?;
        }
        Ok(found)
    }

    /// Reads the contents of those that are stored in so many bytes, as far as their lane has room. What comes after that in the lane is
    /// left to the next look.
    async fn read_large(
        &self,
        found: &mut Vec<(Due, bool)>,
        large: &HashMap<i64, usize>,
        asks: &[Ask],
    ) -> Result<(), StoreError> {
        let mut taken = vec![0; asks.len()];
        found.retain(|(due, _)| {
            let Some(lane) = asks.iter().position(|ask| ask.is_for(due)) else {
                return false;
            };
            let fits = taken[lane] < asks[lane].limit;
            let stored = large.get(&due.id.0).copied().unwrap_or_default();
            taken[lane] += 1 + (stored / LARGE_BYTES as usize) as i64;
            fits
        });
        let ids = found.iter().map(|(due, _)| due.id.0);
        let wanted: Vec<i64> = ids.filter(|id| large.contains_key(id)).collect();
        let contents = sqlx::query!(
            r#"select o.id, coalesce(o.payload::text, '') as "payload!", o.variables::text as variables
               from wa.outbox o where o.id = any ($1)"#,
            &wanted
        )
        .fetch_all(&self.pool)
        .await
        .doing("read large messages ahead")?;
        let contents = contents.into_iter();
        let mut contents: HashMap<i64, _> = contents
            .map(|row| (row.id, (row.payload, row.variables)))
            .collect();
        found.retain_mut(|(due, _)| match contents.remove(&due.id.0) {
            Some(content) => {
                (due.payload, due.variables) = content;
                true
            }
            None => !large.contains_key(&due.id.0),
        });
        Ok(())
    }

    /// Ends rows of campaigns whose recipients must not be messaged, as far as they have not been begun. Says how many.
    pub async fn end_suppressed(&self, messages: &[MessageId]) -> Result<u64, StoreError> {
        let ids: Vec<i64> = messages.iter().map(|id| id.0).collect();
        let ended = sqlx::query_file!("src/store/sql/end_suppressed.sql", &ids)
            .execute(&self.pool)
            .await
            .doing("end messages to suppressed recipients")?;
        Ok(ended.rows_affected())
    }

    /// Writes down that these messages are about to be sent. Those that are no longer queued (cancelled, settled), whose
    /// sender has changed hands, whose campaign does not run any more or whose recipient was suppressed meanwhile, and those that somebody
    /// holds locked, are left out of the answer and must not be sent.
    ///
    /// `answer_due_in`: after this long no answer can come any more; a later holder takes them for uncertain then.
    pub async fn begin(
        &self,
        worker: WorkerId,
        claims: &[Claim],
        answer_due_in: Duration,
    ) -> Result<Vec<Begun>, StoreError> {
        let mut claims: Vec<&Claim> = claims.iter().collect();
        claims.sort_unstable_by_key(|claim| claim.id);
        let ids: Vec<i64> = claims.iter().map(|claim| claim.id.0).collect();
        let senders: Vec<&str> = claims.iter().map(|claim| claim.sender.as_str()).collect();
        let epochs: Vec<i64> = claims.iter().map(|claim| claim.epoch.0).collect();
        let (era, tick) = self.here();
        let begin = async |leaves_locked_out: bool| {
            sqlx::query_file!(
                "src/store/sql/begin.sql",
                worker.0,
                &ids,
                &senders as &[&str],
                &epochs,
                answer_due_in.as_secs_f64(),
                era,
                tick,
                leaves_locked_out,
                LOCKED_FOR
            )
            .fetch_all(&self.pool)
            .await
            .doing("begin attempts")
        };
        let mut rows = begin(self.patience.is_lost()).await;
        if rows.as_ref().is_err_and(StoreError::may_be_tried_again) {
            self.patience.lose();
            rows = begin(true).await;
        }
        let rows = rows?;
        if rows.is_empty() {
            // Perhaps all were cancelled. Perhaps it is another database.
            self.suspect();
        }
        let era = era.map_or(Era::FIRST, Era);
        Ok(rows
            .into_iter()
            .map(|row| Begun {
                id: MessageId(row.id),
                attempt: AttemptNumber(row.attempt),
                attempts: row.attempts,
                begun_at: row.begun_at,
                era,
            })
            .collect())
    }

    /// Puts messages back whose requests were begun and never made: a begin whose answer was lost, or a sender that has changed
    /// hands before they could leave. The caller has sent none of them, so it needs no lease for this.
    ///
    /// The request is named by its number: a statement that reaches the server late, when it was tried again long ago, must not
    /// put back the next request of the message, which is on its way. So that number is spent even if the begin has not been
    /// done: the next request, which may be begun at once, has another.
    pub async fn take_back(&self, claims: &[Claim]) -> Result<u64, StoreError> {
        let ids: Vec<i64> = claims.iter().map(|claim| claim.id.0).collect();
        let senders: Vec<&str> = claims.iter().map(|claim| claim.sender.as_str()).collect();
        let epochs: Vec<i64> = claims.iter().map(|claim| claim.epoch.0).collect();
        let attempts: Vec<i32> = claims.iter().map(|claim| claim.attempt.0).collect();
        let doing = "take back attempts that were never made";
        let mut transaction = self.begin_here().await.doing(doing)?;
        let returned = sqlx::query!(
            "update wa.queue q set state = 'queued', attempt = c.attempt, attempts = q.attempts - (q.state = 'sending')::int,
               epoch = null, begun_at = null, deadline = null
             from unnest($1::bigint[], $2::text[], $3::bigint[], $4::int[]) as c (id, sender, epoch, attempt)
             where q.id = c.id and q.sender = c.sender
               and (q.state = 'sending' and q.epoch = c.epoch and q.attempt = c.attempt
                 or q.state = 'queued' and q.attempt < c.attempt)",
            &ids,
            &senders as &[&str],
            &epochs,
            &attempts
        )
        .persistent(false)
        .execute(&mut *transaction)
        .await
        .doing(doing)?
        .rows_affected();
        // Swept meanwhile: uncertain only because nobody knew that it had not left.
        let swept = sqlx::query_scalar!(
            r#"select count(*) as "count!" from wa.put_back($1::bigint[], $2::int[], array_fill(1, array[cardinality($1)]),
                 array_fill(0::float8, array[cardinality($1)]), array_fill(null::text, array[cardinality($1)]))"#,
            &ids,
            &attempts
        )
        .fetch_one(&mut *transaction)
        .await
        .doing(doing)?;
        transaction.commit().await.doing(doing)?;
        Ok(returned + swept as u64)
    }

    /// Puts messages off that were read ahead but may not leave yet (the pair limit). No attempt is spent.
    pub async fn put_off(
        &self,
        until: &[(MessageId, OffsetDateTime, &str)],
    ) -> Result<(), StoreError> {
        let ids: Vec<i64> = until.iter().map(|(id, ..)| id.0).collect();
        let times: Vec<OffsetDateTime> = until.iter().map(|(_, at, _)| *at).collect();
        let reasons: Vec<&str> = until.iter().map(|(.., why)| *why).collect();
        sqlx::query!(
            "update wa.queue q set due_at = p.due_at, waiting_for = p.why
             from unnest($1::bigint[], $2::timestamptz[], $3::text[]) as p (id, due_at, why)
             where q.id = p.id and q.state = 'queued'",
            &ids,
            &times,
            &reasons as &[&str]
        )
        .persistent(false)
        .execute(&self.pool)
        .await
        .doing("put messages off")
        .map(drop)
    }

    /// Ends messages whose time has passed before they could leave: queued ones, and members that wait in a sequence. Where it ends
    /// [`EXPIRED_AT_ONCE`] or more, there may be others.
    pub async fn expire_overdue(&self) -> Result<u64, StoreError> {
        let expired = sqlx::query_file!("src/store/sql/expire_overdue.sql")
            .execute(&self.pool)
            .await
            .doing("expire messages whose time has passed")?;
        Ok(expired.rows_affected())
    }
}
