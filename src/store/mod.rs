//! What is remembered: Postgres. All SQL of the program stands here, and nothing but SQL.
//!
//! A row is written here by the function that is named after its effect: a message is read ahead ([`claim`]), begun, and
//! recorded ([`record`]); what is uncertain is settled ([`uncertain`]); what WhatsApp tells is kept ([`inbox`]) and applied
//! ([`status`]). The schema keeps its own books by triggers (see the migration *outbox*), so no function here has to
//! remember to take a row out of one table when it writes the next.
//!
//! No transaction is open while a request is out, and every decision about time is made by the database's clock.

pub mod account_news;
pub mod activity;
pub mod audit;
pub mod bookings;
pub mod campaign;
pub mod campaign_progress;
pub mod campaign_work;
pub mod census;
pub mod checkup;
pub mod claim;
pub mod connections;
mod country;
pub mod era;
mod error;
pub mod failures;
pub mod front;
pub mod groups;
pub mod hold;
pub mod imports;
pub mod inbox;
pub mod lease;
pub mod listener;
pub mod media;
pub mod message;
pub mod messages;
pub mod outbox;
pub mod parts;
pub mod pooler;
pub mod prune;
pub mod recipients;
pub mod record;
pub mod recovery;
pub mod runtime;
pub mod schema;
pub mod sender;
pub mod sequence;
pub mod status;
pub mod summary;
pub mod suppression;
pub mod sweep;
pub mod tail;
pub mod template_hold;
pub mod uncertain;
pub mod watch;
pub mod webhook_health;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use claim::Patience;
use connections::{Connections, Terms};
use era::Memory;
use error::Doing;
pub use error::StoreError;
use inbox::LISTENING_GAP;
use pooler::{Limit, Pooling};
pub use schema::{MigrationState, Schema, migrator};

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
    /// Rows are looked up by key and index, and no table is read from end to end, whatever the planner believes.
    pub by_key: bool,
}

/// What the server may take longer than it was told, and its answer on its way: this part of the time of a statement.
const ON_ITS_WAY: f64 = 0.25;

impl ConnectSettings {
    /// The defaults for a URL: 8 connections, 15 s a statement, 5 s a lock.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 8,
            statement_timeout: Duration::from_secs(15),
            lock_timeout: Duration::from_secs(5),
            by_key: false,
        }
    }

    /// How long an answer is waited for before its connection counts as silent and is dropped: longer than the server itself
    /// takes, so that one that is slow says so instead.
    pub fn answer_within(&self) -> Duration {
        self.statement_timeout.mul_f64(1.0 + ON_ITS_WAY)
    }

    /// What the server is told about each of our connections.
    fn limits(&self) -> Vec<Limit> {
        // The longest that the server takes is as good as for ever; none at all would be no limit.
        let milliseconds = |time: Duration| time.as_millis().clamp(1, i32::MAX as u128).to_string();
        let mut limits = vec![
            ("statement_timeout", milliseconds(self.statement_timeout)),
            ("lock_timeout", milliseconds(self.lock_timeout)),
            // We never think between two statements: who is silent there is gone, and must not keep rows locked.
            (
                "idle_in_transaction_session_timeout",
                milliseconds(self.answer_within()),
            ),
            // Our statements are short, and planned for more rows than they meet. To compile one took up to 260 ms each time
            // that it ran, with a million messages queued.
            ("jit", "off".into()),
            // The server, too, finds out that we are gone: after a minute, not after two hours.
            ("tcp_keepalives_idle", "30".into()),
            ("tcp_keepalives_interval", "10".into()),
            ("tcp_keepalives_count", "3".into()),
        ];
        if self.by_key {
            // A plan is made when a statement has run a few times, on tables that may just have been empty, and is kept until the
            // next analyze: each look at a status then read all results.
            limits.push(("enable_seqscan", "off".into()));
        }
        limits
    }
}

/// Where the database is, by this address.
fn address(url: &str) -> Result<PgConnectOptions, StoreError> {
    // Anything else would be taken for the way to a server of this machine.
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        let why = "it does not begin with postgres:// or postgresql://";
        return Err(StoreError::Address(sqlx::Error::Configuration(why.into())));
    }
    let options = PgConnectOptions::from_str(url).map_err(StoreError::Address)?;
    // The brackets of an IPv6 address are the URL's; no resolver knows them.
    let host = options.get_host();
    Ok(
        match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(host) => options.clone().host(host),
            None => options,
        },
    )
}

/// Nobody waits longer than this for a connection, nor longer than for an answer.
const LENT_WITHIN: Duration = Duration::from_secs(5);

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: Connections,
    pooling: Pooling,
    memory: Arc<Memory>,
    patience: Arc<Patience>,
}

impl Store {
    /// Connects, and fails with the reason when that is not possible within five seconds, or when the pooler in front of
    /// the database would mix our statements up.
    pub async fn connect(settings: &ConnectSettings) -> Result<Self, StoreError> {
        let options = address(&settings.url)?.application_name("wa-outbox");
        // By hand first: what is lent later would only say that it came too late, and not why.
        let way = pooler::explore(options, &settings.limits(), LENT_WITHIN).await?;
        way.tell(settings.max_connections);
        let answer_within = settings.answer_within();
        Ok(Self {
            pool: Connections::new(Terms {
                options: way.options,
                greeting: way.greeting,
                at_most: settings.max_connections,
                lent_within: LENT_WITHIN.min(answer_within),
                answer_within,
            }),
            pooling: way.pooling,
            memory: Arc::default(),
            patience: Arc::default(),
        })
    }

    /// Uses the address and the number of connections of a pool that exists already and is connected to Postgres itself; not
    /// its connections.
    pub fn over(pool: PgPool) -> Self {
        let defaults = ConnectSettings::new("");
        Self {
            pool: Connections::new(Terms {
                options: PgConnectOptions::clone(&pool.connect_options()),
                greeting: None,
                at_most: pool.options().get_max_connections(),
                lent_within: LENT_WITHIN,
                answer_within: defaults.answer_within(),
            }),
            pooling: Pooling::Direct,
            memory: Arc::default(),
            patience: Arc::default(),
        }
    }

    /// What stands between us and Postgres.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The connections, for what is not ours to wrap (a caller's transaction, a question of its own).
    pub fn pool(&self) -> &Connections {
        &self.pool
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

    /// Has this process work with a key of the callback token, known by its fingerprint. `process`: its name, for people.
    ///
    /// # Errors
    /// When messages are sent with another key, and somebody is at it or an answer is missing that only that one can read.
    pub async fn use_token_key(&self, fingerprint: &str, process: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "select wa.use_token_key($1, $2, make_interval(secs => $3))",
            fingerprint,
            process,
            LISTENING_GAP.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .doing("use the key of the callback token")
        .map(drop)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_its_server_by_an_ipv6_number_and_must_name_postgres() {
        let host = |url: &str| address(url).map(|options| options.get_host().to_owned());
        assert_eq!(
            host("postgres://app@[::1]:7714/app").ok().as_deref(),
            Some("::1")
        );
        assert_eq!(host("postgresql://app@db/app").ok().as_deref(), Some("db"));
        for other in [
            "env:DATABASE_URL",
            "file:/run/secrets/url",
            "mysql://db/app",
        ] {
            assert!(
                matches!(host(other), Err(StoreError::Address(_))),
                "{other}"
            );
        }
    }
}
