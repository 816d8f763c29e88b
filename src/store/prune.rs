//! Deletes what has ended long ago, a slice a transaction (the migration *prune*).
//!
//! A walk that was broken off is simply begun again: what was done is gone. Which process walks by itself is agreed upon by a row,
//! so that it is one over the whole fleet; two that meet all the same leave each other's rows alone.

use std::time::Duration;

use time::OffsetDateTime;

use super::error::Doing;
use super::{Store, StoreError};

/// What is walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Messages that have ended, with all that belongs to them.
    Messages,
    /// What happened in sequences.
    History,
    /// Webhook deliveries that were applied, or could not be.
    Deliveries,
    /// Statuses that belong to no message.
    Statuses,
}

/// What one slice did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrunedSlice {
    /// Where to go on; none at the end.
    pub reached: Option<i64>,
    /// Rows looked at.
    pub looked: i64,
    /// Deleted; in a dry run, those that would be.
    pub pruned: i64,
}

/// A table of somebody's own that keeps messages which it names from being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// With its schema.
    pub table: String,
    /// The foreign key.
    pub constraint: String,
}

/// Whether what is old is deleted by the workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pruning {
    /// One of them is at it.
    pub is_under_way: bool,
    /// The next one is due in so many seconds; negative: it has been due since. None: none has ever been at it.
    pub due_in_s: Option<f64>,
}

/// The right to walk, for as long as it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(i64);

impl Store {
    /// The moment that was so long ago.
    pub async fn time_ago(&self, span: Duration) -> Result<OffsetDateTime, StoreError> {
        sqlx::query_scalar!(
            r#"select clock_timestamp() - make_interval(secs => $1) as "at!""#,
            span.as_secs_f64()
        )
        .fetch_one(&self.pool)
        .await
        .doing("ask the database for the time")
    }

    /// How far the ids of messages go.
    pub async fn last_message_id(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            r#"select coalesce((select o.id from wa.outbox o order by o.id desc limit 1), 0) as "id!""#
        )
        .fetch_one(&self.pool)
        .await
        .doing("find the last message")
    }

    /// Deletes what is older, of the next rows after this place; where `dry`, counts it.
    ///
    /// # Errors
    /// Also when it is not old enough for anybody to delete it, or the database has gone back and that is not settled.
    pub async fn prune_slice(
        &self,
        part: Part,
        before: OffsetDateTime,
        after: i64,
        at_most: i32,
        dry: bool,
    ) -> Result<PrunedSlice, StoreError> {
        macro_rules! slice {
            ($function:literal) => {
                sqlx::query_as!(
                    PrunedSlice,
                    r#"select reached, looked as "looked!", pruned as "pruned!" from wa."#
                        + $function
                        + "($1, $2, $3, $4)",
                    before,
                    after,
                    at_most,
                    dry
                )
                .fetch_one(&self.pool)
                .await
            };
        }
        match part {
            Part::Messages => slice!("prune_messages"),
            Part::History => slice!("prune_history"),
            Part::Deliveries => slice!("prune_deliveries"),
            Part::Statuses => slice!("prune_statuses"),
        }
        .doing("delete what has ended long ago")
    }

    /// Foreign keys by which a message is kept that somebody names: those that neither cascade nor let go.
    pub async fn references_to_messages(&self) -> Result<Vec<Reference>, StoreError> {
        sqlx::query_as!(
            Reference,
            r#"select c.conrelid::regclass::text as "table!", c.conname::text as "constraint!" from pg_constraint c
               where c.contype = 'f' and c.confrelid = 'wa.outbox'::regclass and c.confdeltype in ('a', 'r') and c.conparentid = 0
               order by 1, 2"#
        )
        .fetch_all(&self.pool)
        .await
        .doing("see who refers to messages")
    }

    /// How the workers go about it.
    pub async fn pruning(&self) -> Result<Pruning, StoreError> {
        sqlx::query_as!(
            Pruning,
            r#"select p.until > clock_timestamp() as "is_under_way!",
                 case when p.pass > 0 then extract(epoch from p.next_at - clock_timestamp())::float8 end as due_in_s
               from wa.pruning p"#
        )
        .fetch_one(&self.pool)
        .await
        .doing("see how what is old is deleted")
    }

    /// Takes the next pass over, if it is time for it and nobody is at it.
    pub async fn begin_pruning(&self, lasts: Duration) -> Result<Option<Pass>, StoreError> {
        let pass = sqlx::query_scalar!(
            "update wa.pruning p set pass = p.pass + 1, until = clock_timestamp() + make_interval(secs => $1)
             where p.until <= clock_timestamp() and p.next_at <= clock_timestamp()
             returning p.pass",
            lasts.as_secs_f64()
        )
        .fetch_optional(&self.pool)
        .await
        .doing("see whether it is time to delete what is old")?;
        Ok(pass.map(Pass))
    }

    /// Says that the pass goes on. `false`: somebody else is at it.
    pub async fn go_on_pruning(&self, pass: Pass, lasts: Duration) -> Result<bool, StoreError> {
        let renewed = sqlx::query!(
            "update wa.pruning p set until = clock_timestamp() + make_interval(secs => $2) where p.pass = $1",
            pass.0,
            lasts.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .doing("go on with deleting what is old")?;
        Ok(renewed.rows_affected() > 0)
    }

    /// Ends the pass; the next one may begin after a while.
    pub async fn end_pruning(&self, pass: Pass, next_in: Duration) -> Result<(), StoreError> {
        sqlx::query!(
            "update wa.pruning p set until = clock_timestamp(), next_at = clock_timestamp() + make_interval(secs => $2) where p.pass = $1",
            pass.0,
            next_in.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .doing("end deleting what is old")
        .map(drop)
    }
}
