//! Ids that cannot be swapped for one another.

use std::fmt;
use std::sync::Arc;

/// A sender: one business phone number, by the id its provider knows it under (the Cloud API's
/// `phone-number-id`). The unit of rate and of ownership.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SenderId(Arc<str>);

impl SenderId {
    /// The id as the provider and the database write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SenderId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for SenderId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SenderId({})", self.0)
    }
}

/// A message: one content to one recipient from one sender; `wa.outbox.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub i64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The how-manieth request for a message this is, from 1. Every begun request has its own number, also those
/// that cost the message no attempt (throttled, held).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptNumber(pub i32);

/// How often a sender has changed hands. A request begun under an old epoch is nobody's any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// Whether it can be what WhatsApp calls a person or a group, in place of a phone number: `US.13491208655302741918`, or base64. The same rule as
/// `wa.somebody` in the schema. (What begins with a digit and has a dot is a number of a spreadsheet.)
pub fn is_id_of_somebody(text: &str) -> bool {
    let begins_with_a_digit = text.starts_with(|first: char| first.is_ascii_digit());
    let is_of_id = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '-' | '=')
            || (c == '.' && !begins_with_a_digit)
    };
    text.len() <= 256
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(is_of_id)
        && text.contains(|c: char| c.is_ascii_alphabetic())
}

/// WhatsApp's id of an accepted message, opaque to us.
///
/// It holds the recipient's number in base64, so it is personal data: `Debug` hides it and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wamid(String);

impl Wamid {
    /// The id, to be stored or sent on; never to be logged.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Wamid {
    fn from(wamid: String) -> Self {
        Self(wamid)
    }
}

impl From<&str> for Wamid {
    fn from(wamid: &str) -> Self {
        Self(wamid.to_owned())
    }
}

impl fmt::Debug for Wamid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wamid(…)")
    }
}

/// The time between two moments at which the database was found to have gone back (restored, or a standby promoted): 0 is the
/// first one, others are named by when they began. No two are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Era(pub i64);

impl Era {
    /// Before anything was restored.
    pub const FIRST: Self = Self(0);
}
