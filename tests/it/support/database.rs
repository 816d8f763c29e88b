//! Gives each test a Postgres database of its own, with all migrations applied, in some hundredths of a second.
//!
//! The migrations run once into a template, named by their checksums; a test's database is a clone of it. The server is
//! the one in `DATABASE_URL` (whose user must be allowed to create databases), else an embedded one that all tests share.
//!
//! A database is dropped with its test. What a killed test leaves is swept by the next process: each process holds one
//! connection that bears its name, so a database is a leftover exactly when its owner's connection is gone. Process numbers
//! would not do, because a server may be used from several machines.

use std::fmt::Write as _;
use std::sync::{LazyLock, mpsc};
use std::thread;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::sync::oneshot;
use wa_outbox::embedded::{Purpose, Server};
use wa_outbox::store::{ConnectSettings, Store};

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(wa_outbox::store::migrator);

/// Guards templates, and the roles their migrations make, against other processes. The number is arbitrary.
const TEMPLATE_LOCK: i64 = 0x7761_6f75_7462_6f78;

/// A database for one test, dropped when this value is.
pub(crate) struct TestDatabase {
    /// Its address.
    pub(crate) url: String,
    /// Connections to it; at most five, so that hundreds of tests fit on one server.
    pub(crate) pool: PgPool,
    name: String,
}

impl TestDatabase {
    /// Its address for somebody who has the rights of this role alone.
    pub(crate) fn url_as(&self, role: &str) -> String {
        let joined = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{joined}options=-c%20role%3D{role}", self.url)
    }

    /// A database with all migrations applied.
    pub(crate) async fn create() -> Self {
        Self::of(Content::Migrated).await
    }

    /// A database without anything in it.
    pub(crate) async fn empty() -> Self {
        Self::of(Content::Empty).await
    }

    /// A database of another server, which is not ours to drop.
    pub(crate) fn at(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().expect("an address of Postgres");
        let pool = PgPoolOptions::new()
            .max_connections(5)
            .connect_lazy_with(options);
        Self {
            url: url.to_owned(),
            pool,
            name: String::new(),
        }
    }

    async fn of(content: Content) -> Self {
        let (reply, created) = oneshot::channel();
        KEEPER
            .send(Request::Create { content, reply })
            .expect("the keeper of databases lives");
        let Created { name, options, url } =
            created.await.expect("the keeper could create the database");
        let pool = PgPoolOptions::new()
            .max_connections(5)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self { url, pool, name }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        let (reply, dropped) = mpsc::channel();
        // Waited for, because the process may end with this test. If the keeper is gone, the next sweep does it.
        if KEEPER
            .send(Request::Drop {
                name: std::mem::take(&mut self.name),
                reply,
            })
            .is_ok()
        {
            let _ = dropped.recv();
        }
    }
}

#[derive(Clone, Copy)]
enum Content {
    Migrated,
    Empty,
}

struct Created {
    name: String,
    url: String,
    options: PgConnectOptions,
}

enum Request {
    Create {
        content: Content,
        reply: oneshot::Sender<Created>,
    },
    Drop {
        name: String,
        reply: mpsc::Sender<()>,
    },
}

/// One thread per process, because a connection cannot outlive its runtime and every test has a runtime of its own.
static KEEPER: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
    let (requests, inbox) = mpsc::channel();
    thread::spawn(move || keep(&inbox));
    requests
});

fn keep(inbox: &mpsc::Receiver<Request>) {
    let place = Place::find();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut keeper = runtime.block_on(Keeper::connect(place));
    for request in inbox {
        match request {
            Request::Create { content, reply } => {
                // A test that gave up waiting has no use for it.
                let _ = reply.send(runtime.block_on(keeper.create(content)));
            }
            Request::Drop { name, reply } => {
                runtime.block_on(drop_database(&mut keeper.connection, &name));
                let _ = reply.send(());
            }
        }
    }
}

/// The server that the databases live on.
enum Place {
    Given(String),
    Embedded(Server),
}

impl Place {
    fn find() -> Self {
        match std::env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => Self::Given(url),
            Ok(_) | Err(_) => Self::Embedded(
                Server::start(Purpose::Tests).unwrap_or_else(|error| panic!("{error}")),
            ),
        }
    }

    /// The address of a database; of the one that is always there without a name.
    fn url(&self, database: Option<&str>) -> String {
        match self {
            Self::Embedded(server) => server.url(database.unwrap_or("postgres")),
            Self::Given(url) => match database {
                None => url.clone(),
                Some(database) => {
                    let (address, options) = url
                        .split_once('?')
                        .map_or((url.as_str(), None), |(a, o)| (a, Some(o)));
                    let authority = address.find("://").map_or(0, |scheme| scheme + 3);
                    let end = address[authority..]
                        .find('/')
                        .map_or(address.len(), |slash| authority + slash);
                    let options = options
                        .map(|options| format!("?{options}"))
                        .unwrap_or_default();
                    format!("{}/{database}{options}", &address[..end])
                }
            },
        }
    }
}

/// Creates and drops the databases of this process, and by being connected tells others that they are in use.
struct Keeper {
    place: Place,
    connection: PgConnection,
    owner: String,
    template: String,
    template_is_ready: bool,
    wal_log: bool,
    created: u32,
}

impl Keeper {
    async fn connect(place: Place) -> Self {
        let owner = format!("t_{}_{:08x}", std::process::id(), fastrand::u32(..));
        let template = template_name(&MIGRATOR);
        let options: PgConnectOptions = place
            .url(None)
            .parse()
            .expect("DATABASE_URL is an address of Postgres");
        let options = options.application_name(&format!("{owner} {template}"));
        let mut connection = PgConnection::connect_with(&options)
            .await
            .expect("the server of the tests answers");
        let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
            .fetch_one(&mut connection)
            .await
            .expect("the server tells its version");
        sweep(&mut connection).await;
        Self {
            place,
            connection,
            owner,
            template,
            template_is_ready: false,
            wal_log: version >= 150_000,
            created: 0,
        }
    }

    async fn create(&mut self, content: Content) -> Created {
        self.created += 1;
        let name = format!("{}_{}", self.owner, self.created);
        let mut statement = format!("create database {name}");
        if let Content::Migrated = content {
            self.ensure_template().await;
            write!(statement, " template {}", self.template).expect("a string takes text");
            if self.wal_log {
                // The other strategy waits for a checkpoint, twice.
                statement += " strategy wal_log";
            }
        }
        run(&mut self.connection, statement).await;
        let url = self.place.url(Some(&name));
        Created {
            options: url.parse().expect("an address of ours"),
            url,
            name,
        }
    }

    async fn ensure_template(&mut self) {
        if self.template_is_ready {
            return;
        }
        lock(&mut self.connection).await;
        // The mark is set last, so a template without it is of a process that was killed while it made it.
        let ready: Option<bool> =
            sqlx::query_scalar("select datistemplate from pg_database where datname = $1")
                .bind(&self.template)
                .fetch_optional(&mut self.connection)
                .await
                .expect("the server tells its databases");
        if ready != Some(true) {
            drop_database(&mut self.connection, &self.template).await;
            let template = &self.template;
            run(&mut self.connection, format!("create database {template}")).await;
            let inside = Store::connect(&ConnectSettings::new(self.place.url(Some(template))))
                .await
                .expect("the template answers");
            inside.migrate().await.expect("the migrations run");
            inside.close().await;
            // Nobody may connect to it: a database in use cannot be cloned.
            run(
                &mut self.connection,
                format!("alter database {template} with is_template true allow_connections false"),
            )
            .await;
        }
        unlock(&mut self.connection).await;
        self.template_is_ready = true;
    }
}

/// Drops what dead processes left: their databases, and templates that no living one was built with.
async fn sweep(connection: &mut PgConnection) {
    lock(connection).await;
    // Databases first, owners second: then the owner of each listed database has been seen, unless it is gone.
    let names = r"select datname from pg_database where datname ~ '^(t_\d+_[0-9a-f]{8}_\d+|wa_template_[0-9a-f]{16})$'";
    let databases: Vec<String> = sqlx::query_scalar(names)
        .fetch_all(&mut *connection)
        .await
        .expect("the databases");
    let users = "select application_name from pg_stat_activity where application_name ~ '^t_\\d+_[0-9a-f]{8} wa_template_'";
    let alive: Vec<String> = sqlx::query_scalar(users)
        .fetch_all(&mut *connection)
        .await
        .expect("the connections");
    let in_use: Vec<&str> = alive.iter().flat_map(|name| name.split(' ')).collect();
    for database in databases {
        let owner = if database.starts_with("t_") {
            database.rsplit_once('_').map_or("", |(owner, _)| owner)
        } else {
            &database
        };
        if !in_use.contains(&owner) {
            drop_database(connection, &database).await;
        }
    }
    unlock(connection).await;
}

async fn drop_database(connection: &mut PgConnection, name: &str) {
    // A template refuses to be dropped. Asked for first, because whoever alters a database that somebody began to drop and did not
    // finish loses the connection, by which this process is known to live; to drop it is allowed.
    let is_template: Option<bool> =
        sqlx::query_scalar("select datistemplate from pg_database where datname = $1")
            .bind(name)
            .fetch_optional(&mut *connection)
            .await
            .expect("the server tells its databases");
    if is_template == Some(true) {
        let statement = format!("alter database {name} with is_template false");
        let _ = connection.execute(AssertSqlSafe(statement)).await;
    }
    // The server asks every other backend first to close its files. One that writes to a test whose thread waits here, for its own
    // turn to drop, answers only then; so this one is left to the next sweep.
    for statement in [
        "set statement_timeout = '5s'".to_owned(),
        format!("drop database if exists {name} with (force)"),
        "reset statement_timeout".to_owned(),
    ] {
        let _ = connection.execute(AssertSqlSafe(statement)).await;
    }
}

async fn lock(connection: &mut PgConnection) {
    sqlx::query("select pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(connection)
        .await
        .expect("the lock of templates");
}

async fn unlock(connection: &mut PgConnection) {
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(connection)
        .await
        .expect("the lock given back");
}

/// Runs a statement made of names of ours.
async fn run(connection: &mut PgConnection, statement: String) {
    let shown = statement.clone();
    let result = connection.execute(AssertSqlSafe(statement)).await;
    result.unwrap_or_else(|error| panic!("`{shown}`: {error}"));
}

/// A name that changes with any migration.
fn template_name(migrator: &Migrator) -> String {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for migration in migrator.iter() {
        digest.update(&migration.version.to_be_bytes());
        digest.update(&migration.checksum);
    }
    format!(
        "wa_template_{}",
        data_encoding::HEXLOWER.encode(&digest.finish().as_ref()[..8])
    )
}
