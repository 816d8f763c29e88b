//! `sender`: the business phone numbers, their settings, and holding them.
//!
//! Running workers take a change up within two seconds, a hold too.

mod settings;
mod show;

use std::time::Duration;

use clap::Subcommand;

use super::duration::later;
use super::failure::Problem;
use super::{Context, duration, output};
use crate::config::{ConfigError, SecretRef};
use crate::domain::id::SenderId;
use crate::provider::address::address_of;
use crate::provider::{AddressError, AddressSettings, check_base_url};
use crate::standing::time::moment;
use settings::{OrDefault, Settings};
use show::{stands, unknown};

pub(super) use show::{Show, find, must_exist};

/// What the schema gives to a sender that is added, as far as its address goes.
const NEW: AddressSettings<'static> = AddressSettings {
    provider: "cloud_api",
    base_url: "https://graph.facebook.com",
    path: None,
    api_version: Some("v23.0"),
    credential: "",
    auth_header: None,
    auth_scheme: None,
    ca_file: None,
    callback_echo: None,
};

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
    #[command(
        after_help = "Running workers take it up within two seconds; until then its messages may still leave.

Example:
  wa-outbox sender hold 106540352242922 --reason \"under review\" --for 2h"
    )]
    Hold(Hold),
    /// Let a sender go on that is held, or that WhatsApp has asked to wait
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
    let Some(base_url) = base_url else {
        return Ok(());
    };
    check_base_url(base_url).map_err(nowhere)?;
    if base_url.ends_with('/') {
        let fix = "leave the / at its end out, as in https://graph.facebook.com";
        return Err(Problem::usage("--base-url ends in /", fix));
    }
    Ok(())
}

/// What is wrong with an address, by the option that says so.
fn nowhere(error: AddressError) -> Problem {
    match error {
        AddressError::Setting {
            setting: "sender",
            wrong,
            fix,
        } => Problem::usage(format!("its id {wrong}"), fix),
        AddressError::Setting {
            setting,
            wrong,
            fix,
        } => Problem::usage(format!("--{} {wrong}", setting.replace('_', "-")), fix),
        AddressError::UnknownProvider(_)
        | AddressError::Authority { .. }
        | AddressError::Credential(_) => {
            let fix = "see: wa-outbox sender set --help";
            Problem::usage("its address leads nowhere", fix).because(error)
        }
    }
}

/// Holds the window to what the setting is held to (`reconcile.window_s`), in the same words.
fn outlasts_an_answer(window: Option<Duration>, context: &Context) -> anyhow::Result<()> {
    let Some(window) = window else {
        return Ok(());
    };
    let mut config = context.config()?.clone();
    config.reconcile.window = window;
    match config.check() {
        Ok(()) => Ok(()),
        Err(ConfigError::Refused {
            value, reason, fix, ..
        }) => {
            let what = format!("--reconcile-window-s {value} {reason}");
            Err(Problem::usage(what, fix).into())
        }
        Err(error) => Err(error.into()),
    }
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
        let sender = SenderId::from(self.sender);
        address_of(&sender, &self.settings.address(NEW)).map_err(nowhere)?;
        outlasts_an_answer(self.settings.window(), context)?;
        let store = context.store().await?;
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
        outlasts_an_answer(self.settings.window(), context)?;
        let store = context.store().await?;
        let sender = SenderId::from(self.sender);
        if self.settings.are_of_the_address() {
            let known = find(store, &sender).await?.sender;
            address_of(&sender, &self.settings.address(known.address())).map_err(nowhere)?;
        }
        let change = self.settings.change(credential);
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
            return output::print(&format!(
                "Sender {sender} is held until {until}.\nRunning workers take it up within two seconds; until then its messages may still leave."
            ));
        }
        let found = find(store, &sender).await?;
        let what = format!("sender {sender} is {}", stands(&found.sender, None, now));
        let fix = match store.is_unsettled().await? {
            true => "settle first what the database has forgotten: wa-outbox recover".to_owned(),
            false => format!("release it first: wa-outbox sender release {sender}"),
        };
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
        let what = format!("sender {sender} is not held, and WhatsApp has not asked it to wait");
        Err(Problem::failed(what, fix).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_worker_could_use_is_refused_in_the_words_of_the_worker() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            settings: Settings,
        }
        let of_a_bsp = AddressSettings {
            provider: "bsp",
            path: Some("/v1/messages"),
            ..NEW
        };
        let said = |known: AddressSettings<'_>, line: &str| {
            use clap::Parser;
            let words = std::iter::once("set").chain(line.split(' '));
            let settings = Line::try_parse_from(words).expect("settings").settings;
            let base_url = leads_somewhere(settings.base_url.as_deref());
            let whole = || {
                address_of(&"4711".into(), &settings.address(known))
                    .map(drop)
                    .map_err(nowhere)
            };
            let problem = base_url.and_then(|()| whole()).err()?;
            Some(crate::cli::failure::words(&problem.into()))
        };
        let version = "error: --base-url ends in a version\n  fix: leave the version out of it; the Cloud API's stands in api_version\n";
        for (known, line, words) in [
            (
                NEW,
                "--base-url https://waba.example.com/v23.0",
                Some(version),
            ),
            // Of a provider before the API its own address may end like that.
            (of_a_bsp, "--base-url https://waba.example.com/v1", None),
            (
                of_a_bsp,
                "--base-url https://waba.example.com/v1 --provider cloud_api",
                Some(version),
            ),
            (
                NEW,
                "--provider bsp --path /{sendr}/x",
                Some(
                    "error: --path has a placeholder that is not {sender}\n  fix: use {sender} only\n",
                ),
            ),
            (NEW, "--provider bsp --path /{sender}/x", None),
            (
                of_a_bsp,
                "--path default",
                Some(
                    "error: --path is missing\n  fix: write it like /v1/messages or /{sender}/messages\n",
                ),
            ),
            (
                NEW,
                "--base-url https://waba.example.com/",
                Some(
                    "error: --base-url ends in /\n  fix: leave the / at its end out, as in https://graph.facebook.com\n",
                ),
            ),
            (NEW, "--rate-per-second 10", None),
        ] {
            assert_eq!(said(known, line).as_deref(), words, "{line}");
        }
    }

    #[test]
    fn a_window_outlasts_an_answer_as_the_setting_must() {
        let context = Context::new(
            None,
            crate::config::Environment::new(),
            crate::clock::Clock::system(),
        );
        let said = |seconds| {
            let window = Some(Duration::from_secs(seconds));
            let error = outlasts_an_answer(window, &context).err()?;
            Some(crate::cli::failure::words(&error))
        };
        assert_eq!(said(60), None);
        assert_eq!(
            said(1).as_deref(),
            Some(
                "error: --reconcile-window-s 1 is shorter than http.response_timeout_s, so a message could be sent again while its \
                 answer is still on the way\n  fix: set at least 60\n"
            )
        );
    }

    #[test]
    fn a_token_in_place_of_its_reference_is_refused_and_not_repeated() {
        assert_eq!(reference("env:TOKEN").ok().as_deref(), Some("env:TOKEN"));
        let refused = reference("EAAGhunter2").expect_err("a token").to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
