//! `send`: writes one message into the outbox, as any application may, and can wait for what becomes of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::ArgGroup;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::duration::later;
use super::failure::Problem;
use super::message::MessageJson;
use super::{Context, duration, output};
use crate::domain::id::MessageId;
use crate::domain::mask::Eyes;
use crate::message::{self, OnUncertain, Outgoing, Recipient};
use crate::standing::message::{has_ended, standing};
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::message::Message;
use crate::store::outbox::EnqueueError;

/// Write one message into the outbox
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("content").required(true).args(["text", "template", "payload"]))]
pub struct Options {
    /// The recipient: + and the number with its country code; or an id, see --recipient-kind
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    to: String,
    /// A text message
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// A template, by its name
    #[arg(long, value_name = "NAME", requires = "language")]
    template: Option<String>,
    /// The template's language, such as en_US
    #[arg(long, value_name = "CODE", requires = "template")]
    language: Option<String>,
    /// A value for the template's body, in the order of its placeholders; may be repeated
    #[arg(
        long = "param",
        value_name = "VALUE",
        requires = "template",
        allow_hyphen_values = true
    )]
    params: Vec<String>,
    /// The API's message body as JSON, from a file or from standard input (-)
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// From this sender [default: the only or the default one]
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// What --to is
    #[arg(long, value_name = "KIND", value_parser = ["phone", "user", "group"])]
    recipient_kind: Option<String>,
    /// 0 (urgent) leaves before 9 (bulk) [default: 5]
    #[arg(long, value_name = "0-9")]
    priority: Option<i16>,
    /// Not before this: a time such as 2026-03-01T12:00:00Z, or a span from now such as 10m
    #[arg(long, value_name = "TIME", value_parser = parse_due)]
    at: Option<Due>,
    /// Not after this span, such as 2h, from --at or from now
    #[arg(long, value_name = "SPAN", value_parser = duration::parse)]
    expires_in: Option<Duration>,
    /// One after the other with other messages of this name to the same recipient
    #[arg(long, value_name = "NAME")]
    sequence: Option<String>,
    /// Refuse a second message with this key
    #[arg(long, value_name = "KEY")]
    dedup_key: Option<String>,
    /// Your own id for it, shown and searchable
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// When the answer is lost: send again (it may arrive twice), or leave it to a person
    #[arg(long, value_name = "POLICY", value_parser = parse_policy())]
    on_uncertain: Option<OnUncertain>,
    /// Wait until it has failed or a first status came, and show what happens meanwhile
    #[arg(long)]
    wait: bool,
    /// How long to wait at most, in seconds or as a span
    #[arg(long, value_name = "SPAN", default_value = "60", value_parser = duration::parse_seconds, requires = "wait")]
    wait_for: Duration,
    /// Print JSON: {"id": …}; with --wait the message as `message show --json` prints it
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str =
    "With --wait the exit code is 0 once WhatsApp has accepted it (unless a failed status came), \
and 1 otherwise.

Examples:
  wa-outbox send --to +16505551234 --text \"Your order has shipped\"
  wa-outbox send --to +16505551234 --template order_shipped \\
    --language en_US --param Ada --param 4711 --wait
  wa-outbox send --to +16505551234 --payload image.json --at 10m";

/// How often a message that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// When a message may leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Due {
    At(OffsetDateTime),
    In(Duration),
}

impl Due {
    /// The moment, counted from `now`.
    pub(super) fn after(self, now: OffsetDateTime) -> anyhow::Result<OffsetDateTime> {
        match self {
            Self::At(time) => Ok(time),
            Self::In(span) => later(now, span),
        }
    }
}

pub(super) fn parse_due(text: &str) -> Result<Due, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(Due::At(time));
    }
    duration::parse(text).map(Due::In).map_err(|_| {
        "write a time with its offset, 2026-03-01T12:00:00Z, or a span from now, 10m".to_owned()
    })
}

impl Options {
    /// Writes the message, and waits for it if asked to.
    ///
    /// # Errors
    /// When the database refuses it, or, with `--wait`, when WhatsApp has not accepted it.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        let message = self.message(context.clock().now())?;
        let store = context.store().await?;
        let id = match store.enqueue(&message).await {
            Err(EnqueueError::Duplicate) => return Err(self.has_its_key(store).await?.into()),
            written => written.context("could not write the message into the outbox")?,
        };
        if !self.json {
            output::print(&format!(
                "Message {id} is in the outbox. See what becomes of it: wa-outbox message show {id}"
            ))?;
        }
        if self.wait {
            self.wait(context, store, id).await
        } else if self.json {
            output::print_json(&json!({ "id": id.0 }))
        } else {
            Ok(())
        }
    }

    /// Says which message has the key already.
    async fn has_its_key(&self, store: &Store) -> anyhow::Result<Problem> {
        let key = self.dedup_key.as_deref().unwrap_or_default();
        let known = store.message_with_key(self.sender.as_deref(), key).await?;
        Ok(match known {
            Some(id) => Problem::failed(
                format!("message {id} has this --dedup-key already, so nothing was written"),
                format!(
                    "see it: wa-outbox message show {id}; if this is another message, give it another key"
                ),
            ),
            None => Problem::failed(
                "a message had this --dedup-key, and is gone by now; nothing was written",
                "try again",
            ),
        })
    }

    fn message(&self, now: OffsetDateTime) -> anyhow::Result<Outgoing> {
        let due_at = self.at.map(|due| due.after(now)).transpose()?;
        let expires_at = self
            .expires_in
            .map(|span| later(due_at.unwrap_or(now), span))
            .transpose()?;
        Ok(Outgoing {
            sender: self.sender.clone(),
            priority: self.priority,
            due_at,
            expires_at,
            sequence: self.sequence.clone(),
            dedup_key: self.dedup_key.clone(),
            on_uncertain: self.on_uncertain,
            reference: self.reference.clone(),
            ..self.content()?
        })
    }

    fn content(&self) -> anyhow::Result<Outgoing> {
        if let Some(body) = &self.text {
            return Ok(message::text(body).to(self.recipient()));
        }
        if let Some(name) = &self.template {
            let template = message::template(name, self.language.as_deref().unwrap_or_default());
            let filled = match &self.params[..] {
                [] => template,
                params => template.body(params.iter().cloned()),
            };
            return Ok(filled.to(self.recipient()));
        }
        let Some(path) = &self.payload else {
            return Err(Problem::usage("there is nothing to send", "add --text TEXT").into());
        };
        Ok(Outgoing::written(read_payload(path)?, self.recipient()))
    }

    fn recipient(&self) -> Recipient {
        match self.recipient_kind.as_deref() {
            Some("user") => Recipient::user(&self.to),
            Some("group") => Recipient::group(&self.to),
            Some(_) | None => Recipient::from(&self.to),
        }
    }

    /// Follows the message until it has failed or a status came, or the time to wait is over.
    async fn wait(&self, context: &Context, store: &Store, id: MessageId) -> anyhow::Result<()> {
        let end = Instant::now() + self.wait_for;
        let mut told = String::new();
        loop {
            let found = store.message(id).await?.veiled(Eyes::CLOSED);
            let message = found.with_context(|| format!("message {id} is gone from the outbox"))?;
            let over = Instant::now() >= end;
            let stage = stage(&message);
            if !self.json && stage != told {
                output::print(&standing(&message, context.clock().now()))?;
                told = stage;
            }
            if is_settled(&message) || over {
                if self.json {
                    let eyes = Eyes::CLOSED;
                    output::print_json(&MessageJson::of(&message, eyes))?;
                }
                return Ok(verdict(&message)?);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn parse_policy() -> impl TypedValueParser<Value = OnUncertain> {
    PossibleValuesParser::new(["retry", "hold"]).map(|word| match word.as_str() {
        "hold" => OnUncertain::Hold,
        _ => OnUncertain::Retry,
    })
}

/// The payload as it stands in the file: the database judges it, and it reaches the wire as it was written.
pub(super) fn read_payload(path: &Path) -> anyhow::Result<String> {
    let (read, place) = if path == Path::new("-") {
        (
            std::io::read_to_string(std::io::stdin()),
            "standard input".to_owned(),
        )
    } else {
        (std::fs::read_to_string(path), path.display().to_string())
    };
    let text = read.map_err(|error| {
        let fix = "see that the file is there, may be read and is UTF-8";
        Problem::failed(format!("could not read the payload from {place}"), fix).because(error)
    })?;
    // The database would say so too, but not at which line.
    serde_json::from_str::<&serde_json::value::RawValue>(&text).map_err(|error| {
        let fix = r#"write the body of a message, such as {"type":"text","text":{"body":"Hello"}}"#;
        Problem::failed(format!("the payload from {place} is not JSON"), fix).because(error)
    })?;
    Ok(text)
}

/// What has to change before it is worth another line.
fn stage(message: &Message) -> String {
    format!(
        "{} {:?} {:?}",
        message.state, message.status, message.waiting_for
    )
}

/// Whether nothing is left to wait for: it ended without being sent, or a status came, or none ever will.
fn is_settled(message: &Message) -> bool {
    has_ended(message)
        && (message.state != "accepted" || message.status.is_some() || message.wamid.is_none())
}

/// Whether WhatsApp took it and has not said otherwise, as far as the wait could tell.
fn verdict(message: &Message) -> Result<(), Problem> {
    let id = message.id;
    let what = match (message.state.as_str(), message.status.as_deref()) {
        ("accepted", Some("failed")) => format!("message {id} could not be delivered"),
        ("accepted", _) => return Ok(()),
        (state, _) if has_ended(message) => format!("message {id} ended as {state}"),
        (state, _) => format!("message {id} was still {state} when the wait was over"),
    };
    Err(Problem::failed(
        what,
        format!("see: wa-outbox message show {id}"),
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        let line = ["send", "--to", "+16505551234"];
        let line = Line::try_parse_from(line.iter().chain(arguments)).map(|line| line.options);
        line.unwrap_or_else(|error| panic!("{error}"))
    }

    fn content(arguments: &[&str]) -> Value {
        let content = options(arguments).content().expect("a content");
        serde_json::to_value(content.payload()).expect("JSON")
    }

    #[test]
    fn a_text_becomes_the_body_of_a_text_message() {
        assert_eq!(
            content(&["--text", "- \"hi\" -"]),
            json!({"type": "text", "text": {"body": "- \"hi\" -"}})
        );
    }

    #[test]
    fn parameters_fill_the_body_of_a_template_in_order() {
        let bare = ["--template", "hello", "--language", "en_US"];
        assert_eq!(
            content(&bare),
            json!({"type": "template", "template": {"name": "hello", "language": {"code": "en_US"}}})
        );
        let filled = [&bare[..], &["--param", "Ada", "--param", "-7"]].concat();
        assert_eq!(
            content(&filled)["template"]["components"],
            json!([{"type": "body", "parameters": [{"type": "text", "text": "Ada"}, {"type": "text", "text": "-7"}]}])
        );
    }

    #[test]
    fn a_message_has_exactly_one_content_and_a_template_its_language() {
        for arguments in [
            &[][..],
            &["--text", "a", "--payload", "-"],
            &["--template", "hello"],
            &["--text", "a", "--param", "b"],
        ] {
            let line = ["send", "--to", "+16505551234"];
            assert!(
                Line::try_parse_from(line.iter().chain(arguments)).is_err(),
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn an_expiry_counts_from_the_time_it_is_due() {
        let times = |arguments: &[&str]| {
            let all = [&["--text", "a"], arguments].concat();
            let message = options(&all).message(NOW).expect("a message");
            (message.due_at, message.expires_at)
        };
        let hour = time::Duration::HOUR;
        assert_eq!(times(&[]), (None, None));
        assert_eq!(times(&["--expires-in", "1h"]), (None, Some(NOW + hour)));
        assert_eq!(
            times(&["--at", "1h", "--expires-in", "2h"]),
            (Some(NOW + hour), Some(NOW + 3 * hour))
        );
        assert_eq!(times(&["--at", "2026-03-01T14:00:00+02:00"]).0, Some(NOW));
    }

    #[test]
    fn a_time_without_an_offset_is_refused() {
        assert!(parse_due("2026-03-01T12:00:00").is_err());
        assert!(parse_due("tomorrow").is_err());
    }
}
