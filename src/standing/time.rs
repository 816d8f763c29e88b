//! Moments as people read them: the time on the clock of whoever looks, with its zone, and how long ago it is. Scripts get UTC.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use time::OffsetDateTime;

/// The zone of whoever looks: `TZ`, else the machine's; UTC where neither names one.
static ZONE: LazyLock<TimeZone> = LazyLock::new(|| {
    if cfg!(test) {
        return TimeZone::UTC;
    }
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
});

/// The moment, as `2026-03-01 13:00:05 CET`.
pub fn stamp(moment: OffsetDateTime) -> String {
    stamp_in(&ZONE, moment)
}

fn stamp_in(zone: &TimeZone, moment: OffsetDateTime) -> String {
    // The fallback is for the last days of the year 9999, of which no zone has all.
    Timestamp::from_second(moment.unix_timestamp()).map_or_else(
        |_| moment.to_string(),
        |at| {
            let there = at.to_zoned(zone.clone());
            there.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
        },
    )
}

/// How far the moment is from `now`: `just now`, `3 min ago`, `in 2 h`.
pub fn age(moment: OffsetDateTime, now: OffsetDateTime) -> String {
    let away = now - moment;
    if away.is_negative() {
        format!("in {}", span(-away))
    } else if away.whole_seconds() < 1 {
        "just now".to_owned()
    } else {
        format!("{} ago", span(away))
    }
}

/// The moment and how far it is from `now`.
pub fn moment(moment: OffsetDateTime, now: OffsetDateTime) -> String {
    format!("{} ({})", stamp(moment), age(moment, now))
}

/// A span in its largest unit, of which there are at least two where that is finer: 90 s, 90 min, 36 h, 2 days.
pub fn span(span: time::Duration) -> String {
    let seconds = span.whole_seconds();
    match seconds {
        0 => "under a second".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00:00 UTC);

    #[test]
    fn an_age_is_told_in_the_unit_that_fits() {
        for (seconds, words) in [
            (0, "just now"),
            (1, "1 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7_199, "119 min ago"),
            (7_200, "2 h ago"),
            (172_799, "47 h ago"),
            (172_800, "2 days ago"),
            (31_536_000, "365 days ago"),
            (-30, "in 30 s"),
            (-600, "in 10 min"),
        ] {
            assert_eq!(age(NOW - Duration::seconds(seconds), NOW), words);
        }
        assert_eq!(
            age(NOW + Duration::milliseconds(300), NOW),
            "in under a second"
        );
        assert_eq!(age(NOW - Duration::milliseconds(300), NOW), "just now");
    }

    #[test]
    fn a_moment_is_shown_on_the_clock_of_whoever_looks() {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let winter = datetime!(2026-03-01 11:30:05.25 UTC);
        assert_eq!(stamp_in(&zone, winter), "2026-03-01 12:30:05 CET");
        let summer = datetime!(2026-07-01 11:30:05 UTC);
        assert_eq!(stamp_in(&zone, summer), "2026-07-01 13:30:05 CEST");
        // Where messages of a held template wait.
        let aside = datetime!(9999-01-01 0:00:01 UTC);
        assert_eq!(stamp_in(&TimeZone::UTC, aside), "9999-01-01 00:00:01 UTC");
    }

    #[test]
    fn a_moment_is_shown_in_one_zone_whatever_its_offset() {
        let elsewhere = datetime!(2026-03-01 13:30:05.25 +2);
        assert_eq!(stamp(elsewhere), "2026-03-01 11:30:05 UTC");
        assert_eq!(
            moment(elsewhere, NOW),
            "2026-03-01 11:30:05 UTC (29 min ago)"
        );
    }
}
