//! Phone numbers as the outbox takes them: E.164, with separators allowed and taken out.
//!
//! The same rule as `wa.checked_recipient` in the schema, which has the last word; here it says of a million rows which are
//! bad before any of them is written. Whether a number of that form can exist in its country is another question ([`super::numbering`]).

use super::numbering::Country;

/// Why a text is no phone number. It never shows the text: it may be one, and personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPhone {
    /// Nothing there.
    #[error("it is missing; write the phone number with its country code")]
    Missing,
    /// A spreadsheet has made a number of it, and most of its digits are gone.
    #[error(
        "a spreadsheet has rounded it (such as 4.9E+12); format the column as text and export again"
    )]
    Rounded,
    /// Letters.
    #[error("it has letters; write a phone number such as +16505551234")]
    Letters,
    /// Without the plus WhatsApp puts the sender's country code in front.
    #[error("it does not start with +; write + and the country code")]
    NoPlus,
    /// Without the plus, and not clearly one number of the country that is meant then.
    #[error(
        "it is not clearly one number as it is dialled in {0}; write + and the country code, then the number"
    )]
    NotDialled(Country),
    /// Not 7 to 15 digits, or a zero in front.
    #[error("it is no phone number; write + and 7 to 15 digits, the first not 0 (E.164)")]
    Form,
}

/// The number in E.164, without its separators. `country`: where numbers without + are dialled.
///
/// # Errors
/// When the text is no such number.
pub fn normalised(text: &str, country: Option<Country>) -> Result<String, NotAPhone> {
    let text = text.trim();
    if text.is_empty() {
        return Err(NotAPhone::Missing);
    }
    if is_rounded(text) {
        return Err(NotAPhone::Rounded);
    }
    if text.chars().any(char::is_alphabetic) {
        return Err(NotAPhone::Letters);
    }
    let mut number = String::with_capacity(text.len());
    number.extend(text.chars().filter(|character| !separates(*character)));
    if !number.starts_with('+') {
        let country = country.ok_or(NotAPhone::NoPlus)?;
        let reached = country.reached_by(&number);
        number = reached.ok_or(NotAPhone::NotDialled(country))?;
    }
    // Also of what was dialled: the plans of some countries have numbers that are longer than E.164 allows.
    let digits = &number.as_bytes()[1..];
    let is_whole = (7..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if is_whole && digits[0] != b'0' {
        Ok(number)
    } else {
        Err(NotAPhone::Form)
    }
}

/// Whether the number is written as the outbox keeps it, so that it needs no mending.
pub fn is_normal(text: &str) -> bool {
    normalised(text, None).is_ok_and(|number| number == text)
}

fn separates(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            '(' | ')' | '.' | '-' | '/' | '\u{2010}'..='\u{2015}'
        )
}

fn is_rounded(text: &str) -> bool {
    text.split_once(['E', 'e']).is_some_and(|(number, power)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits(power.trim_start_matches('+'))
            && digits(&number.replace(['.', ','], ""))
            && number.starts_with(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_taken_out_and_nothing_else() {
        for text in [
            "+16505551234",
            " +1 (650) 555-1234 ",
            "+1.650/555\u{a0}12\u{2013}34",
            "\t+1650 555 1234\r",
            "+1\u{202f}650\u{3000}555\u{2009}1234",
        ] {
            assert_eq!(
                normalised(text, None).as_deref(),
                Ok("+16505551234"),
                "{text}"
            );
        }
        assert!(is_normal("+16505551234"));
        assert!(!is_normal("+1 6505551234"));
    }

    #[test]
    fn what_is_no_number_is_refused_with_the_reason() {
        for (text, error) in [
            ("", NotAPhone::Missing),
            ("  ", NotAPhone::Missing),
            ("4.91512E+12", NotAPhone::Rounded),
            ("4,91512E+12", NotAPhone::Rounded),
            ("Ada", NotAPhone::Letters),
            ("+1650555CALL", NotAPhone::Letters),
            ("1e", NotAPhone::Letters),
            ("16505551234", NotAPhone::NoPlus),
            ("0049151123", NotAPhone::NoPlus),
            ("+0491511234567", NotAPhone::Form),
            ("+123456", NotAPhone::Form),
            ("+1234567890123456", NotAPhone::Form),
            ("+49151;1234567", NotAPhone::Form),
            ("+", NotAPhone::Form),
            ("++16505551234", NotAPhone::Form),
            ("+٠١٢٣٤٥٦٧", NotAPhone::Form),
        ] {
            assert_eq!(normalised(text, None), Err(error), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_plus_is_read_as_it_is_dialled_in_the_country_that_is_given() {
        let read = |text, country: &str| normalised(text, country.parse().ok());
        for (text, country, number) in [
            ("0151 2345 6789", "DE", "+4915123456789"),
            ("0049 151 23456789", "DE", "+4915123456789"),
            ("1 650 555 1234", "US", "+16505551234"),
            ("(650) 555-1234", "US", "+16505551234"),
            ("06 1234 5678", "IT", "+390612345678"),
            ("+44 20 7946 0018", "DE", "+442079460018"),
        ] {
            assert_eq!(read(text, country).as_deref(), Ok(number), "{text}");
        }
        for (text, country) in [
            ("12345", "IN"),
            ("0044 20 7946 0018", "DE"),
            ("110", "DE"),
            // +49 151 23456789, or +49 4915 123456789?
            ("4915123456789", "DE"),
            ("650555123", "US"),
            ("0151;23456789", "DE"),
            ("0151 23456789+", "DE"),
            ("0151 23456789#5", "DE"),
            ("٠١٥١٢٣٤٥٦٧٨٩", "DE"),
        ] {
            let country = country.parse().expect("a country");
            let refused = Err(NotAPhone::NotDialled(country));
            assert_eq!(normalised(text, Some(country)), refused, "{text}");
        }
        // Germany's plan has such numbers.
        let too_long = read("0574486905744869", "DE");
        assert_eq!(too_long, Err(NotAPhone::Form));
    }
}
