//! `wa-outbox bench`: what the queue costs, measured on this machine.
//!
//! The worker runs as a process of its own, as in production, against a durable Postgres (fsync on) and the simulator in this
//! process. So CPU and memory of the worker are the worker's alone. Figures of different runs on a busy machine differ; compare
//! the rows of one run.

mod process;
mod scene;

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::simulator::{Fault, FaultPlan, Statuses, WebhookFault};
use scene::{Outcomes, Scene};

/// Measure what the queue does and costs, on a database and a WhatsApp of its own.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  wa-outbox bench drain --messages 20000\n  wa-outbox bench storm --messages 10000 --json"
)]
pub struct Options {
    /// drain: send a backlog, without and with status webhooks. storm: the same with lost answers, refused connections and
    /// server errors, webhooks doubled and reordered, and a count in the ledger of what was accepted how often.
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
            Scenario::Drain => vec![
                self.measure(
                    "drain, no statuses",
                    Statuses::none(),
                    FaultPlan::default(),
                    false,
                )
                .await?,
                self.measure(
                    "drain, three statuses each",
                    Statuses::default(),
                    FaultPlan::default(),
                    false,
                )
                .await?,
            ],
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
        let mut scene = Scene::set(
            self.in_flight,
            Duration::from_millis(self.latency_ms),
            statuses,
            faults,
        )
        .await?;
        scene
            .enqueue(self.messages)
            .await
            .context("could not write the messages")?;
        let before = scene.usage().await?;
        let started = std::time::Instant::now();
        scene.start_worker()?;
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
        let worker = scene.stop_worker().await?;
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
