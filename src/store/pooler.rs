//! Finds out what stands between us and Postgres: nothing, or a pooler, and what that pooler keeps.
//!
//! A pooler in session mode gives each connection a server connection of its own; everything works. In transaction mode
//! it may answer each transaction from another one. Then a notification never arrives (and may break another client), so
//! nothing listens and polling alone finds new messages. Where it does not keep prepared statements apart either
//! (PgBouncer before 1.21, or with `max_prepared_statements = 0`), a statement was seen to run that another client had
//! prepared under the same name. That is corruption without an error, so such a connection is refused at start.
//!
//! Nothing tells the mode to a client, so it is seen by its effects. Postgres itself knows a setting of ours that was given
//! with the start of the connection: one question, and a direct connection is known. Behind a pooler two connections take
//! turns, in transactions and out of them, each with a prepared statement whose answer is its own alone. In session mode
//! each is always on its one backend; if either ever moves, or both are met on one, the pooler is in transaction mode. A
//! statement that then answers as it should, on a backend where it was not prepared or beside another of its name, was
//! kept apart by the pooler.
//!
//! A database or a role may be set to undo what is promised: commits that a crash of the server forgets, snapshots that stay as they were
//! while a lock is waited for. Our connections are not so, whatever is set, and look for names in Postgres' own schema alone; through a
//! pooler in transaction mode that cannot be had, and a database that undoes what is promised is refused.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgRow, PgSeverity};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tracing::{info, warn};

use super::StoreError;

/// What a connection of ours is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Postgres itself.
    Direct,
    /// A pooler that gives each connection a server connection of its own.
    Session,
    /// A pooler that gives each transaction any server connection, and keeps prepared statements apart.
    Transaction,
}

/// A way to the database that has been tried.
pub(super) struct Way {
    /// What is there.
    pub(super) pooling: Pooling,
    /// How to connect.
    pub(super) options: PgConnectOptions,
    /// What must be said on each new connection, where the start of a connection cannot carry settings.
    pub(super) greeting: Option<String>,
}

impl Way {
    /// Says what a pooler asks of the one who runs it.
    pub(super) fn tell(&self, connections: u32) {
        match self.pooling {
            Pooling::Direct => {}
            Pooling::Session => info!(
                "Connected through a pooler in session mode; it needs {connections} server connections for this process"
            ),
            Pooling::Transaction => warn!(
                "Connected through a pooler in transaction mode: it passes no notifications on, so new messages are found by \
                 polling alone; and it keeps no settings, so set statement_timeout and lock_timeout for the role"
            ),
        }
    }
}

/// A setting of the connection, by name and value.
pub(super) type Limit<V = String> = (&'static str, V);

/// A setting that nobody else uses: only Postgres itself can know the value that we gave it.
const MARK: &str = "wa_outbox.connection";

/// What is decided under a lock must be decided by what stands there then, not by what stood there when the transaction began.
const ISOLATION: Limit<&str> = ("default_transaction_isolation", "read committed");
/// What is committed outlives a crash of the server, an intent above all. Only where it is off: whoever waits for a standby, or for none,
/// goes on so.
const COMMIT: Limit<&str> = ("synchronous_commit", "on");
/// What a name means is not for somebody to say who may make functions in a schema that is looked through …
const NAMES: Limit<&str> = ("search_path", "pg_catalog, pg_temp");
/// … and a pattern means the same in every session.
const LITERALS: Limit<&str> = ("standard_conforming_strings", "on");

/// Turns that two connections take. On an idle pooler the first one tells; more are for one that is busy, where who gets
/// which server connection is left to chance.
const TURNS: usize = 8;

const EXPLORING: &str = "see what the pooler in front of the database keeps";

/// Connects, sees what is there, and says how to connect from now on. Nothing of it takes longer than `patience` a step.
pub(super) async fn explore(
    options: PgConnectOptions,
    limits: &[Limit],
    patience: Duration,
) -> Result<Way, StoreError> {
    // Poolers refuse settings they do not track. This one, sqlx's own, has no meaning for values in binary form.
    let plain = options.extra_float_digits(None);
    let mark = format!("{:016x}", fastrand::u64(..));
    let marked = plain.clone().options([(MARK, &mark)]);
    let seen = match look(&marked, patience).await? {
        Some(seen) => seen,
        None => look(&plain, patience).await?.unwrap_or_default(),
    };
    let commit = (seen.synchronous_commit == "off").then_some(COMMIT);
    let fitting = [ISOLATION, NAMES, LITERALS].into_iter().chain(commit);
    let fitting = fitting.map(|(name, value)| (name, value.to_owned()));
    let settings: Vec<Limit> = limits.iter().cloned().chain(fitting).collect();
    if seen.mark.as_ref() == Some(&mark) {
        return Ok(Way {
            pooling: Pooling::Direct,
            options: plain.options(settings),
            greeting: None,
        });
    }
    let pooling = watch_turns(&plain, patience).await?;
    if pooling == Pooling::Transaction {
        seen.must_fit()?;
    }
    Ok(Way {
        pooling,
        options: plain,
        // In transaction mode a setting would stay behind on a server connection that is others' too.
        greeting: (pooling == Pooling::Session).then(|| greeting(&settings)),
    })
}

/// What a connection is given there.
#[derive(Default)]
struct Seen {
    mark: Option<String>,
    synchronous_commit: String,
    isolation: String,
}

impl Seen {
    /// Refuses what we cannot change.
    fn must_fit(&self) -> Result<(), StoreError> {
        let ours = [
            (ISOLATION, &self.isolation, self.isolation == ISOLATION.1),
            (
                COMMIT,
                &self.synchronous_commit,
                self.synchronous_commit != "off",
            ),
        ];
        match ours.into_iter().find(|(_, _, fits)| !fits) {
            None => Ok(()),
            Some(((setting, needed), found, _)) => Err(StoreError::UnfitSetting {
                setting,
                found: found.clone(),
                needed,
            }),
        }
    }
}

fn greeting(limits: &[Limit]) -> String {
    let limits = limits
        .iter()
        .map(|(name, value)| format!("set_config('{name}', '{value}', false)"));
    format!("select {}", limits.collect::<Vec<_>>().join(", "))
}

/// What a connection with these options is given. None: a pooler refuses them. (It may ignore them, too.)
async fn look(options: &PgConnectOptions, patience: Duration) -> Result<Option<Seen>, StoreError> {
    let doing = "connect to the database";
    let since = Instant::now();
    let mut connection = match within(patience, PgConnection::connect_with(options)).await {
        Err(error) if refuses_settings(&error) => return Ok(None),
        Err(error) => return Err(unable(error, doing, since)),
        Ok(connection) => connection,
    };
    let question = AssertSqlSafe(format!(
        "select current_setting('{MARK}', true), current_setting('synchronous_commit'), current_setting('{}')",
        ISOLATION.0
    ));
    let asked = within(patience, sqlx::raw_sql(question).fetch_one(&mut connection)).await;
    let seen = asked.and_then(|row: PgRow| {
        Ok(Seen {
            mark: row.try_get(0)?,
            synchronous_commit: row.try_get(1)?,
            isolation: row.try_get(2)?,
        })
    });
    let seen = seen.map_err(|error| unable(error, doing, since))?;
    // Nothing is lost if it does not hear our goodbye.
    let _ = connection.close().await;
    Ok(Some(seen))
}

/// PgBouncer: 08P01, "unsupported startup parameter"; Amazon's RDS Proxy: 0A000, no command-line options.
fn refuses_settings(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == "08P01" || code == "0A000")
        && !is_full(error)
}

/// PgBouncer ends who has waited as long as its `query_wait_timeout` says, with the code of a statement that it does not allow.
fn is_full(error: &sqlx::Error) -> bool {
    let database = error.as_database_error();
    database.is_some_and(|error| error.message().contains("query_wait_timeout"))
}

fn unable(error: sqlx::Error, doing: &'static str, since: Instant) -> StoreError {
    if is_full(&error) || matches!(error, sqlx::Error::PoolTimedOut) && doing == EXPLORING {
        let waited = Duration::from_millis(since.elapsed().as_millis() as u64);
        return StoreError::PoolerFull { waited };
    }
    StoreError::Database {
        doing,
        source: error,
    }
}

/// Tells the mode of a pooler.
async fn watch_turns(
    options: &PgConnectOptions,
    patience: Duration,
) -> Result<Pooling, StoreError> {
    let mut one = Visitor::arrive(options, patience).await?;
    let mut other = Visitor::arrive(options, patience).await?;
    let home = one.backend().await?;
    let mut home_of_other = None;
    for _ in 0..TURNS {
        other.say("begin").await?;
        let met = other.backend().await?;
        if met == home || *home_of_other.get_or_insert(met) != met {
            // Asked no further: a pooler with a single server connection would let `one` wait for the end of this.
            return Ok(Pooling::Transaction);
        }
        let kept = one.backend().await? == home;
        other.say("rollback").await?;
        // Twice, because a pooler that goes round its server connections could stay in step with us.
        if !kept || one.backend().await? != home || one.backend().await? != home {
            return Ok(Pooling::Transaction);
        }
    }
    one.leave().await;
    other.leave().await;
    Ok(Pooling::Session)
}

/// A connection with one prepared statement, whose answer no statement of anybody else gives.
struct Visitor {
    connection: PgConnection,
    question: String,
    name: String,
    patience: Duration,
}

impl Visitor {
    async fn arrive(options: &PgConnectOptions, patience: Duration) -> Result<Self, StoreError> {
        let since = Instant::now();
        let connecting = within(patience, PgConnection::connect_with(options)).await;
        let connection =
            connecting.map_err(|error| unable(error, "connect to the database", since))?;
        let name = format!("{:016x}", fastrand::u64(..));
        let question = format!("select pg_backend_pid(), '{name}'");
        Ok(Self {
            connection,
            question,
            name,
            patience,
        })
    }

    /// The backend that answers now. Each visitor's statement is the first on its connection, so sqlx gives all of them
    /// the same name: on one backend they can only live together if the pooler keeps them apart.
    async fn backend(&mut self) -> Result<i32, StoreError> {
        let since = Instant::now();
        let question = sqlx::query(AssertSqlSafe(self.question.clone()));
        let asked = within(self.patience, question.fetch_one(&mut self.connection)).await;
        let answer = asked.and_then(|row: PgRow| Ok((row.try_get(0)?, row.try_get(1)?)));
        match answer {
            Ok((backend, name)) if String::eq(&name, &self.name) => Ok(backend),
            Ok((_, _)) => Err(StoreError::StatementsMixedUp),
            Err(error) if tells_of_another_statement(&error) => Err(StoreError::StatementsMixedUp),
            Err(error) => Err(unable(error, EXPLORING, since)),
        }
    }

    /// Statement pooling, a third mode, refuses transactions.
    async fn say(&mut self, statement: &'static str) -> Result<(), StoreError> {
        let since = Instant::now();
        let said = sqlx::raw_sql(statement).execute(&mut self.connection);
        match within(self.patience, said).await {
            Ok(_) => Ok(()),
            Err(error) if is_of(&error, &["08P01"]) && !is_full(&error) => {
                Err(StoreError::StatementsMixedUp)
            }
            Err(error) => Err(unable(error, EXPLORING, since)),
        }
    }

    async fn leave(self) {
        // Nothing is lost if it does not hear our goodbye.
        let _ = self.connection.close().await;
    }
}

/// Whether a prepared statement was not there, was there already, or was another one than ours.
fn tells_of_another_statement(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            let fatal = database
                .try_downcast_ref::<PgDatabaseError>()
                .is_some_and(|error| error.severity() != PgSeverity::Error);
            // 26000: does not exist. 42P05: exists. 08P01: takes other parameters. 22…: takes other values.
            let of_data = database.code().is_some_and(|code| code.starts_with("22"));
            !fatal && (of_data || is_of(error, &["26000", "42P05", "08P01"]))
        }
        sqlx::Error::Protocol(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::RowNotFound => true,
        // The connection, not the statement.
        _ => false,
    }
}

fn is_of(error: &sqlx::Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| codes.contains(&&*code))
}

async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let done = tokio::time::timeout(patience, work).await;
    done.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_undoes_a_promise_does_not_fit_and_what_a_standby_is_waited_for_does() {
        let fits = |commit: &str, isolation: &str| {
            let seen = Seen {
                mark: None,
                synchronous_commit: commit.to_owned(),
                isolation: isolation.to_owned(),
            };
            seen.must_fit().map_err(|refusal| refusal.to_string())
        };
        for commit in ["on", "local", "remote_write", "remote_apply"] {
            assert_eq!(fits(commit, "read committed"), Ok(()));
        }
        for (commit, isolation, fix) in [
            ("off", "read committed", "set synchronous_commit = 'on'"),
            (
                "on",
                "serializable",
                "set default_transaction_isolation = 'read committed'",
            ),
            (
                "on",
                "repeatable read",
                "set default_transaction_isolation = 'read committed'",
            ),
        ] {
            let refusal = fits(commit, isolation).expect_err("it does not fit");
            assert!(refusal.contains(fix), "{refusal}");
        }
    }
}
