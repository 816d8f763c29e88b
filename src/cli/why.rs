//! `why`: what something waits for, in a sentence.

use clap::Subcommand;

use super::Context;
use super::{campaign, message, sender, sequence};

/// Say where something stands and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wa-outbox why message 4711
  wa-outbox why sender 106540352242922
  wa-outbox why sequence 106540352242922 +16505551234 order-17
  wa-outbox why campaign spring")]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Where a message stands and why
    #[command(after_help = "Example:
  wa-outbox why message 4711")]
    Message(message::Why),
    /// What a sender does, or what stands in its way
    #[command(after_help = "With --json the object of `sender show --json`.

Example:
  wa-outbox why sender 106540352242922")]
    Sender(sender::Show),
    /// What a sequence waits for, since when, what would release it and when that is overdue
    #[command(after_help = "With --json the object of `sequence list --json`.

Examples:
  wa-outbox why sequence 106540352242922 +16505551234 order-17
  wa-outbox why sequence --of 4711")]
    Sequence(sequence::Why),
    /// What a campaign does, or what it waits for
    #[command(after_help = "Example:
  wa-outbox why campaign spring")]
    Campaign(campaign::Why),
}

impl Options {
    /// Says it.
    ///
    /// # Errors
    /// When there is no such thing.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.what {
            What::Message(why) => why.run(context).await,
            What::Sender(show) => show.run_why(context).await,
            What::Sequence(why) => why.run(context).await,
            What::Campaign(why) => why.run(context).await,
        }
    }
}
