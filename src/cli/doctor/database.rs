//! The database: is it there, is it ours, and does it tell the same time?

use time::{Duration, OffsetDateTime};

use super::{Findings, Told, care};
use crate::cli::Context;
use crate::clock::Clock;
use crate::domain::text::chain;
use crate::store::checkup::ServerFacts;
use crate::store::pooler::Pooling;
use crate::store::recovery::Recovery;
use crate::store::schema::UTF8;
use crate::store::{Store, StoreError};

/// The oldest PostgreSQL that has all we need.
const OLDEST: i32 = 140_000;
/// Two clocks that differ by less are as good as one.
const UNNOTICED: Duration = Duration::seconds(2);
/// With more, what people set by the clock (due times, quiet hours, expiry) is plainly wrong.
const TOO_MUCH: Duration = Duration::seconds(60);

/// Checks the database; gives it back where it has our schema.
pub(super) async fn check<'a>(
    context: &'a Context,
    told: &mut Told,
) -> anyhow::Result<Option<&'a Store>> {
    let mut found = Findings::about("database");
    let store = ask(context, &mut found).await;
    told.tell(found)?;
    Ok(store)
}

async fn ask<'a>(context: &'a Context, found: &mut Findings) -> Option<&'a Store> {
    let store = match context.store().await {
        Ok(store) => store,
        Err(error) => {
            let fix =
                "see that DATABASE_URL (or database.url) is right and that Postgres runs there";
            found.broken("reachable", chain(error.as_ref()), fix);
            return None;
        }
    };
    let asked_at = context.clock().now();
    let facts = match store.server_facts().await {
        Ok(facts) => facts,
        Err(error) => {
            found.broken("reachable", chain(&error), "see the server's log");
            return None;
        }
    };
    found.fine("reachable", format!("{} as {}", facts.database, facts.user));
    version(found, &facts);
    clock(found, &facts, asked_at, context.clock());
    pooling(found, store);
    encoding(found, store).await;
    let is_current = schema(found, store).await;
    if is_current {
        roles(found, &facts);
        match store.recovery().await {
            Ok(recovery) => era(found, recovery.as_ref()),
            Err(error) => found.unanswered("era", &error),
        }
        match store.is_from_a_dump().await {
            Ok(is_from_a_dump) => dump(found, is_from_a_dump),
            Err(error) => found.unanswered("dump", &error),
        }
        if let Err(error) = ids(found, store).await {
            found.unanswered("ids", &error);
        }
    }
    match store.care_facts().await {
        Ok(facts) => care::check(&facts, found),
        Err(error) => found.unanswered("durability", &error),
    }
    is_current.then_some(store)
}

fn version(found: &mut Findings, facts: &ServerFacts) {
    let words = format!("PostgreSQL {}", facts.version);
    match facts.version_number >= OLDEST {
        true => found.fine("version", words),
        false => found.broken("version", words, "use PostgreSQL 14 or newer"),
    }
}

/// The server's time was read at some moment between our question and its answer.
fn clock(found: &mut Findings, facts: &ServerFacts, asked_at: OffsetDateTime, clock: &Clock) {
    let difference = apart(facts.now, asked_at, clock.now());
    let ms = difference.whole_milliseconds();
    let words = format!("this machine and the database differ by {ms} ms");
    let fix = "have both set by a time service (NTP); due times and quiet hours go by the database";
    match difference {
        little if little <= UNNOTICED => found.fine("clock", words),
        some if some <= TOO_MUCH => found.note("clock", words, fix),
        _ => found.broken("clock", words, fix),
    }
}

/// By how much `theirs` is outside of what lay between question and answer.
fn apart(theirs: OffsetDateTime, asked: OffsetDateTime, answered: OffsetDateTime) -> Duration {
    (asked - theirs).max(theirs - answered).max(Duration::ZERO)
}

fn pooling(found: &mut Findings, store: &Store) {
    match store.pooling() {
        Pooling::Direct => found.fine("pooler", "none: connected to Postgres itself"),
        Pooling::Session => found.fine("pooler", "one in session mode"),
        Pooling::Transaction => found.note(
            "pooler",
            "one in transaction mode: it passes no notifications on, so new messages are found by polling alone",
            "connect the workers directly or through a pool in session mode, if 40 ms matter",
        ),
    }
}

async fn encoding(found: &mut Findings, store: &Store) {
    let encoding = match store.encoding().await {
        Ok(encoding) => encoding,
        Err(error) => return found.unanswered("encoding", &error),
    };
    match encoding.as_str() {
        UTF8 => found.fine("encoding", UTF8),
        _ => found.broken(
            "encoding",
            format!("{encoding}: a text that is not UTF-8 would stop every worker that reads it"),
            "move to a new database: create database … encoding 'UTF8' template template0",
        ),
    }
}

async fn schema(found: &mut Findings, store: &Store) -> bool {
    match store.schema().await {
        Ok(schema) => {
            let all = schema.known.len();
            let is_ours = schema.check();
            match (schema.missing().count(), &is_ours, schema.newer_in_words()) {
                (0, Err(error), _) => {
                    found.broken("schema", error.to_string(), "bring this program up to date")
                }
                (0, Ok(()), Some(newer)) => {
                    found.note("schema", newer, "bring this program up to date, too");
                }
                (0, Ok(()), None) => {
                    found.fine("schema", format!("all {all} migrations of this version"));
                }
                (count, _, _) => found.broken(
                    "schema",
                    format!("{count} of {all} migrations are missing"),
                    "apply them: wa-outbox migrate",
                ),
            }
            is_ours.is_ok()
        }
        Err(error) => {
            found.unanswered("schema", &error);
            false
        }
    }
}

/// Whether the database is known to have gone back, and whether that would be noticed.
fn era(found: &mut Findings, recovery: Option<&Recovery>) {
    let Some(recovery) = recovery else {
        return found.fine("era", "nobody has worked on it yet");
    };
    if !recovery.is_settled() {
        let words = format!(
            "the database went back: {}; {} senders are held",
            recovery.what, recovery.held_senders
        );
        found.broken(
            "era",
            words,
            "see what would become of which messages: wa-outbox recover",
        );
    } else if recovery.held_senders > 0 {
        let words = format!(
            "settled, but {} senders are held for it still",
            recovery.held_senders
        );
        found.note("era", words, "release them: wa-outbox recover --release");
    } else {
        found.fine("era", "the database has not gone back, or that is settled");
    }
    if let Some(why) = &recovery.unreadable {
        let words = format!("the server does not tell all that a restore is noticed by: {why}");
        let fix = "let the owner of schema wa execute pg_control_system(), pg_walfile_name(pg_lsn) and pg_current_wal_insert_lsn(); \
                   else run wa-outbox recover --since TIME after each restore or failover, before any worker starts";
        found.note("identity", words, fix);
    }
}

/// What nobody has noticed yet, because nothing of ours has run since.
fn dump(found: &mut Findings, is_from_a_dump: bool) {
    match is_from_a_dump {
        true => found.broken(
            "dump",
            "a dump was restored over this database, and what was sent after it is queued again",
            "start no worker of an older version, and see what would become of which messages: wa-outbox recover",
        ),
        false => found.fine("dump", "no dump was restored over it, or that is settled"),
    }
}

/// Whether an id can be given twice, or was.
async fn ids(found: &mut Findings, store: &Store) -> Result<(), StoreError> {
    let given = store.ids_given().await?;
    let runbook = "see the runbook, \"Ids that were given twice\"";
    if given.last < given.largest {
        let words = format!(
            "the sequence of message ids stands at {}, and {} was given: the next messages get ids of others",
            given.last, given.largest
        );
        let fix =
            format!("start a worker, which sets it forward, before anything is written; {runbook}");
        found.broken("ids", words, fix);
        return Ok(());
    }
    let resets = store.id_resets(0).await?;
    match resets.iter().rfind(|reset| reset.doubled > 0) {
        Some(reset) => found.note(
            "ids",
            format!(
                "no id is given twice, but up to {} some were, found at {}",
                reset.stood_at, reset.at
            ),
            runbook,
        ),
        None => found.fine("ids", "no id is given twice"),
    }
    Ok(())
}

fn roles(found: &mut Findings, facts: &ServerFacts) {
    let user = &facts.user;
    match facts.is_worker {
        Some(true) if facts.is_superuser => found.note(
            "roles",
            format!("{user} is a superuser, which wa-outbox never needs"),
            "run it as a user of its own: create role wa_outbox_worker login in role wa_worker",
        ),
        Some(true) => found.fine("roles", format!("{user} is a member of wa_worker")),
        Some(false) | None => found.broken(
            "roles",
            format!("{user} is no member of wa_worker, so it cannot send"),
            format!("grant wa_worker to {user}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_slow_answer_is_no_difference_of_clocks() {
        let (asked, answered) = (
            datetime!(2026-03-01 12:00:00 UTC),
            datetime!(2026-03-01 12:00:04 UTC),
        );
        for (theirs, seconds) in [
            (datetime!(2026-03-01 12:00:03 UTC), 0),
            (datetime!(2026-03-01 12:00:14 UTC), 10),
            (datetime!(2026-03-01 11:59:50 UTC), 10),
        ] {
            assert_eq!(apart(theirs, asked, answered).whole_seconds(), seconds);
        }
    }
}
