//! `bench fleet`: twelve senders on three workers, and what befalls workers and database meanwhile.
//!
//! There is always something to send, and the simulator limits nothing and answers as it is told: what its ledger holds is
//! what the fleet did. A quarter into the run one worker is killed, and another started once its senders are taken; half
//! into it one is stopped in order, and later one joins. Or, with `--cut`, the database is taken away: killed, then out of
//! reach. The worker it befalls is always the one that has the most senders.
//!
//! No status flows while it is measured, so that the machine has its time for sending. At the end each uncertain message is
//! told of that WhatsApp had accepted, as its webhook would have done, and the rest is left to silence.

mod books;
mod journal;
mod report;
mod witness;

use std::time::Duration;

use tokio::time::Instant;

use super::Options;
use super::scene::{Plan, Scene};
use crate::domain::id::SenderId;
use crate::simulator::Statuses;
use crate::store::sender::SenderChange;
use books::Books;
use journal::Journal;
use report::Report;
use witness::{Event, Kind};

/// Requests a second; of each so many senders.
const RATES: [f64; 4] = [20.0, 80.0, 200.0, 1_000.0];
const SENDERS_OF_EACH_RATE: usize = 3;
/// What is sent before it is measured, and a little more.
const SPARE_SECONDS: f64 = 30.0;
/// No silence is settled while it is measured.
const WINDOW_S: u32 = 3_600;
/// All senders must have begun by then.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// The cable is cut for so long in a run of two minutes.
const LONGEST_CUT: Duration = Duration::from_secs(30);

/// A sender of the fleet.
pub(super) struct Pace {
    sender: SenderId,
    rate: f64,
}

/// Heartbeat and lease: the defaults in a run of two minutes, shorter in a shorter one.
#[derive(Clone, Copy)]
struct Lease {
    heartbeat: Duration,
    lasts: Duration,
}

impl Lease {
    fn of(seconds: u32) -> Self {
        let lasts = Duration::from_secs_f64((f64::from(seconds) / 8.0).clamp(2.5, 15.0));
        Self {
            heartbeat: lasts / 5,
            lasts,
        }
    }
}

/// Runs it and prints what the ledger shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    match report.broken_promises().as_slice() {
        [] => Ok(()),
        broken => anyhow::bail!("a promise was broken: {}", broken.join("; ")),
    }
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let lease = Lease::of(options.seconds);
    let fleet = fleet(options.scale);
    let mut scene = set(options, &fleet, lease).await?;
    let written = enqueue(&scene, &fleet, options).await?;
    let mut run = Run {
        journal: Journal::keep(&scene),
        lease,
        quiet: options.json,
        events: Vec::new(),
        uncertain: 0,
        started_workers: 0,
        from: scene.started,
        seconds: Duration::from_secs(options.seconds.into()),
    };
    scene.start_worker("webhooks", "webhook")?;
    for _ in 0..3 {
        run.start_worker(&mut scene)?;
    }
    run.until_all_send(&mut scene, &fleet).await?;
    run.from = Instant::now();
    if options.cut {
        run.take_the_database_away(&mut scene).await?;
    } else {
        run.befall_workers(&mut scene, options.freeze).await?;
    }
    run.until(1.0).await;
    let until = Instant::now();
    run.uncertain = uncertain(&scene).await?;
    run.say("settling");
    let books = Books::close(&mut scene, written).await?;
    let (from, until) = (run.from - scene.started, until - scene.started);
    let report = Report::of(options, &scene, &fleet, &run, (from, until), books);
    scene.strike().await?;
    Ok(report)
}

fn fleet(scale: f64) -> Vec<Pace> {
    let senders = RATES.into_iter().flat_map(|rate| {
        (1..=SENDERS_OF_EACH_RATE).map(move |number| Pace {
            sender: SenderId::from(format!("1{rate:04}{number}").as_str()),
            rate: rate * scale,
        })
    });
    senders.collect()
}

async fn set(options: &Options, fleet: &[Pace], lease: Lease) -> anyhow::Result<Scene> {
    let mut senders = Vec::new();
    for pace in fleet {
        let in_flight = options.in_flight.max(pace.rate as u32);
        let change = SenderChange {
            rate_per_second: Some(pace.rate),
            pair_period_ms: Some(0),
            max_in_flight: Some(in_flight.try_into()?),
            ..SenderChange::default()
        };
        senders.push((pace.sender.clone(), change));
    }
    let seconds = |time: Duration| time.as_secs_f64().to_string();
    let mut settings = super::settings(WINDOW_S);
    settings.push(("WA_OUTBOX__WORKER__HEARTBEAT_S", seconds(lease.heartbeat)));
    settings.push(("WA_OUTBOX__WORKER__LEASE_S", seconds(lease.lasts)));
    // A statement must not outlast the lease.
    let statement = lease.lasts.mul_f64(0.8);
    settings.push((
        "WA_OUTBOX__DATABASE__STATEMENT_TIMEOUT_S",
        seconds(statement),
    ));
    settings.push((
        "WA_OUTBOX__DATABASE__LOCK_TIMEOUT_S",
        seconds(statement / 2),
    ));
    Scene::set(Plan {
        senders,
        latency: options.latency(),
        statuses: Statuses::none(),
        settings,
        pooler: options.pooler.map(super::PoolerMode::mode),
        cable: options.cut,
        ..Plan::default()
    })
    .await
}

/// More than can be sent, for every sender. Gives how many.
async fn enqueue(scene: &Scene, fleet: &[Pace], options: &Options) -> anyhow::Result<u64> {
    let seconds = f64::from(options.seconds) + SPARE_SECONDS;
    let mut written = 0;
    for pace in fleet {
        let messages = (pace.rate * seconds).ceil() as u32;
        scene.enqueue(&pace.sender, messages).await?;
        written += u64::from(messages);
        options.say(&format!("{written} messages written"));
    }
    scene.vacuum().await?;
    Ok(written)
}

/// Messages whose answer was lost and that are not settled.
async fn uncertain(scene: &Scene) -> anyhow::Result<i64> {
    let count = sqlx::query_scalar("select count(*) from wa.uncertain")
        .fetch_one(scene.store.pool())
        .await?;
    Ok(count)
}

/// A run while it goes on.
pub(super) struct Run {
    journal: Journal,
    lease: Lease,
    quiet: bool,
    events: Vec<Event>,
    /// Messages uncertain at the end.
    uncertain: i64,
    started_workers: usize,
    from: Instant,
    seconds: Duration,
}

impl Run {
    fn say(&self, words: &str) {
        if !self.quiet {
            eprintln!("fleet: {words}");
        }
    }

    /// Waits until this part of the run is over.
    async fn until(&self, part: f64) {
        tokio::time::sleep_until(self.from + self.seconds.mul_f64(part)).await;
    }

    fn start_worker(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        self.started_workers += 1;
        scene.start_worker(&format!("worker-{}", self.started_workers), "worker")
    }

    async fn until_all_send(&self, scene: &mut Scene, fleet: &[Pace]) -> anyhow::Result<()> {
        let since = Instant::now();
        let ledger = scene.simulator.ledger().clone();
        let begun = |pace: &Pace| {
            let counts = ledger.counts().accepted_by_number;
            counts.contains_key(pace.sender.as_str())
        };
        while !fleet.iter().all(begun) {
            anyhow::ensure!(
                since.elapsed() < STARTS_WITHIN,
                "not every sender has sent anything after {STARTS_WITHIN:?}"
            );
            scene.refuse_dead_workers()?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Senders go from hand to hand once more, until each worker has its share.
        tokio::time::sleep(self.lease.lasts).await;
        Ok(())
    }

    /// Notes what happens now, to which senders.
    async fn note(
        &mut self,
        scene: &Scene,
        kind: Kind,
        senders: Vec<String>,
    ) -> anyhow::Result<()> {
        self.say(&format!("{} ({} senders)", kind.in_words(), senders.len()));
        let uncertain = uncertain(scene).await?;
        self.events.push(Event {
            kind,
            at: scene.started.elapsed(),
            over_at: None,
            senders,
            uncertain,
        });
        Ok(())
    }

    fn over(&mut self, scene: &Scene) {
        if let Some(event) = self.events.last_mut() {
            event.over_at = Some(scene.started.elapsed());
        }
    }

    async fn befall_workers(&mut self, scene: &mut Scene, freeze: bool) -> anyhow::Result<()> {
        self.until(0.25).await;
        let (victim, senders) = self.journal.busiest()?;
        self.note(scene, Kind::Killed, senders).await?;
        scene.take_worker(&victim)?.kill().await?;
        self.journal.until_nothing_is_of(&victim).await;
        self.over(scene);
        self.start_worker(scene)?;

        self.until(0.5).await;
        let (leaving, senders) = self.journal.busiest()?;
        self.note(scene, Kind::Stopped, senders).await?;
        scene.take_worker(&leaving)?.stop().await?;
        self.journal.until_nothing_is_of(&leaving).await;
        self.over(scene);

        self.until(0.625).await;
        let all = self.journal.senders();
        self.note(scene, Kind::Joined, all).await?;
        self.start_worker(scene)?;

        self.until(0.75).await;
        if freeze {
            let (frozen, senders) = self.journal.busiest()?;
            self.note(scene, Kind::Frozen, senders.clone()).await?;
            scene.workers[&frozen].freeze()?;
            self.journal.until_nothing_is_of(&frozen).await;
            self.over(scene);
            tokio::time::sleep(self.lease.lasts / 2).await;
            self.note(scene, Kind::Woken, senders).await?;
            scene.workers[&frozen].thaw()?;
        }
        scene.refuse_dead_workers()
    }

    async fn take_the_database_away(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        let all = self.journal.senders();
        self.until(0.25).await;
        self.note(scene, Kind::DatabaseKilled, all.clone()).await?;
        scene.kill_postgres().await?;
        self.over(scene);

        self.until(0.5).await;
        self.note(scene, Kind::DatabaseCut, all).await?;
        let cut = self.seconds.mul_f64(0.25).min(LONGEST_CUT);
        if let Some(cable) = &scene.cable {
            cable.cut();
            tokio::time::sleep(cut).await;
            cable.mend();
        }
        self.over(scene);
        scene.refuse_dead_workers()
    }
}
