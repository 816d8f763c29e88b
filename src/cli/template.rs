//! `template`: hold templates, release them, and see which are held.
//!
//! A hold acts on every message of the template that has not left, whatever is queued. Those messages wait; none fails.

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use time::OffsetDateTime;

use super::failure::Problem;
use super::table::{Table, words};
use super::{Context, duration, output};
use crate::domain::hold::TemplateKey;
use crate::domain::id::SenderId;
use crate::domain::mask::Eyes;
use crate::standing::sender::template_in_words;
use crate::standing::shell;
use crate::standing::time::{age, span};
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::template_hold::{NewTemplateHold, TemplateCause, TemplateHold, TemplateRelease};

/// Hold templates, release them, and see which are held
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wa-outbox template list")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Stop a template: none of its messages leaves until it is released; they wait
    #[command(
        after_help = "Running workers take it up within two seconds; until then its messages may still leave.

Examples:
  wa-outbox template hold spring_sale --reason \"wrong price\"
  wa-outbox template hold spring_sale --language en_US --reason \"wrong price\" --for 2h"
    )]
    Hold(Hold),
    /// Let the messages of a held template go on
    #[command(after_help = "Example:
  wa-outbox template release spring_sale --reason \"the price was corrected\"")]
    Release(Release),
    /// List the templates that are held
    #[command(after_help = LIST_HELP)]
    List(List),
}

const LIST_HELP: &str = "With --json an array of objects: hold, sender, template, language (null: every language), cause \
(operator, answer, mismatch, webhook), reason, code, held_by, held_at, held_until (a person's hold ends then, any other is tried \
again with one message), probes, is_probing, released_at, released_by, released_why.

Example:
  wa-outbox template list";

/// Released holds that are listed, at most.
const PAST: i64 = 100;
/// Messages brought back in one statement.
const BRING_BACK_AT_ONCE: i64 = 5_000;

#[derive(Debug, clap::Args)]
struct Which {
    /// The template's name
    #[arg(value_name = "NAME")]
    template: String,
    /// Its language, such as en_US [default: every language]
    #[arg(long, value_name = "CODE", value_parser = language)]
    language: Option<String>,
    /// Of this sender only [default: of every sender]
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Hold {
    #[command(flatten)]
    which: Which,
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
    #[command(flatten)]
    which: Which,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", default_value = "no reason was given")]
    reason: String,
    /// Who releases it [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Also the latest that were released
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A language as Meta writes it, with `_` or with `-`.
fn language(code: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match (1..=64).contains(&code.len()) && code.bytes().all(is_plain) {
        true => Ok(code.to_owned()),
        false => Err("write its code as Meta does, as in en_US"),
    }
}

/// Refuses to hold what no template is called: the hold would stand and stop nothing.
fn must_be_a_name(name: &str) -> Result<(), Problem> {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if (1..=512).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(());
    }
    let fix =
        "write its name as it was approved: small letters, digits and _, at most 512 characters";
    Err(Problem::usage(
        format!("no template is called {name:?}"),
        fix,
    ))
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When there is no such sender or hold, or the database refuses.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.action {
            Action::Hold(hold) => hold.run(context).await,
            Action::Release(release) => release.run(context).await,
            Action::List(list) => list.run(context).await,
        }
    }
}

impl Which {
    fn key(&self) -> TemplateKey {
        TemplateKey::new(self.template.as_str(), self.language.as_deref())
    }

    async fn senders(&self, store: &Store) -> anyhow::Result<Vec<SenderId>> {
        let senders = store.senders().await?.into_iter().map(|sender| sender.id());
        let meant: Vec<SenderId> = senders
            .filter(|id| self.sender.as_deref().is_none_or(|one| one == id.as_str()))
            .collect();
        match (&self.sender, meant.is_empty()) {
            (Some(sender), true) => {
                let fix = "see which there are: wa-outbox sender list";
                Err(Problem::failed(format!("there is no sender {sender}"), fix).into())
            }
            (None, true) => {
                let fix = "add one; see: wa-outbox sender add --help";
                Err(Problem::failed("there is no sender yet", fix).into())
            }
            (_, false) => Ok(meant),
        }
    }
}

impl Hold {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        must_be_a_name(&self.which.template)?;
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let senders = self.which.senders(store).await?;
        let template = self.which.key();
        let mut held = 0;
        for sender in &senders {
            let hold = NewTemplateHold {
                sender,
                template: &template,
                cause: TemplateCause::Operator,
                reason: &self.reason,
                by: &by,
                code: None,
                rest: self.span,
            };
            held += usize::from(store.hold_template(&hold).await?);
        }
        let name = named(&template);
        if held == 0 {
            let fix = "see: wa-outbox template list";
            return Err(Problem::failed(format!("{name} is held already"), fix).into());
        }
        let until = self.span.map_or_else(
            || {
                format!(
                    "it is released: wa-outbox template release {}",
                    shell::word(&template.name)
                )
            },
            |rest| format!("{} from now", span(rest.try_into().unwrap_or_default())),
        );
        output::print(&format!(
            "{} is held for {} until {until}.\nRunning workers take it up within two seconds; until then its messages may still leave.",
            capital(&name),
            of_senders(held)
        ))
    }
}

impl Release {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let sender = self.which.sender.as_deref().map(SenderId::from);
        let template = self.which.key();
        let release = TemplateRelease {
            sender: sender.as_ref(),
            template: &template,
            by: &by,
            why: &self.reason,
        };
        let released = store.release_template(&release).await?;
        // Also after a release that found nothing: an earlier one may have been cut short.
        while store.bring_back(BRING_BACK_AT_ONCE).await? {}
        let name = named(&template);
        if released == 0 {
            let fix = "see: wa-outbox template list";
            return Err(Problem::failed(format!("{name} is not held"), fix).into());
        }
        let holds = match released {
            1 => String::new(),
            many => format!(" ({many} holds)"),
        };
        output::print(&format!("{} goes on{holds}.", capital(&name)))
    }
}

impl List {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let past = if self.all { PAST } else { 0 };
        let holds = context
            .store()
            .await?
            .template_holds_with_past(past)
            .await?
            .veiled(Eyes::CLOSED);
        if self.json {
            let holds: Vec<_> = holds.iter().map(TemplateHoldJson::of).collect();
            return output::print_json(&holds);
        }
        if holds.is_empty() {
            return output::print("No template is held.");
        }
        let now = context.clock().now();
        let mut table = Table::new([words("SENDER"), words("HOLD"), words("RELEASED")]);
        for hold in &holds {
            let released = hold.released_at.map(|at| {
                let by = hold.released_by.as_deref().unwrap_or_default();
                let why = hold.released_why.as_deref().unwrap_or_default();
                format!("{} by {by}: {why}", age(at, now))
            });
            table.row([
                hold.sender.clone(),
                match hold.released_at {
                    None => template_in_words(hold, now),
                    Some(_) => past_in_words(hold, now),
                },
                released.unwrap_or_default(),
            ]);
        }
        output::print(&table.render(context.colours()))
    }
}

fn past_in_words(hold: &TemplateHold, now: OffsetDateTime) -> String {
    let language = hold.language.as_deref().unwrap_or("every language");
    format!(
        "{} ({language}), held {} by {}: {}",
        hold.template,
        age(hold.held_at, now),
        hold.held_by,
        hold.reason
    )
}

fn named(template: &TemplateKey) -> String {
    match &template.language {
        Some(language) => format!("template {} ({language})", template.name),
        None => format!("template {}", template.name),
    }
}

fn of_senders(count: usize) -> String {
    match count {
        1 => "one sender".to_owned(),
        many => format!("{many} senders"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// A hold of a template as scripts read it: the columns of `wa.template_holds`.
#[derive(Serialize)]
pub(super) struct TemplateHoldJson<'a> {
    hold: i64,
    sender: &'a str,
    template: &'a str,
    language: Option<&'a str>,
    cause: &'a str,
    reason: &'a str,
    code: Option<i64>,
    held_by: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    held_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    held_until: Option<OffsetDateTime>,
    probes: i32,
    is_probing: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    released_at: Option<OffsetDateTime>,
    released_by: Option<&'a str>,
    released_why: Option<&'a str>,
}

impl<'a> TemplateHoldJson<'a> {
    pub(super) fn of(hold: &'a TemplateHold) -> Self {
        Self {
            hold: hold.hold,
            sender: &hold.sender,
            template: &hold.template,
            language: hold.language.as_deref(),
            cause: &hold.cause,
            reason: &hold.reason,
            code: hold.code,
            held_by: &hold.held_by,
            held_at: hold.held_at,
            held_until: hold.held_until,
            probes: hold.probes,
            is_probing: hold.is_probing,
            released_at: hold.released_at,
            released_by: hold.released_by.as_deref(),
            released_why: hold.released_why.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        which: Which,
    }

    #[test]
    fn what_no_template_is_called_is_refused() {
        for name in ["spring_sale", "2024", "_", &"a".repeat(512)] {
            assert!(must_be_a_name(name).is_ok(), "{name}");
        }
        for name in [
            "Bad Name",
            "Spring",
            "spring-sale",
            "",
            "prömo",
            &"a".repeat(513),
        ] {
            let error = must_be_a_name(name).expect_err("no name");
            let said = crate::cli::failure::words(&error.into());
            assert!(
                said.contains(name)
                    && said.contains("fix: write its name as it was approved: small letters"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_language_is_a_code() {
        let read = |code| Line::try_parse_from(["hold", "promo", "--language", code]);
        for code in ["en", "en_US", "pt-BR"] {
            let line = read(code).expect("a language");
            assert_eq!(line.which.language.as_deref(), Some(code));
        }
        for code in ["en US", "", "en.US", "englisch (ä)"] {
            let said = read(code).expect_err("no language").to_string();
            assert!(
                said.contains(&format!("'{code}' for '--language <CODE>'"))
                    && said.contains("as in en_US"),
                "{said}"
            );
        }
    }
}
