//! Messages that pass through the database as a worker takes them, without a request in between: read ahead, begun and accepted, a
//! batch at a time, by the statements of the worker itself. What it takes and costs is the database's alone.

use std::time::Duration;

use anyhow::Context as _;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::measured::Times;
use super::scene::Scene;
use crate::domain::id::{Epoch, SenderId, Wamid};
use crate::domain::outcome::Acceptance;
use crate::domain::transition::Transition;
use crate::store::Store;
use crate::store::claim::{Ask, Claim};
use crate::store::front::rest_after;
use crate::store::lease::WorkerId;
use crate::store::record::Record;

/// Messages that are read, begun and recorded at once.
const BATCH: i64 = 100;
/// Longer than any of this takes.
const LEASE: Duration = Duration::from_secs(24 * 60 * 60);
const PRIORITY: i16 = 5;
/// From time to time it is read from the front again, as a worker does.
const RESCAN_EVERY: Duration = Duration::from_millis(250);

/// A worker of one sender that sends nothing.
pub(super) struct Passing {
    store: Store,
    sender: SenderId,
    worker: WorkerId,
    epoch: Epoch,
    after: (OffsetDateTime, i64),
    rescan_at: Instant,
}

/// What the passing of some messages took.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    pub(super) messages: u64,
    /// Of each claim: read ahead and begun.
    pub(super) claims: Vec<Duration>,
    pub(super) took: Duration,
    pub(super) postgres_cpu_ms: f64,
    pub(super) wal_bytes: f64,
}

impl Passing {
    pub(super) async fn of(scene: &Scene, sender: SenderId) -> anyhow::Result<Self> {
        let store = scene.store_of_a_worker().await?;
        let worker = store.register_worker("bench", LEASE).await?;
        store.take_senders(worker).await?;
        let held = store.held_senders(worker).await?;
        let held = held.into_iter().find(|held| held.sender.id() == sender);
        let epoch = held.context("the sender is not held")?.epoch;
        Ok(Self {
            store,
            sender,
            worker,
            epoch,
            after: (OffsetDateTime::UNIX_EPOCH, 0),
            rescan_at: Instant::now() + RESCAN_EVERY,
        })
    }

    /// Lets so many messages pass.
    pub(super) async fn pass(&mut self, scene: &Scene, messages: u64) -> anyhow::Result<Passed> {
        let (before, started) = (scene.usage().await?, Instant::now());
        let mut passed = Passed::default();
        while passed.messages < messages {
            let ended = self.pass_batch(&mut passed.claims).await?;
            anyhow::ensure!(ended > 0, "nothing is left to pass");
            passed.messages += ended;
        }
        passed.took = started.elapsed();
        let after = scene.usage().await?;
        passed.postgres_cpu_ms = after.postgres_cpu_ms - before.postgres_cpu_ms;
        passed.wal_bytes = after.wal_bytes - before.wal_bytes;
        Ok(passed)
    }

    async fn pass_batch(&mut self, claims: &mut Vec<Duration>) -> anyhow::Result<u64> {
        let asked_at = Instant::now();
        let rescans = asked_at >= self.rescan_at;
        let after = match rescans {
            true => (OffsetDateTime::UNIX_EPOCH, 0),
            false => self.after,
        };
        let ask = Ask {
            sender: self.sender.clone(),
            campaign: 0,
            priority: PRIORITY,
            after,
            limit: BATCH,
            known: 0,
        };
        let due = self.store.read_ahead(&[ask], &[]).await?;
        if rescans {
            let now = Instant::now();
            self.rescan_at = now + RESCAN_EVERY.max(rest_after(now - asked_at));
        }
        if let Some(last) = due.last() {
            self.after = (last.due_at, last.id.0);
        }
        let claim = |due: &crate::store::claim::Due| Claim {
            id: due.id,
            sender: due.sender.clone(),
            epoch: self.epoch,
            attempt: due.next_attempt(),
        };
        let wanted: Vec<Claim> = due.iter().map(claim).collect();
        let begun = self.store.begin(self.worker, &wanted, LEASE).await?;
        claims.push(asked_at.elapsed());
        let record = |begun: &crate::store::claim::Begun| Record {
            id: begun.id,
            sender: self.sender.clone(),
            attempt: begun.attempt,
            begun_at: begun.begun_at,
            era: begun.era,
            transition: Transition::Accept(acceptance(begun.id.0)),
            account: None,
        };
        let records: Vec<Record> = begun.iter().map(record).collect();
        self.store.record(&records).await?;
        Ok(records.len() as u64)
    }

    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.store.leave(self.worker, LEASE).await?;
        self.store.close().await;
        Ok(())
    }
}

/// As long as WhatsApp's, and in no order, as WhatsApp's.
fn acceptance(id: i64) -> Acceptance {
    let digest = (id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Acceptance {
        wamid: Some(Wamid::from(format!(
            "wamid.{digest:016X}HBgLMTY1MDU1NTEyMzQVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"
        ))),
        wa_id: Some(format!("1650{id:07}")),
        message_status: None,
        http_status: Some(200),
    }
}

impl Passed {
    pub(super) fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.claims.extend(more.claims);
        self.took += more.took;
        self.postgres_cpu_ms += more.postgres_cpu_ms;
        self.wal_bytes += more.wal_bytes;
    }

    pub(super) fn per_second(&self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64()
    }

    pub(super) fn postgres_us(&self) -> f64 {
        self.postgres_cpu_ms * 1_000.0 / self.messages as f64
    }

    pub(super) fn claim_p99_ms(&self) -> f64 {
        Times::of(self.claims.clone()).percentile_ms(99.0)
    }

    pub(super) fn claim_p50_ms(&self) -> f64 {
        Times::of(self.claims.clone()).percentile_ms(50.0)
    }
}
