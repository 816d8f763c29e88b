//! `message show` and `message why`: one message, with or without its history.

use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::json::{MessageJson, TimelineJson, WhyJson};
use crate::cli::failure::Problem;
use crate::cli::table::{Table, words};
use crate::cli::text::message_id;
use crate::cli::{Context, output};
use crate::domain::id::MessageId;
use crate::domain::mask::Eyes;
use crate::service::uncertain_policy;
use crate::standing::message::{Event, facts, history};
use crate::standing::reason::Reason;
use crate::standing::time::{age, stamp};
use crate::standing::veil::Veil;
use crate::store::message::Reach;
use crate::store::uncertain::UncertainPolicy;

pub(super) const HELP: &str = "The recipient and WhatsApp's ids are masked, and the content is not shown, unless you say \
--reveal.

With --json one object: the columns of wa.messages, and requests (wa.attempts: those that did not end in plain acceptance), \
acceptances (each wamid and how it was learned), statuses (as they came), left_out, and with --reveal the payload.

Of requests, wamids and statuses the first 20 and the newest 100 of each are told, for a message that is throttled may have thousands. \
left_out has how many stand between them (requests, acceptances, statuses), counted up to 10,001. With --all none is left out.

Examples:
  wa-outbox message show 4711
  wa-outbox message show 4711 --json | jq .state";

pub(super) const WHY_HELP: &str =
    "With --json one object: sentence, and the columns of wa.messages.

Example:
  wa-outbox message why 4711";

/// One message with its history.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The message
    #[arg(value_name = "ID", value_parser = message_id)]
    id: i64,
    /// Show recipient, WhatsApp's ids and content in full
    #[arg(long)]
    reveal: bool,
    /// Tell every request, wamid and status, however many there are
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One message without its history.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Why {
    /// The message
    #[arg(value_name = "ID", value_parser = message_id)]
    id: i64,
    /// Show recipient and WhatsApp's id in full
    #[arg(long)]
    reveal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn not_there(id: i64) -> Problem {
    let fix = "see the latest ones: wa-outbox message list";
    Problem::failed(format!("there is no message {id}"), fix)
}

/// What workers do where neither message nor sender says, as far as their settings are the same here.
fn policy(context: &Context) -> anyhow::Result<UncertainPolicy> {
    Ok(uncertain_policy(&context.config()?.reconcile))
}

fn table(history: &[Event], now: OffsetDateTime) -> Table<3> {
    let mut table = Table::new([words("WHEN"), words("AGE"), words("WHAT")]);
    for event in history {
        table.row([stamp(event.at), age(event.at, now), event.what.clone()]);
    }
    table
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (id, eyes) = (
            MessageId(self.id),
            Eyes {
                reveal: self.reveal,
            },
        );
        let store = context.store().await?;
        let reach = if self.all {
            Reach::Whole
        } else {
            Reach::BothEnds
        };
        let found = store.timeline(id, reach).await?;
        let timeline = found.ok_or_else(|| not_there(self.id))?.veiled(eyes);
        let payload = if self.reveal {
            store.payload(id).await?
        } else {
            None
        };
        if self.json {
            let payload = payload.map(RawValue::from_string).transpose()?;
            let json = TimelineJson::of(&timeline, payload.as_deref(), eyes);
            return output::print_json(&json);
        }
        let ended_at = store.ended_at(id).await?;
        let now = context.clock().now();
        let reason = Reason::of(store, policy(context)?, &timeline.message, eyes).await?;
        let sentence = reason.sentence(&timeline.message, now);
        let history = history(&timeline, ended_at, eyes);
        let mut text = format!(
            "{}\n\n{}\n{}",
            output::bold(&output::plain(&sentence), context.colours()),
            facts(&timeline.message, eyes, now).render(),
            table(&history, now).render(context.colours())
        );
        if let Some(payload) = payload {
            text += &format!("\n{}\n", output::plain(&payload));
        }
        output::print(&text)
    }
}

impl Why {
    /// Says where the message stands and why.
    pub(in crate::cli) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let eyes = Eyes {
            reveal: self.reveal,
        };
        let store = context.store().await?;
        let found = store.message(MessageId(self.id)).await?;
        let message = found.ok_or_else(|| not_there(self.id))?.veiled(eyes);
        let now = context.clock().now();
        let reason = Reason::of(store, policy(context)?, &message, eyes).await?;
        let sentence = reason.sentence(&message, now);
        if self.json {
            let message = MessageJson::of(&message, eyes);
            return output::print_json(&WhyJson { sentence, message });
        }
        output::print(&format!(
            "{}\n\n{}",
            output::bold(&output::plain(&sentence), context.colours()),
            facts(&message, eyes, now).render()
        ))
    }
}
