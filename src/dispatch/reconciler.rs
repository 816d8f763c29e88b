//! Settles attempts whose outcome is unknown, and looks after what is overdue.
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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ownership::Holding;
use super::signals::Signals;
use super::telling;
use crate::crash::crash_point;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{Epoch, SenderId};
use crate::domain::outcome::{Doubt, LostAnswer};
use crate::domain::transition::doubt_in_words;
use crate::metrics::Metrics;
use crate::store::claim::EXPIRED_AT_ONCE;
use crate::store::lease::Suspect;
use crate::store::sweep::{BegunBefore, Place};
use crate::store::uncertain::{Settled, UncertainPolicy};
use crate::store::{Store, StoreError};
use crate::tail::Tail;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Messages that one statement of a search reads.
const SLICE: i64 = 10_000;
/// Messages that the searches of one look read, so that a sender with millions of them holds nothing else up.
const READ_A_LOOK: i64 = 10 * SLICE;
/// As many as a slice counts for at least: hundreds of senders have nothing, and to see that takes a statement each.
const SLICE_AT_LEAST: i64 = SLICE / 100;

/// So long one look goes on ending messages that are overdue.
const EXPIRE_FOR: Duration = Duration::from_secs(1);

/// Sequences of one sender that one look examines.
const SEQUENCES_A_LOOK: i32 = 500;

/// Settles, and sweeps what earlier holders left.
pub struct Reconciler {
    store: Store,
    policy: UncertainPolicy,
    metrics: Arc<Metrics>,
    tail: Tail,
    seen: BTreeMap<SenderId, Epoch>,
    /// Senders that may still have requests of an earlier epoch.
    searches: BTreeMap<SenderId, Search>,
    /// What the searches found: swept once its deadline has passed.
    begun: BTreeSet<BegunBefore>,
    /// Messages of begins whose answer was lost, until they have left the queue.
    suspects: BTreeSet<Suspect>,
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
    /// With the defaults for senders and messages that do not say.
    pub fn new(store: Store, policy: UncertainPolicy, metrics: Arc<Metrics>, tail: Tail) -> Self {
        Self {
            store,
            policy,
            metrics,
            tail,
            seen: BTreeMap::new(),
            searches: BTreeMap::new(),
            begun: BTreeSet::new(),
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
            let looked = self.run_once(&held).await;
            telling::unless_done(looked, "look after uncertain messages");
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// One look: sweep the senders that were taken since the last one, expire what is overdue, look after sequences, settle
    /// what stayed silent.
    pub async fn run_once(&mut self, holding: &Holding) -> Result<Settled, StoreError> {
        for held in &holding.senders {
            let (sender, epoch) = (held.held.sender.id(), held.held.epoch);
            if self.seen.insert(sender.clone(), epoch) != Some(epoch) {
                // What this worker begins itself is not searched for.
                let search = Search::from_the_front(Epoch(epoch.0 - 1));
                self.searches.insert(sender, search);
            }
        }
        self.search().await?;
        self.sweep().await?;
        self.sweep_suspects().await?;
        if !self.store.may_conclude().await? {
            // The database has forgotten what was sent, and heard nothing of what was told meanwhile.
            return Ok(Settled::default());
        }
        // Each whatever becomes of the others: a lost answer must not wait for an expiry or a sequence of somebody else.
        telling::unless_done(self.expire_overdue().await, "end what is overdue");
        telling::unless_done(
            self.look_after_sequences(holding).await,
            "look after sequences",
        );
        self.settle_silent().await
    }

    async fn settle_silent(&self) -> Result<Settled, StoreError> {
        let settled = self.store.settle_silent(self.policy).await?;
        if settled != Settled::default() {
            crash_point!("settle.committed");
            self.metrics.settled.resent.inc_by(settled.resent);
            self.metrics.settled.kept.inc_by(settled.kept);
            self.metrics.settled.expired.inc_by(settled.expired);
            self.metrics.messages.expired.inc_by(settled.expired);
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

    /// Ends what is overdue, slice by slice. What was written together often expires together, by the ten thousand; but the rest of the
    /// look is not put off for long.
    async fn expire_overdue(&self) -> Result<(), StoreError> {
        let since = Instant::now();
        loop {
            let expired = self.store.expire_overdue().await?;
            if expired > 0 {
                crash_point!("expire.committed");
            }
            self.metrics.messages.expired.inc_by(expired);
            if expired < EXPIRED_AT_ONCE || since.elapsed() >= EXPIRE_FOR {
                return Ok(());
            }
        }
    }

    /// Deliveries that were not told in time, in sequences of the senders that this worker holds.
    async fn look_after_sequences(&self, holding: &Holding) -> Result<(), StoreError> {
        let senders: Vec<SenderId> = holding
            .senders
            .iter()
            .map(|held| held.held.sender.id())
            .collect();
        let overdue = self
            .store
            .look_after_sequences(&senders, SEQUENCES_A_LOOK)
            .await?;
        if overdue > 0 {
            crash_point!("sequence.looked-after");
            warn!(
                "The deliveries of {overdue} messages that others wait for were not told in time"
            );
        }
        Ok(())
    }

    /// A begin whose answer was lost was taken back, as far as it had been done by then. Where the server came to it later, its
    /// message stands in `sending`, under an epoch that is still current, and nobody sends it: no other sweep finds it.
    async fn sweep_suspects(&mut self) -> Result<(), StoreError> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        let known = self.suspects.iter().cloned().collect::<Vec<_>>();
        let swept = self.store.sweep_suspects(&known).await?;
        let uncertain = swept.uncertain.len() as u64;
        self.metrics.messages.uncertain.inc_by(uncertain);
        if uncertain > 0 {
            warn!(
                "{uncertain} messages were begun when nobody waited for it any more; they are uncertain now"
            );
            self.tail.tell(|at| {
                let event = |one: &Suspect| Event {
                    message: Some(one.id.0),
                    text: Some("it was begun when nobody waited for it any more".to_owned()),
                    ..Event::new(at, EventKind::Uncertain, one.sender.as_str())
                };
                swept.uncertain.iter().map(event).collect::<Vec<_>>()
            });
        }
        self.suspects = swept.remaining;
        Ok(())
    }

    /// Goes on with the searches, for so many messages.
    async fn search(&mut self) -> Result<(), StoreError> {
        let mut read = 0;
        while read < READ_A_LOOK
            && let Some(mut entry) = self.searches.first_entry()
        {
            let (sender, search) = (entry.key().clone(), entry.get_mut());
            let slice = self
                .store
                .find_begun(&sender, search.up_to, search.after, SLICE)
                .await?;
            read += slice.read.max(SLICE_AT_LEAST);
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
        crash_point!("sweep.asked");
        let swept = self.store.sweep(self.begun.iter()).await?;
        crash_point!("sweep.committed");
        self.begun = swept.remaining.into_iter().collect();
        let uncertain = swept.uncertain.len() as u64;
        self.metrics.messages.uncertain.inc_by(uncertain);
        self.tail.tell(|at| {
            let event = |one: &BegunBefore| Event {
                text: Some(doubt_in_words(&Doubt::AnswerLost(LostAnswer::Swept))),
                ..telling::attempt(at, EventKind::Uncertain, &one.sender, one.id, one.attempt)
            };
            swept.uncertain.iter().map(event).collect::<Vec<_>>()
        });
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
