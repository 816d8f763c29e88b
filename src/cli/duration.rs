//! Spans of time as an operator writes them: `90s`, `10m`, `2h`, `7d`, `1h30m`.

use std::time::Duration;

use anyhow::Context as _;
use time::OffsetDateTime;

/// A text that is no span of time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotADuration {
    /// A number without a unit may mean anything.
    #[error("the unit is missing; write {0}s, {0}m, {0}h or {0}d")]
    NoUnit(u64),
    /// It is not of the form.
    #[error("write a number and a unit: 90s, 10m, 2h, 7d or 1h30m")]
    Form,
    /// It is no time at all.
    #[error("it is no time at all; write at least 1s")]
    Zero,
    /// It is longer than anything here lasts.
    #[error("it is longer than 3650d")]
    TooLong,
}

const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

/// Reads a span of time of one second at least and ten years at most.
pub(super) fn parse(text: &str) -> Result<Duration, NotADuration> {
    let mut seconds: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(NotADuration::Form);
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return Err(NotADuration::Form);
        }
        let number: u64 = number.parse().map_err(|_| NotADuration::TooLong)?;
        let mut letters = after.chars();
        let unit = match letters.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            None => return Err(NotADuration::NoUnit(number)),
            Some(_) => return Err(NotADuration::Form),
        };
        rest = letters.as_str();
        seconds = number
            .checked_mul(unit)
            .and_then(|part| seconds.checked_add(part))
            .ok_or(NotADuration::TooLong)?;
    }
    match Duration::from_secs(seconds) {
        Duration::ZERO => Err(NotADuration::Zero),
        span if span > LONGEST => Err(NotADuration::TooLong),
        span => Ok(span),
    }
}

/// Reads a span of time where a bare number means seconds.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, NotADuration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return parse(&format!("{text}s"));
    }
    parse(text)
}

/// The moment that is `span` later.
pub(super) fn later(moment: OffsetDateTime, span: Duration) -> anyhow::Result<OffsetDateTime> {
    time::Duration::try_from(span)
        .ok()
        .and_then(|span| moment.checked_add(span))
        .context("the time lies beyond the calendar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_numbers_with_units() {
        for (text, seconds) in [
            ("90s", 90),
            ("10m", 600),
            ("2h", 7_200),
            ("7d", 604_800),
            ("1h30m", 5_400),
            (" 1s ", 1),
            ("3650d", 315_360_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_reason() {
        for (text, error) in [
            ("", NotADuration::Form),
            ("h", NotADuration::Form),
            ("-5m", NotADuration::Form),
            ("1.5h", NotADuration::Form),
            ("5 m", NotADuration::Form),
            ("5M", NotADuration::Form),
            ("10", NotADuration::NoUnit(10)),
            ("1h30", NotADuration::NoUnit(30)),
            ("0s", NotADuration::Zero),
            ("3651d", NotADuration::TooLong),
            ("99999999999999999999s", NotADuration::TooLong),
            ("9999999999999999999d", NotADuration::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_bare_number_may_mean_seconds_where_that_is_said() {
        assert_eq!(parse_seconds("60"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_seconds("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_seconds("1h30"), Err(NotADuration::NoUnit(30)));
        assert_eq!(parse_seconds("0"), Err(NotADuration::Zero));
        assert_eq!(parse_seconds(""), Err(NotADuration::Form));
    }
}
