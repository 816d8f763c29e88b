//! Sends what is due, for every sender this worker holds.
//!
//! One loop, one tick: read ahead where a desk is low, pick what may leave, begin all of it in one statement, let the requests
//! go. Nothing leaves that is not begun, and nothing is begun that may not leave now.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::desk::{Desk, DeskSettings};
use super::ownership::Holding;
use super::recorder::RecorderQueue;
use super::sending::{Errand, LEAVE_WITHIN, Returned, Sending};
use crate::clock::BootInstant;
use crate::domain::id::{MessageId, SenderId};
use crate::domain::outcome::{HoldScope, Outcome, ThrottleScope};
use crate::domain::transition::in_words;
use crate::store::claim::{Claim, Due};
use crate::store::lease::{Suspect, WorkerId};
use crate::store::{Store, StoreError};

/// How the loop turns.
#[derive(Clone, Copy, Debug)]
pub struct DispatchSettings {
    /// Between two ticks while there is work.
    pub tick: Duration,
    /// Between two looks while there is none.
    pub idle_poll: Duration,
    /// After this long no answer can come any more.
    pub answer_due_in: Duration,
    /// No new request while so many outcomes wait to be written.
    pub max_unwritten: usize,
    /// How desks read.
    pub desk: DeskSettings,
}

/// From time to time a desk reads from the front again.
const RESCAN_EVERY: Duration = Duration::from_millis(250);
/// After this long without work the worker says that it sleeps, so that an INSERT wakes it.
const AWAKE_FOR: Duration = Duration::from_secs(1);
/// While the database does not answer.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// Recipients whose limit is free again are forgotten this often.
const FORGET_PAIRS_EVERY: Duration = Duration::from_secs(60);

/// What the dispatcher and its surroundings tell each other.
#[derive(Default)]
pub struct Signals {
    /// There may be new messages: look now.
    pub woken: Notify,
    /// Messages of begins whose answer was lost.
    suspects: Mutex<Vec<Suspect>>,
}

impl Signals {
    /// These may come to stand in `sending` without anybody who sends them.
    fn suspect(&self, claims: &[Claim]) {
        let suspects = claims.iter().map(|claim| Suspect {
            id: claim.id,
            sender: claim.sender.clone(),
        });
        self.suspects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(suspects);
    }

    /// The suspects that have come up since this was asked last.
    pub fn new_suspects(&self) -> Vec<Suspect> {
        std::mem::take(&mut *self.suspects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends what is due.
pub struct Dispatcher {
    store: Store,
    settings: DispatchSettings,
    sending: Arc<Sending>,
    holding: watch::Receiver<Arc<Holding>>,
    recorder: RecorderQueue,
    signals: Arc<Signals>,
    worker: Option<WorkerId>,
    desks: HashMap<SenderId, Desk>,
    in_flight: TaskTracker,
    returns: mpsc::UnboundedReceiver<Return>,
    returns_to: mpsc::UnboundedSender<Return>,
    lost_begins: Vec<Claim>,
    last_work: Instant,
    asleep: bool,
    forget_pairs_at: Instant,
}

/// What the loop learns when a request is over.
struct Return {
    sender: SenderId,
    recipient: String,
    outcome: Outcome,
}

impl Dispatcher {
    /// A dispatcher that holds nothing yet.
    pub fn new(
        store: Store,
        settings: DispatchSettings,
        sending: Arc<Sending>,
        holding: watch::Receiver<Arc<Holding>>,
        recorder: RecorderQueue,
        signals: Arc<Signals>,
    ) -> Self {
        let (returns_to, returns) = mpsc::unbounded_channel();
        let now = Instant::now();
        Self {
            store,
            settings,
            sending,
            holding,
            recorder,
            signals,
            worker: None,
            desks: HashMap::new(),
            in_flight: TaskTracker::new(),
            returns,
            returns_to,
            lost_begins: Vec::new(),
            last_work: now,
            asleep: false,
            forget_pairs_at: now + FORGET_PAIRS_EVERY,
        }
    }

    /// Runs until `stop`; then begins nothing more and waits until every request that is out has its answer.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.tick().await {
                Ok(pause) => pause,
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not look for due messages; trying again"
                    );
                    TRY_AGAIN
                }
            };
            self.rest(pause, &stop).await;
        }
        self.in_flight.close();
        let out = self.in_flight.len();
        if out > 0 {
            info!("Stopping: waiting for the answers to {out} requests");
        }
        self.in_flight.wait().await;
    }

    async fn rest(&mut self, pause: Duration, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            () = self.signals.woken.notified(), if self.asleep => self.look_soon(),
            Ok(()) = self.holding.changed() => {}
            // While it works, requests that come back are taken in by the next tick, a few at a time.
            Some(returned) = self.returns.recv(), if self.asleep => self.take_back(returned),
        }
    }

    /// The next tick reads for every desk, whenever that was done last.
    fn look_soon(&mut self) {
        let now = Instant::now();
        self.desks.values_mut().for_each(|desk| desk.look_soon(now));
    }

    /// One look at everything. Says how long to rest.
    async fn tick(&mut self) -> Result<Duration, StoreError> {
        self.take_up_holding();
        while let Ok(returned) = self.returns.try_recv() {
            self.take_back(returned);
        }
        let Some(worker) = self.worker else {
            return Ok(self.settings.idle_poll);
        };
        self.return_lost_begins(worker).await?;
        if self.recorder.unwritten() > self.settings.max_unwritten {
            return Ok(TRY_AGAIN);
        }
        self.read_ahead().await?;
        let begun = self.send_what_may_leave(worker).await?;
        self.forget_idle_pairs();
        self.rest_until_next(worker, begun).await
    }

    fn take_up_holding(&mut self) {
        let holding = Arc::clone(&self.holding.borrow_and_update());
        let (now, wall) = (Instant::now(), self.sending.clock.now());
        if self.worker != holding.worker {
            self.desks.clear();
            self.lost_begins.clear();
            self.asleep = false;
            self.worker = holding.worker;
        }
        let held: HashSet<SenderId> = holding
            .senders
            .iter()
            .map(|held| held.held.sender.id())
            .collect();
        self.desks.retain(|sender, _| held.contains(sender));
        for held in &holding.senders {
            let sender = held.held.sender.id();
            match self.desks.get_mut(&sender) {
                Some(desk) if desk.epoch == held.held.epoch => {
                    desk.take_up(held, self.settings.desk, now, wall)
                }
                _ => {
                    info!(sender.id = %sender, "Working sender {sender} (epoch {})", held.held.epoch.0);
                    self.desks
                        .insert(sender, Desk::new(held, self.settings.desk, now, wall));
                }
            }
        }
    }

    /// Reads for all desks that want to, in one statement.
    async fn read_ahead(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        let asks: Vec<_> = self
            .desks
            .values_mut()
            .flat_map(|desk| desk.asks(now, RESCAN_EVERY))
            .collect();
        if asks.is_empty() {
            return Ok(());
        }
        let mut found: HashMap<(SenderId, i16), Vec<Due>> = HashMap::new();
        for due in self.store.read_ahead(&asks).await? {
            found
                .entry((due.sender.clone(), due.priority))
                .or_default()
                .push(due);
        }
        let look_again_in = if self.asleep {
            self.settings.idle_poll
        } else {
            self.settings.tick
        };
        for ask in &asks {
            let due = found
                .remove(&(ask.sender.clone(), ask.priority))
                .unwrap_or_default();
            if let Some(desk) = self.desks.get_mut(&ask.sender) {
                desk.take_in(ask, due, now, look_again_in);
            }
        }
        Ok(())
    }

    /// Begins and sends. Says how many.
    async fn send_what_may_leave(&mut self, worker: WorkerId) -> Result<usize, StoreError> {
        let (now, wall) = (Instant::now(), self.sending.clock.now());
        let asked_at = self.sending.clock.boot();
        if !self.sending.trust.holds_at(asked_at) {
            return Ok(0);
        }
        let (mut leaving, mut put_off) = (Vec::new(), Vec::new());
        for desk in self.desks.values_mut() {
            let picked = desk.pick(now, wall);
            leaving.extend(picked.leaving);
            put_off.extend(picked.put_off);
        }
        let begun = if leaving.is_empty() {
            0
        } else {
            self.begin_and_send(worker, leaving, asked_at).await?
        };
        if !put_off.is_empty() {
            self.store
                .put_off(
                    &put_off,
                    "this recipient's limit: too many messages in a short time",
                )
                .await?;
        }
        Ok(begun)
    }

    async fn begin_and_send(
        &mut self,
        worker: WorkerId,
        leaving: Vec<Due>,
        asked_at: BootInstant,
    ) -> Result<usize, StoreError> {
        let claims: Vec<Claim> = leaving.iter().filter_map(|due| self.claim(due)).collect();
        // Under the lease as it is now. If that lapses before the answer comes, another may hold the sender by then, and a
        // renewal that succeeds afterwards is a renewal of nothing.
        let leave_by = (asked_at + LEAVE_WITHIN).min(self.sending.trust.ends_at());
        let begun = match self
            .store
            .begin(worker, &claims, self.settings.answer_due_in)
            .await
        {
            Ok(begun) => begun,
            Err(error) => {
                // It may have been committed all the same. Nothing of it is sent; it is taken back before anything else. And it
                // may be committed later still: that is looked after by the reconciler.
                self.signals.suspect(&claims);
                self.lost_begins.extend(claims);
                return Err(error);
            }
        };
        let count = begun.len();
        let mut by_id: HashMap<MessageId, Due> =
            leaving.into_iter().map(|due| (due.id, due)).collect();
        for one in begun {
            if let Some(due) = by_id.remove(&one.id) {
                self.let_go(due, one, leave_by);
            }
        }
        for gone in by_id.into_values() {
            if let Some(desk) = self.desks.get_mut(&gone.sender) {
                desk.forget(gone.id);
            }
        }
        Ok(count)
    }

    fn claim(&self, due: &Due) -> Option<Claim> {
        let desk = self.desks.get(&due.sender)?;
        Some(Claim {
            id: due.id,
            sender: due.sender.clone(),
            epoch: desk.epoch,
        })
    }

    fn let_go(&mut self, due: Due, begun: crate::store::claim::Begun, leave_by: BootInstant) {
        let Some(desk) = self.desks.get_mut(&due.sender) else {
            return;
        };
        desk.forget(due.id);
        let Some(endpoint) = desk.endpoint.clone() else {
            return;
        };
        desk.in_flight += 1;
        let pair_strikes = desk.throttle.pair_refusals(&due.recipient);
        let errand = Errand {
            due,
            begun,
            endpoint,
            leave_by,
            pair_strikes,
        };
        let (sending, recorder, returns) = (
            Arc::clone(&self.sending),
            self.recorder.clone(),
            self.returns_to.clone(),
        );
        self.in_flight.spawn(async move {
            let Returned {
                outcome,
                recipient,
                record,
            } = sending.send(errand).await;
            let sender = record.sender.clone();
            recorder.push(record);
            // The loop may have ended: then nobody needs to know.
            let _ = returns.send(Return {
                sender,
                recipient,
                outcome,
            });
        });
    }

    /// A request is over: its place is free, and its sender may have learned something.
    fn take_back(&mut self, returned: Return) {
        self.last_work = Instant::now();
        let Return {
            sender,
            recipient,
            outcome,
        } = returned;
        let Some(desk) = self.desks.get_mut(&sender) else {
            return;
        };
        desk.in_flight = desk.in_flight.saturating_sub(1);
        let now = Instant::now();
        match outcome {
            Outcome::Throttled {
                scope: ThrottleScope::Account,
                retry_after,
                ..
            } => {
                let credential = desk.credential.clone();
                for desk in self
                    .desks
                    .values_mut()
                    .filter(|desk| desk.credential == credential)
                {
                    desk.throttle.learn_throttled(
                        ThrottleScope::Account,
                        &recipient,
                        retry_after,
                        now,
                    );
                }
            }
            Outcome::Throttled {
                scope: scope @ (ThrottleScope::Sender | ThrottleScope::Pair),
                retry_after,
                ..
            } => desk
                .throttle
                .learn_throttled(scope, &recipient, retry_after, now),
            Outcome::Accepted(_) => desk.throttle.learn_accepted(&recipient, now),
            Outcome::Held {
                scope: HoldScope::Sender,
                error,
            } => {
                desk.hold(now);
                self.hold_sender(sender, in_words(&error));
            }
            Outcome::Rejected(_)
            | Outcome::NotSent(_)
            | Outcome::Held {
                scope: HoldScope::Template,
                ..
            }
            | Outcome::Transient { .. }
            | Outcome::Uncertain(_) => {}
        }
    }

    /// Holds a sender in the database, beside the loop: sending has stopped for it already.
    fn hold_sender(&self, sender: SenderId, reason: String) {
        warn!(sender.id = %sender, "Sender {sender} held: {reason}; release it with: wa-outbox sender release {sender}");
        let store = self.store.clone();
        self.in_flight.spawn(async move {
            if let Err(error) = store.hold_sender(&sender, &reason, "wa-outbox", None).await {
                // The next message finds the cause again and holds it then.
                warn!(sender.id = %sender, error = &error as &dyn std::error::Error, "Could not write the hold of sender {sender}");
            }
        });
    }

    /// Takes back what a failed begin may have written: it was never sent.
    async fn return_lost_begins(&mut self, worker: WorkerId) -> Result<(), StoreError> {
        if self.lost_begins.is_empty() {
            return Ok(());
        }
        let returned = self.store.take_back(worker, &self.lost_begins).await?;
        debug!(
            "{returned} messages were begun by a statement whose answer was lost; they are queued again"
        );
        for claim in std::mem::take(&mut self.lost_begins) {
            if let Some(desk) = self.desks.get_mut(&claim.sender) {
                desk.forget(claim.id);
            }
        }
        Ok(())
    }

    fn forget_idle_pairs(&mut self) {
        let now = Instant::now();
        if now >= self.forget_pairs_at {
            self.forget_pairs_at = now + FORGET_PAIRS_EVERY;
            self.desks
                .values_mut()
                .for_each(|desk| desk.throttle.forget_idle(now));
        }
    }

    /// How long to rest; falls asleep, and says so, when there has been nothing to do for a while.
    async fn rest_until_next(
        &mut self,
        worker: WorkerId,
        begun: usize,
    ) -> Result<Duration, StoreError> {
        let now = Instant::now();
        let idle = begun == 0 && self.desks.values().all(Desk::is_idle);
        if !idle {
            self.last_work = now;
        }
        let sleepy = now - self.last_work >= AWAKE_FOR;
        if sleepy != self.asleep {
            self.store.set_asleep(worker, sleepy).await?;
            self.asleep = sleepy;
            // Whoever inserted before it was said has not called: one more look, at once.
            self.look_soon();
            return Ok(Duration::ZERO);
        }
        Ok(if self.asleep {
            self.settings.idle_poll
        } else {
            self.settings.tick
        })
    }
}
