//! `bench pair`: the limit of one recipient, and that one recipient who is held back holds back nobody else.
//!
//! One sender, three groups of messages: many to one recipient, who may get 45 at once and then one in six seconds; some to
//! one whom WhatsApp always answers with 131056; and, all the time, as many to others as leave the sender some of its rate.

use std::time::Duration;

use serde::Serialize;

use super::scene::{Plan, Scene};
use super::{Options, SENDER, WORKER};
use crate::domain::id::SenderId;
use crate::simulator::{Fault, Ledger, Statuses};
use crate::store::sender::SenderChange;

const RATE: f64 = 50.0;
const PAIR_PERIOD: Duration = Duration::from_secs(6);
const PAIR_BURST: usize = 45;
/// Of the rate, what goes to others.
const OTHERS: f64 = 0.8;
/// Gets more than may be sent.
const FAVOURITE: &str = "+16505550001";
/// Gets an error each time.
const LIMITED: &str = "+16505550002";

#[derive(Debug, Serialize)]
struct Report {
    seconds: f64,
    /// Requests to one recipient over the run, and how many its limit allows in that time.
    to_one_recipient: usize,
    allowed_to_one_recipient: usize,
    /// In any window of one period.
    most_in_one_period: usize,
    /// Between requests to the recipient that is answered with 131056.
    waits_after_131056_ms: Vec<u128>,
    /// To others, over the run: as many as were written, if they hold back nobody.
    to_others: usize,
    written_to_others: usize,
    rate: f64,
    /// Requests of the sender in any second.
    most_in_one_second: usize,
}

/// Runs it and prints what the ledger shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    let broken = report.to_one_recipient > report.allowed_to_one_recipient
        || report.most_in_one_second as f64 > RATE;
    anyhow::ensure!(!broken, "a promise was broken: see the counts above");
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let sender = SenderId::from(SENDER);
    let change = SenderChange {
        rate_per_second: Some(RATE),
        ..SenderChange::default()
    };
    let mut scene = Scene::set(Plan {
        senders: vec![(sender.clone(), change)],
        latency: options.latency(),
        statuses: Statuses::none(),
        settings: super::settings(3_600),
        pooler: options.pooler.map(super::PoolerMode::mode),
        ..Plan::default()
    })
    .await?;
    scene
        .simulator
        .fault_always(LIMITED, Some(Fault::PairLimited));
    enqueue_to(&scene, FAVOURITE, 500).await?;
    enqueue_to(&scene, LIMITED, 20).await?;
    scene.vacuum().await?;

    scene.start_worker(WORKER, "worker")?;
    let ledger = scene.simulator.ledger().clone();
    ledger.wait_for_requests(1).await;
    let from = scene.started.elapsed();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for second in 0..options.seconds {
        seconds.tick().await;
        enqueue_to_others(&scene, second).await?;
    }
    seconds.tick().await;
    let until = scene.started.elapsed();
    let written = (RATE * OTHERS) as usize * options.seconds as usize;
    let report = Report::of(&ledger, from, until, written);
    scene.stop_worker(WORKER).await?;
    scene.strike().await?;
    Ok(report)
}

async fn enqueue_to(scene: &Scene, recipient: &str, messages: i32) -> anyhow::Result<()> {
    sqlx::query(
        r#"insert into wa.outbox (sender, recipient, payload)
           select $1, $2, '{"type":"text","text":{"body":"Your order has shipped"}}' from generate_series(1, $3)"#,
    )
    .bind(SENDER)
    .bind(recipient)
    .bind(messages)
    .execute(scene.store.pool())
    .await?;
    Ok(())
}

/// What goes to others in one second of the run, each to a recipient of its own.
async fn enqueue_to_others(scene: &Scene, second: u32) -> anyhow::Result<()> {
    sqlx::query(
        r#"insert into wa.outbox (sender, recipient, payload)
           select $1, '+1651' || (1000000 + $2 * $3 + n), '{"type":"text","text":{"body":"Your order has shipped"}}'
           from generate_series(1, $3) n"#,
    )
    .bind(SENDER)
    .bind(i32::try_from(second)?)
    .bind((RATE * OTHERS) as i32)
    .execute(scene.store.pool())
    .await?;
    Ok(())
}

impl Report {
    fn of(ledger: &Ledger, from: Duration, until: Duration, written: usize) -> Self {
        let times = |recipient: &str| -> Vec<Duration> {
            let requests = ledger.requests_for(recipient);
            requests
                .iter()
                .map(|entry| entry.at)
                .filter(|at| *at < until)
                .collect()
        };
        let favourite = times(FAVOURITE);
        let first = favourite.first().copied().unwrap_or(until);
        let periods = (until - first).as_secs_f64() / PAIR_PERIOD.as_secs_f64();
        let waits = times(LIMITED);
        let all = ledger.all();
        let to_others = all.iter().filter(|entry| {
            (from..until).contains(&entry.at)
                && entry.recipient != FAVOURITE
                && entry.recipient != LIMITED
        });
        let seconds = (until - from).as_secs_f64();
        Self {
            seconds,
            to_one_recipient: favourite.len(),
            allowed_to_one_recipient: PAIR_BURST + periods as usize,
            most_in_one_period: ledger.max_for_pair_in_any_window(SENDER, FAVOURITE, PAIR_PERIOD),
            waits_after_131056_ms: waits
                .windows(2)
                .map(|two| (two[1] - two[0]).as_millis())
                .collect(),
            to_others: to_others.count(),
            written_to_others: written,
            rate: RATE,
            most_in_one_second: ledger.max_in_any_window(SENDER, Duration::from_secs(1)),
        }
    }

    fn print(&self) {
        println!("pair: {:.0} s at {RATE} a second", self.seconds);
        println!("  to one recipient           {:>8}", self.to_one_recipient);
        println!(
            "  allowed                    {:>8}",
            self.allowed_to_one_recipient
        );
        println!(
            "  most of it in 6 s          {:>8}",
            self.most_in_one_period
        );
        println!(
            "  most of all in 1 s         {:>8}",
            self.most_in_one_second
        );
        println!("  to others                  {:>8}", self.to_others);
        println!("  written to others          {:>8}", self.written_to_others);
        println!(
            "  waits after 131056, ms     {:?}",
            self.waits_after_131056_ms
        );
    }
}
