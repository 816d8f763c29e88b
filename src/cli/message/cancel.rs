//! `message cancel`: takes messages back that have not been begun.

use serde::Serialize;

use crate::cli::failure::{Problem, say};
use crate::cli::text::message_id;
use crate::cli::{Context, output};
use crate::domain::id::MessageId;

pub(super) const HELP: &str =
    "What has been begun may have reached WhatsApp and is not cancelled. Each message is tried; \
the exit code is 1 if one could not be cancelled.

With --json an array of objects: id, cancelled, and reason where it was not.

Example:
  wa-outbox message cancel 4711 4712";

/// Which messages.
#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    /// The messages
    #[arg(value_name = "ID", required = true, value_parser = message_id)]
    ids: Vec<i64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Cancelled {
    id: i64,
    cancelled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Cancel {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let mut done = Vec::new();
        let mut refusals = Vec::new();
        for id in self.ids {
            let reason = match store.cancel(MessageId(id)).await {
                Ok(()) => None,
                Err(error) => {
                    // Only what was refused concerns this message alone; without a database the next one fails too.
                    let Some((reason, _)) = error.refusal() else {
                        return Err(error.into());
                    };
                    let what = "could not cancel the message";
                    let fix = "see the latest ones: wa-outbox message list";
                    refusals.push(Problem::failed(what, fix).because(error).into());
                    Some(reason)
                }
            };
            if !self.json && reason.is_none() {
                output::print(&format!("Message {id} is cancelled."))?;
            }
            done.push(Cancelled {
                id,
                cancelled: reason.is_none(),
                reason,
            });
        }
        if self.json {
            output::print_json(&done)?;
        }
        // One refusal is told as any other failure; of several, each in its place and then how many they are.
        if refusals.len() <= 1 {
            return refusals.pop().map_or(Ok(()), Err);
        }
        if !self.json {
            refusals.iter().for_each(say);
        }
        let what = format!(
            "{} of {} messages could not be cancelled",
            refusals.len(),
            done.len()
        );
        Err(Problem::failed(what, "see: wa-outbox message show ID").into())
    }
}
