//! `bench drain`: a backlog is sent to a WhatsApp that answers at once, with every guarantee on.
//!
//! In the same rounds, by turns with it, the same work is done by a loop written by hand, and its parts alone: the requests, and the
//! statements of the database. So the figures can be compared, whatever else the machine is doing.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::measured::{Limit, Measured, Spread, Target, print};
use super::passing::Passing;
use super::scene::{Plan, Scene};
use super::{Options, by_hand};
use crate::domain::id::SenderId;
use crate::simulator::Statuses;
use crate::store::sender::SenderChange;

/// One sender may send 10,000 a second at most.
const SENDERS: u32 = 5;
const ROUNDS: usize = 3;
/// Nothing takes longer between two requests.
const STALLED_AFTER: Duration = Duration::from_secs(60);
const PROCESS: &str = "drain";

/// What one way of sending took, for each message.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    per_second: f64,
    process_us: f64,
    postgres_us: f64,
    wal_bytes: f64,
    commits: f64,
    round_trips: f64,
    peak_mib: f64,
}

impl Cost {
    fn cpu_us(&self) -> f64 {
        self.process_us + self.postgres_us
    }
}

#[derive(Default)]
struct Rounds {
    ours: Vec<Cost>,
    by_hand: Vec<Cost>,
    posts: Vec<Cost>,
    statements: Vec<Cost>,
    with_statuses: Vec<Cost>,
    enqueued: Vec<f64>,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let mut rounds = Rounds::default();
    let mut scene = stage(options, Statuses::none()).await?;
    for round in 1..=ROUNDS {
        options.say(&format!("round {round} of {ROUNDS}"));
        rounds.by_hand.push(by_hand(&mut scene, options).await?);
        rounds
            .enqueued
            .push(enqueue(&scene, options.messages).await?);
        rounds.ours.push(ours(&mut scene, options).await?);
        rounds.posts.push(posts(&mut scene, options).await?);
        rounds.statements.push(statements(&scene, options).await?);
    }
    let first = scene.outcomes().await?;
    scene.strike().await?;
    let mut scene = stage(options, Statuses::default()).await?;
    for round in 1..=ROUNDS {
        options.say(&format!("three statuses each, round {round} of {ROUNDS}"));
        enqueue(&scene, options.messages).await?;
        rounds.with_statuses.push(ours(&mut scene, options).await?);
    }
    let second = scene.outcomes().await?;
    scene.strike().await?;
    let measured = rounds.measured();
    options.tell(&measured, |measured| print(measured))?;
    anyhow::ensure!(
        !first.is_open() && !second.is_open() && second.accepted_twice == 0,
        "a promise was broken: {first:?} {second:?}"
    );
    Ok(())
}

async fn stage(options: &Options, statuses: Statuses) -> anyhow::Result<Scene> {
    let fast = SenderChange {
        rate_per_second: Some(10_000.0),
        pair_period_ms: Some(0),
        max_in_flight: Some(i32::try_from(options.in_flight.div_ceil(SENDERS))?),
        ..SenderChange::default()
    };
    Scene::set(Plan {
        senders: (1..=SENDERS)
            .map(|nth| (sender(nth), fast.clone()))
            .collect(),
        latency: options.latency(),
        statuses,
        settings: [
            super::settings(5),
            vec![("WA_OUTBOX__WORKER__READ_AHEAD", "1000".to_owned())],
        ]
        .concat(),
        pooler: options.pooler.map(super::PoolerMode::mode),
        ..Plan::default()
    })
    .await
}

fn sender(nth: u32) -> SenderId {
    SenderId::from(format!("10654035224290{nth}").as_str())
}

/// Bytes of the log for each message written.
async fn enqueue(scene: &Scene, messages: u32) -> anyhow::Result<f64> {
    let before = scene.usage().await?;
    for nth in 1..=SENDERS {
        scene.enqueue(&sender(nth), messages / SENDERS).await?;
    }
    let after = scene.usage().await?;
    scene.vacuum().await?;
    Ok((after.wal_bytes - before.wal_bytes) / f64::from(messages))
}

async fn ours(scene: &mut Scene, options: &Options) -> anyhow::Result<Cost> {
    let process = async |scene: &mut Scene| scene.start_worker(PROCESS, "worker,webhook,admin");
    let cost = measure(scene, options.messages, process).await?;
    let asked = scene.metric("wa_outbox_database_round_trips_total").await?;
    scene.take_worker(PROCESS)?.stop().await?;
    Ok(Cost {
        round_trips: asked / f64::from(options.messages),
        ..cost
    })
}

async fn by_hand(scene: &mut Scene, options: &Options) -> anyhow::Result<Cost> {
    scene.run_sql(by_hand::SETUP).await?;
    scene
        .run_sql(&format!(
            "insert into public.bench_by_hand (recipient, payload) select '+1650' || (1000000 + n), {} from generate_series(1, {}) n",
            super::scene::TEMPLATE,
            options.messages
        ))
        .await?;
    scene.vacuum().await?;
    hidden(scene, "by-hand", options).await
}

async fn posts(scene: &mut Scene, options: &Options) -> anyhow::Result<Cost> {
    hidden(scene, "posts", options).await
}

async fn hidden(
    scene: &mut Scene,
    scenario: &'static str,
    options: &Options,
) -> anyhow::Result<Cost> {
    let (in_flight, messages) = (options.in_flight.to_string(), options.messages.to_string());
    let arguments = [
        "bench",
        scenario,
        "--in-flight",
        &in_flight,
        "--messages",
        &messages,
    ];
    let process = async |scene: &mut Scene| scene.start_process(PROCESS, &arguments);
    let cost = measure(scene, options.messages, process).await?;
    scene.take_worker(PROCESS)?.kill().await?;
    Ok(cost)
}

/// From the first request to the last; processor time from the start of the process.
async fn measure(
    scene: &mut Scene,
    messages: u32,
    start: impl AsyncFnOnce(&mut Scene) -> anyhow::Result<()>,
) -> anyhow::Result<Cost> {
    let came = scene.simulator.ledger().request_count();
    let (before, commits) = (scene.usage().await?, scene.commits().await?);
    start(scene).await?;
    let all = came + u64::from(messages / SENDERS * SENDERS);
    let (mut last, mut since) = (came, Instant::now());
    while last < all {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = scene.simulator.ledger().request_count();
        if now > last {
            (last, since) = (now, Instant::now());
        }
        scene.refuse_dead_workers()?;
        anyhow::ensure!(
            since.elapsed() < STALLED_AFTER,
            "no request came for {STALLED_AFTER:?}, {} are missing",
            all - now
        );
    }
    scene.until_all_have_ended(None).await?;
    scene.until_webhooks_are_applied().await?;
    let used = scene.workers.get(PROCESS).context("no process")?.used()?;
    let (after, commits_after) = (scene.usage().await?, scene.commits().await?);
    let times: Vec<Duration> = scene
        .simulator
        .ledger()
        .since(came, usize::MAX)
        .iter()
        .map(|entry| entry.at)
        .collect();
    let (first, last) = times
        .iter()
        .min()
        .zip(times.iter().max())
        .context("no request came")?;
    let per_message = |all: f64| all / f64::from(messages);
    Ok(Cost {
        per_second: f64::from(messages) / (*last - *first).as_secs_f64(),
        process_us: per_message(used.cpu_ms * 1_000.0),
        postgres_us: per_message((after.postgres_cpu_ms - before.postgres_cpu_ms) * 1_000.0),
        wal_bytes: per_message(after.wal_bytes - before.wal_bytes),
        commits: per_message(commits_after - commits),
        peak_mib: used.peak_mib,
        ..Cost::default()
    })
}

/// What the statements take by themselves.
async fn statements(scene: &Scene, options: &Options) -> anyhow::Result<Cost> {
    let one = sender(1);
    scene.enqueue(&one, options.messages).await?;
    scene.vacuum().await?;
    let mut passing = Passing::of(scene, one).await?;
    let passed = passing.pass(scene, options.messages.into()).await?;
    passing.end().await?;
    Ok(Cost {
        per_second: passed.per_second(),
        postgres_us: passed.postgres_us(),
        wal_bytes: passed.wal_bytes / passed.messages as f64,
        ..Cost::default()
    })
}

impl Rounds {
    fn measured(&self) -> Vec<Measured> {
        let of = |costs: &[Cost], figure: fn(&Cost) -> f64| Spread::of(costs.iter().map(figure));
        let limit = |what, unit, costs: &[Cost], figure: fn(&Cost) -> f64| Limit {
            what,
            unit,
            figure: of(costs, figure),
        };
        let (ours, hand) = (&self.ours, &self.by_hand);
        let times = |figure: fn(&Cost) -> f64| of(ours, figure).median / of(hand, figure).median;
        vec![
            Measured::new(
                "messages sent",
                "/s",
                of(ours, |cost| cost.per_second),
                Target::AtLeast(of(hand, |cost| cost.per_second).median),
                vec![
                    limit("by hand", "/s", hand, |cost| cost.per_second),
                    limit("requests alone", "/s", &self.posts, |cost| cost.per_second),
                    limit(
                        "statements alone, one connection",
                        "/s",
                        &self.statements,
                        |cost| cost.per_second,
                    ),
                ],
                format!(
                    "{:.2} times what the loop by hand sends, which doubles what a crash interrupts",
                    times(|cost| cost.per_second)
                ),
            ),
            Measured::new(
                "CPU of worker and Postgres",
                "µs/message",
                of(ours, Cost::cpu_us),
                Target::AtMost(of(hand, Cost::cpu_us).median),
                vec![
                    limit("by hand", "µs", hand, Cost::cpu_us),
                    limit("requests alone", "µs", &self.posts, |cost| cost.process_us),
                    limit("statements alone", "µs", &self.statements, |cost| {
                        cost.postgres_us
                    }),
                ],
                format!(
                    "{:.1} of the worker and {:.1} of Postgres; by hand {:.1} and {:.1}",
                    of(ours, |cost| cost.process_us).median,
                    of(ours, |cost| cost.postgres_us).median,
                    of(hand, |cost| cost.process_us).median,
                    of(hand, |cost| cost.postgres_us).median,
                ),
            ),
            Measured::new(
                "log written, enqueue to outcome",
                "bytes/message",
                Spread::of(
                    self.enqueued
                        .iter()
                        .zip(ours)
                        .map(|(enqueued, cost)| enqueued + cost.wal_bytes),
                ),
                Target::AtMost(1_500.0),
                vec![limit(
                    "by hand, without its enqueue",
                    "bytes",
                    hand,
                    |cost| cost.wal_bytes,
                )],
                format!(
                    "{:.0} of it by the INSERT",
                    Spread::of(self.enqueued.iter().copied()).median
                ),
            ),
            Measured::new(
                "log written, with three statuses",
                "bytes/message",
                Spread::of(
                    self.enqueued
                        .iter()
                        .zip(&self.with_statuses)
                        .map(|(enqueued, cost)| enqueued + cost.wal_bytes),
                ),
                Target::AtMost(3_000.0),
                Vec::new(),
                format!(
                    "with them {:.0} messages/s, {:.1} µs of the worker and receiver and {:.1} of Postgres a message",
                    of(&self.with_statuses, |cost| cost.per_second).median,
                    of(&self.with_statuses, |cost| cost.process_us).median,
                    of(&self.with_statuses, |cost| cost.postgres_us).median,
                ),
            ),
            Measured::new(
                "commits",
                "/1,000 messages",
                of(ours, |cost| cost.commits * 1_000.0),
                Target::AtMost(100.0),
                vec![limit("by hand", "/1,000", hand, |cost| {
                    cost.commits * 1_000.0
                })],
                "that write: one for each batch that is begun, one for each that is recorded"
                    .to_owned(),
            ),
            Measured::new(
                "round trips to the database",
                "/1,000 messages",
                of(ours, |cost| cost.round_trips * 1_000.0),
                Target::AtMost(100.0),
                Vec::new(),
                "one to read, one to begin, one to record, each for many".to_owned(),
            ),
            Measured::new(
                "memory of the worker, at most",
                "MiB",
                of(ours, |cost| cost.peak_mib),
                Target::AtMost(64.0),
                vec![limit("by hand", "MiB", hand, |cost| cost.peak_mib)],
                "resident, with what was read ahead".to_owned(),
            ),
        ]
    }
}
