//! What WhatsApp says of our numbers, of our accounts, and of how people take our templates.
//!
//! Such news is about whoever is meant by it, and is judged by when it happened, not by when it came: the same news may come twice, or
//! a week late, and a person may have answered it meanwhile.

use std::fmt;

use time::OffsetDateTime;

use super::hold::{Cause, TemplateKey};
use super::id::SenderId;

/// Something that WhatsApp says of us, and that campaigns must heed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountNews {
    /// The WhatsApp Business Account that it is about, or that its number or template belongs to.
    pub account: Option<String>,
    /// What of it.
    pub about: About,
    /// When it happened, by WhatsApp's clock in whole seconds, where it says so.
    pub at: Option<OffsetDateTime>,
    /// In words, for people. Names no number.
    pub reason: String,
    /// What follows from it.
    pub effect: Effect,
}

/// What news is about.
#[derive(Clone, PartialEq, Eq)]
pub enum About {
    /// The whole account: all its numbers.
    Account,
    /// One number, by its digits.
    Number(String),
    /// One template.
    Template(TemplateKey),
}

impl fmt::Debug for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("Account"),
            Self::Number(_) => f.write_str("Number(…)"),
            Self::Template(template) => f.debug_tuple("Template").field(template).finish(),
        }
    }
}

/// What follows from news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What we send harms us: campaigns pause, so that a person looks at them.
    Warns,
    /// Nothing of it can be sent any more: campaigns pause, and its senders are held.
    Stops {
        /// Why.
        cause: Cause,
        /// It ends by itself then.
        until: Option<OffsetDateTime>,
    },
    /// What had stopped it is over.
    Restores,
}

/// How WhatsApp names a number of ours: what news about it is known by. Told by every webhook about its messages.
#[derive(Clone, PartialEq, Eq)]
pub struct OurNumber {
    /// The id that it sends by.
    pub sender: SenderId,
    /// Its WhatsApp Business Account.
    pub account: Option<String>,
    /// Its digits.
    pub number: Option<String>,
}

impl fmt::Debug for OurNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OurNumber")
            .field("sender", &self.sender)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
