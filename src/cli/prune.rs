//! `prune`: what has ended long ago is deleted now, by a person's word.
//!
//! The same walk that workers make by the settings `[retention]`. Each slice is a transaction, so it can be broken off and run again.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use super::failure::Problem;
use super::rows::Progress;
use super::{Context, duration, output};
use crate::domain::retention::{MESSAGES_AT_LEAST_DAYS, Retention, WEBHOOKS_AT_LEAST_DAYS, days};
use crate::retention::walk::{Limits, Pruned, Walk};
use crate::standing::facts::thousands;
use crate::standing::time::span;
use crate::store::Store;
use crate::store::audit::Deed;
use crate::store::prune::{Part, Reference};

/// Of each kind, a dry run looks at so many rows.
const LOOKED_AT_MOST: i64 = 1_000_000;

/// Delete messages that ended long ago, and old webhook deliveries
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// Messages that ended so long ago, such as 90d; 8d at least [default: as retention.messages_days says]
    #[arg(long, value_name = "SPAN", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Webhook deliveries that came so long ago; 1d at least [default: as retention.webhooks_days says]
    #[arg(long, value_name = "SPAN", value_parser = duration::parse)]
    webhooks_older_than: Option<Duration>,
    /// Count what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", default_value = "it is old")]
    reason: String,
    /// Who you are [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const HELP: &str = "A message goes with everything that is known of it once it has ended (accepted, failed, expired, cancelled) and \
WhatsApp has told nothing of it for that long; one that is accepted and neither delivered nor failed is kept for 38 days at least, for \
WhatsApp tries for 30. What is queued, waiting, sending or uncertain stays, and so does a message that a sequence waits for or was \
halted by. Of deliveries those go that were applied or could not be read, and statuses that belong to no message.

What was deleted is not shown any more, its dedup_key may be used again, and the counts of its campaign stay. With neither span the \
settings [retention] count; workers delete by those every hour on their own. It can be broken off and run again, beside workers and \
beside itself. Who deleted what, and why, is kept in wa.audit.

With --json an object; docs/json.md has its shape.

Examples:
  wa-outbox prune --older-than 90d --dry-run
  wa-outbox prune --older-than 90d --webhooks-older-than 30d";

/// What to do about rows that keep messages.
const LET_GO: &str =
    "let its rows go with their message (on delete cascade), or delete there first";

/// What a walk came to.
struct Walked {
    pruned: Pruned,
    /// A dry one has not counted all.
    more: bool,
    /// Rows of somebody's own still refer to some.
    is_kept: bool,
}

/// What was done, for scripts.
#[derive(Serialize)]
struct Report {
    dry_run: bool,
    /// Older than this; null: none were looked at.
    #[serde(with = "time::serde::rfc3339::option")]
    messages_before: Option<OffsetDateTime>,
    messages: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    webhooks_before: Option<OffsetDateTime>,
    webhooks: i64,
    /// Of no message.
    statuses: i64,
    /// Of sequences.
    events: i64,
    /// There may be more: a dry run stops counting somewhere.
    more: bool,
    seconds: f64,
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When no span is given or one is too short, or the database refuses.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        let retention = self.retention(context)?;
        let store = context.store().await?;
        let clock = context.clock();
        let begun = clock.boot();
        let limits = Limits::now(store, retention).await?;
        let walked = match self.dry_run {
            true => self.walk(store, context, limits).await?,
            false => self.delete(store, context, limits).await?,
        };
        let took = begun.until(clock.boot());
        let report = Report::of(self.dry_run, limits, walked.pruned, walked.more, took);
        if self.json {
            output::print_json(&report)?;
        } else {
            let mut words = report.in_words();
            if self.dry_run && report.messages > 0 {
                let references = store.references_to_messages().await?;
                words.extend(references.iter().map(keeps));
            }
            output::print(&words)?;
        }
        match walked.is_kept {
            true => Err(still_referred_to(&store.references_to_messages().await?).into()),
            false => Ok(()),
        }
    }

    /// The walk, told before it is made, and how it ended.
    async fn delete(
        &self,
        store: &Store,
        context: &Context,
        limits: Limits,
    ) -> anyhow::Result<Walked> {
        let target = in_words(limits);
        let deed = Deed {
            // A job of a container has no user.
            author: &(context.author(self.by.clone())).unwrap_or_else(|_| "a job".to_owned()),
            role: "operator",
            address: "command line",
            what: "prune",
            target: &target,
            reason: &self.reason,
        };
        let deed = store.begin_deed(&deed).await?;
        let walked = self.walk(store, context, limits).await;
        let outcome = match &walked {
            Ok(walked) => format!("{} rows were deleted", thousands(walked.pruned.all())),
            Err(_) => "it broke off; it can be run again".to_owned(),
        };
        let told = store.end_deed(deed, &outcome, walked.is_ok()).await;
        let walked = walked?;
        told?;
        Ok(walked)
    }

    /// Goes through all there is.
    async fn walk(
        &self,
        store: &Store,
        context: &Context,
        limits: Limits,
    ) -> anyhow::Result<Walked> {
        let clock = context.clock();
        let all = match limits.messages {
            Some(_) => u64::try_from(store.last_message_id().await?).ok(),
            None => None,
        };
        let what = if self.dry_run { "found" } else { "deleted" };
        let mut progress = Progress::new(what, all, clock.boot());
        let mut walk = Walk::new(store, limits, self.dry_run);
        let mut more = false;
        loop {
            let slice_begun = clock.boot();
            let Some(step) = walk.step().await? else {
                break;
            };
            let come_to = match (step.part, step.slice.reached) {
                (Part::Messages, Some(reached)) => reached.unsigned_abs(),
                _ => all.unwrap_or_default(),
            };
            let done = walk.pruned().all().unsigned_abs();
            progress.show(done, come_to, 0, clock.boot());
            if self.dry_run && step.looked >= LOOKED_AT_MOST && step.slice.reached.is_some() {
                more = true;
                walk.leave_part();
            }
            // It is asked for now, so it rests less than a walk that nobody waits for; and it does rest.
            if !self.dry_run && step.slice.pruned > 0 {
                tokio::time::sleep(slice_begun.until(clock.boot())).await;
            }
        }
        progress.clear();
        Ok(Walked {
            pruned: walk.pruned(),
            more,
            is_kept: walk.kept().is_some(),
        })
    }

    /// What was asked for, else what the settings say.
    fn retention(&self, context: &Context) -> anyhow::Result<Retention> {
        let asked = Retention {
            messages: self.older_than,
            webhooks: self.webhooks_older_than,
        };
        let wanted = match asked.is_nothing() {
            true => context.config()?.retention.spans(),
            false => asked,
        };
        if wanted.is_nothing() {
            let fix = "say --older-than 90d, or set retention.messages_days";
            return Err(Problem::usage("nothing says how old what is deleted must be", fix).into());
        }
        let reason =
            "WhatsApp repeats webhooks for up to 7 days, and a late one must find its message";
        long_enough(
            "--older-than",
            asked.messages,
            MESSAGES_AT_LEAST_DAYS,
            reason,
        )?;
        let reason = "nobody could look at a delivery any more";
        long_enough(
            "--webhooks-older-than",
            asked.webhooks,
            WEBHOOKS_AT_LEAST_DAYS,
            reason,
        )?;
        Ok(wanted)
    }
}

/// That a table of somebody's own keeps the messages that it names.
fn keeps(reference: &Reference) -> String {
    let Reference { table, constraint } = reference;
    format!(
        "\nThose that {table} refers to stay, by its foreign key {constraint}, and what lies beside them; {LET_GO}."
    )
}

fn still_referred_to(references: &[Reference]) -> Problem {
    let named = |Reference { table, constraint }: &Reference| {
        format!("{table} (by its foreign key {constraint})")
    };
    let tables: Vec<String> = references.iter().map(named).collect();
    let what = format!(
        "messages were left, and what lies beside them: they are still referred to by {}",
        tables.join(", ")
    );
    Problem::failed(what, format!("{LET_GO}; then run this again"))
}

/// What goes, for those who read it later.
fn in_words(limits: Limits) -> String {
    let day = |of: &str, before: Option<OffsetDateTime>| {
        before.map(|before| format!("{of} before {}", before.date()))
    };
    let parts = [
        day("messages", limits.messages),
        day("webhook deliveries", limits.webhooks),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn long_enough(
    option: &str,
    given: Option<Duration>,
    least: u32,
    reason: &str,
) -> Result<(), Problem> {
    match given {
        Some(given) if given < days(least) => {
            let given = span(given.try_into().unwrap_or_default());
            let what = format!("{option} is {given}: {reason}");
            Err(Problem::usage(what, format!("say {least}d or more")))
        }
        _ => Ok(()),
    }
}

impl Report {
    fn of(dry_run: bool, limits: Limits, pruned: Pruned, more: bool, took: Duration) -> Self {
        Self {
            dry_run,
            messages_before: limits.messages,
            messages: pruned.messages,
            webhooks_before: limits.webhooks,
            webhooks: pruned.deliveries,
            statuses: pruned.statuses,
            events: pruned.history,
            more,
            seconds: took.as_secs_f64(),
        }
    }

    fn in_words(&self) -> String {
        let mut what = Vec::new();
        if self.messages_before.is_some() {
            what.push(format!("{} messages", thousands(self.messages)));
        }
        if self.webhooks_before.is_some() {
            what.push(format!("{} webhook deliveries", thousands(self.webhooks)));
        }
        let beside = [
            (self.statuses, "statuses of no message"),
            (self.events, "events of sequences"),
        ];
        for (number, of) in beside.into_iter().filter(|(number, _)| *number > 0) {
            what.push(format!("{} {of}", thousands(number)));
        }
        let what = what.join(", ");
        match (self.dry_run, self.more) {
            (true, true) => {
                format!("At least {what} would be deleted; it was not counted further.")
            }
            (true, false) => format!("Would be deleted: {what}. Nothing was changed."),
            (false, _) => format!("Deleted {what} in {:.1} s.", self.seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_was_looked_for_and_what_was_found_beside_it() {
        let report = Report {
            dry_run: false,
            messages_before: Some(OffsetDateTime::UNIX_EPOCH),
            messages: 12_345,
            webhooks_before: None,
            webhooks: 0,
            statuses: 0,
            events: 2,
            more: false,
            seconds: 1.25,
        };
        assert_eq!(
            report.in_words(),
            "Deleted 12,345 messages, 2 events of sequences in 1.2 s."
        );
        let dry = Report {
            dry_run: true,
            webhooks_before: Some(OffsetDateTime::UNIX_EPOCH),
            events: 0,
            ..report
        };
        assert_eq!(
            dry.in_words(),
            "Would be deleted: 12,345 messages, 0 webhook deliveries. Nothing was changed."
        );
        let more = Report { more: true, ..dry };
        assert!(more.in_words().starts_with("At least 12,345 messages"));
    }
}
