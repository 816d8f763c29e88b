//! Numbering plans: whether a number can exist, and what E.164 number is meant by one that is dialled inside a country.
//!
//! What the plans say is not ours to keep: it is the data of Google's libphonenumber. The database decides by them too, in
//! `wa.dialled_in`, because rows are written into the outbox without us; `wa-outbox migrate` puts them there ([`plans`]), and a test
//! compares the two. Two ports of that library are needed: one reads numbers rightly and keeps its data to itself, the other gives
//! its data and misreads numbers (it drops the zero of Italian ones).

use std::collections::BTreeSet;

use phonenumber::Metadata;
use phonenumber::metadata::{DATABASE, Descriptor, Descriptors};
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

/// A country or territory with a numbering plan, by its ISO 3166-1 code of two letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country(Region);

/// No country that has a numbering plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no country; write its two letters, such as DE or US (ISO 3166-1)")]
pub struct NotACountry;

/// What is to be known of the numbers of one country; patterns are regular expressions of the whole number.
/// Its fields are the columns of `wa.countries`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// Its two letters.
    pub region: String,
    /// Such as `49`.
    pub calling_code: String,
    /// Of the countries with this calling code, the one whose rules hold until more is known.
    pub is_main: bool,
    /// What is dialled before a calling code.
    pub international_prefix: Option<String>,
    /// What is dialled before a number inside the country.
    pub national_prefix: Option<String>,
    /// What stands in its place where it captures digits that belong to the number, such as `9$1`.
    pub national_prefix_becomes: Option<String>,
    /// How many digits a number has without all that.
    pub lengths: Vec<i32>,
    /// What its numbers look like in general.
    pub general_pattern: String,
    /// What a number looks like that can exist.
    pub number_pattern: String,
}

impl std::str::FromStr for Country {
    type Err = NotACountry;

    fn from_str(text: &str) -> Result<Self, NotACountry> {
        let region: Region = (text.trim().to_ascii_uppercase().parse()).map_err(|_| NotACountry)?;
        let has_plan = (PHONE_NUMBER_UTIL.get_supported_regions()).any(|known| known == region);
        has_plan.then_some(Self(region)).ok_or(NotACountry)
    }
}

impl std::fmt::Display for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How many digits may be dialled: 15 of a number (E.164), and an international prefix.
const DIALLED: std::ops::RangeInclusive<usize> = 2..=17;

impl Country {
    /// The number in E.164 that one reaches who dials `digits` in this country; none where it has no such number, or where the digits
    /// may as well be meant with its calling code in front: a message must not go to a stranger.
    pub fn reached_by(self, digits: &str) -> Option<String> {
        // The library would look for a number in any text: it passes over what stands behind one, and takes digits of any script.
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        if !are_digits || !DIALLED.contains(&digits.len()) {
            return None;
        }
        let number = self.existing(digits, Some(self.0))?;
        let code = PHONE_NUMBER_UTIL.get_country_code_for_region(self.0)?;
        let other = digits.starts_with(&code.to_string());
        let other = other.then(|| self.existing(&format!("+{digits}"), None));
        let is_clear = other.flatten().is_none_or(|other| other == number);
        is_clear.then_some(number)
    }

    /// The number, if it is one of this country.
    fn existing(self, text: &str, dialled_in: Option<Region>) -> Option<String> {
        let util = &*PHONE_NUMBER_UTIL;
        let number = util.parse(text, dialled_in).ok()?;
        let is_ours = Some(number.country_code) == util.get_country_code_for_region(self.0);
        (is_ours && util.is_valid_number_for_region(&number, self.0))
            .then(|| util.format(&number, PhoneNumberFormat::E164).into_owned())
    }
}

/// Whether the numbering plan of its country has such a number (in E.164).
pub fn can_exist(number: &str) -> bool {
    let number = PHONE_NUMBER_UTIL.parse(number, None);
    number.is_ok_and(|number| PHONE_NUMBER_UTIL.is_valid_number(&number))
}

/// The plans of all countries, by their letters.
pub fn plans() -> Vec<Plan> {
    let regions = PHONE_NUMBER_UTIL.get_supported_regions();
    let letters: BTreeSet<String> = regions.map(|region| region.to_string()).collect();
    let plans = letters.into_iter().filter_map(|letters| {
        let metadata = DATABASE.by_id(&letters)?;
        Some(plan_of(letters, metadata))
    });
    plans.collect()
}

fn plan_of(region: String, metadata: &Metadata) -> Plan {
    let kinds = kinds_of(metadata.descriptors());
    let lengths: BTreeSet<i32> = (kinds.iter())
        .flat_map(|kind| kind.possible_length())
        .map(|length| i32::from(*length))
        .collect();
    let number_patterns: Vec<String> = kinds.into_iter().map(pattern_of).collect();
    let general = metadata.descriptors().general().national_number();
    let national_prefix = (metadata.national_prefix_for_parsing())
        .map(|pattern| plain(pattern.as_str()))
        .or_else(|| metadata.national_prefix().map(str::to_owned));
    Plan {
        region,
        calling_code: metadata.country_code().to_string(),
        is_main: metadata.is_main_country_for_code() || is_alone(metadata.country_code()),
        international_prefix: (metadata.international_prefix())
            .map(|pattern| plain(pattern.as_str())),
        national_prefix,
        national_prefix_becomes: metadata.national_prefix_transform_rule().map(str::to_owned),
        lengths: lengths.into_iter().collect(),
        general_pattern: format!("^(?:{})$", plain(general.as_str())),
        number_pattern: format!("^(?:{})$", number_patterns.join("|")),
    }
}

fn kinds_of(kinds: &Descriptors) -> Vec<&Descriptor> {
    let kinds = [
        kinds.fixed_line(),
        kinds.mobile(),
        kinds.toll_free(),
        kinds.premium_rate(),
        kinds.shared_cost(),
        kinds.personal_number(),
        kinds.voip(),
        kinds.pager(),
        kinds.uan(),
        kinds.voicemail(),
    ];
    kinds.into_iter().flatten().collect()
}

fn is_alone(calling_code: u16) -> bool {
    DATABASE
        .by_code(&calling_code)
        .is_some_and(|all| all.len() == 1)
}

/// A pattern that holds the lengths too.
fn pattern_of(kind: &Descriptor) -> String {
    let pattern = plain(kind.national_number().as_str());
    let lengths = kind.possible_length().iter();
    let lengths: Vec<String> = lengths.map(|length| format!("[0-9]{{{length}}}")).collect();
    format!("(?=(?:{})$)(?:{pattern})", lengths.join("|"))
}

/// The library writes long patterns over several lines.
fn plain(pattern: &str) -> String {
    pattern.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_a_plan_and_every_calling_code_one_main_country() {
        let plans = plans();
        let regions = PHONE_NUMBER_UTIL.get_supported_regions().count();
        assert_eq!(plans.len(), regions);
        let germany = plans.iter().find(|plan| plan.region == "DE");
        let germany = germany.expect("a plan");
        assert_eq!(germany.calling_code, "49");
        assert_eq!(germany.national_prefix.as_deref(), Some("0"));
        for plan in &plans {
            let of_code = plans
                .iter()
                .filter(|other| other.calling_code == plan.calling_code);
            assert_eq!(
                of_code.filter(|other| other.is_main).count(),
                1,
                "{}",
                plan.region
            );
            assert!(!plan.lengths.is_empty(), "{}", plan.region);
        }
    }

    #[test]
    fn a_number_can_exist_where_its_country_has_such_numbers() {
        for number in ["+4915123456789", "+390612345678", "+16505551234"] {
            assert!(can_exist(number), "{number}");
        }
        for number in ["+49110", "+1650555123", "+9991234567"] {
            assert!(!can_exist(number), "{number}");
        }
    }
}
