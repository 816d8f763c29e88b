//! `bench sequences`: order under disorder, how soon the next one leaves, and what it costs.
//!
//! Order is judged by what the simulator saw and said alone: a request for a member, before any post began that told the
//! delivery of the member before it, is a violation.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;

use super::scene::{Plan, Scene, Usage};
use super::{Options, WORKER};
use crate::domain::id::SenderId;
use crate::simulator::{FaultPlan, Simulator, Status, StatusRule, Statuses, WebhookFault};
use crate::store::sender::SenderChange;

/// Enough for each of two workers to hold two.
const SENDERS: u32 = 4;
/// In the run that measures how soon the next one leaves.
const CALM_SEQUENCES: u32 = 20;
const CALM_LENGTH: u32 = 26;
/// Members of a sequence in the runs that measure cost.
const TEN: u32 = 10;
/// A status that comes by itself is told this long after the answer at the soonest; one that comes sooner came before it.
const SOONEST: Duration = Duration::from_millis(5);

/// All that it shows.
#[derive(Debug, Serialize)]
struct Report {
    disorder: Disorder,
    /// From the post of a delivery to the request of the next member.
    next_leaves_after_ms: Spread,
    costs: Vec<Cost>,
}

/// What came of many sequences through two workers, of which one was killed, and webhooks in disorder.
#[derive(Debug, Default, Serialize)]
struct Disorder {
    sequences: u32,
    messages: u64,
    seconds: f64,
    requests: u64,
    accepted: u64,
    /// Members whose request came before the delivery of the one before it was told.
    order_violations: u64,
    duplicates: u64,
    lost: u64,
    statuses_told: usize,
    /// Told after one that should have followed it.
    told_out_of_order: usize,
    told_twice: usize,
    /// Told before the answer to the request.
    told_early: usize,
    /// Deliveries of which only `read` ever told.
    only_read: usize,
}

#[derive(Debug, Serialize)]
struct Spread {
    gaps: usize,
    median: f64,
    p99: f64,
    most: f64,
}

/// What a message costs, its three statuses included.
#[derive(Debug, Serialize)]
struct Cost {
    run: String,
    messages: u64,
    messages_per_second: f64,
    worker_cpu_ms_per_1000: f64,
    postgres_cpu_ms_per_1000: f64,
    wal_bytes_per_message: f64,
}

/// Runs it and prints what it shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = Report {
        disorder: disorder(options).await?,
        next_leaves_after_ms: calm(options).await?,
        costs: costs(options).await?,
    };
    options.tell(&report, Report::print)?;
    let Disorder {
        order_violations,
        duplicates,
        lost,
        ..
    } = report.disorder;
    anyhow::ensure!(
        order_violations + duplicates + lost == 0,
        "a promise was broken: see the counts above"
    );
    Ok(())
}

async fn scene(
    options: &Options,
    senders: u32,
    statuses: Statuses,
    faults: FaultPlan,
) -> anyhow::Result<Scene> {
    let unlimited = SenderChange {
        rate_per_second: Some(10_000.0),
        pair_period_ms: Some(0),
        max_in_flight: Some(options.in_flight.try_into()?),
        ..SenderChange::default()
    };
    let mut settings = super::settings(5);
    for (name, value) in [
        ("WA_OUTBOX__WORKER__HEARTBEAT_S", "0.5"),
        ("WA_OUTBOX__WORKER__LEASE_S", "3"),
        ("WA_OUTBOX__DATABASE__STATEMENT_TIMEOUT_S", "2.4"),
        ("WA_OUTBOX__DATABASE__LOCK_TIMEOUT_S", "1.2"),
    ] {
        settings.push((name, value.to_owned()));
    }
    Scene::set(Plan {
        senders: (1..=senders)
            .map(|nth| (sender(nth), unlimited.clone()))
            .collect(),
        latency: options.latency(),
        statuses,
        faults,
        settings,
        pooler: options.pooler.map(super::PoolerMode::mode),
        tellings: true,
        ..Plan::default()
    })
    .await
}

fn sender(nth: u32) -> SenderId {
    SenderId::from(format!("10654034225{nth:04}"))
}

/// Many sequences, webhooks in disorder, and a worker that is killed in the middle.
async fn disorder(options: &Options) -> anyhow::Result<Disorder> {
    let faults = FaultPlan {
        seed: options.seed,
        webhook_probabilities: vec![
            (WebhookFault::Doubled, 0.2),
            (WebhookFault::Reordered, 0.2),
            (WebhookFault::ReadOnly, 0.15),
            (WebhookFault::Early, 0.15),
        ],
        ..FaultPlan::default()
    };
    // Told long enough after `sent`, so that a member that leaves for that alone is seen to be too early.
    let statuses = Statuses {
        delivered: Some(StatusRule::after(Duration::from_millis(100))),
        ..Statuses::default()
    };
    let mut scene = scene(options, SENDERS, statuses, faults).await?;
    let sequences = options.sequences.div_ceil(SENDERS);
    for nth in 1..=SENDERS {
        let length = options.length;
        scene
            .enqueue_sequences(&sender(nth), sequences, length)
            .await?;
    }
    let messages = u64::from(SENDERS * sequences * options.length);
    scene.vacuum().await?;
    scene.start_worker("webhooks", "webhook")?;
    let started = std::time::Instant::now();
    for name in ["first", "second"] {
        scene.start_worker(name, "worker")?;
    }
    let ledger = scene.simulator.ledger().clone();
    ledger.wait_for_accepted(messages / 3).await;
    options.say("a worker is killed, and another started");
    scene.take_worker("first")?.kill().await?;
    scene.start_worker("third", "worker")?;
    let progress = (!options.json).then_some("sequences");
    scene.until_all_have_ended(progress).await?;
    let seconds = started.elapsed().as_secs_f64();
    scene.until_webhooks_are_applied().await?;
    let outcomes = scene.outcomes().await?;
    let accepted = outcomes.states.get("accepted").copied().unwrap_or(0);
    let mut found = Disorder {
        sequences: SENDERS * sequences,
        messages,
        seconds,
        requests: outcomes.requests,
        accepted: outcomes.accepted_in_ledger,
        duplicates: outcomes.accepted_twice,
        lost: messages.saturating_sub(accepted.try_into()?)
            + outcomes.accepted_here_only.unsigned_abs(),
        ..Disorder::default()
    };
    let story = Story::of(&scene.simulator);
    found.order_violations = story.violations();
    story.count_told(&mut found);
    scene.strike().await?;
    Ok(found)
}

/// Some sequences on a machine that has little else to do.
async fn calm(options: &Options) -> anyhow::Result<Spread> {
    options.say("how soon the next one leaves");
    let statuses = Statuses {
        sent: Some(StatusRule::after(Duration::from_millis(20))),
        delivered: Some(StatusRule::after(Duration::from_millis(180))),
        read: None,
        played: None,
    };
    let mut scene = scene(options, 1, statuses, FaultPlan::default()).await?;
    scene
        .enqueue_sequences(&sender(1), CALM_SEQUENCES, CALM_LENGTH)
        .await?;
    scene.vacuum().await?;
    scene.start_worker(WORKER, "worker,webhook")?;
    let progress = (!options.json).then_some("sequences");
    scene.until_all_have_ended(progress).await?;
    let mut gaps = Story::of(&scene.simulator).gaps();
    gaps.sort_unstable();
    let at = |share: f64| {
        let nth = (gaps.len() as f64 * share) as usize;
        let gap = gaps.get(nth.min(gaps.len().saturating_sub(1)));
        gap.map_or(0.0, |gap| gap.as_secs_f64() * 1_000.0)
    };
    let spread = Spread {
        gaps: gaps.len(),
        median: at(0.5),
        p99: at(0.99),
        most: at(1.0),
    };
    scene.strike().await?;
    Ok(spread)
}

/// The same number of messages without sequences, in sequences, and in sequences behind which many others wait.
async fn costs(options: &Options) -> anyhow::Result<Vec<Cost>> {
    let sequences = options.messages.div_ceil(TEN);
    let mut costs = vec![cost(options, "no sequences".to_owned(), 0).await?];
    for (words, count) in [
        ("in sequences of ten", sequences),
        ("among many sequences of ten", options.backlog),
    ] {
        if count > 0 {
            costs.push(cost(options, format!("{words} ({count})"), count).await?);
        }
    }
    Ok(costs)
}

async fn cost(options: &Options, run: String, sequences: u32) -> anyhow::Result<Cost> {
    options.say(&run);
    let mut scene = scene(options, 1, Statuses::default(), FaultPlan::default()).await?;
    if sequences == 0 {
        scene.enqueue(&sender(1), options.messages).await?;
    } else {
        scene.enqueue_sequences(&sender(1), sequences, TEN).await?;
    }
    scene.vacuum().await?;
    let before = scene.usage().await?;
    scene.start_worker(WORKER, "worker,webhook")?;
    let started = std::time::Instant::now();
    let ledger = scene.simulator.ledger().clone();
    ledger.wait_for_accepted(options.messages.into()).await;
    let seconds = started.elapsed().as_secs_f64();
    let messages = ledger.accepted_count();
    let worker = scene.workers[WORKER].used()?;
    let Usage {
        postgres_cpu_ms,
        wal_bytes,
    } = scene.usage().await?;
    scene.stop_worker(WORKER).await?;
    scene.strike().await?;
    let each = |total: f64| total / messages as f64;
    Ok(Cost {
        run,
        messages,
        messages_per_second: messages as f64 / seconds,
        worker_cpu_ms_per_1000: each(worker.cpu_ms) * 1_000.0,
        postgres_cpu_ms_per_1000: each(postgres_cpu_ms - before.postgres_cpu_ms) * 1_000.0,
        wal_bytes_per_message: each(wal_bytes - before.wal_bytes),
    })
}

/// What happened to the members of all sequences, as the simulator saw it.
pub(super) struct Story {
    /// Of each sequence its members, by number.
    sequences: BTreeMap<(String, String), BTreeMap<i64, Member>>,
    tellings: Vec<(Duration, Status, Duration)>,
    only_read: usize,
    told_twice: usize,
    out_of_order: usize,
}

#[derive(Default)]
struct Member {
    first_request: Duration,
    delivery_told: Option<Duration>,
}

impl Story {
    pub(super) fn of(simulator: &Simulator) -> Self {
        let mut told = HashMap::<String, Vec<(Status, Duration)>>::new();
        for telling in simulator.tellings() {
            told.entry(telling.wamid)
                .or_default()
                .push((telling.status, telling.at));
        }
        let mut story = Self {
            sequences: BTreeMap::new(),
            tellings: Vec::new(),
            only_read: 0,
            told_twice: 0,
            out_of_order: 0,
        };
        for entry in simulator.ledger().all() {
            let token = entry.callback_data.as_deref().unwrap_or_default();
            let Some(id) = token.split('-').nth(1).and_then(|id| id.parse().ok()) else {
                continue;
            };
            let sequence = (entry.number.to_string(), entry.recipient.clone());
            let members = story.sequences.entry(sequence).or_default();
            let member = members.entry(id).or_insert_with(|| Member {
                first_request: entry.at,
                delivery_told: None,
            });
            member.first_request = member.first_request.min(entry.at);
            let Some(told) = entry.wamid().and_then(|wamid| told.get(wamid)) else {
                continue;
            };
            let delivered = told
                .iter()
                .filter(|(status, _)| rank(*status) >= rank(Status::Delivered));
            let delivered = delivered.map(|(_, at)| *at).min();
            member.delivery_told = member.delivery_told.min(delivered).or(delivered);
            story
                .tellings
                .extend(told.iter().map(|(status, at)| (entry.at, *status, *at)));
            story.count(told);
        }
        story
    }

    fn count(&mut self, told: &[(Status, Duration)]) {
        let has = |wanted| told.iter().any(|(status, _)| *status == wanted);
        self.only_read += usize::from(has(Status::Read) && !has(Status::Delivered));
        for (nth, (status, _)) in told.iter().enumerate() {
            let before = &told[..nth];
            self.told_twice += usize::from(before.iter().any(|(other, _)| other == status));
            let later = before.iter().any(|(other, _)| rank(*other) > rank(*status));
            self.out_of_order += usize::from(later);
        }
    }

    fn count_told(&self, found: &mut Disorder) {
        let early = |(request, _, at): &&(Duration, Status, Duration)| *at < *request + SOONEST;
        found.statuses_told = self.tellings.len();
        found.told_out_of_order = self.out_of_order;
        found.told_twice = self.told_twice;
        found.told_early = self.tellings.iter().filter(early).count();
        found.only_read = self.only_read;
    }

    /// Each member and the one behind it.
    fn pairs(&self) -> impl Iterator<Item = (&Member, &Member)> {
        self.sequences
            .values()
            .flat_map(|members| members.values().zip(members.values().skip(1)))
    }

    /// Members that left before the delivery of the one before them was told.
    pub(super) fn violations(&self) -> u64 {
        let violated = |(member, next): &(&Member, &Member)| {
            member
                .delivery_told
                .is_none_or(|at| at > next.first_request)
        };
        self.pairs().filter(violated).count() as u64
    }

    fn gaps(&self) -> Vec<Duration> {
        self.pairs()
            .filter_map(|(member, next)| next.first_request.checked_sub(member.delivery_told?))
            .collect()
    }
}

fn rank(status: Status) -> u8 {
    match status {
        Status::Sent => 1,
        Status::Delivered => 2,
        Status::Read => 3,
        Status::Played => 4,
        Status::Failed(_) => 0,
    }
}

impl Report {
    fn print(&self) {
        let found = &self.disorder;
        println!(
            "sequences: {} with {} messages through two workers, of which one was killed: {:.1} s",
            found.sequences, found.messages, found.seconds
        );
        for (what, count) in [
            ("requests at WhatsApp", found.requests),
            ("accepted there", found.accepted),
            ("order violations", found.order_violations),
            ("duplicates", found.duplicates),
            ("lost", found.lost),
            ("statuses told", found.statuses_told as u64),
            ("  out of order", found.told_out_of_order as u64),
            ("  twice", found.told_twice as u64),
            ("  before the answer", found.told_early as u64),
            ("deliveries told by read only", found.only_read as u64),
        ] {
            println!("  {what:<28} {count:>8}");
        }
        let spread = &self.next_leaves_after_ms;
        println!(
            "\nfrom a delivery's webhook to the next request: median {:.1} ms, p99 {:.1} ms, most {:.1} ms ({} times)",
            spread.median, spread.p99, spread.most, spread.gaps
        );
        println!("\ncost of a message with its three statuses");
        for cost in &self.costs {
            println!(
                "  {:<36} {:>6.0}/s, worker {:>5.1} ms, Postgres {:>5.1} ms CPU per 1,000, {:>5.0} bytes of WAL",
                cost.run,
                cost.messages_per_second,
                cost.worker_cpu_ms_per_1000,
                cost.postgres_cpu_ms_per_1000,
                cost.wal_bytes_per_message
            );
        }
    }
}
