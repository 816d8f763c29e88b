//! All settings, and nothing that acts on them.
//!
//! A setting comes from the first of these that gives it: `WA_OUTBOX__SECTION__KEY` in the environment, a short form
//! in the environment (`DATABASE_URL`, `WHATSAPP_…`), the settings file, the default. What we do not know is refused,
//! in the file and in the environment, because a misspelt limit would otherwise be no limit; and what cannot work is
//! refused at start rather than found at night. No refusal ever shows a secret: the settings hold none, they only
//! name the place where one is kept.

mod check;
mod error;
mod fields;
mod load;
mod secret;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

pub use crate::domain::outcome::OnUncertain;
use crate::domain::retention;

pub use crate::secret::{NotAReference, SecretError, SecretRef};
pub use error::ConfigError;
pub use load::{Environment, is_read_by_us};
pub use secret::DatabaseUrl;

/// A statement that runs for so long may still be one of many on a busy server.
const SHORTEST_LIMIT: Duration = Duration::from_secs(1);
/// Where the app secret is kept unless settings say otherwise.
const APP_SECRET: &str = "WHATSAPP_APP_SECRET";
/// Where the access token of the sender is kept that is made at a first start.
const ACCESS_TOKEN: &str = "WHATSAPP_ACCESS_TOKEN";

/// All settings. `Config::default()` has the defaults that are documented at each field.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Postgres.
    pub database: Database,
    /// How WhatsApp is connected to.
    pub http: Http,
    /// How messages are taken and sent.
    pub worker: Worker,
    /// When a request that provably did not do its work is made again.
    pub retry: Retry,
    /// How a lost answer is settled.
    pub reconcile: Reconcile,
    /// How sequences go on, where neither they nor their sender say.
    pub sequence: Sequence,
    /// Files that messages may name.
    pub media: Media,
    /// How long what has ended is kept.
    pub retention: Retention,
    /// Where status webhooks are received.
    pub webhook: Webhook,
    /// Where operators look.
    pub admin: Admin,
    /// Where traces are told.
    pub traces: Traces,
    /// The callback token.
    pub token: Token,
    /// What is logged and how.
    pub log: Log,
    /// The sender that is made, or brought up to date, at start.
    pub sender: Sender,
}

/// Postgres.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The database, as a URL without a password or as a reference to one. No default; short form `DATABASE_URL`.
    pub url: Option<DatabaseUrl>,
    /// Connections of one process. Default 8.
    pub max_connections: u32,
    /// How long one statement may run; in a process that works, a quarter of its lease at most
    /// ([`Config::statement_limit`]). Setting `statement_timeout_s`, default 15 seconds.
    #[serde(rename = "statement_timeout_s", deserialize_with = "values::seconds")]
    pub statement_timeout: Duration,
    /// How long one statement may wait for a lock, if it may run so long. Setting `lock_timeout_s`, default 5 seconds.
    #[serde(rename = "lock_timeout_s", deserialize_with = "values::seconds")]
    pub lock_timeout: Duration,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            max_connections: 8,
            statement_timeout: Duration::from_secs(15),
            lock_timeout: Duration::from_secs(5),
        }
    }
}

/// How WhatsApp is connected to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// How long making a connection (name, TCP, TLS) may take. Setting `connect_timeout_s`, default 5 seconds.
    #[serde(rename = "connect_timeout_s", deserialize_with = "values::seconds")]
    pub connect_timeout: Duration,
    /// How long a request may take from its first byte to the last of its answer; after that the answer counts as
    /// lost. Setting `response_timeout_s`, default 60 seconds.
    #[serde(rename = "response_timeout_s", deserialize_with = "values::seconds")]
    pub response_timeout: Duration,
    /// How long an unused connection is kept; short, because a connection that the other side has just closed costs
    /// a request. Setting `pool_idle_timeout_s`, default 4 seconds.
    #[serde(rename = "pool_idle_timeout_s", deserialize_with = "values::seconds")]
    pub pool_idle_timeout: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            pool_idle_timeout: Duration::from_secs(4),
        }
    }
}

/// How messages are taken and sent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// The worker's name in tables and logs. Default: host name and process id, which only the caller knows.
    pub name: Option<String>,
    /// How often its lease is renewed. Setting `heartbeat_s`, default 3 seconds.
    #[serde(rename = "heartbeat_s", deserialize_with = "values::seconds")]
    pub heartbeat: Duration,
    /// How long its senders stay its own without a renewal. Setting `lease_s`, default 15 seconds.
    #[serde(rename = "lease_s", deserialize_with = "values::seconds")]
    pub lease: Duration,
    /// How often permits are looked at while there is something to send. Setting `tick_ms`, default 5 milliseconds.
    #[serde(rename = "tick_ms", deserialize_with = "values::milliseconds")]
    pub tick: Duration,
    /// How often new messages are looked for while there is nothing to send. Setting `idle_poll_ms`, default 40
    /// milliseconds.
    #[serde(rename = "idle_poll_ms", deserialize_with = "values::milliseconds")]
    pub idle_poll: Duration,
    /// Messages of one sender that are read before they may leave; a large one counts for each 16 kB. Default 200.
    pub read_ahead: u32,
    /// Requests of one sender that may be out at a time, where the sender itself does not say. Default 64.
    pub max_in_flight: u32,
    /// Of a sender's rate, what its campaigns of priority 5 and above leave free for what is urgent. Default 0.1.
    pub urgent_share: f64,
    /// How long an outcome waits for others to be written down with. Setting `record_delay_ms`, default 3
    /// milliseconds; 0 writes each at once.
    #[serde(rename = "record_delay_ms", deserialize_with = "values::milliseconds")]
    pub record_delay: Duration,
    /// Outcomes that are written down at once, at most. Default 500.
    pub record_batch: u32,
    /// How long an orderly end may take. Setting `shutdown_s`, default: the response timeout and 10 seconds more.
    #[serde(rename = "shutdown_s", deserialize_with = "values::optional_seconds")]
    pub shutdown: Option<Duration>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            name: None,
            heartbeat: Duration::from_secs(3),
            lease: Duration::from_secs(15),
            tick: Duration::from_millis(5),
            idle_poll: Duration::from_millis(40),
            read_ahead: 200,
            max_in_flight: 64,
            urgent_share: 0.1,
            record_delay: Duration::from_millis(3),
            record_batch: 500,
            shutdown: None,
        }
    }
}

/// When a request that provably did not do its work is made again.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The wait after the first attempt. Setting `first_delay_s`, default 1 second.
    #[serde(rename = "first_delay_s", deserialize_with = "values::seconds")]
    pub first_delay: Duration,
    /// How much longer each wait is than the one before. Default 2.
    pub factor: f64,
    /// The longest wait. Setting `max_delay_s`, default 300 seconds.
    #[serde(rename = "max_delay_s", deserialize_with = "values::seconds")]
    pub max_delay: Duration,
    /// The part of a wait that is left to chance, from 0 (none) to below 1. Default 0.3.
    pub jitter: f64,
    /// Attempts that a message may spend. Default 10.
    pub max_attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(1),
            factor: 2.0,
            max_delay: Duration::from_secs(300),
            jitter: 0.3,
            max_attempts: 10,
        }
    }
}

/// How a lost answer is settled.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reconcile {
    /// How long evidence is waited for, from the request's deadline on. Setting `window_s`, default 120 seconds.
    #[serde(rename = "window_s", deserialize_with = "values::seconds")]
    pub window: Duration,
    /// How often a message is sent again by policy alone. Default 1; 0 is never.
    pub max_resends: u32,
    /// What happens when no evidence came. Default `retry`.
    pub on_uncertain: OnUncertain,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(120),
            max_resends: 1,
            on_uncertain: OnUncertain::Retry,
        }
    }
}

/// How sequences go on, where neither they nor their sender say. The worker that is started last writes it into the database.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sequence {
    /// When a message of it failed, expired or is left to a person. Default `halt`.
    pub on_failure: OnFailure,
    /// How long after its acceptance the delivery of a message is waited for. Setting `delivery_timeout_s`, default: the
    /// message's own time to live and five minutes.
    #[serde(
        rename = "delivery_timeout_s",
        deserialize_with = "values::optional_seconds"
    )]
    pub delivery_timeout: Option<Duration>,
    /// What happens then. Default `halt`.
    pub on_timeout: OnTimeout,
}

/// What a sequence does when a message of it failed, expired or is left to a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The others wait for a person.
    #[default]
    Halt,
    /// The others go on.
    Skip,
}

/// What a sequence does when the delivery of a message was not told in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// The others wait for a person.
    #[default]
    Halt,
    /// The others go on.
    Proceed,
}

impl OnFailure {
    /// The word, as the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Skip => "skip",
        }
    }
}

impl OnTimeout {
    /// The word, as the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Proceed => "proceed",
        }
    }
}

/// Files that messages may name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// The folder below which they lie; whoever may insert messages may send what is in it. No default: messages may name
    /// no files.
    pub folder: Option<PathBuf>,
}

/// How long what has ended is kept. A process with the role worker deletes what is older.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days from the end of a message, and from the last that was told of it. No default: all are kept.
    pub messages_days: Option<u32>,
    /// Days from when a webhook delivery came, and was applied. No default: all are kept.
    pub webhooks_days: Option<u32>,
}

impl Retention {
    /// The same, as spans of time.
    pub fn spans(&self) -> retention::Retention {
        retention::Retention {
            messages: self.messages_days.map(retention::days),
            webhooks: self.webhooks_days.map(retention::days),
        }
    }
}

/// Where status webhooks are received.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// Address and port. Default `127.0.0.1:8080`; short form `WA_OUTBOX_WEBHOOK_LISTEN`.
    #[serde(deserialize_with = "values::listen")]
    pub listen: SocketAddr,
    /// The app secrets whose signatures are taken; several while one is replaced. Default
    /// `["env:WHATSAPP_APP_SECRET"]`, which [`Config::load`] leaves out where that variable is not set; where it is
    /// set, it is added to the list.
    #[serde(deserialize_with = "values::references")]
    pub app_secrets: Vec<SecretRef>,
    /// Secrets shared with those who sign nothing (the On-Premises client, some providers): deliveries to
    /// `/webhook/unsigned/{secret}`, or to `/webhook/unsigned` with one in `Authorization`, are taken. Default none, and then
    /// there is no such address.
    #[serde(deserialize_with = "values::references")]
    pub unsigned_secrets: Vec<SecretRef>,
    /// What WhatsApp must say when a webhook is set up. No default; short form `WHATSAPP_VERIFY_TOKEN`.
    pub verify_token: Option<SecretRef>,
    /// Deliveries that are applied in one transaction, at most. Default 200.
    pub apply_batch: u32,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            app_secrets: vec![SecretRef::Env(APP_SECRET.to_owned())],
            unsigned_secrets: Vec::new(),
            verify_token: None,
            apply_batch: 200,
        }
    }
}

/// Where operators look.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port. Default `127.0.0.1:8081`; short form `WA_OUTBOX_ADMIN_LISTEN`.
    #[serde(deserialize_with = "values::listen")]
    pub listen: SocketAddr,
    /// What an operator must show, as `Authorization: Bearer`: 16 characters or more. No default, and then nobody is asked; short
    /// form `WA_OUTBOX_ADMIN_TOKEN`.
    pub token: Option<SecretRef>,
    /// What a viewer must show, who may look and do nothing; what is personal stays masked. No default.
    pub viewer_token: Option<SecretRef>,
    /// What lets a scraper read `/metrics`, and nothing else. No default.
    pub metrics_token: Option<SecretRef>,
    /// Everybody may read `/metrics`. Default false.
    pub metrics_open: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            token: None,
            viewer_token: None,
            metrics_token: None,
            metrics_open: false,
        }
    }
}

/// Where traces are told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// An OpenTelemetry collector that takes OTLP over HTTP, as in `http://127.0.0.1:4318`. No default, and then nothing is told and
    /// nothing is spent on it; short form `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<String>,
    /// The share of attempts and deliveries that is told. Attempts that did not end in plain acceptance are always told. Default 1;
    /// short form `OTEL_TRACES_SAMPLER_ARG`.
    pub sample_ratio: f64,
    /// Headers that the collector asks for, each a reference to its value. Default none.
    pub headers: BTreeMap<String, SecretRef>,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_ratio: 1.0,
            headers: BTreeMap::new(),
        }
    }
}

/// The callback token.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// The key it is made with: 32 bytes in hex or base64. Default: the one in the database.
    pub key: Option<SecretRef>,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for machines. Default `auto`.
    pub format: LogFormat,
    /// What is logged: a level, or levels by module (`info,wa_outbox::dispatch=debug`). Default `info`; `RUST_LOG`,
    /// where it is set, counts instead.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            filter: "info".to_owned(),
        }
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, as JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The sender that is made, or brought up to date, at start: in what is said here, and in nothing else.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sender {
    /// Its phone number id. No default, and then no sender is made; short form `WHATSAPP_PHONE_NUMBER_ID`.
    pub sender: Option<String>,
    /// Its access token. No default; short form `WHATSAPP_ACCESS_TOKEN`, which is for a sender that is made: one that exists
    /// keeps the credential that it has.
    pub credential: Option<SecretRef>,
    /// The API's address, without a version. No default: a sender that is made gets the database's,
    /// `https://graph.facebook.com`; short form `WHATSAPP_API_BASE`.
    pub base_url: Option<String>,
    /// The API's version. No default: a sender that is made gets the database's, `v23.0`; short form `WHATSAPP_API_VERSION`.
    pub api_version: Option<String>,
}

impl Sender {
    /// Whether the credential is that of the short form, which says where the token of a first run is, and not that it has to stay
    /// there.
    pub fn has_token_of_short_form(&self) -> bool {
        let short_form = SecretRef::Env(ACCESS_TOKEN.to_owned());
        self.credential.as_ref() == Some(&short_form)
    }
}

impl Config {
    /// How long one statement may run in a process that works. A connection that went silent is found by it, so a renewal that
    /// met one must leave time for another: it is a quarter of the lease at most, but not under a second, for a server that has
    /// a busy moment is not silent.
    pub fn statement_limit(&self) -> Duration {
        let of_lease = (self.worker.lease / 4).max(SHORTEST_LIMIT);
        self.database.statement_timeout.min(of_lease)
    }

    /// How long an orderly end may take: every request that is out comes to its end within it.
    pub fn shutdown(&self) -> Duration {
        self.worker
            .shutdown
            .unwrap_or(self.http.response_timeout + Duration::from_secs(10))
    }
}
