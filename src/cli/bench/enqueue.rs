//! `bench enqueue`: how fast an application can write into the outbox, beside tables that have its columns.
//!
//! The same rows go, from as many connections, into four places by turns: a *bare* table of the outbox's columns (no key, no
//! index, no trigger), one that also has the outbox's own keys and indexes, as any table of messages needs, and the outbox, while
//! its owner is awake and while it has said that it sleeps. Only in the last is each transaction a call (NOTIFY); a real owner is
//! awake after the first of them, so that row is the worst there is and none that lasts. Nobody sends meanwhile: what is measured
//! is what the application pays.
//!
//! Both tables are made from the outbox's own definition, so they cannot fall behind it. All are empty at the start of each turn,
//! which begins after a checkpoint, so that none pays for what another has left behind.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sqlx::postgres::{PgConnection, PgListener, PgPool};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::measured::{self, Limit, Measured, Spread, Target, short};
use super::scene::{Plan, Scene};
use super::{Options, SENDER};
use crate::cli::table::{Table, numbers, words};
use crate::domain::id::SenderId;
use crate::simulator::Statuses;
use crate::store::lease::WorkerId;
use crate::store::sender::SenderChange;

const ROUNDS: usize = 3;
const CONNECTIONS: [usize; 3] = [1, 8, 32];
/// Of a bare table's rows a second, in percent.
const TARGET: Target = Target::AtLeast(70.0);
/// Transactions of each connection before they count.
const WARM: usize = 10;
/// Longer than any run.
const LEASE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How rows are written; each in a transaction of its own.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum How {
    InsertOfOne,
    InsertOf100,
    CopyOf1000,
}

impl How {
    const ALL: [Self; 3] = [Self::InsertOfOne, Self::InsertOf100, Self::CopyOf1000];

    fn rows(self) -> u64 {
        match self {
            Self::InsertOfOne => 1,
            Self::InsertOf100 => 100,
            Self::CopyOf1000 => 1_000,
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::InsertOfOne => "INSERT of 1",
            Self::InsertOf100 => "INSERT of 100",
            Self::CopyOf1000 => "COPY of 1,000",
        }
    }
}

/// Where rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Bare,
    Keyed,
    Awake,
    Asleep,
}

impl Place {
    const ALL: [Self; 4] = [Self::Bare, Self::Keyed, Self::Awake, Self::Asleep];

    fn table(self) -> &'static str {
        match self {
            Self::Bare => "public.bare",
            Self::Keyed => "public.keyed",
            Self::Awake | Self::Asleep => "wa.outbox",
        }
    }
}

/// Rows a second of one way to write and so many connections.
#[derive(Debug, Serialize)]
struct Row {
    how: How,
    connections: usize,
    bare: Spread,
    keyed: Spread,
    outbox_awake: Spread,
    outbox_asleep: Spread,
    #[serde(skip)]
    rounds: Vec<[f64; 4]>,
}

#[derive(Debug, Serialize)]
struct Report {
    /// Of each turn.
    seconds: f64,
    rounds: usize,
    payload_bytes: usize,
    rows_per_second: Vec<Row>,
    measured: Vec<Measured>,
}

/// Runs it and prints what it shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let turns = ROUNDS * CONNECTIONS.len() * How::ALL.len() * Place::ALL.len();
    let lasts = Duration::from_secs(options.seconds.into()) / u32::try_from(turns)?;
    let bench = Bench::set(lasts).await?;
    let mut rows = Vec::new();
    for how in How::ALL {
        for connections in CONNECTIONS {
            options.say(&in_words(how, connections));
            let mut rounds = Vec::new();
            for round in 0..ROUNDS {
                let mut of_round = [0.0; 4];
                for turn in 0..Place::ALL.len() {
                    // Each begins a round in its turn.
                    let place = (round + turn) % Place::ALL.len();
                    of_round[place] = bench.turn(how, Place::ALL[place], connections).await?;
                }
                rounds.push(of_round);
            }
            rows.push(Row::of(how, connections, rounds));
        }
    }
    let Bench { scene, calls, .. } = bench;
    calls.end().await;
    scene.strike().await?;
    Ok(Report {
        seconds: lasts.as_secs_f64(),
        rounds: ROUNDS,
        payload_bytes: payload().len(),
        measured: rows.iter().flat_map(Row::measured).collect(),
        rows_per_second: rows,
    })
}

struct Bench {
    scene: Scene,
    owner: WorkerId,
    lasts: Duration,
    calls: Calls,
}

impl Bench {
    async fn set(lasts: Duration) -> anyhow::Result<Self> {
        let scene = Scene::set(Plan {
            senders: vec![(SenderId::from(SENDER), SenderChange::default())],
            statuses: Statuses::none(),
            settings: super::settings(3_600),
            ..Plan::default()
        })
        .await?;
        for statement in [
            "create table public.bare (like wa.outbox including defaults including identity)",
            "create table public.keyed (like wa.outbox including defaults including identity including constraints including indexes)",
        ] {
            sqlx::query(statement).execute(scene.store.pool()).await?;
        }
        let owner = scene.store.register_worker("owner", LEASE).await?;
        scene.store.take_senders(owner).await?;
        let calls = Calls::of(scene.database_url()).await?;
        Ok(Self {
            scene,
            owner,
            lasts,
            calls,
        })
    }

    /// Rows a second.
    async fn turn(&self, how: How, place: Place, connections: usize) -> anyhow::Result<f64> {
        let sleeps = place == Place::Asleep;
        self.scene.store.set_asleep(self.owner, sleeps).await?;
        for statement in [
            "truncate public.bare, public.keyed, wa.outbox, wa.queue",
            "checkpoint",
        ] {
            let pool = self.scene.store.pool();
            sqlx::query(statement).execute(pool).await?;
        }
        let all_are_ready = Arc::new(Barrier::new(connections));
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let connection = PgConnection::connect(self.scene.database_url()).await?;
            let (ready, lasts) = (Arc::clone(&all_are_ready), self.lasts);
            let mut writer = Writer::new(connection, how, place);
            writers.spawn(async move {
                // As on a connection of an application, where statements are prepared and functions known.
                for _ in 0..WARM {
                    writer.write().await?;
                }
                ready.wait().await;
                writer.write_for(lasts).await
            });
        }
        let mut written = 0.0;
        while let Some(wrote) = writers.join_next().await {
            written += wrote??;
        }
        self.holds(place, written).await?;
        Ok(written / self.lasts.as_secs_f64())
    }

    /// What was measured is there; in the outbox, each row with its place in the queue.
    async fn holds(&self, place: Place, at_least: f64) -> anyhow::Result<()> {
        let tables: &[&str] = match place {
            Place::Bare | Place::Keyed => &[place.table()],
            Place::Awake | Place::Asleep => &[place.table(), "wa.queue"],
        };
        for table in tables {
            let rows: i64 =
                sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
                    .fetch_one(self.scene.store.pool())
                    .await?;
            anyhow::ensure!(
                rows as f64 >= at_least.floor(),
                "{table} holds {rows} rows of {at_least} that were written"
            );
        }
        Ok(())
    }
}

/// The ear of the owner: where nobody listens, a call costs less.
struct Calls {
    pool: PgPool,
    hears: JoinHandle<sqlx::Error>,
}

impl Calls {
    async fn of(url: &str) -> anyhow::Result<Self> {
        let pool = PgPool::connect(url).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen("wa_outbox_due").await?;
        let hears = tokio::spawn(async move {
            loop {
                if let Err(error) = listener.recv().await {
                    return error;
                }
            }
        });
        Ok(Self { pool, hears })
    }

    async fn end(self) {
        self.hears.abort();
        let _ = self.hears.await;
        self.pool.close().await;
    }
}

/// One connection of an application.
struct Writer {
    connection: PgConnection,
    how: How,
    statement: String,
    payload: String,
    dice: fastrand::Rng,
}

impl Writer {
    fn new(connection: PgConnection, how: How, place: Place) -> Self {
        let table = place.table();
        let statement = match how {
            How::InsertOfOne => {
                format!("insert into {table} (sender, recipient, payload) values ($1, $2, $3::json)")
            }
            How::InsertOf100 => format!(
                "insert into {table} (sender, recipient, payload)
                 select $1, rows.recipient, rows.payload::json from unnest($2::text[], $3::text[]) rows (recipient, payload)"
            ),
            How::CopyOf1000 => format!("copy {table} (sender, recipient, payload) from stdin"),
        };
        Self {
            connection,
            how,
            statement,
            payload: payload(),
            dice: fastrand::Rng::new(),
        }
    }

    /// Says how many rows were committed in that time. The last transaction counts by the part of it that was in time.
    async fn write_for(mut self, lasts: Duration) -> anyhow::Result<f64> {
        let (from, mut written) = (Instant::now(), 0.0);
        loop {
            let asked = from.elapsed();
            self.write().await?;
            let done = from.elapsed();
            let rows = self.how.rows() as f64;
            if done >= lasts {
                let in_time = lasts.saturating_sub(asked).as_secs_f64();
                let all = (done - asked).as_secs_f64();
                self.connection.close().await?;
                return Ok(written + rows * in_time / all);
            }
            written += rows;
        }
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        match self.how {
            How::InsertOfOne => {
                let recipient = self.recipient();
                sqlx::query(AssertSqlSafe(self.statement.as_str()))
                    .bind(SENDER)
                    .bind(recipient)
                    .bind(&self.payload)
                    .execute(&mut self.connection)
                    .await?;
            }
            How::InsertOf100 => {
                let rows = self.how.rows() as usize;
                let recipients: Vec<String> = (0..rows).map(|_| self.recipient()).collect();
                sqlx::query(AssertSqlSafe(self.statement.as_str()))
                    .bind(SENDER)
                    .bind(recipients)
                    .bind(vec![self.payload.as_str(); rows])
                    .execute(&mut self.connection)
                    .await?;
            }
            How::CopyOf1000 => {
                let mut text = String::new();
                for _ in 0..self.how.rows() {
                    text += &format!("{SENDER}\t{}\t{}\n", self.recipient(), self.payload);
                }
                let mut into = self.connection.copy_in_raw(&self.statement).await?;
                into.send(text.as_bytes()).await?;
                into.finish().await?;
            }
        }
        Ok(())
    }

    /// Anybody: those who are written to next stand nowhere near each other in an index.
    fn recipient(&mut self) -> String {
        format!("+1{}", self.dice.u64(2_000_000_000..9_999_999_999))
    }
}

fn in_words(how: How, connections: usize) -> String {
    let connections = match connections {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    };
    format!("{}, {connections}", how.in_words())
}

/// A template of 400 bytes.
fn payload() -> String {
    let text = format!("{:.<250}", "order 4711");
    format!(
        r#"{{"type":"template","template":{{"name":"order_update","language":{{"code":"en_US"}},"components":[{{"type":"body","parameters":[{{"type":"text","text":"{text}"}}]}}]}}}}"#
    )
}

impl Row {
    fn of(how: How, connections: usize, rounds: Vec<[f64; 4]>) -> Self {
        let spread = |place: usize| Spread::of(rounds.iter().map(|of_round| of_round[place]));
        Self {
            how,
            connections,
            bare: spread(0),
            keyed: spread(1),
            outbox_awake: spread(2),
            outbox_asleep: spread(3),
            rounds,
        }
    }

    /// One place beside another of the same round, in percent.
    fn share(&self, place: usize, of: usize) -> Spread {
        Spread::of(
            self.rounds
                .iter()
                .map(|of_round| 100.0 * of_round[place] / of_round[of]),
        )
    }

    fn measured(&self) -> [Measured; 2] {
        [(2, "owner awake"), (3, "owner asleep")].map(|(place, owner)| {
            let (of_bare, of_keyed) = (self.share(place, 0), self.share(place, 1));
            let limit_itself = self.share(1, 0);
            let limits = vec![
                Limit {
                    what: "bare",
                    unit: "rows/s",
                    figure: self.bare,
                },
                Limit {
                    what: "with keys and indexes",
                    unit: "rows/s",
                    figure: self.keyed,
                },
            ];
            let reading = format!(
                "{} % of a bare table and {} % of one with the same keys and indexes, which itself reaches {} % of the bare one",
                short(of_bare.median),
                short(of_keyed.median),
                short(limit_itself.median)
            );
            let what = format!("{}, {owner}", in_words(self.how, self.connections));
            Measured::new(what, "% of bare", of_bare, TARGET, limits, reading)
        })
    }
}

impl Report {
    fn print(&self) {
        println!(
            "enqueue: rows/s, medians of {} turns of {} s each, payloads of {} bytes\n",
            self.rounds,
            short(self.seconds),
            self.payload_bytes
        );
        let mut table = Table::new([
            words("HOW"),
            numbers("CONNECTIONS"),
            numbers("BARE"),
            numbers("WITH KEYS"),
            numbers("OUTBOX, AWAKE"),
            numbers("OUTBOX, ASLEEP"),
        ]);
        for row in &self.rows_per_second {
            let rows = |spread: Spread| short(spread.median);
            table.row([
                row.how.in_words().to_owned(),
                row.connections.to_string(),
                rows(row.bare),
                rows(row.keyed),
                rows(row.outbox_awake),
                rows(row.outbox_asleep),
            ]);
        }
        println!("{}", table.render(false));
        measured::print(&self.measured);
    }
}
