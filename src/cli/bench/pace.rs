//! `bench pace`: whether a sender uses the rate it may have, and how long a message waits whose turn it is.
//!
//! One sender may make 1,000 requests a second, and each answer takes 50 ms. First there is always a backlog: then requests a second
//! beside the rate tell whether any of it is wasted.
//!
//! A message's turn is a moment that nobody writes down. So the delay that is ours is measured where nothing else delays: messages come
//! evenly, 950 a second, each in a transaction of its own, so that each may leave at once, and the whole time from its commit to its
//! request is taken as ours: reading, the durable begin, the permit, and the machine being busy. (Messages that come at random to
//! 95 % of a rate wait for each other, some for longer than 25 ms, however perfect the sender.) The same stream goes by hand by turns
//! ([`stream`](super::stream)), which says how much of it is the machine's.
//!
//! A batch is small at an ordinary rate, so a message costs more there than in a drain. It is told for this rate and for the one that a new
//! sender has.

use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::measured::{self, Limit, Measured, Spread, Target, Times, short};
use super::scene::{Plan, Scene};
use super::stream::{Streams, Way, evenly};
use super::{Options, SENDER, WORKER};
use crate::domain::id::SenderId;
use crate::simulator::Statuses;
use crate::store::sender::SenderChange;

const ROUNDS: u32 = 3;
const RATE: f64 = 1_000.0;
/// Of a new sender.
const USUAL_RATE: f64 = 80.0;
/// How long WhatsApp takes unless `--latency-ms` says.
const LATENCY: Duration = Duration::from_millis(50);
/// Of the rate, what comes in the stream.
const LOAD: f64 = 0.95;
/// Connections of the application.
const CONNECTIONS: usize = 16;
/// Of the rate, in percent.
const SHARE: Target = Target::AtLeast(99.0);
const NEARLY_ALL: Target = Target::AtMost(25.0);
/// Until the limiter has learned how long requests are on their way.
const SETTLES_IN: Duration = Duration::from_secs(3);

/// What sending from a backlog showed.
#[derive(Debug, Serialize)]
struct Backlog {
    /// The sender's, requests a second.
    rate: f64,
    /// Of that rate, in percent.
    share: Spread,
    /// For a message.
    worker_cpu_us: Spread,
    /// For a message.
    postgres_cpu_us: Spread,
}

/// What was used in a round.
struct Round {
    /// Since the scene was set.
    lasted: Range<Duration>,
    worker_us: f64,
    postgres_us: f64,
}

impl Round {
    fn seconds(&self) -> f64 {
        (self.lasted.end - self.lasted.start).as_secs_f64()
    }

    /// Of those that were made at these times.
    fn requests(&self, times: &[Duration]) -> f64 {
        let until = |end| times.partition_point(|at| *at < end);
        (until(self.lasted.end) - until(self.lasted.start)) as f64
    }
}

#[derive(Debug, Serialize)]
struct Report {
    rounds: u32,
    rate: f64,
    latency_ms: f64,
    /// From the worker to the database and back.
    database_ms: u64,
    /// Of each round.
    seconds: f64,
    /// Of the sender, in any second of the run.
    most_in_one_second: usize,
    /// What the application wrote; less than planned where the machine did not keep up.
    written_per_second: Spread,
    measured: Vec<Measured>,
    backlogs: [Backlog; 2],
}

/// Runs it and prints what it shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    anyhow::ensure!(
        report.most_in_one_second as f64 <= RATE,
        "a promise was broken: {} requests left in one second",
        report.most_in_one_second
    );
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let latency = match options.latency() {
        Duration::ZERO => LATENCY,
        given => given,
    };
    let turn = Duration::from_secs(options.seconds.into()) / (3 * ROUNDS);
    let mut scene = scene(options, latency).await?;
    scene.start_worker(WORKER, "worker,webhook,admin")?;
    options.say(&format!("a backlog, {USUAL_RATE} a second"));
    let usual = with_backlog(&mut scene, USUAL_RATE, turn).await?;
    options.say(&format!("a backlog, {RATE} a second"));
    let backlog = with_backlog(&mut scene, RATE, turn).await?;

    let mut streams = Streams::into(&scene, CONNECTIONS).await?;
    for way in [Way::Outbox, Way::ByHand] {
        let warm = evenly(RATE * LOAD, Duration::from_secs(2));
        streams.run(&scene, way, warm).await?;
    }
    let (mut outbox, mut by_hand, mut written) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        options.say(&format!("a stream, round {} of {ROUNDS}", round + 1));
        let ways = match round % 2 {
            0 => [Way::Outbox, Way::ByHand],
            _ => [Way::ByHand, Way::Outbox],
        };
        for way in ways {
            let stream = streams.run(&scene, way, evenly(RATE * LOAD, turn)).await?;
            match way {
                Way::Outbox => {
                    written.push(stream.per_second());
                    outbox.push(stream.times());
                }
                Way::ByHand => by_hand.push(stream.times()),
            }
        }
    }
    scene.stop_worker(WORKER).await?;
    anyhow::ensure!(
        !scene.outcomes().await?.is_broken(),
        "a promise was broken: a message has not ended, or was sent twice"
    );
    let second = Duration::from_secs(1);
    let most_in_one_second = scene.simulator.ledger().max_in_any_window(SENDER, second);
    scene.strike().await?;
    let written = Spread::of(written);
    Ok(Report {
        rounds: ROUNDS,
        rate: RATE,
        latency_ms: latency.as_secs_f64() * 1_000.0,
        database_ms: options.database_ms,
        seconds: turn.as_secs_f64(),
        most_in_one_second,
        written_per_second: written,
        measured: vec![
            share_of_rate(backlog.share, most_in_one_second),
            delay(&outbox, &by_hand, written),
        ],
        backlogs: [usual, backlog],
    })
}

async fn scene(options: &Options, latency: Duration) -> anyhow::Result<Scene> {
    let change = SenderChange {
        rate_per_second: Some(RATE),
        pair_period_ms: Some(0),
        max_in_flight: Some(options.in_flight.max(256).try_into()?),
        ..SenderChange::default()
    };
    Scene::set(Plan {
        senders: vec![(SenderId::from(SENDER), change)],
        latency,
        statuses: Statuses::none(),
        settings: super::settings(3_600),
        pooler: options.pooler.map(super::PoolerMode::mode),
        database_away: options.database_away(),
        ..Plan::default()
    })
    .await
}

/// While there is always more to send, at this rate.
async fn with_backlog(scene: &mut Scene, rate: f64, turn: Duration) -> anyhow::Result<Backlog> {
    let sender = SenderId::from(SENDER);
    let change = SenderChange {
        rate_per_second: Some(rate),
        ..SenderChange::default()
    };
    scene.store.change_sender(&sender, &change).await?;
    // A little more than can be sent, so that it does not run dry in the last round.
    let lasts = SETTLES_IN + turn * ROUNDS + Duration::from_secs(2);
    let messages = (rate * lasts.as_secs_f64()) as u32;
    scene.enqueue(&sender, messages).await?;
    scene.vacuum().await?;
    let came = scene.simulator.ledger().request_count();
    scene.simulator.ledger().wait_for_requests(came + 1).await;
    tokio::time::sleep(SETTLES_IN).await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let from = scene.started.elapsed();
        let before = (scene.workers[WORKER].used()?, scene.usage().await?);
        tokio::time::sleep(turn).await;
        let after = (scene.workers[WORKER].used()?, scene.usage().await?);
        rounds.push(Round {
            lasted: from..scene.started.elapsed(),
            worker_us: 1_000.0 * (after.0.cpu_ms - before.0.cpu_ms),
            postgres_us: 1_000.0 * (after.1.postgres_cpu_ms - before.1.postgres_cpu_ms),
        });
    }
    scene.until_all_have_ended(None).await?;
    let times = scene.request_times().remove(SENDER).unwrap_or_default();
    let of = |figure: &dyn Fn(&Round, f64) -> f64| {
        Spread::of(
            rounds
                .iter()
                .map(|round| figure(round, round.requests(&times))),
        )
    };
    Ok(Backlog {
        rate,
        share: of(&|round, requests| 100.0 * requests / (rate * round.seconds())),
        worker_cpu_us: of(&|round, requests| round.worker_us / requests),
        postgres_cpu_us: of(&|round, requests| round.postgres_us / requests),
    })
}

fn share_of_rate(share: Spread, most: usize) -> Measured {
    let reading = format!(
        "{} of {RATE} requests a second were made; in no second of the run more than {most}",
        short(share.median / 100.0 * RATE)
    );
    let what = "requests a second with a backlog";
    Measured::new(what, "% of the rate", share, SHARE, Vec::new(), reading)
}

fn delay(outbox: &[Times], by_hand: &[Times], written: Spread) -> Measured {
    let spread = |of: &[Times], percent: f64| {
        Spread::of(of.iter().map(|times| times.percentile_ms(percent)))
    };
    let figure = spread(outbox, 99.0);
    let limit = spread(by_hand, 99.0);
    let reading = format!(
        "from COMMIT to request, nothing taken off, while {} messages a second came evenly; p50 {} ms, by hand {} ms",
        short(written.median),
        short(spread(outbox, 50.0).median),
        short(spread(by_hand, 50.0).median)
    );
    let limits = vec![Limit {
        what: "by hand",
        unit: "ms",
        figure: limit,
    }];
    let what = "p99 of the delay of a message whose turn it is";
    Measured::new(what, "ms", figure, NEARLY_ALL, limits, reading)
}

impl Report {
    fn print(&self) {
        println!(
            "pace: {} requests a second, answers after {} ms, the database {} ms away, {} rounds of {} s\n",
            self.rate,
            short(self.latency_ms),
            self.database_ms,
            self.rounds,
            short(self.seconds)
        );
        measured::print(&self.measured);
        for backlog in &self.backlogs {
            println!(
                "At {} a second a message costs the worker {} µs of CPU (rounds {}) and Postgres {} (rounds {}).",
                backlog.rate,
                short(backlog.worker_cpu_us.median),
                backlog.worker_cpu_us.in_words(),
                short(backlog.postgres_cpu_us.median),
                backlog.postgres_cpu_us.in_words()
            );
        }
    }
}
