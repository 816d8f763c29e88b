//! `media`: files that messages show, uploaded ahead of them.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::failure::Problem;
use super::sender::find;
use super::table::{Table, numbers, words};
use super::{Context, output};
use crate::dispatch::media::{MediaError, upload};
use crate::domain::id::SenderId;
use crate::provider::{Endpoint, Provider};
use crate::service::http_settings;
use crate::standing::time::moment;
use crate::store::Store;
use crate::store::sender::Sender;

/// Upload files that messages show, and list what the provider keeps
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wa-outbox media upload catalog.pdf
  wa-outbox send --to +16505551234 --payload - <<'END'
  {\"type\":\"document\",\"document\":{\"id\":\"1013859600285441\",\"filename\":\"catalog.pdf\"}}
  END

A worker whose settings name media.folder uploads by itself what messages name: {\"id\":\"file:catalog.pdf\"}.
  wa-outbox media list")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Upload files and print the id of each; what was uploaded within 28 days is not uploaded again
    #[command(after_help = "Example:
  wa-outbox media upload header.jpg catalog.pdf --sender 106540352242922")]
    Upload(Upload),
    /// List the files that the provider keeps
    #[command(after_help = "Example:
  wa-outbox media list --json")]
    List(List),
}

#[derive(Debug, clap::Args)]
struct Upload {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Which sender's messages will show them [default: the only sender, or the default one]
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only of this sender
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A file and its id, as scripts read it.
#[derive(Serialize)]
struct UploadedJson<'a> {
    file: &'a str,
    media_id: &'a str,
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When a file cannot be uploaded, or the database does not answer.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.action {
            Action::Upload(upload) => upload.run(context).await,
            Action::List(list) => list.run(context).await,
        }
    }
}

impl Upload {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let sender = sender_of(store, self.sender).await?;
        let id = sender.id();
        let endpoint = Endpoint::of(&id, &sender.address()).map_err(|error| {
            let fix = format!("change it: wa-outbox sender set {id} …");
            Problem::failed(
                format!("sender {id} cannot be reached: {}", error.in_words()),
                fix,
            )
        })?;
        let provider = Provider::new(&http_settings(context.config()?), context.clock().clone())?;
        for path in &self.files {
            let file = path.display().to_string();
            let media_id = upload(store, &provider, &id, path, &endpoint).await;
            let media_id = media_id.map_err(|error| not_uploaded(&file, error))?;
            if self.json {
                output::print_json(&UploadedJson {
                    file: &file,
                    media_id: &media_id,
                })?;
            } else {
                output::print(&media_id)?;
            }
        }
        Ok(())
    }
}

/// The sender named, or the one that a row without a sender goes to.
async fn sender_of(store: &Store, named: Option<String>) -> anyhow::Result<Sender> {
    if let Some(named) = named {
        return Ok(find(store, &SenderId::from(named)).await?.sender);
    }
    let mut senders = store.senders().await?;
    let place = match senders.len() {
        1 => Some(0),
        _ => senders.iter().position(|sender| sender.is_default),
    };
    let place = place.ok_or_else(|| {
        Problem::usage(
            "no sender is the default",
            "name one: --sender ID; see: wa-outbox sender list",
        )
    })?;
    Ok(senders.swap_remove(place))
}

fn not_uploaded(file: &str, error: MediaError) -> anyhow::Error {
    let fix = match &error {
        MediaError::Unusable(_) => {
            "see what WhatsApp takes: https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media"
        }
        MediaError::NotNow { .. } => "try again; if it stays so, see: wa-outbox doctor",
        MediaError::Store(_) => return error.into(),
    };
    Problem::failed(format!("could not upload {file}: {error}"), fix).into()
}

impl List {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let media = store
            .media(self.sender.map(SenderId::from).as_ref())
            .await?;
        if self.json {
            return output::print_json(&media);
        }
        if media.is_empty() {
            return output::print("No file is kept. Upload one: wa-outbox media upload FILE");
        }
        let now = context.clock().now();
        let mut table = Table::new([
            words("ID"),
            words("SENDER"),
            words("TYPE"),
            numbers("BYTES"),
            words("UPLOADED"),
            words("KEPT UNTIL"),
        ]);
        for medium in media {
            table.row([
                medium.media_id,
                medium.sender,
                medium.media_type,
                medium.bytes.to_string(),
                moment(medium.uploaded_at, now),
                moment(medium.expires_at, now),
            ]);
        }
        output::print(&table.render(context.colours()))
    }
}
