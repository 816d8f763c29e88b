//! `message`: where messages stand and why, and cancelling them.

mod cancel;
mod json;
mod list;
mod show;

use clap::Subcommand;

use super::Context;

pub(super) use json::MessageJson;
pub(super) use show::Why;

/// Show, list, explain and cancel messages
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wa-outbox message show 4711")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show one message: where it stands, why, and everything that happened to it
    #[command(after_help = show::HELP)]
    Show(show::Show),
    /// List messages, newest first
    #[command(after_help = list::HELP)]
    List(list::List),
    /// Cancel messages that have not been begun
    #[command(after_help = cancel::HELP)]
    Cancel(cancel::Cancel),
    /// Say where one message stands and why, without its history
    #[command(after_help = show::WHY_HELP)]
    Why(Why),
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When there is no such message, or the database refuses.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.action {
            Action::Show(show) => show.run(context).await,
            Action::List(list) => list.run(context).await,
            Action::Cancel(cancel) => cancel.run(context).await,
            Action::Why(why) => why.run(context).await,
        }
    }
}
