//! What has ended long ago can be deleted, and nothing else ever is.
//!
//! Messages are made old by changing their times as the owner of the tables; nothing here waits for days.

mod keeping;
mod meeting;
mod rules;

use std::time::Duration;

use serde_json::Value;
use wa_outbox::domain::id::MessageId;
use wa_outbox::domain::retention::{Retention, days};
use wa_outbox::retention::walk::{Limits, Pruned, Walk};
use wa_outbox::store::{Store, StoreError};

use crate::support::make::Draft;
use crate::support::world::{SENDER, World};

/// Kept for ninety days, both.
pub(crate) const NINETY_DAYS: Retention = Retention {
    messages: Some(Duration::from_secs(90 * 86_400)),
    webhooks: Some(Duration::from_secs(90 * 86_400)),
};

/// Only messages, and no longer than anybody may ask for.
fn eight_days() -> Retention {
    Retention {
        messages: Some(days(8)),
        webhooks: None,
    }
}

/// Deletes what is older, all of it.
async fn pruned_by(store: &Store, retention: Retention) -> Result<Pruned, StoreError> {
    walked(store, retention, false).await
}

async fn walked(store: &Store, retention: Retention, dry: bool) -> Result<Pruned, StoreError> {
    let limits = Limits::now(store, retention).await?;
    let mut walk = Walk::new(store, limits, dry);
    while walk.step().await?.is_some() {}
    Ok(walk.pruned())
}

impl World {
    async fn prunes(&self, retention: Retention) -> Pruned {
        pruned_by(&self.store, retention).await.expect("it is done")
    }

    /// The same, counted beforehand.
    async fn prunes_what_it_counts(&self, retention: Retention) -> Pruned {
        let counted = walked(&self.store, retention, true).await;
        let pruned = self.prunes(retention).await;
        assert_eq!(counted.expect("it is counted"), pruned);
        pruned
    }

    /// A message that WhatsApp has taken just now, as the books have it.
    async fn accepted(&self, draft: Draft) -> MessageId {
        let id = self.enqueue(draft).await;
        self.was_accepted(id).await;
        id
    }

    async fn was_accepted(&self, id: MessageId) {
        self.run_sql(&format!(
            "update wa.queue set state = 'sending', attempt = 1, attempts = 1, epoch = 1, begun_at = now(), deadline = now() where id = {id}"
        ))
        .await;
        self.run_sql(&format!(
            "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('wamid.{id}', '{SENDER}', {id}, 1, 'response')"
        ))
        .await;
    }

    /// WhatsApp has told this of it.
    async fn was_told(&self, id: MessageId, status: &str) {
        self.run_sql(&format!(
            "insert into wa.status_events (id, sender, attempt, wamid, status, occurred_at, received_at)
             values ({id}, '{SENDER}', 1, 'wamid.{id}', '{status}', now(), now())"
        ))
        .await;
        self.run_sql(&format!(
            "update wa.results set {status}_at = now() where id = {id}"
        ))
        .await;
        self.run_sql(&format!("select wa.settle_sequences(array[{id}::bigint])"))
            .await;
    }

    /// Everything that is known of a message happened so many days earlier.
    async fn ages(&self, id: MessageId, by_days: u32) {
        for (table, columns) in [
            ("outbox", "created_at"),
            (
                "results",
                "ended_at sent_at delivered_at read_at played_at failed_at",
            ),
            ("acceptances", "learned_at"),
            ("attempts", "ended_at"),
            ("status_events", "occurred_at received_at"),
            ("uncertain", "since begun_at deadline"),
        ] {
            let columns: Vec<String> = columns
                .split(' ')
                .map(|column| format!("{column} = {column} - interval '{by_days} days'"))
                .collect();
            let columns = columns.join(", ");
            self.run_sql(&format!("update wa.{table} set {columns} where id = {id}"))
                .await;
        }
    }

    /// A message that was delivered a hundred days ago.
    async fn delivered_long_ago(&self, draft: Draft) -> MessageId {
        let id = self.accepted(draft).await;
        self.was_told(id, "delivered").await;
        self.ages(id, 100).await;
        id
    }

    async fn is_there(&self, id: MessageId) -> bool {
        self.count(&format!("wa.outbox where id = {id}")).await == 1
    }

    /// All messages as they are read, by their ids.
    async fn all_messages(&self) -> Vec<Value> {
        let messages =
            sqlx::query_scalar("select to_jsonb(m) from wa.messages m order by m.id, m.sender");
        messages
            .fetch_all(&self.database.pool)
            .await
            .expect("the messages")
    }

    /// Nothing is kept of a message that is not there.
    async fn assert_nothing_is_left_over(&self) {
        for table in ["results", "acceptances", "attempts", "status_events"] {
            let left = self
                .count(&format!(
                    "wa.{table} t where t.id is not null and not exists (select from wa.outbox o where o.id = t.id)"
                ))
                .await;
            assert_eq!(left, 0, "wa.{table} has rows of no message");
        }
    }
}
