//! What this process knows of the database it works on, and whether it is still that one.
//!
//! A database can go back in time without anybody telling us: a standby takes over that had not got everything, a backup is
//! restored. What was sent since is then queued again. So a process remembers which era it is in and how far the database had
//! come ([`Store::beat`]); whatever it begins, records or applies names both, in the same statement or transaction, and the
//! database refuses it where they do not fit (the migration *recovery*). Who notices begins a new era: once over all processes, since
//! only the era that one knows can be ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{Notify, watch};

use super::connections::Transaction;
use super::error::Doing;
use super::{Store, StoreError};
use crate::domain::era::Eras;
use crate::domain::id::{Era, MessageId};

/// What a process has seen of its database.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    eras: Arc<Eras>,
    tick: i64,
    flushed: Option<i64>,
    is_settled: bool,
    /// The last time that ids were set forward, before that beat.
    last_reset: i64,
}

/// What all clones of a store know together.
#[derive(Default)]
pub(super) struct Memory {
    seen: watch::Sender<Option<Seen>>,
    suspected: Notify,
    reported: Mutex<Option<Amiss>>,
}

/// What one beat found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    /// It is the database that this process knows.
    Same,
    /// Its era is another one than this process knew, or this process knew none: somebody has begun it before.
    Learned {
        /// This one.
        era: Era,
        /// Whether it was settled what the database has forgotten.
        is_settled: bool,
        /// What the server does not tell of itself, so that not every restore is noticed.
        unreadable: Option<String>,
        /// For so long nobody has worked on it; none: nobody ever has.
        silent: Option<Duration>,
    },
    /// It has gone back, and nobody has noticed yet.
    Amiss(Amiss),
}

/// That a database has gone back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amiss {
    /// The era that is over.
    pub era: Era,
    /// A word for it, such as `new_timeline`.
    pub cause: String,
    /// In words, to stand after "the database:".
    pub what: String,
}

/// An era that was just begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEra {
    /// Which.
    pub era: Era,
    /// The database knows what was committed until then; none: nobody knows until when.
    pub complete_until: Option<OffsetDateTime>,
    /// Whether the server itself says so.
    pub is_exact: bool,
    /// So many senders are held.
    pub senders: i64,
}

/// That the sequence of message ids was found to stand behind ids it had given, and was set forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdReset {
    /// The how-manieth time.
    pub reset: i64,
    /// When it was found.
    pub at: OffsetDateTime,
    /// The last id it had given by then.
    pub stood_at: i64,
    /// It goes on from there.
    pub set_to: i64,
    /// Of the last thousand messages up to there, so many have the id of another.
    pub doubled: i64,
}

/// How the ids of messages stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdsGiven {
    /// The last that the sequence gave.
    pub last: i64,
    /// The largest that was ever seen.
    pub largest: i64,
}

impl Store {
    /// Tells the database that this process lives, and looks whether it is the one that it knows.
    pub async fn beat(&self) -> Result<Beat, StoreError> {
        let known = self.memory.seen.borrow().clone();
        let (era, tick) = self.here();
        // What the beat itself sets forward is seen by the next.
        let row = sqlx::query!(
            r#"select b.era as "era!", b.tick as "tick!", b.flushed, b.is_settled as "is_settled!", b.unreadable, b.silent_s,
                 b.amiss, b.what, coalesce((select max(r.reset) from wa.id_resets r), 0) as "last_reset!"
               from wa.beat($1, $2, $3) b"#,
            era,
            tick,
            known.as_ref().and_then(|known| known.flushed)
        )
        .fetch_one(&self.pool)
        .await
        .doing("see whether the database is the one it was")?;
        let era = Era(row.era);
        if let (Some(cause), Some(what)) = (row.amiss, row.what) {
            return Ok(Beat::Amiss(Amiss { era, cause, what }));
        }
        let is_new = known.as_ref().map(|known| known.eras.current()) != Some(era);
        let eras = match known {
            // One that is not settled still takes in what comes late.
            Some(known) if !is_new && known.is_settled => known.eras,
            Some(_) | None => Arc::new(self.eras().await?),
        };
        self.memory.seen.send_replace(Some(Seen {
            eras,
            tick: row.tick,
            flushed: row.flushed,
            is_settled: row.is_settled,
            last_reset: row.last_reset,
        }));
        Ok(if is_new {
            let silent = row
                .silent_s
                .map(|silent| Duration::from_secs_f64(silent.max(0.0)));
            Beat::Learned {
                era,
                is_settled: row.is_settled,
                unreadable: row.unreadable,
                silent,
            }
        } else {
            Beat::Same
        })
    }

    /// Ends the era that was found to be over and begins another: every sender is held. `None`: somebody else has done it.
    ///
    /// `since`: until then the database is complete; where it is not given, that is taken from what the database knows.
    pub async fn begin_era(
        &self,
        amiss: &Amiss,
        noticed_by: &str,
        since: Option<OffsetDateTime>,
    ) -> Result<Option<NewEra>, StoreError> {
        let row = sqlx::query!(
            "select b.began, b.complete_until, b.is_exact, b.senders from wa.begin_era($1, $2, $3, $4, $5, $6) b",
            amiss.era.0,
            amiss.cause,
            amiss.what,
            noticed_by,
            self.here().1,
            since
        )
        .fetch_one(&self.pool)
        .await
        .doing("hold all senders, for the database has gone back")?;
        Ok(row.began.map(|era| NewEra {
            era: Era(era),
            complete_until: row.complete_until,
            is_exact: row.is_exact.unwrap_or_default(),
            senders: row.senders.unwrap_or_default(),
        }))
    }

    /// The last time that the sequence of message ids was set forward, as the last beat saw it; none before the first.
    pub fn last_id_reset(&self) -> Option<i64> {
        let seen = self.memory.seen.borrow();
        seen.as_ref().map(|seen| seen.last_reset)
    }

    /// Each time that the sequence of message ids was set forward, after the one given.
    pub async fn id_resets(&self, after: i64) -> Result<Vec<IdReset>, StoreError> {
        sqlx::query_as!(
            IdReset,
            "select reset, at, stood_at, set_to, doubled from wa.id_resets where reset > $1 order by reset",
            after
        )
        .fetch_all(&self.pool)
        .await
        .doing("see whether the sequence of message ids was set back")
    }

    /// How the ids of messages stand.
    pub async fn ids_given(&self) -> Result<IdsGiven, StoreError> {
        sqlx::query_as!(
            IdsGiven,
            r#"select g.last_id as "last!", g.largest as "largest!" from wa.ids_given() g"#
        )
        .fetch_one(&self.pool)
        .await
        .doing("see whether the sequence of message ids was set back")
    }

    /// Whether a dump was restored over this database, and nobody has noticed yet.
    pub async fn is_from_a_dump(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar!(r#"select wa.is_from_a_dump() as "is!""#)
            .fetch_one(&self.pool)
            .await
            .doing("see whether the database is the one it was")
    }

    /// Whether silence and time may decide anything: not where the database has gone back and nobody has said what is to become of
    /// what it has forgotten.
    pub async fn may_conclude(&self) -> Result<bool, StoreError> {
        let (era, tick) = self.here();
        sqlx::query_scalar!(
            r#"select ($1::bigint is null or wa.is_here($1, $2)) and not wa.is_unsettled() as "may!""#,
            era,
            tick
        )
        .fetch_one(&self.pool)
        .await
        .doing("see whether the database is the one it was")
    }

    async fn eras(&self) -> Result<Eras, StoreError> {
        let rows = sqlx::query!("select era, known_ids from wa.eras")
            .fetch_all(&self.pool)
            .await
            .doing("read the eras of the database")?;
        Ok(Eras::new(
            rows.into_iter()
                .map(|row| (Era(row.era), MessageId(row.known_ids))),
        ))
    }

    /// The eras, as far as this process knows them.
    pub fn known_eras(&self) -> Arc<Eras> {
        let seen = self.memory.seen.borrow();
        seen.as_ref()
            .map_or_else(Arc::default, |seen| Arc::clone(&seen.eras))
    }

    /// The era that this process believes in, as it changes; none before its first beat.
    pub fn era(&self) -> EraWatch {
        EraWatch(self.memory.seen.subscribe())
    }

    /// Waits until something has met another database than it believed in.
    pub async fn suspected(&self) {
        self.memory.suspected.notified().await;
    }

    /// Has somebody look, because something is not as it can be in the database that this process knows.
    pub(super) fn suspect(&self) {
        self.memory.suspected.notify_one();
    }

    /// Reports what cannot be in the database that this process knows: whoever watches over it takes it from there.
    pub fn report(&self, amiss: Amiss) {
        *self.reported() = Some(amiss);
        self.suspect();
    }

    /// What was reported since the last time.
    pub fn take_report(&self) -> Option<Amiss> {
        self.reported().take()
    }

    fn reported(&self) -> std::sync::MutexGuard<'_, Option<Amiss>> {
        let reported = self.memory.reported.lock();
        reported.unwrap_or_else(PoisonError::into_inner)
    }

    /// Era and tick, for what must be refused in any other database. None before the first beat: a command that begins nothing need
    /// not know.
    pub(super) fn here(&self) -> (Option<i64>, Option<i64>) {
        let seen = self.memory.seen.borrow();
        seen.as_ref()
            .map(|seen| (seen.eras.current().0, seen.tick))
            .unzip()
    }

    /// Begins a transaction that can only be one of the database that this process knows.
    pub(super) async fn begin_here(&self) -> Result<Transaction, sqlx::Error> {
        let (Some(era), Some(tick)) = self.here() else {
            return self.pool.begin().await;
        };
        // In one message: no round trip is spent on it.
        let begun = self
            .pool
            .begin_with(format!("BEGIN; select wa.stay_here({era}, {tick})"))
            .await;
        if begun.as_ref().is_err_and(is_elsewhere) {
            self.suspect();
        }
        begun
    }
}

fn is_elsewhere(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "WA001")
}

/// Tells when the era changes.
#[derive(Clone)]
pub struct EraWatch(watch::Receiver<Option<Seen>>);

impl EraWatch {
    /// The era that this process believes in; none before its first beat.
    pub fn current(&self) -> Option<Era> {
        let seen = self.0.borrow();
        seen.as_ref().map(|seen| seen.eras.current())
    }

    /// Whether it was settled what the database has forgotten.
    pub fn is_settled(&self) -> bool {
        self.0.borrow().as_ref().is_none_or(|seen| seen.is_settled)
    }

    /// Waits until it is another one than this.
    pub async fn other_than(&mut self, era: Option<Era>) {
        let is_other = |seen: &Option<Seen>| seen.as_ref().map(|seen| seen.eras.current()) != era;
        if self.0.wait_for(is_other).await.is_err() {
            // The store is gone, and with it whatever could change.
            std::future::pending().await
        }
    }
}
