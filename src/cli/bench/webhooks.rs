//! `bench webhooks`: how many statuses a second are received, proved, stored and applied, and how soon WhatsApp has its answer.
//!
//! Messages are sent first, by a worker, over the real path. Then the simulator tells three statuses of each, signed, as fast as they
//! are answered, one status a delivery as WhatsApp mostly does, and ten together, while another sender goes on sending. The receiver
//! is a process of its own that does nothing else; what is told is applied when the inbox is empty again.
//!
//! By turns the same deliveries go to somebody who answers without a look: the most that this machine could receive while it also
//! makes and signs them. What Postgres uses for the other sender is measured before, and taken off.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tokio_util::task::AbortOnDropHandle;

use super::measured::{self, Limit, Measured, Spread, Target, Times, short};
use super::scene::{Plan, Scene};
use super::{Options, SENDER, WORKER};
use crate::domain::id::SenderId;
use crate::simulator::{Entry, Simulator, Status, Statuses};
use crate::store::sender::SenderChange;

const RECEIVER: &str = "receiver";
const ROUNDS: usize = 3;
/// Statuses in one delivery.
const TOGETHER: [usize; 2] = [1, 10];
const TOLD: [Status; 3] = [Status::Sent, Status::Delivered, Status::Read];
/// Deliveries under way at once.
const AT_ONCE: usize = 32;
/// Sends meanwhile.
const OTHER: &str = "20000000000002";
const OTHER_RATE: u32 = 200;
/// What it costs that the other one sends is measured for so long.
const BEFORE: Duration = Duration::from_secs(5);
/// Who was told to come again does so after this pause.
const PAUSE: Duration = Duration::from_millis(100);
const APPLIED: Target = Target::AtLeast(5_000.0);
const ANSWER: Target = Target::AtMost(250.0);
/// Of the other sender's rate, in percent.
const SHARE: Target = Target::AtLeast(97.0);

/// One turn at the receiver.
#[derive(Debug, Serialize)]
struct Turn {
    together: usize,
    /// From the first post until all were applied.
    applied_per_second: f64,
    answered_per_second: f64,
    answer_p50_ms: f64,
    answer_p99_ms: f64,
    answer_most_ms: f64,
    /// Deliveries that were told to come again.
    put_off: u64,
    /// From the last answer until all were applied.
    behind_ms: f64,
    receiver_cpu_us_per_status: f64,
    postgres_cpu_us_per_status: f64,
    wal_bytes_per_status: f64,
    /// Of the other sender's rate, in percent.
    other_share: f64,
    /// The same deliveries, answered without a look.
    unlooked_per_second: f64,
    unlooked_p99_ms: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    /// In each turn.
    statuses: usize,
    turns: Vec<Turn>,
    measured: Vec<Measured>,
}

/// Runs it and prints what it shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let mut scene = scene(options).await?;
    let turns = ROUNDS * TOGETHER.len();
    let messages = options.messages as usize * turns;
    options.say(&format!("sending {messages} messages"));
    let sender = SenderId::from(SENDER);
    scene.enqueue(&sender, messages.try_into()?).await?;
    scene.vacuum().await?;
    scene.start_worker(RECEIVER, "webhook")?;
    scene.start_worker(WORKER, "worker")?;
    let progress = (!options.json).then_some("webhooks");
    scene.until_all_have_ended(progress).await?;
    scene.vacuum().await?;
    let mut accepted = scene.simulator.ledger().accepted();
    accepted.retain(|entry| &*entry.number == SENDER);
    anyhow::ensure!(
        accepted.len() == messages,
        "{} of {messages} messages were accepted",
        accepted.len()
    );
    let telling = async {
        let bench = Bench::set(&scene).await?;
        let mut slices = accepted.chunks(options.messages as usize);
        let mut shown = Vec::new();
        for round in 0..ROUNDS {
            for (turn, slice) in (0..TOGETHER.len()).zip(&mut slices) {
                let together = TOGETHER[(round + turn) % TOGETHER.len()];
                options.say(&format!(
                    "round {} of {ROUNDS}, {together} a delivery",
                    round + 1
                ));
                shown.push(bench.turn(together, slice, round % 2 == 0).await?);
            }
        }
        anyhow::Ok((shown, bench.other_share_before))
    };
    let (shown, share_before) = tokio::select! {
        shown = telling => shown?,
        fed = feed(&scene) => return fed.map(|never| match never {}),
    };
    scene.refuse_dead_workers()?;
    let untold: i64 = sqlx::query_scalar(
        "select count(*) from wa.results where sender = $1 and (sent_at is null or delivered_at is null or read_at is null)",
    )
    .bind(SENDER)
    .fetch_one(scene.store.pool())
    .await?;
    anyhow::ensure!(
        untold == 0,
        "a promise was broken: {untold} messages lack a status that was told and answered"
    );
    scene.stop_worker(RECEIVER).await?;
    scene.stop_worker(WORKER).await?;
    scene.strike().await?;
    Ok(Report {
        statuses: options.messages as usize * TOLD.len(),
        measured: TOGETHER
            .iter()
            .flat_map(|together| measured_of(&shown, *together, share_before))
            .collect(),
        turns: shown,
    })
}

async fn scene(options: &Options) -> anyhow::Result<Scene> {
    let change = |rate: f64, in_flight: i32| SenderChange {
        rate_per_second: Some(rate),
        pair_period_ms: Some(0),
        max_in_flight: Some(in_flight),
        ..SenderChange::default()
    };
    Scene::set(Plan {
        senders: vec![
            (
                SenderId::from(SENDER),
                change(10_000.0, options.in_flight.try_into()?),
            ),
            (SenderId::from(OTHER), change(OTHER_RATE.into(), 64)),
        ],
        latency: options.latency(),
        statuses: Statuses::none(),
        settings: [
            super::settings(3_600),
            vec![("WA_OUTBOX__WORKER__READ_AHEAD", "1000".to_owned())],
        ]
        .concat(),
        pooler: options.pooler.map(super::PoolerMode::mode),
        ..Plan::default()
    })
    .await
}

/// What the other sender is to send: always a little more than it may.
async fn feed(scene: &Scene) -> anyhow::Result<std::convert::Infallible> {
    let mut seconds = interval(Duration::from_secs(1));
    let other = SenderId::from(OTHER);
    scene.enqueue(&other, 2 * OTHER_RATE).await?;
    loop {
        seconds.tick().await;
        scene.enqueue(&other, OTHER_RATE + OTHER_RATE / 20).await?;
    }
}

struct Bench<'a> {
    scene: &'a Scene,
    /// Where the receiver listens.
    receiver: String,
    unlooked: Unlooked,
    /// Of Postgres in a second, while the other sender sends and nothing is told.
    postgres_cpu_ms: f64,
    wal_bytes: f64,
    other_share_before: f64,
}

impl<'a> Bench<'a> {
    async fn set(scene: &'a Scene) -> anyhow::Result<Self> {
        let ledger = scene.simulator.ledger();
        let sent = ledger.request_count();
        ledger
            .wait_for_requests(sent + u64::from(OTHER_RATE) * 2)
            .await;
        let (before, from) = (scene.usage().await?, scene.started.elapsed());
        tokio::time::sleep(BEFORE).await;
        let (after, until) = (scene.usage().await?, scene.started.elapsed());
        let seconds = (until - from).as_secs_f64();
        Ok(Self {
            scene,
            receiver: scene.webhook_address(),
            unlooked: Unlooked::listen().await?,
            postgres_cpu_ms: (after.postgres_cpu_ms - before.postgres_cpu_ms) / seconds,
            wal_bytes: (after.wal_bytes - before.wal_bytes) / seconds,
            other_share_before: other_share(scene, from, until),
        })
    }

    /// Tells everything of these messages, to both by turns.
    async fn turn(
        &self,
        together: usize,
        messages: &[Arc<Entry>],
        unlooked_first: bool,
    ) -> anyhow::Result<Turn> {
        let scene = self.scene;
        let unlooked = async || {
            scene.tell_webhooks_to(&self.unlooked.address);
            let posted = Posted::of(scene, messages, together).await;
            scene.tell_webhooks_to(&self.receiver);
            posted
        };
        let before_it = match unlooked_first {
            true => Some(unlooked().await?),
            false => None,
        };
        let statuses = (messages.len() * TOLD.len()) as f64;
        let used = (scene.usage().await?, scene.workers[RECEIVER].used()?);
        let (from, since) = (scene.started.elapsed(), Instant::now());
        let posted = Posted::of(scene, messages, together).await?;
        while scene.store.inbox_summary().await?.pending > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lasted = since.elapsed();
        let (postgres, receiver) = (scene.usage().await?, scene.workers[RECEIVER].used()?);
        let until = scene.started.elapsed();
        let seconds = lasted.as_secs_f64();
        let cpu_ms = postgres.postgres_cpu_ms - used.0.postgres_cpu_ms;
        let wal_bytes = postgres.wal_bytes - used.0.wal_bytes;
        let unlooked = match before_it {
            Some(posted) => posted,
            None => unlooked().await?,
        };
        Ok(Turn {
            together,
            applied_per_second: statuses / seconds,
            answered_per_second: statuses / posted.lasted.as_secs_f64(),
            answer_p50_ms: posted.answers.percentile_ms(50.0),
            answer_p99_ms: posted.answers.percentile_ms(99.0),
            answer_most_ms: posted.answers.percentile_ms(100.0),
            put_off: posted.put_off,
            behind_ms: (lasted - posted.lasted).as_secs_f64() * 1_000.0,
            receiver_cpu_us_per_status: (receiver.cpu_ms - used.1.cpu_ms) * 1_000.0 / statuses,
            postgres_cpu_us_per_status: (cpu_ms - self.postgres_cpu_ms * seconds) * 1_000.0
                / statuses,
            wal_bytes_per_status: (wal_bytes - self.wal_bytes * seconds) / statuses,
            other_share: other_share(scene, from, until),
            unlooked_per_second: statuses / unlooked.lasted.as_secs_f64(),
            unlooked_p99_ms: unlooked.answers.percentile_ms(99.0),
        })
    }
}

/// Of the other sender's rate in this part of the run, in percent.
fn other_share(scene: &Scene, from: Duration, until: Duration) -> f64 {
    let times = scene.request_times().remove(OTHER).unwrap_or_default();
    let requests = times.partition_point(|at| *at < until) - times.partition_point(|at| *at < from);
    100.0 * requests as f64 / (f64::from(OTHER_RATE) * (until - from).as_secs_f64())
}

/// What became of the deliveries of one turn.
struct Posted {
    lasted: Duration,
    answers: Times,
    put_off: u64,
}

impl Posted {
    /// Posts all of it; the statuses of one message one after the other.
    async fn of(scene: &Scene, messages: &[Arc<Entry>], together: usize) -> anyhow::Result<Self> {
        let groups: VecDeque<Vec<Arc<Entry>>> =
            messages.chunks(together).map(<[_]>::to_vec).collect();
        let groups = Arc::new(Mutex::new(groups));
        let since = Instant::now();
        let mut posters = JoinSet::new();
        for _ in 0..AT_ONCE {
            posters.spawn(post_all(Arc::clone(&scene.simulator), Arc::clone(&groups)));
        }
        let (mut answers, mut put_off) = (Vec::new(), 0);
        while let Some(posted) = posters.join_next().await {
            let (took, refused) = posted??;
            answers.extend(took);
            put_off += refused;
        }
        Ok(Self {
            lasted: since.elapsed(),
            answers: Times::of(answers),
            put_off,
        })
    }
}

/// How long each answer took, and how many were that it should come again.
async fn post_all(
    simulator: Arc<Simulator>,
    groups: Arc<Mutex<VecDeque<Vec<Arc<Entry>>>>>,
) -> anyhow::Result<(Vec<Duration>, u64)> {
    let (mut answers, mut put_off) = (Vec::new(), 0);
    let next = || {
        groups
            .lock()
            .expect("nobody panics with the groups")
            .pop_front()
    };
    while let Some(group) = next() {
        for status in TOLD {
            let news: Vec<_> = group
                .iter()
                .map(|entry| (Arc::clone(entry), status))
                .collect();
            loop {
                let asked = Instant::now();
                let answer = simulator.tell_together(&news).await?;
                answers.push(asked.elapsed());
                match answer {
                    200 => break,
                    503 => put_off += 1,
                    other => anyhow::bail!("a delivery was answered with {other}"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok((answers, put_off))
}

/// Answers 200 to every delivery and looks at none.
struct Unlooked {
    address: String,
    _serves: AbortOnDropHandle<()>,
}

impl Unlooked {
    async fn listen() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}/webhook", listener.local_addr()?);
        let routes = Router::new().route("/webhook", post(async |_: axum::body::Bytes| ()));
        let serves = tokio::spawn(async move {
            // It ends with this value; nobody is left to be told why it ended before.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            address,
            _serves: AbortOnDropHandle::new(serves),
        })
    }
}

fn measured_of(turns: &[Turn], together: usize, share_before: f64) -> [Measured; 3] {
    let spread = |pick: fn(&Turn) -> f64| {
        let of_these = turns.iter().filter(|turn| turn.together == together);
        Spread::of(of_these.map(pick))
    };
    let median = |pick: fn(&Turn) -> f64| short(spread(pick).median);
    let limit = |what, unit, figure| vec![Limit { what, unit, figure }];
    let applied = Measured::new(
        format!("{together} a delivery: applied"),
        "statuses/s",
        spread(|turn| turn.applied_per_second),
        APPLIED,
        limit(
            "answered without a look",
            "statuses/s",
            spread(|turn| turn.unlooked_per_second),
        ),
        format!(
            "of CPU {} us in the receiver and {} us in Postgres, and {} bytes of WAL a status; the last was applied {} ms after its answer",
            median(|turn| turn.receiver_cpu_us_per_status),
            median(|turn| turn.postgres_cpu_us_per_status),
            median(|turn| turn.wal_bytes_per_status),
            median(|turn| turn.behind_ms)
        ),
    );
    let answered = Measured::new(
        format!("{together} a delivery: p99 of the answer"),
        "ms",
        spread(|turn| turn.answer_p99_ms),
        ANSWER,
        limit(
            "answered without a look",
            "ms",
            spread(|turn| turn.unlooked_p99_ms),
        ),
        format!(
            "with {AT_ONCE} under way all the time; p50 {} ms, slowest {} ms, {} told to come again",
            median(|turn| turn.answer_p50_ms),
            short(spread(|turn| turn.answer_most_ms).most),
            median(|turn| turn.put_off as f64)
        ),
    );
    let other = Measured::new(
        format!("{together} a delivery: another sender meanwhile"),
        "% of its rate",
        spread(|turn| turn.other_share),
        SHARE,
        limit("nothing told", "%", Spread::of([share_before])),
        format!("it may make {OTHER_RATE} requests a second and always has something to send"),
    );
    [applied, answered, other]
}

impl Report {
    fn print(&self) {
        println!(
            "webhooks: {} statuses a turn, {ROUNDS} turns each, while another sender makes {OTHER_RATE} requests a second\n",
            self.statuses
        );
        measured::print(&self.measured);
    }
}
