//! What is remembered: Postgres. All SQL of the program stands here, and nothing but SQL.
//!
//! A row is written here by the function that is named after its effect: a message is read ahead ([`claim`]), begun, and
//! recorded ([`record`]); what is uncertain is settled ([`uncertain`]); what WhatsApp tells is kept ([`inbox`]) and applied
//! ([`status`]). The schema keeps its own books by triggers (see `migrations/0002_outbox.sql`), so no function here has to
//! remember to take a row out of one table when it writes the next.
//!
//! No transaction is open while a request is out, and every decision about time is made by the database's clock.

pub mod claim;
mod error;
pub mod hold;
pub mod inbox;
pub mod lease;
pub mod listener;
pub mod message;
pub mod outbox;
pub mod pooler;
pub mod record;
pub mod runtime;
pub mod sender;
pub mod sequence;
pub mod status;
pub mod summary;
pub mod sweep;
pub mod template_hold;
pub mod uncertain;

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor as _, PgPool};

use error::Doing;
pub use error::StoreError;
use pooler::Pooling;

/// How to reach the database, and how long a statement may take there.
#[derive(Clone, Debug)]
pub struct ConnectSettings {
    /// A `postgres://` URL.
    pub url: String,
    /// Connections at most; a worker needs few, whatever it sends.
    pub max_connections: u32,
    /// After this long the server gives a statement up.
    pub statement_timeout: Duration,
    /// After this long the server stops waiting for a lock.
    pub lock_timeout: Duration,
}

impl ConnectSettings {
    /// The defaults for a URL: 8 connections, 15 s a statement, 5 s a lock.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 8,
            statement_timeout: Duration::from_secs(15),
            lock_timeout: Duration::from_secs(5),
        }
    }
}

/// Nobody waits longer than this for a connection.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(5);

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    pooling: Pooling,
}

/// A migration and whether this database has it.
#[derive(Debug)]
pub struct MigrationState {
    /// Its number.
    pub version: i64,
    /// What it adds.
    pub description: String,
    /// Whether it has been applied.
    pub applied: bool,
}

/// The migrations of this version, recorded in `wa.migrations`.
pub fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.table_name = "wa.migrations".into();
    migrator.create_schemas = vec!["wa".into()].into();
    migrator
}

impl Store {
    /// Connects, and fails with the reason when that is not possible within five seconds, or when the pooler in front of
    /// the database would mix our statements up.
    pub async fn connect(settings: &ConnectSettings) -> Result<Self, StoreError> {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let options = PgConnectOptions::from_str(&settings.url)
            .doing("read the database's URL")?
            .application_name("wa-outbox");
        let limits = [
            (
                "statement_timeout",
                milliseconds(settings.statement_timeout),
            ),
            ("lock_timeout", milliseconds(settings.lock_timeout)),
            ("idle_in_transaction_session_timeout", "30000".into()),
        ];
        // By hand first: a pool would only say that it timed out, and not why.
        let way = pooler::explore(options, &limits, ACQUIRE_WITHIN).await?;
        way.tell(settings.max_connections);
        let greeting = way.greeting;
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(ACQUIRE_WITHIN)
            // A ping before each use would cost a round trip a statement; a dead connection shows at its first use.
            .test_before_acquire(false)
            .max_lifetime(Duration::from_secs(30 * 60))
            .after_connect(move |connection, _| {
                let greeting = greeting.clone();
                Box::pin(async move {
                    match greeting {
                        Some(greeting) => connection
                            .execute(sqlx::raw_sql(AssertSqlSafe(greeting)))
                            .await
                            .map(drop),
                        None => Ok(()),
                    }
                })
            })
            .connect_lazy_with(way.options);
        Ok(Self {
            pool,
            pooling: way.pooling,
        })
    }

    /// Uses a pool that exists already and is connected to Postgres itself.
    pub fn over(pool: PgPool) -> Self {
        Self {
            pool,
            pooling: Pooling::Direct,
        }
    }

    /// What stands between us and Postgres.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The pool, for what is not ours to wrap (the listener, a caller's transaction).
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Applies what is missing. Safe to call from several processes at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        if self.pooling == Pooling::Transaction {
            // The lock that keeps two migrations apart lives in a server connection that we would not find again.
            return Err(StoreError::CannotMigrateHere);
        }
        migrator()
            .run(&self.pool)
            .await
            .map_err(StoreError::Migrate)
    }

    /// What has been applied and what has not.
    pub async fn migrations(&self) -> Result<Vec<MigrationState>, StoreError> {
        let migrator = migrator();
        let exists: bool =
            sqlx::query_scalar!(r#"select to_regclass('wa.migrations') is not null as "exists!""#)
                .fetch_one(&self.pool)
                .await
                .doing("look for the migrations table")?;
        let mut applied = Vec::new();
        if exists {
            let mut connection = self.pool.acquire().await.doing("list the migrations")?;
            applied = connection
                .list_applied_migrations(&migrator.table_name)
                .await
                .map_err(StoreError::Migrate)?;
        }
        Ok(migrator
            .iter()
            .map(|migration| MigrationState {
                version: migration.version,
                description: migration.description.to_string(),
                applied: applied.iter().any(|row| row.version == migration.version),
            })
            .collect())
    }

    /// Refuses a database that lacks a migration of this version.
    pub async fn require_current_schema(&self) -> Result<(), StoreError> {
        match self
            .migrations()
            .await?
            .into_iter()
            .find(|migration| !migration.applied)
        {
            None => Ok(()),
            Some(missing) => Err(StoreError::NotMigrated {
                version: missing.version,
                description: missing.description,
            }),
        }
    }

    /// One round trip: whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1")
            .execute(&self.pool)
            .await
            .doing("ask the database for a sign of life")
            .map(drop)
    }

    /// The key that signs callback tokens, made by the migration.
    pub async fn callback_token_key(&self) -> Result<[u8; 32], StoreError> {
        let key = sqlx::query_scalar!("select key from wa.keys where name = 'callback_token'")
            .fetch_one(&self.pool)
            .await
            .doing("read the key of the callback token")?;
        key.try_into().map_err(|_| StoreError::Inconsistent {
            what: "wa.keys: the key has not 32 bytes",
        })
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
