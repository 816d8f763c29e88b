//! `sender`: the business phone numbers, their settings, and holding them.
//!
//! Running workers take a change up within two seconds.

mod show;

use std::str::FromStr;
use std::time::Duration;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::duration::NotADuration;
use super::duration::later;
use super::failure::Problem;
use super::{Context, duration, output};
use crate::config::SecretRef;
use crate::domain::id::SenderId;
use crate::domain::numbering::{Country, NotACountry};
use crate::provider::{AddressError, check_base_url};
use crate::standing::time::moment;
use crate::store::sender::{SenderChange, Unset};
use show::{stands, unknown};

pub(super) use show::{Show, find};

/// Add, change, show, hold and release senders
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wa-outbox sender add 106540352242922 --credential env:WHATSAPP_ACCESS_TOKEN")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a sender
    #[command(after_help = "Examples:
  wa-outbox sender add 106540352242922 --credential env:WHATSAPP_ACCESS_TOKEN
  wa-outbox sender add 4930123456 --provider bsp --path /v1/messages \\
    --base-url https://waba.example.com --auth-header D360-API-KEY \\
    --credential file:/run/secrets/bsp
  wa-outbox sender add 4930123456 --provider on_premises --base-url https://10.0.0.7:9090 \\
    --ca-file /etc/wa/client-ca.pem --credential file:/run/secrets/client-login")]
    Add(Add),
    /// List the senders
    #[command(after_help = show::LIST_HELP)]
    List(show::List),
    /// Show one sender: how it stands, what keeps it, and all its settings
    #[command(after_help = show::HELP)]
    Show(Show),
    /// Change a sender's settings
    #[command(after_help = "Examples:
  wa-outbox sender set 106540352242922 --rate-per-second 20 --default
  wa-outbox sender set 106540352242922 --max-in-flight default")]
    Set(Set),
    /// Stop a sender: nothing leaves for it until it is released; its messages wait
    #[command(after_help = "Example:
  wa-outbox sender hold 106540352242922 --reason \"under review\" --for 2h")]
    Hold(Hold),
    /// Let a held sender go on
    #[command(after_help = "Example:
  wa-outbox sender release 106540352242922 --reason \"Meta has lifted it\"")]
    Release(Release),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The number's id at the provider; for the Cloud API its phone number id
    #[arg(value_name = "ID")]
    sender: String,
    /// Where its access token (for on_premises user:password) is kept: env:NAME or file:PATH
    #[arg(long, value_name = "REFERENCE")]
    credential: String,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
struct Set {
    /// The sender
    #[arg(value_name = "ID")]
    sender: String,
    /// Where its access token (for on_premises user:password) is kept: env:NAME or file:PATH
    #[arg(long, value_name = "REFERENCE")]
    credential: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What a sender may be given; what is left out stays as it is, or takes the default of a new one.
#[derive(Debug, Default, PartialEq, clap::Args)]
struct Settings {
    /// How it is reached [new senders: cloud_api]
    #[arg(long, value_parser = ["cloud_api", "bsp", "on_premises"])]
    provider: Option<String>,
    /// The API's address, without version and path [new senders: https://graph.facebook.com]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// A BSP's path after the address; {sender} in it stands for the id; or `default` for none
    #[arg(long, value_name = "PATH")]
    path: Option<OrDefault<String>>,
    /// The Cloud API's version [new senders: v23.0]
    #[arg(long, value_name = "VERSION")]
    api_version: Option<String>,
    /// The header that carries the token [new senders: Authorization]
    #[arg(long, value_name = "NAME")]
    auth_header: Option<String>,
    /// The word before the token, `none` for no word, or `default`: Bearer in Authorization, no word in any other header
    /// [new senders: default]
    #[arg(long, value_name = "WORD")]
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
    #[arg(long, value_name = "NUMBER")]
    rate_per_second: Option<f64>,
    /// One message per this many milliseconds to one recipient, 0 for no limit [new senders: 6000]
    #[arg(long, value_name = "MS")]
    pair_period_ms: Option<i32>,
    /// So many to one recipient may leave at once [new senders: 45]
    #[arg(long, value_name = "NUMBER")]
    pair_burst: Option<i32>,
    /// Requests out at a time, or `default` for the worker's setting [new senders: default]
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<OrDefault<i32>>,
    /// When an answer is lost: `retry` (send again), `hold` (leave it to a person), or `default` for the worker's setting
    /// [new senders: default]
    #[arg(long, value_name = "POLICY", value_parser = one_of(["retry", "hold", "default"]))]
    on_uncertain: Option<OrDefault<String>>,
    /// Seconds of silence before a lost answer is settled, or `default` for the worker's setting [new senders: default]
    #[arg(long, value_name = "SECONDS")]
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
    #[arg(long, value_name = "SPAN", value_parser = span)]
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
enum OrDefault<T> {
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

fn span(text: &str) -> Result<OrDefault<Duration>, NotADuration> {
    match text {
        "default" => Ok(OrDefault::Default),
        given => duration::parse(given).map(OrDefault::Given),
    }
}

fn country(text: &str) -> Result<OrDefault<Country>, NotACountry> {
    text.parse()
}

impl Settings {
    fn change(self, credential: Option<String>) -> SenderChange {
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

#[derive(Debug, clap::Args)]
struct Hold {
    /// The sender
    #[arg(value_name = "ID")]
    sender: String,
    /// Why, for those who find it held
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Release it by itself after this span, such as 2h [default: until it is released]
    #[arg(long = "for", value_name = "SPAN", value_parser = duration::parse)]
    span: Option<Duration>,
    /// Who holds it [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Release {
    /// The sender
    #[arg(value_name = "ID")]
    sender: String,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", default_value = "no reason was given")]
    reason: String,
    /// Who releases it [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When there is no such sender, or the database refuses the change.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.action {
            Action::Add(add) => add.run(context).await,
            Action::List(list) => list.run(context).await,
            Action::Show(show) => show.run(context).await,
            Action::Set(set) => set.run(context).await,
            Action::Hold(hold) => hold.run(context).await,
            Action::Release(release) => release.run(context).await,
        }
    }
}

/// A reference to a token, or an error that does not repeat what may be the token itself.
fn reference(credential: &str) -> Result<String, Problem> {
    credential
        .parse::<SecretRef>()
        .map(|reference| reference.to_string())
        .map_err(|error| {
            Problem::usage(
                format!("--credential is no reference: {error}"),
                "put the token into an environment variable of the worker and write --credential env:ITS_NAME",
            )
        })
}

/// What the database cannot see of an address. It is not repeated: a password may stand in it.
fn leads_somewhere(base_url: Option<&str>) -> Result<(), Problem> {
    let Some(error) = base_url.and_then(|url| check_base_url(url).err()) else {
        return Ok(());
    };
    let fix = "see: wa-outbox sender set --help";
    Err(match error {
        AddressError::Setting { wrong, fix, .. } => {
            Problem::usage(format!("--base-url {wrong}"), fix)
        }
        AddressError::UnknownProvider(_)
        | AddressError::Authority { .. }
        | AddressError::Credential(_) => {
            Problem::usage("--base-url leads nowhere", fix).because(error)
        }
    })
}

impl Add {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let credential = reference(&self.credential)?;
        leads_somewhere(self.settings.base_url.as_deref())?;
        if self.settings.provider.as_deref() == Some("bsp")
            && !matches!(self.settings.path, Some(OrDefault::Given(_)))
        {
            let fix = "add the path its documentation names, as in --path /v1/messages";
            return Err(Problem::usage("a BSP needs --path", fix).into());
        }
        let store = context.store().await?;
        let sender = SenderId::from(self.sender);
        let settings = self.settings.change(None);
        if !store.add_sender(&sender, &credential, &settings).await? {
            let what = format!("sender {sender} exists already");
            let fix = format!("change it: wa-outbox sender set {sender} …");
            return Err(Problem::failed(what, fix).into());
        }
        output::print(&format!("Sender {sender} was added."))?;
        match find(store, &sender).await?.sender.echo_warning() {
            Some(warning) => output::print(warning),
            None => Ok(()),
        }
    }
}

impl Set {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.credential.is_none() && self.settings == Settings::default() {
            let fix = "name what to change; see: wa-outbox sender set --help";
            return Err(Problem::usage("there is nothing to change", fix).into());
        }
        let credential = self.credential.as_deref().map(reference).transpose()?;
        leads_somewhere(self.settings.base_url.as_deref())?;
        let change = self.settings.change(credential);
        let store = context.store().await?;
        let sender = SenderId::from(self.sender);
        if !store.change_sender(&sender, &change).await? {
            return Err(unknown(&sender).into());
        }
        output::print(&format!(
            "Sender {sender} was changed; running workers take it up within two seconds."
        ))
    }
}

impl Hold {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let now = context.clock().now();
        let until = self.span.map(|span| later(now, span)).transpose()?;
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let sender = SenderId::from(self.sender);
        if store.hold_sender(&sender, &self.reason, &by, until).await? {
            let until = until.map_or_else(
                || format!("it is released: wa-outbox sender release {sender}"),
                |until| moment(until, now),
            );
            return output::print(&format!("Sender {sender} is held until {until}."));
        }
        let found = find(store, &sender).await?;
        let what = format!("sender {sender} is {}", stands(&found.sender, None, now));
        let fix = format!("release it first: wa-outbox sender release {sender}");
        Err(Problem::failed(what, fix).into())
    }
}

impl Release {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let sender = SenderId::from(self.sender);
        let released = store.release_sender_by(&sender, &by, &self.reason);
        if released.await? {
            return output::print(&format!("Sender {sender} goes on."));
        }
        find(store, &sender).await?;
        let fix = format!("see: wa-outbox sender show {sender}");
        Err(Problem::failed(format!("sender {sender} is not held"), fix).into())
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
        ] {
            assert!(change(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_in_place_of_its_reference_is_refused_and_not_repeated() {
        assert_eq!(reference("env:TOKEN").ok().as_deref(), Some("env:TOKEN"));
        let refused = reference("EAAGhunter2").expect_err("a token").to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
