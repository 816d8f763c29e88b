//! How fast one sender may go.
//!
//! In no half-open window of one second are more permits given than the rate, whatever the demand, however the rate changes,
//! and across a change of owner. Two rules together keep it. The last permits are remembered, and none is given while a whole
//! second's worth lies within the window: that is exact and wastes nothing, for it leaves no slack to lose by asking late. And
//! a bucket (GCRA) of a few hundredths of a second's worth spreads the permits over the second: so a new owner knows how much
//! the last one can have used, without asking.
//!
//! **A change of owner.** An owner gives its i-th permit no sooner than (i − burst) periods after its first. A new owner, who
//! starts its bucket so empty that its first permit is `burst` periods away, gives its k-th burst + k − 1 periods after the
//! change. So i + k permits span i + k − 1 periods or more, and one more than the rate spans a window. That holds as well if
//! the old owner's rate was lowered and raised meanwhile, for a bucket keeps its tokens when the rate changes, and so never
//! has more of them than one that had run at the highest rate.
//!
//! The bucket alone would not do. To be exact over any window its burst has to be taken off its pace, and a burst large
//! enough not to lose by late timers costs a slow sender much of its rate (two at 20/s: a twentieth).

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::cell::Cells;
use super::{Permit, Start};

const SECOND: u64 = 1_000_000_000;
/// The window that is kept: longer than a second, because a request leaves, and is counted at the other end, a little after
/// its permit, and not always by the same little. Costs 1.5 % of the rate.
const WINDOW: u64 = 1_015_000_000;
/// A permit that is asked for this much too late is not lost: the bucket's burst makes up for it.
const LATE: u64 = 25_000_000;
/// The slowest and the fastest rate that is understood, requests a second.
const SLOWEST: f64 = 0.000_1;
const FASTEST: f64 = 100_000.0;

/// Gives permits at a rate.
pub(super) struct Bucket {
    epoch: Instant,
    rate: f64,
    pace: Pace,
    /// The state of the bucket: when it will be full.
    full_at: u64,
    /// The permits of the last window, in order of time.
    given: VecDeque<Given>,
    next_number: u64,
    /// Time does not go back, even if the caller's does.
    latest: u64,
}

/// What a rate comes to.
struct Pace {
    /// In any window this long, nanoseconds …
    window: u64,
    /// … so many permits at most.
    most: usize,
    cells: Cells,
}

/// A permit that was given.
struct Given {
    number: u64,
    at: u64,
    /// The bucket's state before it, as long as it can be put back.
    before: Option<u64>,
}

impl Pace {
    /// A window can hold no part of a request, so of a rate above one only the whole number counts: 79.5 is 79. A rate
    /// below one is one request in a longer window.
    fn new(rate: f64) -> Self {
        let rate = if rate.is_finite() {
            rate.clamp(SLOWEST, FASTEST)
        } else {
            SLOWEST
        };
        let most = rate.floor().max(1.0) as u64;
        let window = WINDOW.max((SECOND as f64 / rate).ceil() as u64);
        let burst = if most == 1 {
            1
        } else {
            1 + (most * LATE).div_ceil(SECOND)
        };
        Self {
            window,
            most: most as usize,
            cells: Cells::new(window.div_ceil(most), burst),
        }
    }
}

impl Bucket {
    /// A bucket at `rate` permits a second. [`Start::Empty`] for a sender that somebody else may have worked up to `now`.
    pub(super) fn new(rate: f64, start: Start, now: Instant) -> Self {
        let pace = Pace::new(rate);
        let full_at = match start {
            Start::Full => 0,
            Start::Empty => (2 * pace.cells.burst() - 1) * pace.cells.period(),
        };
        Self {
            epoch: now,
            rate,
            pace,
            full_at,
            given: VecDeque::new(),
            next_number: 0,
            latest: 0,
        }
    }

    /// Takes up another rate. What was given under the old one still counts, and nothing is given for the change.
    pub(super) fn set_rate(&mut self, rate: f64, now: Instant) {
        if rate == self.rate {
            return;
        }
        self.rate = rate;
        let now = self.nanos(now);
        let pace = Pace::new(rate);
        if (pace.most, pace.window) == (self.pace.most, self.pace.window) {
            return;
        }
        self.full_at = pace.cells.taken_over(self.full_at, &self.pace.cells, now);
        self.pace = pace;
        self.given.iter_mut().for_each(|given| given.before = None);
    }

    /// A permit for one request now, or the time from which there may be one.
    pub(super) fn take(&mut self, now: Instant) -> Result<Permit, Instant> {
        let now = self.nanos(now);
        self.forget_before(now);
        let window_has_room = self.window_has_room_at(self.given.len(), |nth| self.given[nth].at);
        if window_has_room > now {
            let bucket_has_one = self.pace.cells.free_at(self.full_at);
            return Err(self.instant(window_has_room.max(bucket_has_one)));
        }
        match self.pace.cells.take(self.full_at, now) {
            Ok(full_at) => {
                let number = self.next_number;
                self.next_number += 1;
                let before = Some(std::mem::replace(&mut self.full_at, full_at));
                self.given.push_back(Given {
                    number,
                    at: now,
                    before,
                });
                Ok(Permit { number })
            }
            Err(free_at) => Err(self.instant(free_at)),
        }
    }

    /// How many permits would be given from `from` until `until`, both included, if each were taken as soon as it is there.
    pub(super) fn how_many(&self, from: Instant, until: Instant) -> usize {
        let (mut at, until) = (
            self.since_epoch(from).max(self.latest),
            self.since_epoch(until),
        );
        let first = self.first_within_the_window(at);
        let known = self.given.len() - first;
        let mut full_at = self.full_at;
        let mut more: Vec<u64> = Vec::new();
        loop {
            let room = self.window_has_room_at(known + more.len(), |nth| match nth < known {
                true => self.given[first + nth].at,
                false => more[nth - known],
            });
            at = at.max(room).max(self.pace.cells.free_at(full_at));
            match self.pace.cells.take(full_at, at) {
                Ok(after) if at <= until => full_at = after,
                _ => return more.len(),
            }
            more.push(at);
        }
    }

    /// Takes back a permit that was not used: only for a request of which no byte has left. Its place in the window is free
    /// again at once. Its place in the bucket is, as soon as every later permit has come back too; else it is lost, for
    /// the later ones may rely on it.
    pub(super) fn give_back(&mut self, permit: Permit) {
        let Ok(nth) = self
            .given
            .binary_search_by_key(&permit.number, |given| given.number)
        else {
            return;
        };
        let Some(gone) = self.given.remove(nth) else {
            return;
        };
        match self.given.get_mut(nth) {
            // Were both given back, the bucket would stand as it stood before the first.
            Some(next) => {
                next.before = next.before.and(gone.before);
            }
            None => {
                if let Some(before) = gone.before {
                    self.full_at = before;
                }
            }
        }
    }

    /// Permits given in the last second.
    pub(super) fn given_lately(&self, now: Instant) -> usize {
        let now = self.since_epoch(now);
        self.given
            .iter()
            .rev()
            .take_while(|given| given.at + SECOND > now)
            .count()
    }

    /// From when the window has room for one more after `count` permits, of which `at` tells the times.
    fn window_has_room_at(&self, count: usize, at: impl Fn(usize) -> u64) -> u64 {
        count
            .checked_sub(self.pace.most)
            .map_or(0, |nth| at(nth) + self.pace.window)
    }

    fn first_within_the_window(&self, now: u64) -> usize {
        self.given
            .partition_point(|given| given.at + self.pace.window <= now)
    }

    fn forget_before(&mut self, now: u64) {
        let gone = self.first_within_the_window(now);
        self.given.drain(..gone);
    }

    fn nanos(&mut self, now: Instant) -> u64 {
        self.latest = self.latest.max(self.since_epoch(now));
        self.latest
    }

    fn since_epoch(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX >> 2)
    }

    fn instant(&self, nanos: u64) -> Instant {
        self.epoch + Duration::from_nanos(nanos)
    }
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
