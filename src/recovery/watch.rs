//! Sees that the database is the one that this process knows.
//!
//! The look is one statement, so no transaction lies between what is seen and what is said. Of many processes that notice at the same
//! time one begins the new era; the others learn of it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::domain::id::Era;
use crate::store::era::{Amiss, Beat, IdReset, NewEra};
use crate::store::{Store, StoreError};

/// However often something is met that cannot be: not more looks than this make.
const NOT_SOONER: Duration = Duration::from_millis(100);

/// A database on which nobody has worked for longer may have been restored meanwhile.
const LONG_SILENT: Duration = Duration::from_secs(10 * 60);

/// What a person does about it, for the log.
const WAY_OUT: &str = "see what would become of which messages with: wa-outbox recover";

/// Watches over the database of one process.
pub struct Watch {
    store: Store,
    name: String,
    every: Duration,
}

impl Watch {
    /// `every`: between two beats. `name`: of this process, for people.
    pub fn new(store: Store, name: String, every: Duration) -> Self {
        Self { store, name, every }
    }

    /// Beats until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
                () = self.store.suspected() => {}
            }
            if let Err(error) = self.look().await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not see whether the database is the one it was; trying again"
                );
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(NOT_SOONER.min(self.every)) => {}
            }
        }
    }

    /// One look: learns the era, or begins a new one, and says so. Afterwards the process knows which database it is on.
    pub async fn look(&self) -> Result<(), StoreError> {
        if let Some(amiss) = self.store.take_report() {
            self.begin_era(&amiss).await?;
        }
        let before = self.store.last_id_reset();
        self.see_which_database().await?;
        if let Some(before) = before.filter(|before| self.store.last_id_reset() > Some(*before)) {
            let resets = self.store.id_resets(before).await?;
            resets.iter().for_each(say_reset);
        }
        Ok(())
    }

    async fn see_which_database(&self) -> Result<(), StoreError> {
        loop {
            match self.store.beat().await? {
                Beat::Same => return Ok(()),
                Beat::Learned {
                    era,
                    is_settled,
                    unreadable,
                    silent,
                } => {
                    say_learned(era, is_settled);
                    say_what_is_not_noticed(unreadable.as_deref(), silent);
                    return Ok(());
                }
                // If somebody else was faster, the next beat learns what it is now.
                Beat::Amiss(amiss) => self.begin_era(&amiss).await?,
            }
        }
    }

    async fn begin_era(&self, amiss: &Amiss) -> Result<(), StoreError> {
        let begun = self.store.begin_era(amiss, &self.name, None).await?;
        if let Some(era) = begun {
            say_begun(amiss, &era);
        }
        Ok(())
    }
}

fn say_begun(amiss: &Amiss, era: &NewEra) {
    let NewEra {
        complete_until,
        is_exact,
        senders,
        ..
    } = era;
    let until = match complete_until {
        Some(until) if *is_exact => format!("It is complete up to {until}"),
        Some(until) => format!("As far as it tells, it is complete up to about {until}"),
        None => "It is not known how far back it is".to_owned(),
    };
    error!(
        cause = amiss.cause,
        "THE DATABASE WENT BACK: {}. {until}; messages that were sent later are queued in it again, or are missing. {senders} senders are \
         held, and nothing leaves until a person has settled it; {WAY_OUT}",
        amiss.what
    );
}

fn say_reset(reset: &IdReset) {
    let IdReset {
        stood_at,
        set_to,
        doubled,
        ..
    } = reset;
    error!(
        stood_at,
        set_to,
        doubled,
        "THE SEQUENCE OF MESSAGE IDS WENT BACK: it stood at {stood_at}, and larger ids had been given; it was set to {set_to}. {doubled} of \
         the last messages up to {stood_at} have the id of another; see the runbook, \"Ids that were given twice\""
    );
}

/// A process that was just started remembers nothing, so an earlier copy of the files looks to it like a night without a worker.
fn say_what_is_not_noticed(unreadable: Option<&str>, silent: Option<Duration>) {
    if let Some(why) = unreadable {
        warn!(
            "This server does not tell all that a restore or failover is noticed by ({why}): after one, run wa-outbox recover before any \
             worker starts"
        );
    }
    if let Some(silent) = silent.filter(|silent| *silent > LONG_SILENT) {
        info!(
            "Nobody has worked on this database for {} min; if an earlier copy of its files was put in place meanwhile, stop now, and run: \
             wa-outbox recover --since TIME",
            silent.as_secs() / 60
        );
    }
}

fn say_learned(era: Era, is_settled: bool) {
    if !is_settled {
        error!(
            "The database went back, and it is not settled yet what it has forgotten: senders are held; {WAY_OUT}"
        );
    } else if era != Era::FIRST {
        info!(era = era.0, "The database is in era {}", era.0);
    }
}
