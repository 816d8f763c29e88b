//! What statuses say together about each message, and what follows from it: times, gates of sequences, held templates.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::MessageKey;
use crate::domain::hold::template_rest;
use crate::domain::outcome::{ApiError, HoldScope};
use crate::domain::status::Status;
use crate::domain::transition::in_words;
use crate::provider::{Class, Dialect, classify};
use crate::store::StoreError;
use crate::store::connections::Transaction;
use crate::store::error::Doing;
use crate::store::hold::MACHINE;
use crate::store::record::storable;
use crate::store::suppression::{STOPPED_MARKETING, note_stopped};

/// What the statuses of one message in one batch say together.
#[derive(Default)]
pub(super) struct News {
    sent_at: Option<OffsetDateTime>,
    delivered_at: Option<OffsetDateTime>,
    read_at: Option<OffsetDateTime>,
    played_at: Option<OffsetDateTime>,
    failed_at: Option<OffsetDateTime>,
    error: Option<ApiError>,
    /// One of them named the message by our token.
    pub(super) by_token: bool,
}

impl News {
    pub(super) fn take(&mut self, status: Status, at: OffsetDateTime, error: Option<&ApiError>) {
        let place = match status {
            Status::Sent => &mut self.sent_at,
            Status::Delivered => &mut self.delivered_at,
            Status::Read => &mut self.read_at,
            Status::Played => &mut self.played_at,
            Status::Failed => {
                self.error = self.error.take().or_else(|| error.cloned());
                &mut self.failed_at
            }
        };
        *place = Some(place.map_or(at, |known| known.min(at)));
    }
}

/// What is written for people about a failure: the details where there are any, else the title.
fn error_text(error: &ApiError) -> Option<String> {
    match (error.title.as_deref(), error.details.as_deref()) {
        (Some(title), Some(details)) if title != details => {
            Some(storable(&format!("{title}: {details}")))
        }
        (title, details) => details.or(title).map(storable),
    }
}

/// Writes what is new about messages, opens the gates of their sequences, and notes that webhooks flow. Says how many templates
/// are held for it.
pub(super) async fn write_news(
    transaction: &mut Transaction,
    news: BTreeMap<MessageKey, News>,
) -> Result<u64, StoreError> {
    if news.is_empty() {
        return Ok(0);
    }
    let doing = "apply statuses";
    let error_code = |one: &News| one.error.as_ref().and_then(|error| error.code);
    // Before what is told is applied: what was known already is not told anew.
    let stopped: Vec<(i64, OffsetDateTime)> = news
        .iter()
        .filter(|(_, one)| error_code(one) == Some(STOPPED_MARKETING))
        .filter_map(|(key, one)| Some((key.id, one.failed_at?)))
        .collect();
    note_stopped(transaction, &stopped).await?;
    let ids: Vec<i64> = news.keys().map(|key| key.id).collect();
    let senders: Vec<&str> = news.keys().map(|key| key.sender.as_str()).collect();
    let times = |pick: fn(&News) -> Option<OffsetDateTime>| -> Vec<Option<OffsetDateTime>> {
        news.values().map(pick).collect()
    };
    let error = |one: &News| one.error.clone().unwrap_or_default();
    let codes: Vec<Option<i64>> = news.values().map(|one| error(one).code).collect();
    let messages: Vec<Option<String>> = news.values().map(|one| error_text(&error(one))).collect();
    let members: Vec<i64> = sqlx::query_file_scalar!(
        "src/store/sql/apply_news.sql",
        &ids,
        &senders as &[&str],
        &times(|one| one.sent_at) as &[Option<OffsetDateTime>],
        &times(|one| one.delivered_at) as &[Option<OffsetDateTime>],
        &times(|one| one.read_at) as &[Option<OffsetDateTime>],
        &times(|one| one.played_at) as &[Option<OffsetDateTime>],
        &times(|one| one.failed_at) as &[Option<OffsetDateTime>],
        &codes as &[Option<i64>],
        &messages as &[Option<String>]
    )
    // Planned each time, like all updates by a list of keys: a plan that is kept may have been made for an empty table.
    .persistent(false)
    .fetch_all(&mut **transaction)
    .await
    .doing(doing)?;
    if !members.is_empty() {
        sqlx::query!("select wa.settle_sequences($1)", &members)
            .fetch_all(&mut **transaction)
            .await
            .doing("open the gates of sequences")?;
    }
    let by_token: Vec<bool> = news.values().map(|one| one.by_token).collect();
    sqlx::query_file!(
        "src/store/sql/note_flow.sql",
        &ids,
        &senders as &[&str],
        &by_token
    )
    .execute(&mut **transaction)
    .await
    .doing(doing)?;
    hold_templates(transaction, &news).await
}

/// Holds the templates of messages that were failed for their template. The codes are those of an answer (Meta, Error codes: any
/// may come either way).
async fn hold_templates(
    transaction: &mut Transaction,
    news: &BTreeMap<MessageKey, News>,
) -> Result<u64, StoreError> {
    let (mut ids, mut senders, mut failed_at) = (Vec::new(), Vec::new(), Vec::new());
    let (mut codes, mut reasons, mut rests) = (Vec::new(), Vec::new(), Vec::new());
    for (key, one) in news {
        let (Some(at), Some(error)) = (one.failed_at, &one.error) else {
            continue;
        };
        let Some(code) = error.code.filter(|code| holds_its_template(*code)) else {
            continue;
        };
        ids.push(key.id);
        senders.push(key.sender.as_str());
        failed_at.push(at);
        codes.push(code);
        reasons.push(storable(&in_words(error)));
        rests.push(template_rest(Some(code)).as_secs_f64());
    }
    if ids.is_empty() {
        return Ok(0);
    }
    let held = sqlx::query_file!(
        "src/store/sql/hold_for_failures.sql",
        &ids,
        &senders as &[&str],
        &failed_at,
        &codes,
        &reasons,
        &rests,
        MACHINE
    )
    .execute(&mut **transaction)
    .await
    .doing("hold templates for their failed messages")?;
    Ok(held.rows_affected())
}

/// A status does not say whose code it is, and need not: the tables contradict each other nowhere.
fn holds_its_template(code: i64) -> bool {
    classify(code, None, Dialect::OnPremises) == Class::Held(HoldScope::Template)
}
