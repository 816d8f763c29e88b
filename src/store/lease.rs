//! Who works which sender.
//!
//! A worker renews one row, and thereby every sender it holds. A sender changes hands only when its holder hands it over or
//! let its row expire, and then its epoch rises: what an earlier holder begins afterwards meets a lease row that is no
//! longer its own ([`Store::begin`](super::Store::begin) locks that row, a comparison alone would let a zombie through).
//!
//! Each step is one statement of its own transaction. A process that is frozen between two statements so never keeps a lease
//! row locked, which would keep the others from taking what was its own.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::error::Doing;
use super::sender::Sender;
use super::{Store, StoreError, connections};
use crate::domain::id::{Epoch, MessageId, SenderId};
use crate::throttle::Slowed;

/// Nobody has been silent for so long.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

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
    /// What WhatsApp said of its speed to whoever worked it.
    pub slowed: Option<Slowed>,
    /// When the sender was released, where no silence is written: one that WhatsApp asked for before is over.
    pub silence_ended_at: Option<Instant>,
}

/// A sender that is to change hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// This one.
    pub sender: SenderId,
    /// Held under this epoch.
    pub epoch: Epoch,
    /// By this worker from then on.
    pub receiver: WorkerId,
}

/// What became of the attempt to take senders that nobody holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// So many are the worker's now.
    pub taken: u64,
    /// So many are still nobody's: another worker's share, or locked by somebody at that moment.
    pub left_over: u64,
}

/// Whether a worker has anything to share. Mostly it has not, and to see that costs next to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// The worker has its row. Without it, it can hold nothing.
    pub known: bool,
    /// There are others, to whom it may have to hand something over.
    pub has_others: bool,
    /// There are senders that nobody alive holds.
    pub some_are_free: bool,
}

/// Which versions of their rows senders were read from: as long as these are the same, so is what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions(Option<i64>);

/// What became of a leaving worker's senders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// So many have a new owner.
    pub given: u64,
    /// So many are nobody's, because nobody else is there.
    pub freed: u64,
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
    pub uncertain: Vec<Suspect>,
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
        let doing = "register the worker";
        let mut transaction = self.begin_here().await.doing(doing)?;
        let worker = sqlx::query_scalar!(
            "insert into wa.workers (name, version, expires_at, renewed_at)
             values ($1, $2, clock_timestamp() + make_interval(secs => $3), clock_timestamp()) returning worker",
            name,
            env!("CARGO_PKG_VERSION"),
            lease.as_secs_f64()
        )
        .fetch_one(&mut *transaction)
        .await
        .doing(doing)?;
        transaction.commit().await.doing(doing)?;
        Ok(WorkerId(worker))
    }

    /// Renews everything the worker holds. `false`: its row is gone, or this is another database, so it holds nothing any more.
    ///
    /// Neither a connection nor its answer is waited for longer than `within` together.
    pub async fn heartbeat(
        &self,
        worker: WorkerId,
        lease: Duration,
        within: Duration,
    ) -> Result<bool, StoreError> {
        let (era, tick) = self.here();
        let renewing = sqlx::query!(
            "update wa.workers set expires_at = clock_timestamp() + make_interval(secs => $2), renewed_at = clock_timestamp()
             where worker = $1 and ($3::bigint is null or (select wa.is_here($3, $4)))",
            worker.0,
            lease.as_secs_f64(),
            era,
            tick
        )
        .execute(&self.pool);
        let renewed = tokio::time::timeout(within, renewing).await;
        let renewed = renewed.unwrap_or_else(|_| Err(connections::no_answer()));
        let renewed = renewed.doing("renew the worker's leases")?.rows_affected() == 1;
        if !renewed {
            self.suspect();
        }
        Ok(renewed)
    }

    /// Whether there is anything to hand over or to take.
    pub async fn sharing(&self, worker: WorkerId) -> Result<Sharing, StoreError> {
        sqlx::query_as!(
            Sharing,
            r#"select exists (select from wa.workers w where w.worker = $1) as "known!",
                 exists (
                   select from wa.workers w where w.worker <> $1 and w.expires_at > now() and not w.leaving
                 ) as "has_others!",
                 exists (
                   select from wa.leases l
                   where not exists (select from wa.workers w where w.worker = l.worker and w.expires_at > now())
                 ) as "some_are_free!""#,
            worker.0
        )
        .fetch_one(&self.pool)
        .await
        .doing("see whether there are senders to share")
    }

    /// Takes senders that nobody alive holds: as many as are missing to the worker's fair share.
    ///
    /// `renewed_within`: a worker that has not renewed for longer has no share.
    pub async fn take_share(
        &self,
        worker: WorkerId,
        renewed_within: Duration,
    ) -> Result<Taken, StoreError> {
        self.take(worker, renewed_within, false).await
    }

    /// Takes all senders that nobody alive holds, whoever's share they are. Says how many.
    pub async fn take_senders(&self, worker: WorkerId) -> Result<u64, StoreError> {
        Ok(self.take(worker, FOREVER, true).await?.taken)
    }

    async fn take(
        &self,
        worker: WorkerId,
        renewed_within: Duration,
        all: bool,
    ) -> Result<Taken, StoreError> {
        let row = sqlx::query_file!(
            "src/store/sql/take_share.sql",
            worker.0,
            renewed_within.as_secs_f64(),
            all
        )
        .fetch_one(&self.pool)
        .await
        .doing("take senders that nobody holds")?;
        Ok(Taken {
            taken: row.taken as u64,
            left_over: row.left_over as u64,
        })
    }

    /// What the worker holds above its fair share, and who should have it instead. Changes nothing.
    pub async fn plan_hand_over(
        &self,
        worker: WorkerId,
        renewed_within: Duration,
    ) -> Result<Vec<HandOver>, StoreError> {
        let rows = sqlx::query_file!(
            "src/store/sql/plan_hand_over.sql",
            worker.0,
            renewed_within.as_secs_f64()
        )
        .fetch_all(&self.pool)
        .await
        .doing("see how the senders are shared")?;
        Ok(rows
            .into_iter()
            .map(|row| HandOver {
                sender: SenderId::from(row.sender),
                epoch: Epoch(row.epoch),
                receiver: WorkerId(row.receiver),
            })
            .collect())
    }

    /// Hands senders over: worker and epoch change in one statement, and the receivers are called. Says how many; one that
    /// has changed hands meanwhile, or whose receiver is gone, stays as it is.
    pub async fn hand_over(&self, worker: WorkerId, plan: &[HandOver]) -> Result<u64, StoreError> {
        let senders: Vec<&str> = plan.iter().map(|one| one.sender.as_str()).collect();
        let epochs: Vec<i64> = plan.iter().map(|one| one.epoch.0).collect();
        let receivers: Vec<i64> = plan.iter().map(|one| one.receiver.0).collect();
        let row = sqlx::query_file!(
            "src/store/sql/hand_over.sql",
            worker.0,
            &senders as &[&str],
            &epochs,
            &receivers
        )
        .fetch_one(&self.pool)
        .await
        .doing("hand senders over")?;
        Ok(row.given as u64)
    }

    /// Hands everything over that the worker holds, evenly, and has it handed nothing any more. It stays known, so that what
    /// it has begun ends in peace.
    pub async fn hand_over_all(
        &self,
        worker: WorkerId,
        renewed_within: Duration,
    ) -> Result<Given, StoreError> {
        let row = sqlx::query_file!(
            "src/store/sql/hand_over_all.sql",
            worker.0,
            renewed_within.as_secs_f64()
        )
        .fetch_one(&self.pool)
        .await
        .doing("hand all senders over")?;
        Ok(Given {
            given: row.given as u64,
            freed: row.freed as u64,
        })
    }

    /// Which versions of its rows [`held_senders`](Self::held_senders) would read now, and what the database's clock says.
    ///
    /// A version has a place and a transaction that wrote it, which no other version has while the database is the same one.
    pub async fn versions_of_held(
        &self,
        worker: WorkerId,
    ) -> Result<(Versions, OffsetDateTime), StoreError> {
        let row = sqlx::query!(
            r#"select bit_xor(hash_record_extended(row(s.ctid, s.xmin, l.ctid, l.xmin), 0)) as versions, clock_timestamp() as "now!"
             from wa.leases l join wa.senders s using (sender)
             where l.worker = $1"#,
            worker.0
        )
        .fetch_one(&self.pool)
        .await
        .doing("see whether the held senders have changed")?;
        Ok((Versions(row.versions), row.now))
    }

    /// What the worker holds, with the senders' settings as they stand now.
    pub async fn held_senders(&self, worker: WorkerId) -> Result<Vec<HeldSender>, StoreError> {
        let rows = sqlx::query!(
            r#"select s.sender as "sender!", s.provider as "provider!", s.base_url as "base_url!", s.path, s.api_version as "api_version!",
                      s.credential as "credential!", s.auth_header as "auth_header!",
                      s.auth_scheme, s.ca_file, s.callback_echo, s.rate_per_second as "rate_per_second!",
                      s.pair_period_ms as "pair_period_ms!", s.pair_burst as "pair_burst!", s.max_in_flight, s.on_uncertain,
                      s.reconcile_window_s, s.validate as "validate!", s.strict as "strict!", s.on_failure,
                      extract(epoch from s.delivery_timeout)::float8 as delivery_timeout_s, s.on_timeout, s.default_country, s.is_default as "is_default!", s.held_reason, s.held_until, s.held_by,
                      l.epoch, l.problem,
                      l.slowed_to, extract(epoch from clock_timestamp() - l.slowed_at)::float8 as slowed_ago,
                      extract(epoch from l.silent_until - greatest(clock_timestamp(), l.slowed_at))::float8 as silent_for,
                      case when l.silent_until is null then extract(epoch from clock_timestamp() - s.released_at)::float8 end as released_ago
               from wa.leases l join wa.senders s using (sender)
               where l.worker = $1 order by sender"#,
            worker.0
        )
        .fetch_all(&self.pool)
        .await
        .doing("read the held senders")?;
        let now = Instant::now();
        Ok(rows
            .into_iter()
            .map(|row| HeldSender {
                epoch: Epoch(row.epoch),
                problem: row.problem,
                slowed: slowed(row.slowed_to, row.slowed_ago, row.silent_for, now),
                silence_ended_at: row.released_ago.and_then(|ago| earlier(ago, now)),
                sender: Sender {
                    sender: row.sender,
                    provider: row.provider,
                    base_url: row.base_url,
                    path: row.path,
                    api_version: row.api_version,
                    credential: row.credential,
                    auth_header: row.auth_header,
                    auth_scheme: row.auth_scheme,
                    ca_file: row.ca_file,
                    callback_echo: row.callback_echo,
                    rate_per_second: row.rate_per_second,
                    pair_period_ms: row.pair_period_ms,
                    pair_burst: row.pair_burst,
                    max_in_flight: row.max_in_flight,
                    on_uncertain: row.on_uncertain,
                    reconcile_window_s: row.reconcile_window_s,
                    validate: row.validate,
                    strict: row.strict,
                    on_failure: row.on_failure,
                    delivery_timeout_s: row.delivery_timeout_s,
                    on_timeout: row.on_timeout,
                    default_country: row.default_country,
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

    /// Says what WhatsApp said of the speed of senders, for who works them next. It may be another's by now.
    pub async fn say_slowed(
        &self,
        slowed: &[(SenderId, Slowed)],
        now: Instant,
    ) -> Result<(), StoreError> {
        let senders: Vec<&str> = slowed.iter().map(|(sender, _)| sender.as_str()).collect();
        let ago = |slowed: &Slowed| now.saturating_duration_since(slowed.told_at).as_secs_f64();
        let agos: Vec<f64> = slowed.iter().map(|(_, slowed)| ago(slowed)).collect();
        let rates: Vec<f64> = slowed.iter().map(|(_, slowed)| slowed.to).collect();
        let silent_for: Vec<Option<f64>> = (slowed.iter())
            .map(|(_, slowed)| slowed.silent_until.filter(|until| *until > now))
            .map(|until| until.map(|until| (until - now).as_secs_f64()))
            .collect();
        sqlx::query_file!(
            "src/store/sql/say_slowed.sql",
            &senders as &[&str],
            &agos,
            &rates,
            &silent_for as &[Option<f64>]
        )
        .execute(&self.pool)
        .await
        .doing("say how fast WhatsApp lets senders go")
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

    /// Hands over what is left and leaves.
    pub async fn leave(
        &self,
        worker: WorkerId,
        renewed_within: Duration,
    ) -> Result<Given, StoreError> {
        let given = self.hand_over_all(worker, renewed_within).await?;
        sqlx::query!("delete from wa.workers where worker = $1", worker.0)
            .execute(&self.pool)
            .await
            .doing("leave")?;
        Ok(given)
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
            let suspect = Suspect {
                id: MessageId(row.id),
                sender: SenderId::from(row.sender),
            };
            if row.is_lost {
                swept.uncertain.push(suspect);
            } else {
                swept.remaining.insert(suspect);
            }
        }
        Ok(swept)
    }
}

/// As it is to be understood at `now`. A moment that lies ahead, because the database's clock was set back, is taken for now: so a silence
/// is never longer than was asked for.
fn slowed(
    to: Option<f64>,
    ago: Option<f64>,
    silent_for: Option<f64>,
    now: Instant,
) -> Option<Slowed> {
    let span = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
    Some(Slowed {
        to: to?,
        told_at: earlier(ago?, now).unwrap_or(now),
        silent_until: (silent_for.and_then(span)).and_then(|wait| now.checked_add(wait)),
    })
}

/// So many seconds before `now`; none where that lies ahead, or before the machine's own time.
fn earlier(ago: f64, now: Instant) -> Option<Instant> {
    now.checked_sub(Duration::try_from_secs_f64(ago).ok()?)
}
