//! `message list`: the latest messages, a page at a time.

use super::json::MessageJson;
use crate::cli::table::{Table, numbers, words};
use crate::cli::{Context, output};
use crate::standing::mask::Eyes;
use crate::standing::time::age;
use crate::store::message::Message;
use crate::store::messages::MessageFilter;
use time::OffsetDateTime;

pub(super) const HELP: &str =
    "With --json an array of objects with the columns of wa.messages; recipient and wamid are \
masked unless you say --reveal.

Examples:
  wa-outbox message list --state failed
  wa-outbox message list --to +16505551234 --limit 5
  wa-outbox message list --before 4711";

/// Which messages.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// In this state
    #[arg(long, value_parser = ["queued", "waiting", "sending", "uncertain", "accepted", "failed", "expired", "cancelled"])]
    state: Option<String>,
    /// Of this sender
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// To this recipient
    #[arg(long, value_name = "NUMBER")]
    to: Option<String>,
    /// With this reference
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// So many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Older than this message: the last one of the page before
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// Show recipients and WhatsApp's ids in full
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
        let filter = MessageFilter {
            state: self.state,
            sender: self.sender,
            recipient: self.to,
            reference: self.reference,
            before: self.before,
            ..MessageFilter::default()
        };
        let store = context.store().await?;
        let page = store.messages(&filter, usize::from(self.limit)).await?;
        let messages = page.messages;
        if self.json {
            let messages: Vec<_> = messages
                .iter()
                .map(|message| MessageJson::of(message, eyes))
                .collect();
            return output::print_json(&messages);
        }
        if messages.is_empty() {
            return output::print("No message is like that.");
        }
        let mut text = table(&messages, eyes, context.clock().now()).render(context.colours());
        if let Some(last) = messages.get(usize::from(self.limit) - 1) {
            text += &format!("Older ones: the same with --before {}\n", last.id);
        }
        output::print(&text)
    }
}

fn table(messages: &[Message], eyes: Eyes, now: OffsetDateTime) -> Table<8> {
    let mut table = Table::new([
        numbers("ID"),
        words("STATE"),
        words("STATUS"),
        words("SENDER"),
        words("TO"),
        words("WRITTEN"),
        words("REFERENCE"),
        words("WHY"),
    ]);
    for message in messages {
        let why = message.waiting_for.as_ref();
        table.row([
            message.id.to_string(),
            message.state.clone(),
            message.status.clone().unwrap_or_default(),
            message.sender.clone(),
            eyes.recipient(&message.recipient).into_owned(),
            age(message.created_at, now),
            message.reference.clone().unwrap_or_default(),
            why.or(message.error_message.as_ref())
                .cloned()
                .unwrap_or_default(),
        ]);
    }
    table
}
