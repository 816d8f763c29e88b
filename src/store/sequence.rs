//! Sequences: where they stand, what people do about them, and the look after what is overdue.
//!
//! Lines advance in the database itself, in the transaction that writes the fact that moves them (the migration *sequences*
//! says why nothing overtakes and nothing is stranded). Here are the ways in: each is one call of a function there, which takes
//! the sequence's lock, so they can meet each other, an INSERT and a delivery in any order.

use std::time::Duration;

use time::OffsetDateTime;

use super::error::Doing;
use super::record::storable;
use super::{Store, StoreError};
use crate::domain::id::{MessageId, SenderId};

/// Which sequence. Its `Debug` does not show the recipient.
#[derive(Clone, PartialEq, Eq)]
pub struct SequenceKey {
    /// From this sender.
    pub sender: String,
    /// To this recipient: personal data. As stored, or a phone number with separators.
    pub recipient: String,
    /// Of this name.
    pub sequence: String,
}

impl std::fmt::Debug for SequenceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequenceKey")
            .field("sender", &self.sender)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// Where a sequence stands: a row of `wa.sequence_standings`.
#[derive(Clone)]
pub struct SequenceStanding {
    /// From this sender.
    pub sender: String,
    /// To this recipient: personal data.
    pub recipient: String,
    /// Its name.
    pub sequence: String,
    /// The message that everything behind it waits for.
    pub head_id: Option<i64>,
    /// Since when it is in front.
    pub head_since: Option<OffsetDateTime>,
    /// Its state.
    pub head_state: Option<String>,
    /// WhatsApp's word on it.
    pub head_status: Option<String>,
    /// What it waits for itself, in words.
    pub head_waits_for: Option<String>,
    /// When WhatsApp took it.
    pub head_accepted_at: Option<OffsetDateTime>,
    /// Its kind, as the database calls it.
    pub head_kind: Option<String>,
    /// For how many seconds after its acceptance a delivery is waited for; none: as long as each message lives.
    pub delivery_timeout_s: Option<f64>,
    /// When the delivery of the head is overdue; none before its acceptance.
    pub timeout_at: Option<OffsetDateTime>,
    /// `halt` or `skip`.
    pub on_failure: String,
    /// `halt` or `proceed`.
    pub on_timeout: String,
    /// Why it is halted: failed, expired, uncertain or timeout.
    pub halted_cause: Option<String>,
    /// The message that has halted it.
    pub halted_member: Option<i64>,
    /// Why it is halted, in words.
    pub halted_reason: Option<String>,
    /// Since when.
    pub halted_at: Option<OffsetDateTime>,
    /// The first that waits.
    pub next_id: Option<i64>,
    /// How many wait; counted to 10,001.
    pub waiting: i64,
}

impl SequenceStanding {
    /// Which it is.
    pub fn key(&self) -> SequenceKey {
        SequenceKey {
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            sequence: self.sequence.clone(),
        }
    }
}

/// Something out of the ordinary in a sequence.
#[derive(Clone, Debug)]
pub struct SequenceEvent {
    /// When.
    pub happened_at: OffsetDateTime,
    /// halted, went_on, passed_over, resumed, skipped, cancelled or set.
    pub what: String,
    /// About this message.
    pub member: Option<i64>,
    /// Who did it; `wa-outbox` where nobody did.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// Which sequences to list.
#[derive(Clone, Debug, Default)]
pub struct SequenceFilter {
    /// Of this sender.
    pub sender: Option<String>,
    /// Also those that are not halted.
    pub all: bool,
}

/// What is to be set; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SequenceChange {
    /// `halt`, `skip` or `default`.
    pub on_failure: Option<String>,
    /// How long a delivery is waited for; zero gives it back to the sender.
    pub delivery_timeout: Option<Duration>,
    /// `halt`, `proceed` or `default`.
    pub on_timeout: Option<String>,
}

/// The settings for sequences and senders that do not say.
#[derive(Clone, Copy, Debug)]
pub struct SequenceDefaults<'a> {
    /// `halt` or `skip`.
    pub on_failure: &'a str,
    /// None: as long as each message lives, and a margin.
    pub delivery_timeout: Option<Duration>,
    /// `halt` or `proceed`.
    pub on_timeout: &'a str,
}

/// What became of the message in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// It had left, or ended: it is no longer waited for.
    Passed,
    /// It had not left: it is cancelled.
    Cancelled,
    /// Nothing: its request is out.
    Sending,
    /// Nothing: there is none.
    NoHead,
}

/// Who does something, and why.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// Who.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl Store {
    /// Where one sequence stands.
    pub async fn sequence(
        &self,
        key: &SequenceKey,
    ) -> Result<Option<SequenceStanding>, StoreError> {
        sqlx::query_file_as!(
            SequenceStanding,
            "src/store/sql/sequence.sql",
            key.sender,
            key.recipient,
            key.sequence
        )
        .fetch_optional(&self.pool)
        .await
        .doing("read the sequence")
    }

    /// Where sequences stand: the halted ones, longest first, or all that have a message in front, by name.
    pub async fn sequences(
        &self,
        filter: &SequenceFilter,
        limit: i64,
    ) -> Result<Vec<SequenceStanding>, StoreError> {
        sqlx::query_file_as!(
            SequenceStanding,
            "src/store/sql/sequences.sql",
            filter.sender,
            filter.all,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .doing("list sequences")
    }

    /// The sequence that a message is in.
    pub async fn sequence_of(&self, id: MessageId) -> Result<Option<SequenceKey>, StoreError> {
        sqlx::query_as!(
            SequenceKey,
            r#"select sender, recipient, sequence as "sequence!" from wa.outbox where id = $1 and sequence is not null"#,
            id.0
        )
        .fetch_optional(&self.pool)
        .await
        .doing("find the message's sequence")
    }

    /// Whether a message is uncertain and its sequence has gone on without it: it is never sent again.
    pub async fn is_passed(&self, id: MessageId) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"select exists (select from wa.uncertain where id = $1 and passed) as "is_passed!""#,
            id.0
        )
        .fetch_one(&self.pool)
        .await
        .doing("look whether the message's sequence has gone on")
    }

    /// What was out of the ordinary in a sequence, latest first.
    pub async fn sequence_events(
        &self,
        key: &SequenceKey,
        limit: i64,
    ) -> Result<Vec<SequenceEvent>, StoreError> {
        sqlx::query_as!(
            SequenceEvent,
            "select happened_at, what, member, author, reason from wa.sequence_events
             where sender = $1 and recipient = wa.plain_recipient($2) and sequence = $3 order by event desc limit $4",
            key.sender,
            key.recipient,
            key.sequence,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .doing("read what happened in the sequence")
    }

    /// Sets what is given of a sequence, which need not exist yet.
    pub async fn set_sequence(
        &self,
        key: &SequenceKey,
        change: &SequenceChange,
        word: Word<'_>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "select wa.set_sequence($1, $2, $3, $4, make_interval(secs => $5), $6, $7, $8)",
            key.sender,
            key.recipient,
            key.sequence,
            change.on_failure,
            change.delivery_timeout.map(|timeout| timeout.as_secs_f64()) as Option<f64>,
            change.on_timeout,
            storable(word.by),
            storable(word.reason)
        )
        .fetch_one(&self.pool)
        .await
        .doing("set the sequence")
        .map(drop)
    }

    /// Lifts a halt: the message that caused it is no longer waited for. `false`: it is not halted.
    pub async fn resume_sequence(
        &self,
        key: &SequenceKey,
        word: Word<'_>,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"select wa.resume_sequence($1, $2, $3, $4, $5) as "resumed!""#,
            key.sender,
            key.recipient,
            key.sequence,
            storable(word.by),
            storable(word.reason)
        )
        .fetch_one(&self.pool)
        .await
        .doing("resume the sequence")
    }

    /// Goes on without the message in front, and lifts a halt.
    pub async fn skip_head(
        &self,
        key: &SequenceKey,
        word: Word<'_>,
    ) -> Result<Skipped, StoreError> {
        let done = sqlx::query_scalar!(
            r#"select wa.skip_head($1, $2, $3, $4, $5) as "done!""#,
            key.sender,
            key.recipient,
            key.sequence,
            storable(word.by),
            storable(word.reason)
        )
        .fetch_one(&self.pool)
        .await
        .doing("skip the message in front")?;
        match done.as_str() {
            "passed" => Ok(Skipped::Passed),
            "cancelled" => Ok(Skipped::Cancelled),
            "sending" => Ok(Skipped::Sending),
            "nothing" => Ok(Skipped::NoHead),
            _ => Err(StoreError::Inconsistent {
                what: "wa.skip_head: it did something unknown",
            }),
        }
    }

    /// Cancels every message of the sequence that has not been begun, and lifts a halt. Says how many.
    pub async fn cancel_sequence(
        &self,
        key: &SequenceKey,
        word: Word<'_>,
    ) -> Result<u64, StoreError> {
        let cancelled = sqlx::query_scalar!(
            r#"select wa.cancel_sequence($1, $2, $3, $4, $5) as "cancelled!""#,
            key.sender,
            key.recipient,
            key.sequence,
            storable(word.by),
            storable(word.reason)
        )
        .fetch_one(&self.pool)
        .await
        .doing("cancel the sequence")?;
        Ok(cancelled.unsigned_abs())
    }

    /// Settles members that could not be settled at once, and finds heads of these senders whose delivery is overdue; so many
    /// of each sender at most. Says how many were overdue.
    pub async fn look_after_sequences(
        &self,
        senders: &[SenderId],
        at_most: i32,
    ) -> Result<u64, StoreError> {
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        let overdue = sqlx::query_scalar!(
            r#"select wa.look_after_sequences($1, $2) as "overdue!""#,
            &senders as &[&str],
            at_most
        )
        .fetch_one(&self.pool)
        .await
        .doing("look after sequences")?;
        Ok(overdue.unsigned_abs())
    }

    /// Writes the settings for sequences and senders that do not say. `false`: they stood there already.
    pub async fn set_sequence_defaults(
        &self,
        defaults: &SequenceDefaults<'_>,
    ) -> Result<bool, StoreError> {
        let changed = sqlx::query!(
            "update wa.sequence_defaults d
             set on_failure = $1, delivery_timeout = make_interval(secs => $2), on_timeout = $3
             where (d.on_failure, d.delivery_timeout, d.on_timeout) is distinct from ($1, make_interval(secs => $2), $3)",
            defaults.on_failure,
            defaults
                .delivery_timeout
                .map(|timeout| timeout.as_secs_f64()) as Option<f64>,
            defaults.on_timeout
        )
        .execute(&self.pool)
        .await
        .doing("write the settings of sequences")?;
        Ok(changed.rows_affected() == 1)
    }
}
