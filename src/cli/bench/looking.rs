//! `bench looking`: what it costs to look, with very many messages in the tables and while messages are sent.
//!
//! The table is filled with messages of every fate. Then each page of the dashboard and each command that reads is asked again and
//! again, first with nothing else going on, so that the CPU that Postgres uses is the look's, then while a sender sends. At last the
//! load runs with nobody looking, and with several people looking at once: the difference is their share of the database.

use std::process::Stdio;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::scene::{Plan, Scene};
use super::{Options, SENDER, WORKER};
use crate::domain::id::SenderId;
use crate::store::sender::SenderChange;

/// Its messages have ended long ago.
const VETERAN: &str = "20000000000001";
/// It is held, with a deep queue, a campaign and sequences behind it.
const HELD: &str = "20000000000002";
/// Messages a second of the load.
const LOAD: u32 = 200;
/// Each look is repeated so often.
const TIMES: usize = 15;
/// Rows that are written at once.
const SLICE: i64 = 250_000;
/// The process that answers the looks.
const ADMIN: &str = "admin";
/// People who look at the live overview; as many look at the senders, and at the messages.
const PEOPLE: usize = 3;

/// One look.
#[derive(Debug, Serialize)]
struct Look {
    what: String,
    median_ms: f64,
    most_ms: f64,
    /// CPU of Postgres a look.
    postgres_cpu_ms: f64,
    loaded_median_ms: f64,
    loaded_most_ms: f64,
    kib: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    messages: u32,
    looks: Vec<Look>,
    /// CPU of Postgres in a second of the load, while nobody looks.
    load_cpu_ms_per_s: f64,
    /// The same with nine live pages, `summary` every two seconds and `message list` every two.
    watched_cpu_ms_per_s: f64,
    /// What of it is theirs.
    share_of_looking: f64,
}

/// Runs it and prints what it shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let mut scene = scene(options).await?;
    fill(&scene, i64::from(options.messages), options.json).await?;
    let asker = Asker {
        client: reqwest::Client::builder().no_proxy().build()?,
        origin: scene.admin_url(),
        database: scene.database_url().to_owned(),
    };
    scene.start_worker(ADMIN, "admin")?;
    asker.until_it_answers().await?;
    let mut looks = Vec::new();
    for what in asker.whats(&scene).await? {
        let before = scene.usage().await?;
        let still = asker.time(&what).await?;
        let after = scene.usage().await?;
        looks.push(Look {
            what: what.to_string(),
            median_ms: still.median_ms(),
            most_ms: still.most_ms(),
            postgres_cpu_ms: (after.postgres_cpu_ms - before.postgres_cpu_ms) / TIMES as f64,
            loaded_median_ms: 0.0,
            loaded_most_ms: 0.0,
            kib: still.bytes as f64 / 1_024.0,
        });
    }
    scene.start_worker(WORKER, "worker,webhook")?;
    let load = tokio::spawn(load(scene.store.clone()));
    for (look, what) in looks.iter_mut().zip(asker.whats(&scene).await?) {
        let loaded = asker.time(&what).await?;
        (look.loaded_median_ms, look.loaded_most_ms) = (loaded.median_ms(), loaded.most_ms());
    }
    let half = Duration::from_secs(u64::from(options.seconds) / 2);
    let load_cpu_ms_per_s = cpu_over(&scene, half).await?;
    let people = asker.people();
    let watched_cpu_ms_per_s = cpu_over(&scene, half).await?;
    drop(people);
    load.abort();
    anyhow::ensure!(
        !load.await.is_ok_and(|ended| ended.is_err()),
        "the load could not be written"
    );
    scene.refuse_dead_workers()?;
    scene.stop_worker(WORKER).await?;
    scene.stop_worker(ADMIN).await?;
    scene.strike().await?;
    Ok(Report {
        messages: options.messages,
        looks,
        load_cpu_ms_per_s,
        watched_cpu_ms_per_s,
        share_of_looking: (watched_cpu_ms_per_s - load_cpu_ms_per_s) / watched_cpu_ms_per_s,
    })
}

async fn scene(options: &Options) -> anyhow::Result<Scene> {
    let change = SenderChange {
        rate_per_second: Some(1_000.0),
        pair_period_ms: Some(0),
        max_in_flight: Some(options.in_flight.try_into()?),
        ..SenderChange::default()
    };
    let scene = Scene::set(Plan {
        senders: [SENDER, VETERAN, HELD]
            .map(|sender| (SenderId::from(sender), change.clone()))
            .to_vec(),
        latency: options.latency(),
        settings: super::settings(3_600),
        pooler: options.pooler.map(super::PoolerMode::mode),
        ..Plan::default()
    })
    .await?;
    scene
        .store
        .hold_sender(&SenderId::from(HELD), "measured", "bench", None)
        .await?;
    Ok(scene)
}

/// Nine tenths have ended, one in a thousand of them failed, another was accepted and failed later, one in five thousand is
/// uncertain; the last tenth waits behind a hold. The books' triggers, which keep one row from being in two tables, are off
/// meanwhile: each row is written to where it belongs.
async fn fill(scene: &Scene, messages: i64, quiet: bool) -> anyhow::Result<()> {
    // Some of these statements take long, which is no news.
    let way = PgConnectOptions::from_str(scene.database_url())?.disable_statement_logging();
    let mut connection = PgConnection::connect_with(&way).await?;
    sqlx::query("set session_replication_role = replica")
        .execute(&mut connection)
        .await?;
    let (statements, mut first) = (slices(messages), 1);
    while first <= messages {
        let last = (first + SLICE - 1).min(messages);
        if !quiet {
            eprint!("\rlooking: writing message {last} of {messages} …   \r");
        }
        for statement in &statements {
            sqlx::query(AssertSqlSafe(statement.as_str()))
                .bind(first)
                .bind(last)
                .execute(&mut connection)
                .await
                .context("could not fill the tables")?;
        }
        first = last + 1;
    }
    sqlx::raw_sql("set session_replication_role = origin; select setval(pg_get_serial_sequence('wa.outbox', 'id'), (select max(id) from wa.outbox))")
        .execute(&mut connection)
        .await?;
    sqlx::query(
        "insert into wa.outbox (sender, recipient, sequence, payload)
         select $1, '+1651' || (1000000 + n), 'story', '{\"type\":\"text\",\"text\":{\"body\":\"Your order has shipped\"}}'
         from generate_series(1, 3) part, generate_series(1, 20000) n",
    )
    .bind(HELD)
    .execute(&mut connection)
    .await?;
    let campaign: i64 = sqlx::query_scalar(
        r#"insert into wa.campaigns (name, sender, payload) values ('spring', $1,
             '{"type":"template","template":{"name":"spring_offer","language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"{{name}}"}]}]}}')
           returning id"#,
    )
    .bind(HELD)
    .fetch_one(&mut connection)
    .await?;
    sqlx::query(
        "insert into wa.outbox (campaign_id, recipient, variables)
         select $1, '+1652' || (1000000 + n), jsonb_build_object('name', 'Recipient ' || n) from generate_series(1, 100000) n",
    )
    .bind(campaign)
    .execute(&mut connection)
    .await?;
    // As autovacuum and the checkpointer would have by now; else their work falls into the looks by chance.
    for statement in ["vacuum analyze", "checkpoint"] {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}

/// What is written of the messages from $1 to $2, the last of `messages` being of this moment.
fn slices(messages: i64) -> [String; 6] {
    let rows = "from generate_series($1::bigint, $2::bigint) n";
    let ended = format!("now() - ({messages} - n) * interval '0.5 s'");
    let by_result = "from wa.results where id between $1 and $2 and wamid is not null";
    [
        format!(
            r#"insert into wa.outbox (id, sender, recipient, payload, reference, created_at) overriding system value
               select n, case when n % 10 = 0 then '{HELD}' else '{VETERAN}' end, '+1650' || (1000000 + n % 900000),
                 '{{"type":"text","text":{{"body":"Your order has shipped"}}}}', 'order-' || n, {ended} {rows}"#
        ),
        format!(
            "insert into wa.queue (id, sender, priority, due_at) select n, '{HELD}', 5, now() {rows} where n % 10 = 0"
        ),
        format!(
            "insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt,
               needs_person, waiting_for)
             select n, '{VETERAN}', 5, false, 1, 1, 0, {ended}, {ended}, true, 'lost_answer', n % 10000 = 2, 'a status webhook that tells'
             {rows} where n % 5000 = 2"
        ),
        format!(
            "insert into wa.results (id, sender, state, attempts, ended_at, error_code, error_message)
             select n, '{VETERAN}', 'failed', 1, {ended}, (array[131026, 131049, 131047])[1 + n % 3], 'Message undeliverable'
             {rows} where n % 1000 = 1"
        ),
        format!(
            "insert into wa.results (id, sender, state, wamid, attempt, attempts, ended_at, sent_at, delivered_at, read_at, failed_at,
               error_code, error_message)
             select n, '{VETERAN}', 'accepted', 'wamid.' || n, 1, 1, at, at, case when n % 1000 <> 3 then at end, case when n % 2 = 0 then at end,
               case when n % 1000 = 3 then at end, case when n % 1000 = 3 then 131026 end, case when n % 1000 = 3 then 'Message undeliverable' end
             {rows}, lateral (select {ended}) t (at) where n % 10 <> 0 and n % 5000 <> 2 and n % 1000 <> 1"
        ),
        format!(
            "insert into wa.status_events (id, sender, attempt, wamid, status, occurred_at, received_at)
             select id, sender, 1, wamid, 'delivered', ended_at, ended_at {by_result}"
        ),
    ]
}

/// Writes the load, a tenth of a second's at a time.
async fn load(store: crate::store::Store) -> anyhow::Result<()> {
    let mut beat = interval(Duration::from_millis(100));
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        beat.tick().await;
        sqlx::query(
            r#"insert into wa.outbox (sender, recipient, payload)
               select $1, '+1653' || (1000000 + (random() * 900000)::integer), '{"type":"text","text":{"body":"Your order has shipped"}}'
               from generate_series(1, $2) n"#,
        )
        .bind(SENDER)
        .bind(i32::try_from(LOAD / 10)?)
        .execute(store.pool())
        .await?;
    }
}

/// CPU of Postgres in a second, over so long.
async fn cpu_over(scene: &Scene, time: Duration) -> anyhow::Result<f64> {
    let (before, since) = (scene.usage().await?, Instant::now());
    tokio::time::sleep(time).await;
    let used = scene.usage().await?.postgres_cpu_ms - before.postgres_cpu_ms;
    Ok(used / since.elapsed().as_secs_f64())
}

/// Something that is looked at.
enum What {
    Page(String),
    Command(Vec<String>),
}

impl std::fmt::Display for What {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Page(address) => write!(formatter, "page {address}"),
            Self::Command(arguments) => {
                write!(formatter, "wa-outbox {}", arguments.join(" "))
            }
        }
    }
}

/// How long the looks took, shortest first, and how much was answered.
struct Times {
    times: Vec<Duration>,
    bytes: usize,
}

impl Times {
    fn median_ms(&self) -> f64 {
        self.times[self.times.len() / 2].as_secs_f64() * 1_000.0
    }

    fn most_ms(&self) -> f64 {
        self.times[self.times.len() - 1].as_secs_f64() * 1_000.0
    }
}

/// Asks the pages and the commands.
#[derive(Clone)]
struct Asker {
    client: reqwest::Client,
    origin: String,
    database: String,
}

impl Asker {
    /// Everything that is looked at.
    async fn whats(&self, scene: &Scene) -> anyhow::Result<Vec<What>> {
        let one =
            |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(scene.store.pool());
        let waits = one("select max(id) from wa.queue where campaign = 0").await?;
        let accepted = one(
            "select max(id) from wa.results where sender = '20000000000001' and state = 'accepted'",
        )
        .await?;
        let campaign = one("select max(id) from wa.campaigns").await?;
        let member = one("select max(id) from wa.waiting").await?;
        let pages = [
            "/".to_owned(),
            "/senders".to_owned(),
            format!("/senders/{HELD}"),
            "/messages".to_owned(),
            "/messages?state=failed".to_owned(),
            "/messages?state=queued".to_owned(),
            format!("/messages?sender={SENDER}"),
            format!("/messages?sender={VETERAN}&before=100000"),
            format!("/messages/{accepted}"),
            format!("/messages/{waits}"),
            "/campaigns".to_owned(),
            format!("/campaigns/{campaign}"),
            "/sequences".to_owned(),
            format!("/sequences/of/{member}"),
            "/failures".to_owned(),
            "/uncertain".to_owned(),
            "/webhooks".to_owned(),
            "/audit".to_owned(),
            "/metrics".to_owned(),
        ];
        let commands = [
            "summary",
            "message list",
            "message list --state failed",
            "message list --to +16501034567",
            "message list --reference order-777",
            &format!("message show {accepted}"),
            &format!("why message {waits}"),
            "top --json",
            "failures list",
            "uncertain groups",
            "sequence list",
            &format!("campaign show {campaign}"),
            "doctor",
        ]
        .map(|line| line.split(' ').map(str::to_owned).collect());
        Ok(pages
            .into_iter()
            .map(What::Page)
            .chain(commands.into_iter().map(What::Command))
            .collect())
    }

    async fn until_it_answers(&self) -> anyhow::Result<()> {
        let since = Instant::now();
        while self.page("/healthz").await.is_err() {
            anyhow::ensure!(
                since.elapsed() < Duration::from_secs(30),
                "the admin listener does not answer"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn page(&self, address: &str) -> anyhow::Result<usize> {
        let answer = self
            .client
            .get(format!("{}{address}", self.origin))
            .send()
            .await?
            .error_for_status()?;
        Ok(answer.bytes().await?.len())
    }

    async fn command(&self, arguments: &[String]) -> anyhow::Result<usize> {
        let program = std::env::current_exe().context("could not find this program")?;
        let output = Command::new(program)
            .args(arguments)
            .env("DATABASE_URL", &self.database)
            .env("WA_OUTBOX_BENCH_TOKEN", "bench-token")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        // doctor ends with 1 where it finds something bad, and has looked all the same.
        anyhow::ensure!(
            output.status.success() || arguments == ["doctor"],
            "a command has failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout.len())
    }

    async fn once(&self, what: &What) -> anyhow::Result<usize> {
        match what {
            What::Page(address) => self.page(address).await,
            What::Command(arguments) => self.command(arguments).await,
        }
        .with_context(|| format!("could not look at {what}"))
    }

    async fn time(&self, what: &What) -> anyhow::Result<Times> {
        let (mut times, mut bytes) = (Vec::with_capacity(TIMES), 0);
        for _ in 0..TIMES {
            let since = Instant::now();
            bytes = self.once(what).await?;
            times.push(since.elapsed());
        }
        times.sort();
        Ok(Times { times, bytes })
    }

    /// People who look: live pages, and commands every two seconds. They look until this is dropped.
    fn people(&self) -> JoinSet<anyhow::Result<()>> {
        let mut people = JoinSet::new();
        for at in ["/", "/senders", "/messages"].repeat(PEOPLE) {
            let asker = self.clone();
            people.spawn(async move { asker.page(&format!("/live?at={at}")).await.map(drop) });
        }
        for command in ["summary", "message list"] {
            let asker = self.clone();
            let arguments: Vec<String> = command.split(' ').map(str::to_owned).collect();
            people.spawn(async move {
                let mut beat = interval(Duration::from_secs(2));
                loop {
                    beat.tick().await;
                    asker.command(&arguments).await?;
                }
            });
        }
        people
    }
}

impl Report {
    fn print(&self) {
        println!(
            "looking, {} messages in the tables, {LOAD} sent a second where it says so",
            self.messages
        );
        println!(
            "  {:<52} {:>9} {:>8} {:>12} {:>10} {:>9} {:>7}",
            "", "median ms", "most ms", "Postgres ms", "loaded ms", "most ms", "KiB"
        );
        for look in &self.looks {
            println!(
                "  {:<52} {:>9.1} {:>8.1} {:>12.1} {:>10.1} {:>9.1} {:>7.1}",
                look.what,
                look.median_ms,
                look.most_ms,
                look.postgres_cpu_ms,
                look.loaded_median_ms,
                look.loaded_most_ms,
                look.kib
            );
        }
        println!(
            "  Postgres CPU a second of load: {:.0} ms with nobody looking, {:.0} ms with {} live pages and two commands every two seconds; theirs is {:.0} %",
            self.load_cpu_ms_per_s,
            self.watched_cpu_ms_per_s,
            3 * PEOPLE,
            self.share_of_looking * 100.0
        );
    }
}
