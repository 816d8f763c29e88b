//! Hides the numbers and wamids that a text of others names.
//!
//! A number is hidden however its digits are set apart: `(650) 555-9876` is one number. What is none stays as it is: a code of an error
//! where it is called one, digits that end a name, and what we write ourselves around such a text: dates, the id after `message`, and what
//! is to be copied after `wa-outbox`.

use std::ops::RangeInclusive;

use super::masked;

/// So many digits may be somebody's number.
const DIGITS: usize = 7;
/// Codes of errors have up to so many: 131026, 2494100. No area code has as many as the shortest that stands in parentheses.
const DIGITS_OF_A_CODE: RangeInclusive<usize> = 6..=7;
/// Names end in a date, as in `promo_20261130`, and seldom in more.
const DIGITS_OF_A_NAME: usize = 8;
/// An id of a message is not longer; a number with its country code is, nearly everywhere.
const DIGITS_OF_AN_ID: usize = 10;
const WAMID: &str = "wamid.";
/// Commands that are to be copied begin so.
const COMMAND: &str = "wa-outbox ";

/// The text without what it tells of a recipient.
pub(super) fn veiled(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    let tells_a_command = text.contains(COMMAND);
    while let Some(first) = text[at..].chars().next() {
        let (before, rest) = text.split_at(at);
        let taken = if let Some(wamid) = wamid(rest) {
            shown += &rest[..WAMID.len()];
            shown += &masked(&wamid[WAMID.len()..]);
            wamid.len()
        } else if let Some(length) = named(before, rest)
            .or_else(|| date_of_ours(before, rest))
            .or_else(|| {
                tells_a_command
                    .then(|| argument_of_ours(before, rest))
                    .flatten()
            })
        {
            shown += &rest[..length];
            length
        } else if first.is_numeric() {
            let number = number(before, rest);
            let digits: String = number.chars().filter(|one| one.is_numeric()).collect();
            if digits.chars().count() < DIGITS {
                shown += number;
            } else {
                if number.contains(')') && shown.ends_with('(') {
                    shown.pop();
                }
                shown += &masked(&digits);
            }
            number.len()
        } else {
            shown.push(first);
            first.len_utf8()
        };
        at += taken;
    }
    shown
}

/// The wamid that the text begins with. One that is masked already is none.
fn wamid(text: &str) -> Option<&str> {
    let start = text.get(..WAMID.len())?;
    let hidden = start
        .eq_ignore_ascii_case(WAMID)
        .then(|| &text[WAMID.len()..])?;
    let is_of_it = |one: char| one.is_ascii_alphanumeric() || "+/=_-".contains(one);
    let length = hidden.find(|one| !is_of_it(one)).unwrap_or(hidden.len());
    let is_masked = length <= super::FIRST && hidden[length..].starts_with('…');
    (length > 0 && !is_masked).then(|| &text[..WAMID.len() + length])
}

/// The number that the text begins with, from its first digit to its last.
fn number<'a>(before: &str, text: &'a str) -> &'a str {
    let is_dialled = before.ends_with('+');
    let mut end = 0;
    for (place, one) in text.char_indices() {
        if one.is_numeric() {
            if place > end && !is_dialled && date_of_ours(&text[..place], &text[place..]).is_some()
            {
                break;
            }
            end = place + one.len_utf8();
        } else if !sets_apart(one)
            || one == ')' && place == end && DIGITS_OF_A_CODE.contains(&end) && opens_a_code(before)
        {
            break;
        }
    }
    &text[..end]
}

/// What may stand between the digits of one number, seen or unseen.
fn sets_apart(one: char) -> bool {
    one.is_whitespace()
        || one.is_control()
        || matches!(
            one,
            '-' | '.' | '(' | ')' | '/' | '\u{ad}' | '\u{61c}' | '\u{2010}'
                ..='\u{2015}' | '\u{2212}' | '\u{feff}'
        )
        || matches!(one, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

/// Whether what follows may be a code of an error, as in `(131026) 24 hours have passed`.
fn opens_a_code(before: &str) -> bool {
    let before = before.strip_suffix('#').unwrap_or(before);
    before.ends_with('(') && !before.ends_with("+(")
}

/// How long the digits are that the text begins with, where what is before them tells that they are no number: the id of a message, a
/// code, or the end of a name.
fn named(before: &str, text: &str) -> Option<usize> {
    let length = text
        .find(|one: char| !one.is_ascii_digit())
        .unwrap_or(text.len());
    let at_most = if before.ends_with("message ") {
        DIGITS_OF_AN_ID
    } else if before.ends_with('_') {
        DIGITS_OF_A_NAME
    } else if tells_a_code(before) || opens_a_code(before) && text[length..].starts_with(')') {
        *DIGITS_OF_A_CODE.end()
    } else {
        return None;
    };
    // A number whose digits are set apart goes on behind them.
    let goes_on = || number(before, text).len() > length;
    ((1..=at_most).contains(&length) && !goes_on()).then_some(length)
}

/// As `#`, `code ` and `"error_subcode":` do.
fn tells_a_code(before: &str) -> bool {
    let word = before.trim_end_matches([' ', ':', '=', '"']);
    let end = word.len().checked_sub("code".len());
    let is_named = |end| {
        word.get(end..)
            .is_some_and(|end: &str| end.eq_ignore_ascii_case("code"))
    };
    before.ends_with('#') || word.len() < before.len() && end.is_some_and(is_named)
}

/// How much of the text is left of the first argument of a command of ours, which is to be copied: `wa-outbox campaign start sale-2026`.
fn argument_of_ours(before: &str, text: &str) -> Option<usize> {
    let (_, command) = before.rsplit_once(COMMAND)?;
    let (verbs, start) = command.rsplit_once(' ')?;
    let is_of_it = |one: char| one.is_ascii_alphanumeric() || "_.-".contains(one);
    let is_verb = |one: char| one.is_ascii_lowercase() || " -".contains(one);
    if !(verbs.chars().all(is_verb) && start.chars().all(is_of_it)) {
        return None;
    }
    let argument = &text[..text.find(|one| !is_of_it(one)).unwrap_or(text.len())];
    let length = argument.trim_end_matches('.').len();
    (length > 0).then_some(length)
}

/// How long the moment is that the text begins with: a date such as 2026-11-30, and a time where one follows.
fn date_of_ours(before: &str, text: &str) -> Option<usize> {
    let starts_a_word = before
        .chars()
        .next_back()
        .is_none_or(|one| one.is_whitespace() || one == '(');
    if !starts_a_word || !is_date(text.as_bytes().get(..DATE)?) {
        return None;
    }
    let length = DATE + time(&text[DATE..]);
    let mut after = text[length..].chars();
    let goes_on = match after.next() {
        Some(next) if next.is_numeric() => true,
        Some(next) if next.is_whitespace() => false,
        Some(next) => sets_apart(next) && after.next().is_some_and(char::is_numeric),
        None => false,
    };
    (!goes_on).then_some(length)
}

const DATE: usize = "2026-11-30".len();

fn is_date(bytes: &[u8]) -> bool {
    let Some((year, month, day)) = std::str::from_utf8(bytes).ok().and_then(|date| {
        let mut parts = date.split('-');
        Some((parts.next()?, parts.next()?, parts.next()?))
    }) else {
        return false;
    };
    let within = |part: &str, digits, range: std::ops::RangeInclusive<u16>| {
        let is_plain = part.len() == digits && part.bytes().all(|one| one.is_ascii_digit());
        is_plain && part.parse().is_ok_and(|part: u16| range.contains(&part))
    };
    within(year, 4, 1900..=2099) && within(month, 2, 1..=12) && within(day, 2, 1..=31)
}

/// How long the time is that follows a date: ` 12:00`, `T12:00:05.250`.
fn time(text: &str) -> usize {
    let bytes = text.as_bytes();
    let two = |at: usize| {
        let digits = bytes.get(at..at + 2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    };
    if !(matches!(bytes.first(), Some(b' ' | b'T'))
        && two(1)
        && bytes.get(3) == Some(&b':')
        && two(4))
    {
        return 0;
    }
    if !(bytes.get(6) == Some(&b':') && two(7)) {
        return 6;
    }
    let fraction = bytes[9..].iter().skip(1);
    match bytes.get(9) {
        Some(b'.') => {
            10 + fraction
                .take_while(|one| one.is_ascii_digit())
                .count()
                .min(9)
        }
        Some(_) | None => 9,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_hidden_however_it_is_written() {
        for (text, shown) in [
            ("to +16505551234 undeliverable", "to +165…34 undeliverable"),
            ("call +1 650-555-9876.", "call +165…76."),
            (
                "(650) 555-9876 is not on WhatsApp",
                "650…76 is not on WhatsApp",
            ),
            ("it is 030/123 45 67", "it is 030…67"),
            ("0049\u{a0}170\u{202f}1234567", "004…67"),
            ("650\u{2011}555\u{200b}9876", "650…76"),
            ("+1 (650) 555-98-76, +49.30.1234567", "+165…76, +493…67"),
            ("é16505551234é 1234567", "é165…34é …"),
            ("٠١٢٣٤٥٦٧٨٩", "٠١٢…٨٩"),
        ] {
            assert_eq!(veiled(text), shown);
        }
    }

    #[test]
    fn a_wamid_is_hidden_for_it_holds_the_number() {
        for (text, shown) in [
            ("wamid.HBgLMTY1MDU1NTEyMzQVAgA=: gone", "wamid.HBg…A=: gone"),
            ("(WAMID.HBgLMTY1/DU1-_+yMzQ==)", "(WAMID.HBg…==)"),
            (
                "what WhatsApp calls it (wamid.…)",
                "what WhatsApp calls it (wamid.…)",
            ),
            ("wamid.ab", "wamid.…"),
        ] {
            assert_eq!(veiled(text), shown);
        }
    }

    #[test]
    fn codes_dates_and_what_we_write_ourselves_stay_readable() {
        for text in [
            "(131026) 24 hours have passed",
            "(#131030) 2 of 5",
            "(2494100) 2 hours of maintenance; (#2388093) 24 others, #2593001",
            r#"code 2494100, Subcode: 2388093, {"error_subcode":2446079}"#,
            "its template promo_20261130 is held",
            "promo_20261130_0900 and promo_1234567 (en_US)",
            "0123: 123456, 131026, 131047",
            "more than 1,204,512 of them",
            "since 2026-11-30 12:00:05 UTC (5 min ago)",
            "its campaign to begin at 2026-11-30 12:00:05Z",
            "2026-11-30T12:00:05.123456Z",
            "(2026-11-30) 24",
            "131026 2026-11-30 12:00 131047",
            "message 1204512345 failed: (131026) Message undeliverable",
            "sequence 'a', halted: message 12345678 was cancelled by ada",
            "a person: its policy is hold; see: wa-outbox uncertain resolve 1204512345",
            "its base url is wrong: wa-outbox sender set 106540352242922 --base-url",
            "its campaign to be started: wa-outbox campaign start c90000030",
            "resume it: wa-outbox campaign resume sale-2026-11-30.",
            "nothing",
            "",
        ] {
            assert_eq!(veiled(text), text);
        }
    }

    #[test]
    fn what_only_looks_like_our_own_is_hidden() {
        for (text, shown) in [
            ("Message 16505551234 is lost", "Message 165…34 is lost"),
            ("message 16505551234 is lost", "message 165…34 is lost"),
            ("message 1650555 98-76", "message 165…76"),
            ("+2026-11-30 12", "+202…12"),
            ("2026-11-30-5551234", "202…34"),
            ("2026-13-30", "202…30"),
            ("(24941001) 24", "249…24"),
            ("+(2494100)", "+(…)"),
            ("#24941001, #2494100 12", "#249…01, #249…12"),
            ("code 24941001, code1234567", "code 249…01, code…"),
            (
                "codes 2494100; the code is 2494100",
                "codes …; the code is …",
            ),
            (
                "user_16505551234, user_6505551 234",
                "user_165…34, user_650…34",
            ),
            (
                "wa-outbox send --to +16505551234",
                "wa-outbox send --to +165…34",
            ),
            (
                "wa-outbox why message 7 (650) 555-9876",
                "wa-outbox why message 7 650…76",
            ),
        ] {
            assert_eq!(veiled(text), shown);
        }
    }

    /// The text with nothing between its digits.
    fn closed_up(text: &str) -> String {
        text.chars().filter(|one| !sets_apart(*one)).collect()
    }

    fn shows(text: &str, digits: &[u8]) -> bool {
        let text = closed_up(&veiled(text));
        digits
            .windows(DIGITS)
            .any(|some| text.contains(&String::from_utf8_lossy(some).into_owned()))
    }

    proptest! {
        #[test]
        fn no_seven_digits_of_a_number_are_shown(
            before in "[a-zé:,;' ]{0,12}",
            called in prop::sample::select(vec!["", "", "#", "(", "(#", "code ", "error_subcode: ", "promo_"]),
            plus in any::<bool>(),
            digits in "[1-9][0-9]{6,14}",
            gaps in prop::collection::vec(0_usize..12, 15),
            after in "[a-zé:,;' ]{0,12}",
        ) {
            // Without a + a number can be written as if it were a date, or a code in parentheses.
            let between: &[&str] = match plus {
                true => &["-", "(", ") ", ".", " ", "\u{a0}", "/", " - "],
                false => &[".", " ", "\u{a0}", "/"],
            };
            // What has so many digits in one is what it is called.
            let whole = gaps.iter().take(digits.len() - 1).all(|gap| between.get(*gap).is_none());
            prop_assume!(plus || called.is_empty() || !whole || digits.len() > DIGITS_OF_A_NAME);
            let mut text = before + called + if plus { "+" } else { "" };
            for (digit, gap) in digits.chars().zip(gaps) {
                text.push(digit);
                text += between.get(gap).unwrap_or(&"");
            }
            let text = format!("{text}{after}");
            prop_assert!(!shows(&text, digits.as_bytes()), "{text:?}: {:?}", veiled(&text));
        }
    }
}
