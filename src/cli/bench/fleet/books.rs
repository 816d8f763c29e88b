//! Closes the books of a run: settles what is uncertain, then compares the database with the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::Instant;

use super::super::scene::Scene;
use crate::simulator::{Entry, Status};

/// Settling takes the deadline of the last request, a second of silence and a look; so long at most.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// What became of all messages.
#[derive(Debug, Serialize)]
pub(super) struct Books {
    pub(super) written: u64,
    pub(super) requests: u64,
    pub(super) accepted: u64,
    /// Messages that WhatsApp took more than once.
    pub(super) duplicates: u64,
    /// Messages that are gone, or that database and ledger do not agree about.
    pub(super) lost: u64,
    /// When the workers had stopped.
    pub(super) uncertain_before: u64,
    /// When all was settled.
    pub(super) uncertain_after: u64,
}

impl Books {
    /// Stops the workers, settles, and counts.
    pub(super) async fn close(scene: &mut Scene, written: u64) -> anyhow::Result<Self> {
        let names: Vec<String> = scene.workers.keys().cloned().collect();
        for name in names.iter().filter(|name| *name != "webhooks") {
            scene.stop_worker(name).await?;
        }
        let uncertain_before = unsettled(scene).await?.len() as u64;
        settle(scene).await?;
        let uncertain_after = unsettled(scene).await?.len() as u64;
        let ledger = scene.simulator.ledger();
        let mut taken = BTreeMap::<i64, u64>::new();
        for entry in ledger.accepted() {
            *taken.entry(message_of(&entry)?).or_default() += 1;
        }
        Ok(Self {
            written,
            requests: ledger.request_count(),
            accepted: ledger.accepted_count(),
            duplicates: taken.values().filter(|times| **times > 1).count() as u64,
            lost: lost(scene, &taken, written).await?,
            uncertain_before,
            uncertain_after,
        })
    }
}

/// The message that a request was about, as our token names it (`wo1-MESSAGE-ATTEMPT-…`).
fn message_of(entry: &Entry) -> anyhow::Result<i64> {
    let token = entry.callback_data.as_deref().unwrap_or_default();
    let message = token.split('-').nth(1).and_then(|part| part.parse().ok());
    message.context("a request without a token of ours")
}

/// Messages whose request was begun and whose answer is not known.
async fn unsettled(scene: &Scene) -> anyhow::Result<BTreeSet<i64>> {
    let ids: Vec<i64> = sqlx::query_scalar(
        "select id from wa.uncertain union all select id from wa.queue where state = 'sending'",
    )
    .fetch_all(scene.store.pool())
    .await?;
    Ok(ids.into_iter().collect())
}

/// Evidence for what was accepted; silence for the rest. What was never begun stays where it is.
async fn settle(scene: &mut Scene) -> anyhow::Result<()> {
    let open = unsettled(scene).await?;
    if open.is_empty() {
        return Ok(());
    }
    for entry in scene.simulator.ledger().accepted() {
        if let (true, Some(wamid)) = (open.contains(&message_of(&entry)?), entry.wamid()) {
            scene.simulator.tell(wamid, Status::Sent).await?;
        }
    }
    scene.until_webhooks_are_applied().await?;
    for statement in [
        "update wa.queue set due_at = now() + interval '1 day' where state = 'queued'",
        "update wa.senders set reconcile_window_s = 1",
    ] {
        sqlx::query(statement).execute(scene.store.pool()).await?;
    }
    scene.start_worker("last", "worker")?;
    let since = Instant::now();
    // It must have begun before it can be told to stop.
    let open = "select (select count(*) from wa.uncertain) + (select count(*) from wa.queue where state = 'sending' or due_at <= now())
                + (not exists (select from wa.workers where name = 'last'))::int";
    while since.elapsed() < SETTLED_WITHIN {
        let open: i64 = sqlx::query_scalar(open)
            .fetch_one(scene.store.pool())
            .await?;
        if open == 0 {
            break;
        }
        scene.refuse_dead_workers()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene.stop_worker("last").await?;
    Ok(())
}

/// Rows that are gone, and messages that only one of database and ledger calls accepted.
async fn lost(scene: &Scene, taken: &BTreeMap<i64, u64>, written: u64) -> anyhow::Result<u64> {
    let known: Vec<i64> = sqlx::query_scalar("select id from wa.results where state = 'accepted'")
        .fetch_all(scene.store.pool())
        .await?;
    let known: BTreeSet<i64> = known.into_iter().collect();
    let only_there = taken.keys().filter(|id| !known.contains(id)).count() as u64;
    let only_here = known.iter().filter(|id| !taken.contains_key(id)).count() as u64;
    let counts = scene.store.counts().await?;
    let rows: i64 = counts.iter().map(|count| count.messages).sum();
    Ok(written.saturating_sub(rows.try_into()?) + only_there + only_here)
}
