//! Who works which sender.
//!
//! A worker renews one row, and thereby every sender it holds. A sender changes hands only when its holder gave it back or
//! let its row expire, and then its epoch rises: what an earlier holder begins afterwards meets a lease row that is no
//! longer its own ([`Store::begin`](super::Store::begin) locks that row, a comparison alone would let a zombie through).

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::Doing;
use super::sender::Sender;
use super::{Store, StoreError};
use crate::domain::id::{Epoch, MessageId, SenderId};

/// A running worker, as the database knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId(pub i64);

/// A sender that this worker holds.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldSender {
    /// Its settings.
    pub sender: Sender,
    /// Under this epoch.
    pub epoch: Epoch,
    /// What the owner has said stands in its way.
    pub problem: Option<String>,
}

/// What a sweep found of earlier holders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Messages whose answer was lost with their worker: now uncertain.
    pub uncertain: u64,
    /// Still within their deadline; to be looked at again.
    pub remaining: u64,
}

/// A message whose begin was given up by its sender and may have been done all the same, at any later time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspect {
    /// Its id.
    pub id: MessageId,
    /// From this sender.
    pub sender: SenderId,
}

/// What became of suspects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweptSuspects {
    /// Begun and never sent, as far as anybody knows: now uncertain.
    pub uncertain: u64,
    /// Still in the queue; to be looked at again.
    pub remaining: BTreeSet<Suspect>,
}

impl Store {
    /// Makes this process known. It holds nothing yet.
    pub async fn register_worker(
        &self,
        name: &str,
        lease: Duration,
    ) -> Result<WorkerId, StoreError> {
        sqlx::query_scalar!(
            "insert into wa.workers (name, expires_at) values ($1, clock_timestamp() + make_interval(secs => $2)) returning worker",
            name,
            lease.as_secs_f64()
        )
        .fetch_one(&self.pool)
        .await
        .doing("register the worker")
        .map(WorkerId)
    }

    /// Renews everything the worker holds. `false`: its row is gone, so it holds nothing any more.
    pub async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Result<bool, StoreError> {
        let renewed = sqlx::query!(
            "update wa.workers set expires_at = clock_timestamp() + make_interval(secs => $2) where worker = $1",
            worker.0,
            lease.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .doing("renew the worker's leases")?;
        Ok(renewed.rows_affected() == 1)
    }

    /// Takes senders that nobody holds, or whose holder has expired.
    pub async fn take_senders(&self, worker: WorkerId) -> Result<u64, StoreError> {
        let taken = sqlx::query!(
            "update wa.leases l set worker = $1, epoch = l.epoch + 1, taken_at = now(), problem = null
             where l.sender in (
               select f.sender from wa.leases f left join wa.workers w on w.worker = f.worker
               where w.worker is null or w.expires_at < clock_timestamp()
               order by f.sender for update of f skip locked)",
            worker.0
        )
        .execute(&self.pool)
        .await
        .doing("take senders that nobody holds")?;
        Ok(taken.rows_affected())
    }

    /// What the worker holds, with the senders' settings as they stand now.
    pub async fn held_senders(&self, worker: WorkerId) -> Result<Vec<HeldSender>, StoreError> {
        let rows = sqlx::query!(
            r#"select s.sender as "sender!", s.provider as "provider!", s.base_url as "base_url!", s.path, s.api_version as "api_version!",
                      s.credential as "credential!", s.auth_header as "auth_header!", s.rate_per_second as "rate_per_second!",
                      s.pair_period_ms as "pair_period_ms!", s.pair_burst as "pair_burst!", s.max_in_flight, s.on_uncertain,
                      s.reconcile_window_s, s.is_default as "is_default!", s.held_reason, s.held_until, s.held_by,
                      l.epoch, l.problem
               from wa.leases l join wa.senders s using (sender)
               where l.worker = $1 order by sender"#,
            worker.0
        )
        .fetch_all(&self.pool)
        .await
        .doing("read the held senders")?;
        Ok(rows
            .into_iter()
            .map(|row| HeldSender {
                epoch: Epoch(row.epoch),
                problem: row.problem,
                sender: Sender {
                    sender: row.sender,
                    provider: row.provider,
                    base_url: row.base_url,
                    path: row.path,
                    api_version: row.api_version,
                    credential: row.credential,
                    auth_header: row.auth_header,
                    rate_per_second: row.rate_per_second,
                    pair_period_ms: row.pair_period_ms,
                    pair_burst: row.pair_burst,
                    max_in_flight: row.max_in_flight,
                    on_uncertain: row.on_uncertain,
                    reconcile_window_s: row.reconcile_window_s,
                    is_default: row.is_default,
                    held_reason: row.held_reason,
                    held_until: row.held_until,
                    held_by: row.held_by,
                },
            })
            .collect())
    }

    /// Says why a held sender cannot be worked at the moment, or that it can again.
    pub async fn say_problem(
        &self,
        worker: WorkerId,
        sender: &str,
        problem: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update wa.leases set problem = $3 where sender = $2 and worker = $1 and problem is distinct from $3",
            worker.0,
            sender,
            problem
        )
        .execute(&self.pool)
        .await
        .doing("say what is wrong with a sender")
        .map(drop)
    }

    /// Says whether the worker has nothing to do and wants to be woken by an INSERT.
    pub async fn set_asleep(&self, worker: WorkerId, asleep: bool) -> Result<(), StoreError> {
        sqlx::query!(
            "update wa.workers set asleep = $2 where worker = $1 and asleep <> $2",
            worker.0,
            asleep
        )
        .execute(&self.pool)
        .await
        .doing("say whether the worker sleeps")
        .map(drop)
    }

    /// Gives everything back and leaves.
    pub async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        let doing = "give the senders back";
        let mut transaction = self.pool.begin().await.doing(doing)?;
        sqlx::query!(
            "update wa.leases set worker = null, problem = null where worker = $1",
            worker.0
        )
        .execute(&mut *transaction)
        .await
        .doing(doing)?;
        sqlx::query!("delete from wa.workers where worker = $1", worker.0)
            .execute(&mut *transaction)
            .await
            .doing(doing)?;
        transaction.commit().await.doing(doing)
    }

    /// Forgets workers that ended without leaving and hold nothing any more.
    pub async fn forget_dead_workers(&self) -> Result<u64, StoreError> {
        let gone = sqlx::query!(
            "delete from wa.workers w where w.expires_at < clock_timestamp() - interval '1 minute'
             and not exists (select from wa.leases l where l.worker = w.worker)"
        )
        .execute(&self.pool)
        .await
        .doing("forget dead workers")?;
        Ok(gone.rows_affected())
    }

    /// Makes uncertain what an earlier holder of the sender had begun and can no longer record: it may have been sent.
    pub async fn sweep(&self, sender: &str, epoch: Epoch) -> Result<Swept, StoreError> {
        let row = sqlx::query_file!("src/store/sql/sweep.sql", sender, epoch.0)
            .fetch_one(&self.pool)
            .await
            .doing("sweep what an earlier holder had begun")?;
        Ok(Swept {
            uncertain: row.uncertain as u64,
            remaining: row.remaining as u64,
        })
    }

    /// Makes uncertain what was begun by a begin that its sender had given up, once no answer to it can come any more.
    pub async fn sweep_suspects(&self, suspects: &[Suspect]) -> Result<SweptSuspects, StoreError> {
        let ids: Vec<i64> = suspects.iter().map(|one| one.id.0).collect();
        let senders: Vec<&str> = suspects.iter().map(|one| one.sender.as_str()).collect();
        let rows = sqlx::query_file!(
            "src/store/sql/sweep_suspects.sql",
            &ids,
            &senders as &[&str]
        )
        .fetch_all(&self.pool)
        .await
        .doing("sweep begins that were given up")?;
        let mut swept = SweptSuspects::default();
        for row in rows {
            if row.is_lost {
                swept.uncertain += 1;
            } else {
                swept.remaining.insert(Suspect {
                    id: MessageId(row.id),
                    sender: SenderId::from(row.sender),
                });
            }
        }
        Ok(swept)
    }
}
