//! The desk of one sender: what was read ahead, in the order it leaves.
//!
//! Nothing here is a promise: a message on a desk is still queued in the database, and is dropped with the desk. The place
//! where reading goes on is a hint too; from time to time the desk reads from the front again, for what was committed late
//! or came back lies behind.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::ownership::Held;
use crate::domain::id::{Epoch, MessageId, SenderId};
use crate::provider::Endpoint;
use crate::store::claim::{Ask, Due};
use crate::throttle::{Limits, Permit, SenderThrottle, Start};

/// 0 (urgent) to 9 (bulk).
const PRIORITIES: i16 = 10;
/// A hold is written and read back within this time. If it could not be written, the next message finds its cause again.
const HOLD_SHOWS_WITHIN: Duration = Duration::from_secs(3);
/// Before every message there is.
const FRONT: (OffsetDateTime, i64) = (OffsetDateTime::UNIX_EPOCH, 0);

/// Reads ahead for one sender and gives out what may leave.
pub struct Desk {
    pub(super) sender: SenderId,
    pub(super) epoch: Epoch,
    pub(super) credential: String,
    pub(super) endpoint: Option<Arc<Endpoint>>,
    pub(super) throttle: SenderThrottle,
    pub(super) in_flight: usize,
    held: bool,
    /// Closed until then, although the settings may not say yet that the sender is held.
    closed_until: Option<Instant>,
    max_in_flight: usize,
    read_ahead: usize,
    waiting: BTreeMap<(i16, OffsetDateTime, i64), Due>,
    known: HashSet<i64>,
    places: [(OffsetDateTime, i64); PRIORITIES as usize],
    exhausted: bool,
    next_read: Instant,
    next_rescan: Instant,
    permit: Option<Permit>,
}

/// What a desk gives out at one moment.
#[derive(Default)]
pub struct Picked {
    /// May leave now.
    pub leaving: Vec<Due>,
    /// May not leave before the time given: its recipient's limit.
    pub put_off: Vec<(MessageId, OffsetDateTime)>,
    /// When to look again for a permit.
    pub permit_in: Option<Duration>,
}

/// How desks read.
#[derive(Clone, Copy, Debug)]
pub struct DeskSettings {
    /// Messages kept at hand.
    pub read_ahead: usize,
    /// Requests out at once, where the sender's own setting says nothing.
    pub max_in_flight: usize,
}

impl Desk {
    /// An empty desk for a sender that was just taken.
    pub fn new(held: &Held, settings: DeskSettings, now: Instant, wall: OffsetDateTime) -> Self {
        let mut desk = Self {
            sender: held.held.sender.id(),
            epoch: held.held.epoch,
            credential: String::new(),
            endpoint: None,
            throttle: SenderThrottle::new(limits(held), Start::Empty, now),
            in_flight: 0,
            held: false,
            closed_until: None,
            max_in_flight: 1,
            read_ahead: settings.read_ahead,
            waiting: BTreeMap::new(),
            known: HashSet::new(),
            places: [FRONT; PRIORITIES as usize],
            exhausted: false,
            next_read: now,
            next_rescan: now,
            permit: None,
        };
        desk.take_up(held, settings, now, wall);
        desk
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
        self.endpoint = held.endpoint.clone();
        self.credential.clone_from(&sender.credential);
        self.throttle.set_limits(limits(held), now);
        self.max_in_flight = sender
            .max_in_flight
            .map_or(settings.max_in_flight, |limit| limit.max(1) as usize);
        self.held = sender.hold_at(wall).is_some();
        if self.held {
            self.closed_until = None;
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

    /// Nothing at hand and nothing out.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    /// When it wants to read next.
    pub fn next_read(&self) -> Instant {
        self.next_read
    }

    /// Reads at the next occasion: somebody said that there may be something new.
    pub fn look_soon(&mut self, now: Instant) {
        self.next_read = now;
    }

    /// What to read now; nothing when the desk is full or it is not time.
    pub fn asks(&mut self, now: Instant, rescan_every: Duration) -> Vec<Ask> {
        let low = self.waiting.len() < self.read_ahead / 2;
        if !self.is_open(now) || now < self.next_read && (self.exhausted || !low) {
            return Vec::new();
        }
        if self.exhausted || now >= self.next_rescan {
            self.places = [FRONT; PRIORITIES as usize];
            self.next_rescan = now + rescan_every;
        }
        let mut asks = Vec::new();
        let mut ahead = 0;
        for priority in 0..PRIORITIES {
            let here = self
                .waiting
                .range((priority, FRONT.0, 0)..(priority + 1, FRONT.0, 0))
                .count();
            ahead += here;
            let room = self.read_ahead.saturating_sub(ahead);
            if room > 0 {
                let after = self.places[priority as usize];
                // From the front, what is at hand already is found again and must not use up the room.
                let again = if after == FRONT { here } else { 0 };
                asks.push(Ask {
                    sender: self.sender.clone(),
                    priority,
                    after,
                    limit: (room + again) as i64,
                });
            }
        }
        self.exhausted = true;
        asks
    }

    /// Takes in what was read for one of its asks.
    pub fn take_in(&mut self, ask: &Ask, found: Vec<Due>, now: Instant, look_again_in: Duration) {
        let full = found.len() as i64 >= ask.limit;
        if let Some(last) = found.last() {
            self.places[ask.priority as usize] = (last.due_at, last.id.0);
        }
        self.exhausted &= !full;
        for due in found {
            if self.known.insert(due.id.0) {
                self.waiting
                    .insert((due.priority, due.due_at, due.id.0), due);
            }
        }
        self.next_read = now + look_again_in;
    }

    /// Gives out what may leave now: in order, as many as its limits permit, and never more than may be out.
    pub fn pick(&mut self, now: Instant, wall: OffsetDateTime) -> Picked {
        let mut picked = Picked::default();
        if !self.is_open(now) {
            return picked;
        }
        while self.in_flight + picked.leaving.len() < self.max_in_flight && !self.waiting.is_empty()
        {
            if self.permit.is_none() {
                match self.throttle.take(now) {
                    Ok(permit) => self.permit = Some(permit),
                    Err(when) => {
                        picked.permit_in = Some(when.saturating_duration_since(now));
                        break;
                    }
                }
            }
            let Some((_, due)) = self.waiting.pop_first() else {
                break;
            };
            if due.expires_at.is_some_and(|expires_at| expires_at <= wall) {
                // The sweep for overdue messages ends it; here it only must not leave.
                self.known.remove(&due.id.0);
                continue;
            }
            match self.throttle.pair(&due.recipient, now) {
                Ok(()) => {
                    self.permit = None;
                    picked.leaving.push(due);
                }
                Err(until) => {
                    self.known.remove(&due.id.0);
                    let until = wall + until.saturating_duration_since(now);
                    picked.put_off.push((due.id, until));
                }
            }
        }
        picked
    }

    /// A message has left the desk for good: begun, or found to be gone.
    pub fn forget(&mut self, id: MessageId) {
        self.known.remove(&id.0);
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
