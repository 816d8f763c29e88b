//! Sequences as people and scripts read them.

use serde::Serialize;
use time::OffsetDateTime;

use super::Which;
use crate::cli::failure::Problem;
use crate::cli::table::{Table, numbers, words};
use crate::cli::{Context, output};
use crate::domain::mask::Eyes;
use crate::standing::sequence::{facts, sentence, waiting};
use crate::standing::time::{age, stamp};
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::sequence::{SequenceEvent, SequenceFilter, SequenceKey, SequenceStanding};

pub(super) const LIST_HELP: &str =
    "With --json an array of objects with the columns of wa.sequence_standings (delivery_timeout_s in \
seconds) and sentence.

Examples:
  wa-outbox sequence list
  wa-outbox sequence list --all --sender 106540352242922";

pub(super) const HELP: &str = "The recipient is masked unless you say --reveal.

With --json the object of `sequence list --json`, and events: happened_at, what, member, author, reason.

Examples:
  wa-outbox sequence show 106540352242922 +16505551234 order-17
  wa-outbox sequence show --of 4711";

/// What happened is shown so far back.
const EVENTS: i64 = 50;

/// Which sequences there are.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Also those that are not halted
    #[arg(long)]
    all: bool,
    /// Of this sender only
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// So many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Show recipients in full
    #[arg(long)]
    reveal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One of them.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    why: Why,
}

/// What one of them waits for.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Why {
    #[command(flatten)]
    which: Which,
    /// Show the recipient in full
    #[arg(long)]
    reveal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let eyes = Eyes {
            reveal: self.reveal,
        };
        let filter = SequenceFilter {
            sender: self.sender,
            all: self.all,
        };
        let store = context.store().await?;
        let standings = store.sequences(&filter, i64::from(self.limit)).await?;
        let standings = standings.veiled(eyes);
        let now = context.clock().now();
        if self.json {
            let standings: Vec<_> = standings
                .iter()
                .map(|standing| SequenceJson::of(standing, eyes, now))
                .collect();
            return output::print_json(&standings);
        }
        if standings.is_empty() {
            let none = if self.all {
                "No sequence has a message in front."
            } else {
                "No sequence is halted."
            };
            return output::print(none);
        }
        let mut text = table(&standings, eyes, now).render(context.colours());
        if standings.len() == usize::from(self.limit) {
            text += "There may be more; see them with a larger --limit\n";
        }
        output::print(&text)
    }
}

fn table(standings: &[SequenceStanding], eyes: Eyes, now: OffsetDateTime) -> Table<6> {
    let mut table = Table::new([
        words("SENDER"),
        words("RECIPIENT"),
        words("SEQUENCE"),
        numbers("MESSAGE"),
        numbers("WAITING"),
        words("STANDS"),
    ]);
    for standing in standings {
        let member = standing.halted_member.or(standing.head_id);
        let stands = match (&standing.halted_reason, standing.halted_at) {
            (Some(reason), Some(at)) => format!("halted {}: {reason}", age(at, now)),
            _ => format!(
                "waits for it, {}",
                standing.head_state.as_deref().unwrap_or("unknown")
            ),
        };
        table.row([
            standing.sender.clone(),
            eyes.recipient(&standing.recipient).into_owned(),
            standing.sequence.clone(),
            member.map_or_else(String::new, |id| id.to_string()),
            waiting(standing),
            stands,
        ]);
    }
    table
}

async fn find(store: &Store, key: &SequenceKey, eyes: Eyes) -> anyhow::Result<SequenceStanding> {
    let found = store.sequence(key).await?.veiled(eyes);
    found.ok_or_else(|| {
        let (name, sender) = (&key.sequence, &key.sender);
        let what = format!("there is no sequence '{name}' of this recipient and sender {sender}");
        Problem::failed(what, "see which there are: wa-outbox sequence list --all").into()
    })
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        self.why.say(context, true).await
    }
}

impl Why {
    /// Says what the sequence waits for.
    pub(in crate::cli) async fn run(self, context: &Context) -> anyhow::Result<()> {
        self.say(context, false).await
    }

    async fn say(self, context: &Context, with_events: bool) -> anyhow::Result<()> {
        let eyes = Eyes {
            reveal: self.reveal,
        };
        let store = context.store().await?;
        let standing = find(store, &self.which.key(store).await?, eyes).await?;
        let events = if with_events {
            let events = store.sequence_events(&standing.key(), EVENTS).await?;
            events.veiled(eyes)
        } else {
            Vec::new()
        };
        let now = context.clock().now();
        if self.json {
            let sequence = SequenceJson::of(&standing, eyes, now);
            if !with_events {
                return output::print_json(&sequence);
            }
            let events = events.iter().map(EventJson::of).collect();
            return output::print_json(&ShownJson { sequence, events });
        }
        let sentence = sentence(&standing, eyes, now);
        let mut text = format!(
            "{}\n\n{}",
            output::bold(&output::plain(&sentence), context.colours()),
            facts(&standing, eyes, now).render()
        );
        if !events.is_empty() {
            text += &format!("\n{}", history(&events, now).render(context.colours()));
        }
        output::print(&text)
    }
}

/// What happened, oldest first.
fn history(events: &[SequenceEvent], now: OffsetDateTime) -> Table<4> {
    let mut table = Table::new([words("WHEN"), words("AGE"), words("WHAT"), words("WHY")]);
    for event in events.iter().rev() {
        let what = event.what.replace('_', " ");
        let what = match event.member {
            Some(id) => format!("{what}, message {id}, by {}", event.author),
            None => format!("{what} by {}", event.author),
        };
        table.row([
            stamp(event.happened_at),
            age(event.happened_at, now),
            what,
            event.reason.clone(),
        ]);
    }
    table
}

#[derive(Serialize)]
struct SequenceJson<'a> {
    sentence: String,
    sender: &'a str,
    recipient: String,
    sequence: &'a str,
    head_id: Option<i64>,
    #[serde(with = "time::serde::rfc3339::option")]
    head_since: Option<OffsetDateTime>,
    head_state: Option<&'a str>,
    head_status: Option<&'a str>,
    head_waits_for: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339::option")]
    head_accepted_at: Option<OffsetDateTime>,
    head_kind: Option<&'a str>,
    delivery_timeout_s: Option<f64>,
    #[serde(with = "time::serde::rfc3339::option")]
    timeout_at: Option<OffsetDateTime>,
    on_failure: &'a str,
    on_timeout: &'a str,
    halted_cause: Option<&'a str>,
    halted_member: Option<i64>,
    halted_reason: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339::option")]
    halted_at: Option<OffsetDateTime>,
    next_id: Option<i64>,
    waiting: i64,
}

impl<'a> SequenceJson<'a> {
    fn of(standing: &'a SequenceStanding, eyes: Eyes, now: OffsetDateTime) -> Self {
        Self {
            sentence: sentence(standing, eyes, now),
            sender: &standing.sender,
            recipient: eyes.recipient(&standing.recipient).into_owned(),
            sequence: &standing.sequence,
            head_id: standing.head_id,
            head_since: standing.head_since,
            head_state: standing.head_state.as_deref(),
            head_status: standing.head_status.as_deref(),
            head_waits_for: standing.head_waits_for.as_deref(),
            head_accepted_at: standing.head_accepted_at,
            head_kind: standing.head_kind.as_deref(),
            delivery_timeout_s: standing.delivery_timeout_s,
            timeout_at: standing.timeout_at,
            on_failure: &standing.on_failure,
            on_timeout: &standing.on_timeout,
            halted_cause: standing.halted_cause.as_deref(),
            halted_member: standing.halted_member,
            halted_reason: standing.halted_reason.as_deref(),
            halted_at: standing.halted_at,
            next_id: standing.next_id,
            waiting: standing.waiting,
        }
    }
}

#[derive(Serialize)]
struct ShownJson<'a> {
    #[serde(flatten)]
    sequence: SequenceJson<'a>,
    events: Vec<EventJson<'a>>,
}

#[derive(Serialize)]
struct EventJson<'a> {
    #[serde(with = "time::serde::rfc3339")]
    happened_at: OffsetDateTime,
    what: &'a str,
    member: Option<i64>,
    author: &'a str,
    reason: &'a str,
}

impl<'a> EventJson<'a> {
    fn of(event: &'a SequenceEvent) -> Self {
        Self {
            happened_at: event.happened_at,
            what: &event.what,
            member: event.member,
            author: &event.author,
            reason: &event.reason,
        }
    }
}
