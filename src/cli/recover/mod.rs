//! `recover`: what a restored or promoted database has forgotten, and settling it by a person's word.
//!
//! Without `--yes` it looks and says. It never sends and never decides that something is to be sent again: what may have been sent is
//! put in doubt, and evidence or policy settles it as it settles every lost answer.

mod replay;
mod shown;

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgGroup;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::failure::Problem;
use super::rows::Progress;
use super::{Context, duration, output};
use crate::domain::id::{Era, MessageId};
use crate::domain::mask::Eyes;
use crate::recovery::settle;
use crate::recovery::watch::Watch;
use crate::service::uncertain_policy;
use crate::standing::time::moment;
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::audit::Deed;
use crate::store::era::Amiss;
use crate::store::recovery::{Recovery, RecoveryTerms};
use replay::Replay;
use shown::{Report, report_in_words};

/// See and settle what a restored or promoted database has forgotten
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, group = ArgGroup::new("deed").args(["yes", "nothing_lost"]))]
pub struct Options {
    /// The database is complete up to this time, such as 2026-03-01T12:00:00Z [default: as was found when it was noticed]
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "nothing_lost")]
    since: Option<OffsetDateTime>,
    /// The last moment at which the lost database can have sent something [default: now]
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "nothing_lost")]
    until: Option<OffsetDateTime>,
    /// Wait for evidence so much longer than usual, such as 2h
    #[arg(long, value_name = "SPAN", value_parser = duration::parse, conflicts_with = "nothing_lost")]
    wait: Option<Duration>,
    /// Leave to a person what stays silent, whatever its policy says
    #[arg(long, conflicts_with = "nothing_lost")]
    hold: bool,
    /// First apply webhooks that were kept elsewhere: files of JSON lines with body (or body_base64) and signature
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "nothing_lost")]
    replay: Vec<PathBuf>,
    /// With --replay: take lines without a signature, because you know where the files come from
    #[arg(long, requires = "replay")]
    unsigned: bool,
    /// Settle it: put in doubt what may have been sent
    #[arg(long, requires = "reason")]
    yes: bool,
    /// Nothing was lost: all senders go on at once, and what is queued is sent
    #[arg(long, requires = "reason")]
    nothing_lost: bool,
    /// Release the senders once it is settled
    #[arg(long)]
    release: bool,
    /// Why, or how you know, for those who read it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who you are [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const HELP: &str = "A database that was restored from a backup, or a standby that was promoted before it had everything, calls queued \
what was sent since. Workers notice, and hold every sender. Without --yes this command says what happened and what would become of \
which messages, and changes nothing.

With --yes each message that may have been sent becomes uncertain: a status webhook with our token settles it; what stays silent goes by \
its policy, sent again once (retry) or left to a person (hold). Statuses that were told to the lost database do not come again, so the \
more time was lost, the less silence means: think of --hold, --wait and --replay then. It can be broken off and run again.

A restore that no process could notice (an earlier copy of the files, and all processes started anew) is settled by --since, with the time \
of that copy.

With --json an object (with --release: released, an array); docs/json.md has its shape.

Examples:
  wa-outbox recover
  wa-outbox recover --nothing-lost --reason \"a synchronous standby took over\"
  wa-outbox recover --yes --hold --reason \"backup of 12:00 restored\"
  wa-outbox recover --release --reason \"settled\"
  wa-outbox recover --replay proxy.jsonl --yes --release --reason \"standby promoted\"";

fn time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        // As fine as the database keeps it, so that it is the same when it is read back.
        .map(|time| time.truncate_to_microsecond())
        .map_err(|_| "write a time with its offset: 2026-03-01T12:00:00Z".to_owned())
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When there is nothing to settle, a file cannot be used, or the database refuses.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        // Read before anything is done.
        let replay = Replay::read(&self.replay, self.unsigned, context)?;
        let store = context.store().await?;
        let by = match context.author(self.by.clone()) {
            // Who only looks need not say who he is.
            Err(_) if !(self.yes || self.nothing_lost || self.release) => "somebody".to_owned(),
            author => author?,
        };
        // Nobody may have noticed yet: then this does, as any process would.
        let name = format!("wa-outbox recover, by {by}");
        Watch::new(store.clone(), name, Duration::from_secs(1))
            .look()
            .await?;
        if self.nothing_lost {
            return self.nothing_lost(store, &by).await;
        }
        if !self.yes {
            if self.release {
                return self.release(store, &by).await;
            }
            return self.look(store, context).await;
        }
        let recovery = self.unsettled(store, &by).await?;
        let applied = replay.apply(store, context).await?;
        if !applied.is_empty() {
            say(self.json, &applied)?;
        }
        match &recovery {
            Some(recovery) => self.settle(store, context, recovery, &by).await?,
            None => say(
                self.json,
                "It was settled before; nothing more was put in doubt.",
            )?,
        }
        if self.release {
            return self.release(store, &by).await;
        }
        self.look(store, context).await
    }

    /// What is to be settled; where nobody has noticed anything, and a time is given, from now on. None: it is done.
    async fn unsettled(&self, store: &Store, by: &str) -> anyhow::Result<Option<Recovery>> {
        let recovery = standing(store).await?;
        self.must_be_possible(&recovery)?;
        if !recovery.is_settled() {
            let fix = "leave that out: it goes on as it was begun";
            self.must_be_as_begun(&recovery, fix)?;
            return Ok(Some(recovery));
        }
        let Some(since) = self.since else {
            return Err(Problem::failed(
                "there is nothing to settle: nobody has noticed that the database went back",
                "if it did, say to which time: --since TIME",
            )
            .into());
        };
        if recovery.complete_until == Some(since) {
            let fix = "to put more in doubt say --since a second later";
            self.must_be_as_begun(&recovery, fix)?;
            return Ok(None);
        }
        let amiss = Amiss {
            era: recovery.era(),
            cause: "operator".to_owned(),
            what: format!("it was restored, says {by}"),
        };
        store.begin_era(&amiss, by, Some(since)).await?;
        store.beat().await?;
        Ok(Some(standing(store).await?))
    }

    /// Refuses times by which nothing was lost: what is not in doubt then is sent again.
    fn must_be_possible(&self, recovery: &Recovery) -> Result<(), Problem> {
        if self.since.is_some_and(|since| since >= recovery.now) {
            let fix = "give the time of the backup or copy that is in place now";
            return Err(Problem::usage("--since lies ahead", fix));
        }
        let since = self.since.or(recovery.complete_until);
        match (since, self.until) {
            (Some(since), Some(until)) if until <= since => Err(Problem::usage(
                format!(
                    "--until is {}, and the database is complete up to {}: nothing would be in doubt, and what was sent in between is sent \
                     again",
                    moment(until, recovery.now),
                    moment(since, recovery.now)
                ),
                "give the last moment at which the lost database can have sent something, or leave --until out",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses other terms than it was begun with: those count.
    fn must_be_as_begun(&self, recovery: &Recovery, fix: &str) -> Result<(), Problem> {
        let Some(failed_at) = recovery.failed_at else {
            return Ok(());
        };
        let differ = [
            (
                "--since",
                self.since
                    .is_some_and(|it| Some(it) != recovery.complete_until),
            ),
            ("--until", self.until.is_some_and(|it| it != failed_at)),
            (
                "--wait",
                self.wait
                    .is_some_and(|it| it.as_secs_f64() != recovery.wait_s),
            ),
            ("--hold", self.hold && !recovery.keeps_silent),
        ];
        match differ.into_iter().find(|(_, differs)| *differs) {
            None => Ok(()),
            Some((option, _)) => Err(Problem::usage(
                format!(
                    "{option} comes too late: it has been begun to put messages in doubt without it, or with another"
                ),
                fix,
            )),
        }
    }

    fn terms(&self) -> RecoveryTerms {
        RecoveryTerms {
            since: self.since,
            until: self.until,
            wait: self.wait.unwrap_or_default(),
            keep: self.hold,
        }
    }

    fn why(&self) -> &str {
        self.reason.as_deref().unwrap_or("no reason was given")
    }

    async fn settle(
        &self,
        store: &Store,
        context: &Context,
        recovery: &Recovery,
        by: &str,
    ) -> anyhow::Result<()> {
        let deed = self.begin_deed(store, by, recovery.era()).await?;
        let all = u64::try_from(recovery.doubtful_ids).ok();
        let mut progress = Progress::new("put in doubt", all, context.clock().boot());
        let done = |doubted: i64, reached: i64| {
            let (doubted, reached) = (doubted.unsigned_abs(), reached.unsigned_abs());
            progress.show(doubted, reached, 0, context.clock().boot());
        };
        let terms = self.terms();
        let settled = settle::settle(store, recovery.era(), &terms, (by, self.why()), done).await;
        progress.clear();
        let outcome = match &settled {
            Ok(true) => "what may have been sent is in doubt",
            Ok(false) => "it was settled by somebody else meanwhile",
            Err(_) => "it broke off; it can be run again",
        };
        store.end_deed(deed, outcome, settled.is_ok()).await?;
        settled?;
        Ok(())
    }

    async fn nothing_lost(&self, store: &Store, by: &str) -> anyhow::Result<()> {
        let recovery = standing(store).await?;
        if recovery.is_settled() {
            let fix = "see: wa-outbox recover";
            return Err(Problem::failed("there is nothing to settle", fix).into());
        }
        if recovery.failed_at.is_some() {
            let what = "it has been begun to put messages in doubt, so something was lost";
            let fix = "go on with it: wa-outbox recover --yes --reason TEXT";
            return Err(Problem::failed(what, fix).into());
        }
        let deed = self.begin_deed(store, by, recovery.era()).await?;
        let done = store
            .end_recovery(recovery.era(), true, by, self.why())
            .await?;
        store
            .end_deed(deed, "nothing was lost, and the senders go on", done)
            .await?;
        self.release(store, by).await
    }

    async fn release(&self, store: &Store, by: &str) -> anyhow::Result<()> {
        if !standing(store).await?.is_settled() {
            let what =
                "the senders stay held: it is not settled what the database may have forgotten";
            let fix = "see what would become of which messages: wa-outbox recover";
            return Err(Problem::failed(what, fix).into());
        }
        let released = store.release_restored(by, self.why()).await?;
        let released = released.veiled(Eyes::CLOSED);
        if self.json {
            return output::print_json(&shown::released_json(&released));
        }
        output::print(&shown::released_in_words(&released))
    }

    async fn begin_deed(&self, store: &Store, by: &str, era: Era) -> anyhow::Result<i64> {
        let target = format!("era {}", era.0);
        let deed = Deed {
            author: by,
            role: "operator",
            address: "command line",
            what: if self.nothing_lost {
                "recover_nothing_lost"
            } else {
                "recover"
            },
            target: &target,
            reason: self.why(),
        };
        Ok(store.begin_deed(&deed).await?)
    }

    /// Says what happened, and what would become of which messages.
    async fn look(&self, store: &Store, context: &Context) -> anyhow::Result<()> {
        let recovery = standing(store).await?;
        let is_ahead = !recovery.is_settled() || self.since.is_some() && !self.yes;
        if is_ahead {
            self.must_be_possible(&recovery)?;
        }
        let mut report = Report::of(&recovery);
        if is_ahead {
            let doubtful = match self.since {
                Some(since) => store.last_id_until(since).await?,
                None => MessageId(recovery.doubtful_ids),
            };
            let terms = RecoveryTerms {
                until: self.until.or(recovery.failed_at),
                ..self.terms()
            };
            let policy = uncertain_policy(&context.config()?.reconcile);
            let all = u64::try_from(doubtful.0).ok();
            let mut progress = Progress::new("looked at", all, context.clock().boot());
            let looked = |reached: i64| {
                let reached = reached.unsigned_abs();
                progress.show(reached, reached, 0, context.clock().boot());
            };
            report.senders = settle::preview(store, doubtful, &terms, policy, looked).await?;
            progress.clear();
            report.sequences_that_wait = store.sequences_that_wait().await?;
        }
        if self.json {
            return output::print_json(&report.json());
        }
        let when = |at: OffsetDateTime| moment(at, recovery.now);
        output::print(&report_in_words(&report, &when, context.colours()))
    }
}

async fn standing(store: &Store) -> anyhow::Result<Recovery> {
    let none = || Problem::failed("nobody has worked on this database yet", "wa-outbox run");
    Ok(store.recovery().await?.ok_or_else(none)?)
}

/// What is told beside the answer, which a script reads.
fn say(json: bool, text: &str) -> anyhow::Result<()> {
    if json {
        return Ok(());
    }
    output::print(text)
}
