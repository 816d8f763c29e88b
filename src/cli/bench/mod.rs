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
mod storm;
mod stream;
mod torture;
mod wall_clock;
mod webhooks;
mod worker;

use std::time::Duration;

use clap::ValueEnum as _;
use serde::Serialize;

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

    /// pace: how long the way from the worker to the database and back takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    database_ms: u64,

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

impl Options {
    /// Runs the scenario and prints its figures.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.scenario {
            Scenario::Drain => drain::run(&self).await,
            Scenario::Storm => storm::run(&self).await,
            Scenario::Fleet => fleet::run(&self).await,
            Scenario::Pair => pair::run(&self).await,
            Scenario::Campaign => campaign::run(&self).await,
            Scenario::Sequences => sequences::run(&self).await,
            Scenario::Looking => looking::run(&self).await,
            Scenario::Torture => torture::run(&self).await,
            Scenario::Enqueue => enqueue::run(&self).await,
            Scenario::Latency => latency::run(&self).await,
            Scenario::Pace => pace::run(&self).await,
            Scenario::Webhooks => webhooks::run(&self).await,
            Scenario::Flat => flat::run(&self).await,
            Scenario::ByHand => by_hand::run_loop(self.in_flight).await,
            Scenario::Posts => by_hand::run_posts(self.in_flight, self.messages).await,
        }
    }

    /// Says what is under way, unless the figures are for a program.
    fn say(&self, words: &str) {
        if !self.json {
            let scenario = self.scenario.to_possible_value();
            let name = scenario.as_ref().map_or("bench", |value| value.get_name());
            eprintln!("{name}: {words}");
        }
    }

    /// Prints what a run has shown: as JSON, or in words.
    fn tell<R: Serialize>(&self, report: &R, in_words: impl FnOnce(&R)) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(report)?);
        } else {
            in_words(report);
        }
        Ok(())
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }

    fn database_away(&self) -> Duration {
        Duration::from_millis(self.database_ms)
    }
}
