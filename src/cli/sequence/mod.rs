//! `sequence`: messages that leave one by one: where they stand, how they go on, and a person's word.
//!
//! A word that overrides a setting takes a reason, and is written down with its author.

mod show;

use std::time::Duration;

use clap::Subcommand;

use super::failure::Problem;
use super::text::message_id;
use super::{Context, duration, output};
use crate::domain::id::MessageId;
use crate::store::Store;
use crate::store::sequence::{SequenceChange, SequenceKey, Skipped, Word};

pub(super) use show::Why;

/// List, show, set, resume, skip and cancel sequences
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wa-outbox sequence list")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the halted sequences, or all that have a message in front
    #[command(after_help = show::LIST_HELP)]
    List(show::List),
    /// Show one sequence: what it waits for, until when, its settings and what happened
    #[command(after_help = show::HELP)]
    Show(show::Show),
    /// Change how a sequence goes on; it need not exist yet
    #[command(
        after_help = "What is left out stays as it is; `default` gives a setting back to the sender. A halt that stands is \
not changed by it.

Examples:
  wa-outbox sequence set 106540352242922 +16505551234 order-17 --on-failure skip
  wa-outbox sequence set --of 4711 --delivery-timeout 2h --on-timeout proceed"
    )]
    Set(Set),
    /// Lift a halt: go on without the message that caused it
    #[command(
        after_help = "The message that caused it is no longer waited for, and stays as it is: to send it again, write it \
anew. One that is uncertain is then never sent again.

Example:
  wa-outbox sequence resume --of 4711 --reason \"told by phone\""
    )]
    Resume(Override),
    /// Go on without the message in front, whether halted or not
    #[command(
        after_help = "What has left is no longer waited for; what has not is cancelled. While its request is out nothing \
is done.

Example:
  wa-outbox sequence skip --of 4711 --reason \"it will not be delivered\""
    )]
    Skip(Override),
    /// Cancel every message that has not been begun, and lift a halt
    #[command(
        after_help = "What is written into the sequence from then on starts anew.

Example:
  wa-outbox sequence cancel --of 4711 --reason \"the order was cancelled\""
    )]
    Cancel(Override),
}

/// Which sequence: by its three names, or by any message in it.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The sender
    #[arg(value_name = "SENDER", required_unless_present = "of")]
    sender: Option<String>,
    /// The recipient
    #[arg(value_name = "RECIPIENT", required_unless_present = "of")]
    recipient: Option<String>,
    /// The sequence's name
    #[arg(value_name = "SEQUENCE", required_unless_present = "of")]
    sequence: Option<String>,
    /// The sequence of this message, instead of the three
    #[arg(long, value_name = "ID", conflicts_with_all = ["sender", "recipient", "sequence"], value_parser = message_id)]
    of: Option<i64>,
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    which: Which,
    /// When a message of it fails, expires or is left to a person: halt, skip or default
    #[arg(long, value_name = "POLICY", value_parser = ["halt", "skip", "default"])]
    on_failure: Option<String>,
    /// How long after its acceptance a delivery is waited for, such as 2h; or default
    #[arg(long, value_name = "SPAN", value_parser = timeout)]
    delivery_timeout: Option<Duration>,
    /// When that is over: halt, proceed or default
    #[arg(long, value_name = "POLICY", value_parser = ["halt", "proceed", "default"])]
    on_timeout: Option<String>,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", default_value = "no reason was given")]
    reason: String,
    /// Who sets it [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Override {
    #[command(flatten)]
    which: Which,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who says so [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// A span, or none at all for `default`.
fn timeout(text: &str) -> Result<Duration, duration::NotADuration> {
    match text {
        "default" => Ok(Duration::ZERO),
        span => duration::parse(span),
    }
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When there is no such sequence, or the database refuses.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.action {
            Action::List(list) => list.run(context).await,
            Action::Show(show) => show.run(context).await,
            Action::Set(set) => set.run(context).await,
            Action::Resume(given) => given.run(context, resume).await,
            Action::Skip(given) => given.run(context, skip).await,
            Action::Cancel(given) => given.run(context, cancel).await,
        }
    }
}

impl Which {
    /// The sequence that is meant; by its names it need not exist.
    pub(super) async fn key(self, store: &Store) -> anyhow::Result<SequenceKey> {
        if let (Some(sender), Some(recipient), Some(sequence)) =
            (self.sender, self.recipient, self.sequence)
        {
            return Ok(SequenceKey {
                sender,
                recipient,
                sequence,
            });
        }
        let id = self.of.unwrap_or_default();
        let found = store.sequence_of(MessageId(id)).await?;
        found.ok_or_else(|| {
            let fix = format!("see: wa-outbox message show {id}");
            Problem::failed(format!("message {id} is in no sequence"), fix).into()
        })
    }
}

impl Set {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let change = SequenceChange {
            on_failure: self.on_failure,
            delivery_timeout: self.delivery_timeout,
            on_timeout: self.on_timeout,
        };
        if change == SequenceChange::default() {
            let fix = "name what to change; see: wa-outbox sequence set --help";
            return Err(Problem::usage("there is nothing to change", fix).into());
        }
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let key = self.which.key(store).await?;
        let word = Word {
            by: &by,
            reason: &self.reason,
        };
        store.set_sequence(&key, &change, word).await?;
        output::print(&format!("Sequence '{}' was changed.", key.sequence))
    }
}

impl Override {
    async fn run(
        self,
        context: &Context,
        verb: impl AsyncFnOnce(&Store, &SequenceKey, Word<'_>) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let key = self.which.key(store).await?;
        let word = Word {
            by: &by,
            reason: &self.reason,
        };
        output::print(&verb(store, &key, word).await?)
    }
}

async fn resume(store: &Store, key: &SequenceKey, word: Word<'_>) -> anyhow::Result<String> {
    if store.resume_sequence(key, word).await? {
        return Ok(format!("Sequence '{}' goes on.", key.sequence));
    }
    let what = format!("sequence '{}' is not halted", key.sequence);
    let fix = "see what it waits for: wa-outbox why sequence; to go on without that: wa-outbox sequence skip";
    Err(Problem::failed(what, fix).into())
}

async fn skip(store: &Store, key: &SequenceKey, word: Word<'_>) -> anyhow::Result<String> {
    let name = &key.sequence;
    let (what, fix) = match store.skip_head(key, word).await? {
        Skipped::Passed => {
            return Ok(format!(
                "Sequence '{name}' goes on; the message in front is no longer waited for."
            ));
        }
        Skipped::Cancelled => {
            return Ok(format!(
                "Sequence '{name}' goes on; the message in front had not left and is cancelled."
            ));
        }
        Skipped::Sending => (
            format!("the request of the message in front of sequence '{name}' is out"),
            "try again when its answer is there, in a minute at most",
        ),
        Skipped::NoHead => (
            format!("sequence '{name}' has no message in front"),
            "its next message leaves at once",
        ),
    };
    Err(Problem::failed(what, fix).into())
}

async fn cancel(store: &Store, key: &SequenceKey, word: Word<'_>) -> anyhow::Result<String> {
    let cancelled = match store.cancel_sequence(key, word).await? {
        0 => "no message was left to be cancelled".to_owned(),
        1 => "one message is cancelled".to_owned(),
        many => format!("{many} messages are cancelled"),
    };
    Ok(format!("Sequence '{}': {cancelled}.", key.sequence))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        word: Override,
    }

    fn parse(arguments: &[&str]) -> Result<Override, clap::Error> {
        Line::try_parse_from(["skip"].iter().chain(arguments)).map(|line| line.word)
    }

    #[test]
    fn a_word_that_overrides_takes_a_reason() {
        assert!(parse(&["--of", "7"]).is_err());
        assert!(parse(&["--of", "7", "--reason", "lost"]).is_ok());
    }

    #[test]
    fn a_sequence_is_meant_by_its_three_names_or_by_a_message() {
        let why = ["--reason", "lost"];
        let with = |names: &[&'static str]| parse(&[names, &why].concat());
        assert!(with(&["4711", "+16505551234", "story"]).is_ok());
        assert!(with(&["4711", "+16505551234"]).is_err());
        assert!(with(&["4711", "+16505551234", "story", "--of", "7"]).is_err());
        assert!(with(&[]).is_err());
    }

    #[test]
    fn default_is_a_timeout_of_none() {
        assert_eq!(timeout("default"), Ok(Duration::ZERO));
        assert_eq!(timeout("2h"), Ok(Duration::from_secs(7_200)));
        assert!(timeout("0s").is_err());
    }
}
