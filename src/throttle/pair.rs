//! How fast one sender may write to one recipient.
//!
//! Meta allows one message in six seconds and lends a burst of 45 (About the platform, "Pair rate limits"): a bucket for each
//! recipient. Between any two messages, n apart, lie at least n + 1 − burst periods, also across a change of owner.
//!
//! **A change of owner.** The last owner may have spent a recipient's whole burst, and nobody can ask it. Where a burst has room
//! for it, one of it is kept back at all times for just this: a new owner sends one message to each recipient at once, and
//! starts the rest of the bucket empty. So nothing waits after a change but bursts, and the limit is exact as long as owners
//! change no oftener than once in a period. Of a small burst one is too much to keep back (it would be more than 3 % of it);
//! there a new owner leaves each recipient alone for one period.
//!
//! A recipient that WhatsApp itself calls too fast (131056) is left alone for 4^x seconds, and nobody else is.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Start;
use super::cell::Cells;
use crate::domain::retry::{LONGEST_PAIR_DELAY, pair_delay};

/// The smallest burst of which one can be kept back: a thirty-fourth is less than 3 %.
const ENOUGH_TO_KEEP_ONE_BACK: u32 = 34;
/// Who asks this shortly before a booked time is the one who booked it: its clock, or the database's, runs ahead of ours.
const EARLY: u64 = 1_000_000_000;

/// The limits of one sender's recipients.
pub(super) struct Pairs {
    epoch: Instant,
    /// None where there is no limit.
    limit: Option<Limit>,
    /// When the bucket of a recipient that is not remembered will be full.
    unknown_full_at: u64,
    remembered: HashMap<String, Pair>,
    most_remembered: usize,
}

struct Limit {
    cells: Cells,
    /// The first message to each recipient may leave although its bucket is empty.
    first_at_once: bool,
}

/// What is remembered of a recipient.
struct Pair {
    full_at: u64,
    /// Whether a message has left for it under this owner.
    begun: bool,
    /// The bucket was last found full, or set, at this time: what left before cannot be given back.
    counts_from: u64,
    /// The last time that was promised to a message.
    booked: u64,
    /// The booked time that was named once more to somebody who came early.
    named_again: u64,
    /// WhatsApp said that it is too fast: nothing before this.
    shut_until: u64,
    /// So often in a row.
    refusals: u32,
}

impl Pair {
    fn new(full_at: u64) -> Self {
        Self {
            full_at,
            begun: false,
            counts_from: 0,
            booked: 0,
            named_again: 0,
            shut_until: 0,
            refusals: 0,
        }
    }

    /// Until when there is more to remember than its bucket.
    fn busy_until(&self) -> u64 {
        let refused = match self.refusals {
            0 => 0,
            _ => self.shut_until + nanos(LONGEST_PAIR_DELAY),
        };
        self.booked.max(refused)
    }

    /// Until when it must be remembered, so that it is allowed no more for having been forgotten.
    fn matters_until(&self, unknown_full_at: u64) -> u64 {
        let as_if_unknown = !self.begun && self.full_at <= unknown_full_at;
        let full_at = if as_if_unknown { 0 } else { self.full_at };
        self.busy_until().max(full_at)
    }
}

impl Limit {
    /// None where the period is zero: then there is no limit.
    fn new(period: Duration, burst: u32, start: Start) -> Option<Self> {
        let kept_back = burst >= ENOUGH_TO_KEEP_ONE_BACK;
        let burst = u64::from(burst.max(1)) - u64::from(kept_back);
        (!period.is_zero()).then(|| Self {
            cells: Cells::new(nanos(period), burst),
            first_at_once: kept_back && start == Start::Empty,
        })
    }

    /// The state of a bucket that is empty at `now`.
    fn empty_at(&self, now: u64) -> u64 {
        now + self.cells.burst() * self.cells.period()
    }
}

impl Pairs {
    /// One message in `period` to each recipient, and `burst` at once; no limit if `period` is zero. [`Start::Empty`] for a
    /// sender that somebody else may have worked up to `now`. Remembers no more than `most_remembered` recipients.
    pub(super) fn new(
        (period, burst): (Duration, u32),
        start: Start,
        most_remembered: usize,
        now: Instant,
    ) -> Self {
        let limit = Limit::new(period, burst, start);
        let unknown_full_at = match (&limit, start) {
            (Some(limit), Start::Empty) => limit.empty_at(0),
            (Some(_), Start::Full) | (None, _) => 0,
        };
        Self {
            epoch: now,
            limit,
            unknown_full_at,
            remembered: HashMap::new(),
            most_remembered: most_remembered.max(1),
        }
    }

    /// Takes up another limit. What was spent under the old one still counts, and what was promised does not: under a looser one there
    /// is room sooner, and under a stricter one those who come too soon are given another time.
    pub(super) fn set_limit(&mut self, (period, burst): (Duration, u32), now: Instant) {
        let now = self.since_epoch(now);
        // A limit where there was none counts from now on.
        let start = if self.limit.is_some() {
            Start::Empty
        } else {
            Start::Full
        };
        let mut limit = Limit::new(period, burst, start);
        self.remembered
            .values_mut()
            .for_each(|pair| pair.booked = 0);
        if let (Some(new), Some(old)) = (&mut limit, &self.limit) {
            new.first_at_once &= old.first_at_once;
            let taken_over = |full_at| new.cells.taken_over(full_at, &old.cells, now);
            self.unknown_full_at = taken_over(self.unknown_full_at);
            for pair in self.remembered.values_mut() {
                pair.full_at = taken_over(pair.full_at);
                pair.counts_from = now + 1;
            }
        } else {
            self.unknown_full_at = 0;
            self.remembered
                .values_mut()
                .for_each(|pair| pair.full_at = 0);
        }
        self.limit = limit;
    }

    /// Whether a message may leave for this recipient now. A yes is spent.
    pub(super) fn may(&mut self, recipient: &str, now: Instant) -> bool {
        let now = self.since_epoch(now);
        let Some(limit) = &self.limit else {
            return self
                .remembered
                .get(recipient)
                .is_none_or(|pair| pair.shut_until <= now);
        };
        let unknown = Pair::new(self.unknown_full_at);
        let pair = self.remembered.get(recipient).unwrap_or(&unknown);
        if pair.shut_until > now {
            return false;
        }
        let first = limit.first_at_once && !pair.begun;
        let Ok(full_at) = limit
            .cells
            .take(pair.full_at, now)
            .or_else(|free_at| match first {
                true => Ok(pair.full_at.max(now) + limit.cells.period()),
                false => Err(free_at),
            })
        else {
            return false;
        };
        let pair = self.remember(recipient, now);
        if pair.full_at <= now {
            pair.counts_from = now;
        }
        pair.full_at = full_at;
        pair.begun = true;
        true
    }

    /// A message that was allowed at `asked_at` has not left: its place in the bucket is free again.
    pub(super) fn unused(&mut self, recipient: &str, asked_at: Instant) {
        let asked_at = self.since_epoch(asked_at);
        if let (Some(limit), Some(pair)) = (&self.limit, self.remembered.get_mut(recipient))
            && pair.counts_from <= asked_at
        {
            pair.full_at = pair.full_at.saturating_sub(limit.cells.period());
        }
    }

    /// A time for a message that may not leave now. Each further one gets a later one by a period, so that many messages to
    /// one recipient are put off once each, and not again and again.
    pub(super) fn book(&mut self, recipient: &str, now: Instant) -> Instant {
        let now = self.since_epoch(now);
        let (period, free_at) = match (&self.limit, self.remembered.get(recipient)) {
            (Some(limit), pair) => {
                let full_at = pair.map_or(self.unknown_full_at, |pair| pair.full_at);
                (limit.cells.period(), limit.cells.free_at(full_at))
            }
            (None, _) => (0, 0),
        };
        let pair = self.remember(recipient, now);
        let free_at = free_at.max(pair.shut_until).max(now);
        let time = if pair.booked <= now {
            free_at
        } else if free_at <= now + EARLY.min(period / 2) && pair.named_again != free_at {
            pair.named_again = free_at;
            free_at
        } else {
            free_at.max(pair.booked + period)
        };
        pair.booked = pair.booked.max(time);
        self.instant(time)
    }

    /// WhatsApp said that this recipient got too many: nothing for it until the time returned. The wait is four times as
    /// long each time in a row. An answer to what left before the recipient was shut teaches nothing new.
    pub(super) fn refused(
        &mut self,
        recipient: &str,
        at_least: Option<Duration>,
        now: Instant,
    ) -> Instant {
        let now = self.since_epoch(now);
        let all_but_one = self
            .limit
            .as_ref()
            .map_or(0, |limit| (limit.cells.burst() - 1) * limit.cells.period());
        let pair = self.remember(recipient, now);
        if pair.shut_until <= now {
            let wait = pair_delay(pair.refusals).max(at_least.unwrap_or_default());
            pair.shut_until = now + nanos(wait);
            pair.refusals = pair.refusals.saturating_add(1);
            // Its bucket is emptier than ours was: when the wait is over, one message finds out.
            pair.full_at = pair.full_at.max(pair.shut_until + all_but_one);
            pair.counts_from = now + 1;
        }
        let until = pair.shut_until;
        self.instant(until)
    }

    /// A message to this recipient was accepted. One that left before the recipient was shut says nothing about it.
    pub(super) fn accepted(&mut self, recipient: &str, now: Instant) {
        let now = self.since_epoch(now);
        if let Some(pair) = self.remembered.get_mut(recipient)
            && pair.shut_until <= now
        {
            pair.refusals = 0;
        }
    }

    /// How often in a row this recipient was refused.
    pub(super) fn refusals(&self, recipient: &str) -> u32 {
        self.remembered
            .get(recipient)
            .map_or(0, |pair| pair.refusals)
    }

    /// Forgets recipients of whom nothing matters any more.
    pub(super) fn forget_free(&mut self, now: Instant) {
        let now = self.since_epoch(now);
        self.forget_free_at(now);
        self.remembered.shrink_to_fit();
    }

    /// How many recipients are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.remembered.len()
    }

    fn forget_free_at(&mut self, now: u64) {
        let unknown = self.unknown_full_at;
        self.remembered
            .retain(|_, pair| pair.matters_until(unknown) > now);
    }

    fn remember(&mut self, recipient: &str, now: u64) -> &mut Pair {
        if !self.remembered.contains_key(recipient) {
            self.make_room(now);
        }
        self.remembered
            .entry(recipient.to_owned())
            .or_insert_with(|| Pair::new(self.unknown_full_at))
    }

    /// Where too many are remembered: forgets the free ones, and if nearly all are busy, a tenth: those who are free soonest.
    fn make_room(&mut self, now: u64) {
        if self.remembered.len() < self.most_remembered {
            return;
        }
        self.forget_free_at(now);
        let mut too_many = self
            .remembered
            .len()
            .saturating_sub(self.most_remembered - self.most_remembered.div_ceil(10));
        if too_many == 0 {
            return;
        }
        let ends = |pair: &Pair| pair.busy_until().max(pair.full_at);
        let mut all: Vec<u64> = self.remembered.values().map(ends).collect();
        let (_, &mut last, _) = all.select_nth_unstable(too_many - 1);
        self.remembered.retain(|_, pair| {
            let goes = too_many > 0 && ends(pair) <= last;
            too_many -= usize::from(goes);
            !goes
        });
    }

    fn since_epoch(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.epoch))
    }

    fn instant(&self, nanos: u64) -> Instant {
        self.epoch + Duration::from_nanos(nanos)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX >> 3)
}

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
