//! Hides what the texts of a row tell of recipients.
//!
//! WhatsApp names recipients in its errors, and their words end up in many a column: why a sender or a template is held, what a message
//! waits for, why a sequence is halted or a campaign paused. Which columns those are is said here and nowhere else: whoever shows a row
//! takes it veiled, and whatever is made of it then, a sentence, a table or JSON, has nothing left to hide.
//!
//! What a person wrote, why they hold a sender or cancel a message, is shown as they wrote it: the number in it is of a ticket. Who wrote
//! it stands beside it. What the database has made of several columns (`waiting_for` of a message) does not say, and is veiled.

use crate::domain::event::Event;
use crate::domain::mask::Eyes;
use crate::store::campaign::{Campaign, CampaignEvent};
use crate::store::campaign_progress::CampaignProgress;
use crate::store::failures::FailureCount;
use crate::store::groups::UncertainCount;
use crate::store::hold::MACHINE;
use crate::store::message::{AttemptRow, Message, StatusRow, Timeline};
use crate::store::recovery::ReleasedSender;
use crate::store::sender::Sender;
use crate::store::sequence::{SequenceEvent, SequenceStanding};
use crate::store::summary::SenderStanding;
use crate::store::template_hold::TemplateHold;
use crate::store::uncertain::UncertainMessage;

/// A row with texts that may be WhatsApp's.
pub trait Veil: Sized {
    /// Those texts.
    fn texts(&mut self) -> impl Iterator<Item = &mut String>;

    /// The row as these eyes may see it.
    #[must_use]
    fn veiled(mut self, eyes: Eyes) -> Self {
        for text in self.texts() {
            *text = eyes.text(text).into_owned();
        }
        self
    }
}

impl<T: Veil> Veil for Vec<T> {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        self.iter_mut().flat_map(T::texts)
    }
}

impl<T: Veil> Veil for Option<T> {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        self.iter_mut().flat_map(T::texts)
    }
}

impl Veil for Message {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let ended = ended_by_a_person(self.error_code, self.error_message.as_deref());
        there([&mut self.waiting_for]).chain(unless(ended, &mut self.error_message))
    }
}

impl Veil for Timeline {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let requests = self.attempts.texts();
        let statuses = self.statuses.texts();
        self.message.texts().chain(requests).chain(statuses)
    }
}

impl Veil for AttemptRow {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let settled = (self.settled_by.as_deref()).is_some_and(|by| by.starts_with("operator "));
        there([
            &mut self.error_title,
            &mut self.error_details,
            &mut self.note,
        ])
        .chain(unless(settled, &mut self.settled_note))
    }
}

impl Veil for StatusRow {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.error_title, &mut self.error_details])
    }
}

impl Veil for SenderStanding {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.last_error])
            .chain(unless(by_a_person(&self.held_by), &mut self.held_reason))
            .chain(unless(
                by_a_person(&self.released_by),
                &mut self.released_why,
            ))
    }
}

impl Veil for Sender {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        unless(by_a_person(&self.held_by), &mut self.held_reason)
    }
}

impl Veil for ReleasedSender {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        unless(by_a_person(&self.held_by), &mut self.held_reason)
    }
}

impl Veil for TemplateHold {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        unless(self.cause == "operator", [&mut self.reason]).chain(unless(
            by_a_person(&self.released_by),
            &mut self.released_why,
        ))
    }
}

impl Veil for SequenceStanding {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let cancelled = self.halted_cause.as_deref() == Some("cancelled");
        there([&mut self.head_waits_for]).chain(unless(cancelled, &mut self.halted_reason))
    }
}

impl Veil for SequenceEvent {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        unless(is_a_person(&self.author), [&mut self.reason])
    }
}

impl Veil for Campaign {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        unless(is_a_person(&self.state_changed_by), &mut self.state_reason)
    }
}

impl Veil for CampaignProgress {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let put_off = self.put_off.iter_mut().map(|(why, _)| why);
        unless(self.for_a_person, &mut self.waiting_for).chain(put_off)
    }
}

impl Veil for CampaignEvent {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        unless(is_a_person(&self.author), &mut self.reason)
    }
}

impl Veil for FailureCount {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let ended = ended_by_a_person(self.code, self.sample_message.as_deref());
        unless(ended, &mut self.sample_message)
    }
}

impl Veil for UncertainMessage {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        [&mut self.doubt, &mut self.waiting_for].into_iter()
    }
}

impl Veil for UncertainCount {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        [&mut self.doubt].into_iter()
    }
}

impl Veil for Event {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let told = by_a_person(&self.by) || ended_by_a_person(self.code, self.text.as_deref());
        unless(told, &mut self.text)
    }
}

/// These texts, unless a person wrote them.
fn unless<'a>(
    a_persons: bool,
    texts: impl IntoIterator<Item = &'a mut String>,
) -> impl Iterator<Item = &'a mut String> {
    texts.into_iter().filter(move |_| !a_persons)
}

fn by_a_person(author: &Option<String>) -> bool {
    author.as_deref().is_some_and(is_a_person)
}

fn is_a_person(author: &str) -> bool {
    author != MACHINE
}

/// Whether a message ended by a person's word. What WhatsApp says has a code, or begins with the HTTP status.
fn ended_by_a_person(code: Option<i64>, text: Option<&str>) -> bool {
    let begins = |text: &str| {
        ["cancelled by ", "not sent, says "]
            .iter()
            .any(|start| text.starts_with(start))
    };
    code.is_none() && text.is_some_and(begins)
}

/// Those that are there.
fn there<const N: usize>(texts: [&mut Option<String>; N]) -> impl Iterator<Item = &mut String> {
    texts.into_iter().flatten()
}
