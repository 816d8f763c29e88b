//! Kinds of messages, by what WhatsApp will say of them once it has taken them.
//!
//! A sequence lets its next message leave when the one in front is delivered. It must not wait for a status that cannot come,
//! nor for one that need not: so here stands, for each kind, the last status it can have, with the source of the fact. The
//! database decides by the same table (`wa.message_kind`, `wa.last_status`, `wa.opens_gate`), because lines advance in
//! transactions in which no program of ours runs; a test compares the two.

use std::time::Duration;

use super::status::Status;

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Text, media, location, contacts, interactive, template, and whatever kind there will be.
    Ordinary,
    /// An audio message sent as a voice note; the only kind that can be [`Status::Played`].
    VoiceNote,
    /// A reaction to a message.
    Reaction,
    /// A mark-as-read or a typing indicator: sent through the same door, but no message.
    MarkAsRead,
}

/// What is known of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindFacts {
    /// The kind.
    pub kind: MessageKind,
    /// Its name in the database.
    pub name: &'static str,
    /// The last status that a message of this kind can have, apart from `failed`; none when it has no status ever.
    pub last_status: Option<Status>,
    /// Where that is said.
    pub source: &'static str,
}

/// What is known of every kind.
pub const KINDS: [KindFacts; 4] = [
    KindFacts {
        kind: MessageKind::Ordinary,
        name: "ordinary",
        // It need not come: a recipient may have read receipts switched off.
        last_status: Some(Status::Read),
        source: "Meta, Status messages webhook reference, Triggers",
    },
    KindFacts {
        kind: MessageKind::VoiceNote,
        name: "voice_note",
        last_status: Some(Status::Played),
        source: "Meta, Status messages webhook reference, November 2025",
    },
    KindFacts {
        kind: MessageKind::Reaction,
        name: "reaction",
        last_status: Some(Status::Sent),
        source: "Meta, Reaction messages, Limitations",
    },
    KindFacts {
        kind: MessageKind::MarkAsRead,
        name: "mark_as_read",
        // Answered {"success":true}, without an id: there is nothing that a status could speak of.
        last_status: None,
        source: "Meta, Typing indicators; OpenAPI v23.0",
    },
];

/// How long WhatsApp tries to deliver a message that says nothing of it (Meta, "Send messages", *Message Time-To-Live*).
pub const TIME_TO_LIVE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The same for an authentication template (ibid.).
pub const AUTHENTICATION_TIME_TO_LIVE: Duration = Duration::from_secs(10 * 60);
/// How much longer a delivery is waited for: a message dropped at the end of its life sends no webhook, and Meta says to assume
/// so after a small buffer (ibid.).
pub const TIME_TO_LIVE_MARGIN: Duration = Duration::from_secs(5 * 60);

impl MessageKind {
    /// The kind of that name in the database.
    pub fn parse(name: &str) -> Option<Self> {
        let facts = KINDS.iter().find(|facts| facts.name == name);
        facts.map(|facts| facts.kind)
    }

    /// What is known of it.
    pub fn facts(self) -> &'static KindFacts {
        match self {
            Self::Ordinary => &KINDS[0],
            Self::VoiceNote => &KINDS[1],
            Self::Reaction => &KINDS[2],
            Self::MarkAsRead => &KINDS[3],
        }
    }

    /// The last status that a message of this kind can have, apart from `failed`; none when it has no status ever.
    pub fn last_status(self) -> Option<Status> {
        self.facts().last_status
    }

    /// Whether the next message of a sequence may leave as soon as this one is accepted, because no status will come.
    pub fn releases_on_acceptance(self) -> bool {
        self.last_status().is_none()
    }
}

/// Whether `status`, of a message of this kind, lets the next message of its sequence leave.
///
/// Meta's own rule is to wait for `delivered` (Meta, "Send messages", *Delivery sequence of multiple messages*).
/// `read` and `played` release too, because they may come in its place; and `sent` releases where nothing more can
/// come. `failed` releases nothing: what then happens is the sequence's own setting. `held_for_quality_assessment` is part of
/// an acceptance and no status at all.
pub fn releases(kind: MessageKind, status: Status) -> bool {
    status.proves_delivery() || (status == Status::Sent && kind.last_status() == Some(Status::Sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_by_its_name_and_knows_its_facts() {
        for facts in &KINDS {
            assert_eq!(MessageKind::parse(facts.name), Some(facts.kind));
            assert_eq!(facts.kind.facts(), facts);
            assert!(facts.source.starts_with("Meta, "));
        }
        assert_eq!(MessageKind::parse("text"), None);
    }

    #[test]
    fn a_reaction_releases_its_sequence_by_sent_and_nothing_else_does() {
        assert!(releases(MessageKind::Reaction, Status::Sent));
        assert!(!releases(MessageKind::Ordinary, Status::Sent));
        assert!(!releases(MessageKind::VoiceNote, Status::Sent));
    }

    #[test]
    fn every_proof_of_delivery_releases_and_failed_never_does() {
        for KindFacts { kind, .. } in KINDS {
            assert!(releases(kind, Status::Delivered));
            assert!(releases(kind, Status::Read));
            assert!(releases(kind, Status::Played));
            assert!(!releases(kind, Status::Failed));
        }
    }

    #[test]
    fn each_kind_waits_for_a_status_that_it_can_have() {
        for KindFacts {
            kind, last_status, ..
        } in KINDS
        {
            match last_status {
                Some(last) => assert!(releases(kind, last), "{kind:?} would wait for ever"),
                None => assert!(
                    kind.releases_on_acceptance(),
                    "{kind:?} would wait for ever"
                ),
            }
        }
    }
}
