//! Shows what happens: from the first steps to the last message, and to those that a person writes afterwards.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::act::{self, Board};
use super::closing;
use super::place::Place;
use super::screen::{Row, Screen};
use super::script::{FIRST, REFUSED, SILENT, as_written};
use super::stage::{RATE, SENDER, Stage};
use super::standing::{self, Seen};
use crate::cli::failure::Problem;
use crate::cli::text::wrapped;
use crate::domain::mask::Eyes;
use crate::store::Store;

/// Between two looks at the messages.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// So many looks in a row must find nothing open.
const QUIET_LOOKS: u32 = 2;
/// By then all has settled, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages that are followed: the newest.
const FOLLOWED: i64 = 200;

/// How the watching ended.
enum Ending {
    /// All messages have settled.
    Settled,
    /// By a person, before that.
    Interrupted,
}

/// A show on a stage.
pub(super) struct Show<'a> {
    place: &'a Place,
    store: &'a Store,
    stage: &'a Stage,
    screen: &'a mut Screen,
    interrupted: &'a CancellationToken,
    board: Board,
    started: Instant,
}

impl<'a> Show<'a> {
    /// A show that has not begun.
    pub(super) fn new(
        place: &'a Place,
        store: &'a Store,
        stage: &'a Stage,
        screen: &'a mut Screen,
        interrupted: &'a CancellationToken,
    ) -> Self {
        Self {
            place,
            store,
            stage,
            screen,
            interrupted,
            board: Board::default(),
            started: Instant::now(),
        }
    }

    /// Runs until all has settled, or a person has seen enough; `keep`: goes on until then.
    ///
    /// # Errors
    /// When not all settles in time, or the ledger does not agree with the database.
    pub(super) async fn run(mut self, keep: bool) -> anyhow::Result<()> {
        self.introduce().await?;
        self.started = Instant::now();
        let watched = self.watch().await;
        // What was seen last stays on the screen, above what is said of it.
        let seen = self.look().await?;
        let elapsed = self.started.elapsed();
        self.screen.leave(&rows(&seen, &self.board), elapsed)?;
        if let Ending::Interrupted = watched? {
            let told = "\nIt was interrupted before all messages had settled. Stopping …";
            self.screen.say(told)?;
            return Ok(());
        }
        let ledger = self.stage.simulator.ledger();
        let witnessed = closing::compare(&seen, ledger, self.store, &self.board).await?;
        let seconds = elapsed.as_secs_f64();
        let summary = closing::summary(&seen, &witnessed, &self.board, seconds, self.screen);
        self.screen.say(summary.trim_end())?;
        if keep {
            self.go_on().await?;
        }
        self.screen
            .say(closing::next_steps(self.screen).trim_end())?;
        Ok(())
    }

    async fn introduce(&mut self) -> anyhow::Result<()> {
        let simulator = self.stage.simulator.base_url();
        self.screen
            .step(&format!("a WhatsApp to practise on, at {simulator}"))?;
        let address = |address: Option<std::net::SocketAddr>| {
            address.map_or_else(
                || "nowhere".to_owned(),
                |address| format!("http://{address}"),
            )
        };
        self.screen.step(&format!(
            "worker for number {SENDER}, slowed to {RATE} messages a second"
        ))?;
        let webhooks = address(self.stage.webhooks());
        self.screen
            .step(&format!("webhook receiver at {webhooks}/webhook"))?;
        let admin = address(self.stage.admin());
        self.screen
            .step(&format!("operators' listener at {admin}"))?;

        let title = self
            .screen
            .bold("An application writes a row, in a transaction of its own:");
        self.screen
            .say(&format!("\n{title}\n\n{}", indented(as_written(FIRST.sql))))?;

        let refusal = act::write_what_is_refused(self.store).await?;
        let title = self
            .screen
            .bold("A row that cannot be meant is refused by the database itself:");
        self.screen
            .say(&format!("\n{title}\n\n{}", indented(REFUSED)))?;
        let columns = self.screen.columns();
        let mut said = wrapped("  ERROR:  ", "          ", &refusal.message, columns);
        if let Some(hint) = &refusal.hint {
            said.push_str(&wrapped("  HINT:   ", "          ", hint, columns));
        }
        self.screen.say(&said)?;
        Ok(())
    }

    /// Plays and watches until all has settled.
    async fn watch(&mut self) -> anyhow::Result<Ending> {
        let playing = act::play(self.stage, self.store, &self.board);
        tokio::pin!(playing);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut played, mut quiet_looks) = (false, 0);
        loop {
            tokio::select! {
                done = &mut playing, if !played => {
                    done?;
                    played = true;
                }
                () = self.interrupted.cancelled() => return Ok(Ending::Interrupted),
                _ = ticks.tick() => {
                    let seen = standing::look(self.store.pool(), FOLLOWED).await?;
                    let elapsed = self.started.elapsed();
                    let rows = rows(&seen, &self.board);
                    self.screen.show(&rows, elapsed, &self.board.remark())?;
                    let quiet = played && self.stage.is_quiet(self.store).await?;
                    quiet_looks = if quiet { quiet_looks + 1 } else { 0 };
                    if quiet_looks >= QUIET_LOOKS {
                        return Ok(Ending::Settled);
                    }
                    if elapsed > PATIENCE {
                        return Err(overdue(&seen, &self.place.folder().join(super::LOG_FILE)).into());
                    }
                }
            }
        }
    }

    /// Tells how to connect, and what becomes of what a person writes, until it is interrupted.
    async fn go_on(&mut self) -> anyhow::Result<()> {
        let title = self
            .screen
            .bold("It goes on: write rows of your own, until ctrl-c");
        let mut told = format!("\n{title}\n\n  {}\n", self.place.psql_line());
        told.push_str(&format!(
            "\n  INSERT INTO wa.outbox (recipient, payload)\n  VALUES ('+16505550142', '{}');\n",
            r#"{"type":"text","text":{"body":"Hello"}}"#
        ));
        if let Some(url) = self.place.tcp_url() {
            told.push_str(&format!(
                "\nIn another language, or with the other commands of this program:\n
  export DATABASE_URL='{url}'\n  wa-outbox message show {}\n",
                self.board.find(SILENT.what).unwrap_or(1)
            ));
        }
        self.screen.say(&told)?;
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.interrupted.cancelled() => return Ok(()),
                _ = ticks.tick() => {
                    let seen = self.look().await?;
                    let rows = rows(&seen, &self.board);
                    self.screen.show(&rows, self.started.elapsed(), "")?;
                }
            }
        }
    }

    async fn look(&self) -> sqlx::Result<Vec<Seen>> {
        standing::look(self.store.pool(), FOLLOWED).await
    }
}

fn rows(seen: &[Seen], board: &Board) -> Vec<Row> {
    // Others may look at this screen.
    let eyes = Eyes::CLOSED;
    seen.iter()
        .map(|message| Row {
            id: message.id,
            what: board
                .called(message.id)
                .unwrap_or_else(|| message.kind.clone()),
            to: eyes.recipient(&message.recipient).into_owned(),
            standing: message.standing(),
            word: message.word().to_owned(),
            is_open: message.is_open(),
            is_notable: message.is_notable(),
        })
        .collect()
}

/// What has not settled, for a person to look into.
fn overdue(seen: &[Seen], log: &Path) -> Problem {
    let open: Vec<String> = seen
        .iter()
        .filter(|message| message.is_open())
        .map(|message| format!("#{} {}", message.id, message.standing().words))
        .collect();
    let what = match open.is_empty() {
        true => "news of messages is still on its way".to_owned(),
        false => format!("{} messages are open: {}", open.len(), open.join("; ")),
    };
    Problem::failed(
        format!(
            "not everything settled within {} s: {what}",
            PATIENCE.as_secs()
        ),
        format!("look into what the service said: {}", log.display()),
    )
}

fn indented(sql: &str) -> String {
    let lines: Vec<String> = sql.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n") + ";"
}
