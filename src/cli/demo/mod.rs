//! `wa-outbox demo`: the whole of it on one machine, in one command.
//!
//! It starts a PostgreSQL server of our own, a WhatsApp of our own, the worker and the webhook receiver; writes a few dozen
//! messages by plain SQL, lets some of them meet what goes wrong in life, and shows what happens to each until all have
//! settled. Nothing leaves the machine, and nothing is needed but the program: no account, no server, no settings.
//!
//! It reads and writes as an application does, in plain SQL against the tables and the view that an application knows.
//! However it ends, it stops what it started.

mod act;
mod closing;
mod place;
mod screen;
mod script;
mod show;
mod stage;
mod standing;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::embedded::demo_folder;
use place::Place;
use screen::Screen;
use show::Show;
use stage::Stage;

/// How long a start may go on after it was interrupted.
const START_ENDS_WITHIN: Duration = Duration::from_secs(10);
/// What the service logs, kept out of the picture.
const LOG_FILE: &str = "demo.log";
/// The exit code of a program that was interrupted, as shells know it: 128 and SIGINT.
const INTERRUPTED: i32 = 130;

/// Show all of it on this machine: a database, a WhatsApp to practise on, and a few dozen messages
///
/// Needs no account, no server and no settings, and sends nothing to anybody. Each run has a new database on a server of
/// its own, whatever DATABASE_URL says; those of earlier runs are dropped.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Go on afterwards, for INSERTs of your own, until ctrl-c; shows how to connect
    #[arg(long)]
    keep: bool,

    /// Delete the database server and its data at the end
    #[arg(long)]
    remove: bool,

    /// Where the database server keeps its data [else: /var/lib/wa-outbox-demo for root, and
    /// ~/.local/state/wa-outbox/demo for others]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  wa-outbox demo             watch it, for about 20 seconds
  wa-outbox demo --keep      then write rows of your own and see what becomes of them
  wa-outbox demo --remove    and leave nothing behind";

impl Options {
    /// Runs the demo.
    ///
    /// # Errors
    /// When something could not be started, did not settle within a minute, or the ledger does not agree.
    pub async fn run(self) -> anyhow::Result<()> {
        let interrupted = interruption().context("could not listen for signals")?;
        let mut screen = Screen::of_process();
        let folder = match &self.folder {
            Some(folder) => std::path::absolute(folder).context("could not find the folder")?,
            None => demo_folder(),
        };
        let title = screen.bold("wa-outbox demo");
        screen.say(&format!(
            "{title}: all on this machine, even WhatsApp. Nobody gets a message.\n"
        ))?;
        let Some(place) = open_place(&folder, self.keep, &mut screen, &interrupted).await? else {
            return Ok(());
        };
        log_to(&folder.join(LOG_FILE));
        let ended = self.perform(&place, &mut screen, &interrupted).await;
        // What went wrong is to be looked into: then nothing is deleted.
        let remove = self.remove && ended.is_ok();
        let closed = close(place, remove, &mut screen).await;
        ended.and(closed)
    }

    async fn perform(
        &self,
        place: &Place,
        screen: &mut Screen,
        interrupted: &CancellationToken,
    ) -> anyhow::Result<()> {
        let (store, migrations) = place.store().await?;
        screen.step(&format!(
            "database {}, with {migrations} migrations: the schema wa",
            place.database
        ))?;
        let stage = Stage::open(&store, &place.url(), place.folder()).await?;
        let show = Show::new(place, &store, &stage, screen, interrupted);
        let ended = show.run(self.keep).await;
        stage.close().await;
        store.close().await;
        ended
    }
}

async fn close(place: Place, remove: bool, screen: &mut Screen) -> anyhow::Result<()> {
    let folder = place.folder().to_owned();
    if remove {
        let _ = std::fs::remove_file(folder.join(LOG_FILE));
        stage::remove_token(&folder);
    }
    place.close(remove).await?;
    let told = match remove {
        true => removed_in_words(&folder),
        false => format!(
            "PostgreSQL was stopped. Its data is in {} (wa-outbox demo --remove deletes it).",
            folder.display()
        ),
    };
    screen.say(&screen.dim(&format!("\n{told}")))?;
    Ok(())
}

/// What became of the folder: what somebody else has put into it is not ours to delete.
fn removed_in_words(folder: &Path) -> String {
    let shown = folder.display();
    match folder.exists() {
        false => format!("PostgreSQL was stopped, and {shown} is deleted."),
        true => format!(
            "PostgreSQL was stopped, and what the demo has made is deleted. {shown} stays, for it holds something else."
        ),
    }
}

/// Starts the database; none if it was interrupted meanwhile.
async fn open_place(
    folder: &Path,
    with_tcp: bool,
    screen: &mut Screen,
    interrupted: &CancellationToken,
) -> anyhow::Result<Option<Place>> {
    screen.say(&format!(
        "  … PostgreSQL: a server of our own, in {}",
        folder.display()
    ))?;
    let opening = Place::open(folder, with_tcp);
    tokio::pin!(opening);
    let opened = tokio::select! {
        opened = &mut opening => opened,
        () = interrupted.cancelled() => {
            match tokio::time::timeout(START_ENDS_WITHIN, opening).await {
                // It was told to end, so what it could not start does not matter.
                Ok(Err(_)) => {}
                Ok(Ok(place)) => place.close(false).await?,
                // Only a download takes that long, and it leaves nothing half made.
                Err(_) => std::process::exit(INTERRUPTED),
            }
            screen.say("Interrupted.")?;
            return Ok(None);
        }
    };
    let place = opened?;
    screen.step(&format!("PostgreSQL {} answers", place.version()))?;
    Ok(Some(place))
}

/// Cancelled by ctrl-c, by the SIGTERM that a container is stopped with, and by the end of the terminal.
fn interruption() -> std::io::Result<CancellationToken> {
    let mut signals = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    let interrupted = CancellationToken::new();
    let cancel = interrupted.clone();
    tokio::spawn(async move {
        let [interrupt, terminate, hangup] = &mut signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        cancel.cancel();
    });
    Ok(interrupted)
}

/// Logs into a file: on the screen it would be drawn over, and draw over the rest.
fn log_to(path: &Path) {
    // A demo without a log is still a demo, and a process that logs elsewhere already goes on doing so.
    if let Ok(file) = File::create(path) {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(Arc::new(file))
            .finish();
        let _ = tracing::subscriber::set_global_default(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_stays_is_not_said_to_be_deleted() {
        let above = std::env::temp_dir().join(format!("wa-outbox-kept-{}", std::process::id()));
        std::fs::create_dir(&above).expect("a folder");
        let told = removed_in_words(&above);
        assert!(
            told.contains("stays") && !told.ends_with("is deleted."),
            "{told}"
        );
        std::fs::remove_dir(&above).expect("removed");
        assert!(removed_in_words(&above).ends_with("is deleted."));
    }
}
