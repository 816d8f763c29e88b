//! Compares what the database holds with what WhatsApp witnessed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use wa_outbox::domain::id::MessageId;
use wa_outbox::simulator::Entry;

use super::make::Draft;
use super::world::{PATIENCE, World};

impl World {
    /// How many rows there are: `rest` is what follows `from`.
    pub(crate) async fn count(&self, rest: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {rest}")))
            .fetch_one(&self.database.pool)
            .await
            .expect("a count")
    }

    /// One text of the database's.
    pub(crate) async fn text(&self, query: &str) -> String {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
            .fetch_one(&self.database.pool)
            .await
            .unwrap_or_else(|error| panic!("`{query}`: {error}"))
    }

    /// Runs a statement of the test's own.
    pub(crate) async fn run_sql(&self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&self.database.pool)
            .await
            .unwrap_or_else(|error| panic!("`{statement}`: {error}"));
    }

    /// One number of the database's.
    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.database.pool)
            .await
            .unwrap_or_else(|error| panic!("`{query}`: {error}"))
    }

    /// Writes drafts into the outbox, in one transaction each.
    pub(crate) async fn enqueue_all(
        &self,
        drafts: impl IntoIterator<Item = Draft>,
    ) -> Vec<MessageId> {
        let mut ids = Vec::new();
        for draft in drafts {
            ids.push(self.enqueue(draft).await);
        }
        ids
    }

    /// Waits until WhatsApp has taken so many messages.
    pub(crate) async fn until_taken(&self, count: u64) {
        let taken = self.simulator.ledger().wait_for_accepted(count);
        tokio::time::timeout(PATIENCE, taken)
            .await
            .unwrap_or_else(|_| panic!("WhatsApp never took {count} messages"));
    }

    /// Waits until WhatsApp has been asked to send so many, whatever it did then.
    pub(crate) async fn until_asked(&self, count: u64) {
        let asked = self.simulator.ledger().wait_for_requests(count);
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| panic!("there never were {count} requests"));
    }

    /// Every message written was accepted, and nothing else was: WhatsApp took each exactly once, and all ids it gave are
    /// known here.
    pub(crate) async fn assert_each_was_accepted_once(&self, written: &[MessageId]) {
        let open = self.store.open_messages().await.expect("a count");
        assert_eq!(open, 0, "something is still queued, waiting or uncertain");
        let ended = self.count("wa.results where state = 'accepted'").await;
        assert_eq!(
            ended,
            written.len() as i64,
            "not every message ended as accepted"
        );

        let mut taken: BTreeMap<i64, usize> = BTreeMap::new();
        for entry in self.simulator.ledger().accepted() {
            *taken.entry(message_of(&entry)).or_default() += 1;
        }
        let twice: Vec<_> = taken.iter().filter(|(_, times)| **times > 1).collect();
        assert!(
            twice.is_empty(),
            "WhatsApp took these more than once: {twice:?}"
        );
        let taken: BTreeSet<i64> = taken.into_keys().collect();
        let written: BTreeSet<i64> = written.iter().map(|id| id.0).collect();
        assert_eq!(taken, written, "what WhatsApp took is not what was written");

        let known = self.count("wa.known_wamids").await;
        assert_eq!(
            known,
            written.len() as i64,
            "an id that WhatsApp gave is not known"
        );
        let marked = self.count("wa.results where duplicate is not null").await;
        assert_eq!(marked, 0, "no message is marked as a duplicate");
    }

    /// [`World::until_all_have_ended`] where that takes the time of a worker's end: lease, deadline and evidence clock.
    pub(crate) async fn until_all_have_ended_within(&self, patience: Duration) {
        let ended = async {
            while self.store.open_messages().await.expect("a count") > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(patience, ended).await.is_err() {
            panic!(
                "still open: {:?}",
                self.store.counts().await.expect("counts")
            );
        }
    }
}

/// The message that a request was about, as our token names it.
pub(crate) fn message_of(entry: &Entry) -> i64 {
    token(entry).0
}

/// The request that it was: the message's how-manieth.
pub(crate) fn attempt_of(entry: &Entry) -> i32 {
    token(entry).1
}

/// The token is `wo1-MESSAGE-ATTEMPT-…`.
fn token(entry: &Entry) -> (i64, i32) {
    let data = entry.callback_data.as_deref().expect("a token");
    let mut parts = data.split('-').skip(1);
    let mut number = || parts.next().expect("a number");
    let message = number().parse().expect("the message's id");
    (message, number().parse().expect("the attempt's number"))
}
