//! `tail`: what happens over the whole fleet now, a line an event, until ctrl-c.
//!
//! It says in the database that it watches, and what; processes that work there tell it then what they do, in batches, and stop when
//! it ends. If it dies they stop when its row expires. While the database cannot be reached it tries again, and what was told
//! meanwhile is waiting for it.

mod json;
mod line;
mod order;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::failure::Problem;
use super::text::message_id;
use super::{Context, output};
use crate::clock::Clock;
use crate::domain::event::{Belonging, Event, EventFilter, EventKind, Tone};
use crate::domain::id::SenderId;
use crate::domain::mask::Eyes;
use crate::standing::time::stamp;
use crate::standing::veil::Veil;
use crate::store::campaign::CampaignKey;
use crate::store::tail::{MessageTold, TAILER_LASTS};
use crate::store::{Store, StoreError};
use crate::tail::TailerId;
use json::EventJson;
use order::InOrder;

const HELP: &str = "Events: begun accepted deferred throttled failed uncertain settled left_to_person expired cancelled; of \
WhatsApp: sent delivered read played undelivered; sender_held sender_released template_held template_released sequence_halted \
sequence_resumed sequence_skipped sequence_cancelled campaign_started campaign_paused campaign_resumed campaign_done \
campaign_cancelled.

Nothing is told while nobody watches, so what was before is not here: see `message show`, `failures`. A process that does not listen \
hears of it within five seconds; standard error says who tells. Of a flood each process tells a thousand a second, what went wrong \
first, and the number of the others. The end of a campaign is one event, whatever is left of it.

With --json one object a line, see docs/json.md.

Examples:
  wa-outbox tail
  wa-outbox tail --failures
  wa-outbox tail --sender 106540352242922 --event throttled,deferred
  wa-outbox tail --message 4711
  wa-outbox tail --campaign spring --json | jq -c '{at, event, message, code}'";

/// Between two looks at what was told.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two while the database cannot be reached.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// So often it says that it goes on.
const RENEW_EVERY: Duration = Duration::from_secs(TAILER_LASTS.as_secs() / 4);
/// By then every process has heard that somebody watches.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
/// Batches and events of one look; more can nobody read.
const BATCHES_AT_ONCE: i64 = 100;
const EVENTS_AT_ONCE: usize = 1_000;
/// The database is not waited for longer: somebody looks at the screen.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Watch what happens over the whole fleet, live
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// Only of this sender
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// Only of this campaign, by name or number, and its messages
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Option<String>,
    /// Only of sequences of this name, and their messages
    #[arg(long, value_name = "NAME")]
    sequence: Option<String>,
    /// Only of this message
    #[arg(long, value_name = "ID", value_parser = message_id)]
    message: Option<i64>,
    /// Only of these kinds, see below
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    event: Vec<EventKind>,
    /// Only what somebody may have to look at: failures, doubts, holds, halts and pauses
    #[arg(long, conflicts_with = "event")]
    failures: bool,
    /// Show recipients in full
    #[arg(long)]
    reveal: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

fn kind(name: &str) -> Result<EventKind, String> {
    name.parse().map_err(|_| {
        let alike = |kind: &EventKind| strsim::damerau_levenshtein(kind.as_str(), name);
        let nearest = EventKind::ALL.into_iter().min_by_key(alike);
        nearest.map_or_else(String::new, |nearest| {
            format!("there is no such event; the nearest is {nearest}")
        })
    })
}

/// How a line looks.
#[derive(Clone, Copy)]
struct Look {
    eyes: Eyes,
    json: bool,
    colours: bool,
}

impl Options {
    /// Tells what happens until a signal ends it.
    ///
    /// # Errors
    /// When there is no such sender, message or campaign, or the database cannot be reached at the start.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        // Before anything is written, so that a signal that comes early takes it back too.
        let mut ended = Ended::listen().context("could not listen for signals")?;
        let store = context.store().await?;
        let look = Look {
            eyes: Eyes {
                reveal: self.reveal,
            },
            json: self.json,
            colours: context.colours(),
        };
        let filter = self.filter(store).await?;
        // Only shown to whoever wonders who watches.
        let watches = context
            .author(None)
            .unwrap_or_else(|_| "somebody".to_owned());
        let tailer = store.begin_tail(&filter, &watches).await?;
        let mut watch = Watch {
            store,
            clock: context.clock().clone(),
            filter,
            watches,
            tailer,
            look,
            order: InOrder::default(),
            done: Vec::new(),
            processes: BTreeSet::new(),
        };
        note("Watching; ctrl-c ends it.");
        let watched = watch.run(&mut ended).await;
        // If the database does not hear it, it forgets us by itself.
        let _ = in_time(store.end_tail(watch.tailer)).await;
        watched
    }

    async fn filter(self, store: &Store) -> anyhow::Result<EventFilter> {
        if let Some(sender) = &self.sender {
            let id = SenderId::from(sender.as_str());
            if store.sender_standings(Some(&id)).await?.is_empty() {
                let fix = "see which there are: wa-outbox sender list";
                return Err(Problem::failed(format!("there is no sender {sender}"), fix).into());
            }
        }
        if let Some(message) = self.message
            && store.messages_told(&[message]).await?.is_empty()
        {
            let fix = "see the latest ones: wa-outbox message list";
            return Err(Problem::failed(format!("there is no message {message}"), fix).into());
        }
        let campaign = match &self.campaign {
            None => None,
            Some(named) => {
                let found = store.campaign(&CampaignKey::from(named.as_str())).await?;
                let found = found.ok_or_else(|| {
                    let fix = "see which there are: wa-outbox campaign list";
                    Problem::failed(format!("there is no campaign {named}"), fix)
                })?;
                Some(found.id)
            }
        };
        let bad = || {
            let all = EventKind::ALL.into_iter();
            all.filter(|kind| kind.tone() == Tone::Bad)
        };
        Ok(EventFilter {
            sender: self.sender,
            message: self.message,
            kinds: if self.failures {
                bad().collect()
            } else {
                self.event
            },
            campaign,
            sequence: self.sequence,
        })
    }
}

/// What ends it.
struct Ended([Signal; 3]);

impl Ended {
    fn listen() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Somebody who watches.
struct Watch<'a> {
    store: &'a Store,
    clock: Clock,
    filter: EventFilter,
    watches: String,
    tailer: TailerId,
    look: Look,
    order: InOrder<(Event, Option<MessageTold>)>,
    /// Batches that were read and are not deleted yet.
    done: Vec<i64>,
    /// Those that have told anything.
    processes: BTreeSet<String>,
}

impl Watch<'_> {
    async fn run(&mut self, ended: &mut Ended) -> anyhow::Result<()> {
        let heard_by = Instant::now() + HEARD_WITHIN;
        let mut renew_at = Instant::now() + RENEW_EVERY;
        let (mut is_cut_off, mut is_unheard) = (false, false);
        loop {
            let pause = match is_cut_off {
                true => TRY_AGAIN,
                false => LOOK_EVERY,
            };
            tokio::select! {
                () = ended.next() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            let now = Instant::now();
            // After a silence first of all: the row may be gone.
            if is_cut_off || now >= renew_at {
                if let Err(error) = in_time(self.go_on()).await {
                    if !std::mem::replace(&mut is_cut_off, true) {
                        note_cut_off(&error);
                    }
                    continue;
                }
                if std::mem::take(&mut is_cut_off) {
                    note("The database answers again.");
                }
                renew_at = now + RENEW_EVERY;
            }
            match in_time(self.read()).await {
                Ok(text) if text.is_empty() => {}
                Ok(text) => output::print(&text)?,
                Err(error) => {
                    is_cut_off = true;
                    note_cut_off(&error);
                }
            }
            if self.processes.is_empty() && now >= heard_by && !is_unheard {
                is_unheard = true;
                note("No process has answered so far. Does one run? wa-outbox run");
            }
        }
    }

    /// Says that it goes on watching, and begins anew where it was forgotten.
    async fn go_on(&mut self) -> Result<(), StoreError> {
        if !self.store.renew_tail(self.tailer).await? {
            self.tailer = self.store.begin_tail(&self.filter, &self.watches).await?;
            let now = stamp(self.clock.now());
            note(&format!(
                "The database had forgotten who watches; some events before {now} may be missing."
            ));
        }
        Ok(())
    }

    /// What was told since the last look, in lines. Given up at any point, it loses nothing.
    async fn read(&mut self) -> Result<String, StoreError> {
        let (batches, behind) = self
            .store
            .take_told(self.tailer, &self.done, BATCHES_AT_ONCE)
            .await?;
        let (mut told, mut left_out) = (Vec::new(), behind);
        for batch in &batches {
            left_out += batch.left_out;
            for event in &batch.events {
                match Event::deserialize(event) {
                    Ok(event) if self.filter.may_admit(&event) => told.push(event),
                    Ok(_) => {}
                    // Of a newer version.
                    Err(_) => left_out += 1,
                }
            }
        }
        left_out += told.len().saturating_sub(EVENTS_AT_ONCE) as u64;
        told.truncate(EVENTS_AT_ONCE);
        let messages = self.messages_of(&told).await?;
        self.done = batches.iter().map(|batch| batch.batch).collect();
        for process in batches.into_iter().filter_map(|batch| batch.process) {
            if !self.processes.contains(&process) {
                note(&format!("{process} tells what it does."));
                self.processes.insert(process);
            }
        }
        let with_message = |event: Event| {
            let message = event.message.and_then(|id| messages.get(&id));
            (event, message.cloned())
        };
        let fresh = told.into_iter().map(with_message).collect();
        let mut text = String::new();
        for (event, message) in self.order.next(fresh, |(event, _)| event.at) {
            let belonging = message
                .as_ref()
                .map_or(Belonging::default(), |message| Belonging {
                    campaign: message.campaign,
                    sequence: message.sequence.as_deref(),
                });
            if self.filter.admits(&event, belonging) {
                text.push_str(&self.look.line(event, message.as_ref()));
            }
        }
        if left_out > 0 {
            text.push_str(&self.look.left_out(self.clock.now(), left_out));
        }
        Ok(text)
    }

    async fn messages_of(&self, events: &[Event]) -> Result<HashMap<i64, MessageTold>, StoreError> {
        let ids: BTreeSet<i64> = events.iter().filter_map(|event| event.message).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<i64> = ids.into_iter().collect();
        let found = self.store.messages_told(&ids).await?;
        Ok(found
            .into_iter()
            .map(|message| (message.id, message))
            .collect())
    }
}

impl Look {
    fn line(self, event: Event, message: Option<&MessageTold>) -> String {
        let event = event.veiled(self.eyes);
        match self.json {
            true => EventJson::of(&event, message, self.eyes).line(),
            false => line::of(&event, message, self.eyes, self.colours),
        }
    }

    fn left_out(self, at: time::OffsetDateTime, events: u64) -> String {
        match self.json {
            true => EventJson::left_out(at, events).line(),
            false => line::left_out(at, events, self.colours),
        }
    }
}

/// The answer of the database, where it comes while somebody would wait for it.
async fn in_time<T>(asking: impl Future<Output = Result<T, StoreError>>) -> anyhow::Result<T> {
    match tokio::time::timeout(ANSWERS_WITHIN, asking).await {
        Ok(answer) => Ok(answer?),
        Err(_) => anyhow::bail!("it does not answer"),
    }
}

fn note_cut_off(error: &anyhow::Error) {
    note(&format!(
        "The database cannot be reached ({error:#}); trying again."
    ));
}

/// Says something that is no event, on standard error.
fn note(text: &str) {
    use std::io::Write as _;
    // Where nobody listens there, nothing is lost.
    let _ = writeln!(std::io::stderr(), "{}", output::plain(text));
}
