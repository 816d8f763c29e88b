//! What attempts come to, as events for whoever watches; and what did not come about, for the log.

use time::OffsetDateTime;
use tracing::warn;

use crate::domain::event::{Event, EventKind};
use crate::domain::id::{AttemptNumber, MessageId, SenderId};
use crate::domain::outcome::Outcome;
use crate::domain::transition::Transition;
use crate::store::StoreError;
use crate::store::record::{Record, Recorded};

/// A part of a look could not be done: it is tried again by the next one, and the other parts go on.
pub(super) fn unless_done<T>(part: Result<T, StoreError>, doing: &str) {
    if let Err(error) = part {
        warn!(
            error = &error as &dyn std::error::Error,
            "Could not {doing}; trying again"
        );
    }
}

/// An attempt of a message.
pub(super) fn attempt(
    at: OffsetDateTime,
    kind: EventKind,
    sender: &SenderId,
    message: MessageId,
    attempt: AttemptNumber,
) -> Event {
    Event {
        message: Some(message.0),
        attempt: Some(attempt.0),
        ..Event::new(at, kind, sender.as_str())
    }
}

/// What became of an attempt, as far as it was news to the database: an acceptance that a webhook had told was told then.
pub(super) fn outcome(at: OffsetDateTime, record: &Record, recorded: &Recorded) -> Option<Event> {
    let of = |kind| attempt(at, kind, &record.sender, record.id, record.attempt);
    Some(match &record.transition {
        Transition::Accept(acceptance) => {
            let is_news = acceptance.wamid.is_none() || recorded.accepted_ids.contains(&record.id);
            is_news.then(|| of(EventKind::Accepted))?
        }
        Transition::Fail { code, message } => Event {
            code: *code,
            text: Some(message.clone()),
            ..of(EventKind::Failed)
        },
        Transition::Requeue {
            after, waiting_for, ..
        } => {
            let account = record.account.as_ref();
            let is_throttled = account.is_some_and(|account| account.outcome == Outcome::THROTTLED);
            Event {
                code: account.and_then(|account| account.error.code),
                again_in_s: Some(after.as_secs_f64()),
                text: Some(waiting_for.clone()),
                ..of(match is_throttled {
                    true => EventKind::Throttled,
                    false => EventKind::Deferred,
                })
            }
        }
        Transition::Doubt { doubt, .. } => Event {
            text: Some(doubt.clone()),
            ..of(EventKind::Uncertain)
        },
    })
}
