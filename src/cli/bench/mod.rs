//! `wa-outbox bench`: what the queue costs, measured on this machine.
//!
//! The worker runs as a process of its own, as in production, against a durable Postgres (fsync on) and the simulator in this
//! process. So CPU and memory of the worker are the worker's alone. Figures of different runs on a busy machine differ; compare
//! the rows of one run.

mod by_hand;
pub mod cable;
mod campaign;
mod drain;
mod enqueue;
mod flat;
mod fleet;
mod latency;
mod looking;
mod measured;
mod pace;
mod pair;
mod passing;
pub mod pgbouncer;
mod process;
mod recipients;
mod scene;
mod sequences;
mod stream;
mod torture;
mod wall_clock;
mod webhooks;
mod worker;

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::domain::id::SenderId;
use crate::simulator::{Fault, FaultPlan, Statuses, WebhookFault};
use crate::store::sender::SenderChange;
use scene::{Outcomes, Plan, Scene};

/// Measure what the queue does and costs, on a database and a WhatsApp of its own.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  wa-outbox bench drain --messages 20000\n  wa-outbox bench storm --messages 10000 --json\n  wa-outbox bench fleet --freeze\n  wa-outbox bench fleet --seconds 20 --cut --pooler session\n  wa-outbox bench torture --minutes 60 --seed 7\n  wa-outbox bench latency --seconds 60 --json"
)]
pub struct Options {
    /// drain: send a backlog, without and with status webhooks, beside a loop written by hand. storm: send one with lost answers, refused connections and
    /// server errors, webhooks doubled and reordered, and a count in the ledger of what was accepted how often. fleet: 12
    /// senders at 20 to 1,000 a second on 3 workers that are killed and stopped meanwhile. pair: the limit of one recipient.
    /// campaign: one template to --messages recipients, paused, resumed and cancelled, with urgent messages in between.
    /// sequences: order while webhooks come in disorder and a worker is killed, how soon the next one leaves, and the cost.
    /// looking: what each page and each reading command takes and costs with --messages in the tables, at rest and under load.
    /// torture: for --minutes workers, receiver, database and network die again and again while messages are sent; the ledger says
    /// whether anything was lost, doubled, out of order or too fast.
    /// enqueue: rows a second of INSERT and COPY, beside tables of the same columns. latency: from COMMIT to request for messages that
    /// come alone, and what 500 senders cost that have nothing to do. pace: a sender at 1,000 a second, answers after 50 ms: how much
    /// of its rate it uses, and how long a message waits whose turn it is. webhooks: statuses a second, with --messages told of in each
    /// turn, while another sender sends. These four print each figure with its target and with the limit of this machine, measured in
    /// the same rounds. flat: what a message costs with 10,000 and with --messages queued, while somebody holds a transaction open, and
    /// after two millions have passed.
    #[arg(value_enum)]
    scenario: Scenario,

    /// How many messages.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    messages: u32,

    /// How long WhatsApp takes for each answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,

    /// Requests out at once.
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    in_flight: u32,

    /// fleet, pair, campaign, looking, enqueue, latency and pace: how long to send, in seconds. Heartbeats, leases and what befalls the workers follow from it.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(15..=86_400))]
    seconds: u32,

    /// torture: how long things befall, in minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 20.0)]
    minutes: f64,

    /// fleet and torture: multiplies the rate of every sender, for machines that are slower or faster than the fleet needs; flat:
    /// how many pass.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,

    /// fleet: also freeze a worker until its senders are taken, and wake it.
    #[arg(long, conflicts_with = "cut")]
    freeze: bool,

    /// fleet: in place of what befalls workers, kill and restart Postgres, then cut the way to it for up to 30 seconds.
    #[arg(long)]
    cut: bool,

    /// sequences: how many.
    #[arg(long, value_name = "COUNT", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sequences: u32,

    /// sequences: messages in each.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    length: u32,

    /// sequences: measure the cost of a message also while so many sequences of ten are open.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    backlog: u32,

    /// campaign: import a file of so many recipients before, three times, beside a bare COPY of the same rows; 0: do not.
    #[arg(long, value_name = "COUNT", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(0..=5_000_000))]
    import_rows: u32,

    /// Put an installed PgBouncer in front of the database.
    #[arg(long, value_enum, value_name = "MODE")]
    pooler: Option<PoolerMode>,

    /// What the dice for faults are cast from.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    Drain,
    Storm,
    Fleet,
    Pair,
    Campaign,
    Sequences,
    Looking,
    Torture,
    Enqueue,
    Latency,
    Pace,
    Webhooks,
    Flat,
    #[value(hide = true)]
    ByHand,
    #[value(hide = true)]
    Posts,
}

/// How a pooler serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PoolerMode {
    /// A server connection for each connection.
    Session,
    /// A server connection for each transaction; prepared statements kept apart.
    Transaction,
}

impl PoolerMode {
    fn mode(self) -> pgbouncer::Mode {
        match self {
            Self::Session => pgbouncer::Mode::Session,
            Self::Transaction => pgbouncer::Mode::TransactionKeepingStatements,
        }
    }
}

/// The sender of a run that has one.
const SENDER: &str = "106540352242922";
/// The worker of a run that has one.
const WORKER: &str = "worker";

/// Settings of every run's workers; silence is settled after `reconcile_window` seconds.
fn settings(reconcile_window: u32) -> Vec<(&'static str, String)> {
    vec![
        ("WA_OUTBOX__HTTP__CONNECT_TIMEOUT_S", "2".to_owned()),
        ("WA_OUTBOX__HTTP__RESPONSE_TIMEOUT_S", "5".to_owned()),
        (
            "WA_OUTBOX__RECONCILE__WINDOW_S",
            reconcile_window.to_string(),
        ),
        // A fault that comes twice to one message would else leave it to a person.
        ("WA_OUTBOX__RECONCILE__MAX_RESENDS", "5".to_owned()),
    ]
}

/// One measured run.
#[derive(Debug, Serialize)]
struct Row {
    run: &'static str,
    messages: u32,
    /// From the start of the worker until the last message had ended.
    seconds: f64,
    /// From the first acceptance to the last.
    messages_per_second: f64,
    worker_cpu_ms_per_1000: f64,
    postgres_cpu_ms_per_1000: f64,
    worker_peak_mib: f64,
    wal_bytes_per_message: f64,
    outcomes: Outcomes,
}

impl Options {
    /// Runs the scenario and prints its figures.
    pub async fn run(self) -> anyhow::Result<()> {
        let rows = match self.scenario {
            Scenario::Fleet => return fleet::run(&self).await,
            Scenario::Pair => return pair::run(&self).await,
            Scenario::Campaign => return campaign::run(&self).await,
            Scenario::Sequences => return sequences::run(&self).await,
            Scenario::Looking => return looking::run(&self).await,
            Scenario::Torture => return torture::run(&self).await,
            Scenario::Enqueue => return enqueue::run(&self).await,
            Scenario::Latency => return latency::run(&self).await,
            Scenario::Pace => return pace::run(&self).await,
            Scenario::Webhooks => return webhooks::run(&self).await,
            Scenario::Flat => return flat::run(&self).await,
            Scenario::Drain => return drain::run(&self).await,
            Scenario::ByHand => return by_hand::run_loop(self.in_flight).await,
            Scenario::Posts => return by_hand::run_posts(self.in_flight, self.messages).await,
            Scenario::Storm => vec![
                self.measure("storm", Statuses::default(), self.storm(), true)
                    .await?,
            ],
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&rows)?);
        } else {
            rows.iter().for_each(print);
        }
        if rows.iter().any(|row| row.outcomes.is_broken()) {
            anyhow::bail!("a promise was broken: see the counts above");
        }
        Ok(())
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }

    /// 2 % lost answers, 1 % server errors (half of them after the message was taken); refused connections come on top.
    fn storm(&self) -> FaultPlan {
        FaultPlan {
            seed: self.seed,
            probabilities: vec![
                (Fault::AcceptThenDropAnswer, 0.02),
                (Fault::AcceptThenServerError, 0.005),
                (Fault::ServerError, 0.005),
            ],
            webhook_probabilities: vec![
                (WebhookFault::Doubled, 0.2),
                (WebhookFault::Reordered, 0.2),
                (WebhookFault::Early, 0.05),
            ],
            ..FaultPlan::default()
        }
    }

    async fn measure(
        &self,
        run: &'static str,
        statuses: Statuses,
        faults: FaultPlan,
        flapping: bool,
    ) -> anyhow::Result<Row> {
        if !self.json {
            eprintln!("{run}: setting up {} messages …", self.messages);
        }
        let sender = SenderId::from(SENDER);
        let unlimited = SenderChange {
            rate_per_second: Some(10_000.0),
            pair_period_ms: Some(0),
            max_in_flight: Some(self.in_flight.try_into()?),
            ..SenderChange::default()
        };
        let mut scene = Scene::set(Plan {
            senders: vec![(sender.clone(), unlimited)],
            latency: self.latency(),
            statuses,
            faults,
            settings: [
                settings(5),
                vec![("WA_OUTBOX__WORKER__READ_AHEAD", "1000".to_owned())],
            ]
            .concat(),
            pooler: self.pooler.map(PoolerMode::mode),
            ..Plan::default()
        })
        .await?;
        scene
            .enqueue(&sender, self.messages)
            .await
            .context("could not write the messages")?;
        scene.vacuum().await?;
        let before = scene.usage().await?;
        let started = std::time::Instant::now();
        scene.start_worker(WORKER, "worker,webhook,admin")?;
        let flaps = flapping.then(|| scene.flap());
        let progress = (!self.json).then_some(run);
        scene.until_all_have_ended(progress).await?;
        let seconds = started.elapsed().as_secs_f64();
        if let Some(flaps) = flaps {
            flaps.stop().await;
        }
        scene.until_webhooks_are_applied().await?;
        let after = scene.usage().await?;
        let messages_per_second = scene.messages_per_second().await?;
        let worker = scene.stop_worker(WORKER).await?;
        let outcomes = scene.outcomes().await?;
        scene.strike().await?;
        let per_thousand = |milliseconds: f64| milliseconds * 1_000.0 / f64::from(self.messages);
        Ok(Row {
            run,
            messages: self.messages,
            seconds,
            messages_per_second,
            worker_cpu_ms_per_1000: per_thousand(worker.cpu_ms),
            postgres_cpu_ms_per_1000: per_thousand(after.postgres_cpu_ms - before.postgres_cpu_ms),
            worker_peak_mib: worker.peak_mib,
            wal_bytes_per_message: (after.wal_bytes - before.wal_bytes) / f64::from(self.messages),
            outcomes,
        })
    }
}

fn print(row: &Row) {
    println!("{}", row.run);
    println!("  messages                  {:>12}", row.messages);
    println!(
        "  messages/s                {:>12.0}",
        row.messages_per_second
    );
    println!("  seconds until all ended   {:>12.1}", row.seconds);
    println!(
        "  worker CPU ms per 1,000   {:>12.1}",
        row.worker_cpu_ms_per_1000
    );
    println!(
        "  Postgres CPU ms per 1,000 {:>12.1}",
        row.postgres_cpu_ms_per_1000
    );
    println!("  worker peak memory MiB    {:>12.1}", row.worker_peak_mib);
    println!(
        "  WAL bytes per message     {:>12.0}",
        row.wal_bytes_per_message
    );
    println!(
        "  {:<25} {:>12}",
        "requests at WhatsApp", row.outcomes.requests
    );
    println!(
        "  {:<25} {:>12}",
        "accepted there", row.outcomes.accepted_in_ledger
    );
    println!(
        "  {:<25} {:>12}",
        "accepted there twice", row.outcomes.accepted_twice
    );
    println!(
        "  {:<25} {:>12}",
        "ended and never accepted", row.outcomes.accepted_here_only
    );
    for (state, messages) in &row.outcomes.states {
        println!("  state  {state:<18} {messages:>12}");
    }
    for (outcome, requests) in &row.outcomes.attempts {
        println!("  request {outcome:<17} {requests:>12}");
    }
}
