//! `bench flat`: whether a message costs the same however many wait, however long a transaction of somebody else stays open, and after
//! however many have passed.
//!
//! Messages pass through the database by the statements of a worker, without requests in between ([`super::passing`]), so nothing hides
//! what the database does. As many are written as pass, so the backlog stays as it is.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::Options;
use super::measured::{Limit, Measured, Spread, Target, print};
use super::passing::{Passed, Passing};
use super::scene::{Plan, Scene};
use crate::domain::id::SenderId;
use crate::simulator::Statuses;
use crate::store::sender::SenderChange;

const FEW: u32 = 10_000;
/// Pass in one part of a run; as many are written before.
const PART: u32 = 10_000;
/// Pass for one figure.
const RUN: u32 = 100_000;
/// Pass while a transaction is open.
const HELD: u32 = 500_000;
/// Pass for the figure of what is left behind.
const LONG: u32 = 2_000_000;
const ROUNDS: usize = 3;
/// Written by one statement of the backlog.
const WRITTEN_AT_ONCE: u32 = 500_000;
/// Senders that have nothing to do but are held.
const SENDERS: u32 = 500;
/// So long the worker runs whose memory is measured.
const WORKS_FOR: Duration = Duration::from_secs(20);

/// A table and its indexes, in bytes.
async fn size_of(scene: &Scene, tables: &str) -> anyhow::Result<f64> {
    let size = format!(
        "select sum(pg_total_relation_size(t))::float8 from unnest(array[{tables}]::regclass[]) t"
    );
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(size))
        .fetch_one(scene.store.pool())
        .await?)
}

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let scaled = |messages: u32| ((f64::from(messages) * options.scale) as u32).max(PART);
    let sender = SenderId::from(super::SENDER);
    let mut scene = stage().await?;
    let mut measured = Vec::new();

    write(&scene, &sender, FEW).await?;

    options.say(&format!("{} pass", scaled(LONG)));
    measured.push(growth(&scene, &sender, scaled(LONG)).await?);

    // After these, so that what has passed is the same for few and for many.
    options.say(&format!("{} pass, {FEW} queued", scaled(RUN)));
    let mut few = Vec::new();
    for _ in 0..ROUNDS {
        few.push(pass(&scene, &sender, scaled(RUN)).await?);
    }

    options.say(&format!(
        "{} pass while a transaction is held open",
        scaled(HELD)
    ));
    let held = pass_held(&scene, &sender, scaled(HELD)).await?;
    measured.extend(held_open(&few, &held));

    options.say(&format!("writing {} messages that wait", options.messages));
    write(&scene, &sender, options.messages.saturating_sub(FEW)).await?;
    options.say(&format!(
        "{} pass, {} queued",
        scaled(RUN),
        options.messages
    ));
    let mut many = Vec::new();
    for _ in 0..ROUNDS {
        many.push(pass(&scene, &sender, scaled(RUN)).await?);
    }
    measured.extend(backlog(options.messages, &few, &many));

    options.say(&format!(
        "a worker sends, {} queued, {SENDERS} senders held",
        options.messages
    ));
    measured.push(memory(&mut scene, options).await?);
    scene.strike().await?;
    options.tell(&measured, |measured| print(measured))?;
    Ok(())
}

async fn stage() -> anyhow::Result<Scene> {
    let fast = SenderChange {
        rate_per_second: Some(1_000.0),
        pair_period_ms: Some(0),
        ..SenderChange::default()
    };
    Scene::set(Plan {
        senders: vec![(SenderId::from(super::SENDER), fast)],
        statuses: Statuses::none(),
        settings: super::settings(5),
        ..Plan::default()
    })
    .await
}

/// Messages that wait, and what autovacuum would have done by then.
async fn write(scene: &Scene, sender: &SenderId, messages: u32) -> anyhow::Result<()> {
    let mut left = messages;
    while left > 0 {
        let now = left.min(WRITTEN_AT_ONCE);
        scene.enqueue(sender, now).await?;
        left -= now;
    }
    scene.vacuum().await
}

/// Lets messages pass, part by part; what is written in between is not counted.
async fn pass(scene: &Scene, sender: &SenderId, messages: u32) -> anyhow::Result<Passed> {
    let mut passing = Passing::of(scene, sender.clone()).await?;
    let mut passed = Passed::default();
    while passed.messages < u64::from(messages) {
        scene.enqueue(sender, PART).await?;
        passed.add(passing.pass(scene, PART.into()).await?);
    }
    passing.end().await?;
    Ok(passed)
}

/// The same while somebody holds a transaction open that has seen everything, and written: nothing can be vacuumed away. In tenths.
async fn pass_held(scene: &Scene, sender: &SenderId, messages: u32) -> anyhow::Result<Vec<Passed>> {
    let mut connection = PgConnection::connect(scene.database_url()).await?;
    let mut open = connection.begin().await?;
    for statement in [
        "set transaction isolation level repeatable read",
        "select pg_current_xact_id()",
        "select count(*) from wa.queue",
    ] {
        sqlx::raw_sql(statement).execute(&mut *open).await?;
    }
    let mut tenths = Vec::new();
    for _ in 0..10 {
        tenths.push(pass(scene, sender, messages / 10).await?);
    }
    open.rollback().await?;
    scene.vacuum().await?;
    Ok(tenths)
}

fn held_open(free: &[Passed], held: &[Passed]) -> Vec<Measured> {
    let last = held.last().cloned().unwrap_or_default();
    let messages: u64 = held.iter().map(|tenth| tenth.messages).sum();
    let compare = |what: &str, unit, figure: fn(&Passed) -> f64| {
        let before = Spread::of(free.iter().map(figure));
        Measured::new(
            what,
            unit,
            Spread::of([figure(&last)]),
            Target::AtMost(1.5 * before.median),
            vec![Limit {
                what: "nothing held",
                unit,
                figure: before,
            }],
            format!(
                "the last tenth of {messages}; the first was {:.2}",
                held.first().map_or(f64::NAN, figure)
            ),
        )
    };
    vec![
        compare(
            "claim p99, a transaction held open",
            "ms",
            Passed::claim_p99_ms,
        ),
        compare(
            "Postgres, a transaction held open",
            "µs/message",
            Passed::postgres_us,
        ),
    ]
}

fn backlog(messages: u32, few: &[Passed], many: &[Passed]) -> Vec<Measured> {
    let compare = |what: String, unit, figure: fn(&Passed) -> f64| {
        let before = Spread::of(few.iter().map(figure));
        let figure = Spread::of(many.iter().map(figure));
        Measured::new(
            what,
            unit,
            figure,
            Target::AtMost(1.2 * before.median),
            vec![Limit {
                what: "10,000 queued",
                unit,
                figure: before,
            }],
            format!(
                "{:.2} times what it is with 10,000 queued",
                figure.median / before.median
            ),
        )
    };
    vec![
        compare(
            format!("claim p50, {messages} queued"),
            "ms",
            Passed::claim_p50_ms,
        ),
        compare(
            format!("claim p99, {messages} queued"),
            "ms",
            Passed::claim_p99_ms,
        ),
        compare(
            format!("Postgres, {messages} queued"),
            "µs/message",
            Passed::postgres_us,
        ),
    ]
}

/// What messages leave behind that have passed.
async fn growth(scene: &Scene, sender: &SenderId, messages: u32) -> anyhow::Result<Measured> {
    let tables = "'wa.outbox', 'wa.results'";
    let (kept, queue) = (
        size_of(scene, tables).await?,
        size_of(scene, "'wa.queue'").await?,
    );
    let long = pass(scene, sender, messages).await?;
    let (kept_after, queue_after) = (
        size_of(scene, tables).await?,
        size_of(scene, "'wa.queue'").await?,
    );
    let bare = rows_of(scene).await?;
    Ok(Measured::new(
        "growth of what is kept of a message",
        "bytes",
        Spread::of([(kept_after - kept) / long.messages as f64]),
        Target::AtMost(bare * 1.1),
        vec![Limit {
            what: "the same rows, written anew",
            unit: "bytes",
            figure: Spread::of([bare]),
        }],
        format!(
            "over {} messages; the queue was {:.1} MiB before and {:.1} MiB after",
            long.messages,
            queue / 1_048_576.0,
            queue_after / 1_048_576.0
        ),
    ))
}

/// What a row of each of these tables takes when they are written anew, without a gap.
async fn rows_of(scene: &Scene) -> anyhow::Result<f64> {
    let mut bytes = 0.0;
    for table in ["outbox", "results"] {
        scene
            .run_sql(&format!(
                "create table public.bench_anew (like wa.{table} including indexes including storage); \
                 insert into public.bench_anew overriding system value select * from wa.{table} order by id limit 200000"
            ))
            .await?;
        let size: f64 = sqlx::query_scalar(
            "select pg_total_relation_size('public.bench_anew')::float8 / nullif((select count(*) from public.bench_anew), 0)",
        )
        .fetch_one(scene.store.pool())
        .await?;
        bytes += size;
        scene.run_sql("drop table public.bench_anew").await?;
    }
    Ok(bytes)
}

async fn memory(scene: &mut Scene, options: &Options) -> anyhow::Result<Measured> {
    scene
        .run_sql(&format!(
            "insert into wa.senders (sender, base_url, credential) select '2065403522' || (10000 + n), base_url, credential
             from wa.senders, generate_series(2, {SENDERS}) n where sender = '{}'",
            super::SENDER
        ))
        .await?;
    scene.start_worker("worker", "worker,webhook,admin")?;
    tokio::time::sleep(WORKS_FOR).await;
    let sent = scene.simulator.ledger().request_count();
    anyhow::ensure!(sent > 0, "the worker has sent nothing");
    let used = scene.stop_worker("worker").await?;
    Ok(Measured::new(
        format!(
            "memory of the worker, {} queued, {SENDERS} senders",
            options.messages
        ),
        "MiB",
        Spread::of([used.peak_mib]),
        Target::AtMost(64.0),
        Vec::new(),
        format!("at most, resident, in {WORKS_FOR:?} in which it sent {sent} messages"),
    ))
}
