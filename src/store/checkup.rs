//! What `doctor` asks the database. Each question costs the same whatever is queued.

use time::OffsetDateTime;

use super::error::Doing;
use super::inbox::LISTENING_GAP;
use super::{Store, StoreError};

/// The server, and who we are there.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// As `server_version_num`: 140000 is 14.
    pub version_number: i32,
    /// In words.
    pub version: String,
    /// Who we are there.
    pub user: String,
    /// What is the database's name.
    pub database: String,
    /// Our role's part in it: none where the role does not exist.
    pub is_worker: Option<bool>,
    /// Whether we are a superuser.
    pub is_superuser: bool,
    /// The server's time.
    pub now: OffsetDateTime,
}

/// How the server takes care of what it is given.
#[derive(Clone, Debug)]
pub struct CareFacts {
    /// `synchronous_commit` of our connections.
    pub synchronous_commit: String,
    /// We had to set it: a crash of the server forgets what others have committed.
    pub others_forget: bool,
    /// Whether anything is forced to disk at all.
    pub fsync: bool,
    /// Whether tables are cleaned up.
    pub autovacuum: bool,
    /// Rows of the queue that are dead and not cleaned up.
    pub dead_rows: i64,
    /// Rows of it that are alive.
    pub live_rows: i64,
    /// How long the oldest transaction is open that we may see, in seconds.
    pub oldest_transaction_s: f64,
    /// How long ago the oldest transaction was prepared (`PREPARE TRANSACTION`) that nobody has ended, in seconds.
    pub oldest_prepared_s: f64,
    /// How many transactions ago the oldest row was written that is not frozen; Postgres stops at about two thousand million.
    pub transactions_used: i64,
    /// What the database takes on disk.
    pub size_bytes: i64,
    /// Where it is, if it is on this machine and we may know.
    pub data_directory: Option<String>,
}

/// How webhooks come in.
#[derive(Clone, Debug)]
pub struct WebhookFacts {
    /// Whether somebody listens.
    pub is_listening: bool,
    /// When the last delivery came.
    pub last_delivery_at: Option<OffsetDateTime>,
    /// The oldest that is not applied.
    pub oldest_pending_at: Option<OffsetDateTime>,
    /// Deliveries that could not be read.
    pub bad: i64,
    /// The server's time.
    pub now: OffsetDateTime,
}

/// How the statuses of one sender come in.
#[derive(Clone, Debug)]
pub struct FlowFacts {
    /// The sender.
    pub sender: String,
    /// When the last status of it came.
    pub last_status_at: Option<OffsetDateTime>,
    /// Whether one has brought our callback data back.
    pub echoes: bool,
    /// Its WhatsApp Business Account, where a webhook has named it.
    pub account: Option<String>,
    /// Of its latest messages, those accepted a while ago of which nothing has been heard.
    pub silent: i64,
    /// Of its latest messages, those of which something has been heard.
    pub heard: i64,
}

/// What waits for a person.
#[derive(Clone, Debug)]
pub struct WaitingFacts {
    /// Uncertain messages that only a person can settle.
    pub uncertain: i64,
    /// Templates that are held.
    pub held_templates: i64,
}

/// The latest messages whose statuses are looked for.
const LATEST: i64 = 1_000;

impl Store {
    /// The server, and who we are there. Needs no schema of ours.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn server_facts(&self) -> Result<ServerFacts, StoreError> {
        sqlx::query_as!(
            ServerFacts,
            r#"select current_setting('server_version_num')::int as "version_number!",
                 current_setting('server_version') as "version!", current_user::text as "user!",
                 current_database()::text as "database!",
                 (select pg_has_role(current_user, r.oid, 'member') from pg_roles r where r.rolname = 'wa_worker') as is_worker,
                 coalesce((select r.rolsuper from pg_roles r where r.rolname = current_user), false) as "is_superuser!",
                 clock_timestamp() as "now!""#
        )
        .fetch_one(&self.pool)
        .await
        .doing("ask the database about itself")
    }

    /// How the server takes care of what it is given.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn care_facts(&self) -> Result<CareFacts, StoreError> {
        sqlx::query_as!(
            CareFacts,
            r#"select c.setting as "synchronous_commit!", c.source in ('client', 'session') as "others_forget!",
                 current_setting('fsync')::bool as "fsync!", current_setting('autovacuum')::bool as "autovacuum!",
                 coalesce(t.n_dead_tup, 0) as "dead_rows!", coalesce(t.n_live_tup, 0) as "live_rows!",
                 (select coalesce(max(extract(epoch from clock_timestamp() - a.xact_start)), 0)::float8
                  from pg_stat_activity a where a.datname = current_database()) as "oldest_transaction_s!",
                 (select coalesce(max(extract(epoch from clock_timestamp() - p.prepared)), 0)::float8
                  from pg_prepared_xacts p where p.database = current_database()) as "oldest_prepared_s!",
                 (select age(d.datfrozenxid)::bigint from pg_database d where d.datname = current_database()) as "transactions_used!",
                 pg_database_size(current_database()) as "size_bytes!",
                 case when pg_has_role(current_user, 'pg_read_all_settings', 'member')
                     and inet_server_addr() is not distinct from inet_client_addr()
                   then current_setting('data_directory') end as data_directory
               from pg_settings c
               left join pg_stat_user_tables t on t.schemaname = 'wa' and t.relname = 'queue'
               where c.name = 'synchronous_commit'"#
        )
        .fetch_one(&self.pool)
        .await
        .doing("ask how the database is cared for")
    }

    /// How webhooks come in.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn webhook_facts(&self) -> Result<WebhookFacts, StoreError> {
        sqlx::query_as!(
            WebhookFacts,
            r#"select coalesce((select wa.is_of_now(l.last_said_at, $1) from wa.webhook_listening l), false)
                   as "is_listening!",
                 (select i.received_at from wa.webhook_inbox i order by i.id desc limit 1) as last_delivery_at,
                 (select w.received_at from wa.oldest_waiting_delivery w) as oldest_pending_at,
                 (select count(*) from wa.webhook_inbox i where i.state = 'bad') as "bad!", now() as "now!""#,
            LISTENING_GAP.as_secs_f64()
        )
        .fetch_one(&self.pool)
        .await
        .doing("ask how webhooks come in")
    }

    /// How the statuses of each sender come in. Messages accepted less than `while_s` seconds ago are not missed yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn flow_facts(&self, while_s: f64) -> Result<Vec<FlowFacts>, StoreError> {
        sqlx::query_as!(
            FlowFacts,
            r#"with latest as (
                 select o.sender, coalesce(r.sent_at, r.delivered_at, r.read_at, r.played_at, r.failed_at) is not null as heard,
                   r.ended_at < now() - make_interval(secs => $1) as is_missed
                 from (select id, sender from wa.outbox order by id desc limit $2) o
                 join wa.results r on r.id = o.id and r.sender = o.sender
                 where r.state = 'accepted' and r.wamid is not null
               )
               select s.sender, f.last_status_at as "last_status_at?", coalesce(f.echoes, false) as "echoes!",
                 n.account as "account?",
                 (select count(*) from latest l where l.sender = s.sender and not l.heard and l.is_missed) as "silent!",
                 (select count(*) from latest l where l.sender = s.sender and l.heard) as "heard!"
               from wa.senders s left join wa.webhook_flow f using (sender) left join wa.sender_numbers n using (sender)
               order by s.sender"#,
            while_s,
            LATEST
        )
        .fetch_all(&self.pool)
        .await
        .doing("ask how statuses come in")
    }

    /// What waits for a person.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn waiting_facts(&self) -> Result<WaitingFacts, StoreError> {
        sqlx::query_as!(
            WaitingFacts,
            r#"select (select count(*) from wa.uncertain where needs_person) as "uncertain!",
                 (select count(*) from wa.template_holds where released_at is null) as "held_templates!""#
        )
        .fetch_one(&self.pool)
        .await
        .doing("ask what waits for a person")
    }
}
