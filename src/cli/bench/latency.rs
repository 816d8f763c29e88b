//! `bench latency`: how soon a message leaves that comes alone, and what it costs to wait for one.
//!
//! First messages come one by one, 50 a second as the dice fall, so that the worker is awake all the time; then each after a pause,
//! when the worker has said that it sleeps and the INSERT calls it. Both by turns with the same stream by hand
//! ([`stream`](super::stream)). Then a worker of all roles holds one sender, and 500, with nothing to do, and it and Postgres are watched.

use std::time::Duration;

use serde::Serialize;

use super::measured::{self, Limit, Measured, Spread, Target, Times, short};
use super::scene::{Plan, Scene};
use super::stream::{Stream, Streams, Way, at_random};
use super::{Options, SENDER, WORKER};
use crate::domain::id::SenderId;
use crate::simulator::Statuses;
use crate::store::sender::SenderChange;

const ROUNDS: u32 = 3;
/// Messages a second.
const RATE: f64 = 50.0;
/// Connections of the application: one transaction must not wait for the one before.
const CONNECTIONS: usize = 8;
const MEDIAN: Target = Target::AtMost(3.0);
const NEARLY_ALL: Target = Target::AtMost(15.0);
/// Of one core, in percent.
const IDLE: Target = Target::AtMost(1.0);
/// At rest.
const ONE: u32 = 1;
const MANY: u32 = 500;
const IDLE_RATE: f64 = 80.0;
/// Whoever was woken has said so by then.
const PAUSE: Duration = Duration::from_millis(500);
/// A worker has all senders, and is at rest, by then.
const RESTS_WITHIN: Duration = Duration::from_secs(60);
/// How far a single message is off the moment at which the worker was seen asleep, at most: longer than its look at the database takes
/// to come round.
const OFF_BY: Duration = Duration::from_millis(200);

#[derive(Debug, Serialize)]
struct Report {
    rounds: u32,
    rate: f64,
    /// Messages of all rounds.
    awake_messages: usize,
    asleep_messages: usize,
    idle_seconds: f64,
    measured: Vec<Measured>,
}

/// Runs it and prints what it shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    // A third for each: awake, awake by hand, asleep. What is asleep by hand takes hardly any time.
    let turn = Duration::from_secs(options.seconds.into()) / (3 * ROUNDS);
    let mut scene = scene(options, [(SENDER.to_owned(), 1_000.0)]).await?;
    let mut streams = Streams::into(&scene, CONNECTIONS).await?;
    let mut dice = fastrand::Rng::with_seed(options.seed);
    scene.start_worker(WORKER, "worker,webhook,admin")?;
    until_at_rest(&mut scene, 1).await?;
    // Connections are made, statements prepared and plans cached before anything counts.
    for way in [Way::Outbox, Way::ByHand] {
        let warm = at_random(RATE, Duration::from_secs(2), &mut dice);
        streams.run(&scene, way, warm).await?;
    }
    let mut awake = Delays::default();
    let mut asleep = Delays::default();
    for round in 0..ROUNDS {
        options.say(&format!("round {} of {ROUNDS}, awake", round + 1));
        for way in in_turn(round) {
            let times = at_random(RATE, turn, &mut dice);
            let stream = streams.run(&scene, way, times).await?;
            awake.add(way, stream);
        }
        options.say(&format!("round {} of {ROUNDS}, asleep", round + 1));
        let mut alone = Vec::new();
        let until = tokio::time::Instant::now() + turn;
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(PAUSE).await;
            until_at_rest(&mut scene, 1).await?;
            let later = vec![OFF_BY.mul_f64(dice.f64())];
            alone.extend(streams.run(&scene, Way::Outbox, later).await?.delays);
        }
        let mut by_hand = Vec::new();
        for _ in 0..alone.len() {
            let later = vec![OFF_BY.mul_f64(dice.f64())];
            by_hand.extend(streams.run(&scene, Way::ByHand, later).await?.delays);
        }
        for (way, delays) in [(Way::Outbox, alone), (Way::ByHand, by_hand)] {
            let wrote_for = Duration::ZERO;
            asleep.add(way, Stream { delays, wrote_for });
        }
    }
    scene.stop_worker(WORKER).await?;
    anyhow::ensure!(
        !scene.outcomes().await?.is_broken(),
        "a promise was broken: a message has not ended, or was sent twice"
    );
    scene.strike().await?;
    let mut measured = awake.measured("50 messages a second, worker awake");
    measured.extend(asleep.measured("single messages, worker asleep"));
    let window = Duration::from_secs(options.seconds.into()) / (ROUNDS + 1);
    for senders in [ONE, MANY] {
        options.say(&format!("senders with nothing to do: {senders}"));
        let idle = Idle::measure(options, senders, window).await?;
        measured.extend(idle.measured());
    }
    Ok(Report {
        rounds: ROUNDS,
        rate: RATE,
        awake_messages: awake.messages(),
        asleep_messages: asleep.messages(),
        idle_seconds: window.as_secs_f64(),
        measured,
    })
}

/// The one begins a round, the other the next.
fn in_turn(round: u32) -> [Way; 2] {
    match round % 2 {
        0 => [Way::Outbox, Way::ByHand],
        _ => [Way::ByHand, Way::Outbox],
    }
}

async fn scene(
    options: &Options,
    senders: impl IntoIterator<Item = (String, f64)>,
) -> anyhow::Result<Scene> {
    let senders = senders.into_iter().map(|(sender, rate)| {
        let change = SenderChange {
            rate_per_second: Some(rate),
            ..SenderChange::default()
        };
        (SenderId::from(sender.as_str()), change)
    });
    Scene::set(Plan {
        senders: senders.collect(),
        latency: options.latency(),
        statuses: Statuses::none(),
        settings: super::settings(3_600),
        pooler: options.pooler.map(super::PoolerMode::mode),
        ..Plan::default()
    })
    .await
}

/// Waits until one worker holds so many senders and has said that it sleeps.
async fn until_at_rest(scene: &mut Scene, senders: i64) -> anyhow::Result<()> {
    let since = tokio::time::Instant::now();
    loop {
        let is_so: bool = sqlx::query_scalar(
            "select exists (select from wa.workers w
               where w.asleep and (select count(*) from wa.leases l where l.worker = w.worker) = $1)",
        )
        .bind(senders)
        .fetch_one(scene.store.pool())
        .await?;
        if is_so {
            return Ok(());
        }
        scene.refuse_dead_workers()?;
        anyhow::ensure!(
            since.elapsed() < RESTS_WITHIN,
            "the worker does not come to rest"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Delays of each round, by either way.
#[derive(Default)]
struct Delays {
    outbox: Vec<Times>,
    by_hand: Vec<Times>,
    messages: usize,
}

impl Delays {
    fn add(&mut self, way: Way, stream: Stream) {
        match way {
            Way::Outbox => {
                self.messages += stream.delays.len();
                self.outbox.push(stream.times());
            }
            Way::ByHand => self.by_hand.push(stream.times()),
        }
    }

    fn messages(&self) -> usize {
        self.messages
    }

    fn measured(&self, what: &str) -> Vec<Measured> {
        let spread = |of: &[Times], percent: f64| {
            Spread::of(of.iter().map(|times| times.percentile_ms(percent)))
        };
        let most = spread(&self.outbox, 100.0);
        [("p50", 50.0, MEDIAN), ("p99", 99.0, NEARLY_ALL)]
            .map(|(name, percent, target)| {
                let figure = spread(&self.outbox, percent);
                let limit = spread(&self.by_hand, percent);
                let reading = format!(
                    "{} ms longer than by hand; of {} messages the slowest took {} ms",
                    short(figure.median - limit.median),
                    self.messages,
                    short(most.most)
                );
                let limits = vec![Limit {
                    what: "by hand",
                    unit: "ms",
                    figure: limit,
                }];
                let what = format!("{what}: {name} from COMMIT to request");
                Measured::new(what, "ms", figure, target, limits, reading)
            })
            .into()
    }
}

/// What it costs to have nothing to do; percent of one core.
struct Idle {
    senders: u32,
    worker: Spread,
    postgres: Spread,
    both: Spread,
    /// Postgres while nobody is there.
    alone: f64,
    resident_mib: f64,
}

impl Idle {
    async fn measure(options: &Options, senders: u32, window: Duration) -> anyhow::Result<Self> {
        let ids = (1..=senders).map(|n| (30_000_000_000_u64 + u64::from(n)).to_string());
        let mut scene = scene(options, ids.map(|id| (id, IDLE_RATE))).await?;
        scene.vacuum().await?;
        let percent = |cpu_ms: f64| cpu_ms / window.as_secs_f64() / 10.0;
        let before = scene.usage().await?;
        tokio::time::sleep(window).await;
        let alone = percent(scene.usage().await?.postgres_cpu_ms - before.postgres_cpu_ms);
        scene.start_worker(WORKER, "worker,webhook,admin")?;
        until_at_rest(&mut scene, senders.into()).await?;
        // What a start leaves to be done is over.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let before = (scene.workers[WORKER].used()?, scene.usage().await?);
            tokio::time::sleep(window).await;
            let after = (scene.workers[WORKER].used()?, scene.usage().await?);
            rounds.push((
                percent(after.0.cpu_ms - before.0.cpu_ms),
                percent(after.1.postgres_cpu_ms - before.1.postgres_cpu_ms),
            ));
        }
        let used = scene.stop_worker(WORKER).await?;
        scene.strike().await?;
        Ok(Self {
            senders,
            worker: Spread::of(rounds.iter().map(|(worker, _)| *worker)),
            postgres: Spread::of(rounds.iter().map(|(_, postgres)| *postgres)),
            both: Spread::of(rounds.iter().map(|(worker, postgres)| worker + postgres)),
            alone,
            resident_mib: used.resident_mib,
        })
    }

    fn measured(&self) -> [Measured; 3] {
        let alone = || {
            vec![Limit {
                what: "Postgres without a worker",
                unit: "%",
                figure: Spread::of([self.alone]),
            }]
        };
        let plural = if self.senders == 1 { "" } else { "s" };
        let what = |of: &str| format!("{} sender{plural} at rest: CPU of {of}", self.senders);
        let reading = format!(
            "{} % of a core in the worker and {} % in Postgres; {} MiB resident",
            short(self.worker.median),
            short(self.postgres.median),
            short(self.resident_mib)
        );
        [
            ("the worker", self.worker, Vec::new()),
            ("Postgres", self.postgres, alone()),
            ("both", self.both, alone()),
        ]
        .map(|(of, figure, limits)| {
            Measured::new(
                what(of),
                "% of a core",
                figure,
                IDLE,
                limits,
                reading.clone(),
            )
        })
    }
}

impl Report {
    fn print(&self) {
        println!(
            "latency: {} rounds, {} messages while awake, {} while asleep; at rest for {} windows of {} s\n",
            self.rounds,
            self.awake_messages,
            self.asleep_messages,
            self.rounds,
            short(self.idle_seconds)
        );
        measured::print(&self.measured);
    }
}
