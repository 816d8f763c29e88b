//! How long to wait before the next try.
//!
//! A delay is computed from the number of attempts that stands in the row, never from a clock or a counter in
//! memory: whoever takes a message over waits as its last owner would have.
//!
//! The formula is that of the crate `backoff`, and this is the only place that uses it. The crate is not
//! maintained any more (RUSTSEC-2025-0012), nor is `instant`, which it needs (RUSTSEC-2024-0384). Both notices
//! say just that; neither names a flaw. What is used is one pure function over durations: no retry loop, no
//! time limit, nothing that reads from outside. Its result is clamped here, so even a wrong one could not
//! leave the range that [`RetryPolicy`] promises.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// The waits between the attempts of one message, and how many attempts it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Before the second attempt.
    pub first_delay: Duration,
    /// What each further delay is multiplied with; 1 and more.
    pub factor: f64,
    /// No delay is longer, jitter included.
    pub max_delay: Duration,
    /// The part of a delay, 0 to 1, by which it is made shorter or longer at random, so that messages that
    /// failed together do not come back together.
    pub jitter: f64,
    /// How many attempts there are in all.
    pub max_attempts: u32,
}

impl Default for RetryPolicy {
    /// About a quarter of an hour in ten attempts: long enough for a network or a provider to come back.
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(1),
            factor: 2.0,
            max_delay: Duration::from_secs(300),
            jitter: 0.3,
            max_attempts: 10,
        }
    }
}

impl RetryPolicy {
    /// Whether another attempt may follow `attempts_spent`.
    pub fn allows_another(&self, attempts_spent: u32) -> bool {
        attempts_spent < self.max_attempts
    }

    /// How long to wait after `attempts_spent` attempts, 1 or more. Within `jitter` of
    /// `first_delay × factor^(attempts_spent − 1)`, and never above `max_delay`.
    pub fn delay(&self, attempts_spent: u32) -> Duration {
        let mut formula = ExponentialBackoff {
            current_interval: self.middle(attempts_spent),
            initial_interval: self.first_delay,
            randomization_factor: self.jitter.clamp(0.0, 1.0),
            multiplier: self.factor.max(1.0),
            max_interval: self.max_delay,
            // Its default is fifteen minutes, after which it would silently stop to retry.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let delay = formula.next_backoff().unwrap_or(self.max_delay);
        // The crate adds its jitter on top of its own maximum.
        delay.min(self.max_delay)
    }

    /// The delay before jitter. Computed in seconds as a float, which takes any exponent: what is too large for
    /// a duration is the maximum.
    fn middle(&self, attempts_spent: u32) -> Duration {
        let exponent = f64::from(attempts_spent.saturating_sub(1));
        let seconds = self.first_delay.as_secs_f64() * self.factor.max(1.0).powf(exponent);
        Duration::try_from_secs_f64(seconds)
            .map_or(self.max_delay, |delay| delay.min(self.max_delay))
    }
}

/// The longest [`pair_delay`]. The largest burst that Meta lends a pair, 45 messages at one in six seconds, is
/// paid back in 270 s, so a longer wait teaches nothing new.
pub const LONGEST_PAIR_DELAY: Duration = Duration::from_secs(1_024);

/// How long one recipient is left alone after its `refusals`-th 131056 in a row, counted from 0: 4^x seconds
/// (Meta, About the platform, "Pair rate limits"), at most [`LONGEST_PAIR_DELAY`].
pub fn pair_delay(refusals: u32) -> Duration {
    let seconds = 4_u64.saturating_pow(refusals);
    Duration::from_secs(seconds).min(LONGEST_PAIR_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn without_jitter() -> RetryPolicy {
        RetryPolicy {
            jitter: 0.0,
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let waits: Vec<u64> = (1..=10)
            .map(|n| without_jitter().delay(n).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    }

    #[test]
    fn no_delay_leaves_its_range_whatever_the_policy_and_the_number_of_attempts() {
        for _ in 0..20_000 {
            let policy = RetryPolicy {
                first_delay: seconds(fastrand::f64() * 10.0 + 0.001),
                factor: 1.0 + fastrand::f64() * 4.0,
                max_delay: seconds(fastrand::f64() * 600.0 + 10.0),
                jitter: fastrand::f64(),
                max_attempts: 10,
            };
            let attempts = fastrand::u32(0..60);
            let middle = policy.middle(attempts).as_secs_f64();
            let delay = policy.delay(attempts).as_secs_f64();
            // A microsecond for the crate's arithmetic in whole nanoseconds.
            assert!(
                delay >= middle * (1.0 - policy.jitter) - 1e-6,
                "{policy:?}, {attempts}"
            );
            assert!(
                delay <= middle * (1.0 + policy.jitter) + 1e-6,
                "{policy:?}, {attempts}"
            );
            assert!(
                delay <= policy.max_delay.as_secs_f64(),
                "{policy:?}, {attempts}"
            );
        }
    }

    #[test]
    fn jitter_spreads_delays_to_both_sides() {
        let policy = RetryPolicy {
            jitter: 0.5,
            ..RetryPolicy::default()
        };
        let delays: Vec<Duration> = (0..1_000).map(|_| policy.delay(4)).collect();
        assert!(delays.iter().any(|delay| *delay < seconds(6.0)));
        assert!(delays.iter().any(|delay| *delay > seconds(10.0)));
    }

    #[test]
    fn attempts_beyond_counting_wait_the_longest_delay() {
        assert_eq!(without_jitter().delay(u32::MAX), Duration::from_secs(300));
        assert!(RetryPolicy::default().delay(u32::MAX) <= Duration::from_secs(300));
    }

    #[test]
    fn a_policy_that_makes_no_sense_still_waits_within_its_longest_delay() {
        let policy = RetryPolicy {
            factor: f64::NAN,
            jitter: 7.0,
            first_delay: Duration::MAX,
            ..RetryPolicy::default()
        };
        assert!(policy.delay(3) <= policy.max_delay);
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        let policy = RetryPolicy::default();
        assert!(policy.allows_another(9));
        assert!(!policy.allows_another(10));
    }

    #[test]
    fn a_pair_waits_four_times_as_long_after_each_refusal() {
        let waits: Vec<u64> = (0..7).map(|x| pair_delay(x).as_secs()).collect();
        assert_eq!(waits, [1, 4, 16, 64, 256, 1_024, 1_024]);
        assert_eq!(pair_delay(u32::MAX), LONGEST_PAIR_DELAY);
    }
}
