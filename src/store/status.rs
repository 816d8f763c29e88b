//! Applies statuses: what WhatsApp says about messages after it took them.
//!
//! A status names its message by our token, else by its wamid; one that names neither (yet) is kept and looked at again. A
//! token is also evidence: it ends a message whose answer was lost. What is written is a set of times, each kept once it is
//! known, and the status of a message is read off them (`wa.messages`); so the order and the number of deliveries do not
//! matter, and two appliers may meet on one message.

mod news;
mod owners;

use std::collections::BTreeMap;

use time::OffsetDateTime;

use self::news::{News, write_news};
use self::owners::{OF_ONE_MESSAGE, Owner, identify};
use super::connections::Transaction;
use super::error::Doing;
use super::inbox::InboxBatch;
use super::record::storable;
use super::{Store, StoreError};
use crate::domain::id::{AttemptNumber, MessageId, SenderId, Wamid};
use crate::domain::outcome::ApiError;
use crate::domain::status::Status;

/// One status out of a delivery.
#[derive(Clone, Debug)]
pub struct StatusSeen {
    /// The delivery it came with.
    pub inbox_id: i64,
    /// When that came.
    pub received_at: OffsetDateTime,
    /// The number of ours that it names, as WhatsApp calls it.
    pub sender: Option<SenderId>,
    /// The message it is about.
    pub wamid: Wamid,
    /// What it says.
    pub status: Status,
    /// When WhatsApp says that happened.
    pub occurred_at: OffsetDateTime,
    /// The attempt that our token in it names.
    pub named: Option<(MessageId, AttemptNumber)>,
    /// The application's own callback data.
    pub callback_data: Option<String>,
    /// Why it failed.
    pub error: Option<ApiError>,
}

/// What a batch of statuses did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Belonged to a message of ours.
    pub matched: u64,
    /// Kept until their wamid is known.
    pub unmatched: u64,
    /// Of those that belong to messages of ours, how many said what, in the order of [`Status::ALL`].
    pub told: [u64; Status::ALL.len()],
    /// Told us of an acceptance that no answer had told.
    pub learned: u64,
    /// Of those, the ones whose message was uncertain.
    pub settled: u64,
    /// Brought our token back.
    pub echoed: u64,
    /// Templates that are held from now on, because messages of them were failed for it.
    pub held_templates: u64,
    /// Named a request of this era that this database has never begun: it has gone back.
    pub never_begun: u64,
}

/// What was told of an attempt of ours.
#[derive(Clone, Debug)]
pub struct Told {
    /// The message.
    pub id: MessageId,
    /// Its sender.
    pub sender: SenderId,
    /// Its how-manieth request.
    pub attempt: AttemptNumber,
    /// What WhatsApp says; none: that it took it, which no answer had told.
    pub status: Option<Status>,
    /// Why it failed.
    pub error: Option<ApiError>,
}

impl Told {
    fn of(key: &MessageKey, attempt: i32, status: Option<Status>) -> Self {
        Self {
            id: MessageId(key.id),
            sender: SenderId::from(key.sender.as_str()),
            attempt: AttemptNumber(attempt),
            status,
            error: None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct MessageKey {
    id: i64,
    sender: String,
}

impl InboxBatch {
    /// Applies the statuses found in these deliveries.
    pub async fn apply(&mut self, seen: &[StatusSeen]) -> Result<Applied, StoreError> {
        let transaction = &mut self.transaction;
        let (known, learned) = identify(transaction, seen, (&self.of_now, &self.numbers)).await?;
        let (settled, never_begun) = (learned.settled, learned.never_begun);
        let count = learned.told.len() as u64;
        self.told.extend(learned.told);
        let mut news: BTreeMap<MessageKey, News> = BTreeMap::new();
        let mut owners = Vec::with_capacity(seen.len());
        let mut told = [0; Status::ALL.len()];
        for one in seen {
            let owner = known.owner(one);
            if let Some(owner) = owner {
                if let (Status::Sent, Some(answered_at)) = (one.status, owner.answered_at) {
                    let delay = (one.received_at - answered_at).try_into();
                    self.sent_delays.push(delay.unwrap_or_default());
                }
                told[one.status.place()] += 1;
                self.told.push(Told {
                    error: one.error.clone(),
                    ..Told::of(&owner.key, owner.attempt, Some(one.status))
                });
                let news = news.entry(owner.key.clone()).or_default();
                news.take(one.status, one.occurred_at, one.error.as_ref());
                news.by_token |= one.named.is_some();
            }
            owners.push(owner);
        }
        let senders: Vec<Option<&str>> = (seen.iter().zip(&owners))
            .map(|(one, owner)| owner.map_or_else(|| known.sender(one), Owner::sender))
            .collect();
        write_events(transaction, seen, (&owners, &senders)).await?;
        let held_templates = write_news(transaction, news).await?;
        let matched = owners.iter().flatten().count() as u64;
        Ok(Applied {
            matched,
            told,
            unmatched: seen.len() as u64 - matched,
            learned: count,
            settled,
            echoed: seen.iter().filter(|one| one.named.is_some()).count() as u64,
            held_templates,
            never_begun,
        })
    }
}

impl Store {
    /// Looks again at statuses whose wamid was unknown when they came, no older than given. Gives those that are known now.
    pub async fn match_again(
        &self,
        no_older_than: time::Duration,
    ) -> Result<Vec<Told>, StoreError> {
        let doing = "match statuses that came before their wamid";
        let mut transaction = self.pool.begin().await.doing(doing)?;
        let rows = sqlx::query!(
            r#"with known as materialized (
                 select e.event, k.id, k.sender, k.attempt
                 from wa.status_events e
                 cross join lateral (
                   select k.*, min(k.id) over () = max(k.id) over () as is_only from wa.known_wamids k where k.wamid = e.wamid offset 0) k
                 where e.id is null and e.received_at > now() - make_interval(secs => $1)
                   -- As when it came: of the sender that it names, else of the only one, unless that is another's.
                   and (k.sender = e.sender or k.is_only and (e.sender is null or e.wamid like $2 || '%'))
               )
               update wa.status_events e set id = k.id, sender = k.sender, attempt = k.attempt
               from known k
               where e.event = k.event and e.id is null
               returning e.id as "id!", e.sender as "sender!", e.attempt as "attempt!", e.status, e.occurred_at, e.error_code,
                 e.error_title, e.error_details"#,
            no_older_than.as_seconds_f64(),
            OF_ONE_MESSAGE
        )
        .fetch_all(&mut *transaction)
        .await
        .doing(doing)?;
        let mut news: BTreeMap<MessageKey, News> = BTreeMap::new();
        let mut told = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(status) = Status::parse(&row.status) else {
                continue;
            };
            let error = ApiError {
                code: row.error_code,
                title: row.error_title.clone(),
                details: row.error_details.clone(),
                ..ApiError::default()
            };
            let key = MessageKey {
                id: row.id,
                sender: row.sender.clone(),
            };
            let is_failure = status == Status::Failed;
            told.push(Told {
                error: is_failure.then(|| error.clone()),
                ..Told::of(&key, row.attempt, Some(status))
            });
            let news = news.entry(key).or_default();
            news.take(status, row.occurred_at, Some(&error));
        }
        write_news(&mut transaction, news).await?;
        transaction.commit().await.doing(doing)?;
        Ok(told)
    }
}

async fn write_events(
    transaction: &mut Transaction,
    seen: &[StatusSeen],
    (owners, senders): (&[Option<&Owner>], &[Option<&str>]),
) -> Result<(), StoreError> {
    if seen.is_empty() {
        return Ok(());
    }
    let ids: Vec<Option<i64>> = owners
        .iter()
        .map(|owner| owner.map(|owner| owner.key.id))
        .collect();
    let attempts: Vec<Option<i32>> = owners
        .iter()
        .map(|owner| owner.map(|owner| owner.attempt))
        .collect();
    let wamids: Vec<&str> = seen.iter().map(|one| one.wamid.reveal()).collect();
    let statuses: Vec<&str> = seen.iter().map(|one| one.status.as_str()).collect();
    let occurred: Vec<OffsetDateTime> = seen.iter().map(|one| one.occurred_at).collect();
    let received: Vec<OffsetDateTime> = seen.iter().map(|one| one.received_at).collect();
    let error = |one: &StatusSeen| one.error.clone().unwrap_or_default();
    let codes: Vec<Option<i64>> = seen.iter().map(|one| error(one).code).collect();
    let titles: Vec<Option<String>> = seen
        .iter()
        .map(|one| error(one).title.as_deref().map(storable))
        .collect();
    let details: Vec<Option<String>> = seen
        .iter()
        .map(|one| error(one).details.as_deref().map(storable))
        .collect();
    let callback: Vec<Option<String>> = seen
        .iter()
        .map(|one| one.callback_data.as_deref().map(storable))
        .collect();
    let inbox: Vec<i64> = seen.iter().map(|one| one.inbox_id).collect();
    sqlx::query_file!(
        "src/store/sql/write_events.sql",
        &ids as &[Option<i64>],
        senders as &[Option<&str>],
        &attempts as &[Option<i32>],
        &wamids as &[&str],
        &statuses as &[&str],
        &occurred,
        &received,
        &codes as &[Option<i64>],
        &titles as &[Option<String>],
        &details as &[Option<String>],
        &callback as &[Option<String>],
        &inbox
    )
    .execute(&mut **transaction)
    .await
    .doing("keep statuses")
    .map(drop)
}
