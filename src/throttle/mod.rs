//! How fast a sender may go: in memory, exact because one worker owns the sender.
//!
//! Three limits, each in a file of its own: requests a second for a sender (`bucket`), messages to one recipient (`pair`), and
//! what WhatsApp says when it finds either too fast (`adaptive`). None of them waits, asks the time or knows of a database:
//! a limit says *now* or *from when on*. All are exact across a change of owner without asking the last one, because a new
//! owner starts with [`Start::Empty`].

mod adaptive;
mod bucket;
mod cell;
mod pair;

use std::time::Duration;

use tokio::time::Instant;

use self::adaptive::Adaptive;
pub use self::adaptive::Slowed;
pub use self::bucket::{Permit, Receipt};

use self::bucket::Bucket;
use self::pair::Pairs;
use crate::domain::outcome::ThrottleScope;

/// Recipients remembered for one sender; about 150 bytes each.
const MOST_RECIPIENTS: usize = 100_000;

/// The limits of one sender, as its settings give them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests a second. Of what is above one, the whole number counts.
    pub rate_per_second: f64,
    /// Time between two messages to one recipient; zero = no limit.
    pub pair_period: Duration,
    /// So many to one recipient may leave at once, against the future.
    pub pair_burst: u32,
}

/// What may have left before this throttle was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Another owner may have let through, up to now, all that the limits allow.
    Empty,
    /// Nothing has left lately: nobody ever owned the sender before.
    Full,
}

/// Lets the requests of one sender through at its pace.
pub struct SenderThrottle {
    limits: Limits,
    pace: Adaptive,
    bucket: Bucket,
    pairs: Pairs,
}

impl SenderThrottle {
    /// A throttle with these limits. `now` is the moment from which this owner may send.
    pub fn new(limits: Limits, start: Start, now: Instant) -> Self {
        Self {
            limits,
            pace: Adaptive::new(limits.rate_per_second),
            bucket: Bucket::new(limits.rate_per_second, start, now),
            pairs: Pairs::new(limits.pairs(), start, MOST_RECIPIENTS, now),
        }
    }

    /// Takes up limits that may have changed. What was spent under the old ones still counts.
    pub fn set_limits(&mut self, limits: Limits, now: Instant) {
        if self.limits.pairs() != limits.pairs() {
            self.pairs.set_limit(limits.pairs(), now);
        }
        self.pace.set(limits.rate_per_second);
        self.limits = limits;
        self.keep_pace(now);
    }

    /// A permit for one request, or the time from which there may be one.
    pub fn take(&mut self, now: Instant) -> Result<Permit, Instant> {
        if let Some(until) = self.pace.silent_until(now) {
            return Err(until);
        }
        self.keep_pace(now);
        self.bucket.take(now)
    }

    /// How many permits could be taken from `now` until `horizon` has passed. Takes none.
    pub fn how_many(&mut self, now: Instant, horizon: Duration) -> usize {
        self.keep_pace(now);
        let from = self.pace.silent_until(now).unwrap_or(now);
        let until = now + horizon;
        if from > until {
            return 0;
        }
        self.bucket.how_many(from, until)
    }

    /// Whether a message may go to this recipient now, and if not, until when to put it off. A yes is spent; a no has booked
    /// that time for this message.
    pub fn pair(&mut self, recipient: &str, now: Instant) -> Result<(), Instant> {
        if self.pairs.may(recipient, now) {
            Ok(())
        } else {
            Err(self.pairs.book(recipient, now))
        }
    }

    /// A message that [`Self::pair`] let through at `asked_at` never began to leave.
    pub fn pair_unused(&mut self, recipient: &str, asked_at: Instant) {
        self.pairs.unused(recipient, asked_at);
    }

    /// WhatsApp answered a message to `recipient` with "too fast". Slows down who is meant; what is meant for the whole account
    /// is to be told to every sender of the same credential.
    pub fn learn_throttled(
        &mut self,
        scope: ThrottleScope,
        recipient: &str,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        match scope {
            ThrottleScope::Sender | ThrottleScope::Account => {
                self.pace.told_too_fast(retry_after, now);
                self.keep_pace(now);
            }
            ThrottleScope::Pair => {
                self.pairs.refused(recipient, retry_after, now);
            }
        }
    }

    /// WhatsApp accepted a message to this recipient.
    pub fn learn_accepted(&mut self, recipient: &str, now: Instant) {
        self.pairs.accepted(recipient, now);
    }

    /// How often in a row this recipient was answered with the pair limit.
    pub fn pair_refusals(&self, recipient: &str) -> u32 {
        self.pairs.refusals(recipient)
    }

    /// What WhatsApp has said of the sender's speed, if anything.
    pub fn slowed(&self) -> Option<Slowed> {
        self.pace.slowed()
    }

    /// Takes up what WhatsApp said to an owner before this one.
    pub fn take_up_slowed(&mut self, slowed: Slowed, now: Instant) {
        self.pace.take_up(slowed);
        self.keep_pace(now);
    }

    /// Takes up that somebody ended the silence that WhatsApp had asked for before that time. Says whether there was one.
    pub fn end_silence(&mut self, ended_at: Instant, now: Instant) -> bool {
        let before = self.slow_until(now);
        self.pace.end_silence(ended_at);
        let is_over = before.is_some() && self.slow_until(now).is_none();
        if is_over {
            self.keep_pace(now);
        }
        is_over
    }

    /// Until when WhatsApp asked for silence, if it did.
    pub fn slow_until(&self, now: Instant) -> Option<Instant> {
        self.pace.silent_until(now)
    }

    /// Requests a second that are permitted now.
    pub fn limit(&self, now: Instant) -> f64 {
        self.pace.rate(now)
    }

    /// Where that limit comes from, for people: "the setting", or what WhatsApp said and when.
    pub fn source(&self, now: Instant) -> String {
        self.pace.source(now)
    }

    /// Requests that left in the last second, or are about to.
    pub fn rate_now(&mut self, now: Instant) -> usize {
        self.bucket.left_lately(now)
    }

    /// Forgets recipients of whom nothing matters any more. Worth calling about once a minute.
    pub fn forget_idle(&mut self, now: Instant) {
        self.pairs.forget_free(now);
    }

    /// Recipients remembered.
    pub fn recipients_remembered(&self) -> usize {
        self.pairs.remembered()
    }

    fn keep_pace(&mut self, now: Instant) {
        self.bucket.set_rate(self.pace.rate(now), now);
    }
}

impl Limits {
    fn pairs(&self) -> (Duration, u32) {
        (self.pair_period, self.pair_burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        rate_per_second: 80.0,
        pair_period: Duration::from_secs(6),
        pair_burst: 3,
    };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Takes every permit as soon as it is there.
    fn taken(throttle: &mut SenderThrottle, from: Instant, until: Instant) -> usize {
        let (mut now, mut count) = (from, 0);
        while now <= until {
            match throttle.take(now) {
                Ok(permit) => {
                    permit.leaves(now);
                    permit.receipt().answered(now);
                    count += 1;
                }
                Err(when) => now = when,
            }
        }
        count
    }

    #[test]
    fn a_sender_told_to_wait_gets_no_permit_until_then() {
        let now = Instant::now();
        let mut throttle = SenderThrottle::new(LIMITS, Start::Full, now);
        throttle.learn_throttled(ThrottleScope::Sender, "+1", Some(s(10)), now);
        assert_eq!(throttle.take(now).unwrap_err(), now + s(10));
        assert_eq!(throttle.slow_until(now), Some(now + s(10)));
        assert_eq!(throttle.how_many(now, s(9)), 0);
        assert!(throttle.how_many(now, s(11)) > 30);
        assert!(throttle.take(now + s(10)).is_ok());
    }

    #[test]
    fn a_sender_called_too_fast_goes_at_half_its_rate_and_later_at_all_of_it() {
        let now = Instant::now();
        for scope in [ThrottleScope::Sender, ThrottleScope::Account] {
            let mut throttle = SenderThrottle::new(LIMITS, Start::Full, now);
            taken(&mut throttle, now, now + s(2));
            let told = now + s(2);
            throttle.learn_throttled(scope, "+1", None, told);
            assert_eq!(throttle.limit(told), 40.0);
            let half = taken(&mut throttle, told, told + s(5));
            assert!((160..=200).contains(&half), "{half}");
            let later = told + s(30);
            let all = taken(&mut throttle, later, later + s(5));
            assert!((390..=400).contains(&all), "{all}");
            assert_eq!(throttle.source(later), "the setting");
        }
    }

    #[test]
    fn a_pair_limit_that_whatsapp_names_stalls_nobody_else() {
        let now = Instant::now();
        let mut throttle = SenderThrottle::new(LIMITS, Start::Full, now);
        throttle.learn_throttled(ThrottleScope::Pair, "+1", None, now);
        assert_eq!(throttle.pair("+1", now), Err(now + s(1)));
        assert_eq!(throttle.pair_refusals("+1"), 1);
        assert_eq!(throttle.pair("+2", now), Ok(()));
        assert!(throttle.take(now).is_ok());
        assert_eq!(throttle.limit(now), 80.0);
        throttle.learn_accepted("+1", now + s(1));
        assert_eq!(throttle.pair_refusals("+1"), 0);
    }

    #[test]
    fn limits_are_taken_up_while_working() {
        let now = Instant::now();
        let mut throttle = SenderThrottle::new(LIMITS, Start::Full, now);
        taken(&mut throttle, now, now + s(1));
        let changed = now + s(1);
        let limits = Limits {
            rate_per_second: 200.0,
            pair_period: Duration::ZERO,
            pair_burst: 1,
        };
        throttle.set_limits(limits, changed);
        let most = taken(&mut throttle, changed, changed + s(1));
        assert!((190..=200).contains(&most), "{most}");
        assert!((0..1_000).all(|_| throttle.pair("+1", changed).is_ok()));
        assert_eq!(throttle.limit(changed), 200.0);
    }

    #[test]
    fn the_rate_now_is_what_was_let_through_in_the_last_second() {
        let now = Instant::now();
        let mut throttle = SenderThrottle::new(LIMITS, Start::Full, now);
        let most = taken(&mut throttle, now, now + Duration::from_millis(500));
        assert_eq!(throttle.rate_now(now + Duration::from_millis(500)), most);
        assert_eq!(throttle.rate_now(now + s(2)), 0);
    }
}
