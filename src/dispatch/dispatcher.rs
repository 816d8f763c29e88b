//! Sends what is due, for every sender this worker holds.
//!
//! One loop. It reads ahead where a desk is low, begins in one statement what may leave within the next moment, and lets go
//! what is begun at the pace of its sender. Nothing leaves that is not begun, and the loop itself never waits for the database:
//! while a statement is under way, requests go on leaving at their times.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::beginning::Beginning;
use super::breaker::Breakers;
use super::departures::Departures;
use super::desk::{Chosen, Desk, DeskSettings};
use super::given_up::GivenUp;
use super::ownership::Holding;
use super::recorder::RecorderQueue;
use super::resting::OnTrial;
use super::scouting::Scout;
use super::sending::{Answered, DueFor, Errand, Returned, Sending, WayOut};
use super::signals::Signals;
use crate::domain::hold::Mismatches;
use crate::domain::id::{Epoch, MessageId, SenderId};
use crate::store::claim::{Ask, Claim, Due};
use crate::store::lease::WorkerId;
use crate::store::{Store, StoreError};

/// How the loop turns.
#[derive(Clone, Copy, Debug)]
pub struct DispatchSettings {
    /// Between two turns while there is work.
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

/// While the database does not answer.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(250);
/// Recipients whose limit is free again are forgotten this often.
const FORGET_PAIRS_EVERY: Duration = Duration::from_secs(60);
/// How the senders go is said this often.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Sends what is due.
pub struct Dispatcher {
    pub(super) store: Store,
    pub(super) settings: DispatchSettings,
    pub(super) sending: Arc<Sending>,
    pub(super) holding: watch::Receiver<Arc<Holding>>,
    pub(super) recorder: RecorderQueue,
    pub(super) departures: Departures,
    pub(super) signals: Arc<Signals>,
    pub(super) taken_up: Arc<Holding>,
    pub(super) worker: Option<WorkerId>,
    pub(super) desks: HashMap<SenderId, Desk>,
    pub(super) given_up: GivenUp,
    pub(super) breakers: Breakers,
    pub(super) mismatches: Mismatches,
    pub(super) in_flight: TaskTracker,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    pub(super) tell: mpsc::UnboundedSender<Event>,
    pub(super) reading: Option<JoinHandle<Result<Vec<Due>, StoreError>>>,
    pub(super) asked: Vec<Ask>,
    pub(super) scout: Scout,
    /// Messages that were read in the last second or so.
    pub(super) found_lately: usize,
    pub(super) beginning: Option<Beginning>,
    pub(super) begin_takes: Duration,
    pub(super) begin_after: Instant,
    pub(super) unsent: Vec<Claim>,
    pub(super) database_after: Instant,
    pub(super) last_work: Instant,
    pub(super) asleep: bool,
    pub(super) dozing: Option<JoinHandle<Result<(WorkerId, bool), StoreError>>>,
    pub(super) forget_pairs_at: Instant,
    pub(super) say_at: Instant,
    pub(super) say_slowed_after: Instant,
    /// How often it was said how the senders go.
    pub(super) said: u64,
    pub(super) stopping: bool,
}

/// What the loop is told.
pub(super) enum Event {
    /// A request is over.
    Returned(Box<Answered>),
    /// Whether one message may try a hold of this sender.
    Probe {
        sender: SenderId,
        epoch: Epoch,
        of: OnTrial,
        begun: bool,
    },
    /// Messages may be read again: they were put off, or back into the queue, or that failed and is tried again.
    Forget(Vec<(SenderId, MessageId)>),
    /// Messages could not be put back into the queue.
    Unsent(Vec<Claim>),
    /// How WhatsApp has slowed these senders down could not be written.
    SlowedUnsaid(Vec<SenderId>),
}

impl Dispatcher {
    /// A dispatcher that holds nothing yet.
    pub fn new(
        store: Store,
        settings: DispatchSettings,
        sending: Arc<Sending>,
        holding: watch::Receiver<Arc<Holding>>,
        recorder: RecorderQueue,
        departures: Departures,
        signals: Arc<Signals>,
    ) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        let now = Instant::now();
        Self {
            store,
            settings,
            sending,
            holding,
            recorder,
            departures,
            signals,
            taken_up: Arc::default(),
            worker: None,
            desks: HashMap::new(),
            given_up: GivenUp::default(),
            breakers: Breakers::default(),
            mismatches: Mismatches::default(),
            in_flight: TaskTracker::new(),
            events,
            tell,
            reading: None,
            asked: Vec::new(),
            scout: Scout::new(now),
            found_lately: 0,
            beginning: None,
            begin_takes: Duration::from_millis(5),
            begin_after: now,
            unsent: Vec::new(),
            database_after: now,
            last_work: now,
            asleep: false,
            dozing: None,
            forget_pairs_at: now + FORGET_PAIRS_EVERY,
            say_at: now + SAY_EVERY,
            say_slowed_after: now,
            said: 0,
            stopping: false,
        }
    }

    /// Runs until `stop`; then begins nothing more, puts back what has not left, and waits until every request that is out has
    /// its answer.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.turn();
            self.fall_asleep_or_wake();
            self.rest(&stop).await;
        }
        self.stop().await;
    }

    async fn rest(&mut self, stop: &CancellationToken) {
        let hears = self.asleep || self.desks.values().any(Desk::waits_for_a_place);
        let pause = self.pause(Instant::now());
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            begun = ended(self.beginning.as_mut().map(|beginning| &mut beginning.task)) => self.take_begun(begun),
            read = ended(self.reading.as_mut()) => self.take_read(read),
            scouted = ended(self.scout.under_way.as_mut()) => self.take_scouted(scouted),
            said = ended(self.dozing.as_mut()) => self.take_doze(said),
            () = self.signals.woken.notified(), if self.asleep => self.look_soon(),
            Ok(()) = self.holding.changed() => {}
            // Else what comes back is taken in by the next turn, a few at a time.
            Some(event) = self.events.recv(), if hears => self.hear(event),
        }
    }

    /// Until the next turn, if nothing happens. What is on its way has its times to keep, whoever calls us for new messages.
    fn pause(&self, now: Instant) -> Duration {
        if !self.asleep || !self.desks.values().all(|desk| desk.is_at_rest(now)) {
            self.settings.tick
        } else if self.is_scouted() && self.desks.values().all(Desk::waits_for_scout) {
            self.scout_again_in()
        } else {
            self.settings.idle_poll
        }
    }

    /// One look at everything that does not wait.
    fn turn(&mut self) {
        let boot = self.sending.clock.boot();
        self.signals
            .last_turn
            .store(boot.0.as_micros() as u64, Ordering::Release);
        self.take_up_holding();
        while let Ok(event) = self.events.try_recv() {
            self.hear(event);
        }
        self.learn_of_uploads();
        self.let_go_what_may_leave();
        self.put_back_unsent();
        let now = Instant::now();
        if self.worker.is_none() || now < self.database_after {
            return;
        }
        self.say_slowed(now);
        self.start_begin(now);
        self.start_scouting(now);
        self.start_read(now);
        self.look_after_the_rest(now);
    }

    /// The next turn reads for every desk, whenever that was done last; where they are many, it has the idle ones looked for.
    pub(super) fn look_soon(&mut self) {
        let are_many = self.are_many();
        if are_many {
            self.scout.look_soon();
        }
        self.desks
            .values_mut()
            .filter(|desk| !(are_many && desk.is_idle()))
            .for_each(Desk::look_soon);
    }

    fn take_up_holding(&mut self) {
        let holding = Arc::clone(&self.holding.borrow_and_update());
        if Arc::ptr_eq(&holding, &self.taken_up) {
            return;
        }
        let (now, wall) = (Instant::now(), self.wall(&holding));
        let held: HashMap<SenderId, _> = holding
            .senders
            .iter()
            .map(|held| (held.held.sender.id(), held.held.epoch))
            .collect();
        let worker = self.worker;
        let goes = |sender: &SenderId, desk: &mut Desk| {
            worker != holding.worker || held.get(sender) != Some(&desk.epoch)
        };
        for (sender, mut desk) in self.desks.extract_if(goes) {
            info!(sender.id = %sender, "No longer working sender {sender} (epoch {})", desk.epoch.0);
            self.unsent.extend(desk.give_up());
            self.given_up.keep(desk, now);
        }
        self.asleep &= worker == holding.worker;
        self.worker = holding.worker;
        self.taken_up = Arc::clone(&holding);
        for held in &holding.senders {
            let sender = held.held.sender.id();
            match self.desks.get_mut(&sender) {
                Some(desk) => {
                    desk.take_up(held, self.settings.desk, now, wall);
                    self.unsent.extend(desk.recalled(now));
                }
                None => {
                    info!(sender.id = %sender, "Working sender {sender} (epoch {})", held.held.epoch.0);
                    self.signals.nothing_due.send_replace(false);
                    let (settings, epoch) = (self.settings.desk, held.held.epoch);
                    let desk = match self.given_up.take_back(&sender, epoch) {
                        Some(mut desk) => {
                            desk.come_back(held, settings, now, wall);
                            desk
                        }
                        None => {
                            let start = self.given_up.start_of(&sender, epoch);
                            let meter = self.sending.metrics.senders.meter(&sender);
                            Desk::new(held, settings, start, meter, (now, wall))
                        }
                    };
                    self.desks.insert(sender, desk);
                }
            }
        }
        self.ask_for_probes(now);
    }

    /// What the database's clock says: ours may be wrong by hours. (Ours, where nothing was ever held.)
    pub(super) fn wall(&self, holding: &Holding) -> OffsetDateTime {
        let clock = &self.sending.clock;
        holding
            .told
            .map_or_else(|| clock.now(), |told| told.at(clock.boot()))
    }

    pub(super) fn let_go_what_may_leave(&mut self) {
        let (now, wall) = (Instant::now(), self.wall(&self.taken_up));
        let mut errands = Vec::new();
        for desk in self.desks.values_mut().filter(|desk| desk.has_ready()) {
            let finds_out = !self.breakers.is_closed(&desk.way);
            let Some(endpoint) = desk.endpoint.clone() else {
                self.unsent.extend(desk.unsent());
                continue;
            };
            while let Some((ready, permit)) = desk.next_to_leave(now) {
                let Chosen {
                    due,
                    shares,
                    content,
                    keeper: _,
                    picked_at: _,
                    probe,
                } = ready.chosen;
                let due_for = DueFor {
                    waited: wall - due.due_at,
                    by: now,
                };
                let errand = Errand {
                    pair_strikes: desk.throttle.pair_refusals(&due.recipient),
                    finds_out,
                    probe,
                    endpoint: Arc::clone(&endpoint),
                    way: Arc::clone(&desk.way),
                    checking: desk.checking,
                    fingerprint: desk.resting.fingerprint(),
                    due,
                    content,
                    begun: ready.begun,
                    trace: ready.trace.map(|trace| trace.permitted(now)),
                    meter: Arc::clone(&desk.meter),
                };
                let permits = shares.into_iter().chain([permit]).collect();
                let way_out = self.sending.way_out(
                    ready.leave_by,
                    desk.ours(),
                    permits,
                    ready.departure,
                    due_for,
                );
                errands.push((errand, way_out));
            }
        }
        for (errand, way_out) in errands {
            self.send(errand, way_out);
        }
    }

    fn send(&self, errand: Errand, way_out: WayOut) {
        let (sending, recorder, tell) = (
            Arc::clone(&self.sending),
            self.recorder.clone(),
            self.tell.clone(),
        );
        self.in_flight.spawn(async move {
            let Returned {
                answered,
                record,
                trace,
            } = sending.send(errand, way_out).await;
            recorder.push(record, trace);
            // The loop may have ended: then nobody needs to know.
            let _ = tell.send(Event::Returned(Box::new(answered)));
        });
    }

    pub(super) fn database_failed(&mut self, error: &StoreError, doing: &str) {
        warn!(
            error = error as &dyn std::error::Error,
            "Could not {doing}; trying again"
        );
        self.database_after = Instant::now() + TRY_AGAIN;
    }

    fn look_after_the_rest(&mut self, now: Instant) {
        if now >= self.forget_pairs_at {
            self.forget_pairs_at = now + FORGET_PAIRS_EVERY;
            self.given_up.forget_old(now);
            self.desks
                .values_mut()
                .chain(self.given_up.values_mut())
                .for_each(|desk| desk.throttle.forget_idle(now));
        }
        if now >= self.say_at {
            self.say_at = now + SAY_EVERY;
            self.found_lately = 0;
            self.say_how_it_goes(now);
        }
    }

    async fn stop(mut self) {
        self.stopping = true;
        if let Some(beginning) = self.beginning.as_mut() {
            let begun = ended(Some(&mut beginning.task)).await;
            self.take_begun(begun);
        }
        for desk in self.desks.values_mut() {
            self.unsent.extend(desk.unsent());
        }
        self.put_back_all().await;
        self.in_flight.close();
        let out = self.in_flight.len();
        if out > 0 {
            info!("Stopping: waiting for the answers to {out} requests");
        }
        self.in_flight.wait().await;
        // What could not be put back before the stop.
        self.put_back_all().await;
        self.say_slowed_at_last().await;
        self.sending.doubts.say();
    }
}

/// Waits for a statement under way; for ever when there is none. A panic in it is an error of the database's.
async fn ended<T>(task: Option<&mut JoinHandle<Result<T, StoreError>>>) -> Result<T, StoreError> {
    match task {
        None => std::future::pending().await,
        Some(task) => task.await.unwrap_or(Err(StoreError::Inconsistent {
            what: "a statement ended badly",
        })),
    }
}
