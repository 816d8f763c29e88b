//! Who watches the fleet at this moment, and what it is told.
//!
//! Who watches says so in a row that expires. What it has read it says with the next question, and that is deleted then: so an
//! answer that is lost on its way costs nothing. What nobody reads any more goes when its reader is forgotten.

use std::time::Duration;

use serde_json::Value;
use sqlx::types::Json;

use super::error::Doing;
use super::{Store, StoreError};
use crate::domain::event::{Event, EventFilter};
use crate::tail::{Tailer, TailerId};

/// Who has not said for so long that it watches does not.
pub const TAILER_LASTS: Duration = Duration::from_secs(20);
/// So many are told at most: each is a row for each process and moment.
const TAILERS_AT_MOST: i64 = 16;

/// What was told at once.
#[derive(Debug)]
pub struct Batch {
    /// Its number.
    pub batch: i64,
    /// Who tells; none: the database itself.
    pub process: Option<String>,
    /// What, in order. Each may come from another version of this program.
    pub events: Vec<Value>,
    /// There were so many more.
    pub left_out: u64,
}

/// What is told of a message beside its events.
#[derive(Clone, Debug)]
pub struct MessageTold {
    /// Its id.
    pub id: i64,
    /// To whom it goes.
    pub recipient: String,
    /// Its campaign.
    pub campaign: Option<i64>,
    /// Its sequence.
    pub sequence: Option<String>,
    /// The application's own id.
    pub reference: Option<String>,
}

impl Store {
    /// From now on somebody watches.
    pub async fn begin_tail(
        &self,
        filter: &EventFilter,
        watches: &str,
    ) -> Result<TailerId, StoreError> {
        let doing = "begin to watch";
        self.forget_tailers().await?;
        let tailer = sqlx::query_scalar!(
            "insert into wa.tailers (filter, watches, expires_at) values ($1, $2, clock_timestamp() + make_interval(secs => $3))
             returning tailer",
            Json(filter) as _,
            watches,
            TAILER_LASTS.as_secs_f64()
        )
        .fetch_one(&self.pool)
        .await
        .doing(doing)?;
        // Only a hint: who does not hear it finds out within seconds.
        sqlx::query!("select pg_notify('wa_outbox_tail', '')")
            .fetch_one(&self.pool)
            .await
            .doing(doing)?;
        Ok(TailerId(tailer))
    }

    /// It goes on watching. `false`: it was forgotten meanwhile.
    pub async fn renew_tail(&self, tailer: TailerId) -> Result<bool, StoreError> {
        let renewed = sqlx::query!(
            "update wa.tailers set expires_at = clock_timestamp() + make_interval(secs => $2) where tailer = $1",
            tailer.0,
            TAILER_LASTS.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .doing("go on watching")?;
        Ok(renewed.rows_affected() == 1)
    }

    /// It watches no more.
    pub async fn end_tail(&self, tailer: TailerId) -> Result<(), StoreError> {
        sqlx::query!("delete from wa.tailers where tailer = $1", tailer.0)
            .execute(&self.pool)
            .await
            .doing("end watching")?;
        self.forget_tailers().await
    }

    /// Forgets who has not said for too long that it watches, and what nobody will read.
    pub async fn forget_tailers(&self) -> Result<(), StoreError> {
        let doing = "forget who watches no more";
        sqlx::query!("delete from wa.tailers where expires_at <= clock_timestamp()")
            .execute(&self.pool)
            .await
            .doing(doing)?;
        sqlx::query!(
            "delete from wa.tail_batches b where not exists (select from wa.tailers t where t.tailer = b.tailer)"
        )
        .execute(&self.pool)
        .await
        .doing(doing)
        .map(drop)
    }

    /// Who watches, the first ones. One whose wishes cannot be read is told everything: it knows them itself.
    pub async fn tailers(&self) -> Result<Vec<Tailer>, StoreError> {
        let rows = sqlx::query!(
            "select tailer, filter from wa.tailers where expires_at > clock_timestamp() order by tailer limit $1",
            TAILERS_AT_MOST
        )
        .fetch_all(&self.pool)
        .await
        .doing("look who watches")?;
        let tailer = |id, filter| Tailer {
            id: TailerId(id),
            filter: serde_json::from_value(filter).unwrap_or_default(),
        };
        Ok(rows
            .into_iter()
            .map(|row| tailer(row.tailer, row.filter))
            .collect())
    }

    /// Tells one of them, if it still watches.
    pub async fn tell_tailer(
        &self,
        tailer: TailerId,
        process: &str,
        events: &[Event],
        left_out: u64,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into wa.tail_batches (tailer, process, events, left_out)
             select t.tailer, $2, $3, $4 from wa.tailers t where t.tailer = $1 and t.expires_at > clock_timestamp()",
            tailer.0,
            process,
            Json(events) as _,
            i32::try_from(left_out).unwrap_or(i32::MAX)
        )
        .execute(&self.pool)
        .await
        .doing("tell who watches")
        .map(drop)
    }

    /// What was told and is not `done` with, the oldest first, at most so many batches. Of what lies behind them only the number of
    /// events is given: who cannot keep up is not to fall behind.
    pub async fn take_told(
        &self,
        tailer: TailerId,
        done: &[i64],
        at_most: i64,
    ) -> Result<(Vec<Batch>, u64), StoreError> {
        let doing = "read what was told";
        let rows = sqlx::query!(
            r#"with done as (delete from wa.tail_batches where tailer = $1 and batch = any($2))
               select batch, process, events as "events!: Json<Vec<Value>>", left_out from wa.tail_batches
               where tailer = $1 and batch <> all($2) order by batch limit $3"#,
            tailer.0,
            done,
            at_most
        )
        .fetch_all(&self.pool)
        .await
        .doing(doing)?;
        let mut behind = 0;
        if i64::try_from(rows.len()).is_ok_and(|read| read == at_most) {
            let read: Vec<i64> = rows.iter().map(|row| row.batch).collect();
            behind = sqlx::query_scalar!(
                r#"with left_behind as (
                     delete from wa.tail_batches where tailer = $1 and batch <> all($2)
                     returning jsonb_array_length(events) + left_out as events
                   )
                   select coalesce(sum(events), 0)::bigint as "events!" from left_behind"#,
                tailer.0,
                &read
            )
            .fetch_one(&self.pool)
            .await
            .doing(doing)?;
        }
        let batches = rows.into_iter().map(|row| Batch {
            batch: row.batch,
            process: row.process,
            events: row.events.0,
            left_out: row.left_out.max(0) as u64,
        });
        Ok((batches.collect(), behind.max(0) as u64))
    }

    /// What is told of these messages beside their events.
    pub async fn messages_told(&self, ids: &[i64]) -> Result<Vec<MessageTold>, StoreError> {
        sqlx::query_as!(
            MessageTold,
            "select id, recipient, campaign_id as campaign, sequence, reference from wa.outbox where id = any($1)",
            ids
        )
        .fetch_all(&self.pool)
        .await
        .doing("look up messages")
    }

    /// Which of these messages belong to a campaign, and to a sequence of that name, where these are given.
    pub async fn messages_belonging(
        &self,
        ids: &[i64],
        campaign: Option<i64>,
        sequence: Option<&str>,
    ) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar!(
            "select id from wa.outbox
             where id = any($1) and ($2::bigint is null or campaign_id = $2) and ($3::text is null or sequence = $3)",
            ids,
            campaign,
            sequence
        )
        .fetch_all(&self.pool)
        .await
        .doing("look up what messages belong to")
    }
}
