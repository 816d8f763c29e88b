//! An event as scripts read it.

use std::borrow::Cow;

use serde::Serialize;
use time::OffsetDateTime;

use crate::domain::event::{Event, EventKind};
use crate::domain::mask::Eyes;
use crate::standing::failure::meaning;
use crate::store::tail::MessageTold;

/// One line.
#[derive(Default, Serialize)]
pub(super) struct EventJson<'a> {
    #[serde(with = "time::serde::rfc3339::option")]
    at: Option<OffsetDateTime>,
    event: &'static str,
    sender: Option<&'a str>,
    message: Option<i64>,
    attempt: Option<i32>,
    recipient: Option<Cow<'a, str>>,
    campaign_id: Option<i64>,
    sequence: Option<&'a str>,
    reference: Option<&'a str>,
    about: Option<&'a str>,
    code: Option<i64>,
    meaning: Option<&'static str>,
    remedy: Option<&'static str>,
    again_in_s: Option<f64>,
    by: Option<&'a str>,
    text: Option<&'a str>,
    left_out: Option<u64>,
}

impl<'a> EventJson<'a> {
    pub(super) fn of(event: &'a Event, message: Option<&'a MessageTold>, eyes: Eyes) -> Self {
        let meaning = event.code.map(|code| meaning(Some(code)));
        Self {
            at: Some(event.at),
            event: event.kind.as_str(),
            sender: Some(&event.sender),
            message: event.message,
            attempt: event.attempt,
            recipient: message.map(|message| eyes.recipient(&message.recipient)),
            campaign_id: event
                .campaign
                .or_else(|| message.and_then(|message| message.campaign)),
            sequence: message.and_then(|message| message.sequence.as_deref()),
            reference: message.and_then(|message| message.reference.as_deref()),
            about: event.about.as_deref(),
            code: event.code,
            meaning: meaning.map(|(title, _)| title),
            remedy: meaning.map(|(_, remedy)| remedy),
            again_in_s: event.again_in_s,
            by: event.by.as_deref(),
            text: event.text.as_deref(),
            left_out: None,
        }
    }

    /// There were more, which nobody was told.
    pub(super) fn left_out(at: OffsetDateTime, events: u64) -> Self {
        Self {
            at: Some(at),
            event: LEFT_OUT,
            left_out: Some(events),
            ..Self::default()
        }
    }

    pub(super) fn line(&self) -> String {
        // Texts and numbers always have a JSON.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// What is no event: a count of events.
const LEFT_OUT: &str = "left_out";

const _: () = assert!(EventKind::ALL.len() == 28, "is the new kind in HELP?");
