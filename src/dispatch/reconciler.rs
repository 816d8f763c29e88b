//! Settles attempts whose outcome is unknown.
//!
//! A request that timed out may have been delivered, so it is never simply sent again. Evidence, a status webhook with our
//! token or a late answer, ends its message by itself. What stays silent until its evidence clock has run out is settled by
//! its own policy.
//!
//! Safe to run in every process at once: each settlement is one conditional statement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::dispatcher::Signals;
use super::ownership::Holding;
use crate::domain::id::{Epoch, SenderId};
use crate::store::sweep::{BegunBefore, Place};
use crate::store::uncertain::{Settled, UncertainPolicy};
use crate::store::{Store, StoreError};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Messages that one statement of a search reads.
const SLICE: i64 = 10_000;
/// Slices that one look reads, so that a sender with millions of messages holds nothing else up.
const SLICES_A_LOOK: usize = 20;

/// Settles, and sweeps what earlier holders left.
pub struct Reconciler {
    store: Store,
    policy: UncertainPolicy,
    /// The server has ended every statement after this long.
    statement_ends_in: Duration,
    seen: BTreeMap<SenderId, Epoch>,
    /// Senders that may still have requests of an earlier epoch, or of a begin whose answer was lost.
    searches: BTreeMap<SenderId, Search>,
    /// A begin whose answer was lost may still commit until then: all senders are searched once more.
    search_again_at: Option<Instant>,
    /// What the searches found: swept once its deadline has passed.
    begun: BTreeSet<BegunBefore>,
}

/// A search through the queue of a sender.
struct Search {
    up_to: Epoch,
    after: Place,
}

impl Search {
    fn from_the_front(up_to: Epoch) -> Self {
        Self {
            up_to,
            after: Place::FRONT,
        }
    }
}

impl Reconciler {
    /// With the defaults for senders and messages that do not say, and the time after which the server ends a statement.
    pub fn new(store: Store, policy: UncertainPolicy, statement_ends_in: Duration) -> Self {
        Self {
            store,
            policy,
            statement_ends_in,
            seen: BTreeMap::new(),
            searches: BTreeMap::new(),
            search_again_at: None,
            begun: BTreeSet::new(),
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
            if signals.begin_lost.swap(false, Ordering::AcqRel) {
                self.begin_was_lost();
            }
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
            let (sender, epoch) = (held.held.sender.id(), held.held.epoch);
            if self.seen.insert(sender.clone(), epoch) != Some(epoch) {
                // What this worker begins itself is not searched for.
                let search = Search::from_the_front(Epoch(epoch.0 - 1));
                self.searches.insert(sender, search);
            }
        }
        if self.search_again_at.is_some_and(|at| Instant::now() >= at) {
            self.search_again_at = None;
            self.search_all();
        }
        self.search().await?;
        self.sweep().await?;
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

    /// The answer to a begin was lost: requests may stand in `sending` that nobody makes. They are searched for now, and once
    /// more when the server cannot be at that statement any longer.
    pub fn begin_was_lost(&mut self) {
        self.search_all();
        self.search_again_at = Some(Instant::now() + self.statement_ends_in);
    }

    /// Searches all senders, what this worker has begun included. What somebody does send is recorded before its deadline.
    fn search_all(&mut self) {
        for (sender, epoch) in &self.seen {
            let search = Search::from_the_front(*epoch);
            self.searches.insert(sender.clone(), search);
        }
    }

    /// Goes on with the searches, a few slices.
    async fn search(&mut self) -> Result<(), StoreError> {
        for _ in 0..SLICES_A_LOOK {
            let Some(mut entry) = self.searches.first_entry() else {
                break;
            };
            let (sender, search) = (entry.key().clone(), entry.get_mut());
            let slice = self
                .store
                .find_begun(&sender, search.up_to, search.after, SLICE)
                .await?;
            self.begun.extend(slice.begun);
            match slice.next {
                Some(next) => search.after = next,
                None => {
                    entry.remove();
                }
            }
        }
        Ok(())
    }

    async fn sweep(&mut self) -> Result<(), StoreError> {
        if self.begun.is_empty() {
            return Ok(());
        }
        let swept = self.store.sweep(self.begun.iter()).await?;
        self.begun = swept.remaining.into_iter().collect();
        let mut lost: BTreeMap<&SenderId, usize> = BTreeMap::new();
        for one in &swept.uncertain {
            *lost.entry(&one.sender).or_default() += 1;
        }
        for (sender, count) in lost {
            warn!(
                sender.id = %sender,
                "{count} requests of sender {sender} lost their worker before their answer; they are uncertain now"
            );
        }
        Ok(())
    }
}
