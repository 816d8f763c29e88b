//! `governor`'s cell algorithm (GCRA) as a plain function of state and time.
//!
//! A bucket of `burst` tokens, one more every `period`, is one number: the time at which it will be full. `governor` decides,
//! over a state store and a clock of ours that hold just what is passed in. So buckets can be kept by the thousand, copied to
//! look ahead, and set right when a limit changes, and every rule built on them is tested without waiting.
//!
//! Times are nanoseconds since an epoch that the caller chooses once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

/// No bucket takes longer to fill: 73 years. Keeps every sum of times far from overflowing.
const LONGEST_FILL: u64 = 1 << 61;

/// Decides for all buckets of one size and pace.
pub(super) struct Cells {
    limiter: RateLimiter<NotKeyed, Asked, Asked, NoOpMiddleware<Nanos>>,
    asked: Asked,
    period: u64,
    burst: u64,
}

/// What the limiter is asked about: one bucket at one time.
#[derive(Clone, Default)]
struct Asked(Arc<Question>);

#[derive(Default)]
struct Question {
    full_at: AtomicU64,
    now: AtomicU64,
}

impl Clock for Asked {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.now.load(Ordering::Relaxed).into()
    }
}

impl StateStore for Asked {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (answer, full_at) = decide(Some(self.0.full_at.load(Ordering::Relaxed).into()))?;
        self.0.full_at.store(full_at.into(), Ordering::Relaxed);
        Ok(answer)
    }
}

impl Cells {
    /// Buckets of `burst` tokens (at least one) that get a token every `period` nanoseconds (at least one).
    pub(super) fn new(period: u64, burst: u64) -> Self {
        let period = period.clamp(1, LONGEST_FILL);
        let burst = burst.clamp(1, (LONGEST_FILL / period).min(u64::from(u32::MAX)));
        let size = u32::try_from(burst)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_nanos(period))
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(size);
        // Made while the clock stands at zero: the limiter counts from its birth, and ours must count from the epoch.
        let asked = Asked::default();
        Self {
            limiter: RateLimiter::new(quota, asked.clone(), asked.clone()),
            asked,
            period,
            burst,
        }
    }

    /// Takes a token from a bucket: its new state, or the time from which it has one.
    pub(super) fn take(&self, full_at: u64, now: u64) -> Result<u64, u64> {
        self.asked.0.full_at.store(full_at, Ordering::Relaxed);
        self.asked.0.now.store(now, Ordering::Relaxed);
        match self.limiter.check() {
            Ok(()) => Ok(self.asked.0.full_at.load(Ordering::Relaxed)),
            Err(refused) => Err(refused.earliest_possible().into()),
        }
    }

    /// From when a bucket has a token.
    pub(super) fn free_at(&self, full_at: u64) -> u64 {
        full_at.saturating_sub((self.burst - 1) * self.period)
    }

    /// A bucket with as many tokens as `full_at` has among `before`, or full if it does not hold so many. What was not there
    /// is not given: a limit that is raised lets nothing through that had not been saved up under the old one.
    pub(super) fn taken_over(&self, full_at: u64, before: &Self, now: u64) -> u64 {
        let missing = u128::from(full_at.saturating_sub(now));
        let (old, new) = (u128::from(before.period), u128::from(self.period));
        // missing now = burst now − (burst before − missing before), in tokens of `new` nanoseconds each.
        let grown = u128::from(self.burst) * old + missing;
        let missing = grown.saturating_sub(u128::from(before.burst) * old) * new;
        now + u64::try_from(missing.div_ceil(old)).map_or(LONGEST_FILL, |n| n.min(LONGEST_FILL))
    }

    /// Nanoseconds between two tokens.
    pub(super) fn period(&self) -> u64 {
        self.period
    }

    /// Tokens in a full bucket.
    pub(super) fn burst(&self) -> u64 {
        self.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens counted one by one.
    struct Naive {
        tokens: f64,
        at: u64,
    }

    #[test]
    fn a_cell_decides_like_a_bucket_whose_tokens_are_counted() {
        let mut dice = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (period, burst) = (dice.u64(1..5_000), dice.u64(1..60));
            let cells = Cells::new(period, burst);
            let (mut full_at, mut now) = (0, 0);
            let mut naive = Naive {
                tokens: burst as f64,
                at: 0,
            };
            for _ in 0..500 {
                now += dice.u64(0..period * 3);
                let refilled = (now - naive.at) as f64 / period as f64;
                naive.tokens = (naive.tokens + refilled).min(burst as f64);
                naive.at = now;
                let taken = cells.take(full_at, now);
                assert_eq!(taken.is_ok(), naive.tokens > 1.0 - 1e-6, "{period} {burst}");
                match taken {
                    Ok(after) => {
                        full_at = after;
                        naive.tokens -= 1.0;
                    }
                    Err(free_at) => {
                        assert_eq!(free_at, cells.free_at(full_at));
                        assert!(cells.take(full_at, free_at - 1).is_err());
                        assert!(cells.take(full_at, free_at).is_ok());
                    }
                }
            }
        }
    }

    #[test]
    fn a_bucket_keeps_its_tokens_when_size_and_pace_change() {
        let (small, large) = (Cells::new(100, 2), Cells::new(10, 20));
        let now = 1_000;
        let tokens = |cells: &Cells, full_at: u64| {
            let mut full_at = full_at;
            std::iter::from_fn(|| {
                full_at = cells.take(full_at, now).ok()?;
                Some(())
            })
            .count()
        };
        for (full_at, there) in [(0, 2), (now, 2), (now + 100, 1), (now + 200, 0)] {
            assert_eq!(tokens(&small, full_at), there);
            assert_eq!(
                tokens(&large, large.taken_over(full_at, &small, now)),
                there
            );
        }
        assert_eq!(tokens(&small, small.taken_over(0, &large, now)), 2);
        let empty = now + 20 * 10;
        assert_eq!(tokens(&small, small.taken_over(empty, &large, now)), 0);
    }

    #[test]
    fn sizes_beyond_reason_do_not_overflow() {
        let slowest = Cells::new(u64::MAX, u64::MAX);
        let after = slowest.take(0, 1 << 60).expect("a full bucket gives one");
        assert!(slowest.take(after, 1 << 60).is_err());
        let most = Cells::new(1, u64::MAX);
        assert!(slowest.taken_over(after, &most, 1 << 60) > 0);
    }
}
