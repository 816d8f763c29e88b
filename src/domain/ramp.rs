//! A campaign that begins slowly: so many messages an hour in its first hours, more in the next, then no limit of its own.
//!
//! A sender that was quiet for weeks and writes to a million people in an hour is reported, and its rating falls. A ramp has it
//! begin with a hundred and look at what comes back. Time counts from the moment the campaign first ran; within a step messages
//! are spread evenly, so a step never begins with a burst.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Steps, one after the other. Behind the last there is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Step>", into = "Vec<Step>")]
pub struct Ramp(Vec<Step>);

/// So many an hour, for some hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Messages an hour, at least one.
    pub per_hour: u32,
    /// For so many hours, at least one.
    #[serde(default = "one")]
    pub for_hours: u32,
}

/// A text or a list that is no ramp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARamp {
    /// Not of the form.
    #[error(
        "write steps such as 100/h,1000/h; a step lasts an hour, or as long as it says: 100/h:2h"
    )]
    Form,
    /// No step, or one of nothing.
    #[error("a step needs at least one message an hour and one hour")]
    Empty,
    /// Longer than a month.
    #[error("the steps are longer than 30 days")]
    TooLong,
}

const HOUR: Duration = Duration::from_secs(3_600);
const LONGEST_H: u64 = 30 * 24;

fn one() -> u32 {
    1
}

impl Ramp {
    /// A ramp of these steps.
    ///
    /// # Errors
    /// When there is none, one is of nothing, or all together are too long.
    pub fn new(steps: Vec<Step>) -> Result<Self, NotARamp> {
        let is_nothing = |step: &Step| step.per_hour == 0 || step.for_hours == 0;
        if steps.is_empty() || steps.iter().any(is_nothing) {
            return Err(NotARamp::Empty);
        }
        let hours: u64 = steps.iter().map(|step| u64::from(step.for_hours)).sum();
        if hours > LONGEST_H {
            return Err(NotARamp::TooLong);
        }
        Ok(Self(steps))
    }

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// How long it limits anything.
    pub fn length(&self) -> Duration {
        self.0.iter().map(Step::lasts).sum()
    }

    /// The rate after `elapsed`, in messages a second. None: no limit any more.
    pub fn rate_per_second(&self, elapsed: Duration) -> Option<f64> {
        let mut begins = Duration::ZERO;
        self.0.iter().find_map(|step| {
            begins += step.lasts();
            (elapsed < begins).then(|| f64::from(step.per_hour) / HOUR.as_secs_f64())
        })
    }

    /// How many may have left in all, `elapsed` after the start; the first at once. None: no limit any more.
    pub fn allowed(&self, elapsed: Duration) -> Option<u64> {
        let mut rest = elapsed;
        let mut before = 0;
        for step in &self.0 {
            if rest < step.lasts() {
                let here = rest.as_nanos() * u128::from(step.per_hour) / HOUR.as_nanos();
                // Less than a step's whole count, which fits.
                return Some(before + u64::try_from(here).unwrap_or(u64::MAX) + 1);
            }
            rest -= step.lasts();
            before += step.messages();
        }
        None
    }

    /// How long after the start the next one may leave, when `left` have. Zero: at once.
    pub fn next_at(&self, left: u64) -> Duration {
        let (mut rest, mut at) = (left, Duration::ZERO);
        for step in &self.0 {
            if rest < step.messages() {
                let nanos = (u128::from(rest) * HOUR.as_nanos()).div_ceil(step.per_hour.into());
                return at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            }
            rest -= step.messages();
            at += step.lasts();
        }
        at
    }
}

impl Step {
    fn lasts(&self) -> Duration {
        HOUR * self.for_hours
    }

    fn messages(&self) -> u64 {
        u64::from(self.per_hour) * u64::from(self.for_hours)
    }
}

impl TryFrom<Vec<Step>> for Ramp {
    type Error = NotARamp;

    fn try_from(steps: Vec<Step>) -> Result<Self, NotARamp> {
        Self::new(steps)
    }
}

impl From<Ramp> for Vec<Step> {
    fn from(ramp: Ramp) -> Self {
        ramp.0
    }
}

impl FromStr for Ramp {
    type Err = NotARamp;

    fn from_str(text: &str) -> Result<Self, NotARamp> {
        let step = |text: &str| -> Option<Step> {
            let (rate, hours) = text.split_once(':').unwrap_or((text, "1h"));
            Some(Step {
                per_hour: rate.trim().strip_suffix("/h")?.parse().ok()?,
                for_hours: hours.trim().strip_suffix('h')?.parse().ok()?,
            })
        };
        let steps: Option<Vec<Step>> = text.split(',').map(step).collect();
        Self::new(steps.ok_or(NotARamp::Form)?)
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}/h", step.per_hour)?;
            if step.for_hours != 1 {
                write!(f, ":{}h", step.for_hours)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(text: &str) -> Ramp {
        text.parse().expect("is a ramp")
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn a_ramp_is_written_as_it_is_shown_and_kept_as_steps() {
        for text in ["100/h", "100/h,1000/h", "100/h:2h,1000/h,5000/h:12h"] {
            assert_eq!(ramp(text).to_string(), text);
            let json = serde_json::to_string(&ramp(text)).expect("is JSON");
            assert_eq!(serde_json::from_str::<Ramp>(&json).ok(), Some(ramp(text)));
        }
        let kept = r#"[{"per_hour":100},{"per_hour":1000,"for_hours":3}]"#;
        assert_eq!(
            serde_json::from_str::<Ramp>(kept).ok(),
            Some(ramp("100/h,1000/h:3h"))
        );
        for (text, error) in [
            ("", NotARamp::Form),
            ("100", NotARamp::Form),
            ("100/h,", NotARamp::Form),
            ("100/s", NotARamp::Form),
            ("-1/h", NotARamp::Form),
            ("100/h:30m", NotARamp::Form),
            ("0/h", NotARamp::Empty),
            ("1/h:0h", NotARamp::Empty),
            ("1/h:721h", NotARamp::TooLong),
        ] {
            assert_eq!(text.parse::<Ramp>(), Err(error), "{text}");
        }
        assert!(serde_json::from_str::<Ramp>("[]").is_err());
    }

    #[test]
    fn a_step_spreads_its_messages_over_its_hours() {
        let ramp = ramp("60/h,600/h:2h");
        for (after, allowed) in [
            (0, Some(1)),
            (1, Some(2)),
            (59, Some(60)),
            (60, Some(61)),
            (61, Some(71)),
            (179, Some(60 + 1_190 + 1)),
            (180, None),
        ] {
            assert_eq!(ramp.allowed(minutes(after)), allowed, "{after} min");
        }
        assert_eq!(ramp.rate_per_second(minutes(59)), Some(1.0 / 60.0));
        assert_eq!(ramp.rate_per_second(minutes(60)), Some(1.0 / 6.0));
        assert_eq!(ramp.rate_per_second(minutes(180)), None);
        assert_eq!(ramp.length(), minutes(180));
    }

    #[test]
    fn the_next_moment_is_the_first_at_which_one_more_is_allowed() {
        for text in ["1/h", "7/h:3h,1000/h", "100/h,1000/h,33333/h:5h"] {
            let ramp = ramp(text);
            let all: u64 = ramp.steps().iter().map(Step::messages).sum();
            let steps = (0..all).step_by(97).chain([0, all - 1]);
            for left in steps {
                let at = ramp.next_at(left);
                assert!(
                    ramp.allowed(at).is_some_and(|allowed| allowed > left),
                    "{text} {left}"
                );
                if let Some(before) = at.checked_sub(Duration::from_nanos(1)) {
                    assert_eq!(ramp.allowed(before), Some(left), "{text} {left}");
                }
            }
            assert_eq!(ramp.next_at(all), ramp.length());
            assert_eq!(ramp.next_at(u64::MAX), ramp.length());
        }
    }
}
