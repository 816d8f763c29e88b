//! `summary`: how much stands where, on one screen.

use serde::Serialize;
use time::OffsetDateTime;

use super::table::{Table, numbers, words};
use super::{Context, output};
use crate::standing::sender::{Reading, StandingJson, counted, rate};
use crate::standing::time::{age, span};
use crate::store::Store;
use crate::store::summary::{InboxSummary, SenderStanding, StateCount, UncertainSummary};

/// Show how much stands where
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It counts every message there is by its state, so on a large database it takes a while. The messages of a \
sender are counted up to 10,000.

With --json one object: messages (state, status, messages), senders (sender, queued, oldest_due_at, worker, held_reason, \
problem, stuck_s: how long its oldest due message has waited for something other than its turn, and standing as in \
`sender show --json`), inbox (pending, bad, unmatched), uncertain (messages, needs_person, oldest_begun_at).

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
        let summary = Summary::read(context.store().await?).await?;
        if self.json {
            return output::print_json(&summary.json());
        }
        output::print(&summary.screen(now, context.colours()))
    }
}

struct Summary {
    counts: Vec<StateCount>,
    senders: Vec<SenderStanding>,
    inbox: InboxSummary,
    uncertain: UncertainSummary,
}

impl Summary {
    async fn read(store: &Store) -> anyhow::Result<Self> {
        Ok(Self {
            counts: store.counts().await?,
            senders: store.sender_standings(None).await?,
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
            parts.push(self.sender_table().render(colours) + &self.stuck_lines());
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

    fn sender_table(&self) -> Table<9> {
        let mut table = Table::new([
            words("SENDER"),
            numbers("RATE/S"),
            numbers("LIMIT/S"),
            numbers("OUT"),
            numbers("DUE"),
            numbers("QUEUED"),
            words("OLDEST DUE"),
            words("OWNER"),
            words("STOPPED BY"),
        ]);
        for sender in &self.senders {
            let reading = Reading(sender);
            // Old figures are no figures: the columns stay empty, and `why sender` shows them with their age.
            let fresh = !reading.is_stale();
            let figure = |value: Option<f64>| {
                value
                    .filter(|_| fresh)
                    .map_or_else(String::new, |value| rate(Some(value)))
            };
            let oldest = sender.oldest_due_at.map(|due_at| age(due_at, sender.now));
            table.row([
                sender.sender.clone(),
                figure(sender.rate_now),
                figure(sender.rate_limit),
                figure(sender.in_flight.map(f64::from)),
                counted(sender.due),
                counted(sender.queued),
                oldest.unwrap_or_default(),
                owner(sender),
                stopped_by(sender),
            ]);
        }
        table
    }

    /// A line for each sender whose messages wait for something other than their turn.
    fn stuck_lines(&self) -> String {
        self.senders
            .iter()
            .filter_map(|sender| {
                let reading = Reading(sender);
                let waits = span(reading.stuck_for()?);
                let sentence = reading.sentence();
                Some(format!(
                    "\nStuck: a message has been due for {waits}. {}\n",
                    output::plain(&sentence)
                ))
            })
            .collect()
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

fn owner(sender: &SenderStanding) -> String {
    let owner = sender.worker.as_deref().unwrap_or("none");
    format!("{owner}, epoch {}", sender.epoch)
}

fn stopped_by(sender: &SenderStanding) -> String {
    let reading = Reading(sender);
    let held = held_reason(sender).map(|reason| format!("held: {reason}"));
    let circuit = sender
        .breaker
        .as_deref()
        .filter(|breaker| *breaker != "closed" && !reading.is_stale())
        .map(|_| "no connection".to_owned());
    let templates = match sender.held_templates {
        0 => None,
        1 => Some("one held template".to_owned()),
        many => Some(format!("{many} held templates")),
    };
    let reasons = [held, sender.problem.clone(), circuit, templates];
    reasons.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn held_reason(sender: &SenderStanding) -> Option<&str> {
    Reading(sender).hold()?;
    sender.held_reason.as_deref()
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
    stuck_s: Option<i64>,
    standing: StandingJson<'a>,
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
    fn of(sender: &'a SenderStanding) -> Self {
        Self {
            sender: &sender.sender,
            queued: sender.queued,
            oldest_due_at: sender.oldest_due_at,
            worker: sender.worker.as_deref(),
            held_reason: held_reason(sender),
            problem: sender.problem.as_deref(),
            stuck_s: Reading(sender)
                .stuck_for()
                .map(|waits| waits.whole_seconds()),
            standing: StandingJson::of(sender),
        }
    }
}
