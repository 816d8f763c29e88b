//! The connections of a process, lent for one statement or one transaction, and never waited for without end.
//!
//! A peer can go silent without closing: a cut cable, a firewall that forgot us, a server that is no more. TCP needs a quarter
//! of an hour to notice. So each statement passes here, and has the time that the server itself may take for it and a little
//! for the way. An answer that does not come by then costs its connection: it is closed at once, without a goodbye that nobody
//! would hear, and its place is free. Those that lie idle since before that question are closed with it, because most likely
//! they went the same way; so a cut costs one wait, and not one for each connection.
//!
//! A connection comes back only if everything that it was asked was answered and no transaction is open. It is not asked
//! whether it lives: that would cost a round trip for each statement, and prove nothing about the next one.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::postgres::{
    PgConnectOptions, PgDatabaseError, PgQueryResult, PgRow, PgSeverity, PgStatement, PgTypeInfo,
};
use sqlx::{
    AssertSqlSafe, Connection as _, Describe, Either, Execute, Executor, PgConnection, Postgres,
    SqlStr,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// A connection is replaced after this time, so that a server that was moved is followed and memory it gathered is given back.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 60);
/// One that was not needed for so long is given up.
const LONGEST_IDLE: Duration = Duration::from_secs(10 * 60);
/// The server is not waited for longer when a connection is ended in order.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// How connections are made and waited for.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// How to connect.
    pub(super) options: PgConnectOptions,
    /// Said first on each new connection.
    pub(super) greeting: Option<String>,
    /// Connections at most.
    pub(super) at_most: u32,
    /// Nobody waits longer for a connection, a new one included.
    pub(super) lent_within: Duration,
    /// Nobody waits longer for an answer.
    pub(super) answer_within: Duration,
}

/// The connections. Clones share them.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    terms: Terms,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    waiting: AtomicUsize,
    asked: AtomicU64,
    unanswered: AtomicU64,
}

/// How the connections are used at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Lent.
    pub in_use: usize,
    /// That may be lent at once.
    pub at_most: usize,
    /// Who waits for one, a new one included.
    pub waiting: usize,
    /// Round trips to the server since the start: statements, and beginnings and ends of transactions.
    pub asked: u64,
    /// Statements that were given up since the start, because no answer came in time.
    pub unanswered: u64,
}

/// One who waits for a connection, or has lost patience when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn on(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Idle {
    raw: PgConnection,
    made_at: Instant,
    /// When it was last known to live.
    heard_at: Instant,
}

impl Idle {
    fn is_fresh(&self, now: Instant) -> bool {
        now - self.made_at < LONGEST_LIFE && now - self.heard_at < LONGEST_IDLE
    }
}

impl Connections {
    /// Connects when the first is needed.
    pub(super) fn new(terms: Terms) -> Self {
        Self(Arc::new(Shared {
            places: Arc::new(Semaphore::new(terms.at_most as usize)),
            idle: Mutex::default(),
            waiting: AtomicUsize::new(0),
            asked: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            terms,
        }))
    }

    /// How they are made.
    pub(super) fn terms(&self) -> &Terms {
        &self.0.terms
    }

    /// How they are used now.
    pub fn usage(&self) -> Usage {
        let at_most = self.0.terms.at_most as usize;
        Usage {
            in_use: at_most.saturating_sub(self.0.places.available_permits()),
            at_most,
            waiting: self.0.waiting.load(Ordering::Relaxed),
            asked: self.0.asked.load(Ordering::Relaxed),
            unanswered: self.0.unanswered.load(Ordering::Relaxed),
        }
    }

    /// Lends a connection.
    ///
    /// # Errors
    /// When none is free in time, none can be made, or all were closed.
    pub async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        let _waiting = Waiting::on(&self.0.waiting);
        let lending = async {
            let place = self.place().await?;
            let (raw, made_at) = match self.0.take_idle() {
                Some(idle) => (idle.raw, idle.made_at),
                None => (self.connect().await?, Instant::now()),
            };
            Ok(Connection {
                raw: Some(raw),
                made_at,
                asked_at: None,
                in_transaction: false,
                home: Arc::clone(&self.0),
                _place: place,
            })
        };
        let lent = timeout(self.0.terms.lent_within, lending).await;
        lent.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Begins a transaction. Unless it is committed, it ends with its connection.
    ///
    /// # Errors
    /// As [`Connections::acquire`], and when the server does not answer.
    pub async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        self.begin_with("BEGIN".to_owned()).await
    }

    /// The same with the statements that it begins with. They are ours, and hold no text from outside.
    pub(super) async fn begin_with(&self, begin: String) -> Result<Transaction, sqlx::Error> {
        let mut connection = self.acquire().await?;
        connection.in_transaction = true;
        sqlx::raw_sql(AssertSqlSafe(begin))
            .execute(&mut connection)
            .await?;
        Ok(Transaction(connection))
    }

    /// A place for a connection that is made elsewhere and counts all the same.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        let free = Arc::clone(&self.0.places).acquire_owned();
        match timeout(self.0.terms.lent_within, free).await {
            Ok(place) => place.map_err(|_| sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// A connection of one's own, beside the others: nothing bounds what is asked on it.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let Terms {
            options,
            greeting,
            lent_within,
            ..
        } = &self.0.terms;
        let connecting = async {
            let mut raw = PgConnection::connect_with(options).await?;
            if let Some(greeting) = greeting {
                raw.execute(sqlx::raw_sql(AssertSqlSafe(greeting.clone())))
                    .await?;
            }
            Ok(raw)
        };
        let connected = timeout(*lent_within, connecting).await;
        connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Lends none any more, waits for those that are lent as long as an answer may take, and ends all.
    pub async fn close(&self) {
        let (shared, all) = (&self.0, self.0.terms.at_most);
        let _ = timeout(shared.terms.answer_within, shared.places.acquire_many(all)).await;
        shared.places.close();
        let idle = std::mem::take(&mut *shared.idle());
        let goodbyes = idle.into_iter().map(|one| one.raw.close());
        let goodbyes = futures_util::future::join_all(goodbyes);
        // Nothing is lost if the server does not hear them.
        let _ = timeout(GOODBYE_WITHIN, goodbyes).await;
    }
}

impl Shared {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last: the others may then become old, and fewer are kept than were ever needed at once.
    fn take_idle(&self) -> Option<Idle> {
        let mut idle = self.idle();
        let now = Instant::now();
        for old in idle.extract_if(.., |one| !one.is_fresh(now)) {
            tokio::spawn(timeout(GOODBYE_WITHIN, old.raw.close()));
        }
        idle.pop()
    }

    fn keep(&self, raw: PgConnection, made_at: Instant) {
        if !self.places.is_closed() {
            let heard_at = Instant::now();
            self.idle().push(Idle {
                raw,
                made_at,
                heard_at,
            });
        }
    }

    /// A question of that time has had no answer: who has not been heard of since is not trusted any more.
    fn distrust_before(&self, asked_at: Instant) {
        self.idle().retain(|idle| idle.heard_at >= asked_at);
    }
}

/// A connection that is lent. Dropped, it goes back, unless it owes an answer or has a transaction open.
pub struct Connection {
    raw: Option<PgConnection>,
    made_at: Instant,
    /// Set while an answer is owed.
    asked_at: Option<Instant>,
    in_transaction: bool,
    home: Arc<Shared>,
    // Dropped last: who waits for the place then finds the connection.
    _place: OwnedSemaphorePermit,
}

type Step = Either<PgQueryResult, PgRow>;

impl Connection {
    /// Asks, and waits for the answer as long as an answer may take.
    async fn ask<'a, T, F>(
        &'a mut self,
        question: impl FnOnce(&'a mut PgConnection) -> F,
    ) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let within = self.home.terms.answer_within;
        let Some(raw) = &mut self.raw else {
            return Err(sqlx::Error::PoolClosed);
        };
        if self.asked_at.is_some() {
            return Err(no_answer());
        }
        self.asked_at = Some(Instant::now());
        self.home.asked.fetch_add(1, Ordering::Relaxed);
        let answer = timeout(within, question(raw)).await;
        let answer = answer.unwrap_or_else(|_| {
            self.home.unanswered.fetch_add(1, Ordering::Relaxed);
            Err(no_answer())
        });
        if answer.as_ref().map_or_else(leaves_usable, |_| true) {
            self.asked_at = None;
        }
        answer
    }
}

impl Connection {
    /// Writes rows by COPY: `statement` is a `COPY … FROM STDIN`, `rows` what it is to be given. Says how many there were.
    pub(super) async fn copy_in(
        &mut self,
        statement: &'static str,
        rows: &[u8],
    ) -> Result<u64, sqlx::Error> {
        self.ask(async |raw: &mut PgConnection| {
            let mut into = raw.copy_in_raw(statement).await?;
            into.send(rows).await?;
            into.finish().await
        })
        .await
    }
}

/// What is said of a connection that is silent.
pub(super) fn no_answer() -> sqlx::Error {
    std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "the database did not answer in time; the connection was dropped",
    )
    .into()
}

/// Whether the server refused one statement and goes on listening.
fn leaves_usable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error)
        if error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| error.severity() == PgSeverity::Error))
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(raw) = self.raw.take() else { return };
        match self.asked_at {
            // Whoever waited has lost patience, or the connection has broken. Dropped, its socket is closed.
            Some(asked_at) => self.home.distrust_before(asked_at),
            None if self.in_transaction => {}
            None => self.home.keep(raw, self.made_at),
        }
    }
}

/// A transaction. Dropped before it is committed, it is undone at the cost of its connection, which is closed.
pub struct Transaction(Connection);

impl Transaction {
    /// Makes it durable. Without an answer it may have become so or not.
    ///
    /// # Errors
    /// When the server refuses it, or does not answer.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    /// Undoes it and keeps its connection: for what often finds nothing to do.
    ///
    /// # Errors
    /// When the server does not answer; it is undone all the same.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(how).execute(&mut self.0).await?;
        self.0.in_transaction = false;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

/// The whole answer, as a stream of what is there already.
fn at_hand<'e>(steps: Vec<Step>) -> BoxStream<'e, Result<Step, sqlx::Error>> {
    stream::iter(steps.into_iter().map(Ok)).boxed()
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        // The whole answer at once: the time for it must not depend on how slowly it is read.
        let asking = self.ask(move |raw| raw.fetch_many(query).try_collect::<Vec<_>>());
        stream::once(asking).map_ok(at_hand).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(self.ask(move |raw| raw.fetch_optional(query)))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(self.ask(move |raw| raw.prepare_with(sql, parameters)))
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(self.ask(move |raw| raw.describe(sql)))
    }
}

impl<'c> Executor<'c> for &'c Connections {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let asking = async move {
            let mut connection = self.acquire().await?;
            connection
                .ask(move |raw| raw.fetch_many(query).try_collect::<Vec<_>>())
                .await
        };
        stream::once(asking).map_ok(at_hand).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move { self.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.acquire().await?.describe(sql).await })
    }
}
