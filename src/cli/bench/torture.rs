//! `bench torture`: everything dies, again and again, while messages are sent.
//!
//! Several workers and a receiver of webhooks run as processes of their own, and reach the database by a cable. Every few seconds
//! something befalls them, as the dice fall: a process is killed or frozen past its lease, Postgres is killed, the cable is cut or
//! forgets its connections, a clock jumps, WhatsApp is away; and WhatsApp loses answers, and tells statuses doubled and reordered, all the
//! time. At the end nothing befalls anybody any more, everything comes to its end, and the ledger says whether the promises were kept.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::scene::{Outcomes, Plan, Scene};
use super::sequences::Story;
use super::wall_clock::WallClocks;
use super::{Options, PoolerMode, storm};
use crate::domain::id::SenderId;
use crate::simulator::{StatusRule, Statuses};
use crate::store::Store;
use crate::store::sender::SenderChange;

const SENDERS: u32 = 5;
/// Requests a second of each.
const RATE: f64 = 100.0;
const WORKERS: usize = 3;
const RECEIVER: &str = "webhooks";
/// Between two mishaps, on the average.
const PERIOD: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(3);
/// Silence is settled after it, in seconds.
const WINDOW_S: u32 = 10;
/// Members of a sequence.
const LENGTH: u32 = 5;
/// A clock jumps by so many seconds at most, there or back.
const JUMP_S: i64 = 3_600;
const SECOND: Duration = Duration::from_secs(1);
/// What a thawed worker has written by then comes.
const COMES_WITHIN: Duration = Duration::from_millis(1_500);
/// What is left of a pace around a freeze.
const BURST: f64 = 1.1;
/// So many messages wait at most, so that the queue neither runs dry nor outlasts the run.
const BACKLOG: i64 = 4_000;

/// What may befall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mishap {
    WorkerKilled,
    ReceiverKilled,
    WorkerFrozen,
    PostgresKilled,
    DatabaseCut,
    ConnectionsForgotten,
    WhatsAppAway,
    /// A worker's wall clock is off from then on.
    ClockJumped,
}

/// Each with how often it comes, of a hundred.
const MISHAPS: [(Mishap, u32); 8] = [
    (Mishap::WorkerKilled, 42),
    (Mishap::ReceiverKilled, 12),
    (Mishap::WorkerFrozen, 12),
    (Mishap::PostgresKilled, 6),
    (Mishap::DatabaseCut, 8),
    (Mishap::ConnectionsForgotten, 8),
    (Mishap::WhatsAppAway, 6),
    (Mishap::ClockJumped, 6),
];

#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    minutes: f64,
    messages: u64,
    mishaps: BTreeMap<Mishap, u32>,
    /// Processes that were killed with SIGKILL, Postgres included.
    kills: u32,
    /// Processes that had ended by themselves, and were started again as their supervisor would have done.
    restarts: u32,
    outcomes: Outcomes,
    /// Requests whose answer was lost, by what settled them.
    uncertain: BTreeMap<String, i64>,
    /// Messages that WhatsApp took twice, by the cause that the database names; `unnoticed`: by none.
    duplicates: BTreeMap<String, i64>,
    /// Messages that are gone, or that only one of database and ledger calls accepted.
    lost: u64,
    /// Members of a sequence that left before the delivery of the one before was told.
    order_violations: u64,
    /// Of any sender in any second in which no worker was frozen.
    fastest: Fastest,
    /// In the others: a thread that is stopped between its last look and its write writes when it is thawed, whoever looked after the
    /// sender meanwhile.
    most_around_a_freeze: usize,
    rate: f64,
}

/// The second in which most requests came.
#[derive(Debug, Default, Serialize)]
struct Fastest {
    requests: usize,
    sender: String,
    /// When its last request came, since the start of the ledger.
    at_seconds: f64,
    /// What had befallen before that, and how long before.
    after: Option<(Mishap, f64)>,
}

/// Runs it and prints what it shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    match report.broken_promises().as_slice() {
        [] => Ok(()),
        broken => anyhow::bail!(
            "a promise was broken: {}; the dice fell from --seed {}",
            broken.join("; "),
            report.seed
        ),
    }
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let rate = RATE * options.scale;
    let mut scene = scene(options, rate).await?;
    if scene.wall_clocks.is_none() {
        options.say("the clocks are left alone: libfaketime is not installed");
    }
    let enough = CancellationToken::new();
    let writing = tokio::spawn(write(scene.store.clone(), enough.clone()));
    let mut torture = Torture {
        dice: fastrand::Rng::with_seed(options.seed),
        quiet: options.json,
        mishaps: BTreeMap::new(),
        restarts: 0,
        started_workers: 0,
        log: Vec::new(),
        freezes: Vec::new(),
    };
    scene.start_worker(RECEIVER, "webhook")?;
    for _ in 0..WORKERS {
        torture.start_worker(&mut scene)?;
    }
    let started = Instant::now();
    let lasts = Duration::from_secs_f64(options.minutes * 60.0);
    while started.elapsed() < lasts {
        let pause = PERIOD.mul_f64(torture.dice.f64() * 2.0);
        tokio::time::sleep(pause).await;
        torture.start_again(&mut scene)?;
        torture.befall(&mut scene).await?;
        torture.say(&scene, started.elapsed(), lasts);
    }
    enough.cancel();
    writing.await?;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    torture.until_all_have_ended(&mut scene).await?;
    scene.until_webhooks_are_applied().await?;
    let report = torture.report(&scene, options.seed, minutes, rate).await?;
    scene.strike().await?;
    Ok(report)
}

async fn scene(options: &Options, rate: f64) -> anyhow::Result<Scene> {
    let change = SenderChange {
        rate_per_second: Some(rate),
        pair_period_ms: Some(0),
        max_in_flight: Some(options.in_flight.try_into()?),
        ..SenderChange::default()
    };
    let seconds = |time: Duration| time.as_secs_f64().to_string();
    let mut settings = super::settings(WINDOW_S);
    settings.extend([
        ("WA_OUTBOX__WORKER__HEARTBEAT_S", seconds(LEASE / 5)),
        ("WA_OUTBOX__WORKER__LEASE_S", seconds(LEASE)),
        // A statement must not outlast the lease.
        (
            "WA_OUTBOX__DATABASE__STATEMENT_TIMEOUT_S",
            seconds(LEASE.mul_f64(0.8)),
        ),
        (
            "WA_OUTBOX__DATABASE__LOCK_TIMEOUT_S",
            seconds(LEASE.mul_f64(0.4)),
        ),
    ]);
    Scene::set(Plan {
        senders: (1..=SENDERS)
            .map(|nth| (sender(nth), change.clone()))
            .collect(),
        latency: options.latency(),
        // Told long enough after `sent`, so that a member that leaves for that alone is seen to be too early.
        statuses: Statuses {
            delivered: Some(StatusRule::after(Duration::from_millis(100))),
            ..Statuses::default()
        },
        faults: storm::faults(options.seed),
        settings,
        pooler: options.pooler.map(PoolerMode::mode),
        cable: true,
        database_away: Duration::ZERO,
        wall_clocks: WallClocks::find()?,
        tellings: true,
    })
    .await
}

fn sender(nth: u32) -> SenderId {
    SenderId::from(format!("10654035224290{nth}").as_str())
}

/// Writes messages, a part of them in sequences, as long as the queue is short enough; each once, although the database may be killed
/// between a commit and its answer.
async fn write(store: Store, enough: CancellationToken) {
    let mut beat = interval(Duration::from_millis(200));
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut batch = 0_i64;
    loop {
        tokio::select! {
            () = enough.cancelled() => return,
            _ = beat.tick() => {}
        }
        match store.open_messages().await {
            Ok(open) if open < BACKLOG => {}
            // Long enough, or the database is away.
            _ => continue,
        }
        let written = sqlx::query(
            r#"insert into wa.outbox (sender, recipient, sequence, dedup_key, payload)
               select '10654035224290' || s, case when n <= 60 then '+1653' else '+1651' end || ($1 * 80 + case when n <= 60 then n else 61 + (n - 61) / $2 end + 1000000),
                 case when n > 60 then 'story' end, $1 || '-' || n, '{"type":"text","text":{"body":"Your order has shipped"}}'
               from generate_series(1, $3) s, generate_series(1, 80) n order by n
               on conflict do nothing"#,
        )
        .bind(batch)
        .bind(i64::from(LENGTH))
        .bind(i32::try_from(SENDERS).unwrap_or(i32::MAX))
        .execute(store.pool())
        .await;
        // Else once more, with the same keys.
        if written.is_ok() {
            batch += 1;
        }
    }
}

/// A run while it goes on.
struct Torture {
    dice: fastrand::Rng,
    quiet: bool,
    mishaps: BTreeMap<Mishap, u32>,
    restarts: u32,
    started_workers: usize,
    /// What has befallen, and when it began.
    log: Vec<(Duration, Mishap)>,
    /// When a worker was frozen, until what it wrote then has come, on the ledger's clock.
    freezes: Vec<(Duration, Duration)>,
}

impl Torture {
    fn say(&self, scene: &Scene, elapsed: Duration, lasts: Duration) {
        if !self.quiet {
            eprint!(
                "\rtorture: {:.0} of {:.0} s, {} mishaps, {} requests   \r",
                elapsed.as_secs_f64(),
                lasts.as_secs_f64(),
                self.mishaps.values().sum::<u32>(),
                scene.simulator.ledger().request_count()
            );
        }
    }

    fn start_worker(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        self.started_workers += 1;
        scene.start_worker(&format!("worker-{}", self.started_workers), "worker")
    }

    /// Starts again who has ended by itself, as whoever supervises it would.
    fn start_again(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        for name in scene.dead_workers() {
            self.restarts += 1;
            scene.take_worker(&name)?;
            match name.as_str() {
                RECEIVER => scene.start_worker(RECEIVER, "webhook")?,
                _ => self.start_worker(scene)?,
            }
        }
        Ok(())
    }

    fn any_worker(&mut self, scene: &Scene) -> anyhow::Result<String> {
        let mut names: Vec<&String> = scene.workers.keys().collect();
        names.retain(|name| *name != RECEIVER);
        let name = self.dice.choice(names).context("no worker runs")?;
        Ok(name.clone())
    }

    fn draw(&mut self) -> Mishap {
        let mut thrown = self
            .dice
            .u32(0..MISHAPS.iter().map(|(_, share)| share).sum());
        for (mishap, share) in MISHAPS {
            match thrown.checked_sub(share) {
                Some(rest) => thrown = rest,
                None => return mishap,
            }
        }
        Mishap::WorkerKilled
    }

    /// Up to so many seconds.
    fn a_while(&mut self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.dice.f64())
    }

    async fn befall(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        let mishap = self.draw();
        if mishap == Mishap::ClockJumped && scene.wall_clocks.is_none() {
            return Ok(());
        }
        *self.mishaps.entry(mishap).or_default() += 1;
        self.log.push((scene.started.elapsed(), mishap));
        match mishap {
            Mishap::WorkerKilled => {
                let victim = self.any_worker(scene)?;
                scene.take_worker(&victim)?.kill().await?;
                self.start_worker(scene)?;
            }
            Mishap::ReceiverKilled => {
                scene.take_worker(RECEIVER)?.kill().await?;
                tokio::time::sleep(self.a_while(4.0)).await;
                scene.start_worker(RECEIVER, "webhook")?;
            }
            Mishap::WorkerFrozen => {
                let victim = self.any_worker(scene)?;
                let from = scene.started.elapsed();
                scene.workers[&victim].freeze()?;
                tokio::time::sleep(LEASE.mul_f64(0.8) + self.a_while(2.0)).await;
                scene.workers[&victim].thaw()?;
                self.freezes
                    .push((from, scene.started.elapsed() + COMES_WITHIN));
            }
            Mishap::PostgresKilled => scene.kill_postgres().await?,
            Mishap::DatabaseCut | Mishap::ConnectionsForgotten => {
                let lasts = self.a_while(2.0 * LEASE.as_secs_f64());
                let cable = scene.cable.as_ref().context("there is no cable")?;
                match mishap {
                    Mishap::DatabaseCut => cable.cut(),
                    _ => cable.forget_connections(),
                }
                tokio::time::sleep(lasts).await;
                cable.mend();
            }
            Mishap::ClockJumped => {
                let off_by = self.dice.i64(-JUMP_S..=JUMP_S);
                let victim = self.any_worker(scene)?;
                if let Some(clocks) = &scene.wall_clocks {
                    clocks.jump(&victim, off_by)?;
                }
            }
            Mishap::WhatsAppAway => {
                scene.simulator.go_away().await;
                tokio::time::sleep(self.a_while(1.0)).await;
                while scene.simulator.come_back().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
        Ok(())
    }

    async fn until_all_have_ended(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        self.start_again(scene)?;
        let progress = (!self.quiet).then_some("torture");
        scene.until_all_have_ended(progress).await
    }

    /// The most requests of any sender in any second: of those in which nobody was frozen, and of the others.
    fn fastest(&self, scene: &Scene) -> (Fastest, usize) {
        let (mut calm, mut frozen) = (Fastest::default(), 0);
        for (sender, times) in scene.request_times() {
            let mut first = 0;
            for (last, at) in times.iter().enumerate() {
                while times[first] + SECOND <= *at {
                    first += 1;
                }
                let requests = last - first + 1;
                let is_around =
                    |(from, until): &(Duration, Duration)| times[first] < *until && *from < *at;
                if self.freezes.iter().any(is_around) {
                    frozen = frozen.max(requests);
                } else if requests > calm.requests {
                    let before = self.log.iter().rev().find(|(when, _)| *when < *at);
                    calm = Fastest {
                        requests,
                        sender: sender.clone(),
                        at_seconds: at.as_secs_f64(),
                        after: before.map(|(when, mishap)| (*mishap, (*at - *when).as_secs_f64())),
                    };
                }
            }
        }
        (calm, frozen)
    }

    async fn report(
        self,
        scene: &Scene,
        seed: u64,
        minutes: f64,
        rate: f64,
    ) -> anyhow::Result<Report> {
        let outcomes = scene.outcomes().await?;
        let grouped = async |statement: &'static str| -> anyhow::Result<BTreeMap<String, i64>> {
            let rows: Vec<(String, i64)> = sqlx::query_as(statement)
                .fetch_all(scene.store.pool())
                .await?;
            Ok(rows.into_iter().collect())
        };
        let uncertain = grouped(
            "select coalesce(settled_by, 'nothing'), count(*) from wa.attempts where outcome = 'uncertain' group by 1",
        )
        .await?;
        let mut duplicates = grouped(
            "select duplicate, count(*) from wa.results where duplicate is not null group by 1",
        )
        .await?;
        let unnoticed = i64::try_from(outcomes.accepted_twice)? - duplicates.values().sum::<i64>();
        if unnoticed != 0 {
            duplicates.insert("unnoticed".to_owned(), unnoticed);
        }
        let messages: i64 = sqlx::query_scalar("select count(*) from wa.outbox")
            .fetch_one(scene.store.pool())
            .await?;
        let ended: i64 = outcomes.states.values().sum();
        let (fastest, frozen) = self.fastest(scene);
        let count = |mishap| self.mishaps.get(&mishap).copied().unwrap_or_default();
        Ok(Report {
            seed,
            minutes,
            messages: messages.try_into()?,
            kills: [
                Mishap::WorkerKilled,
                Mishap::ReceiverKilled,
                Mishap::PostgresKilled,
            ]
            .map(count)
            .iter()
            .sum(),
            restarts: self.restarts,
            lost: messages.abs_diff(ended) + outcomes.accepted_here_only.unsigned_abs(),
            uncertain,
            duplicates,
            order_violations: Story::of(&scene.simulator).violations(),
            fastest,
            most_around_a_freeze: frozen,
            rate,
            mishaps: self.mishaps,
            outcomes,
        })
    }
}

impl Report {
    fn broken_promises(&self) -> Vec<String> {
        let open = u64::from(self.outcomes.is_open());
        let fast = u64::from(self.fastest.requests as f64 > self.rate.ceil());
        let burst = u64::from(self.most_around_a_freeze as f64 > self.rate * BURST);
        [
            (self.outcomes.accepted_twice, "messages were taken twice"),
            (self.lost, "messages were lost"),
            (open, "state is left that is no end"),
            (self.order_violations, "members of sequences left too early"),
            (fast, "sender went too fast"),
            (burst, "sender went much too fast after a freeze"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }

    fn print(&self) {
        println!(
            "torture: {:.1} minutes, seed {}, {SENDERS} senders at {} a second, {WORKERS} workers",
            self.minutes, self.seed, self.rate
        );
        for (what, count) in [
            ("messages", self.messages),
            ("requests at WhatsApp", self.outcomes.requests),
            ("accepted there", self.outcomes.accepted_in_ledger),
            ("killed (SIGKILL)", self.kills.into()),
            ("ended by themselves", self.restarts.into()),
            ("accepted twice", self.outcomes.accepted_twice),
            ("lost", self.lost),
            ("out of order", self.order_violations),
            ("most in one second", self.fastest.requests as u64),
            ("  around a freeze", self.most_around_a_freeze as u64),
        ] {
            println!("  {what:<30} {count:>10}");
        }
        if let Some((mishap, seconds)) = self.fastest.after {
            println!(
                "    of {} at {:.1} s, {seconds:.1} s after {mishap:?}",
                self.fastest.sender, self.fastest.at_seconds
            );
        }
        for (mishap, count) in &self.mishaps {
            println!("  mishap    {:<20} {count:>10}", format!("{mishap:?}"));
        }
        for (by, count) in &self.uncertain {
            println!("  uncertain {:<20} {count:>10}", format!("settled by {by}"));
        }
        for (cause, count) in &self.duplicates {
            println!("  duplicate {cause:<20} {count:>10}");
        }
        for (state, count) in &self.outcomes.states {
            println!("  state     {state:<20} {count:>10}");
        }
    }
}
