//! `bench storm`: a backlog is sent while answers are lost, connections refused and webhooks doubled and reordered. The ledger says what
//! was accepted how often.

use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use super::scene::{Outcomes, Plan, Scene};
use super::{Options, PoolerMode, SENDER, WORKER};
use crate::domain::id::SenderId;
use crate::simulator::{Fault, FaultPlan, WebhookFault};
use crate::store::sender::SenderChange;

#[derive(Debug, Serialize)]
struct Report {
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

/// Runs it and prints what it shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    anyhow::ensure!(
        !report.outcomes.is_broken(),
        "a promise was broken: see the counts above"
    );
    Ok(())
}

/// 2 % lost answers, 1 % server errors (half of them after the message was taken).
pub(super) fn faults(seed: u64) -> FaultPlan {
    FaultPlan {
        seed,
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

async fn measure(options: &Options) -> anyhow::Result<Report> {
    options.say(&format!("setting up {} messages …", options.messages));
    let sender = SenderId::from(SENDER);
    let unlimited = SenderChange {
        rate_per_second: Some(10_000.0),
        pair_period_ms: Some(0),
        max_in_flight: Some(options.in_flight.try_into()?),
        ..SenderChange::default()
    };
    let mut scene = Scene::set(Plan {
        senders: vec![(sender.clone(), unlimited)],
        latency: options.latency(),
        faults: faults(options.seed),
        settings: [
            super::settings(5),
            vec![("WA_OUTBOX__WORKER__READ_AHEAD", "1000".to_owned())],
        ]
        .concat(),
        pooler: options.pooler.map(PoolerMode::mode),
        ..Plan::default()
    })
    .await?;
    scene
        .enqueue(&sender, options.messages)
        .await
        .context("could not write the messages")?;
    scene.vacuum().await?;
    let before = scene.usage().await?;
    let started = Instant::now();
    scene.start_worker(WORKER, "worker,webhook,admin")?;
    let flaps = scene.flap();
    let progress = (!options.json).then_some("storm");
    scene.until_all_have_ended(progress).await?;
    let seconds = started.elapsed().as_secs_f64();
    flaps.stop().await;
    scene.until_webhooks_are_applied().await?;
    let after = scene.usage().await?;
    let messages_per_second = scene.messages_per_second().await?;
    let worker = scene.stop_worker(WORKER).await?;
    let outcomes = scene.outcomes().await?;
    scene.strike().await?;
    let messages = f64::from(options.messages);
    let per_thousand = |milliseconds: f64| milliseconds * 1_000.0 / messages;
    Ok(Report {
        messages: options.messages,
        seconds,
        messages_per_second,
        worker_cpu_ms_per_1000: per_thousand(worker.cpu_ms),
        postgres_cpu_ms_per_1000: per_thousand(after.postgres_cpu_ms - before.postgres_cpu_ms),
        worker_peak_mib: worker.peak_mib,
        wal_bytes_per_message: (after.wal_bytes - before.wal_bytes) / messages,
        outcomes,
    })
}

impl Report {
    fn print(&self) {
        let outcomes = &self.outcomes;
        println!("storm");
        for (what, figure, digits) in [
            ("messages", f64::from(self.messages), 0),
            ("messages/s", self.messages_per_second, 0),
            ("seconds until all ended", self.seconds, 1),
            ("worker CPU ms per 1,000", self.worker_cpu_ms_per_1000, 1),
            (
                "Postgres CPU ms per 1,000",
                self.postgres_cpu_ms_per_1000,
                1,
            ),
            ("worker peak memory MiB", self.worker_peak_mib, 1),
            ("WAL bytes per message", self.wal_bytes_per_message, 0),
            ("requests at WhatsApp", outcomes.requests as f64, 0),
            ("accepted there", outcomes.accepted_in_ledger as f64, 0),
            ("accepted there twice", outcomes.accepted_twice as f64, 0),
            (
                "ended and never accepted",
                outcomes.accepted_here_only as f64,
                0,
            ),
        ] {
            println!("  {what:<25} {figure:>12.digits$}");
        }
        for (state, messages) in &outcomes.states {
            println!("  state  {state:<18} {messages:>12}");
        }
        for (outcome, requests) in &outcomes.attempts {
            println!("  request {outcome:<17} {requests:>12}");
        }
    }
}
