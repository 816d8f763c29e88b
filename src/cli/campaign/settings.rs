//! The settings of a campaign, as they are written on the command line.

use std::time::Duration;

use time::OffsetDateTime;

use crate::cli::duration;
use crate::cli::failure::Problem;
use crate::cli::send::{Due, parse_due};
use crate::cli::text::CATEGORIES;
use crate::domain::quiet_hours::{QuietHours, Zones};
use crate::domain::ramp::Ramp;
use crate::standing::time::moment as in_words;
use crate::store::campaign::CampaignSettings;

pub(super) const HELP: &str = "What is left out stays as it is; `none` takes a setting away. Rate, share, ramp and hours act \
within a second on everything that waits; --expires-after on recipients that are written from then on. A time that is past is refused.

Examples:
  wa-outbox campaign set spring --slow-to 20
  wa-outbox campaign set spring --quiet-hours none --ends-at 8h";

/// The slowest that is understood, one in some three hours.
const LEAST_PER_SECOND: f64 = 0.000_1;
/// No sender may send more a second.
const MOST_PER_SECOND: f64 = 10_000.0;
/// Failures are looked at over a span from this one on, up to a day.
const SHORTEST_WINDOW: Duration = Duration::from_secs(10);
const LONGEST_WINDOW: Duration = Duration::from_secs(86_400);

/// How a campaign is sent.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(super) struct Settings {
    /// 0 (urgent) leaves before 9 (bulk) [default: 7]
    #[arg(long, value_name = "0-9", allow_negative_numbers = true, value_parser = priority)]
    priority: Option<i16>,
    /// Its share of the sender's rate at most, above 0 and up to 1 [default: 1]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = share)]
    rate_share: Option<f64>,
    /// Messages a second at most, such as 20 or 20/s; none: as the share says
    #[arg(long, value_name = "N/s", allow_negative_numbers = true, value_parser = slow_to)]
    slow_to: Option<Given<f64>>,
    /// Begin slowly: messages an hour, step by step, such as 100/h,1000/h:3h; none: at once
    #[arg(long, value_name = "STEPS", value_parser = ramp)]
    ramp: Option<Given<Ramp>>,
    /// Nothing leaves before: a time such as 2026-03-01T12:00:00Z, or a span from now such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    starts_at: Option<Given<Due>>,
    /// What has not left by then expires: a time, or a span from now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    ends_at: Option<Given<Due>>,
    /// Nothing leaves in these hours of the recipient's day, such as 21:00-09:00
    #[arg(long, value_name = "HH:MM-HH:MM", value_parser = quiet_hours)]
    quiet_hours: Option<Given<QuietHours>>,
    /// The time zone of recipients whose own is not known, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = time_zone)]
    time_zone: Option<String>,
    /// A message expires so long after it is due, such as 12h
    #[arg(long, value_name = "SPAN", value_parser = span)]
    expires_after: Option<Given<Duration>>,
    /// The template's category, for suppressions: marketing, utility or authentication
    #[arg(long, value_name = "CATEGORY", value_parser = category)]
    category: Option<Given<String>>,
    /// Pause by itself when this share of the answers has failed, above 0 and up to 1; none: never [default: 0.3]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = pause_at)]
    pause_at: Option<Given<f64>>,
    /// Of the answers within this span, 10s to 24h [default: 5m]
    #[arg(long, value_name = "SPAN", value_parser = pause_window)]
    pause_window: Option<Duration>,
    /// Not before so many were answered within that span [default: 50]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(1..))]
    pause_at_least: Option<i32>,
    /// Whether it has all its recipients: then it is done when the last has ended, else ten minutes later [default: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    complete: Option<bool>,
}

/// A value, or `none`.
#[derive(Clone, Debug, PartialEq)]
enum Given<T> {
    Value(T),
    Taken,
}

impl<T> Given<T> {
    /// `none`, or what `read` makes of the text.
    fn parse<E>(text: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Result<Self, E> {
        if text == "none" {
            Ok(Self::Taken)
        } else {
            read(text).map(Self::Value)
        }
    }

    fn value(self) -> Option<T> {
        self.map(|value| value)
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Option<U> {
        match self {
            Self::Value(value) => Some(change(value)),
            Self::Taken => None,
        }
    }
}

fn priority(text: &str) -> Result<i16, &'static str> {
    match text.parse() {
        Ok(number) if (0..=9).contains(&number) => Ok(number),
        _ => Err("write 0 (urgent) to 9 (bulk)"),
    }
}

// NaN and infinity are numbers to the parser, and as JSON both would be null, which takes a setting away.
fn slow_to(text: &str) -> Result<Given<f64>, &'static str> {
    Given::parse(text, |text| {
        match text.strip_suffix("/s").unwrap_or(text).parse() {
            Ok(rate) if (LEAST_PER_SECOND..=MOST_PER_SECOND).contains(&rate) => Ok(rate),
            _ => Err("write messages a second from 0.0001 to 10000, such as 20 or 20/s; or none"),
        }
    })
}

fn share(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("write a share above 0, 1 at most, such as 0.3"),
    }
}

fn pause_at(text: &str) -> Result<Given<f64>, &'static str> {
    let or_none = "write a share above 0, 1 at most, such as 0.3; or none";
    Given::parse(text, share).map_err(|_| or_none)
}

fn pause_window(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(span) if (SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&span) => Ok(span),
        Ok(_) => Err("write a span from 10s to 24h, such as 5m".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn ramp(text: &str) -> Result<Given<Ramp>, crate::domain::ramp::NotARamp> {
    Given::parse(text, str::parse)
}

fn moment(text: &str) -> Result<Given<Due>, String> {
    Given::parse(text, parse_due)
}

fn quiet_hours(text: &str) -> Result<Given<QuietHours>, crate::domain::quiet_hours::NotQuietHours> {
    Given::parse(text, str::parse)
}

fn time_zone(text: &str) -> Result<String, crate::domain::quiet_hours::UnknownZone> {
    Zones::named(text).map(|_| text.to_owned())
}

fn span(text: &str) -> Result<Given<Duration>, duration::NotADuration> {
    Given::parse(text, duration::parse)
}

fn category(text: &str) -> Result<Given<String>, String> {
    Given::parse(text, |text| match CATEGORIES.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err("use marketing, utility or authentication".to_owned()),
    })
}

impl Settings {
    /// What is to be written. Nothing begins or ends in the past: what waits in a campaign that has ended expires at once, and for
    /// good. `to_end_it` says what to do instead.
    pub(super) fn change(
        &self,
        now: OffsetDateTime,
        to_end_it: &str,
    ) -> anyhow::Result<CampaignSettings> {
        let given = self.clone();
        let at = |due: Option<Given<Due>>| -> anyhow::Result<Option<Option<OffsetDateTime>>> {
            due.map(|due| due.map(|due| due.after(now)).transpose())
                .transpose()
        };
        let (starts_at, ends_at) = (at(given.starts_at)?, at(given.ends_at)?);
        let to_begin_at_once = "write a later time; to begin at once, --starts-at none";
        for (flag, moment, fix) in [
            ("--starts-at", starts_at, to_begin_at_once),
            ("--ends-at", ends_at, to_end_it),
        ] {
            if let Some(past) = moment.flatten().filter(|moment| *moment <= now) {
                let what = format!("{flag} is past: {}", in_words(past, now));
                return Err(Problem::usage(what, fix).into());
            }
        }
        if let (Some(Some(starts)), Some(Some(ends))) = (starts_at, ends_at)
            && ends <= starts
        {
            let what = format!(
                "--ends-at, {}, is not after --starts-at, {}",
                in_words(ends, now),
                in_words(starts, now)
            );
            let fix = "write an end that is later than the start";
            return Err(Problem::usage(what, fix).into());
        }
        Ok(CampaignSettings {
            priority: given.priority,
            rate_share: given.rate_share,
            max_per_second: given.slow_to.map(Given::value),
            ramp: given.ramp.map(Given::value),
            starts_at,
            ends_at,
            quiet_hours: given
                .quiet_hours
                .map(|hours| hours.map(|hours| hours.to_string())),
            time_zone: given.time_zone,
            expires_after: given.expires_after.map(Given::value),
            category: given.category.map(Given::value),
            pause_failure_share: given.pause_at.map(Given::value),
            pause_window: given.pause_window,
            pause_at_least: given.pause_at_least,
            complete: given.complete,
            ..CampaignSettings::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
    const END_IT: &str = "to end it: cancel it";

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn change(arguments: &[&str]) -> CampaignSettings {
        let line = Line::try_parse_from(["set"].iter().chain(arguments)).expect("can be read");
        line.settings.change(NOW, END_IT).expect("can be meant")
    }

    fn refused(arguments: &[&str]) -> String {
        let line = Line::try_parse_from(["set"].iter().chain(arguments)).expect("can be read");
        let error = line
            .settings
            .change(NOW, END_IT)
            .expect_err("cannot be meant");
        crate::cli::failure::words(&error)
    }

    #[test]
    fn what_is_given_is_written_and_none_takes_it_away() {
        let given = change(&[
            "--slow-to",
            "20/s",
            "--ramp",
            "100/h,1000/h",
            "--starts-at",
            "2h",
            "--quiet-hours",
            "21:00-24:00",
            "--expires-after",
            "12h",
            "--pause-window",
            "1h",
            "--pause-at-least",
            "20",
            "--complete",
        ]);
        assert_eq!(given.pause_window, Some(Duration::from_secs(3_600)));
        assert_eq!(
            (given.pause_at_least, given.complete),
            (Some(20), Some(true))
        );
        assert_eq!(change(&["--complete=false"]).complete, Some(false));
        assert_eq!(given.max_per_second, Some(Some(20.0)));
        assert_eq!(given.ramp, Some("100/h,1000/h".parse().ok()));
        assert_eq!(given.starts_at, Some(Some(datetime!(2026-03-01 14:00 UTC))));
        assert_eq!(given.quiet_hours, Some(Some("21:00-00:00".to_owned())));
        assert_eq!(given.expires_after, Some(Some(Duration::from_secs(43_200))));
        assert_eq!(
            (given.ends_at, given.priority, given.category),
            (None, None, None)
        );
        let taken = change(&[
            "--slow-to",
            "none",
            "--ramp",
            "none",
            "--ends-at",
            "none",
            "--pause-at",
            "none",
        ]);
        assert_eq!(taken.max_per_second, Some(None));
        assert_eq!(taken.ramp, Some(None));
        assert_eq!(
            (taken.ends_at, taken.pause_failure_share),
            (Some(None), Some(None))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for arguments in [
            ["--slow-to", "fast"],
            ["--ramp", "100"],
            ["--quiet-hours", "9-21"],
            ["--time-zone", "Mars/Dome"],
            ["--starts-at", "tomorrow"],
            ["--category", "spam"],
        ] {
            assert!(
                Line::try_parse_from(["set"].iter().chain(&arguments)).is_err(),
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn a_number_that_cannot_be_meant_is_refused_with_field_value_and_fix() {
        let (rate, share) = ("from 0.0001 to 10000", "above 0, 1 at most");
        for (flag, values, fix) in [
            (
                "--slow-to",
                &["NaN", "inf", "infinity/s", "0", "1e-18", "-1", "10001"][..],
                rate,
            ),
            (
                "--rate-share",
                &["NaN", "inf", "0", "-1", "1.5", "none"],
                share,
            ),
            ("--pause-at", &["NaN", "inf", "0", "-1", "1.1"], share),
            ("--priority", &["10", "-1", "1.5"], "0 (urgent) to 9 (bulk)"),
            ("--pause-window", &["5s", "25h"], "from 10s to 24h"),
            ("--pause-window", &["5"], "the unit is missing"),
        ] {
            for value in values {
                let Err(error) = Line::try_parse_from(["set", flag, value]) else {
                    panic!("{flag} {value} is taken");
                };
                let said = error.to_string();
                assert!(
                    said.contains(&format!("invalid value '{value}' for '{flag} <"))
                        && said.contains(fix),
                    "{said}"
                );
                assert_eq!(error.exit_code(), 2);
            }
        }
    }

    #[test]
    fn a_campaign_neither_begins_nor_ends_in_the_past() {
        for (arguments, said) in [
            (
                &["--ends-at", "2026-03-01T11:00:00Z"][..],
                "error: --ends-at is past: 2026-03-01 11:00:00 UTC (60 min ago)\n  fix: to end it: cancel it\n",
            ),
            (
                &["--starts-at", "2026-03-01T12:00:00Z"],
                "error: --starts-at is past: 2026-03-01 12:00:00 UTC (just now)\n  fix: write a later time; to begin at once, --starts-at none\n",
            ),
            (
                &["--starts-at", "2h", "--ends-at", "1h"],
                "error: --ends-at, 2026-03-01 13:00:00 UTC (in 60 min), is not after --starts-at, 2026-03-01 14:00:00 UTC (in 2 h)\n  \
                 fix: write an end that is later than the start\n",
            ),
        ] {
            assert_eq!(refused(arguments), said);
        }
        let given = change(&["--starts-at", "1s", "--ends-at", "2s"]);
        assert!(given.starts_at < given.ends_at);
    }
}
