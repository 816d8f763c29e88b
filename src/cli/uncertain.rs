//! `uncertain`: messages whose answer was lost, and settling them by a person's word.
//!
//! Evidence settles most of them without anyone. A person's word is written down with name and reason.

use clap::{ArgGroup, Subcommand};
use serde::Serialize;
use time::OffsetDateTime;

use super::failure::Problem;
use super::failures::many;
use super::table::{Table, numbers, words};
use super::text::message_id;
use super::{Context, output};
use crate::domain::id::MessageId;
use crate::domain::mask::Eyes;
use crate::provider::ProviderKind;
use crate::standing::facts::plain;
use crate::standing::time::age;
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::failures::{Counted, Decider};
use crate::store::groups::{GroupFinding, GroupSettled, UncertainCount, UncertainFilter};
use crate::store::uncertain::{Finding, UncertainMessage};

/// List and settle messages whose answer was lost
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wa-outbox uncertain list")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the uncertain messages, oldest first
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Count the uncertain messages by sender and doubt
    #[command(after_help = GROUPS_HELP)]
    Groups(Groups),
    /// Settle one message, or a whole group, by what you have found out
    #[command(after_help = RESOLVE_HELP)]
    Resolve(Resolve),
}

const LIST_HELP: &str =
    "With --json an array of objects: id, sender, attempt (the request whose answer was lost), \
begun_at, doubt, waiting_for, needs_person.

Example:
  wa-outbox uncertain list";

const GROUPS_HELP: &str = "It looks at the first 10,001. With --json an array of objects: sender, doubt, messages, needs_person, \
oldest_begun_at, sample (the oldest).

Example:
  wa-outbox uncertain groups";

const RESOLVE_HELP: &str =
    "It is written down with your name and reason, and shown by `message show`. With --all it is about every uncertain message that \
--sender, --doubt and --needs-person leave; without --yes it only says how many those are.

Examples:
  wa-outbox uncertain resolve 4711 --not-sent --reason \"nothing came\"
  wa-outbox uncertain resolve 4711 --accepted wamid.HBgL… --reason \"a webhook\"
  wa-outbox uncertain resolve 4711 --send-again --yes --reason \"urgent\"
  wa-outbox uncertain resolve --all --needs-person --not-sent --reason \"the provider was down\" --yes";

#[derive(Debug, clap::Args)]
struct List {
    /// So many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("finding").required(true).args(["accepted", "not_sent", "send_again"]),
    group = ArgGroup::new("which").required(true).args(["id", "all"])
)]
struct Resolve {
    /// The message
    #[arg(value_name = "ID", value_parser = message_id)]
    id: Option<i64>,
    /// All uncertain messages that are like what follows
    #[arg(long, conflicts_with = "accepted")]
    all: bool,
    /// With --all: of this sender
    #[arg(long, value_name = "ID", requires = "all", conflicts_with = "id")]
    sender: Option<String>,
    /// With --all: of this doubt, as `uncertain groups` words it
    #[arg(long, value_name = "TEXT", requires = "all", conflicts_with = "id")]
    doubt: Option<String>,
    /// With --all: only what nothing but a person settles
    #[arg(long, requires = "all", conflicts_with = "id")]
    needs_person: bool,
    /// WhatsApp has it, under this id
    #[arg(long, value_name = "WAMID")]
    accepted: Option<String>,
    /// WhatsApp never had it: it ends as failed
    #[arg(long)]
    not_sent: bool,
    /// Send it again; its recipient may get it twice
    #[arg(long)]
    send_again: bool,
    /// How you know, for those who read it later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who you are [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Yes, it may arrive twice: needed with --send-again; and yes, all of them: needed with --all
    #[arg(long)]
    yes: bool,
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When the message is not uncertain, or the database refuses.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.action {
            Action::List(list) => list.run(context).await,
            Action::Groups(groups) => groups.run(context).await,
            Action::Resolve(resolve) => resolve.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let messages = store.uncertain(i64::from(self.limit)).await?;
        let messages = messages.veiled(Eyes::CLOSED);
        if self.json {
            let messages: Vec<_> = messages.iter().map(UncertainJson::of).collect();
            return output::print_json(&messages);
        }
        if messages.is_empty() {
            return output::print("No message is uncertain.");
        }
        let mut text = table(&messages, context.clock().now()).render(context.colours());
        if messages.len() == usize::from(self.limit) {
            text += "There may be more; see them with a larger --limit\n";
        }
        output::print(&text)
    }
}

fn table(messages: &[UncertainMessage], now: OffsetDateTime) -> Table<6> {
    let mut table = Table::new([
        numbers("ID"),
        words("SENDER"),
        numbers("REQUEST"),
        words("BEGUN"),
        words("DOUBT"),
        words("WAITING FOR"),
    ]);
    for message in messages {
        table.row([
            message.id.to_string(),
            message.sender.clone(),
            message.attempt.to_string(),
            age(message.begun_at, now),
            message.doubt.clone(),
            message.waiting_for.clone(),
        ]);
    }
    table
}

#[derive(Serialize)]
struct UncertainJson<'a> {
    id: i64,
    sender: &'a str,
    attempt: i32,
    #[serde(with = "time::serde::rfc3339")]
    begun_at: OffsetDateTime,
    doubt: &'a str,
    waiting_for: &'a str,
    needs_person: bool,
}

impl<'a> UncertainJson<'a> {
    fn of(message: &'a UncertainMessage) -> Self {
        Self {
            id: message.id,
            sender: &message.sender,
            attempt: message.attempt,
            begun_at: message.begun_at,
            doubt: &message.doubt,
            waiting_for: &message.waiting_for,
            needs_person: message.needs_person,
        }
    }
}

#[derive(Debug, clap::Args)]
struct Groups {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Groups {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let groups = context.store().await?.uncertain_groups().await?;
        let groups = groups.veiled(Eyes::CLOSED);
        if self.json {
            let groups: Vec<_> = groups.iter().map(GroupJson::of).collect();
            return output::print_json(&groups);
        }
        if groups.is_empty() {
            return output::print("No message is uncertain.");
        }
        let now = context.clock().now();
        let mut table = Table::new([
            words("SENDER"),
            numbers("MESSAGES"),
            numbers("FOR A PERSON"),
            words("OLDEST BEGUN"),
            numbers("SUCH AS"),
            words("DOUBT"),
        ]);
        for group in &groups {
            table.row([
                group.sender.clone(),
                group.messages.to_string(),
                group.needs_person.to_string(),
                age(group.oldest_begun_at, now),
                group.sample.to_string(),
                group.doubt.clone(),
            ]);
        }
        output::print(&table.render(context.colours()))
    }
}

#[derive(Serialize)]
struct GroupJson<'a> {
    sender: &'a str,
    doubt: &'a str,
    messages: i64,
    needs_person: i64,
    #[serde(with = "time::serde::rfc3339")]
    oldest_begun_at: OffsetDateTime,
    sample: i64,
}

impl<'a> GroupJson<'a> {
    fn of(group: &'a UncertainCount) -> Self {
        Self {
            sender: &group.sender,
            doubt: &group.doubt,
            messages: group.messages,
            needs_person: group.needs_person,
            oldest_begun_at: group.oldest_begun_at,
            sample: group.sample,
        }
    }
}

/// The doubts that are shown in these words: with numbers masked, so several may look alike. Without words: whatever the doubt.
async fn doubts(store: &Store, shown: Option<&str>) -> anyhow::Result<Vec<Option<String>>> {
    let Some(shown) = shown else {
        return Ok(vec![None]);
    };
    let groups = store.uncertain_groups().await?.into_iter();
    let alike = groups.map(|group| group.doubt).filter(|doubt| {
        let masked = Eyes::CLOSED.text(doubt);
        doubt == shown || plain(&masked) == plain(shown)
    });
    let mut alike: Vec<_> = alike.collect();
    alike.sort();
    alike.dedup();
    Ok(match alike.is_empty() {
        // One that is not among those that were looked at, or none at all.
        true => vec![Some(shown.to_owned())],
        false => alike.into_iter().map(Some).collect(),
    })
}

/// How many a word about these would be about.
async fn count(store: &Store, filters: &[UncertainFilter]) -> anyhow::Result<Counted> {
    let mut all = Counted {
        messages: 0,
        is_whole: true,
    };
    for filter in filters {
        let counted = store.count_uncertain(filter).await?;
        all.messages += counted.messages;
        all.is_whole &= counted.is_whole;
    }
    Ok(all)
}

impl Resolve {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.id {
            Some(id) => self.one(MessageId(id), context).await,
            None => self.group(context).await,
        }
    }

    async fn group(self, context: &Context) -> anyhow::Result<()> {
        let finding = if self.send_again {
            GroupFinding::SendAgain
        } else {
            GroupFinding::NotSent
        };
        let store = context.store().await?;
        let filters: Vec<_> = (doubts(store, self.doubt.as_deref()).await?)
            .into_iter()
            .map(|doubt| UncertainFilter {
                sender: self.sender.clone(),
                doubt,
                needs_person: self.needs_person,
            })
            .collect();
        if !self.yes {
            let counted = count(store, &filters).await?;
            let twice = match finding {
                GroupFinding::SendAgain => "; sent again, some may arrive twice",
                GroupFinding::NotSent => "; they would end as failed",
            };
            let what = format!("{} uncertain messages are like that{twice}", many(counted));
            return Err(Problem::usage(what, "add --yes to settle all of them").into());
        }
        let by = context.author(self.by)?;
        let decider = Decider {
            by: &by,
            reason: &self.reason,
        };
        let mut done = GroupSettled::default();
        for filter in &filters {
            let settled = store.resolve_group(filter, finding, decider).await?;
            done.settled += settled.settled;
            done.passed += settled.passed;
        }
        let mut text = match finding {
            GroupFinding::NotSent => {
                format!(
                    "{} messages have failed: they were not sent, says {by}.\n",
                    done.settled
                )
            }
            GroupFinding::SendAgain => format!("{} messages are queued again.\n", done.settled),
        };
        if done.passed > 0 {
            text += &format!(
                "{} stay uncertain: their sequences have gone on without them; settle those with --not-sent\n",
                done.passed
            );
        }
        output::print(&text)
    }

    async fn one(self, id: MessageId, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let provider = match &self.accepted {
            Some(_) => store.provider_of(id).await?,
            None => None,
        };
        let finding = self.finding(id, provider.unwrap_or(ProviderKind::CloudApi))?;
        let by = context.author(self.by)?;
        if !store.resolve(id, &finding, &by, &self.reason).await? {
            if matches!(finding, Finding::SendAgain) && store.is_passed(id).await? {
                let what = format!(
                    "message {id} is not sent again: its sequence has gone on without it, so it would arrive out of order"
                );
                let fix = "write it anew; then settle this one by what you know, with --accepted or --not-sent";
                return Err(Problem::failed(what, fix).into());
            }
            let what = match finding {
                Finding::Accepted(_) => {
                    format!(
                        "message {id} is not uncertain, or that wamid belongs to another message"
                    )
                }
                Finding::NotSent | Finding::SendAgain => format!("message {id} is not uncertain"),
            };
            let fix = format!("see where it stands: wa-outbox message show {id}");
            return Err(Problem::failed(what, fix).into());
        }
        output::print(&match finding {
            Finding::Accepted(_) => format!("Message {id} is accepted, says {by}."),
            Finding::NotSent => format!("Message {id} has failed: it was not sent, says {by}."),
            Finding::SendAgain => {
                format!("Message {id} is queued again; see: wa-outbox message show {id}")
            }
        })
    }

    fn finding(&self, id: MessageId, provider: ProviderKind) -> Result<Finding, Problem> {
        match &self.accepted {
            Some(copied) => {
                let fix = "copy the whole id, as a response, a webhook or WhatsApp Manager shows it (message show masks it unless you say --reveal)";
                let wamid = provider.copied_id(copied);
                Ok(Finding::Accepted(
                    wamid.map_err(|what| Problem::usage(what, fix))?,
                ))
            }
            None if self.send_again && !self.yes => Err(Problem::usage(
                format!(
                    "message {id} may have reached WhatsApp: sent again, its recipient may get it twice"
                ),
                "add --yes if twice is better than never",
            )),
            None if self.send_again => Ok(Finding::SendAgain),
            None => Ok(Finding::NotSent),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        resolve: Resolve,
    }

    fn resolve(arguments: &[&str]) -> Result<Resolve, clap::Error> {
        let line = ["resolve", "7", "--reason", "seen"];
        Line::try_parse_from(line.iter().chain(arguments)).map(|line| line.resolve)
    }

    #[test]
    fn what_is_no_id_of_a_message_is_refused() {
        let wrong = resolve(&["--accepted", "4711"]).expect("a finding");
        assert!(wrong.finding(MessageId(7), ProviderKind::CloudApi).is_err());
        let right = resolve(&["--accepted", "wamid.HBgLMTY1MDU1NTEyMzQVAgAR"]).expect("a finding");
        assert!(matches!(
            right.finding(MessageId(7), ProviderKind::CloudApi),
            Ok(Finding::Accepted(_))
        ));
    }

    #[test]
    fn sending_again_takes_a_second_word() {
        let once = resolve(&["--send-again"]).expect("a finding");
        assert!(once.finding(MessageId(7), ProviderKind::CloudApi).is_err());
        let twice = resolve(&["--send-again", "--yes"]).expect("a finding");
        assert!(matches!(
            twice.finding(MessageId(7), ProviderKind::CloudApi),
            Ok(Finding::SendAgain)
        ));
    }

    #[test]
    fn exactly_one_finding_is_given() {
        assert!(resolve(&[]).is_err());
        assert!(resolve(&["--not-sent", "--send-again"]).is_err());
        let not_sent = resolve(&["--not-sent"]).expect("a finding");
        assert!(matches!(
            not_sent.finding(MessageId(7), ProviderKind::CloudApi),
            Ok(Finding::NotSent)
        ));
    }

    #[test]
    fn a_group_is_named_in_place_of_a_message() {
        let line = |arguments: &[&str]| {
            let line = ["resolve", "--reason", "seen"];
            Line::try_parse_from(line.iter().chain(arguments)).is_ok()
        };
        assert!(line(&["--all", "--not-sent", "--sender", "1"]));
        assert!(!line(&["--not-sent"]));
        assert!(!line(&["7", "--all", "--not-sent"]));
        assert!(!line(&["7", "--not-sent", "--sender", "1"]));
        assert!(!line(&["--all", "--accepted", "wamid.HBgL"]));
    }
}
