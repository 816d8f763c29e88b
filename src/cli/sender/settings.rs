//! What a sender may be given on the command line, and what each must look like: so what is wrong is told with the value and what is
//! allowed. The database holds all to the same.

use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::duration::{self, NotADuration};
use crate::domain::numbering::{Country, NotACountry};
use crate::provider::AddressSettings;
use crate::store::sender::{SenderChange, Unset};

/// No sender may send more a second.
const MOST_PER_SECOND: f64 = 10_000.0;
/// Ten years, as the database counts them: of twelve months of thirty days.
const LONGEST_DELIVERY: Duration = Duration::from_secs(3_600 * 86_400);

/// What a sender may be given; what is left out stays as it is, or takes the default of a new one.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub(super) struct Settings {
    /// How it is reached [new senders: cloud_api]
    #[arg(long, value_parser = ["cloud_api", "bsp", "on_premises"])]
    pub(super) provider: Option<String>,
    /// The API's address, without version and path [new senders: https://graph.facebook.com]
    #[arg(long, value_name = "URL")]
    pub(super) base_url: Option<String>,
    /// A BSP's path after the address; {sender} in it stands for the id; or `default` for none
    #[arg(long, value_name = "PATH", value_parser = or_default(path))]
    pub(super) path: Option<OrDefault<String>>,
    /// The Cloud API's version [new senders: v23.0]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    api_version: Option<String>,
    /// The header that carries the token [new senders: Authorization]
    #[arg(long, value_name = "NAME", value_parser = header)]
    auth_header: Option<String>,
    /// The word before the token, `none` for no word, or `default`: Bearer in Authorization, no word in any other header
    /// [new senders: default]
    #[arg(long, value_name = "WORD", value_parser = or_default(word))]
    auth_scheme: Option<OrDefault<String>>,
    /// A file, where the workers run, with the only certificates (PEM) that may vouch for the server, or `default` for those
    /// of the machine [new senders: default]
    #[arg(long, value_name = "PATH")]
    ca_file: Option<OrDefault<String>>,
    /// Whether statuses bring biz_opaque_callback_data back: `true`, `false`, or `default` for what its kind of provider does
    /// [new senders: default]
    #[arg(long, value_name = "BOOL")]
    callback_echo: Option<OrDefault<bool>>,
    /// Messages a second at most [new senders: 80, on_premises 70]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = rate)]
    rate_per_second: Option<f64>,
    /// One message per this many milliseconds to one recipient, 0 for no limit [new senders: 6000]
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = not_negative)]
    pair_period_ms: Option<i32>,
    /// So many to one recipient may leave at once [new senders: 45]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = at_least_one)]
    pair_burst: Option<i32>,
    /// Requests out at a time, or `default` for the worker's setting [new senders: default]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = or_default(at_least_one))]
    max_in_flight: Option<OrDefault<i32>>,
    /// When an answer is lost: `retry` (send again), `hold` (leave it to a person), or `default` for the worker's setting
    /// [new senders: default]
    #[arg(long, value_name = "POLICY", value_parser = one_of(["retry", "hold", "default"]))]
    on_uncertain: Option<OrDefault<String>>,
    /// Seconds of silence before a lost answer is settled, or `default` for the worker's setting [new senders: default]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = or_default(at_least_one))]
    reconcile_window_s: Option<OrDefault<i32>>,
    /// When a message breaks the rules of WhatsApp's documentation: `refuse` (it fails and no request is made), `warn` (it is sent,
    /// and counted), or `off` (not looked at); the rules: wa-outbox check --rules [new senders: refuse]
    #[arg(long, value_name = "POLICY", value_parser = ["off", "warn", "refuse"])]
    validate: Option<String>,
    /// Whether a field that the documentation does not have breaks them, as it does for the Cloud API [new senders: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    strict: Option<bool>,
    /// In its sequences, when a message fails, expires or is left to a person: `halt`, `skip`, or `default` for the worker's
    /// setting [new senders: default]
    #[arg(long, value_name = "POLICY", value_parser = one_of(["halt", "skip", "default"]))]
    on_failure: Option<OrDefault<String>>,
    /// In its sequences, how long a delivery is waited for, or `default` for the worker's setting [new senders: default]
    #[arg(long, value_name = "SPAN", value_parser = or_default(delivery_timeout))]
    delivery_timeout: Option<OrDefault<Duration>>,
    /// In its sequences, when that is over: `halt`, `proceed`, or `default` for the worker's setting [new senders: default]
    #[arg(long, value_name = "POLICY", value_parser = one_of(["halt", "proceed", "default"]))]
    on_timeout: Option<OrDefault<String>>,
    /// Read numbers without + as they are dialled in this country (two letters, such as DE), or `default` to refuse them
    /// [new senders: default]
    #[arg(long, value_name = "COUNTRY", value_parser = country)]
    default_country: Option<OrDefault<Country>>,
    /// Make it the one for messages that name no sender
    #[arg(long)]
    default: bool,
}

/// A value, or the word `default`: then the setting is taken away and what holds without it holds again.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum OrDefault<T> {
    Given(T),
    Default,
}

impl<T: FromStr> FromStr for OrDefault<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "default" => Ok(Self::Default),
            given => given.parse().map(Self::Given),
        }
    }
}

fn one_of(words: [&'static str; 3]) -> impl TypedValueParser<Value = OrDefault<String>> {
    PossibleValuesParser::new(words).map(|word| match word.as_str() {
        "default" => OrDefault::Default,
        _ => OrDefault::Given(word),
    })
}

/// The word `default`, or what `parse` makes of the text.
fn or_default<T, E>(
    parse: impl Fn(&str) -> Result<T, E> + Clone,
) -> impl Fn(&str) -> Result<OrDefault<T>, E> + Clone {
    move |text| match text {
        "default" => Ok(OrDefault::Default),
        given => parse(given).map(OrDefault::Given),
    }
}

fn version(text: &str) -> Result<String, &'static str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = text.strip_prefix('v').and_then(|rest| rest.split_once('.'));
    match numbers {
        Some((major, minor)) if is_number(major) && is_number(minor) => Ok(text.to_owned()),
        _ => Err("write it as Meta does, as in v23.0"),
    }
}

fn path(text: &str) -> Result<String, &'static str> {
    match text.starts_with('/') && !text.contains(' ') {
        true => Ok(text.to_owned()),
        false => Err("it begins with / and has no space, as in /v1/messages"),
    }
}

fn header(text: &str) -> Result<String, &'static str> {
    match is_word(text, 64) {
        true => Ok(text.to_owned()),
        false => Err("a header's name has letters, digits and -, 64 at most, as in D360-API-KEY"),
    }
}

fn word(text: &str) -> Result<String, &'static str> {
    match is_word(text, 32) {
        true => Ok(text.to_owned()),
        false => {
            Err("one word of letters, digits and -, 32 at most, as in Bearer; none for no word")
        }
    }
}

fn is_word(text: &str, at_most: usize) -> bool {
    (1..=at_most).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn rate(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= MOST_PER_SECOND => Ok(rate),
        _ => Err("write a number above 0, 10000 at most"),
    }
}

fn not_negative(text: &str) -> Result<i32, &'static str> {
    match text.parse() {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err("write a whole number from 0 to 2147483647"),
    }
}

fn at_least_one(text: &str) -> Result<i32, &'static str> {
    match text.parse() {
        Ok(number) if number >= 1 => Ok(number),
        _ => Err("write a whole number from 1 to 2147483647"),
    }
}

fn delivery_timeout(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(span) if span <= LONGEST_DELIVERY => Ok(span),
        Ok(_) | Err(NotADuration::TooLong) => Err("write 3600d at most".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn country(text: &str) -> Result<OrDefault<Country>, NotACountry> {
    text.parse()
}

impl Settings {
    /// Whether anything of the address is given.
    pub(super) fn are_of_the_address(&self) -> bool {
        self.provider.is_some()
            || self.base_url.is_some()
            || self.path.is_some()
            || self.api_version.is_some()
    }

    /// The address that it makes of the one that is known.
    pub(super) fn address<'a>(&'a self, known: AddressSettings<'a>) -> AddressSettings<'a> {
        AddressSettings {
            provider: self.provider.as_deref().unwrap_or(known.provider),
            base_url: self.base_url.as_deref().unwrap_or(known.base_url),
            path: match &self.path {
                Some(OrDefault::Given(path)) => Some(path),
                Some(OrDefault::Default) => None,
                None => known.path,
            },
            api_version: self.api_version.as_deref().or(known.api_version),
            ..known
        }
    }

    /// The silence before a lost answer is settled, where one is given.
    pub(super) fn window(&self) -> Option<Duration> {
        match self.reconcile_window_s {
            Some(OrDefault::Given(seconds)) => {
                Some(Duration::from_secs(seconds.unsigned_abs().into()))
            }
            Some(OrDefault::Default) | None => None,
        }
    }

    /// As the store is given it.
    pub(super) fn change(self, credential: Option<String>) -> SenderChange {
        let mut unset = Vec::new();
        let path = value(self.path, Unset::Path, &mut unset);
        let auth_scheme = value(self.auth_scheme, Unset::AuthScheme, &mut unset);
        let ca_file = value(self.ca_file, Unset::CaFile, &mut unset);
        let callback_echo = value(self.callback_echo, Unset::CallbackEcho, &mut unset);
        let max_in_flight = value(self.max_in_flight, Unset::MaxInFlight, &mut unset);
        let on_uncertain = value(self.on_uncertain, Unset::OnUncertain, &mut unset);
        let window = self.reconcile_window_s;
        let reconcile_window_s = value(window, Unset::ReconcileWindow, &mut unset);
        let on_failure = value(self.on_failure, Unset::OnFailure, &mut unset);
        let delivery_timeout = value(self.delivery_timeout, Unset::DeliveryTimeout, &mut unset);
        let on_timeout = value(self.on_timeout, Unset::OnTimeout, &mut unset);
        let country = value(self.default_country, Unset::DefaultCountry, &mut unset);
        SenderChange {
            provider: self.provider,
            base_url: self.base_url,
            path,
            api_version: self.api_version,
            credential,
            auth_header: self.auth_header,
            auth_scheme,
            ca_file,
            callback_echo,
            rate_per_second: self.rate_per_second,
            pair_period_ms: self.pair_period_ms,
            pair_burst: self.pair_burst,
            max_in_flight,
            on_uncertain,
            reconcile_window_s,
            validate: self.validate,
            strict: self.strict,
            on_failure,
            delivery_timeout,
            on_timeout,
            default_country: country.map(|country| country.to_string()),
            is_default: self.default.then_some(true),
            unset,
        }
    }
}

/// What is given for a setting; where it is `default`, the setting is noted as to be taken away.
fn value<T>(given: Option<OrDefault<T>>, setting: Unset, unset: &mut Vec<Unset>) -> Option<T> {
    match given? {
        OrDefault::Given(value) => Some(value),
        OrDefault::Default => {
            unset.push(setting);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn change(line: &str) -> Result<SenderChange, clap::Error> {
        use clap::Parser;
        let words = std::iter::once("set").chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.settings.change(None))
    }

    #[test]
    fn a_setting_is_given_or_set_back_by_the_word_default() {
        let line = "--max-in-flight 7 --on-uncertain hold --path /v1 --default-country de";
        let given = change(line).expect("settings");
        assert_eq!(given.default_country.as_deref(), Some("DE"));
        assert_eq!(given.max_in_flight, Some(7));
        assert_eq!(given.on_uncertain.as_deref(), Some("hold"));
        assert_eq!(given.path.as_deref(), Some("/v1"));
        assert_eq!(given.unset, []);

        let line = "--path default --max-in-flight default --on-uncertain default --reconcile-window-s default";
        let back = change(line).expect("settings");
        let all = [
            Unset::Path,
            Unset::MaxInFlight,
            Unset::OnUncertain,
            Unset::ReconcileWindow,
        ];
        assert_eq!(back.unset, all);
        assert_eq!((back.path, back.max_in_flight), (None, None));

        for wrong in [
            "--max-in-flight none",
            "--on-uncertain never",
            "--reconcile-window-s Default",
            "--default-country Germany",
            "--path v1/messages",
            "--api-version 23",
            "--api-version v23.",
            "--auth-header A_B",
            "--auth-scheme Bearer:",
            "--rate-per-second 0",
            "--rate-per-second 10001",
            "--rate-per-second NaN",
            "--pair-period-ms -1",
            "--pair-burst 0",
            "--max-in-flight 0",
            "--reconcile-window-s -5",
            "--delivery-timeout soon",
        ] {
            let (_, value) = wrong.split_once(' ').expect("a value");
            let said = change(wrong).expect_err(wrong).to_string();
            assert!(said.contains(&format!("invalid value '{value}'")), "{said}");
        }
    }

    #[test]
    fn what_is_too_much_is_told_with_the_bound() {
        for (line, bound) in [
            ("--pair-period-ms 99999999999", "from 0 to 2147483647"),
            ("--pair-burst 99999999999", "from 1 to 2147483647"),
            ("--delivery-timeout 3601d", "3600d at most"),
            ("--delivery-timeout 9999999d", "3600d at most"),
        ] {
            let said = change(line).expect_err(line).to_string();
            assert!(said.contains(bound), "{said}");
        }
        assert!(change("--delivery-timeout 3600d").is_ok());
    }
}
