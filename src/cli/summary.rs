//! `summary`: how much stands where, on one screen.

use std::collections::HashMap;

use serde::Serialize;
use time::OffsetDateTime;

use super::table::{Table, numbers, words};
use super::time::age;
use super::{Context, output};
use crate::store::Store;
use crate::store::sender::Sender;
use crate::store::summary::{InboxSummary, SenderSummary, StateCount, UncertainSummary};

/// Show how much stands where
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It counts every message there is, so on a large database it takes a while.

With --json one object: messages (state, status, messages), senders (sender, queued, oldest_due_at, worker, held_reason, \
problem), inbox (pending, bad, unmatched), uncertain (messages, needs_person, oldest_begun_at).

Example:
  wa-outbox summary"
)]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Prints it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        let now = context.clock().now();
        let summary = Summary::read(context.store().await?, now).await?;
        if self.json {
            return output::print_json(&summary.json());
        }
        output::print(&summary.screen(now, context.colours()))
    }
}

struct Summary {
    counts: Vec<StateCount>,
    senders: Vec<SenderSummary>,
    inbox: InboxSummary,
    uncertain: UncertainSummary,
}

impl Summary {
    async fn read(store: &Store, now: OffsetDateTime) -> anyhow::Result<Self> {
        let mut senders = store.sender_summaries().await?;
        let settings = store.senders().await?;
        let settings: HashMap<&str, &Sender> = settings
            .iter()
            .map(|sender| (sender.sender.as_str(), sender))
            .collect();
        for sender in &mut senders {
            // The reason stays behind when a hold has run out by itself.
            if let Some(settings) = settings.get(sender.sender.as_str()) {
                sender.held_reason = settings.hold_at(now).map(str::to_owned);
            }
        }
        Ok(Self {
            counts: store.counts().await?,
            senders,
            inbox: store.inbox_summary().await?,
            uncertain: store.uncertain_summary().await?,
        })
    }

    fn screen(&self, now: OffsetDateTime, colours: bool) -> String {
        let mut parts = Vec::new();
        if self.counts.is_empty() {
            parts.push("The outbox is empty.\n".to_owned());
        } else {
            parts.push(self.messages().render(colours));
        }
        if self.senders.is_empty() {
            parts.push("There is no sender yet; see: wa-outbox sender add --help\n".to_owned());
        } else {
            parts.push(self.sender_table(now).render(colours));
        }
        parts.push(format!("{}{}", self.inbox_line(), self.uncertain_line(now)));
        parts.join("\n")
    }

    fn messages(&self) -> Table<3> {
        let mut table = Table::new([words("STATE"), words("STATUS"), numbers("MESSAGES")]);
        for count in &self.counts {
            table.row([
                count.state.clone(),
                count.status.clone().unwrap_or_default(),
                count.messages.to_string(),
            ]);
        }
        table
    }

    fn sender_table(&self, now: OffsetDateTime) -> Table<5> {
        let mut table = Table::new([
            words("SENDER"),
            numbers("QUEUED"),
            words("OLDEST DUE"),
            words("WORKER"),
            words("STOPPED BY"),
        ]);
        for sender in &self.senders {
            let held = sender.held_reason.as_ref();
            let stopped = held
                .map(|reason| format!("held: {reason}"))
                .or_else(|| sender.problem.clone());
            let oldest = sender.oldest_due_at.map(|due_at| age(due_at, now));
            table.row([
                sender.sender.clone(),
                sender.queued.to_string(),
                oldest.unwrap_or_default(),
                sender.worker.clone().unwrap_or_else(|| "none".to_owned()),
                stopped.unwrap_or_default(),
            ]);
        }
        table
    }

    fn inbox_line(&self) -> String {
        let InboxSummary {
            pending,
            bad,
            unmatched,
        } = self.inbox;
        format!(
            "Webhooks: {pending} deliveries to be applied, {bad} unreadable; {unmatched} statuses of messages unknown here.\n"
        )
    }

    fn uncertain_line(&self, now: OffsetDateTime) -> String {
        let UncertainSummary {
            messages,
            needs_person,
            oldest_begun_at,
        } = self.uncertain;
        let oldest = oldest_begun_at.map_or_else(String::new, |begun_at| {
            format!(", the oldest begun {}", age(begun_at, now))
        });
        match needs_person {
            0 => format!("Uncertain: {messages}{oldest}; none needs a person.\n"),
            some => format!(
                "Uncertain: {messages}{oldest}; {some} for a person to settle: wa-outbox uncertain list\n"
            ),
        }
    }

    fn json(&self) -> SummaryJson<'_> {
        SummaryJson {
            messages: self.counts.iter().map(CountJson::of).collect(),
            senders: self.senders.iter().map(SenderJson::of).collect(),
            inbox: InboxJson {
                pending: self.inbox.pending,
                bad: self.inbox.bad,
                unmatched: self.inbox.unmatched,
            },
            uncertain: UncertainJson {
                messages: self.uncertain.messages,
                needs_person: self.uncertain.needs_person,
                oldest_begun_at: self.uncertain.oldest_begun_at,
            },
        }
    }
}

#[derive(Serialize)]
struct SummaryJson<'a> {
    messages: Vec<CountJson<'a>>,
    senders: Vec<SenderJson<'a>>,
    inbox: InboxJson,
    uncertain: UncertainJson,
}

#[derive(Serialize)]
struct CountJson<'a> {
    state: &'a str,
    status: Option<&'a str>,
    messages: i64,
}

#[derive(Serialize)]
struct SenderJson<'a> {
    sender: &'a str,
    queued: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    oldest_due_at: Option<OffsetDateTime>,
    worker: Option<&'a str>,
    held_reason: Option<&'a str>,
    problem: Option<&'a str>,
}

#[derive(Serialize)]
struct InboxJson {
    pending: i64,
    bad: i64,
    unmatched: i64,
}

#[derive(Serialize)]
struct UncertainJson {
    messages: i64,
    needs_person: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    oldest_begun_at: Option<OffsetDateTime>,
}

impl<'a> CountJson<'a> {
    fn of(count: &'a StateCount) -> Self {
        Self {
            state: &count.state,
            status: count.status.as_deref(),
            messages: count.messages,
        }
    }
}

impl<'a> SenderJson<'a> {
    fn of(sender: &'a SenderSummary) -> Self {
        Self {
            sender: &sender.sender,
            queued: sender.queued,
            oldest_due_at: sender.oldest_due_at,
            worker: sender.worker.as_deref(),
            held_reason: sender.held_reason.as_deref(),
            problem: sender.problem.as_deref(),
        }
    }
}
