//! How fast one sender may go.
//!
//! In no half-open window of one second do more requests leave than the rate, whatever the demand, however long each takes from
//! its permit to the wire, however the rate changes, and across a change of owner. Two rules together keep it. A permit is given
//! only while the requests of the last window and those that have their permit and have not left come to less than the rate: that
//! is exact and wastes nothing, for it leaves no slack to lose by asking late. And a bucket (GCRA) of a few hundredths of a
//! second's worth spreads the permits over the second: so a new owner knows how much the last one can have used, without asking.
//!
//! **On the way.** WhatsApp counts requests when they come, and not all are on the way for the same time. The answer tells: a
//! request that was answered later than the fastest by some time may have come later by as much, and is counted as if it had
//! left that much later, up to 25 ms. More would let a slow answer, which says nothing about the way, cost the rate.
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

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Start;
use super::cell::Cells;

const SECOND: u64 = 1_000_000_000;
/// The window that is kept: a little longer than a second, for what no clock of ours can see. Costs 0.3 % of the rate.
const WINDOW: u64 = 1_003_000_000;
/// A request is counted this much after it left at the latest.
const MOST_DELAYED: u64 = 25_000_000;
/// The fastest answer is the fastest of the last one or two of these.
const FASTEST_OF: u64 = 10 * SECOND;
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

/// Tells a permit that its request was answered.
#[derive(Debug)]
pub struct Receipt(Arc<Slip>);

/// What a bucket and one of its permits both know.
#[derive(Debug)]
struct Slip {
    epoch: Instant,
    given_at: u64,
    left: AtomicU64,
    answered: AtomicU64,
}

/// Its request has not left yet, or was not answered yet.
const NOT_YET: u64 = u64::MAX;
/// It never will.
const NEVER: u64 = u64::MAX - 1;

impl Permit {
    fn new(epoch: Instant, given_at: u64) -> Self {
        Self(Arc::new(Slip {
            epoch,
            given_at,
            left: AtomicU64::new(NOT_YET),
            answered: AtomicU64::new(NOT_YET),
        }))
    }

    /// The request leaves now. Tells how late that is; see the change of owner, above.
    pub fn leaves(&self, now: Instant) -> Duration {
        let now = nanos_since(self.0.epoch, now);
        self.0.left.store(now, Ordering::Release);
        Duration::from_nanos(now.saturating_sub(self.0.given_at))
    }

    /// For who waits for the answer.
    pub fn receipt(&self) -> Receipt {
        Receipt(Arc::clone(&self.0))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let unused = |left| (left == NOT_YET).then_some(NEVER);
        // Where it has left, it stays so.
        let _ = (self.0.left).fetch_update(Ordering::AcqRel, Ordering::Acquire, unused);
    }
}

impl Receipt {
    /// The answer came, or it was given up.
    pub fn answered(&self, now: Instant) {
        let now = nanos_since(self.0.epoch, now);
        self.0.answered.store(now, Ordering::Release);
    }
}

/// The least of the last [`FASTEST_OF`] and of the one before.
#[derive(Debug, Default)]
struct Fastest {
    since: u64,
    now: Option<u64>,
    before: Option<u64>,
}

impl Fastest {
    fn learn(&mut self, took: u64, now: u64) {
        if now >= self.since + FASTEST_OF {
            self.before = self.now.take();
            self.since = now;
        }
        self.now = Some(self.now.map_or(took, |least| least.min(took)));
    }

    fn get(&self) -> u64 {
        let both = self.now.into_iter().chain(self.before);
        both.min().unwrap_or(0)
    }
}

/// Gives permits at a rate.
pub(super) struct Bucket {
    epoch: Instant,
    rate: f64,
    pace: Pace,
    /// The state of the bucket: when it will be full.
    full_at: u64,
    /// When the requests of the last window count as having left, in order of time.
    left: VecDeque<u64>,
    /// Those of which it is not known yet.
    open: VecDeque<Arc<Slip>>,
    /// How long the fastest answer took.
    fastest: Fastest,
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
            open: VecDeque::new(),
            fastest: Fastest::default(),
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
                self.open.push_back(Arc::clone(&permit.0));
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
        let known = OnceCell::new();
        let (count, mut full_at) = (self.left.len() + self.open.len(), self.full_at);
        let mut more: Vec<u64> = Vec::new();
        loop {
            let room = (count + more.len())
                .checked_sub(self.pace.most)
                .map_or(0, |nth| {
                    let known = known.get_or_init(|| self.known());
                    let left = known.get(nth).or_else(|| more.get(nth - count));
                    left.map_or(at, |left| left + self.pace.window)
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
        let known = self.known();
        known.len() - known.partition_point(|left| left + SECOND <= now)
    }

    /// From when the window has room for one more.
    fn window_has_room_at(&self, now: u64) -> u64 {
        let Some(too_many) = (self.left.len() + self.open.len()).checked_sub(self.pace.most) else {
            return 0;
        };
        // Of those that are open the window's end is not known.
        self.left
            .get(too_many)
            .map_or(now + ASK_AGAIN, |left| left + self.pace.window)
    }

    /// Takes note of what has become of requests, and forgets those from before the window.
    fn take_note(&mut self, now: u64) {
        let (left, fastest) = (&mut self.left, &mut self.fastest);
        self.open.retain(|slip| {
            let answered = slip.answered.load(Ordering::Acquire);
            match slip.left.load(Ordering::Acquire) {
                NOT_YET => true,
                NEVER => false,
                at => {
                    if answered != NOT_YET {
                        fastest.learn(answered.saturating_sub(at), now);
                    }
                    let counts_at = counts_at(at, answered.min(now), fastest.get());
                    let is_known = answered != NOT_YET || counts_at == at + MOST_DELAYED;
                    if is_known {
                        let place = left.partition_point(|before| *before <= counts_at);
                        left.insert(place, counts_at);
                    }
                    !is_known
                }
            }
        });
        let window = self.pace.window;
        let gone = left.partition_point(|at| at + window <= now);
        left.drain(..gone);
        self.open.retain(|slip| {
            let at = slip.left.load(Ordering::Acquire);
            at >= NEVER || at + MOST_DELAYED + window > now
        });
    }

    /// When all that are counted left, as far as is known now, in order of time.
    fn known(&self) -> Vec<u64> {
        let (now, fastest) = (self.latest, self.fastest.get());
        let open = self
            .open
            .iter()
            .map(|slip| match slip.left.load(Ordering::Acquire) {
                NOT_YET | NEVER => now,
                at => counts_at(at, now, fastest),
            });
        let mut known: Vec<u64> = self.left.iter().copied().chain(open).collect();
        known.sort_unstable();
        known
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

/// When a request that left at `left`, and was answered, or was not by now, at `answered`, may have come at the latest, were
/// it on the way for no time.
fn counts_at(left: u64, answered: u64, fastest: u64) -> u64 {
    let delayed = answered.saturating_sub(left).saturating_sub(fastest);
    left + delayed.min(MOST_DELAYED)
}

fn nanos_since(epoch: Instant, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX >> 2)
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
