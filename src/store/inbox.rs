//! Webhook deliveries as they came.

use std::collections::HashSet;
use std::time::Duration;

use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::status::Told;
use super::{Store, StoreError};
use crate::domain::id::{AttemptNumber, MessageId};

/// A receiver that has said nothing for so long does not listen. A shorter break does not matter: WhatsApp tries again at once
/// what it could not deliver (Meta, "Webhooks").
pub const LISTENING_GAP: Duration = Duration::from_secs(10);

/// A time before all deliveries.
pub const FRONT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// A stored delivery that waits to be applied.
pub struct Delivery {
    /// Its row.
    pub id: i64,
    /// When it came.
    pub received_at: OffsetDateTime,
    /// The bytes that were signed.
    pub body: Vec<u8>,
}

/// Deliveries set aside by one applier; nobody else sees them until this is committed or dropped.
pub struct InboxBatch {
    pub(super) transaction: Transaction,
    /// What came, oldest first; at least one.
    pub deliveries: Vec<Delivery>,
    pub(super) sent_delays: Vec<Duration>,
    pub(super) of_now: HashSet<(MessageId, AttemptNumber)>,
    pub(super) told: Vec<Told>,
}

/// What became of one delivery.
#[derive(Clone, Debug)]
pub struct Handled {
    /// Its row.
    pub id: i64,
    /// Statuses found in it.
    pub statuses: i32,
    /// What could not be read, as a JSON array of places and reasons. `None`: nothing.
    pub bad_entries: Option<String>,
    /// Nothing in it could be read at all.
    pub unreadable: bool,
}

impl Store {
    /// Keeps deliveries; once this returns they may be acknowledged.
    pub async fn store_deliveries(&self, bodies: &[Vec<u8>]) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into wa.webhook_inbox (body) select * from unnest($1::bytea[])",
            bodies
        )
        .execute(&self.pool)
        .await
        .doing("store webhook deliveries")
        .map(drop)
    }

    /// Says that somebody receives deliveries. After a longer silence than [`LISTENING_GAP`] that is a new beginning: what WhatsApp has tried
    /// to tell meanwhile nobody heard.
    pub async fn say_listening(&self) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into wa.webhook_listening as l (since, last_said_at) values (clock_timestamp(), clock_timestamp())
             on conflict (is_only) do update set
               since = case when l.last_said_at < excluded.last_said_at - make_interval(secs => $1) then excluded.since else l.since end,
               last_said_at = greatest(l.last_said_at, excluded.last_said_at)",
            LISTENING_GAP.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .doing("say that webhooks are received")
        .map(drop)
    }

    /// Sets the oldest waiting deliveries that came after the time given aside for one applier. `None`: none waits.
    pub async fn take_deliveries(
        &self,
        limit: i64,
        after: OffsetDateTime,
    ) -> Result<Option<InboxBatch>, StoreError> {
        let doing = "take webhook deliveries";
        let mut transaction = self.begin_here().await.doing(doing)?;
        let deliveries = sqlx::query_as!(
            Delivery,
            "select id, received_at, body from wa.webhook_inbox where state = 'pending' and received_at > $2
             order by received_at, id limit $1 for update skip locked",
            limit,
            after
        )
        .fetch_all(&mut *transaction)
        .await
        .doing(doing)?;
        if deliveries.is_empty() {
            transaction.rollback().await.doing(doing)?;
            return Ok(None);
        }
        Ok(Some(InboxBatch {
            transaction,
            deliveries,
            sent_delays: Vec::new(),
            of_now: HashSet::new(),
            told: Vec::new(),
        }))
    }

    /// Puts a delivery aside that the database refuses to take apart.
    pub async fn mark_bad(&self, id: i64, reason: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "update wa.webhook_inbox set state = 'bad', applied_at = now(),
               bad_entries = json_build_array(json_build_object('place', '', 'reason', $2::text))
             where id = $1",
            id,
            reason
        )
        .execute(&self.pool)
        .await
        .doing("put a bad delivery aside")
        .map(drop)
    }
}

impl InboxBatch {
    /// Which of the requests that the statuses name are of this era: this database must have begun them.
    pub fn expect_begun(&mut self, requests: impl IntoIterator<Item = (MessageId, AttemptNumber)>) {
        self.of_now.extend(requests);
    }

    /// How long after the acceptances of their messages the statuses `sent` came that were applied; for acceptances that an
    /// answer told.
    pub fn sent_delays(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.sent_delays)
    }

    /// What the statuses that were applied have told of messages of ours, in their order.
    pub fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Marks the deliveries as handled and makes everything applied from them durable.
    pub async fn commit(mut self, handled: &[Handled]) -> Result<(), StoreError> {
        let doing = "mark webhook deliveries as applied";
        let ids: Vec<i64> = handled.iter().map(|one| one.id).collect();
        let statuses: Vec<i32> = handled.iter().map(|one| one.statuses).collect();
        let bad: Vec<Option<&str>> = handled
            .iter()
            .map(|one| one.bad_entries.as_deref())
            .collect();
        let states: Vec<&str> = handled
            .iter()
            .map(|one| if one.unreadable { "bad" } else { "applied" })
            .collect();
        sqlx::query!(
            "update wa.webhook_inbox i set state = h.state, applied_at = now(), statuses = h.statuses, bad_entries = h.bad::json
             from unnest($1::bigint[], $2::text[], $3::int[], $4::text[]) as h (id, state, statuses, bad)
             where i.id = h.id",
            &ids,
            &states as &[&str],
            &statuses,
            &bad as &[Option<&str>]
        )
        .execute(&mut *self.transaction)
        .await
        .doing(doing)?;
        self.transaction.commit().await.doing(doing)
    }
}
