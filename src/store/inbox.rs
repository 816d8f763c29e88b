//! Webhook deliveries as they came.

use std::collections::HashSet;
use std::time::Duration;

use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::status::Told;
use super::{Store, StoreError};
use crate::domain::account_news::OurNumber;
use crate::domain::id::{AttemptNumber, MessageId};

/// A receiver that has said nothing for so long does not listen. A shorter break does not matter: WhatsApp tries again at once
/// what it could not deliver (Meta, "Webhooks").
pub const LISTENING_GAP: Duration = Duration::from_secs(10);

/// Deliveries of an older version that are adopted by one statement.
const ADOPTED_AT_ONCE: i32 = 200;

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
    groups: Groups,
    /// What came, oldest first.
    pub deliveries: Vec<Delivery>,
    pub(super) sent_delays: Vec<Duration>,
    pub(super) of_now: HashSet<(MessageId, AttemptNumber)>,
    pub(super) numbers: Vec<OurNumber>,
    pub(super) told: Vec<Told>,
}

/// Which groups of deliveries: what was stored together waits together.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    received_at: Vec<OffsetDateTime>,
    ids: Vec<i64>,
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

impl Groups {
    /// How many.
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// Their numbers.
    pub fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// When the last of them came.
    pub fn last_received_at(&self) -> Option<OffsetDateTime> {
        self.received_at.last().copied()
    }
}

impl Handled {
    fn is_bad(&self) -> bool {
        self.unreadable || self.bad_entries.is_some()
    }
}

impl Store {
    /// Keeps deliveries, which wait together from then on; once this returns they may be acknowledged.
    pub async fn store_deliveries(&self, bodies: &[impl AsRef<[u8]>]) -> Result<(), StoreError> {
        let bodies: Vec<&[u8]> = bodies.iter().map(AsRef::as_ref).collect();
        sqlx::query!(
            "with kept as (
               insert into wa.webhook_inbox (body, state) select b.body, 'stored' from unnest($1::bytea[]) as b (body) returning id
             )
             insert into wa.webhook_pending (deliveries) select array_agg(k.id order by k.id) from kept k",
            &bodies as &[&[u8]]
        )
        .execute(&self.pool)
        .await
        .doing("store webhook deliveries")
        .map(drop)
    }

    /// Says that somebody receives deliveries. After a longer silence than [`LISTENING_GAP`] that is a new beginning: what WhatsApp has tried
    /// to tell meanwhile nobody heard. So it is where the database's clock was set back: nobody can tell how long the silence was.
    pub async fn say_listening(&self) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into wa.webhook_listening as l (since, last_said_at) values (clock_timestamp(), clock_timestamp())
             on conflict (is_only) do update set
               since = case when l.last_said_at between excluded.last_said_at - make_interval(secs => $1)
                   and excluded.last_said_at + make_interval(secs => $1) then l.since else excluded.since end,
               last_said_at = excluded.last_said_at",
            LISTENING_GAP.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .doing("say that webhooks are received")
        .map(drop)
    }

    /// Sets the oldest waiting deliveries that came after the time given aside for one applier: at most so many groups, and no more after
    /// so many deliveries; without the groups `but`. `None`: none waits.
    pub async fn take_deliveries(
        &self,
        (groups, deliveries): (i64, i64),
        after: OffsetDateTime,
        but: &[i64],
    ) -> Result<Option<InboxBatch>, StoreError> {
        let doing = "take webhook deliveries";
        let mut transaction = self.begin_here().await.doing(doing)?;
        let waiting = sqlx::query_file!(
            "src/store/sql/take_deliveries.sql",
            groups,
            deliveries,
            after,
            but
        )
        .fetch_all(&mut *transaction)
        .await
        .doing(doing)?;
        if waiting.is_empty() {
            transaction.rollback().await.doing(doing)?;
            return Ok(None);
        }
        let (mut groups, mut deliveries) = (Groups::default(), Vec::new());
        for row in waiting {
            if groups.ids.last() != Some(&row.group) {
                groups.received_at.push(row.group_received_at);
                groups.ids.push(row.group);
            }
            if let (Some(id), Some(received_at), Some(body)) = (row.id, row.received_at, row.body) {
                deliveries.push(Delivery {
                    id,
                    received_at,
                    body,
                });
            }
        }
        Ok(Some(InboxBatch {
            transaction,
            groups,
            deliveries,
            sent_delays: Vec::new(),
            of_now: HashSet::new(),
            numbers: Vec::new(),
            told: Vec::new(),
        }))
    }

    /// Has what a program of an older version has stored wait with the rest. Says whether there was anything.
    pub async fn adopt_deliveries(&self) -> Result<bool, StoreError> {
        let adopted = sqlx::query_scalar!(
            r#"select wa.adopt_deliveries($1) as "adopted!""#,
            ADOPTED_AT_ONCE
        )
        .fetch_one(&self.pool)
        .await
        .doing("adopt webhook deliveries of an older version")?;
        Ok(adopted > 0)
    }

    /// Has the deliveries of these groups wait each for itself.
    pub async fn part_deliveries(&self, groups: &Groups) -> Result<(), StoreError> {
        sqlx::query!(
            "with parted as (
               delete from wa.webhook_pending p where p.received_at = any ($1) and (p.id = any ($2)) is true
               returning p.received_at, p.deliveries
             )
             insert into wa.webhook_pending (received_at, deliveries)
             select p.received_at, array[d.id] from parted p cross join lateral unnest(p.deliveries) as d (id)",
            &groups.received_at,
            &groups.ids
        )
        .execute(&self.pool)
        .await
        .doing("part webhook deliveries")
        .map(drop)
    }

    /// Puts a delivery aside that the database refuses to take apart, and that waits alone.
    pub async fn mark_bad(&self, groups: &Groups, id: i64, reason: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "with gone as (
               delete from wa.webhook_pending p where p.received_at = any ($1) and (p.id = any ($2)) is true
             )
             update wa.webhook_inbox set state = 'bad', applied_at = now(),
               bad_entries = json_build_array(json_build_object('place', '', 'reason', $4::text))
             where id = $3",
            &groups.received_at,
            &groups.ids,
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

    /// The numbers of ours that the deliveries name.
    pub fn expect_numbers(&mut self, numbers: impl IntoIterator<Item = OurNumber>) {
        self.numbers.extend(numbers);
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

    /// What waited together.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Makes everything applied from the deliveries durable: they do not wait any more. Written to are those of which something could not
    /// be read.
    pub async fn commit(mut self, handled: &[Handled]) -> Result<(), StoreError> {
        let doing = "mark webhook deliveries as applied";
        sqlx::query!(
            "delete from wa.webhook_pending p where p.received_at = any ($1) and (p.id = any ($2)) is true",
            &self.groups.received_at,
            &self.groups.ids
        )
        .execute(&mut *self.transaction)
        .await
        .doing(doing)?;
        for one in handled.iter().filter(|one| one.is_bad()) {
            sqlx::query!(
                "update wa.webhook_inbox set state = $2, applied_at = now(), statuses = $3, bad_entries = $4::text::json where id = $1",
                one.id,
                if one.unreadable { "bad" } else { "stored" },
                one.statuses,
                one.bad_entries
            )
            .execute(&mut *self.transaction)
            .await
            .doing(doing)?;
        }
        self.transaction.commit().await.doing(doing)
    }
}
