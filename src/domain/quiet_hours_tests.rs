use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::*;

fn hours(text: &str) -> QuietHours {
    text.parse().expect("are quiet hours")
}

fn zone(name: &str) -> Zones {
    Zones::named(name).expect("is a zone")
}

const NIGHT: &str = "21:00-09:00";

#[test]
fn hours_are_written_as_they_are_shown() {
    for text in ["21:00-09:00", "00:30-23:59", "12:00-13:15"] {
        assert_eq!(hours(text).to_string(), text);
    }
    assert_eq!(hours(" 22:00 - 24:00 ").to_string(), "22:00-00:00");
    for text in [
        "",
        "21:00",
        "21-9",
        "9:00-21:00",
        "25:00-09:00",
        "21:60-09:00",
        "aa:bb-cc:dd",
        "+1:00-02:00",
    ] {
        assert_eq!(
            text.parse::<QuietHours>(),
            Err(NotQuietHours::Form),
            "{text}"
        );
    }
    assert_eq!(
        "09:00-09:00".parse::<QuietHours>(),
        Err(NotQuietHours::Empty)
    );
}

#[test]
fn a_night_is_waited_for_until_its_last_minute_is_over() {
    let berlin = zone("Europe/Berlin");
    for (now, allowed) in [
        (
            datetime!(2026-01-10 20:59:59 +1),
            datetime!(2026-01-10 20:59:59 +1),
        ),
        (
            datetime!(2026-01-10 21:00 +1),
            datetime!(2026-01-11 09:00 +1),
        ),
        (
            datetime!(2026-01-11 00:30 +1),
            datetime!(2026-01-11 09:00 +1),
        ),
        (
            datetime!(2026-01-11 08:59:59.9 +1),
            datetime!(2026-01-11 09:00 +1),
        ),
        (
            datetime!(2026-01-11 09:00 +1),
            datetime!(2026-01-11 09:00 +1),
        ),
    ] {
        assert_eq!(
            hours(NIGHT).next_allowed(now, &berlin),
            Some(allowed),
            "{now}"
        );
        assert_eq!(hours(NIGHT).is_quiet(now, &berlin), now != allowed, "{now}");
    }
}

#[test]
fn hours_within_a_day_are_quiet_between_them_only() {
    let utc = Zones::utc();
    let noon = hours("12:00-14:00");
    let at = datetime!(2026-05-01 13:00 UTC);
    assert_eq!(
        noon.next_allowed(at, &utc),
        Some(datetime!(2026-05-01 14:00 UTC))
    );
    assert!(!noon.is_quiet(datetime!(2026-05-01 11:59 UTC), &utc));
    assert!(!noon.is_quiet(datetime!(2026-05-01 14:00 UTC), &utc));
}

#[test]
fn clocks_that_are_put_forward_or_back_are_followed() {
    let new_york = zone("America/New_York");
    // 8 March 2026: 02:00 EST becomes 03:00 EDT. 9 o'clock is an hour nearer.
    let evening = datetime!(2026-03-07 22:00 -5);
    let morning = datetime!(2026-03-08 09:00 -4);
    assert_eq!(hours(NIGHT).next_allowed(evening, &new_york), Some(morning));
    // An end that does not exist that day comes as long after the jump.
    let odd = hours("01:00-02:30");
    let before = datetime!(2026-03-08 01:15 -5);
    assert_eq!(
        odd.next_allowed(before, &new_york),
        Some(datetime!(2026-03-08 03:30 -4))
    );
    // 1 November 2026: 02:00 EDT becomes 01:00 EST, so 01:15 comes twice, and both times it is quiet until 01:30.
    let early = hours("01:00-01:30");
    let first = datetime!(2026-11-01 01:15 -4);
    let second = datetime!(2026-11-01 01:15 -5);
    assert_eq!(
        early.next_allowed(first, &new_york),
        Some(datetime!(2026-11-01 01:30 -4))
    );
    assert_eq!(
        early.next_allowed(second, &new_york),
        Some(datetime!(2026-11-01 01:30 -5))
    );
}

#[test]
fn a_number_tells_its_country_by_the_longest_code_that_fits() {
    let zones = |phone: &str| Zones::of_phone(phone);
    assert_eq!(zones("+4915112345678"), Some(zone("Europe/Berlin")));
    assert_eq!(zones("+18765551234"), Some(zone("America/Jamaica")));
    assert_eq!(zones("+77011234567"), Some(zone("Asia/Almaty")));
    assert_eq!(zones("+16505551234").map(|zones| zones.count()), Some(13));
    assert_eq!(zones("+79161234567").map(|zones| zones.count()), Some(11));
    for no_country in ["+8001234567", "US.1349120", "", "+", "+é", "4915112345678"] {
        assert_eq!(zones(no_country), None, "{no_country}");
    }
    // Cut within a character it still begins with a code.
    assert_eq!(zones("+1é"), zones("+1"));
}

#[test]
fn every_code_of_the_table_has_zones_that_exist_and_stands_once() {
    for (code, names) in TABLE {
        assert!(code.len() <= LONGEST_CODE && !names.is_empty(), "{code}");
        for name in *names {
            assert!(Zones::named(name).is_ok(), "{code}: {name}");
        }
    }
    assert_eq!(BY_CODE.len(), TABLE.len());
}

#[test]
fn a_code_with_several_zones_is_written_to_when_none_of_them_is_quiet() {
    let america = Zones::of_phone("+16505551234").expect("has zones");
    let night = hours(NIGHT);
    // In winter: 09:00 in Honolulu (-10) is 14:00 in New York (-5); 21:00 in St John's (-3:30) is 14:30 in Honolulu.
    let in_the_morning_of_new_york = datetime!(2026-01-10 10:00 -5);
    assert_eq!(
        night.next_allowed(in_the_morning_of_new_york, &america),
        Some(datetime!(2026-01-10 09:00 -10))
    );
    assert!(night.is_quiet(datetime!(2026-01-10 21:00 -3:30), &america));
    assert!(!night.is_quiet(datetime!(2026-01-10 20:59 -3:30), &america));
}

#[test]
fn where_a_country_has_no_common_hour_the_campaigns_own_zone_decides() {
    let strict = hours("18:00-12:00");
    let now = datetime!(2026-01-10 03:00 UTC);
    let america = Zones::of_phone("+16505551234").expect("has zones");
    assert_eq!(strict.next_allowed(now, &america), None);
    let quiet = Quiet::new(strict, zone("America/New_York"));
    assert_eq!(
        quiet.next_allowed(now, "+16505551234", None),
        datetime!(2026-01-10 12:00 -5)
    );
}

#[test]
fn a_zone_given_with_the_row_decides_and_one_that_does_not_exist_counts_as_none() {
    let quiet = Quiet::new(hours(NIGHT), Zones::utc());
    let now = datetime!(2026-01-10 08:30 UTC);
    let tokyo = quiet.next_allowed(now, "+4915112345678", Some("Asia/Tokyo"));
    assert_eq!(tokyo, now);
    let berlin = quiet.next_allowed(
        now - Duration::hours(1),
        "+4915112345678",
        Some("Mars/Dome"),
    );
    assert_eq!(berlin, datetime!(2026-01-10 09:00 +1));
    let nobody_knows = quiet.next_allowed(now, "US.1349120", None);
    assert_eq!(nobody_knows, datetime!(2026-01-10 09:00 UTC));
}

#[test]
fn whatever_the_hour_and_the_zones_the_next_moment_is_allowed_and_none_before_it_is() {
    let mut random = fastrand::Rng::with_seed(3);
    let start: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
    for round in 0..3_000 {
        let clock = |random: &mut fastrand::Rng| {
            format!("{:02}:{:02}", random.u8(..24), 15 * random.u8(..4))
        };
        let text = format!("{}-{}", clock(&mut random), clock(&mut random));
        let Ok(quiet) = text.parse::<QuietHours>() else {
            continue;
        };
        let (code, _) = TABLE[random.usize(..TABLE.len())];
        let zones = &BY_CODE[code];
        let now = start + Duration::minutes(random.i64(0..2 * 365 * 24 * 60));
        let Some(next) = quiet.next_allowed(now, zones) else {
            continue;
        };
        assert!(!quiet.is_quiet(next, zones), "{round}: {text} +{code}");
        assert!(next >= now);
        // Where clocks jump over the end, the wait is longer by as much; so look outside of that hour.
        let mut at = now;
        while at < next - Duration::minutes(60) {
            assert!(quiet.is_quiet(at, zones), "{round}: {text} +{code} {at}");
            at += Duration::minutes(15);
        }
    }
}

#[test]
fn they_last_as_long_as_their_clock_says() {
    for (text, minutes) in [(NIGHT, 720), ("00:00-23:00", 1_380), ("12:00-13:15", 75)] {
        let lasts = std::time::Duration::from_secs(60 * minutes);
        assert_eq!(hours(text).last(), lasts, "{text}");
    }
}
