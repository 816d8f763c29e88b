//! The settings of a campaign, as they are written on the command line.

use std::time::Duration;

use time::OffsetDateTime;

use crate::cli::duration;
use crate::cli::send::{Due, parse_due};
use crate::domain::quiet_hours::{QuietHours, Zones};
use crate::domain::ramp::Ramp;
use crate::store::campaign::CampaignSettings;

pub(super) const HELP: &str = "What is left out stays as it is; `none` takes a setting away. Rate, share, ramp and hours act \
within a second on everything that waits; --expires-after on recipients that are written from then on.

Examples:
  wa-outbox campaign set spring --slow-to 20
  wa-outbox campaign set spring --quiet-hours none --ends-at 2026-03-20T18:00:00Z";

/// How a campaign is sent.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(super) struct Settings {
    /// 0 (urgent) leaves before 9 (bulk) [default: 7]
    #[arg(long, value_name = "0-9")]
    priority: Option<i16>,
    /// Its share of the sender's rate at most, above 0 and up to 1 [default: 1]
    #[arg(long, value_name = "SHARE")]
    rate_share: Option<f64>,
    /// Messages a second at most, such as 20 or 20/s; none: as the share says
    #[arg(long, value_name = "N/s", value_parser = slow_to)]
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
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pause_at: Option<Given<f64>>,
    /// Of the answers within this span, 10s to 24h [default: 5m]
    #[arg(long, value_name = "SPAN", value_parser = duration::parse)]
    pause_window: Option<Duration>,
    /// Not before so many were answered within that span [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
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

fn slow_to(text: &str) -> Result<Given<f64>, String> {
    Given::parse(text, |text| {
        let number = text.strip_suffix("/s").unwrap_or(text).parse();
        number.map_err(|_| "write messages a second, such as 20 or 20/s".to_owned())
    })
}

fn share(text: &str) -> Result<Given<f64>, String> {
    Given::parse(text, |text| {
        text.parse()
            .map_err(|_| "write a share, such as 0.3".to_owned())
    })
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
    Given::parse(text, |text| match text {
        "marketing" | "utility" | "authentication" => Ok(text.to_owned()),
        _ => Err("use marketing, utility or authentication".to_owned()),
    })
}

impl Settings {
    /// What is to be written.
    pub(super) fn change(&self, now: OffsetDateTime) -> anyhow::Result<CampaignSettings> {
        let given = self.clone();
        let at = |due: Option<Given<Due>>| -> anyhow::Result<Option<Option<OffsetDateTime>>> {
            due.map(|due| due.map(|due| due.after(now)).transpose())
                .transpose()
        };
        Ok(CampaignSettings {
            priority: given.priority,
            rate_share: given.rate_share,
            max_per_second: given.slow_to.map(Given::value),
            ramp: given.ramp.map(Given::value),
            starts_at: at(given.starts_at)?,
            ends_at: at(given.ends_at)?,
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

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn change(arguments: &[&str]) -> CampaignSettings {
        let line = Line::try_parse_from(["set"].iter().chain(arguments)).expect("can be read");
        line.settings
            .change(datetime!(2026-03-01 12:00 UTC))
            .expect("can be meant")
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
}
