//! Plays the demo: writes the messages by plain SQL, and lets happen to them what happens in life.
//!
//! It waits for what it needs (nothing on the wire, a message that has expired) and not for time to pass, so a slow machine
//! sees the same play.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context as _;

use super::script::{
    DURING_THE_OUTAGE, FIRST, ONE_TIME_CODE, REFUSED, REST, SILENT, Scene, TOMORROW, Trouble,
};
use super::stage::Stage;
use crate::simulator::Simulator;
use crate::store::Store;
use crate::store::connections::Connection;

/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Nothing is on the wire, and nothing is about to leave.
const NOTHING_LEAVES: &str = "select count(*) = 0 from wa.messages
where state in ('sending', 'waiting') or state = 'queued' and due_at <= now() + interval '2 seconds'";

/// Who is who, and what is going on: filled by the play, read by those who watch it.
#[derive(Debug, Default)]
pub(super) struct Board {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    called: BTreeMap<i64, String>,
    remark: String,
}

impl Board {
    /// What a message is called; none if it is not of the play.
    pub(super) fn called(&self, id: i64) -> Option<String> {
        self.told().called.get(&id).cloned()
    }

    /// The message that is called so.
    pub(super) fn find(&self, what: &str) -> Option<i64> {
        self.all(what).first().copied()
    }

    /// The messages that are called so, or so and a number.
    pub(super) fn all(&self, what: &str) -> Vec<i64> {
        let told = self.told();
        let called = told.called.iter();
        called
            .filter(|(_, name)| name.starts_with(what))
            .map(|(id, _)| *id)
            .collect()
    }

    /// How many messages the play has written.
    pub(super) fn written(&self) -> usize {
        self.told().called.len()
    }

    /// What is going on.
    pub(super) fn remark(&self) -> String {
        self.told().remark.clone()
    }

    fn call(&self, ids: &[i64], what: &str) {
        let mut told = self.told();
        for (place, id) in ids.iter().enumerate() {
            let name = match ids.len() {
                1 => what.to_owned(),
                several => format!("{what} {} of {several}", place + 1),
            };
            told.called.insert(*id, name);
        }
    }

    fn say(&self, remark: impl Into<String>) {
        self.told().remark = remark.into();
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("nobody panics with the board")
    }
}

/// What the database said to a row that cannot be meant.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Writes the row that cannot be meant, and gives what the database says to it.
pub(super) async fn write_what_is_refused(store: &Store) -> anyhow::Result<Refusal> {
    let refused = sqlx::raw_sql(REFUSED).execute(store.pool()).await;
    match refused {
        Err(sqlx::Error::Database(error)) => {
            let postgres = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
            Ok(Refusal {
                message: error.message().to_owned(),
                hint: postgres.and_then(|error| error.hint()).map(str::to_owned),
            })
        }
        Err(error) => Err(error).context("could not write into the outbox"),
        Ok(_) => anyhow::bail!("the database took a recipient without its country code"),
    }
}

/// Writes all messages; ends when the last has been written and WhatsApp can be reached again.
pub(super) async fn play(stage: &Stage, store: &Store, board: &Board) -> anyhow::Result<()> {
    let written = write_all(&stage.simulator, store, board).await?;
    board.say(format!(
        "{written} messages were written in one transaction; one of them was taken back."
    ));
    let tomorrow = board.find(TOMORROW.what).context("it was written")?;
    sqlx::query("select wa.cancel($1)")
        .bind(tomorrow)
        .execute(store.pool())
        .await
        .context("could not cancel a message")?;

    // What is on the wire when the connection goes would be in doubt, and that has a message of its own.
    until("nothing leaves for a moment", async || {
        sqlx::query_scalar(NOTHING_LEAVES)
            .fetch_one(store.pool())
            .await
    })
    .await?;
    outage(stage, store, board).await?;
    let silent = board.find(SILENT.what).context("it was written")?;
    board.say(format!(
        "WhatsApp is back. Message {silent} still has no answer; in a few seconds silence will count."
    ));
    Ok(())
}

async fn write_all(simulator: &Simulator, store: &Store, board: &Board) -> anyhow::Result<usize> {
    let doing = "could not write the messages";
    let mut transaction = store.pool().begin().await.context(doing)?;
    for scene in [&FIRST].into_iter().chain(REST) {
        write(&mut transaction, simulator, scene, board).await?;
    }
    transaction.commit().await.context(doing)?;
    Ok(board.written())
}

async fn outage(stage: &Stage, store: &Store, board: &Board) -> anyhow::Result<()> {
    stage.simulator.go_away().await;
    board.say(
        "WhatsApp cannot be reached: every connection is refused. Two more messages are written.",
    );
    let mut connection = store.pool().acquire().await?;
    for scene in DURING_THE_OUTAGE {
        write(&mut connection, &stage.simulator, scene, board).await?;
    }
    drop(connection);
    let code = board.find(ONE_TIME_CODE.what).context("it was written")?;
    until("the code has expired", async || {
        sqlx::query_scalar("select state = 'expired' from wa.messages where id = $1")
            .bind(code)
            .fetch_one(store.pool())
            .await
    })
    .await?;
    stage.simulator.come_back().await?;
    Ok(())
}

async fn write(
    connection: &mut Connection,
    simulator: &Simulator,
    scene: &Scene,
    board: &Board,
) -> anyhow::Result<()> {
    for trouble in scene.trouble {
        match *trouble {
            Trouble::Request(fault) => simulator.fault_next(scene.recipient, fault),
            Trouble::News(fault) => simulator.webhook_fault_next(scene.recipient, fault),
        }
    }
    let ids: Vec<i64> = sqlx::query_scalar(scene.sql)
        .fetch_all(connection)
        .await
        .with_context(|| format!("could not write: {}", scene.what))?;
    board.call(&ids, scene.what);
    Ok(())
}

async fn until(what: &str, is_so: impl AsyncFn() -> sqlx::Result<bool>) -> anyhow::Result<()> {
    let doing = || format!("could not see whether {what}");
    while !is_so().await.with_context(doing)? {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
