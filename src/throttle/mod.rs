//! How fast a sender may go: in memory, exact because one worker owns the sender.
//!
//! Two limits of WhatsApp's (Meta, "Throughput" and "About the platform"): requests a second for a sender, and messages to
//! one recipient, 1 per 6 s with a burst of 45 that borrows from the future. Both are cells of `governor` (GCRA). A sender that
//! has been told to slow down waits until the time it was told.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

/// The limits of one sender, as its settings give them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests a second.
    pub rate_per_second: f64,
    /// Time between two messages to one recipient; zero = no limit.
    pub pair_period: Duration,
    /// So many to one recipient may leave at once, against the future.
    pub pair_burst: u32,
}

/// The right to make one request now. Taken before a message is begun, so that nothing waits in `sending`.
#[derive(Debug)]
#[must_use]
pub struct Permit(());

/// Lets the requests of one sender through at its pace.
pub struct SenderThrottle {
    limits: Limits,
    clock: DefaultClock,
    rate: DefaultDirectRateLimiter,
    pairs: Option<DefaultKeyedRateLimiter<String>>,
    slow_until: Option<Instant>,
}

impl SenderThrottle {
    /// A throttle with these limits, its pair buckets full and its rate bucket as it is after a pause.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            clock: DefaultClock::default(),
            rate: RateLimiter::direct(rate_quota(limits.rate_per_second)),
            pairs: pair_quota(limits).map(RateLimiter::keyed),
            slow_until: None,
        }
    }

    /// Takes up changed limits. What was spent under the old ones is forgotten with them.
    pub fn set_limits(&mut self, limits: Limits) {
        if self.limits.rate_per_second != limits.rate_per_second {
            self.rate = RateLimiter::direct(rate_quota(limits.rate_per_second));
        }
        if pair_quota(self.limits) != pair_quota(limits) {
            self.pairs = pair_quota(limits).map(RateLimiter::keyed);
        }
        self.limits = limits;
    }

    /// A permit for one request, or the wait until there is one.
    pub fn permit(&self, now: Instant) -> Result<Permit, Duration> {
        if let Some(until) = self.slow_until.filter(|until| *until > now) {
            return Err(until - now);
        }
        self.rate
            .check()
            .map(|()| Permit(()))
            .map_err(|refused| refused.wait_time_from(self.clock.now()))
    }

    /// Whether a message may go to this recipient now, and if not, how long until one may. A yes is spent.
    pub fn pair_may(&self, recipient: &str) -> Result<(), Duration> {
        match &self.pairs {
            None => Ok(()),
            Some(pairs) => pairs
                .check_key(&recipient.to_owned())
                .map_err(|refused| refused.wait_time_from(self.clock.now())),
        }
    }

    /// The time between two messages to one recipient.
    pub fn pair_period(&self) -> Duration {
        self.limits.pair_period
    }

    /// The sender was told to slow down: nothing leaves until then.
    pub fn slow_down(&mut self, until: Instant) {
        self.slow_until = Some(self.slow_until.map_or(until, |known| known.max(until)));
    }

    /// Forgets recipients whose bucket is full again.
    pub fn forget_idle_pairs(&self) {
        if let Some(pairs) = &self.pairs {
            pairs.retain_recent();
            pairs.shrink_to_fit();
        }
    }
}

/// A bucket that keeps `rate` in *every* window of one second: with a burst of b, a window can hold the burst and what is
/// refilled meanwhile, so the refill is b − 1 below the rate. The burst makes up for timers that wake up late.
fn rate_quota(rate: f64) -> Quota {
    let burst = (rate / 50.0).floor().max(1.0);
    let refill = rate - (burst - 1.0);
    let period = Duration::from_secs_f64(1.0 / refill).max(Duration::from_nanos(1));
    let burst = NonZeroU32::new(burst as u32).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(period).map_or(Quota::per_second(NonZeroU32::MIN), |quota| {
        quota.allow_burst(burst)
    })
}

fn pair_quota(limits: Limits) -> Option<Quota> {
    let burst = NonZeroU32::new(limits.pair_burst)?;
    Quota::with_period(limits.pair_period).map(|quota| quota.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(rate_per_second: f64, pair_burst: u32) -> SenderThrottle {
        SenderThrottle::new(Limits {
            rate_per_second,
            pair_period: Duration::from_secs(6),
            pair_burst,
        })
    }

    #[test]
    fn burst_and_refill_together_never_exceed_the_rate_in_a_second() {
        for rate in [0.2, 1.0, 10.0, 20.0, 79.5, 80.0, 200.0, 1_000.0, 10_000.0] {
            let quota = rate_quota(rate);
            let burst = f64::from(quota.burst_size().get());
            let refilled = 1.0 / quota.replenish_interval().as_secs_f64();
            assert!(
                burst - 1.0 + refilled <= rate * 1.000_001,
                "{rate}: {burst} + {refilled}"
            );
            assert!(refilled >= rate * 0.97, "{rate}: only {refilled} are used");
        }
    }

    #[test]
    fn a_recipient_gets_its_burst_and_then_waits_while_others_do_not() {
        let throttle = throttle(80.0, 3);
        for _ in 0..3 {
            assert!(throttle.pair_may("+1").is_ok());
        }
        let wait = throttle.pair_may("+1").unwrap_err();
        assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(6));
        assert!(throttle.pair_may("+2").is_ok());
    }

    #[test]
    fn a_period_of_zero_is_no_limit() {
        let throttle = SenderThrottle::new(Limits {
            rate_per_second: 80.0,
            pair_period: Duration::ZERO,
            pair_burst: 1,
        });
        assert!((0..1_000).all(|_| throttle.pair_may("+1").is_ok()));
    }

    #[test]
    fn a_sender_told_to_slow_down_gets_no_permit_until_then() {
        let mut throttle = throttle(80.0, 3);
        let now = Instant::now();
        assert!(throttle.permit(now).is_ok());
        throttle.slow_down(now + Duration::from_secs(10));
        assert_eq!(throttle.permit(now).unwrap_err(), Duration::from_secs(10));
        throttle.slow_down(now + Duration::from_secs(2));
        assert_eq!(throttle.permit(now).unwrap_err(), Duration::from_secs(10));
    }
}
