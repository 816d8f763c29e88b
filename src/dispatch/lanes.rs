//! What is at hand for one sender, lane by lane: its own messages by priority, and the rows of each campaign that runs.
//!
//! A lower priority number leaves first, whatever waits behind it. Lanes of one priority take turns by their weights (start-time
//! fair queueing: Goyal, Vin and Cheng, 1996): each turn of a lane ends later by 1/weight, and the one whose turn would begin first
//! is next. A lane that had nothing, or was not permitted, begins where the others are and catches nothing up.
//!
//! A campaign is held to its share, its limit and its ramp by permits of its own, beside the sender's. And all campaigns of
//! priority 5 and above together leave a part of the sender's rate free, so that what is urgent finds room at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::campaign::{Campaign, Content};
use crate::domain::id::SenderId;
use crate::store::claim::{Ask, Due};
use crate::throttle::{Limits, Permit, SenderThrottle, Start};

/// 0 (urgent) to 9 (bulk).
const PRIORITIES: usize = 10;
/// Before every message there is.
const FRONT: Place = (OffsetDateTime::UNIX_EPOCH, 0);
/// From this priority on campaigns leave some of the rate free.
const BULK: i16 = 5;
/// The weight of the sender's own messages among campaigns of the same priority.
const OWN_WEIGHT: f64 = 1.0;
/// So many are read ahead for the slowest lane.
const LEAST_AHEAD: usize = 32;

/// Due time and id: the order within a lane.
type Place = (OffsetDateTime, i64);

/// What is at hand for one sender.
pub(super) struct Lanes {
    own: [Shelf; PRIORITIES],
    campaigns: BTreeMap<i64, Lane>,
    bulk: SenderThrottle,
    /// Limiters of campaigns that do not run at the moment: who is paused and resumed has spent what it has spent. Some hundred
    /// bytes each, for as long as the sender stays.
    stopped: HashMap<i64, SenderThrottle>,
    /// Where the turns of each priority are.
    turns: [f64; PRIORITIES],
    start: Start,
}

/// Messages that were read, and where reading goes on.
struct Shelf {
    waiting: BTreeMap<Place, Due>,
    /// That these take.
    places: usize,
    place: Place,
    /// Where its last turn ended.
    turn: f64,
}

/// A campaign that runs.
struct Lane {
    campaign: Arc<Campaign>,
    shelf: Shelf,
    throttle: Option<SenderThrottle>,
}

/// Which lane: a priority of the sender's own, or a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneOf {
    Own(i16),
    Campaign(i64),
}

impl LaneOf {
    /// The lane that a message came from.
    pub(super) fn of(due: &Due) -> Self {
        match due.campaign {
            0 => Self::Own(due.priority),
            campaign => Self::Campaign(campaign),
        }
    }
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            places: 0,
            place: FRONT,
            turn: 0.0,
        }
    }
}

impl Shelf {
    fn put(&mut self, due: Due) {
        self.places += due.places();
        self.waiting.insert((due.due_at, due.id.0), due);
    }

    fn take(&mut self) -> Option<Due> {
        let (_, due) = self.waiting.pop_first()?;
        self.places -= due.places();
        Some(due)
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.places = 0;
    }
}

impl Lane {
    fn weight(&self) -> f64 {
        self.campaign.lane.rate_share.max(f64::MIN_POSITIVE)
    }

    fn priority(&self) -> i16 {
        self.campaign.lane.priority.clamp(0, PRIORITIES as i16 - 1)
    }
}

impl Lanes {
    /// Nothing at hand. [`Start::Empty`] where somebody else may have let through, up to now, all that the limits allow.
    pub(super) fn new(start: Start, now: Instant) -> Self {
        Self {
            own: std::array::from_fn(|_| Shelf::default()),
            campaigns: BTreeMap::new(),
            bulk: throttle(1.0, start, now),
            stopped: HashMap::new(),
            turns: [0.0; PRIORITIES],
            start,
        }
    }

    /// Takes up which campaigns run, and the rates. What was at hand for one that does not run any more is given back.
    pub(super) fn take_up(
        &mut self,
        campaigns: &[Arc<Campaign>],
        sender_rate: f64,
        urgent_share: f64,
        (now, wall): (Instant, OffsetDateTime),
    ) -> Vec<Due> {
        let runs: HashSet<i64> = campaigns.iter().map(|one| one.lane.campaign).collect();
        let mut dropped = Vec::new();
        for (id, lane) in self.campaigns.extract_if(.., |id, _| !runs.contains(id)) {
            dropped.extend(lane.shelf.waiting.into_values());
            self.stopped
                .extend(lane.throttle.map(|throttle| (id, throttle)));
        }
        set_rate(&mut self.bulk, sender_rate * (1.0 - urgent_share), now);
        for campaign in campaigns {
            let id = campaign.lane.campaign;
            let lane = self.campaigns.entry(id).or_insert_with(|| Lane {
                campaign: Arc::clone(campaign),
                shelf: Shelf::default(),
                throttle: self.stopped.remove(&id),
            });
            lane.campaign = Arc::clone(campaign);
            match campaign.limit(sender_rate, wall) {
                None => lane.throttle = None,
                Some(rate) => {
                    let start = self.start;
                    let own = lane
                        .throttle
                        .get_or_insert_with(|| throttle(rate, start, now));
                    set_rate(own, rate, now);
                }
            }
        }
        dropped
    }

    /// Messages at hand.
    pub(super) fn len(&self) -> usize {
        self.shelves().map(|shelf| shelf.waiting.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shelves().all(|shelf| shelf.waiting.is_empty())
    }

    fn shelves(&self) -> impl Iterator<Item = &Shelf> {
        self.own
            .iter()
            .chain(self.campaigns.values().map(|lane| &lane.shelf))
    }

    fn shelf_mut(&mut self, lane: LaneOf) -> Option<&mut Shelf> {
        match lane {
            LaneOf::Own(priority) => self.own.get_mut(usize::try_from(priority).ok()?),
            LaneOf::Campaign(id) => self.campaigns.get_mut(&id).map(|lane| &mut lane.shelf),
        }
    }

    /// Whether some lane is low.
    pub(super) fn are_low(&self, enough: usize, now: Instant) -> bool {
        let own: usize = self.own.iter().map(|shelf| shelf.places).sum();
        let mut campaigns = self.campaigns.values();
        is_low(own, enough)
            || campaigns.any(|lane| is_low(lane.shelf.places, lane.enough(enough, now)))
    }

    /// What to read to have `enough` at hand, from the front or from where reading goes on. `known`: so many that lie behind
    /// the front are known. A lane that is not low is left alone, unless it is read from the front: so it is read by many at a time.
    pub(super) fn asks(
        &self,
        sender: &SenderId,
        enough: usize,
        known: Option<usize>,
        now: Instant,
    ) -> Vec<Ask> {
        let ask = |shelf: &Shelf, campaign, priority, room: usize| Ask {
            sender: sender.clone(),
            campaign,
            priority,
            after: if known.is_some() { FRONT } else { shelf.place },
            limit: room as i64,
            known: known.unwrap_or(0) as i64,
        };
        let wanted = |ahead: usize, enough: usize| {
            let room = enough.saturating_sub(ahead);
            (room > 0 && (known.is_some() || is_low(ahead, enough))).then_some(room)
        };
        let mut asks = Vec::new();
        let mut ahead = 0;
        for (priority, shelf) in (0..).zip(&self.own) {
            ahead += shelf.places;
            if let Some(room) = wanted(ahead, enough) {
                asks.push(ask(shelf, 0, priority, room));
            }
        }
        for (id, lane) in &self.campaigns {
            if let Some(room) = wanted(lane.shelf.places, lane.enough(enough, now)) {
                asks.push(ask(&lane.shelf, *id, lane.priority(), room));
            }
        }
        asks
    }

    /// Whether these are for all of the lanes.
    pub(super) fn are_all(&self, asks: &[Ask]) -> bool {
        asks.len() == PRIORITIES + self.campaigns.len()
    }

    /// Takes in what was read for one of the asks. Gives back what has no lane any more.
    pub(super) fn take_in(&mut self, ask: &Ask, found: Vec<Due>) -> Vec<Due> {
        let lane = match ask.campaign {
            0 => LaneOf::Own(ask.priority),
            campaign => LaneOf::Campaign(campaign),
        };
        let full = found.len() as i64 >= ask.limit;
        let Some(shelf) = self.shelf_mut(lane) else {
            return found;
        };
        if let Some(last) = found.last() {
            let last = (last.due_at, last.id.0);
            // What was found behind the place lies among what is known, unless there was more than could be taken in.
            shelf.place = if full { last } else { last.max(shelf.place) };
        }
        found.into_iter().for_each(|due| shelf.put(due));
        Vec::new()
    }

    /// Takes out who is next: the lane's first.
    pub(super) fn next(&mut self, now: Instant) -> Option<Due> {
        for priority in 0..PRIORITIES {
            let Some((lane, begins, weight)) = self.next_of(priority, now) else {
                continue;
            };
            self.turns[priority] = begins;
            let shelf = self.shelf_mut(lane)?;
            shelf.turn = begins + 1.0 / weight;
            return shelf.take();
        }
        None
    }

    /// Whose turn it is in a priority, when that begins, and the lane's weight.
    fn next_of(&mut self, priority: usize, now: Instant) -> Option<(LaneOf, f64, f64)> {
        let turn = self.turns[priority];
        let own = &self.own[priority];
        let mut next = (!own.waiting.is_empty())
            .then(|| (LaneOf::Own(priority as i16), own.turn.max(turn), OWN_WEIGHT));
        let bulk_has_room = priority < BULK as usize || has_room(&mut self.bulk, now);
        for (id, lane) in &mut self.campaigns {
            let begins = lane.shelf.turn.max(turn);
            let is_next = lane.priority() as usize == priority
                && !lane.shelf.waiting.is_empty()
                && next.is_none_or(|(_, first, _)| begins < first)
                && bulk_has_room
                && lane.throttle.as_mut().is_none_or(|own| has_room(own, now));
            if is_next {
                next = Some((LaneOf::Campaign(*id), begins, lane.weight()));
            }
        }
        next
    }

    /// Puts a message back that may not leave yet.
    pub(super) fn put_back(&mut self, due: Due) {
        if let Some(shelf) = self.shelf_mut(LaneOf::of(&due)) {
            shelf.put(due);
        }
    }

    /// What a message of a campaign needs to leave beside its sender's permit: the permits of its campaign, and what it says.
    pub(super) fn charge(
        &mut self,
        due: &Due,
        now: Instant,
    ) -> (Vec<Permit>, Option<Arc<Content>>) {
        let Some(lane) = self.campaigns.get_mut(&due.campaign) else {
            return (Vec::new(), None);
        };
        let bulk = (lane.priority() >= BULK).then_some(&mut self.bulk);
        let limits = bulk.into_iter().chain(lane.throttle.as_mut());
        let permits = limits.filter_map(|limit| limit.take(now).ok()).collect();
        (permits, Some(Arc::clone(&lane.campaign.content)))
    }

    /// The campaign of a message, as long as it runs.
    pub(super) fn campaign(&self, due: &Due) -> Option<&Campaign> {
        self.campaigns
            .get(&due.campaign)
            .map(|lane| lane.campaign.as_ref())
    }

    /// Whether a message that was begun may leave still, as far as its campaign goes.
    pub(super) fn let_leave(&self, due: &Due) -> bool {
        due.campaign == 0 || self.campaigns.contains_key(&due.campaign)
    }

    /// Drops all that is at hand.
    pub(super) fn clear(&mut self) {
        self.own
            .iter_mut()
            .chain(self.campaigns.values_mut().map(|lane| &mut lane.shelf))
            .for_each(Shelf::clear);
    }
}

impl Lane {
    /// So many are worth having at hand: what may leave in a second or so.
    fn enough(&self, of_sender: usize, now: Instant) -> usize {
        let a_second = self
            .throttle
            .as_ref()
            .map_or(usize::MAX, |own| own.limit(now).ceil() as usize);
        a_second.max(LEAST_AHEAD).min(of_sender)
    }
}

/// So many of a sender's messages are worth having at hand, at most `read_ahead`.
pub(super) fn enough(rate_per_second: f64, read_ahead: usize) -> usize {
    let a_second = rate_per_second.ceil() as usize;
    a_second.max(LEAST_AHEAD).min(read_ahead)
}

/// Less than half is there of what is worth having at hand.
fn is_low(there: usize, enough: usize) -> bool {
    there < enough.div_ceil(2)
}

fn limits(rate_per_second: f64) -> Limits {
    Limits {
        rate_per_second,
        pair_period: Duration::ZERO,
        pair_burst: 1,
    }
}

fn throttle(rate_per_second: f64, start: Start, now: Instant) -> SenderThrottle {
    SenderThrottle::new(limits(rate_per_second), start, now)
}

fn set_rate(throttle: &mut SenderThrottle, rate_per_second: f64, now: Instant) {
    throttle.set_limits(limits(rate_per_second), now);
}

fn has_room(throttle: &mut SenderThrottle, now: Instant) -> bool {
    throttle.how_many(now, Duration::ZERO) > 0
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
pub(super) mod tests;
