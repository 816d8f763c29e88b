//! `run`: works until it is told to stop.
//!
//! The first SIGTERM, SIGINT or SIGHUP (a terminal that is closed) ends it in order: nothing new is begun, what is out gets its
//! answer, every answer is written, the senders are given back. A second one ends it at once; what is out is settled later, by
//! evidence.
//! Signals are listened for before anything is started, so none that comes early is lost. A SIGHUP that whoever starts us ignores (nohup)
//! is not listened for: it stays ignored.
//!
//! A part that breaks off ends it too, with 1: what is out gets its answer, the senders go to other workers, and whatever watches
//! over the process starts it anew.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{debug, error, info, warn};

use super::context::unreachable;
use super::failure::Problem;
use super::{Context, default_sender};
use crate::service::{self, Role, Service, ServiceError};
use crate::store::{Store, StoreError};

/// Send what is due, receive webhooks and answer operators, until stopped
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// What this process does
    #[arg(
        long,
        value_name = "ROLES",
        value_delimiter = ',',
        default_value = "worker,webhook,admin"
    )]
    roles: Vec<RoleName>,
    /// Do not bring the database to the schema of this version; start only if it has it
    #[arg(long)]
    no_migrate: bool,
    /// End in order, with 0, as soon as nothing is due any more that may leave
    #[arg(long)]
    drain: bool,
}

const EXAMPLES: &str = "SIGTERM, ctrl-c or the end of the terminal ends it in order: what is out gets its answer, then it exits with 0. A second \
signal ends it at once, with 1. Any number of processes may run on one database; they share the senders.

Examples:
  wa-outbox run
  wa-outbox run --roles worker
  wa-outbox run --drain
  wa-outbox run --roles webhook,admin --no-migrate";

const NO_SENDER: &str = "Nothing is due: there is no sender. Add one: wa-outbox sender add PHONE_NUMBER_ID --credential env:NAME";

/// A role as it is written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RoleName {
    /// Sends, and settles what is uncertain
    Worker,
    /// Receives webhooks and applies them
    Webhook,
    /// Answers operators
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Worker => Self::Worker,
            RoleName::Webhook => Self::Webhook,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl Options {
    /// Runs until a signal says stop, and stops in order.
    ///
    /// # Errors
    /// When it cannot start, or when something was still out after the time that an orderly end may take.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.drain && !self.roles.contains(&RoleName::Worker) {
            let what = "--drain ends a process that sends, and this one does not";
            let fix = "add worker to --roles, or leave --drain out";
            return Err(Problem::usage(what, fix).into());
        }
        context.config_with_traces()?;
        let mut signals = Signals::listen().context("could not listen for signals")?;
        open_as_many_files_as_allowed();
        info!("Starting: {}", self.roles_in_words());
        let store = tokio::select! {
            ready = self.database(context) => ready?,
            name = signals.next() => {
                info!("Stopped by {name} before anything was started");
                return Ok(());
            }
        };
        if self.drain && store.senders().await?.is_empty() {
            // It would wait to be given one.
            warn!("{NO_SENDER}");
            return Ok(());
        }
        let roles: BTreeSet<Role> = self.roles.iter().copied().map(Role::from).collect();
        let service = Service::start(store, context.config()?, context.env(), &roles).await?;
        info!("Running: {}", self.roles_in_words());

        let (why, broken) = tokio::select! {
            name = signals.next() => (name, None),
            () = service.drained(), if self.drain => ("--drain, for nothing is due", None),
            part = service.broken() => ("a part that broke off", Some(part)),
        };
        info!("Stopping by {why}: nothing new is begun; a second signal ends it at once");
        let clean = tokio::select! {
            clean = service.stop() => clean,
            name = signals.next() => end_at_once(name),
        };
        if let Some(part) = broken {
            bail!(
                "the {part} broke off; start it again, and report what it said on standard error"
            );
        }
        if !clean {
            bail!(
                "some requests had no answer in time, or one that could not be written; the next worker takes their messages for uncertain"
            );
        }
        info!("Stopped; every answer is written");
        Ok(())
    }

    /// The database, with every migration of this version and the sender that the settings name.
    async fn database(&self, context: &Context) -> anyhow::Result<Store> {
        let config = context.config()?;
        let store = service::connect(config, context.env()).await;
        let store = store.map_err(|error| match error {
            ServiceError::Store(error) => unreachable(error).into(),
            other => anyhow::Error::from(other),
        })?;
        store.must_keep_text().await?;
        let schema = store.schema().await?;
        match schema.check() {
            // Asked first, because a role that may work but not migrate need not migrate what is current.
            Ok(()) => {}
            Err(missing @ StoreError::NotMigrated { .. }) if !self.no_migrate => {
                migrate(&store, missing).await?;
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(newer) = schema.newer_in_words() {
            warn!("{newer}: it works on; bring this process up to date, too");
        }
        default_sender(config, &store)
            .await
            .context("could not set up the sender that the settings name")?;
        Ok(store)
    }

    fn roles_in_words(&self) -> String {
        let names: Vec<&str> = [
            (RoleName::Worker, "worker"),
            (RoleName::Webhook, "webhook"),
            (RoleName::Admin, "admin"),
        ]
        .into_iter()
        .filter_map(|(role, name)| self.roles.contains(&role).then_some(name))
        .collect();
        names.join(", ")
    }
}

/// Applies what is missing. Who may work but not migrate is told what is missing, and who may.
async fn migrate(store: &Store, missing: StoreError) -> anyhow::Result<()> {
    match store.migrate().await {
        Err(error) if error.is_missing_right() => {
            let fix = "run wa-outbox migrate once, as the owner of the schema wa";
            Err(
                Problem::failed("this role may not migrate the database", fix)
                    .because(missing)
                    .into(),
            )
        }
        done => Ok(done?),
    }
}

/// Each request that is out and each connection that comes in is an open file, and a shell allows 1,024 unless it is asked.
fn open_as_many_files_as_allowed() {
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: allowed.maximum,
        ..allowed
    };
    if raised != allowed
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        debug!("The limit of open files stays as it is: {error}");
    }
}

/// Somebody does not want to wait. The runtime is not shut down: it would wait a moment for what is still running.
fn end_at_once(name: &str) -> ! {
    error!(
        "Ended at once by a second signal ({name}): requests that are out lose their answers; the next worker takes their messages for uncertain"
    );
    std::process::exit(1)
}

/// The signals that say stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None where it is ignored.
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let hangup = (!ignores(SignalKind::hangup())).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: hangup.transpose()?,
        })
    }

    /// Waits for the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            Some(()) = next_of(self.hangup.as_mut()) => "SIGHUP",
        }
    }
}

async fn next_of(signal: Option<&mut Signal>) -> Option<()> {
    signal?.recv().await
}

/// Whether this process ignores a signal, as far as the system says; to be asked before it is listened for.
fn ignores(signal: SignalKind) -> bool {
    // Only Linux tells it by a file. Elsewhere the system would have to be asked in unsafe code.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal.as_raw_value() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        Line::try_parse_from(["run"].iter().chain(arguments)).map(|line| line.options)
    }

    #[test]
    fn a_process_does_everything_unless_it_is_told_what() {
        let all = options(&[]).expect("options");
        assert_eq!(all.roles_in_words(), "worker, webhook, admin");
        assert!(!all.no_migrate);

        let some = options(&["--roles", "admin,webhook", "--no-migrate"]).expect("options");
        assert_eq!(some.roles_in_words(), "webhook, admin");
        assert!(some.no_migrate);
    }

    #[test]
    fn a_role_that_does_not_exist_is_refused_with_those_that_do() {
        let refusal = options(&["--roles", "sender"])
            .expect_err("unknown")
            .to_string();
        assert!(refusal.contains("worker, webhook, admin"), "{refusal}");
    }
}
