//! Settles what a database that went back has forgotten.
//!
//! What may have been sent is not sent again because a person says so: it is put in doubt, as a request whose answer was lost is, and
//! goes the way of those (evidence first, then policy). The queue is walked in the order of its ids, a slice a transaction, so a walk
//! that was broken off is simply begun again: what was done has left the queue.

use std::time::Duration;

use time::OffsetDateTime;

use super::error::Doing;
use super::record::storable;
use super::uncertain::UncertainPolicy;
use super::{Store, StoreError};
use crate::domain::id::{Era, MessageId};
use crate::provider::ProviderKind;

/// Messages that one transaction puts in doubt.
const SLICE: i32 = 2_000;
/// Messages that one look at what would be done reads.
const PREVIEW_SLICE: i64 = 20_000;

/// The era that lasts, and how far it is with being settled.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Its number.
    pub era: i64,
    /// When it was begun.
    pub began_at: OffsetDateTime,
    /// A word for why: `first`, `new_timeline`, …
    pub cause: String,
    /// In words, to stand after "the database:".
    pub what: String,
    /// Which process, or who, noticed.
    pub noticed_by: String,
    /// What was committed until then is known; none: nobody knows until when.
    pub complete_until: Option<OffsetDateTime>,
    /// Whether the server itself says so.
    pub is_exact: bool,
    /// Messages up to this id may have been sent.
    pub doubtful_ids: i64,
    /// What was not due by then was not sent before; set when settling begins.
    pub failed_at: Option<OffsetDateTime>,
    /// Evidence is waited for so much longer than usual, in seconds.
    pub wait_s: f64,
    /// What stays silent is left to a person.
    pub keeps_silent: bool,
    /// So many messages were put in doubt.
    pub doubted: i64,
    /// When it was settled.
    pub settled_at: Option<OffsetDateTime>,
    /// How: `first`, `doubted` or `nothing_lost`.
    pub settled_how: Option<String>,
    /// By whom.
    pub settled_by: Option<String>,
    /// Why.
    pub settled_why: Option<String>,
    /// What the server does not let us see of itself.
    pub unreadable: Option<String>,
    /// Senders that are held for it.
    pub held_senders: i64,
    /// Of the messages in doubt, so many are not settled.
    pub uncertain: i64,
    /// And of those so many wait for a person.
    pub for_a_person: i64,
    /// By the database's clock.
    pub now: OffsetDateTime,
}

impl Recovery {
    /// Its number.
    pub fn era(&self) -> Era {
        Era(self.era)
    }

    /// Whether a person has said what becomes of what the database has forgotten.
    pub fn is_settled(&self) -> bool {
        self.settled_at.is_some()
    }
}

/// How what may have been sent is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryTerms {
    /// Until then the database is complete; none: as was found when it was noticed.
    pub since: Option<OffsetDateTime>,
    /// What was not due by then was not sent; none: now.
    pub until: Option<OffsetDateTime>,
    /// Evidence is waited for so much longer than usual.
    pub wait: Duration,
    /// What stays silent is left to a person, whatever its policy.
    pub keep: bool,
}

/// What would become of the messages of a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// The sender.
    pub sender: String,
    /// Sent again, if they stay silent.
    pub again: i64,
    /// Left to a person, if they stay silent.
    pub for_a_person: i64,
    /// Members of sequences: doubtful when their turn comes.
    pub in_sequences: i64,
}

/// What one slice of a look ahead found.
#[derive(Clone, Debug)]
pub struct PreviewSlice {
    /// By sender: those that would be sent again, and those left to a person.
    pub counts: Vec<(String, bool, i64)>,
    /// Where to go on; none at the end.
    pub reached: Option<i64>,
}

/// What one slice of settling did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoubtedSlice {
    /// Messages looked at.
    pub looked: i64,
    /// Put in doubt.
    pub doubted: i64,
    /// Where to go on; none at the end.
    pub reached: Option<i64>,
}

/// A sender whose hold for a restore is over.
#[derive(Clone, Debug)]
pub struct ReleasedSender {
    /// The sender.
    pub sender: String,
    /// What it was held for before, and is again.
    pub held_reason: Option<String>,
    /// By whom.
    pub held_by: Option<String>,
}

impl Store {
    /// Where the database stands; none before anybody has worked on it.
    pub async fn recovery(&self) -> Result<Option<Recovery>, StoreError> {
        sqlx::query_as!(
            Recovery,
            r#"select e.era, e.began_at, e.cause, e.what, e.noticed_by, e.complete_until, e.is_exact, e.doubtful_ids, e.failed_at,
                 extract(epoch from e.wait)::float8 as "wait_s!", e.keeps_silent,
                 e.doubted, e.settled_at, e.settled_how, e.settled_by, e.settled_why, e.unreadable,
                 (select count(*) from wa.senders s where s.held_cause = 'restore') as "held_senders!",
                 (select count(*) from wa.uncertain u where u.era = e.era) as "uncertain!",
                 (select count(*) from wa.uncertain u where u.era = e.era and u.needs_person) as "for_a_person!",
                 clock_timestamp() as "now!"
               from wa.eras e order by e.era desc limit 1"#
        )
        .fetch_optional(&self.pool)
        .await
        .doing("read whether the database has gone back")
    }

    /// Whether something stands in the way of sending because the database has gone back; in a word.
    pub async fn is_unsettled(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar!(r#"select wa.is_unsettled() as "is!""#)
            .fetch_one(&self.pool)
            .await
            .doing("read whether the database has gone back")
    }

    /// The largest id of a message that was written until then.
    pub async fn last_id_until(&self, until: OffsetDateTime) -> Result<MessageId, StoreError> {
        let id = sqlx::query_scalar!(
            "select o.id from wa.outbox o where o.created_at <= $1 order by o.id desc limit 1",
            until
        )
        .fetch_optional(&self.pool)
        .await
        .doing("find the last message that was written by then")?;
        Ok(MessageId(id.unwrap_or_default()))
    }

    /// A slice of what settling would put in doubt: messages after this id, up to `doubtful`.
    pub async fn preview_recovery(
        &self,
        after: i64,
        doubtful: MessageId,
        terms: &RecoveryTerms,
        policy: UncertainPolicy,
    ) -> Result<PreviewSlice, StoreError> {
        let row = sqlx::query_file!(
            "src/store/sql/preview_recovery.sql",
            after,
            PREVIEW_SLICE,
            terms.keep,
            doubtful.0,
            terms.until,
            policy.max_resends,
            policy.hold,
            &ProviderKind::names_of_those_that_echo()
        )
        .fetch_one(&self.pool)
        .await
        .doing("see what may have been sent")?;
        let counts = row.senders.into_iter().zip(row.verdicts).zip(row.counts);
        Ok(PreviewSlice {
            counts: counts
                .map(|((sender, verdict), n)| (sender, verdict == "again", n))
                .collect(),
            reached: row.reached,
        })
    }

    /// Members of sequences that may have been sent, by sender.
    pub async fn doubtful_members(
        &self,
        doubtful: MessageId,
        until: Option<OffsetDateTime>,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        let rows = sqlx::query!(
            r#"select w.sender, count(*) as "n!" from wa.waiting w
               where w.id <= $1 and w.due_at <= coalesce($2, clock_timestamp()) group by w.sender order by w.sender"#,
            doubtful.0,
            until
        )
        .fetch_all(&self.pool)
        .await
        .doing("see which members of sequences may have been sent")?;
        Ok(rows.into_iter().map(|row| (row.sender, row.n)).collect())
    }

    /// Sequences whose next message waits for a delivery that may have been told before.
    pub async fn sequences_that_wait(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            r#"select count(*) as "n!" from wa.sequences s
               join wa.results r on r.id = s.head_id and r.sender = s.sender
               where r.state = 'accepted' and exists (select from wa.waiting w
                 where (w.sender, w.recipient, w.sequence) = (s.sender, s.recipient, s.sequence))"#
        )
        .fetch_one(&self.pool)
        .await
        .doing("see which sequences wait for a delivery")
    }

    /// Begins to settle an era, on these terms; if that was begun before, on the terms of then. `false`: it is settled.
    pub async fn start_recovery(
        &self,
        era: Era,
        terms: &RecoveryTerms,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"select wa.start_recovery($1, $2, $3, make_interval(secs => $4), $5) as "is_open!""#,
            era.0,
            terms.since,
            terms.until,
            terms.wait.as_secs_f64(),
            terms.keep
        )
        .fetch_one(&self.pool)
        .await
        .doing("begin to settle what the database has forgotten")
    }

    /// Puts in doubt what may have been sent, of the next messages after this id.
    pub async fn doubt_slice(&self, era: Era, after: i64) -> Result<DoubtedSlice, StoreError> {
        let row = sqlx::query!(
            r#"select d.reached, d.looked as "looked!", d.doubted as "doubted!" from wa.doubt_slice($1, $2, $3) d"#,
            era.0,
            after,
            SLICE
        )
        .fetch_one(&self.pool)
        .await
        .doing("put in doubt what may have been sent")?;
        Ok(DoubtedSlice {
            looked: row.looked,
            doubted: row.doubted,
            reached: row.reached,
        })
    }

    /// Has evidence waited for anew about some of what was in doubt before. Says how many; none are left after zero.
    pub async fn doubt_again(&self, era: Era) -> Result<i64, StoreError> {
        sqlx::query_scalar!(r#"select wa.doubt_again($1, $2) as "n!""#, era.0, SLICE)
            .fetch_one(&self.pool)
            .await
            .doing("have evidence waited for anew")
    }

    /// Settles an era: nothing was lost, or all that may have been sent is in doubt. `false`: it is settled already, or that was
    /// not done.
    pub async fn end_recovery(
        &self,
        era: Era,
        nothing_lost: bool,
        by: &str,
        why: &str,
    ) -> Result<bool, StoreError> {
        let how = if nothing_lost {
            "nothing_lost"
        } else {
            "doubted"
        };
        sqlx::query_scalar!(
            r#"select wa.end_recovery($1, $2, $3, $4) as "is_done!""#,
            era.0,
            how,
            storable(by),
            storable(why)
        )
        .fetch_one(&self.pool)
        .await
        .doing("settle what the database has forgotten")
    }

    /// Ends the holds that were made because the database had gone back.
    pub async fn release_restored(
        &self,
        by: &str,
        why: &str,
    ) -> Result<Vec<ReleasedSender>, StoreError> {
        sqlx::query_as!(
            ReleasedSender,
            "update wa.senders set held_reason = null, held_by = null, held_until = null,
               released_at = clock_timestamp(), released_by = $1, released_why = $2
             where held_cause = 'restore'
             returning sender, held_reason, held_by",
            storable(by),
            storable(why)
        )
        .fetch_all(&self.pool)
        .await
        .doing("release the senders")
    }
}
