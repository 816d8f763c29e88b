//! How long a campaign will take, and which of its limits makes it so.
//!
//! Reckoned in steps of some minutes: who may be written to then (quiet hours, by country), how many may leave (rate, ramp), what
//! is left. It knows nothing of pauses, retries and the sender's other messages, so it is the least time, not a promise.

use std::time::Duration;

use time::OffsetDateTime;

use super::quiet_hours::{QuietHours, Zones};
use super::ramp::Ramp;

/// Recipients with the same clock.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their zones.
    pub zones: Zones,
    /// How many.
    pub count: u64,
}

/// What a campaign is about to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// It begins then.
    pub begins: OffsetDateTime,
    /// What has not left by then expires.
    pub ends: Option<OffsetDateTime>,
    /// Messages a second, as sender and settings allow.
    pub per_second: f64,
    /// Its slow start, and how long that has been running at the beginning.
    pub ramp: Option<(Ramp, Duration)>,
    /// In none of a group's zones.
    pub quiet: Option<QuietHours>,
    /// Where a group has no common hour outside of them.
    pub own_zone: Zones,
    /// Who is left.
    pub groups: Vec<Group>,
    /// Messages to the same recipient, at most; the sender's limit for one: at once, and then one in each period.
    pub to_one: u64,
    /// See `to_one`.
    pub pair_burst: u64,
    /// See `to_one`.
    pub pair_period: Duration,
}

/// What makes a campaign take as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// As fast as it may.
    Rate,
    /// The slow start.
    Ramp,
    /// Nobody may be written to.
    QuietHours,
    /// Too many to one recipient.
    Pair,
}

/// The least time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The last one leaves then. None: not within [`LOOKED_AHEAD`].
    pub done_at: Option<OffsetDateTime>,
    /// What takes the most of that time.
    pub binding: Binding,
    /// So many will not have left when it ends.
    pub too_late: u64,
}

/// When each may leave at the earliest: as if nobody before had quiet hours, in the order of the lane.
#[derive(Clone, Debug)]
pub struct Turns {
    /// The campaign begins then.
    pub begins: OffsetDateTime,
    /// Messages a second, as sender and settings allow.
    pub per_second: f64,
    /// Its slow start, and how long that has been running at the beginning.
    pub ramp: Option<(Ramp, Duration)>,
    /// So many have had theirs.
    taken: u32,
}

impl Turns {
    /// None was taken yet.
    pub fn new(begins: OffsetDateTime, per_second: f64, ramp: Option<(Ramp, Duration)>) -> Self {
        Self {
            begins,
            per_second,
            ramp,
            taken: 0,
        }
    }

    /// Gives the next turn to one who expires then, and may be written to from `awake` of it on; `false`: that is too late.
    pub fn take(
        &mut self,
        expires_at: Option<OffsetDateTime>,
        awake: impl Fn(OffsetDateTime) -> OffsetDateTime,
    ) -> bool {
        let turn = self
            .begins
            .saturating_add(self.next().try_into().unwrap_or_default());
        if expires_at.is_some_and(|at| at <= turn || at <= awake(turn)) {
            return false;
        }
        self.taken = self.taken.saturating_add(1);
        true
    }

    /// How long after the begin the next turn is.
    fn next(&self) -> Duration {
        let by_rate = Duration::try_from_secs_f64(f64::from(self.taken) / self.per_second);
        let by_rate = by_rate.unwrap_or(Duration::MAX).min(LOOKED_AHEAD);
        let by_ramp = self.ramp.as_ref().and_then(|(ramp, ran)| {
            // Of those that may have left by then the next one is the last.
            let before = ramp.allowed(*ran)?.saturating_sub(1);
            let at = ramp.next_at(before + u64::from(self.taken));
            Some(at.saturating_sub(*ran))
        });
        by_rate.max(by_ramp.unwrap_or_default())
    }
}

const STEP: Duration = Duration::from_secs(300);
/// Nobody plans further.
pub const LOOKED_AHEAD: Duration = Duration::from_secs(60 * 86_400);

impl Plan {
    /// Reckons.
    pub fn forecast(&self) -> Forecast {
        let mut walk = Walk::new(self);
        let mut elapsed = Duration::ZERO;
        let mut too_late = None;
        while walk.left() > 0.0 && elapsed < LOOKED_AHEAD {
            if self.ends.is_some_and(|ends| self.begins + elapsed >= ends) {
                too_late.get_or_insert(walk.left());
            }
            elapsed += walk.step(elapsed);
        }
        let pair = self.pair_time();
        let (length, binding) = if pair > elapsed {
            (pair, Binding::Pair)
        } else {
            (elapsed, walk.binding())
        };
        let is_done = walk.left() <= 0.0;
        let done_at = is_done.then_some(self.begins + length);
        // Rounded up: a part of a message is a message.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let too_late = too_late.map_or(0, |left: f64| left.ceil() as u64);
        Forecast {
            done_at,
            binding,
            too_late,
        }
    }

    fn pair_time(&self) -> Duration {
        let behind = self.to_one.saturating_sub(self.pair_burst);
        self.pair_period
            .saturating_mul(u32::try_from(behind).unwrap_or(u32::MAX))
    }

    fn may_leave(&self, group: &Group, at: OffsetDateTime) -> bool {
        let Some(quiet) = &self.quiet else {
            return true;
        };
        // Where there is no common hour at all, the campaign's own clock decides.
        match quiet.next_allowed(at, &group.zones) {
            Some(next) => next == at,
            None => !quiet.is_quiet(at, &self.own_zone),
        }
    }
}

/// A walk through the time of a plan.
struct Walk<'a> {
    plan: &'a Plan,
    left: Vec<f64>,
    sent: f64,
    /// Time spent under each limit: rate, ramp, quiet hours.
    spent: [Duration; 3],
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan) -> Self {
        #[expect(clippy::cast_precision_loss)]
        let left = plan.groups.iter().map(|group| group.count as f64).collect();
        Self {
            plan,
            left,
            sent: 0.0,
            spent: [Duration::ZERO; 3],
        }
    }

    fn left(&self) -> f64 {
        self.left.iter().sum()
    }

    /// Sends what may leave within a step, and says how long that took.
    fn step(&mut self, elapsed: Duration) -> Duration {
        let plan = self.plan;
        let now = plan.begins + elapsed;
        let awake: Vec<usize> = (0..self.left.len())
            .filter(|&index| self.left[index] > 0.0 && plan.may_leave(&plan.groups[index], now))
            .collect();
        let waiting: f64 = awake.iter().map(|&index| self.left[index]).sum();
        if waiting <= 0.0 {
            self.spent[2] += STEP;
            return STEP;
        }
        let ramp = plan.ramp.as_ref();
        let ramp = ramp.and_then(|(ramp, before)| ramp.rate_per_second(*before + elapsed));
        let (rate, limit) = match ramp {
            Some(ramp) if ramp < plan.per_second => (ramp, 1),
            Some(_) | None => (plan.per_second, 0),
        };
        let may = rate * STEP.as_secs_f64();
        let sent = may.min(waiting);
        for index in awake {
            self.left[index] -= sent * self.left[index] / waiting;
        }
        self.sent += sent;
        let is_last = sent >= self.left() + sent;
        let took = if is_last {
            STEP.mul_f64(sent / may)
        } else {
            STEP
        };
        // Less to be sent than might be: the others of this time wait for their morning.
        let limit = if sent < may && !is_last { 2 } else { limit };
        self.spent[limit] += took;
        if is_last {
            self.left.fill(0.0);
        }
        took
    }

    fn binding(&self) -> Binding {
        let [rate, ramp, quiet] = self.spent;
        if quiet > rate && quiet > ramp {
            Binding::QuietHours
        } else if ramp > rate {
            Binding::Ramp
        } else {
            Binding::Rate
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-03-02 12:00 UTC);

    fn plan(count: u64, per_second: f64) -> Plan {
        Plan {
            begins: NOON,
            ends: None,
            per_second,
            ramp: None,
            quiet: None,
            own_zone: Zones::utc(),
            groups: vec![Group {
                zones: Zones::utc(),
                count,
            }],
            to_one: 1,
            pair_burst: 45,
            pair_period: Duration::from_secs(6),
        }
    }

    fn minutes(forecast: Forecast) -> i64 {
        (forecast.done_at.expect("has an end") - NOON).whole_minutes()
    }

    #[test]
    fn without_other_limits_it_takes_as_long_as_the_rate_says() {
        let forecast = plan(72_000, 20.0).forecast();
        assert_eq!((minutes(forecast), forecast.binding), (60, Binding::Rate));
        let forecast = plan(90_000, 20.0).forecast();
        assert_eq!(minutes(forecast), 75);
        assert_eq!(minutes(plan(0, 20.0).forecast()), 0);
    }

    #[test]
    fn a_slow_start_adds_its_hours() {
        let slow = Plan {
            ramp: Some(("100/h,1000/h".parse().expect("is a ramp"), Duration::ZERO)),
            ..plan(1_100 + 72_000, 20.0)
        };
        let forecast = slow.forecast();
        assert_eq!((minutes(forecast), forecast.binding), (180, Binding::Ramp));
        let begun = Plan {
            ramp: slow
                .ramp
                .clone()
                .map(|(ramp, _)| (ramp, Duration::from_secs(7_200))),
            ..slow
        };
        assert_eq!(minutes(begun.forecast()), 60);
    }

    #[test]
    fn nobody_is_written_to_in_quiet_hours() {
        let quiet = Plan {
            quiet: "21:00-09:00".parse().ok(),
            begins: datetime!(2026-03-02 20:00 UTC),
            ..plan(2 * 72_000, 20.0)
        };
        // An hour in the evening, twelve of silence, an hour in the morning.
        let forecast = quiet.forecast();
        assert_eq!(forecast.done_at, Some(datetime!(2026-03-03 10:00 UTC)));
        assert_eq!(forecast.binding, Binding::QuietHours);
        let tokyo = Group {
            zones: Zones::named("Asia/Tokyo").expect("is a zone"),
            count: 20,
        };
        let around = Plan {
            groups: vec![quiet.groups[0].clone(), tokyo],
            ..quiet.clone()
        };
        // 00:00 UTC is 09:00 in Tokyo, so those leave while Europe sleeps.
        assert_eq!(around.forecast().done_at, forecast.done_at);
    }

    #[test]
    fn what_will_not_have_left_when_it_ends_is_counted() {
        let late = Plan {
            ends: Some(NOON + Duration::from_secs(1_800)),
            ..plan(72_000, 20.0)
        };
        assert_eq!(late.forecast().too_late, 36_000);
        assert_eq!(plan(72_000, 20.0).forecast().too_late, 0);
    }

    #[test]
    fn many_to_one_recipient_take_as_long_as_that_pair_does() {
        let crowd = Plan {
            to_one: 645,
            ..plan(645, 20.0)
        };
        let forecast = crowd.forecast();
        assert_eq!((minutes(forecast), forecast.binding), (60, Binding::Pair));
    }

    #[test]
    fn what_would_take_longer_than_anybody_plans_has_no_end() {
        let forecast = plan(1_000_000_000, 1.0).forecast();
        assert_eq!((forecast.done_at, forecast.binding), (None, Binding::Rate));
    }

    #[test]
    fn who_sleeps_until_they_expire_has_no_turn() {
        let awake = |at: OffsetDateTime| at + Duration::from_secs(3_600);
        let mut turns = Turns::new(NOON, 1.0, None);
        assert!(!turns.take(Some(NOON + Duration::from_secs(3_600)), awake));
        assert!(turns.take(Some(NOON + Duration::from_secs(3_601)), awake));
        assert!(!turns.take(Some(NOON + Duration::from_secs(1)), |at| at));
        assert!(turns.take(None, awake));
    }
}
