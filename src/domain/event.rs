//! What happens to messages, senders, templates, sequences and campaigns, as it is told to whoever watches at that moment.
//!
//! An event names ids and says what we or WhatsApp say; it holds no recipient, no wamid and no content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An attempt is written down; its request may leave.
    Begun,
    /// WhatsApp took the message.
    Accepted,
    /// Not this time: it was not sent, or could not be done, and is tried again.
    Deferred,
    /// Told to slow down.
    Throttled,
    /// The message failed.
    Failed,
    /// The answer was lost.
    Uncertain,
    /// What became of a message that was uncertain.
    Settled,
    /// Only a person can settle it.
    LeftToPerson,
    /// Its time passed.
    Expired,
    /// It was cancelled.
    Cancelled,
    /// WhatsApp's status `sent`.
    Sent,
    /// WhatsApp's status `delivered`.
    Delivered,
    /// WhatsApp's status `read`.
    Read,
    /// WhatsApp's status `played`.
    Played,
    /// WhatsApp's status `failed`: it took the message and gave it up.
    Undelivered,
    /// A sender rests.
    SenderHeld,
    /// A sender goes on.
    SenderReleased,
    /// A template rests.
    TemplateHeld,
    /// A template goes on.
    TemplateReleased,
    /// A sequence waits for a person.
    SequenceHalted,
    /// A sequence goes on.
    SequenceResumed,
    /// A sequence went on without a message.
    SequenceSkipped,
    /// What waited in a sequence was cancelled.
    SequenceCancelled,
    /// A campaign was started.
    CampaignStarted,
    /// A campaign rests.
    CampaignPaused,
    /// A campaign goes on.
    CampaignResumed,
    /// Nothing of a campaign is left.
    CampaignDone,
    /// A campaign was cancelled, with all its rows that have not left.
    CampaignCancelled,
}

impl EventKind {
    /// All of them, in the order in which people read about them.
    pub const ALL: [Self; 28] = [
        Self::Begun,
        Self::Accepted,
        Self::Deferred,
        Self::Throttled,
        Self::Failed,
        Self::Uncertain,
        Self::Settled,
        Self::LeftToPerson,
        Self::Expired,
        Self::Cancelled,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Played,
        Self::Undelivered,
        Self::SenderHeld,
        Self::SenderReleased,
        Self::TemplateHeld,
        Self::TemplateReleased,
        Self::SequenceHalted,
        Self::SequenceResumed,
        Self::SequenceSkipped,
        Self::SequenceCancelled,
        Self::CampaignStarted,
        Self::CampaignPaused,
        Self::CampaignResumed,
        Self::CampaignDone,
        Self::CampaignCancelled,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::Uncertain => "uncertain",
            Self::Settled => "settled",
            Self::LeftToPerson => "left_to_person",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Undelivered => "undelivered",
            Self::SenderHeld => "sender_held",
            Self::SenderReleased => "sender_released",
            Self::TemplateHeld => "template_held",
            Self::TemplateReleased => "template_released",
            Self::SequenceHalted => "sequence_halted",
            Self::SequenceResumed => "sequence_resumed",
            Self::SequenceSkipped => "sequence_skipped",
            Self::SequenceCancelled => "sequence_cancelled",
            Self::CampaignStarted => "campaign_started",
            Self::CampaignPaused => "campaign_paused",
            Self::CampaignResumed => "campaign_resumed",
            Self::CampaignDone => "campaign_done",
            Self::CampaignCancelled => "campaign_cancelled",
        }
    }

    /// How it looks to whoever waits for good news.
    pub fn tone(self) -> Tone {
        match self {
            Self::Begun
            | Self::Sent
            | Self::Settled
            | Self::Cancelled
            | Self::SenderReleased
            | Self::TemplateReleased
            | Self::SequenceResumed
            | Self::SequenceSkipped
            | Self::SequenceCancelled
            | Self::CampaignStarted
            | Self::CampaignResumed
            | Self::CampaignDone
            | Self::CampaignCancelled => Tone::Plain,
            Self::Accepted | Self::Delivered | Self::Read | Self::Played => Tone::Good,
            Self::Deferred | Self::Throttled => Tone::Slow,
            Self::Failed
            | Self::Uncertain
            | Self::LeftToPerson
            | Self::Expired
            | Self::Undelivered
            | Self::SenderHeld
            | Self::TemplateHeld
            | Self::SequenceHalted
            | Self::CampaignPaused => Tone::Bad,
        }
    }
}

/// How an event looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Neither good nor bad.
    Plain,
    /// As it should be.
    Good,
    /// It takes longer.
    Slow,
    /// Somebody may have to look.
    Bad,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that is no kind of event.
#[derive(Debug, thiserror::Error)]
#[error("there is no such kind of event")]
pub struct UnknownKind;

impl FromStr for EventKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        found.ok_or(UnknownKind)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the clock of who tells it.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What.
    pub kind: EventKind,
    /// To this sender, or to something of its.
    pub sender: String,
    /// To this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<i64>,
    /// In this request for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// WhatsApp's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// It is tried again after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_in_s: Option<f64>,
    /// To this campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<i64>,
    /// The name of the template, sequence or campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Event {
    /// One of which no more is known.
    pub fn new(at: OffsetDateTime, kind: EventKind, sender: &str) -> Self {
        Self {
            at,
            kind,
            sender: sender.to_owned(),
            message: None,
            attempt: None,
            code: None,
            again_in_s: None,
            campaign: None,
            about: None,
            by: None,
            text: None,
        }
    }
}

/// Which events somebody wants to be told. The default: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// Of this sender.
    pub sender: Option<String>,
    /// Of this message.
    pub message: Option<i64>,
    /// Of these kinds; of all where it is empty.
    pub kinds: Vec<EventKind>,
    /// Of this campaign and its messages.
    pub campaign: Option<i64>,
    /// Of sequences of this name and their messages.
    pub sequence: Option<String>,
}

/// What an event does not say of its message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Belonging<'a> {
    /// Its campaign.
    pub campaign: Option<i64>,
    /// Its sequence.
    pub sequence: Option<&'a str>,
}

impl EventFilter {
    /// Whether the event may be one of them, by what it says itself.
    pub fn may_admit(&self, event: &Event) -> bool {
        let is = |wanted: &Option<i64>, found| wanted.is_none() || *wanted == found;
        let of_sender = (self.sender.as_ref()).is_none_or(|sender| *sender == event.sender);
        let of_kind = self.kinds.is_empty() || self.kinds.contains(&event.kind);
        of_sender && of_kind && is(&self.message, event.message)
    }

    /// Whether it asks for what only the message's row tells.
    pub fn asks_for_belonging(&self) -> bool {
        self.campaign.is_some() || self.sequence.is_some()
    }

    /// Whether the event is one of them, where this is known of its message.
    pub fn admits(&self, event: &Event, message: Belonging<'_>) -> bool {
        let campaign = event.campaign.or(message.campaign);
        let named = || match event.kind {
            EventKind::SequenceHalted
            | EventKind::SequenceResumed
            | EventKind::SequenceSkipped
            | EventKind::SequenceCancelled => event.about.as_deref(),
            _ => None,
        };
        let sequence = message.sequence.or_else(named);
        self.may_admit(event)
            && (self.campaign.is_none() || self.campaign == campaign)
            && (self.sequence.is_none() || self.sequence.as_deref() == sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> Event {
        Event {
            message: Some(7),
            ..Event::new(OffsetDateTime::UNIX_EPOCH, kind, "4711")
        }
    }

    #[test]
    fn every_kind_is_written_by_its_one_name() {
        for kind in EventKind::ALL {
            let written = serde_json::to_value(kind).expect("JSON");
            assert_eq!(written, kind.as_str());
            assert_eq!(kind.as_str().parse::<EventKind>().ok(), Some(kind));
        }
        assert!("sends".parse::<EventKind>().is_err());
    }

    #[test]
    fn a_filter_admits_what_all_of_it_admits() {
        let unknown = Belonging::default();
        let all = EventFilter::default();
        assert!(all.admits(&event(EventKind::Begun), unknown));
        let filter = EventFilter {
            sender: Some("4711".into()),
            message: Some(7),
            kinds: vec![EventKind::Failed],
            ..all
        };
        assert!(filter.admits(&event(EventKind::Failed), unknown));
        assert!(!filter.admits(&event(EventKind::Begun), unknown));
        let mut other = event(EventKind::Failed);
        other.sender = "4712".into();
        assert!(!filter.admits(&other, unknown));
        other = event(EventKind::Failed);
        other.message = None;
        assert!(!filter.admits(&other, unknown));
    }

    #[test]
    fn what_a_message_belongs_to_is_told_by_its_row_or_by_the_event() {
        let of_campaign = EventFilter {
            campaign: Some(3),
            ..EventFilter::default()
        };
        let row = |campaign, sequence| Belonging { campaign, sequence };
        let begun = event(EventKind::Begun);
        assert!(of_campaign.admits(&begun, row(Some(3), None)));
        assert!(!of_campaign.admits(&begun, row(Some(4), None)));
        assert!(!of_campaign.admits(&begun, row(None, None)));
        let mut paused = event(EventKind::CampaignPaused);
        paused.campaign = Some(3);
        assert!(of_campaign.admits(&paused, row(None, None)));

        let of_sequence = EventFilter {
            sequence: Some("order-17".into()),
            ..EventFilter::default()
        };
        assert!(of_sequence.admits(&begun, row(None, Some("order-17"))));
        assert!(!of_sequence.admits(&begun, row(None, None)));
        let mut halted = event(EventKind::SequenceHalted);
        halted.about = Some("order-17".into());
        assert!(of_sequence.admits(&halted, row(None, None)));
        let mut held = event(EventKind::TemplateHeld);
        held.about = Some("order-17".into());
        assert!(!of_sequence.admits(&held, row(None, None)));
    }

    #[test]
    fn a_filter_of_another_version_is_read_as_far_as_it_is_known() {
        let filter: EventFilter =
            serde_json::from_str(r#"{"sender":"4711","mood":"grim"}"#).expect("a filter");
        assert_eq!(filter.sender.as_deref(), Some("4711"));
    }
}
