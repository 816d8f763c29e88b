//! `top`: how all senders go at this moment, looked at again each second.
//!
//! A look reads what the owners of the senders say, and counts from the front of indexes to a bound, so it costs the same
//! whatever is queued. It never takes more than a tenth of the time: where a look is slow, the next one comes later.

mod json;
mod picture;

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::terminal::{Key, Keys, Terminal};
use super::{Context, duration, output};
use crate::domain::mask::Eyes;
use crate::standing::veil::Veil;
use crate::store::summary::{Overview, SenderStanding};
use crate::store::{Store, StoreError};
use json::TopJson;
use picture::{View, table};

const HELP: &str = "Keys: q quit, s sort by the next column, / filter by what a line says (Enter keeps it, Esc ends it), p pause. \
What is no terminal gets one table.

With --json one object: at, workers, uncertain, needs_person, oldest_delivery_at, last_status_at, is_listening, and senders: \
sender, rate_per_second, worker, held_reason, problem, and standing as in `sender show --json`. Counts go to 10,001.

Examples:
  wa-outbox top
  wa-outbox top --once
  wa-outbox top --json | jq '.senders[] | {sender, due: .standing.due}'";

/// A look may take so much of the time that passes between two of them.
const SHARE_OF_LOOKING: u32 = 10;
/// The alternate screen, so that what stood on the terminal comes back.
const ENTER: &str = "\x1b[?1049h\x1b[H";
const LEAVE: &str = "\x1b[?1049l";

/// Watch how all senders go, live
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// Print one table and end
    #[arg(long)]
    once: bool,
    /// Look so often
    #[arg(long, value_name = "SPAN", value_parser = duration::parse_seconds, default_value = "1s")]
    every: Duration,
    /// Print one JSON object and end
    #[arg(long)]
    json: bool,
}

/// What one look has found.
pub(super) struct Look {
    overview: Overview,
    senders: Vec<SenderStanding>,
}

impl Look {
    async fn take(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            overview: store.overview().await?,
            senders: store.sender_standings(None).await?.veiled(Eyes::CLOSED),
        })
    }
}

impl Options {
    /// Shows it.
    ///
    /// # Errors
    /// When the database cannot be read at the first look.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let look = Look::take(store).await?;
        if self.json {
            return output::print_json(&TopJson::of(&look));
        }
        let terminal = Terminal::of_process();
        let keys = if self.once || !terminal.is_one() {
            None
        } else {
            Keys::of_process()
        };
        match keys {
            Some(keys) => watch(store, look, self.every, terminal, keys).await,
            None => output::print(&table(&look, context.colours())),
        }
    }
}

/// Looks and draws until a key or a signal ends it.
async fn watch(
    store: &Store,
    look: Look,
    every: Duration,
    mut terminal: Terminal,
    mut keys: Keys,
) -> anyhow::Result<()> {
    let (mut ended, mut resized) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::window_change())?,
    );
    terminal.write(ENTER)?;
    let mut view = View::new(look);
    let mut next = tokio::time::Instant::now() + every;
    loop {
        terminal.look_at_its_size();
        terminal.draw(&view.lines(&terminal))?;
        tokio::select! {
            key = keys.next() => match key {
                None | Some(Key::Interrupt) => break,
                Some(key) if !view.takes(key) => break,
                Some(_) => {}
            },
            _ = ended.recv() => break,
            _ = resized.recv() => {}
            () = tokio::time::sleep_until(next) => {
                let begun = Instant::now();
                if !view.is_paused() {
                    view.saw(Look::take(store).await);
                }
                next = tokio::time::Instant::now() + every.max(begun.elapsed() * SHARE_OF_LOOKING);
            }
        }
    }
    terminal.write(LEAVE)?;
    Ok(terminal.leave()?)
}
