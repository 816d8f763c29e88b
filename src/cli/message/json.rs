//! A message as scripts read it: the columns of `wa.messages`, with their names.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::domain::mask::Eyes;
use crate::store::message::{AcceptanceRow, AttemptRow, LeftOut, Message, StatusRow, Timeline};

/// One message. Times are RFC 3339; what is not there is null.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct MessageJson<'a> {
    id: i64,
    sender: &'a str,
    recipient: Cow<'a, str>,
    state: &'a str,
    status: Option<&'a str>,
    wamid: Option<Cow<'a, str>>,
    attempts: i32,
    waiting_for: Option<&'a str>,
    error_code: Option<i64>,
    error_message: Option<&'a str>,
    priority: i16,
    #[serde(with = "time::serde::rfc3339")]
    due_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    sequence: Option<&'a str>,
    dedup_key: Option<&'a str>,
    reference: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    accepted_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    sent_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    delivered_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    read_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    failed_at: Option<OffsetDateTime>,
    duplicate: Option<&'a str>,
    status_conflict: bool,
}

impl<'a> MessageJson<'a> {
    /// The message as these eyes may see it.
    pub(in crate::cli) fn of(message: &'a Message, eyes: Eyes) -> Self {
        Self {
            id: message.id,
            sender: &message.sender,
            recipient: eyes.recipient(&message.recipient),
            state: &message.state,
            status: message.status.as_deref(),
            wamid: message.wamid.as_deref().map(|wamid| eyes.wamid(wamid)),
            attempts: message.attempts,
            waiting_for: message.waiting_for.as_deref(),
            error_code: message.error_code,
            error_message: message.error_message.as_deref(),
            priority: message.priority,
            due_at: message.due_at,
            expires_at: message.expires_at,
            sequence: message.sequence.as_deref(),
            dedup_key: message.dedup_key.as_deref(),
            reference: message.reference.as_deref(),
            created_at: message.created_at,
            accepted_at: message.accepted_at,
            sent_at: message.sent_at,
            delivered_at: message.delivered_at,
            read_at: message.read_at,
            failed_at: message.failed_at,
            duplicate: message.duplicate.as_deref(),
            status_conflict: message.status_conflict,
        }
    }
}

/// One message without its history.
#[derive(Debug, Serialize)]
pub(super) struct WhyJson<'a> {
    pub(super) sentence: String,
    #[serde(flatten)]
    pub(super) message: MessageJson<'a>,
}

/// One message with its history.
#[derive(Debug, Serialize)]
pub(super) struct TimelineJson<'a> {
    #[serde(flatten)]
    message: MessageJson<'a>,
    requests: Vec<RequestJson<'a>>,
    acceptances: Vec<AcceptanceJson<'a>>,
    statuses: Vec<StatusJson<'a>>,
    left_out: LeftOutJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct RequestJson<'a> {
    attempt: i32,
    #[serde(with = "time::serde::rfc3339::option")]
    begun_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    ended_at: OffsetDateTime,
    outcome: &'a str,
    http_status: Option<i32>,
    error_code: Option<i64>,
    error_title: Option<&'a str>,
    error_details: Option<&'a str>,
    fbtrace_id: Option<&'a str>,
    note: Option<&'a str>,
    settled_by: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339::option")]
    settled_at: Option<OffsetDateTime>,
    settled_note: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct AcceptanceJson<'a> {
    attempt: i32,
    wamid: Cow<'a, str>,
    learned_from: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    learned_at: OffsetDateTime,
}

#[derive(Debug, Serialize)]
struct StatusJson<'a> {
    status: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    occurred_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    received_at: OffsetDateTime,
    error_code: Option<i64>,
    error_title: Option<&'a str>,
    error_details: Option<&'a str>,
}

/// How many stand between the first and the newest of each list; 0 where it is whole.
#[derive(Debug, Serialize)]
struct LeftOutJson {
    requests: i64,
    acceptances: i64,
    statuses: i64,
}

impl<'a> TimelineJson<'a> {
    /// The message, its requests, its wamids and its statuses; `payload` is shown only to eyes that may see all.
    pub(super) fn of(timeline: &'a Timeline, payload: Option<&'a RawValue>, eyes: Eyes) -> Self {
        let acceptance = |row: &'a AcceptanceRow| AcceptanceJson {
            attempt: row.attempt,
            wamid: eyes.wamid(row.wamid.reveal()),
            learned_from: &row.learned_from,
            learned_at: row.learned_at,
        };
        Self {
            message: MessageJson::of(&timeline.message, eyes),
            requests: timeline.attempts.iter().map(RequestJson::of).collect(),
            acceptances: timeline.acceptances.iter().map(acceptance).collect(),
            statuses: timeline.statuses.iter().map(StatusJson::of).collect(),
            left_out: LeftOutJson::of(timeline.left_out),
            payload: payload.filter(|_| eyes.reveal),
        }
    }
}

impl LeftOutJson {
    fn of(left_out: LeftOut) -> Self {
        Self {
            requests: left_out.requests,
            acceptances: left_out.acceptances,
            statuses: left_out.statuses,
        }
    }
}

impl<'a> RequestJson<'a> {
    fn of(row: &'a AttemptRow) -> Self {
        Self {
            attempt: row.attempt,
            begun_at: row.begun_at,
            ended_at: row.ended_at,
            outcome: &row.outcome,
            http_status: row.http_status,
            error_code: row.error_code,
            error_title: row.error_title.as_deref(),
            error_details: row.error_details.as_deref(),
            fbtrace_id: row.fbtrace_id.as_deref(),
            note: row.note.as_deref(),
            settled_by: row.settled_by.as_deref(),
            settled_at: row.settled_at,
            settled_note: row.settled_note.as_deref(),
        }
    }
}

impl<'a> StatusJson<'a> {
    fn of(row: &'a StatusRow) -> Self {
        Self {
            status: &row.status,
            occurred_at: row.occurred_at,
            received_at: row.received_at,
            error_code: row.error_code,
            error_title: row.error_title.as_deref(),
            error_details: row.error_details.as_deref(),
        }
    }
}
