//! How fast one sender may go.
//!
//! In no half-open window of one second do more requests leave than the rate, whatever the demand, however long each takes from
//! its permit to the wire, however the rate changes, and across a change of owner. Two rules together keep it. A permit is given
//! only while the requests of the last window and those that have their permit and have not left come to less than the rate: that
//! is exact and wastes nothing, for it leaves no slack to lose by asking late. And a bucket (GCRA) of a few hundredths of a
//! second's worth spreads the permits over the second: so a new owner knows how much the last one can have used, without asking.
//!
//! **A change of owner.** An owner gives its i-th permit no sooner than (i − burst) periods after its first. A new owner, who
//! starts its bucket so empty that its first permit is `burst` periods away, gives its k-th burst + k − 1 periods after the
//! change. So i + k permits span i + k − 1 periods or more, and one more than the rate spans a window. That holds as well if
//! the old owner's rate was lowered and raised meanwhile, for a bucket keeps its tokens when the rate changes, and so never
//! has more of them than one that had run at the highest rate. Where requests of the old owner left later than their permits,
//! the change has to be put off by as much as the latest was late ([`Permit::leaves`] tells).
//!
//! The bucket alone would not do. To be exact over any window its burst has to be taken off its pace, and a burst large
//! enough not to lose by late timers costs a slow sender much of its rate (two at 20/s: a twentieth).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Start;
use super::cell::Cells;

const SECOND: u64 = 1_000_000_000;
/// The window that is kept: longer than a second, because a request is counted at the other end a little after it has left, and
/// not always by the same little. Costs 0.8 % of the rate.
const WINDOW: u64 = 1_008_000_000;
/// A permit that is asked for this much too late is not lost: the bucket's burst makes up for it.
const LATE: u64 = 25_000_000;
/// The slowest and the fastest rate that is understood, requests a second.
const SLOWEST: f64 = 0.000_1;
const FASTEST: f64 = 100_000.0;
/// When the requests that have not left are as many as the rate, nobody can say when the next may: then it is asked again.
const ASK_AGAIN: u64 = 1_000_000;

/// The right to make one request now. Taken before its request is made; given back by being dropped before that left.
#[derive(Debug)]
#[must_use]
pub struct Permit(Arc<Slip>);

/// What a bucket and one of its permits both know.
#[derive(Debug)]
struct Slip {
    epoch: Instant,
    given_at: u64,
    left: AtomicU64,
}

/// Its request has not left yet.
const HERE: u64 = u64::MAX;
/// Nor ever will.
const UNUSED: u64 = u64::MAX - 1;

impl Permit {
    fn new(epoch: Instant, given_at: u64) -> Self {
        Self(Arc::new(Slip {
            epoch,
            given_at,
            left: AtomicU64::new(HERE),
        }))
    }

    /// The request leaves now. Tells how late that is; see the change of owner, above.
    pub fn leaves(&self, now: Instant) -> Duration {
        let now = nanos_since(self.0.epoch, now);
        self.0.left.store(now, Ordering::Release);
        Duration::from_nanos(now.saturating_sub(self.0.given_at))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let unused = |left| (left == HERE).then_some(UNUSED);
        // Where it has left, it stays so.
        let _ = (self.0.left).fetch_update(Ordering::AcqRel, Ordering::Acquire, unused);
    }
}

/// Gives permits at a rate.
pub(super) struct Bucket {
    epoch: Instant,
    rate: f64,
    pace: Pace,
    /// The state of the bucket: when it will be full.
    full_at: u64,
    /// When the requests of the last window left, in order of time.
    left: VecDeque<u64>,
    /// The permits of those that have not.
    leaving: VecDeque<Arc<Slip>>,
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
            left: VecDeque::new(),
            leaving: VecDeque::new(),
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
    }

    /// A permit for one request now, or the time from which there may be one.
    pub(super) fn take(&mut self, now: Instant) -> Result<Permit, Instant> {
        let now = self.nanos(now);
        self.take_note(now);
        let window_has_room = self.window_has_room_at(now);
        if window_has_room > now {
            let bucket_has_one = self.pace.cells.free_at(self.full_at);
            return Err(self.instant(window_has_room.max(bucket_has_one)));
        }
        match self.pace.cells.take(self.full_at, now) {
            Ok(full_at) => {
                self.full_at = full_at;
                let permit = Permit::new(self.epoch, now);
                self.leaving.push_back(Arc::clone(&permit.0));
                Ok(permit)
            }
            Err(free_at) => Err(self.instant(free_at)),
        }
    }

    /// How many permits would be given from `from` until `until`, both included, if each were taken as soon as it is there and
    /// its request, like those that are leaving now, left at once.
    pub(super) fn how_many(&mut self, from: Instant, until: Instant) -> usize {
        self.take_note(self.latest);
        let (from, until) = (self.since_epoch(from), self.since_epoch(until));
        let mut at = from.max(self.latest);
        let (known, before) = (self.left.len(), self.left.len() + self.leaving.len());
        let (start, mut full_at) = (at, self.full_at);
        let mut more: Vec<u64> = Vec::new();
        loop {
            let room = (before + more.len())
                .checked_sub(self.pace.most)
                .map_or(0, |nth| {
                    let left = match nth {
                        nth if nth < known => self.left[nth],
                        nth if nth < before => start,
                        nth => more[nth - before],
                    };
                    left + self.pace.window
                });
            at = at.max(room).max(self.pace.cells.free_at(full_at));
            match self.pace.cells.take(full_at, at) {
                Ok(after) if at <= until => full_at = after,
                _ => return more.len(),
            }
            more.push(at);
        }
    }

    /// Requests that left in the last second, or are about to.
    pub(super) fn left_lately(&mut self, now: Instant) -> usize {
        let now = self.nanos(now);
        self.take_note(now);
        let lately = |left: &&u64| **left + SECOND > now;
        self.leaving.len() + self.left.iter().rev().take_while(lately).count()
    }

    /// From when the window has room for one more.
    fn window_has_room_at(&self, now: u64) -> u64 {
        let Some(too_many) = (self.left.len() + self.leaving.len()).checked_sub(self.pace.most)
        else {
            return 0;
        };
        // Of those that are leaving the window's end is not known.
        self.left
            .get(too_many)
            .map_or(now + ASK_AGAIN, |left| left + self.pace.window)
    }

    /// Takes note of what has left, and forgets what left before the window.
    fn take_note(&mut self, now: u64) {
        let left = &mut self.left;
        self.leaving
            .retain(|slip| match slip.left.load(Ordering::Acquire) {
                HERE => true,
                UNUSED => false,
                at => {
                    left.insert(left.partition_point(|before| *before <= at), at);
                    false
                }
            });
        let gone = left.partition_point(|at| at + self.pace.window <= now);
        left.drain(..gone);
    }

    fn nanos(&mut self, now: Instant) -> u64 {
        self.latest = self.latest.max(self.since_epoch(now));
        self.latest
    }

    fn since_epoch(&self, at: Instant) -> u64 {
        nanos_since(self.epoch, at)
    }

    fn instant(&self, nanos: u64) -> Instant {
        self.epoch + Duration::from_nanos(nanos)
    }
}

fn nanos_since(epoch: Instant, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX >> 2)
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
