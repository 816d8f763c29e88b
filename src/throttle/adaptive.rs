//! What WhatsApp says about a sender's speed, taken to heart.
//!
//! The rate is halved at once when WhatsApp says "too fast" (429, 130429; 4, 80007 and 613 for a whole account), and climbs back
//! by a twentieth of the setting a second once it has been quiet for five. So a number whose real limit is below its setting
//! finds that limit and stays near it. A wait that was asked for (`Retry-After`) is kept to the letter.

use std::time::Duration;

use tokio::time::Instant;

/// Many answers come to what left at one speed: it is halved once for all of them.
const BETWEEN_CUTS: Duration = Duration::from_secs(1);
/// So long nothing may have been said before the rate climbs.
const QUIET: Duration = Duration::from_secs(5);
/// What comes back of the setting each second.
const CLIMB: f64 = 0.05;
/// Never slower than this many a second, or than this part of the setting, whichever is less.
const FLOOR: f64 = 1.0;
const FLOOR_SHARE: f64 = 0.05;

/// The rate that a sender may have now.
pub(super) struct Adaptive {
    setting: f64,
    /// Since the setting was last called too fast.
    lowered: Option<Lowered>,
    /// Nothing leaves until then.
    silent_until: Option<Instant>,
}

/// What WhatsApp has said of a sender's speed: what the next owner has to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowed {
    /// Requests a second that remained.
    pub to: f64,
    /// When it last said so.
    pub told_at: Instant,
    /// Until when it asked for silence.
    pub silent_until: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Lowered {
    /// What remained.
    to: f64,
    /// When it was cut.
    cut_at: Instant,
    /// When WhatsApp last said so.
    told_at: Instant,
}

impl Adaptive {
    /// Nothing said yet.
    pub(super) fn new(setting: f64) -> Self {
        Self {
            setting,
            lowered: None,
            silent_until: None,
        }
    }

    /// Takes up another setting. What WhatsApp said stands, in requests a second.
    pub(super) fn set(&mut self, setting: f64) {
        self.setting = setting;
    }

    /// WhatsApp said that it was too fast.
    pub(super) fn told_too_fast(&mut self, retry_after: Option<Duration>, now: Instant) {
        let rate = self.rate(now);
        let again = self.lowered.filter(|last| now < last.cut_at + BETWEEN_CUTS);
        let (to, cut_at) = match again {
            Some(last) => (rate, last.cut_at),
            None => ((rate / 2.0).max(self.floor()), now),
        };
        self.lowered = Some(Lowered {
            to,
            cut_at,
            told_at: now,
        });
        if let Some(until) = retry_after.and_then(|wait| now.checked_add(wait)) {
            self.silent_until = Some(self.silent_until.map_or(until, |known| known.max(until)));
        }
    }

    /// What was said, as long as it was not forgotten.
    pub(super) fn slowed(&self) -> Option<Slowed> {
        self.lowered.map(|lowered| Slowed {
            to: lowered.to,
            told_at: lowered.told_at,
            silent_until: self.silent_until,
        })
    }

    /// Takes up what an owner before us was told.
    pub(super) fn take_up(&mut self, slowed: Slowed) {
        self.lowered = Some(Lowered {
            to: slowed.to,
            cut_at: slowed.told_at,
            told_at: slowed.told_at,
        });
        self.silent_until = slowed.silent_until;
    }

    /// Somebody said at that time that the wait is over. What WhatsApp said afterwards stands.
    pub(super) fn end_silence(&mut self, ended_at: Instant) {
        if self.lowered.is_some_and(|said| said.told_at < ended_at) {
            self.silent_until = None;
        }
    }

    /// Requests a second that are permitted now, whatever wait was asked for.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let Some(lowered) = self.lowered else {
            return self.setting;
        };
        let climbing = now.saturating_duration_since(self.climbs_from(&lowered));
        let rate = lowered.to + CLIMB * self.setting * climbing.as_secs_f64();
        rate.min(self.setting)
    }

    /// Until when nothing may leave, where WhatsApp asked for it.
    pub(super) fn silent_until(&self, now: Instant) -> Option<Instant> {
        self.silent_until.filter(|until| *until > now)
    }

    /// Where the rate comes from, in words.
    pub(super) fn source(&self, now: Instant) -> String {
        let Some(lowered) = self.lowered.filter(|_| self.rate(now) < self.setting) else {
            return match self.silent_until(now) {
                Some(until) => format!("WhatsApp asked to wait {} s more", seconds_up(until - now)),
                None => "the setting".to_owned(),
            };
        };
        let ago = now.saturating_duration_since(lowered.told_at).as_secs();
        let then = match self.silent_until(now) {
            Some(until) => format!("asked to wait {} s more", seconds_up(until - now)),
            None if now < self.climbs_from(&lowered) => "slowed down".to_owned(),
            None => "climbing back".to_owned(),
        };
        format!("WhatsApp said it was too fast {ago} s ago; {then}")
    }

    /// Silence that was asked for is no sign that the rate is right.
    fn climbs_from(&self, lowered: &Lowered) -> Instant {
        let quiet_since = self
            .silent_until
            .map_or(lowered.told_at, |until| until.max(lowered.told_at));
        quiet_since + QUIET
    }

    fn floor(&self) -> f64 {
        FLOOR.min(FLOOR_SHARE * self.setting)
    }
}

fn seconds_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn too_fast_at(setting: f64, start: Instant, times: &[f64]) -> Adaptive {
        let mut adaptive = Adaptive::new(setting);
        for time in times {
            adaptive.told_too_fast(None, start + s(*time));
        }
        adaptive
    }

    #[test]
    fn too_fast_halves_the_rate_at_once_and_once_a_second() {
        let start = Instant::now();
        assert_eq!(too_fast_at(80.0, start, &[0.0]).rate(start), 40.0);
        let many = too_fast_at(80.0, start, &[0.0, 0.1, 0.5, 0.999]);
        assert_eq!(many.rate(start + s(0.999)), 40.0);
        let again = too_fast_at(80.0, start, &[0.0, 0.5, 1.0]);
        assert_eq!(again.rate(start + s(1.0)), 20.0);
    }

    #[test]
    fn a_quiet_rate_climbs_back_to_the_setting_and_no_further() {
        let start = Instant::now();
        let adaptive = too_fast_at(80.0, start, &[0.0]);
        assert_eq!(adaptive.rate(start + s(5.0)), 40.0);
        assert_eq!(adaptive.rate(start + s(6.0)), 44.0);
        assert_eq!(adaptive.rate(start + s(10.0)), 60.0);
        assert_eq!(adaptive.rate(start + s(15.0)), 80.0);
        assert_eq!(adaptive.rate(start + s(1_000.0)), 80.0);
    }

    #[test]
    fn what_is_said_while_climbing_halves_what_was_reached() {
        let start = Instant::now();
        let adaptive = too_fast_at(80.0, start, &[0.0, 10.0]);
        assert_eq!(adaptive.rate(start + s(10.0)), 30.0);
        // And the quiet begins anew, also with what was said within the second.
        let adaptive = too_fast_at(80.0, start, &[0.0, 10.0, 10.9]);
        assert_eq!(adaptive.rate(start + s(15.9)), 30.0);
        assert_eq!(adaptive.rate(start + s(16.9)), 34.0);
    }

    #[test]
    fn the_rate_has_a_floor() {
        let start = Instant::now();
        let times: Vec<f64> = (0..60).map(f64::from).collect();
        for (setting, floor) in [(1_000.0, 1.0), (80.0, 1.0), (20.0, 1.0), (10.0, 0.5)] {
            let adaptive = too_fast_at(setting, start, &times);
            assert_eq!(adaptive.rate(start + s(60.0)), floor, "{setting}");
        }
    }

    #[test]
    fn a_number_slower_than_its_setting_is_found_out_and_kept_near_its_limit() {
        let (start, real) = (Instant::now(), 20.0);
        let mut adaptive = Adaptive::new(80.0);
        let (mut told, mut sum) = (0, 0.0);
        for tick in 0..600 {
            let now = start + s(f64::from(tick));
            if adaptive.rate(now) > real {
                adaptive.told_too_fast(None, now);
                told += u32::from(tick >= 60);
            }
            if tick >= 60 {
                sum += adaptive.rate(now);
            }
        }
        let average = sum / 540.0;
        assert!(average > real * 0.6 && average <= real, "{average}");
        assert!(told < 90, "{told}");
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept_and_never_shortened() {
        let start = Instant::now();
        let mut adaptive = Adaptive::new(80.0);
        assert_eq!(adaptive.silent_until(start), None);
        adaptive.told_too_fast(Some(s(30.0)), start);
        adaptive.told_too_fast(Some(s(2.0)), start + s(1.0));
        assert_eq!(adaptive.silent_until(start), Some(start + s(30.0)));
        assert_eq!(adaptive.silent_until(start + s(30.0)), None);
        // Silence teaches nothing: the climb begins five seconds after it.
        assert_eq!(adaptive.rate(start + s(35.0)), 20.0);
        assert_eq!(adaptive.rate(start + s(36.0)), 24.0);
    }

    #[test]
    fn a_new_owner_goes_on_where_the_last_one_was_told_to_slow_down() {
        let start = Instant::now();
        let mut told = too_fast_at(80.0, start, &[0.0, 10.0]);
        told.told_too_fast(Some(s(30.0)), start + s(10.5));
        let mut next = Adaptive::new(80.0);
        next.take_up(told.slowed().expect("it was told"));
        for after in [11.0, 40.0, 45.5, 50.0, 100.0] {
            let now = start + s(after);
            assert_eq!(next.rate(now), told.rate(now), "after {after} s");
            assert_eq!(next.silent_until(now), told.silent_until(now));
            assert_eq!(next.source(now), told.source(now));
        }
        assert!(Adaptive::new(80.0).slowed().is_none());
    }

    #[test]
    fn a_new_setting_is_taken_up_while_slowed_down() {
        let start = Instant::now();
        let mut adaptive = too_fast_at(80.0, start, &[0.0]);
        adaptive.set(20.0);
        assert_eq!(adaptive.rate(start), 20.0);
        adaptive.set(200.0);
        assert_eq!(adaptive.rate(start), 40.0);
        assert_eq!(adaptive.rate(start + s(6.0)), 50.0);
    }

    #[test]
    fn the_source_is_told_in_words() {
        let start = Instant::now();
        let mut adaptive = too_fast_at(80.0, start, &[0.0]);
        assert_eq!(Adaptive::new(80.0).source(start), "the setting");
        let said = |adaptive: &Adaptive, after| adaptive.source(start + s(after));
        assert_eq!(
            said(&adaptive, 2.0),
            "WhatsApp said it was too fast 2 s ago; slowed down"
        );
        assert_eq!(
            said(&adaptive, 12.0),
            "WhatsApp said it was too fast 12 s ago; climbing back"
        );
        assert_eq!(said(&adaptive, 60.0), "the setting");
        adaptive.told_too_fast(Some(s(9.5)), start + s(60.0));
        assert_eq!(
            said(&adaptive, 61.0),
            "WhatsApp said it was too fast 1 s ago; asked to wait 9 s more"
        );
    }
}
