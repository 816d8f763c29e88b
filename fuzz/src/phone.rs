//! A phone number as people write it: a line with a country's letters, or an empty one; the number.

use wa_outbox::domain::numbering::{Country, can_exist};
use wa_outbox::domain::phone::{is_normal, normalised};

use super::{is_e164, line};

pub(crate) fn check(input: &[u8]) {
    let (country, text) = line(input);
    let (Ok(country), Ok(text)) = (std::str::from_utf8(country), std::str::from_utf8(text)) else {
        return;
    };
    let country: Option<Country> = country.parse().ok();
    let read = normalised(text, country);
    match &read {
        Ok(number) => {
            assert!(is_e164(number), "{number} was taken");
            assert!(is_normal(number));
            assert_eq!(
                normalised(number, None).as_ref(),
                Ok(number),
                "it changes when it is read again"
            );
            assert_eq!(
                normalised(number, country).as_ref(),
                Ok(number),
                "a whole number depends on a country"
            );
            if text.contains('+') {
                let digits: String = text.chars().filter(char::is_ascii_digit).collect();
                assert_eq!(number[1..], digits, "a digit was lost or made up");
            }
            can_exist(number);
        }
        // The example in it is not theirs.
        Err(error) => {
            let is_personal = text.bytes().filter(u8::is_ascii_digit).count() > 4;
            let said = error.to_string().replace("+16505551234", "");
            assert!(
                !is_personal || !said.contains(text),
                "an error tells the number"
            );
        }
    }
    if text.trim().len() > 1 && read.is_ok() {
        let middle = (text.len() / 2..)
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or_default();
        for separator in [" ", "-", ".", "(", ")", "/", "\u{a0}", "\u{2013}"] {
            let spread = format!("{}{separator}{}", &text[..middle], &text[middle..]);
            assert_eq!(
                normalised(&spread, country),
                read,
                "{separator:?} makes a difference"
            );
        }
    }
}
