//! Hours in which a campaign leaves people alone, on the recipient's own clock.
//!
//! Where a recipient is, only their number tells: its country code. A code with several time zones (+1, +7, +61) does not say
//! which of them, so a message leaves only when it is outside the quiet hours in all of them; a zone given with the row decides
//! instead. Where the zones of a country have no common hour outside (21:00-09:00 leaves +1 a few hours a day, 18:00-12:00 none),
//! and where a number tells no country, the campaign's own zone decides.
//!
//! Area codes are not looked at. libphonenumber has a table of their zones, but no crate that is kept brings it; and in North America a
//! number stays with its owner who moves, so the code tells where it was given out and not whom it wakes.
//!
//! Clocks that are put forward or back are followed by the tz database that is built in, so that all workers of one version
//! agree. An hour that comes twice is quiet twice; a quiet time that ends in an hour that is left out ends as long after it as
//! it began before.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan as _};
use time::OffsetDateTime;

use super::country_zones::TABLE;

/// A daily span on the wall clock, from its first minute up to, and without, its last. It may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    from: Time,
    until: Time,
}

/// The zones that somebody may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zones(Arc<[TimeZone]>);

/// The quiet hours of a campaign, and its own time zone.
#[derive(Clone, Debug)]
pub struct Quiet {
    hours: QuietHours,
    own: Zones,
}

/// A text that is no span of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotQuietHours {
    /// Not of the form.
    #[error("write the hours as HH:MM-HH:MM, such as 21:00-09:00")]
    Form,
    /// It would be the whole day, or nothing.
    #[error("the quiet hours begin and end at the same time; pause the campaign instead")]
    Empty,
}

/// A name that the tz database does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone; write an IANA name, such as Europe/Berlin or America/New_York")]
pub struct UnknownZone(String);

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The zones of each calling code.
static BY_CODE: LazyLock<HashMap<&str, Zones>> = LazyLock::new(|| {
    fn zones(names: &[&str]) -> Zones {
        Zones(
            names
                .iter()
                .filter_map(|name| DATABASE.get(name).ok())
                .collect(),
        )
    }
    let rows = TABLE.iter().copied();
    rows.map(|(code, names)| (code, zones(names))).collect()
});

/// A calling code has at most four digits here (+1 and an area code).
const LONGEST_CODE: usize = 4;

/// Zones that have not found a common moment in three days never will.
const LOOKED_AHEAD_H: i64 = 72;

impl Zones {
    /// One zone, by its IANA name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        match DATABASE.get(name) {
            Ok(zone) => Ok(Self([zone].into())),
            Err(_) => Err(UnknownZone(name.to_owned())),
        }
    }

    /// UTC.
    pub fn utc() -> Self {
        Self([TimeZone::UTC].into())
    }

    /// The zones of a phone number's country, E.164 with `+`. None for what is no number of a country.
    pub fn of_phone(phone: &str) -> Option<Self> {
        BY_CODE.get(Self::code_of(phone)?).cloned()
    }

    /// The calling code by which a number's zones are known, without its `+`.
    pub fn code_of(phone: &str) -> Option<&'static str> {
        let digits = phone.strip_prefix('+')?;
        let known = |length| BY_CODE.get_key_value(digits.get(..length)?);
        let (code, _) = (1..=LONGEST_CODE).rev().find_map(known)?;
        Some(code)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl QuietHours {
    /// How long they last, where no clock is put forward or back meanwhile.
    pub fn last(&self) -> Duration {
        let minutes = |at: Time| 60 * i64::from(at.hour()) + i64::from(at.minute());
        let last = (minutes(self.until) - minutes(self.from)).rem_euclid(24 * 60);
        Duration::from_secs(60 * last.unsigned_abs())
    }

    /// Whether it is quiet then in one of the zones at least.
    pub fn is_quiet(&self, now: OffsetDateTime, zones: &Zones) -> bool {
        let now = instant(now);
        zones.0.iter().any(|zone| self.end(now, zone).is_some())
    }

    /// The next moment that is outside in all zones: `now` itself where it is. None where there is no such moment.
    pub fn next_allowed(&self, now: OffsetDateTime, zones: &Zones) -> Option<OffsetDateTime> {
        let start = instant(now);
        let latest = start.checked_add(LOOKED_AHEAD_H.hours()).ok()?;
        let mut at = start;
        while at <= latest {
            let ends = zones.0.iter().filter_map(|zone| self.end(at, zone));
            match ends.max() {
                None if at == start => return Some(now),
                None => return OffsetDateTime::from_unix_timestamp_nanos(at.as_nanosecond()).ok(),
                Some(end) => at = end,
            }
        }
        None
    }

    /// When the quiet time ends that it is then in a zone; none where it is not quiet. Always later than `at`.
    fn end(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = zone.to_datetime(at);
        let (date, clock) = (local.date(), local.time());
        let before_the_end = clock < self.until;
        let is_quiet = if self.from < self.until {
            clock >= self.from && before_the_end
        } else {
            clock >= self.from || before_the_end
        };
        if !is_quiet {
            return None;
        }
        let day = if before_the_end {
            date
        } else {
            date.tomorrow().ok()?
        };
        let ambiguous = zone.to_ambiguous_timestamp(day.to_datetime(self.until));
        let end = ambiguous.compatible().ok()?;
        // Of an hour that comes twice, the first end may be behind us while the second time is quiet again.
        if end > at {
            return Some(end);
        }
        ambiguous.later().ok().filter(|end| *end > at)
    }
}

impl Quiet {
    /// The quiet hours, by the given zone where the recipient's is not known.
    pub fn new(hours: QuietHours, own: Zones) -> Self {
        Self { hours, own }
    }

    /// When a message to this recipient may leave: `now` itself where it may. `zone` is the one given with the row, if one is;
    /// a name that does not exist counts as none (the preflight reports it).
    pub fn next_allowed(
        &self,
        now: OffsetDateTime,
        recipient: &str,
        zone: Option<&str>,
    ) -> OffsetDateTime {
        let given = zone.and_then(|name| Zones::named(name).ok());
        let theirs = given.or_else(|| Zones::of_phone(recipient));
        self.next_allowed_in(now, theirs.as_ref())
    }

    /// When a message may leave to somebody in one of these zones; none given: in the campaign's own.
    pub fn next_allowed_in(&self, now: OffsetDateTime, zones: Option<&Zones>) -> OffsetDateTime {
        zones
            .and_then(|zones| self.hours.next_allowed(now, zones))
            .or_else(|| self.hours.next_allowed(now, &self.own))
            .unwrap_or(now)
    }
}

fn instant(moment: OffsetDateTime) -> Timestamp {
    // Every moment that the database can hold fits; beyond it the end of time is as good as any.
    Timestamp::from_nanosecond(moment.unix_timestamp_nanos()).unwrap_or(Timestamp::MAX)
}

impl FromStr for QuietHours {
    type Err = NotQuietHours;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, until) = text.split_once('-').ok_or(NotQuietHours::Form)?;
        let (from, until) = (time_of_day(from)?, time_of_day(until)?);
        if from == until {
            return Err(NotQuietHours::Empty);
        }
        Ok(Self { from, until })
    }
}

fn time_of_day(text: &str) -> Result<Time, NotQuietHours> {
    let part = |text: &str| -> Option<i8> {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse().ok())?
    };
    let (hour, minute) = text.trim().split_once(':').ok_or(NotQuietHours::Form)?;
    let both = part(hour).zip(part(minute));
    let (hour, minute) = both.ok_or(NotQuietHours::Form)?;
    // The end of a day is written either way.
    let hour = if (hour, minute) == (24, 0) { 0 } else { hour };
    Time::new(hour, minute, 0, 0).map_err(|_| NotQuietHours::Form)
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(f, "{:02}:{:02}-", from.hour(), from.minute())?;
        write!(f, "{:02}:{:02}", until.hour(), until.minute())
    }
}

#[cfg(test)]
#[path = "quiet_hours_tests.rs"]
mod tests;
