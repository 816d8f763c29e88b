//! What is said about another message: reactions, pins, and that it was read.

use serde::{Deserialize, Serialize};

use super::Fields;

/// A reaction to a message (Meta, "Reaction messages"). It can be no reply, gets no status after `sent`, and fails for a message that
/// was deleted or is older than 30 days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reaction {
    /// The message's wamid.
    pub message_id: String,
    /// One emoji; empty takes the reaction back.
    pub emoji: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Pins a message of a group, or takes the pin off (Meta, "Group messaging"). At most 3 are pinned, for 1 to 30 days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    /// `pin` or `unpin`.
    #[serde(rename = "type")]
    pub operation: String,
    /// The message's wamid.
    pub message_id: String,
    /// How long it stays pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_days: Option<u32>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Marks a message of the recipient's, and all before it, as read (Meta, "Mark messages as read"). It is no message itself: it is
/// answered without an id and gets no status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename = "read")]
pub struct MarkAsRead {
    /// The message's wamid.
    pub message_id: String,
    /// Shows that an answer is being written, for 25 seconds or until it comes (Meta, "Typing indicators").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typing_indicator: Option<TypingIndicator>,
}

/// Shows that an answer is being written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypingIndicator {
    /// `text`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A reaction to the message with this wamid: one emoji.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let reaction = message::reaction("wamid.HBgL", "👍").to("+16505551234");
/// assert_eq!(
///     serde_json::to_value(reaction.payload())?,
///     json!({"type": "reaction", "reaction": {"message_id": "wamid.HBgL", "emoji": "👍"}})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn reaction(wamid: impl Into<String>, emoji: impl Into<String>) -> Reaction {
    Reaction {
        message_id: wamid.into(),
        emoji: emoji.into(),
        other: Fields::new(),
    }
}

/// Takes a reaction to the message with this wamid back.
pub fn remove_reaction(wamid: impl Into<String>) -> Reaction {
    reaction(wamid, "")
}

/// Pins the message with this wamid in its group, for 1 to 30 days.
pub fn pin(wamid: impl Into<String>, days: u32) -> Pin {
    Pin {
        operation: "pin".to_owned(),
        message_id: wamid.into(),
        expiration_days: Some(days),
        other: Fields::new(),
    }
}

/// Takes the pin off the message with this wamid.
pub fn unpin(wamid: impl Into<String>) -> Pin {
    Pin {
        operation: "unpin".to_owned(),
        message_id: wamid.into(),
        expiration_days: None,
        other: Fields::new(),
    }
}

/// Marks the message with this wamid as read.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let read = message::mark_as_read("wamid.HBgL").typing().to("+16505551234");
/// assert_eq!(
///     serde_json::to_value(read.payload())?,
///     json!({"status": "read", "message_id": "wamid.HBgL", "typing_indicator": {"type": "text"}})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn mark_as_read(wamid: impl Into<String>) -> MarkAsRead {
    MarkAsRead {
        message_id: wamid.into(),
        typing_indicator: None,
    }
}

impl MarkAsRead {
    /// And shows that an answer is being written.
    pub fn typing(mut self) -> Self {
        self.typing_indicator = Some(TypingIndicator {
            kind: "text".to_owned(),
            other: Fields::new(),
        });
        self
    }
}
