//! `message list`: the latest messages, a page at a time.

use serde::Serialize;
use time::OffsetDateTime;

use super::json::MessageJson;
use crate::cli::failure::Problem;
use crate::cli::failures::code;
use crate::cli::sender::must_exist;
use crate::cli::table::{Table, numbers, words};
use crate::cli::text::message_id;
use crate::cli::{Context, output};
use crate::domain::mask::Eyes;
use crate::standing::time::age;
use crate::standing::veil::Veil;
use crate::store::message::Message;
use crate::store::messages::MessageFilter;

pub(super) const HELP: &str =
    "With --json an array of objects with the columns of wa.messages; recipient and wamid are \
masked unless you say --reveal.

A look goes past 10,000 messages at most and then says how far it came, so it costs the same however many there are; go on from there \
with --before. What is listed with --page --json is an object: messages, next (go on before this id; null: there are no older ones) and \
looked_back_to (the look ended there before it had found enough; else null).

Examples:
  wa-outbox message list --state failed --code 131026
  wa-outbox message list --to \"+1 650-555 1234\" --limit 5
  wa-outbox message list --status failed --campaign spring
  wa-outbox message list --duplicates
  wa-outbox message list --before 4711";

/// Which messages.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// In this state
    #[arg(long, value_parser = ["queued", "waiting", "sending", "uncertain", "accepted", "failed", "expired", "cancelled"])]
    state: Option<String>,
    /// Of which WhatsApp says this
    #[arg(long, value_parser = ["sent", "delivered", "read", "played", "failed"])]
    status: Option<String>,
    /// Of this sender
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// To this recipient, however the number is written
    #[arg(long, value_name = "NUMBER")]
    to: Option<String>,
    /// With this reference
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// Known to WhatsApp by this id
    #[arg(long, value_name = "WAMID")]
    wamid: Option<String>,
    /// Of this campaign, by its name or number
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Option<String>,
    /// In a sequence of this name
    #[arg(long, value_name = "NAME")]
    sequence: Option<String>,
    /// Failed with this code, before its acceptance or after
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: Option<i64>,
    /// Accepted twice
    #[arg(long)]
    duplicates: bool,
    /// So many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Older than this message: the last one of the page before
    #[arg(long, value_name = "ID", value_parser = message_id)]
    before: Option<i64>,
    /// Show recipients and WhatsApp's ids in full
    #[arg(long)]
    reveal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// With --json: an object that also says where to go on
    #[arg(long, requires = "json")]
    page: bool,
}

#[derive(Serialize)]
struct PageJson<'a> {
    messages: Vec<MessageJson<'a>>,
    next: Option<i64>,
    looked_back_to: Option<i64>,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let eyes = Eyes {
            reveal: self.reveal,
        };
        let store = context.store().await?;
        must_exist(store, self.sender.as_deref()).await?;
        let campaign = match &self.campaign {
            Some(named) => {
                let number = store.campaign_number(&named.as_str().into()).await?;
                Some(number.ok_or_else(|| {
                    let fix = "see which there are: wa-outbox campaign list";
                    Problem::failed(format!("there is no campaign {named}"), fix)
                })?)
            }
            None => None,
        };
        let filter = MessageFilter {
            state: self.state,
            status: self.status,
            sender: self.sender,
            recipient: self.to,
            reference: self.reference,
            wamid: self.wamid,
            campaign,
            sequence: self.sequence,
            code: self.code,
            duplicates_only: self.duplicates,
            before: self.before,
        };
        let mut page = store.messages(&filter, usize::from(self.limit)).await?;
        page.messages = page.messages.veiled(eyes);
        if self.json {
            let messages = page.messages.iter();
            let messages = messages
                .map(|message| MessageJson::of(message, eyes))
                .collect();
            let page = PageJson {
                messages,
                next: page.next,
                looked_back_to: page.looked_back_to,
            };
            return if self.page {
                output::print_json(&page)
            } else {
                output::print_json(&page.messages)
            };
        }
        let mut text = if page.messages.is_empty() {
            "No message is like that.\n".to_owned()
        } else {
            table(&page.messages, eyes, context.clock().now()).render(context.colours())
        };
        match (page.looked_back_to, page.next) {
            (Some(id), _) => {
                text += &format!(
                    "This look went back to message {id}; older ones: the same with --before {id}\n"
                );
            }
            (None, Some(id)) => text += &format!("Older ones: the same with --before {id}\n"),
            (None, None) => {}
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
