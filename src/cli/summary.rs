//! `summary`: how much stands where, on one screen.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};

use super::table::{Table, numbers, words};
use super::watching::Pictures;
use super::{Context, duration, output};
use crate::domain::mask::Eyes;
use crate::standing::facts::thousands;
use crate::standing::sender::{Reading, StandingJson, counted, counted_to, rate};
use crate::standing::time::{age, span, stamp};
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::census::Census;
use crate::store::summary::{InboxSummary, SenderStanding, StateCount, UncertainSummary};

/// Show how much stands where
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It costs the same whatever stands in the tables. What has not ended is counted up to 10,000 of each state; of what has \
ended it looks at the newest 10,000, and how many messages there are at all is estimated where there are more.

With --json one object: messages (state, status, messages: of what has ended, among the newest that ended.looked_at tells), ended \
(looked_at, back_to: when the oldest of those was written, is_whole), total (messages, is_estimate), senders (sender, queued, oldest_due_at, worker, held_reason, \
problem, stuck_s: how long its oldest due message has waited for something other than its turn, and standing as in \
`sender show --json`), inbox (pending, bad, unmatched), uncertain (messages, needs_person, oldest_begun_at).

Examples:
  wa-outbox summary
  wa-outbox summary --watch 5s"
)]
pub struct Options {
    /// Show it again so often, until it is interrupted; a database that is away for a while does not end it
    #[arg(long, value_name = "SPAN", num_args = 0..=1, default_missing_value = "2s", value_parser = duration::parse_seconds, conflicts_with = "json")]
    watch: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Prints it.
    ///
    /// # Errors
    /// When the database cannot be read at the first look.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let summary = Summary::read(store).await?;
        if self.json {
            return output::print_json(&summary.json());
        }
        let colours = context.colours();
        let Some(every) = self.watch else {
            return output::print(&summary.screen(context.clock().now(), colours));
        };
        let mut pictures = Pictures::new(std::io::stdout().is_terminal());
        let mut ended = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut look = Ok(summary);
        loop {
            let now = context.clock().now();
            match look {
                Ok(summary) => {
                    pictures.show(format!("{}\n{}", stamp(now), summary.screen(now, colours)))?;
                }
                Err(error) => pictures.miss(error)?,
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = interrupted.recv() => return Ok(()),
                _ = ended.recv() => return Ok(()),
            }
            look = Summary::read(store).await;
        }
    }
}

struct Summary {
    census: Census,
    senders: Vec<SenderStanding>,
    inbox: InboxSummary,
    uncertain: UncertainSummary,
}

impl Summary {
    async fn read(store: &Store) -> anyhow::Result<Self> {
        Ok(Self {
            census: store.census().await?,
            senders: store.sender_standings(None).await?.veiled(Eyes::CLOSED),
            inbox: store.inbox_summary().await?,
            uncertain: store.uncertain_summary().await?,
        })
    }

    fn screen(&self, now: OffsetDateTime, colours: bool) -> String {
        let mut parts = Vec::new();
        if self.census.is_empty() {
            parts.push("The outbox is empty.\n".to_owned());
        } else {
            parts.push(self.messages().render(colours) + &self.total_line(now));
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
        for count in self.counts() {
            table.row([
                count.state,
                count.status.unwrap_or_default(),
                counted(count.messages),
            ]);
        }
        table
    }

    /// What is open, where there is any, and what became of the newest that have ended.
    fn counts(&self) -> Vec<StateCount> {
        let census = &self.census;
        let open = [
            ("queued", census.queued),
            ("sending", census.sending),
            ("uncertain", census.uncertain),
            ("waiting", census.waiting),
        ];
        let open = open.into_iter().filter(|(_, messages)| *messages > 0);
        let open = open.map(|(state, messages)| StateCount {
            state: state.to_owned(),
            status: None,
            messages,
        });
        open.chain(census.ended.iter().cloned()).collect()
    }

    /// What the counts do not tell.
    fn total_line(&self, now: OffsetDateTime) -> String {
        let census = &self.census;
        let ended = match census.ended_back_to {
            Some(back_to) if !census.ended_is_whole() => format!(
                " Of those that have ended the newest {} are counted here, the oldest of them written {}.",
                thousands(census.ended_looked_at),
                age(back_to, now)
            ),
            _ => String::new(),
        };
        let about = if census.total_is_estimate {
            "about "
        } else {
            ""
        };
        format!(
            "\n{about}{} messages in the outbox.{ended}\n",
            thousands(census.total)
        )
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
                counted_to(sender.counted_at_most, sender.due),
                counted_to(sender.counted_at_most, sender.queued),
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
        let (pending, bad, unmatched) = (counted(pending), counted(bad), counted(unmatched));
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
        let messages = counted(messages);
        match needs_person {
            0 => format!("Uncertain: {messages}{oldest}; none needs a person.\n"),
            some => format!(
                "Uncertain: {messages}{oldest}; {} for a person to settle: wa-outbox uncertain list\n",
                counted(some)
            ),
        }
    }

    fn json(&self) -> SummaryJson<'_> {
        SummaryJson {
            messages: self.counts().into_iter().map(CountJson::of).collect(),
            ended: EndedJson {
                looked_at: self.census.ended_looked_at,
                back_to: self.census.ended_back_to,
                is_whole: self.census.ended_is_whole(),
            },
            total: TotalJson {
                messages: self.census.total,
                is_estimate: self.census.total_is_estimate,
            },
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
    messages: Vec<CountJson>,
    ended: EndedJson,
    total: TotalJson,
    senders: Vec<SenderJson<'a>>,
    inbox: InboxJson,
    uncertain: UncertainJson,
}

#[derive(Serialize)]
struct CountJson {
    state: String,
    status: Option<String>,
    messages: i64,
}

#[derive(Serialize)]
struct EndedJson {
    looked_at: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    back_to: Option<OffsetDateTime>,
    is_whole: bool,
}

#[derive(Serialize)]
struct TotalJson {
    messages: i64,
    is_estimate: bool,
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

impl CountJson {
    fn of(count: StateCount) -> Self {
        Self {
            state: count.state,
            status: count.status,
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
