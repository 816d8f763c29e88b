//! `why`: what something waits for, in a sentence.

use clap::Subcommand;

use super::Context;
use super::message;

/// Say where something stands and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wa-outbox why message 4711")]
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
}

impl Options {
    /// Says it.
    ///
    /// # Errors
    /// When there is no such thing.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.what {
            What::Message(why) => why.run(context).await,
        }
    }
}
