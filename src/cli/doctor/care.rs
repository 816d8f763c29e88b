//! How the database is cared for, and whether there is room: what goes well for months and then does not.

use std::path::Path;
use std::time::Duration;

use super::Findings;
use crate::config::{Config, Retention};
use crate::standing::time::span;
use crate::store::checkup::CareFacts;
use crate::store::prune::Pruning;

/// A transaction that is open for longer keeps vacuum from cleaning up a queue that moves.
const OPEN_FOR_LONG: Duration = Duration::from_secs(3_600);
/// So many dead rows of the queue, and more than live ones, are not being cleaned up.
const MANY_DEAD: i64 = 100_000;
/// Postgres refuses to write at about 2,100 million; autovacuum should have come at 200 million.
const MANY_TRANSACTIONS: i64 = 500_000_000;
const TOO_MANY_TRANSACTIONS: i64 = 1_500_000_000;
/// Of a disk, what should be free, and what must be.
const LITTLE_ROOM: f64 = 0.15;
const NO_ROOM: f64 = 0.03;
/// A worker looks every hour for what is too old. After so long nobody does.
const NOBODY_PRUNES: f64 = 24.0 * 3_600.0;
/// What systemd waits after SIGTERM before it kills, unless told otherwise (`DefaultTimeoutStopSec`).
const USUAL_PATIENCE: Duration = Duration::from_secs(90);

/// Checks what the database says of itself.
pub(super) fn check(facts: &CareFacts, found: &mut Findings) {
    durability(facts, found);
    vacuum(facts, found);
    let size = in_words(facts.size_bytes.max(0) as u64);
    match &facts.data_directory {
        Some(place) => room(
            "disk",
            Path::new(place),
            &format!("the database takes {size}"),
            found,
        ),
        None => found.fine(
            "disk",
            format!("the database takes {size}; how much is free can be seen only on its machine"),
        ),
    }
}

/// Checks the settings of this process that must fit to one another. They were checked when they were read; here they are told.
pub(super) fn settings(config: &Config, found: &mut Findings) {
    let seconds = |span: Duration| format!("{} s", span.as_secs_f64());
    let words = format!(
        "a lease lasts {} and is renewed every {}; a statement may take {}, a request {}",
        seconds(config.worker.lease),
        seconds(config.worker.heartbeat),
        seconds(config.statement_limit()),
        seconds(config.http.response_timeout),
    );
    found.fine("lease", words);
    let end = config.shutdown();
    let words = format!("an orderly end may take {}", seconds(end));
    match end <= USUAL_PATIENCE {
        true => found.fine("end", words),
        false => found.note(
            "end",
            format!("{words}, longer than systemd usually waits"),
            format!(
                "set TimeoutStopSec (Kubernetes: terminationGracePeriodSeconds) above {}",
                end.as_secs()
            ),
        ),
    }
    if let Some(folder) = &config.media.folder {
        room("media folder", folder, "files that messages name", found);
    }
}

/// Checks whether what the settings say is too old is deleted.
pub(super) fn retention(settings: &Retention, pruning: Pruning, found: &mut Findings) {
    let kept = |what: &str, days: Option<u32>| match days {
        Some(days) => format!("{what} are deleted {days} days after their end"),
        None => format!("{what} are kept"),
    };
    let words = format!(
        "{}, {}",
        kept("messages", settings.messages_days),
        kept("webhook deliveries", settings.webhooks_days)
    );
    if settings.spans().is_nothing() {
        return found.fine("retention", words);
    }
    let fix =
        "start a worker with these settings, wa-outbox run --roles worker: it looks every hour";
    match pruning.due_in_s {
        _ if pruning.is_under_way => found.fine("retention", format!("{words}; that is under way")),
        None => found.note(
            "retention",
            format!("{words}; nobody has looked for them yet"),
            fix,
        ),
        Some(due_in) if due_in < -NOBODY_PRUNES => {
            let late = span(time::Duration::seconds_f64(-due_in));
            found.note(
                "retention",
                format!("{words}; that has been due for {late}"),
                fix,
            );
        }
        Some(due_in) => {
            let soon = span(time::Duration::seconds_f64(due_in.max(0.0)));
            found.fine("retention", format!("{words}; looked for again in {soon}"));
        }
    }
}

fn durability(facts: &CareFacts, found: &mut Findings) {
    let fix = "alter database … set synchronous_commit = on";
    match (facts.fsync, facts.synchronous_commit.as_str()) {
        (false, _) => found.note(
            "durability",
            "fsync is off: when the server crashes, everything may be lost",
            "for anything but tests: set fsync = on in postgresql.conf",
        ),
        (true, "off") => found.broken(
            "durability",
            "synchronous_commit is off: an intent may be forgotten in a crash of the server, and its message sent twice",
            fix,
        ),
        (true, commit) if facts.others_forget => found.note(
            "durability",
            format!(
                "synchronous_commit is off; wa-outbox has it {commit} for its own connections, so it forgets no intent and no answer, but what \
                 an application inserts may be forgotten in a crash of the server"
            ),
            fix,
        ),
        (true, commit) => found.fine("durability", format!("synchronous_commit is {commit}")),
    }
}

fn vacuum(facts: &CareFacts, found: &mut Findings) {
    let open = Duration::from_secs_f64(facts.oldest_transaction_s.max(0.0));
    let prepared = Duration::from_secs_f64(facts.oldest_prepared_s.max(0.0));
    let used = facts.transactions_used;
    if !facts.autovacuum {
        let words = "autovacuum is off: tables grow, and one day Postgres stops taking writes";
        found.broken("vacuum", words, "set autovacuum = on in postgresql.conf");
    } else if used > TOO_MANY_TRANSACTIONS {
        let words = format!(
            "{} million transactions are not frozen: Postgres stops taking writes at about 2,100",
            used / 1_000_000
        );
        found.broken("vacuum", words, "end old transactions and prepared ones, drop unused replication slots, then: vacuum (freeze)");
    } else if used > MANY_TRANSACTIONS {
        let words = format!(
            "{} million transactions are not frozen: autovacuum does not get there",
            used / 1_000_000
        );
        found.note("vacuum", words, "look for old transactions (pg_stat_activity), prepared ones and unused replication slots");
    } else if open > OPEN_FOR_LONG {
        let words = format!(
            "a transaction has been open for {} min: nothing that was deleted since is cleaned up",
            open.as_secs() / 60
        );
        found.note(
            "vacuum",
            words,
            "find it: select pid, state, query from pg_stat_activity order by xact_start limit 5",
        );
    } else if prepared > OPEN_FOR_LONG {
        let words = format!(
            "a transaction was prepared {} min ago and nobody has ended it: what it inserted is not sent, and nothing that was deleted since is \
             cleaned up",
            prepared.as_secs() / 60
        );
        found.note(
            "vacuum",
            words,
            "find it: select gid, owner, prepared from pg_prepared_xacts order by prepared; then commit prepared or rollback prepared",
        );
    } else if facts.dead_rows > MANY_DEAD && facts.dead_rows > facts.live_rows {
        let words = format!(
            "{} dead rows in wa.queue, {} alive",
            facts.dead_rows, facts.live_rows
        );
        found.note("vacuum", words, "vacuum wa.queue; if they stay, something holds an old snapshot: pg_stat_activity, replication slots");
    } else {
        found.fine("vacuum", "tables are cleaned up");
    }
}

/// Whether there is room where `place` is.
fn room(check: &'static str, place: &Path, words: &str, found: &mut Findings) {
    let stands = match rustix::fs::statvfs(place) {
        Ok(stands) => stands,
        Err(error) => {
            let words = format!("{words}; {} cannot be looked at: {error}", place.display());
            return found.note(
                check,
                words,
                "see that it exists and that this user may read it",
            );
        }
    };
    let free = stands.f_bavail.saturating_mul(stands.f_frsize);
    let share = stands.f_bavail as f64 / stands.f_blocks.max(1) as f64;
    let words = format!(
        "{words}; {} ({:.0} %) are free",
        in_words(free),
        share * 100.0
    );
    let fix = "make room before it is full: a database that cannot write stops everything";
    match share {
        share if share < NO_ROOM => found.broken(check, words, fix),
        share if share < LITTLE_ROOM => found.note(check, words, fix),
        _ => found.fine(check, words),
    }
}

fn in_words(bytes: u64) -> String {
    let mb = bytes as f64 / 1e6;
    match mb {
        mb if mb >= 1_000.0 => format!("{:.1} GB", mb / 1_000.0),
        mb => format!("{mb:.0} MB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Standing;

    fn well() -> CareFacts {
        CareFacts {
            synchronous_commit: "on".to_owned(),
            others_forget: false,
            fsync: true,
            autovacuum: true,
            dead_rows: 10,
            live_rows: 0,
            oldest_transaction_s: 0.1,
            oldest_prepared_s: 0.0,
            transactions_used: 1_000,
            size_bytes: 12_000_000,
            data_directory: None,
        }
    }

    /// How a check stands after this change of a server that is well.
    fn stands(check: &str, change: impl FnOnce(&mut CareFacts)) -> Standing {
        let (mut facts, mut found) = (well(), Findings::about("database"));
        change(&mut facts);
        super::check(&facts, &mut found);
        let one = found.findings.iter().find(|one| one.check == check);
        let one = one.expect("it is looked at");
        assert_eq!(one.fix.is_some(), one.standing != Standing::Fine, "{one:?}");
        one.standing
    }

    #[test]
    fn a_server_that_may_forget_an_intent_is_broken() {
        let with = |commit: &'static str| {
            stands("durability", |facts| {
                facts.synchronous_commit = commit.to_owned();
            })
        };
        assert_eq!(with("on"), Standing::Fine);
        assert_eq!(with("remote_apply"), Standing::Fine);
        assert_eq!(with("off"), Standing::Broken);
        assert_eq!(
            stands("durability", |facts| facts.others_forget = true),
            Standing::Note
        );
        // Whoever runs it so has no durability to lose.
        assert_eq!(
            stands("durability", |facts| facts.fsync = false),
            Standing::Note
        );
    }

    #[test]
    fn a_server_that_is_not_cleaned_up_is_named_before_it_stops() {
        let vacuum = |change: fn(&mut CareFacts)| stands("vacuum", change);
        assert_eq!(vacuum(|_| {}), Standing::Fine);
        assert_eq!(vacuum(|facts| facts.autovacuum = false), Standing::Broken);
        assert_eq!(
            vacuum(|facts| facts.transactions_used = 600_000_000),
            Standing::Note
        );
        assert_eq!(
            vacuum(|facts| facts.transactions_used = 1_600_000_000),
            Standing::Broken
        );
        assert_eq!(
            vacuum(|facts| facts.oldest_transaction_s = 4_000.0),
            Standing::Note
        );
        assert_eq!(
            vacuum(|facts| facts.oldest_prepared_s = 4_000.0),
            Standing::Note
        );
        assert_eq!(vacuum(|facts| facts.dead_rows = 200_000), Standing::Note);
    }

    #[test]
    fn what_is_to_be_deleted_and_is_not_is_told() {
        let looks = |messages_days, is_under_way, due_in_s| {
            let settings = Retention {
                messages_days,
                ..Retention::default()
            };
            let pruning = Pruning {
                is_under_way,
                due_in_s,
            };
            let mut found = Findings::about("settings");
            retention(&settings, pruning, &mut found);
            let one = found.findings.remove(0);
            (one.standing, one.words)
        };
        let kept = "messages are kept, webhook deliveries are kept";
        assert_eq!(looks(None, false, None), (Standing::Fine, kept.to_owned()));
        let deletes = |rest: &str| {
            format!(
                "messages are deleted 90 days after their end, webhook deliveries are kept; {rest}"
            )
        };
        for (is_under_way, due_in_s, standing, words) in [
            (true, None, Standing::Fine, "that is under way"),
            (
                false,
                None,
                Standing::Note,
                "nobody has looked for them yet",
            ),
            (
                false,
                Some(600.0),
                Standing::Fine,
                "looked for again in 10 min",
            ),
            (
                false,
                Some(-600.0),
                Standing::Fine,
                "looked for again in under a second",
            ),
            (
                false,
                Some(-259_200.0),
                Standing::Note,
                "that has been due for 3 days",
            ),
        ] {
            assert_eq!(
                looks(Some(90), is_under_way, due_in_s),
                (standing, deletes(words))
            );
        }
    }

    #[test]
    fn a_place_that_is_not_there_is_said() {
        let mut found = Findings::about("settings");
        room(
            "media folder",
            Path::new("/no/such/place"),
            "files",
            &mut found,
        );
        assert_eq!(found.findings[0].standing, Standing::Note);
        assert!(found.findings[0].words.contains("/no/such/place"));
    }
}
