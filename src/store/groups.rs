//! Uncertain messages in groups, settled by one word of a person; and those that WhatsApp took twice.
//!
//! A look reads no more than [`COUNTED_AT_MOST`] of them. A word about a group goes through it a slice a transaction. What evidence settles
//! meanwhile is left to it: a row that somebody else holds is passed over, and is met again by the next call if it is still uncertain.

use time::OffsetDateTime;

use super::error::Doing;
use super::failures::{Counted, Decider, add_to_decision};
use super::record::storable;
use super::summary::COUNTED_AT_MOST;
use super::uncertain::{Requests, UncertainMessage, end, send_again};
use super::{Store, StoreError};

/// So many messages are settled in one transaction.
const SLICE: i64 = 500;

/// Which uncertain messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UncertainFilter {
    /// Of this sender.
    pub sender: Option<String>,
    /// For this reason we do not know, word for word as they are listed.
    pub doubt: Option<String>,
    /// Only those that nothing but a person settles.
    pub needs_person: bool,
}

/// Uncertain messages of one sender with one doubt, as far as was looked.
#[derive(Clone, Debug)]
pub struct UncertainCount {
    /// Their sender.
    pub sender: String,
    /// Why we do not know.
    pub doubt: String,
    /// So many.
    pub messages: i64,
    /// Those of them that only a person can settle.
    pub needs_person: i64,
    /// When the request of the oldest was begun.
    pub oldest_begun_at: OffsetDateTime,
    /// The oldest.
    pub sample: i64,
}

/// What a person has found out about a whole group. That WhatsApp has a message can only be said of one, with its wamid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFinding {
    /// WhatsApp never had them: they end as failed.
    NotSent,
    /// Send them again, whatever was; some may arrive twice.
    SendAgain,
}

/// What became of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSettled {
    /// So many were settled.
    pub settled: u64,
    /// Left as they were: their sequence has gone on without them, so they cannot be sent again in order.
    pub passed: u64,
}

/// A message that WhatsApp took twice.
#[derive(Clone, Debug)]
pub struct DuplicateMessage {
    /// Its id.
    pub id: i64,
    /// Its sender.
    pub sender: String,
    /// Whose doing: `resend`, ours by policy or an operator's word, or `transport_retry`, somebody's below us.
    pub cause: String,
    /// WhatsApp knows it by so many ids.
    pub wamids: i64,
    /// When the last of them was learned.
    pub last_learned_at: Option<OffsetDateTime>,
    /// The application's id.
    pub reference: Option<String>,
}

impl Store {
    /// Uncertain messages in groups, the largest first, among the first [`COUNTED_AT_MOST`].
    pub async fn uncertain_groups(&self) -> Result<Vec<UncertainCount>, StoreError> {
        sqlx::query_as!(
            UncertainCount,
            r#"select u.sender as "sender!", u.doubt as "doubt!", count(*) as "messages!",
                 count(*) filter (where u.needs_person) as "needs_person!", min(u.begun_at) as "oldest_begun_at!",
                 (array_agg(u.id order by u.begun_at, u.id))[1] as "sample!"
               from (select sender, doubt, needs_person, begun_at, id from wa.uncertain order by id limit $1) u
               group by u.sender, u.doubt
               order by count(*) desc, u.sender, u.doubt"#,
            COUNTED_AT_MOST
        )
        .fetch_all(&self.pool)
        .await
        .doing("group the uncertain messages")
    }

    /// The uncertain messages like that in the order of their ids, after the one given; among the next [`COUNTED_AT_MOST`].
    pub async fn uncertain_like(
        &self,
        filter: &UncertainFilter,
        after: i64,
        limit: i64,
    ) -> Result<Vec<UncertainMessage>, StoreError> {
        sqlx::query_as!(
            UncertainMessage,
            "select u.id, u.sender, u.attempt, u.begun_at, u.doubt, u.waiting_for, u.needs_person
             from (select * from wa.uncertain where id > $4 order by id limit $6) u
             where ($1::text is null or u.sender = $1) and ($2::text is null or u.doubt = $2) and (not $3::bool or u.needs_person)
             order by u.id limit $5",
            filter.sender,
            filter.doubt,
            filter.needs_person,
            after,
            limit,
            COUNTED_AT_MOST
        )
        .fetch_all(&self.pool)
        .await
        .doing("list uncertain messages")
    }

    /// How many messages a word about this group would be about, among the first [`COUNTED_AT_MOST`].
    pub async fn count_uncertain(&self, filter: &UncertainFilter) -> Result<Counted, StoreError> {
        let counted = sqlx::query!(
            r#"select count(*) as "looked_at!",
                 count(*) filter (where ($1::text is null or u.sender = $1) and ($2::text is null or u.doubt = $2)
                   and (not $3::bool or u.needs_person)) as "messages!"
               from (select sender, doubt, needs_person from wa.uncertain order by id limit $4) u"#,
            filter.sender,
            filter.doubt,
            filter.needs_person,
            COUNTED_AT_MOST
        )
        .fetch_one(&self.pool)
        .await
        .doing("count the uncertain messages of a group")?;
        Ok(Counted {
            messages: counted.messages,
            is_whole: counted.looked_at < COUNTED_AT_MOST,
        })
    }

    /// Settles all uncertain messages like that by a person's word, written down with each of them.
    pub async fn resolve_group(
        &self,
        filter: &UncertainFilter,
        finding: GroupFinding,
        decider: Decider<'_>,
    ) -> Result<GroupSettled, StoreError> {
        let doing = "settle a group of uncertain messages";
        let what = match finding {
            GroupFinding::NotSent => "not_sent",
            GroupFinding::SendAgain => "send_again",
        };
        let decision = self.decide(what, &filter.in_words(), decider).await?;
        let Decider { by, reason } = decider;
        let mut done = GroupSettled::default();
        let mut after = i64::MIN;
        loop {
            let mut transaction = self.pool.begin().await.doing(doing)?;
            let rows = sqlx::query!(
                "select u.id, u.attempt from wa.uncertain u
                 where u.id > $1 and ($2::text is null or u.sender = $2) and ($3::text is null or u.doubt = $3)
                   and (not $4::bool or u.needs_person)
                 order by u.id limit $5
                 for update skip locked",
                after,
                filter.sender,
                filter.doubt,
                filter.needs_person,
                SLICE
            )
            .fetch_all(&mut *transaction)
            .await
            .doing(doing)?;
            let Some(last) = rows.last() else {
                return Ok(done);
            };
            after = last.id;
            let requests: Requests = rows.iter().map(|row| (row.id, row.attempt)).unzip();
            let settled = match finding {
                GroupFinding::NotSent => {
                    let message = format!("not sent, says {by}: {reason}");
                    end(&mut transaction, &requests, "failed", &message).await?
                }
                GroupFinding::SendAgain => {
                    let why = format!("its turn: sent again by {by}");
                    send_again(&mut transaction, &requests, &why).await?
                }
            };
            // They are locked, so those that are gone are the ones that were settled here.
            sqlx::query!(
                "update wa.attempts a set settled_by = $3, settled_at = now(), settled_note = $4
                 from unnest($1::bigint[], $2::int[]) as m (id, attempt)
                 where a.id = m.id and a.attempt = m.attempt
                   and not exists (select from wa.uncertain u where u.id = m.id and u.attempt = m.attempt)",
                &requests.0,
                &requests.1,
                storable(&format!("operator {by}")),
                storable(reason)
            )
            .execute(&mut *transaction)
            .await
            .doing(doing)?;
            add_to_decision(&mut transaction, decision, settled as i64).await?;
            transaction.commit().await.doing(doing)?;
            done.settled += settled;
            done.passed += rows.len() as u64 - settled;
        }
    }

    /// Messages that WhatsApp took twice, newest first, older than the one given. By an index that only they are in.
    pub async fn duplicates(
        &self,
        limit: i64,
        before: Option<i64>,
    ) -> Result<Vec<DuplicateMessage>, StoreError> {
        sqlx::query_as!(
            DuplicateMessage,
            r#"select r.id, r.sender, r.duplicate as "cause!", o.reference,
                 (select count(*) from wa.known_wamids a where a.id = r.id and a.sender = r.sender) as "wamids!",
                 (select max(a.learned_at) from wa.known_wamids a where a.id = r.id and a.sender = r.sender) as last_learned_at
               from wa.results r join wa.outbox o on o.id = r.id and o.sender = r.sender
               where r.duplicate is not null and r.id < coalesce($2::bigint, 9223372036854775807)
               order by r.id desc limit $1"#,
            limit,
            before
        )
        .fetch_all(&self.pool)
        .await
        .doing("list the duplicates")
    }
}

impl UncertainFilter {
    /// For those who read it later.
    fn in_words(&self) -> String {
        let mut words = "uncertain messages".to_owned();
        if self.needs_person {
            words += " that need a person";
        }
        if let Some(sender) = &self.sender {
            words += &format!(" of sender {sender}");
        }
        if let Some(doubt) = &self.doubt {
            words += &format!(": {doubt}");
        }
        storable(&words)
    }
}
