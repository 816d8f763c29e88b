//! Who must not be messaged: `wa.suppressions`.
//!
//! Looked at for rows of campaigns, when they are read ahead and again when they are begun; a row that meets one ends as cancelled
//! before any request. It fills itself: from WhatsApp's answer that somebody has stopped marketing messages (131050, as a
//! refusal or as a failed status), and from `user_preferences` webhooks. Those who come back by such a webhook are set free
//! of what WhatsApp had told, never of what a person has written.

use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::inbox::InboxBatch;
use super::record::storable;
use super::{Store, StoreError};
use crate::domain::id::SenderId;

/// "User has stopped marketing messages" (Meta, Error codes).
pub(super) const STOPPED_MARKETING: i64 = 131_050;

/// Somebody who is not to be messaged.
#[derive(Clone, Debug, Default)]
pub struct NewSuppression {
    /// A phone number with `+`, separators allowed, or another id as WhatsApp gave it.
    pub recipient: String,
    /// From this sender; none: from every one.
    pub sender: Option<String>,
    /// `marketing`, `utility` or `authentication`; none: every category.
    pub category: Option<String>,
    /// In words, for people.
    pub reason: String,
    /// It ends by itself then.
    pub expires_at: Option<OffsetDateTime>,
}

/// A row of `wa.suppressions`.
#[derive(Clone, Debug)]
pub struct Suppression {
    /// Its number.
    pub suppression: i64,
    /// Who.
    pub recipient: String,
    /// From this sender; none: from every one.
    pub sender: Option<String>,
    /// None: every category.
    pub category: Option<String>,
    /// In words.
    pub reason: String,
    /// `operator`, `import`, `answer` or `webhook`.
    pub source: String,
    /// It ends by itself then; it may have.
    pub expires_at: Option<OffsetDateTime>,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// By whom.
    pub created_by: String,
    /// Whether it stands at this moment.
    pub stands: bool,
}

/// Which suppressions.
#[derive(Clone, Debug, Default)]
pub struct SuppressionFilter {
    /// Of this recipient; separators allowed.
    pub recipient: Option<String>,
    /// Of this sender, those of every sender not among them.
    pub sender: Option<String>,
    /// Of this category, those of every category not among them.
    pub category: Option<String>,
}

/// What somebody has chosen in WhatsApp (a `user_preferences` webhook).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// To whom they said it.
    pub sender: SenderId,
    /// Who: a phone number with `+`, or an id of WhatsApp's.
    pub recipient: String,
    /// No marketing messages any more, or again.
    pub stops: bool,
    /// When they said it.
    pub at: OffsetDateTime,
}

impl Store {
    /// Suppresses recipients; one that is suppressed already (the same sender and category) gets the new reason and end. Says
    /// how many rows were written. `source`: `operator` or `import`.
    ///
    /// # Errors
    /// What the database refuses ([`StoreError::refusal`]); then none of them is written.
    pub async fn suppress(
        &self,
        suppressions: &[NewSuppression],
        source: &str,
        by: &str,
    ) -> Result<u64, StoreError> {
        let column = |pick: fn(&NewSuppression) -> Option<&str>| -> Vec<Option<&str>> {
            suppressions.iter().map(pick).collect()
        };
        let reasons: Vec<String> = suppressions
            .iter()
            .map(|one| storable(&one.reason))
            .collect();
        let ends: Vec<Option<OffsetDateTime>> =
            suppressions.iter().map(|one| one.expires_at).collect();
        let written = sqlx::query_file!(
            "src/store/sql/suppress.sql",
            &column(|one| Some(one.recipient.as_str())) as &[Option<&str>],
            &column(|one| one.sender.as_deref()) as &[Option<&str>],
            &column(|one| one.category.as_deref()) as &[Option<&str>],
            &reasons,
            &ends as &[Option<OffsetDateTime>],
            source,
            storable(by)
        )
        .execute(&self.pool)
        .await
        .doing("suppress recipients")?;
        Ok(written.rows_affected())
    }

    /// Takes suppressions away, whoever had written them. Without any filter: none. Says how many.
    pub async fn remove_suppressions(&self, filter: &SuppressionFilter) -> Result<u64, StoreError> {
        let removed = sqlx::query!(
            "delete from wa.suppressions s
             where ($1::text is not null or $2::text is not null or $3::text is not null)
               and ($1::text is null or s.recipient = wa.plain_recipient($1))
               and ($2::text is null or s.sender = $2) and ($3::text is null or s.category = $3)",
            filter.recipient,
            filter.sender,
            filter.category
        )
        .execute(&self.pool)
        .await
        .doing("take suppressions away")?;
        Ok(removed.rows_affected())
    }

    /// Suppressions in the order of their numbers, after the one given: a page of a list or an export.
    pub async fn suppressions(
        &self,
        filter: &SuppressionFilter,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Suppression>, StoreError> {
        sqlx::query_as!(
            Suppression,
            r#"select s.suppression, s.recipient, s.sender, s.category, s.reason, s.source, s.expires_at, s.created_at, s.created_by,
                 coalesce(s.expires_at > now(), true) as "stands!"
               from wa.suppressions s
               where s.suppression > $4
                 and ($1::text is null or s.recipient = wa.plain_recipient($1))
                 and ($2::text is null or s.sender = $2) and ($3::text is null or s.category = $3)
               order by s.suppression
               limit $5"#,
            filter.recipient,
            filter.sender,
            filter.category,
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .doing("list the suppressions")
    }

    /// Why a campaign of this category must not write to these recipients, each; none: it may. `recipients` as they are stored:
    /// a phone number is `+` and digits. A campaign without a category is taken for any.
    pub async fn suppressed_because(
        &self,
        recipients: &[String],
        sender: &str,
        category: Option<&str>,
    ) -> Result<Vec<Option<String>>, StoreError> {
        sqlx::query_scalar!(
            "select wa.suppressed_because(r.recipient, $2, $3) as reason
             from unnest($1::text[]) with ordinality as r (recipient, place) order by r.place",
            recipients,
            sender,
            category
        )
        .fetch_all(&self.pool)
        .await
        .doing("look recipients up among the suppressions")
    }
}

/// Notes that the recipients of these messages have stopped marketing messages, as far as WhatsApp had not said so of that
/// message before: its webhooks repeat, and somebody may have allowed it again meanwhile.
pub(super) async fn note_stopped(
    transaction: &mut Transaction,
    messages: &[(i64, OffsetDateTime)],
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = messages.iter().map(|(id, _)| *id).collect();
    let times: Vec<OffsetDateTime> = messages.iter().map(|(_, at)| *at).collect();
    sqlx::query!(
        r#"select wa.note_preferences(array_agg(m.recipient), array_agg(m.sender), array_agg(true), 'answer', array_agg(m.at)) as "changed!"
         from (
           select o.recipient, o.sender, max(n.at) as at
           from unnest($1::bigint[], $2::timestamptz[]) as n (id, at)
           join wa.outbox o on o.id = n.id
           where not exists (select from wa.results r where r.id = o.id and r.sender = o.sender and r.failed_at is not null)
           group by o.recipient, o.sender
         ) m"#,
        &ids,
        &times
    )
    .fetch_one(&mut **transaction)
    .await
    .doing("suppress recipients that have stopped marketing messages")
    .map(drop)
}

impl InboxBatch {
    /// Applies what people have chosen in WhatsApp. Says how many suppressions came or went; what somebody keeps from being written at
    /// once is not waited for ([`Store::look_after_sequences`] comes back to it).
    pub async fn apply_preferences(&mut self, chosen: &[Preference]) -> Result<u64, StoreError> {
        if chosen.is_empty() {
            return Ok(0);
        }
        let recipients: Vec<&str> = chosen.iter().map(|one| one.recipient.as_str()).collect();
        let senders: Vec<&str> = chosen.iter().map(|one| one.sender.as_str()).collect();
        let stops: Vec<bool> = chosen.iter().map(|one| one.stops).collect();
        let times: Vec<OffsetDateTime> = chosen.iter().map(|one| one.at).collect();
        let changed = sqlx::query_scalar!(
            r#"select wa.note_preferences($1, $2, $3, 'webhook', $4) as "changed!""#,
            &recipients as &[&str],
            &senders as &[&str],
            &stops,
            &times
        )
        .fetch_one(&mut *self.transaction)
        .await
        .doing("apply what recipients have chosen")?;
        Ok(changed as u64)
    }
}
