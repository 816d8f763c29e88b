//! Settles attempts whose outcome is unknown.
//!
//! A request that timed out may have been delivered, so it is never simply sent again. Evidence, a status webhook with our
//! token or a late answer, ends its message by itself. What stays silent until its evidence clock has run out is settled by
//! its own policy.
//!
//! Safe to run in every process at once: each settlement is one conditional statement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::dispatcher::Signals;
use super::ownership::Holding;
use crate::domain::id::Epoch;
use crate::store::lease::Suspect;
use crate::store::uncertain::{Settled, UncertainPolicy};
use crate::store::{Store, StoreError};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Settles, and sweeps what earlier holders left.
pub struct Reconciler {
    store: Store,
    policy: UncertainPolicy,
    /// Senders that may still have requests of an earlier epoch.
    to_sweep: BTreeMap<String, Epoch>,
    seen: BTreeMap<String, Epoch>,
    /// Messages of begins whose answer was lost, until they have left the queue.
    suspects: BTreeSet<Suspect>,
}

impl Reconciler {
    /// With the defaults for senders and messages that do not say.
    pub fn new(store: Store, policy: UncertainPolicy) -> Self {
        Self {
            store,
            policy,
            to_sweep: BTreeMap::new(),
            seen: BTreeMap::new(),
            suspects: BTreeSet::new(),
        }
    }

    /// Looks every second until it is stopped.
    pub async fn run(
        mut self,
        holding: watch::Receiver<Arc<Holding>>,
        signals: Arc<Signals>,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            self.suspects.extend(signals.new_suspects());
            let held = Arc::clone(&holding.borrow());
            if let Err(error) = self.run_once(&held).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not look after uncertain messages; trying again"
                );
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// One look: sweep the senders that were taken since the last one, expire what is overdue, settle what stayed silent.
    pub async fn run_once(&mut self, holding: &Holding) -> Result<Settled, StoreError> {
        for held in &holding.senders {
            let sender = &held.held.sender.sender;
            if self.seen.insert(sender.clone(), held.held.epoch) != Some(held.held.epoch) {
                self.to_sweep.insert(sender.clone(), held.held.epoch);
            }
        }
        self.sweep().await?;
        self.sweep_suspects().await?;
        self.store.expire_overdue().await?;
        let settled = self.store.settle_silent(self.policy).await?;
        if settled != Settled::default() {
            info!(
                resent = settled.resent,
                kept = settled.kept,
                expired = settled.expired,
                "Settled uncertain messages by policy: {} sent again, {} left to a person, {} expired",
                settled.resent,
                settled.kept,
                settled.expired
            );
        }
        Ok(settled)
    }

    /// A begin whose answer was lost was taken back, as far as it had been done by then. Where the server came to it later, its
    /// message stands in `sending`, under an epoch that is still current, and nobody sends it: no other sweep finds it.
    async fn sweep_suspects(&mut self) -> Result<(), StoreError> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        let known = self.suspects.iter().cloned().collect::<Vec<_>>();
        let swept = self.store.sweep_suspects(&known).await?;
        if swept.uncertain > 0 {
            warn!(
                "{} messages were begun when nobody waited for it any more; they are uncertain now",
                swept.uncertain
            );
        }
        self.suspects = swept.remaining;
        Ok(())
    }

    async fn sweep(&mut self) -> Result<(), StoreError> {
        let mut done = Vec::new();
        for (sender, epoch) in &self.to_sweep {
            let swept = self.store.sweep(sender, *epoch).await?;
            if swept.uncertain > 0 {
                warn!(
                    sender.id = sender,
                    "{} requests of sender {sender} lost their worker before their answer; they are uncertain now",
                    swept.uncertain
                );
            }
            if swept.remaining == 0 {
                done.push(sender.clone());
            }
        }
        for sender in done {
            self.to_sweep.remove(&sender);
        }
        Ok(())
    }
}
