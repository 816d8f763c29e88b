//! `failures`: what has failed, in groups with plain words, and what to do about a whole group.
//!
//! A verb without `--yes` changes nothing and says how many messages it would be about.

use std::time::Duration;

use clap::{ArgGroup, Subcommand};
use serde::Serialize;
use time::OffsetDateTime;

use super::failure::Problem;
use super::sender::must_exist;
use super::table::{Table, numbers, words};
use super::text::CATEGORIES;
use super::{Context, duration, output};
use crate::domain::mask::Eyes;
use crate::provider::{Dialect, explain};
use crate::standing::facts::thousands;
use crate::standing::time::age;
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::failures::{
    Again, Counted, Decider, FailureCount, FailureFilter, FailureGroup, Failures, SuppressFrom,
};

/// Show failures in groups, and decide about whole groups
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wa-outbox failures list --since 1h")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Group the newest failures by code and sender, with what each code means
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Send the failures of a code again, each as a new message
    #[command(after_help = AGAIN_HELP)]
    Again(SendAgain),
    /// Suppress the recipients of the failures of a code
    #[command(after_help = SUPPRESS_HELP)]
    Suppress(Suppress),
}

const LIST_HELP: &str =
    "It looks at the newest 10,000 failures, so it costs the same however many there are.

With --json one object: looked_at, looked_back_to, is_whole, and groups: sender, code, title, remedy, messages, rejected (those that \
WhatsApp never took; the others it took, and then told that they failed), last_at, sample (the latest), sample_message.

Examples:
  wa-outbox failures list
  wa-outbox failures list --since 1h --sender 106540352242922";

const AGAIN_HELP: &str = "The old messages stay as they are. A message is sent again once at most, however often this is asked for; \
one that was delivered all the same is not. What was rejected for its content fails again unless its cause is gone.

Example:
  wa-outbox failures again --code 131026 --since 1d --reason \"their provider was down\" --yes";

const SUPPRESS_HELP: &str =
    "No campaign is sent to them any more, until `suppress remove`. One who is suppressed already stays so.

Example:
  wa-outbox failures suppress --code 131026 --reason \"not on WhatsApp\" --yes";

#[derive(Debug, clap::Args)]
struct List {
    /// Of this sender
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// Failed within this time
    #[arg(long, value_name = "SPAN", value_parser = duration::parse)]
    since: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which failures a verb is about, and who says so.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true).args(["code", "without_code"]))]
struct Group {
    /// With this code
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: Option<i64>,
    /// Without any code: by a rule of ours, or an operator's word
    #[arg(long)]
    without_code: bool,
    /// Of this sender
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// Failed within this time
    #[arg(long, value_name = "SPAN", value_parser = duration::parse)]
    since: Option<Duration>,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who you are [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Yes, all of them
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct SendAgain {
    #[command(flatten)]
    group: Group,
}

#[derive(Debug, clap::Args)]
struct Suppress {
    #[command(flatten)]
    group: Group,
    /// Only from campaigns of this category
    #[arg(long, value_parser = CATEGORIES)]
    category: Option<String>,
    /// Only from campaigns of the sender that --sender names
    #[arg(long, requires = "sender")]
    from_sender: bool,
}

/// A code of WhatsApp's, as it is typed.
pub(super) fn code(text: &str) -> Result<i64, &'static str> {
    match text.parse() {
        Ok(code) if code >= 0 => Ok(code),
        _ => Err("write WhatsApp's code, a number such as 131026"),
    }
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When it was not confirmed, or the database refuses.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.action {
            Action::List(list) => list.run(context).await,
            Action::Again(again) => again.run(context).await,
            Action::Suppress(suppress) => suppress.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let now = context.clock().now();
        let filter = FailureFilter {
            sender: self.sender,
            since: self.since.map(|span| now - span),
        };
        let store = context.store().await?;
        must_exist(store, filter.sender.as_deref()).await?;
        let mut failures = store.failures(&filter).await?;
        failures.groups = failures.groups.veiled(Eyes::CLOSED);
        if self.json {
            return output::print_json(&FailuresJson::of(&failures));
        }
        if failures.groups.is_empty() {
            return output::print("Nothing has failed.");
        }
        let mut text = table(&failures.groups, now).render(context.colours());
        for code in codes(&failures.groups) {
            let (title, remedy) = meaning(code);
            let code = code.map_or_else(String::new, |code| format!("{code} "));
            text += &format!("\n{code}{title}\n  {remedy}\n");
        }
        if let Some(back_to) = failures.looked_back_to.filter(|_| !failures.is_whole()) {
            text += &format!(
                "\nThese are the newest {} failures; the oldest of them was {}.\n",
                thousands(failures.looked_at),
                age(back_to, now)
            );
        }
        output::print(&text)
    }
}

fn table(groups: &[FailureCount], now: OffsetDateTime) -> Table<7> {
    let mut table = Table::new([
        numbers("CODE"),
        words("SENDER"),
        numbers("MESSAGES"),
        numbers("REJECTED"),
        words("LAST"),
        numbers("SUCH AS"),
        words("WHY"),
    ]);
    for group in groups {
        table.row([
            group.code.map_or_else(String::new, |code| code.to_string()),
            group.sender.clone(),
            group.messages.to_string(),
            group.rejected.to_string(),
            age(group.last_at, now),
            group.sample.to_string(),
            group.sample_message.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// Each code once, in the order of the groups.
fn codes(groups: &[FailureCount]) -> Vec<Option<i64>> {
    let mut codes = Vec::new();
    for group in groups {
        if !codes.contains(&group.code) {
            codes.push(group.code);
        }
    }
    codes
}

fn meaning(code: Option<i64>) -> (&'static str, &'static str) {
    let Some(code) = code else {
        return (
            "Without a code",
            "It failed here, by a rule or an operator's word; see one of them: wa-outbox message show ID",
        );
    };
    explain(code, None, Dialect::OnPremises).map_or(
        (
            "A code that is not in our table",
            "See what WhatsApp said: wa-outbox message show ID",
        ),
        |entry| (entry.title, entry.remedy),
    )
}

/// A count of which there may be more.
pub(super) fn many(counted: Counted) -> String {
    let messages = thousands(counted.messages);
    if counted.is_whole {
        messages
    } else {
        format!("at least {messages}")
    }
}

impl Group {
    fn named(&self, now: OffsetDateTime) -> FailureGroup {
        FailureGroup {
            code: self.code,
            filter: FailureFilter {
                sender: self.sender.clone(),
                since: self.since.map(|span| now - span),
            },
        }
    }

    /// Without a second word nothing is done. Either way the sender must exist.
    async fn is_confirmed(&self, store: &Store) -> anyhow::Result<bool> {
        must_exist(store, self.sender.as_deref()).await?;
        Ok(self.yes)
    }
}

#[derive(Serialize)]
struct AgainJson {
    written: u64,
    already: u64,
    of_ended_campaigns: u64,
    refused: u64,
}

impl SendAgain {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let group = self.group.named(context.clock().now());
        let store = context.store().await?;
        if !self.group.is_confirmed(store).await? {
            let (would, left) = store.count_again(&group).await?;
            let what = format!(
                "{} failed messages would be sent again, each as a new one{}",
                many(would),
                not_sent(&left, "; ")
            );
            let fix = match would.messages {
                0 => "nothing is to be done",
                _ => "add --yes to do it",
            };
            return Err(Problem::usage(what, fix).into());
        }
        let by = context.author(self.group.by)?;
        let decider = Decider {
            by: &by,
            reason: &self.group.reason,
        };
        let done = store.send_failures_again(&group, decider).await?;
        if self.group.json {
            return output::print_json(&AgainJson {
                written: done.written,
                already: done.already,
                of_ended_campaigns: done.of_ended_campaigns,
                refused: done.refused,
            });
        }
        output::print(&format!(
            "{} messages are written anew and queued{}.",
            done.written,
            not_sent(&done, ".\n")
        ))
    }
}

/// How many are not sent again, and why, each behind `between`.
fn not_sent(again: &Again, between: &str) -> String {
    let reasons = [
        (again.already, "were sent again before"),
        (
            again.of_ended_campaigns,
            "are of campaigns that have ended, and a new campaign reaches their recipients",
        ),
        (again.refused, "are not taken by the outbox as they are"),
    ];
    let some = reasons.into_iter().filter(|(messages, _)| *messages > 0);
    some.map(|(messages, why)| format!("{between}{messages} {why}"))
        .collect()
}

#[derive(Serialize)]
struct SuppressedJson {
    suppressed: u64,
}

impl Suppress {
    /// What would be done, if it were confirmed.
    fn would(&self) -> String {
        let category = self.category.as_ref();
        let category = category.map_or_else(String::new, |category| format!("{category} "));
        let of_sender = self.group.sender.as_ref().filter(|_| self.from_sender);
        let of_sender = of_sender.map_or_else(String::new, |sender| format!(" of sender {sender}"));
        format!("their recipients would get no {category}campaign{of_sender} any more")
    }

    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let group = self.group.named(context.clock().now());
        let store = context.store().await?;
        if !self.group.is_confirmed(store).await? {
            let counted = store.count_failures(&group).await?;
            let (many, would) = (many(counted), self.would());
            let what = format!("{many} failed messages are like that; {would}");
            return Err(Problem::usage(what, "add --yes to do it").into());
        }
        let by = context.author(self.group.by)?;
        let decider = Decider {
            by: &by,
            reason: &self.group.reason,
        };
        let from = SuppressFrom {
            sender: group.filter.sender.clone().filter(|_| self.from_sender),
            category: self.category,
        };
        let suppressed = store.suppress_failures(&group, &from, decider).await?;
        if self.group.json {
            return output::print_json(&SuppressedJson { suppressed });
        }
        output::print(&format!(
            "{suppressed} recipients are suppressed now that were not before."
        ))
    }
}

#[derive(Serialize)]
struct FailuresJson<'a> {
    looked_at: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    looked_back_to: Option<OffsetDateTime>,
    is_whole: bool,
    groups: Vec<GroupJson<'a>>,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    sender: &'a str,
    code: Option<i64>,
    title: &'static str,
    remedy: &'static str,
    messages: i64,
    rejected: i64,
    #[serde(with = "time::serde::rfc3339")]
    last_at: OffsetDateTime,
    sample: i64,
    sample_message: Option<&'a str>,
}

impl<'a> FailuresJson<'a> {
    fn of(failures: &'a Failures) -> Self {
        let group = |group: &'a FailureCount| {
            let (title, remedy) = meaning(group.code);
            GroupJson {
                sender: &group.sender,
                code: group.code,
                title,
                remedy,
                messages: group.messages,
                rejected: group.rejected,
                last_at: group.last_at,
                sample: group.sample,
                sample_message: group.sample_message.as_deref(),
            }
        };
        Self {
            looked_at: failures.looked_at,
            looked_back_to: failures.looked_back_to,
            is_whole: failures.is_whole(),
            groups: failures.groups.iter().map(group).collect(),
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
        suppress: Suppress,
    }

    fn suppress(line: &str) -> Result<Suppress, clap::Error> {
        let words = std::iter::once("suppress").chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.suppress)
    }

    #[test]
    fn what_would_be_suppressed_is_said_with_its_bounds() {
        for (line, would) in [
            ("--code 1 --reason x", "no campaign any more"),
            (
                "--code 1 --reason x --category marketing",
                "no marketing campaign any more",
            ),
            (
                "--code 1 --reason x --category utility --sender 7 --from-sender",
                "no utility campaign of sender 7 any more",
            ),
            ("--code 1 --reason x --sender 7", "no campaign any more"),
        ] {
            let suppress = suppress(line).expect("a line");
            assert_eq!(
                suppress.would(),
                format!("their recipients would get {would}")
            );
        }
    }

    #[test]
    fn a_code_is_a_number() {
        for wrong in ["abc", "-1", "1.5"] {
            let said = suppress(&format!("--code={wrong} --reason x"));
            let said = said.expect_err("no code").to_string();
            assert!(said.contains("a number such as 131026"), "{said}");
        }
    }
}
