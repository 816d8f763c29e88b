//! The desk of one sender: what was read ahead, in the order it leaves, and what is begun and about to leave.
//!
//! What waits here is no promise: it is still queued in the database, and is dropped with the desk. The place where reading goes
//! on is a hint too; from time to time the desk reads from the front again, for what was committed late or came back lies
//! behind.
//!
//! Only what may leave within the next moment is begun, and the exact permit is taken when it leaves. So a commit that takes
//! long delays requests, and never bunches them.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::breaker::Probe;
use super::campaign::Content;
use super::checking::Checking;
use super::departures::Departure;
use super::lanes::{Lanes, enough};
use super::media::Media;
use super::ownership::Held;
use super::places::Places;
use super::resting::{Kept, OnTrial, Resting};
use crate::clock::BootInstant;
use crate::domain::id::{Epoch, MessageId, SenderId};
use crate::metrics::SenderMeter;
use crate::provider::Endpoint;
use crate::store::bookings::{PAIR_LIMIT, QUIET};
use crate::store::claim::{Ask, Begun, Claim, Due};
use crate::store::front;
use crate::throttle::{Limits, Permit, SenderThrottle, Start};
use crate::traces::BegunTrace;

/// While much is at hand, others that came to leave before it are looked for no more often than this. (A lane that is low is read at once.)
const LOOK_BESIDE_WORK: Duration = Duration::from_millis(25);
/// But in the time that what is at hand takes to leave it is looked so many times. Were it once, each look would find what came since the last
/// one, and all of an even stream would wait for the next.
const LOOKS_MEANWHILE: f64 = 4.0;
/// A hold that we have asked for stands in the database, and is read back, within this.
pub(super) const HOLD_SHOWS_WITHIN: Duration = Duration::from_secs(5);

/// Reads ahead for one sender, gives out what may be begun, and lets go what is.
pub struct Desk {
    pub(super) sender: SenderId,
    pub(super) epoch: Epoch,
    pub(super) credential: String,
    pub(super) endpoint: Option<Arc<Endpoint>>,
    pub(super) checking: Checking,
    /// What a connection is made to ([`Endpoint::way`]).
    pub(super) way: Arc<str>,
    /// Who keeps the files that its messages name.
    keeper: Arc<str>,
    pub(super) throttle: SenderThrottle,
    /// WhatsApp has slowed it down, and that is not written yet.
    pub(super) is_slowed_anew: bool,
    pub(super) meter: Arc<SenderMeter>,
    pub(super) places: Places,
    pub(super) last_error: Option<(String, OffsetDateTime)>,
    pub(super) resting: Resting,
    /// When it was said last how it goes, there was nothing to say of it.
    pub(super) was_idle: bool,
    /// Asked by every request at the moment it leaves: false once the sender is no longer ours.
    ours: Arc<AtomicBool>,
    held: bool,
    closed_until: Option<Instant>,
    read_ahead: usize,
    urgent_share: f64,
    lanes: Lanes,
    known: HashSet<i64>,
    exhausted: bool,
    /// Somebody said that there may be something new, and no read was started since.
    called: bool,
    /// As far as the scout knows.
    something_is_open: bool,
    next_read: Instant,
    next_rescan: Instant,
    /// When it was asked to read from the front, until that is read.
    rescans_since: Option<Instant>,
    rescan_took: Duration,
    beginning: usize,
    ready: VecDeque<Ready>,
}

/// A message whose attempt is begun and that has not left yet.
pub struct Ready {
    /// The message.
    pub chosen: Chosen,
    /// Its intent, as it was written down.
    pub begun: Begun,
    /// Nothing leaves after this.
    pub leave_by: BootInstant,
    /// Said to whoever may want to hand the sender over.
    pub departure: Departure,
    /// When it was begun, where traces are told.
    pub trace: Option<BegunTrace>,
}

/// A message that may leave within the next moment.
pub struct Chosen {
    /// The message.
    pub due: Due,
    /// Permits of its campaign, to be used with its sender's.
    pub shares: Vec<Permit>,
    /// What it says, where its campaign says it.
    pub content: Option<Arc<Content>>,
    /// Who keeps the files that it names.
    pub keeper: Arc<str>,
    /// When its recipient's limit let it through.
    pub picked_at: Instant,
    /// Where it finds out whether a connection can be made.
    pub probe: Option<Probe>,
}

/// What a desk gives out at one moment.
#[derive(Default)]
pub struct Picked {
    /// To be begun: they may leave within the next moment.
    pub leaving: Vec<Chosen>,
    /// May not leave before the time given, and why.
    pub put_off: Vec<(MessageId, OffsetDateTime, Cow<'static, str>)>,
    /// Wait for this hold of their template.
    pub aside: Vec<(MessageId, i64)>,
}

/// How desks read.
#[derive(Clone, Copy, Debug)]
pub struct DeskSettings {
    /// Messages kept at hand.
    pub read_ahead: usize,
    /// Requests out at once, where the sender's own setting says nothing.
    pub max_in_flight: usize,
    /// Of each sender's rate, what campaigns leave free for what is urgent.
    pub urgent_share: f64,
}

impl Desk {
    /// An empty desk for a sender that was just taken.
    pub fn new(
        held: &Held,
        settings: DeskSettings,
        start: Start,
        meter: Arc<SenderMeter>,
        (now, wall): (Instant, OffsetDateTime),
    ) -> Self {
        let mut desk = Self {
            sender: held.held.sender.id(),
            epoch: held.held.epoch,
            credential: String::new(),
            endpoint: None,
            checking: Checking::default(),
            way: Arc::default(),
            keeper: Arc::default(),
            throttle: SenderThrottle::new(limits(held), start, now),
            is_slowed_anew: false,
            meter,
            places: Places::new(now),
            last_error: None,
            resting: Resting::default(),
            was_idle: false,
            ours: Arc::new(AtomicBool::new(true)),
            held: false,
            closed_until: None,
            read_ahead: settings.read_ahead,
            urgent_share: settings.urgent_share,
            lanes: Lanes::new(start, now),
            known: HashSet::new(),
            exhausted: false,
            called: false,
            something_is_open: true,
            next_read: now,
            next_rescan: now,
            rescans_since: None,
            rescan_took: Duration::ZERO,
            beginning: 0,
            ready: VecDeque::new(),
        };
        if let Some(slowed) = held.held.slowed {
            desk.throttle.take_up_slowed(slowed, now);
        }
        desk.take_up(held, settings, now, wall);
        desk
    }

    /// The sender is ours again, and was nobody else's meanwhile: what its limits have seen counts still. What was at hand is read
    /// anew.
    pub fn come_back(
        &mut self,
        held: &Held,
        settings: DeskSettings,
        now: Instant,
        wall: OffsetDateTime,
    ) {
        // What was on its way when the sender was given up does not leave any more.
        self.ours = Arc::new(AtomicBool::new(true));
        self.was_idle = false;
        self.exhausted = false;
        (self.next_read, self.next_rescan) = (now, now);
        self.rescans_since = None;
        self.look_soon();
        self.take_up(held, settings, now, wall);
    }

    /// Takes up settings that may have changed.
    pub fn take_up(
        &mut self,
        held: &Held,
        settings: DeskSettings,
        now: Instant,
        wall: OffsetDateTime,
    ) {
        let sender = &held.held.sender;
        let is_known = |new| (self.endpoint.as_ref()).is_some_and(|old| Arc::ptr_eq(old, new));
        if let Some(endpoint) = held.endpoint.as_ref().filter(|new| !is_known(new)) {
            self.way = endpoint.way().into();
            self.keeper = endpoint.keeper().into();
        }
        self.endpoint.clone_from(&held.endpoint);
        self.checking = Checking::of(sender);
        self.credential.clone_from(&sender.credential);
        self.throttle.set_limits(limits(held), now);
        if (held.held.silence_ended_at).is_some_and(|at| self.throttle.end_silence(at, now)) {
            self.look_soon();
        }
        self.places.most = sender
            .max_in_flight
            .map_or(settings.max_in_flight, |limit| limit.max(1) as usize);
        self.held = sender.hold_at(wall).is_some();
        if self.held {
            self.closed_until = None;
        }
        self.resting.take_up(held, now);
        let rate = self.throttle.limit(now);
        let dropped = self
            .lanes
            .take_up(&held.campaigns, rate, self.urgent_share, (now, wall));
        for due in dropped {
            self.known.remove(&due.id.0);
        }
    }

    /// Stops at once, before the hold is read back from the database. Until then the settings at hand are older than the
    /// hold and would open the desk again.
    pub fn hold(&mut self, now: Instant) {
        self.closed_until = Some(now + HOLD_SHOWS_WITHIN);
    }

    /// Whether anything may leave at all.
    pub fn is_open(&self, now: Instant) -> bool {
        !self.held && self.closed_until.is_none_or(|until| now >= until) && self.endpoint.is_some()
    }

    /// How many may be begun as far as holds go: a held sender has one that tries the hold, when it is time.
    fn may_begin(&self, now: Instant) -> usize {
        match self.endpoint.is_some() && self.resting.may_try(OnTrial::Sender, now) {
            _ if self.is_open(now) => usize::MAX,
            true => 1,
            false => 0,
        }
    }

    /// Whether a message that was begun may leave still: its sender may have been held meanwhile, or its campaign paused. And where the
    /// sender has moved, files have other ids than those that were looked for.
    pub fn lets_leave(&self, chosen: &Chosen, now: Instant) -> bool {
        let due = &chosen.due;
        self.lanes.let_leave(due)
            && self.keeper == chosen.keeper
            && (self.is_open(now) || self.resting.is_trying(OnTrial::Sender, due.id))
    }

    /// Takes out what was begun and may not leave any more, to be put back into the queue.
    pub fn recalled(&mut self, now: Instant) -> Vec<Claim> {
        let (stay, go) = std::mem::take(&mut self.ready)
            .into_iter()
            .partition(|ready| self.lets_leave(&ready.chosen, now));
        self.ready = stay;
        self.claims(go)
    }

    /// The scout has found nothing for it.
    pub fn has_nothing_open(&mut self) {
        self.something_is_open = false;
    }

    /// Whether the last look left something unread that may leave.
    pub fn has_more(&self, now: Instant) -> bool {
        !self.exhausted && self.may_begin(now) > 0
    }

    /// Nothing that may leave is at hand or on its way.
    pub fn is_at_rest(&self, now: Instant) -> bool {
        self.on_the_way() == 0 && (self.lanes.is_empty() || self.may_begin(now) == 0)
    }

    /// Nothing at hand, nothing on its way, and the last look found no more.
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.on_the_way() == 0 && self.exhausted
    }

    /// Nothing of it leaves, whatever is due, until somebody does something: it is held, or nobody knows how to reach its provider.
    pub fn is_kept_back(&self) -> bool {
        let is_held = self.held && !self.resting.is_tried(OnTrial::Sender);
        self.on_the_way() == 0 && (is_held || self.endpoint.is_none())
    }

    /// It is idle, and nothing is read for it before the scout finds something.
    pub fn waits_for_scout(&self) -> bool {
        self.is_idle() && !self.something_is_open
    }

    /// Messages read ahead and not begun.
    pub fn at_hand(&self) -> usize {
        self.lanes.len()
    }

    /// Begun, or being begun, or out.
    pub fn on_the_way(&self) -> usize {
        self.about_to_leave() + self.places.taken()
    }

    /// Begun, or being begun.
    fn about_to_leave(&self) -> usize {
        self.beginning + self.ready.len()
    }

    /// Reads at the next occasion, and by time from then on: somebody said that there may be something new, due now or later.
    ///
    /// A read that is under way does not answer it: what is new may have been committed after its snapshot.
    pub fn look_soon(&mut self) {
        self.called = true;
        self.something_is_open = true;
    }

    /// A message may be in the queue again, due now or later.
    pub fn may_have_one_back(&mut self) {
        self.something_is_open = true;
    }

    /// What to read now, and what of it is known; nothing when the desk is full or it is not time. `is_scouted`: somebody says when there
    /// is something for one that is idle.
    pub fn asks(
        &mut self,
        now: Instant,
        rescan_every: Duration,
        is_scouted: bool,
    ) -> (Vec<Ask>, Vec<i64>) {
        if is_scouted && !self.called && self.waits_for_scout() || self.may_begin(now) == 0 {
            return <_>::default();
        }
        let enough = enough(self.throttle.limit(now), self.read_ahead);
        let low = || !self.exhausted && self.lanes.are_low(enough, now);
        if !(self.called || now >= self.next_read || low()) {
            return <_>::default();
        }
        self.called = false;
        let is_cheap = self.rescan_took < front::DEAR;
        let from_the_front = now >= self.next_rescan || self.exhausted && is_cheap;
        if from_the_front {
            self.next_rescan = now + rescan_every;
            self.rescans_since = Some(now);
        }
        let known: Vec<i64> = match from_the_front {
            true => self.known.iter().copied().collect(),
            false => Vec::new(),
        };
        let count = from_the_front.then_some(known.len());
        let asks = self.lanes.asks(&self.sender, enough, count, now);
        self.exhausted = self.lanes.are_all(&asks);
        (asks, known)
    }

    /// Takes in what was read for one of its asks.
    pub fn take_in(&mut self, ask: &Ask, found: Vec<Due>, now: Instant, look_again_in: Duration) {
        self.exhausted &= (found.len() as i64) < ask.limit;
        if let Some(since) = self.rescans_since.take() {
            self.rescan_took = now - since;
            self.next_rescan = self
                .next_rescan
                .max(now + front::rest_after(self.rescan_took));
        }
        let mut found = found;
        found.retain(|due| self.known.insert(due.id.0));
        for homeless in self.lanes.take_in(ask, found) {
            self.known.remove(&homeless.id.0);
        }
        let lasts_for = self.lanes.len() as f64 / self.throttle.limit(now);
        let beside = (lasts_for / LOOKS_MEANWHILE).min(LOOK_BESIDE_WORK.as_secs_f64());
        self.next_read = now + look_again_in.max(Duration::from_secs_f64(beside));
    }

    /// A look that found out nothing, because the database did not answer: look again.
    pub fn look_failed(&mut self) {
        self.rescans_since = None;
        self.exhausted = false;
    }

    /// Gives out what is to be begun: in order, as many as may leave until `horizon` has passed, and no more than `at_most`.
    pub fn pick(
        &mut self,
        now: Instant,
        wall: OffsetDateTime,
        horizon: Duration,
        at_most: usize,
        media: &Arc<Media>,
    ) -> Picked {
        let mut picked = Picked::default();
        let (at_most, is_open) = (at_most.min(self.may_begin(now)), self.is_open(now));
        if at_most == 0 || self.lanes.is_empty() {
            return picked;
        }
        let permitted = self.throttle.how_many(now, horizon);
        let wanted = permitted
            .min(self.places.free_within(horizon, now))
            .saturating_sub(self.about_to_leave())
            .min(at_most);
        let mut waiting_still = Vec::new();
        while picked.leaving.len() < wanted {
            let Some(due) = self.lanes.next(now) else {
                break;
            };
            if due.expires_at.is_some_and(|expires_at| expires_at <= wall) {
                // The sweep for overdue messages ends it; here it only must not leave.
                self.known.remove(&due.id.0);
                continue;
            }
            let campaign = self.lanes.campaign(&due);
            let quiet = campaign
                .and_then(|it| it.quiet_until(&due.recipient, due.variables.as_deref(), wall));
            if let Some(until) = quiet {
                picked.put_off.push((due.id, until, QUIET.into()));
                continue;
            }
            let says = campaign.map_or(due.payload.as_str(), |it| it.content.payload.as_str());
            let ready = (self.endpoint.as_ref()).map_or(Ok(()), |endpoint| {
                media.ready(&self.sender, says, endpoint, now)
            });
            if let Err(wait) = ready {
                let until = wall + wait.look_again_in;
                picked
                    .put_off
                    .push((due.id, until, wait.waiting_for.into()));
                continue;
            }
            let tries = match self.resting.keeps(says, now) {
                Kept::No => None,
                Kept::Tries(hold) => Some(OnTrial::Template(hold)),
                Kept::Aside(hold) => {
                    picked.aside.push((due.id, hold));
                    continue;
                }
                Kept::UntilItsHoldShows => {
                    waiting_still.push(due);
                    continue;
                }
            };
            match self.throttle.pair(&due.recipient, now) {
                Ok(()) => {
                    let sender = (!is_open).then_some(OnTrial::Sender);
                    self.resting.tries(sender.into_iter().chain(tries), due.id);
                    let (shares, content) = self.lanes.charge(&due, now);
                    picked.leaving.push(Chosen {
                        due,
                        shares,
                        content,
                        keeper: Arc::clone(&self.keeper),
                        picked_at: now,
                        probe: None,
                    });
                }
                Err(at) => {
                    let until = wall + at.saturating_duration_since(now);
                    picked.put_off.push((due.id, until, PAIR_LIMIT.into()));
                }
            }
        }
        for due in waiting_still {
            self.lanes.put_back(due);
        }
        self.beginning += picked.leaving.len();
        picked
    }

    /// The begin of so many messages has ended, however.
    pub fn begin_ended(&mut self, messages: usize) {
        self.beginning = self.beginning.saturating_sub(messages);
    }

    /// A message is begun; it leaves when the rate permits.
    pub fn make_ready(&mut self, ready: Ready) {
        self.known.remove(&ready.chosen.due.id.0);
        self.ready.push_back(ready);
    }

    /// Whether anything that is begun has not left.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next message that leaves now, if it has a place and the rate permits one, and the permit for it.
    pub fn next_to_leave(&mut self, now: Instant) -> Option<(Ready, Permit)> {
        if self.places.is_full() || !self.has_ready() {
            return None;
        }
        let permit = self.throttle.take(now).ok()?;
        self.places.take();
        self.ready.pop_front().map(|ready| (ready, permit))
    }

    /// Whether something that is begun waits for a place, and for nothing else that we know of.
    pub fn waits_for_a_place(&self) -> bool {
        self.has_ready() && self.places.is_full()
    }

    /// Whether the sender is ours.
    pub fn is_ours(&self) -> bool {
        self.ours.load(Ordering::Acquire)
    }

    /// The flag that a request asks at the moment it leaves.
    pub fn ours(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ours)
    }

    /// The sender is no longer ours: nothing of it leaves any more. Gives back what was begun and has not left.
    pub fn give_up(&mut self) -> Vec<Claim> {
        self.ours.store(false, Ordering::Release);
        self.known.clear();
        self.lanes.clear();
        self.unsent()
    }

    /// Takes out what was begun and has not left, to be put back into the queue.
    pub fn unsent(&mut self) -> Vec<Claim> {
        let all = std::mem::take(&mut self.ready);
        self.claims(all)
    }

    /// A message that was picked does not leave: another may, to its recipient, or to try what it was to try.
    pub fn unused(&mut self, chosen: &Chosen) {
        let due = &chosen.due;
        self.resting.unused(due.id);
        self.throttle.pair_unused(&due.recipient, chosen.picked_at);
    }

    fn claims(&mut self, unsent: VecDeque<Ready>) -> Vec<Claim> {
        let claim = |ready: Ready| {
            self.unused(&ready.chosen);
            let due = ready.chosen.due;
            Claim {
                id: due.id,
                sender: due.sender,
                epoch: self.epoch,
                attempt: ready.begun.attempt,
            }
        };
        unsent.into_iter().map(claim).collect()
    }

    /// A message has left the desk for good, or may be read again.
    pub fn forget(&mut self, id: MessageId) {
        self.known.remove(&id.0);
        self.may_have_one_back();
    }
}

/// An owner before us may have spent everything a moment ago; the first there ever was finds its limits unspent.
pub(super) fn start(epoch: Epoch) -> Start {
    if epoch > Epoch(1) {
        Start::Empty
    } else {
        Start::Full
    }
}

fn limits(held: &Held) -> Limits {
    let sender = &held.held.sender;
    Limits {
        rate_per_second: sender.rate_per_second,
        pair_period: Duration::from_millis(sender.pair_period_ms.max(0) as u64),
        pair_burst: sender.pair_burst.max(1) as u32,
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
pub(super) mod tests;
