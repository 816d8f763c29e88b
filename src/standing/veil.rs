//! Hides what the texts of a row tell of recipients.
//!
//! WhatsApp names recipients in its errors, and their words end up in many a column: why a sender or a template is held, what a message
//! waits for, why a sequence is halted or a campaign paused. Which columns those are is said here and nowhere else: whoever shows a row
//! takes it veiled, and whatever is made of it then, a sentence, a table or JSON, has nothing left to hide.

use crate::domain::mask::Eyes;
use crate::store::campaign::{Campaign, CampaignEvent};
use crate::store::campaign_progress::CampaignProgress;
use crate::store::failures::FailureCount;
use crate::store::groups::UncertainCount;
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
        there([&mut self.waiting_for, &mut self.error_message])
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
        there([
            &mut self.error_title,
            &mut self.error_details,
            &mut self.note,
            &mut self.settled_note,
        ])
    }
}

impl Veil for StatusRow {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.error_title, &mut self.error_details])
    }
}

impl Veil for SenderStanding {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([
            &mut self.held_reason,
            &mut self.released_why,
            &mut self.last_error,
        ])
    }
}

impl Veil for Sender {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.held_reason])
    }
}

impl Veil for ReleasedSender {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.held_reason])
    }
}

impl Veil for TemplateHold {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.released_why]).chain([&mut self.reason])
    }
}

impl Veil for SequenceStanding {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.halted_reason, &mut self.head_waits_for])
    }
}

impl Veil for SequenceEvent {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        [&mut self.reason].into_iter()
    }
}

impl Veil for Campaign {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.state_reason])
    }
}

impl Veil for CampaignProgress {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.waiting_for]).chain(self.put_off.iter_mut().map(|(why, _)| why))
    }
}

impl Veil for CampaignEvent {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.reason])
    }
}

impl Veil for FailureCount {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        there([&mut self.sample_message])
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

/// Those that are there.
fn there<const N: usize>(texts: [&mut Option<String>; N]) -> impl Iterator<Item = &mut String> {
    texts.into_iter().flatten()
}
