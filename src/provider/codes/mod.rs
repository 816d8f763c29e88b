//! What WhatsApp's error codes mean for a message, its sender and its template: one table, as data.
//!
//! The same table judges an answer to a request and a `failed` status in a webhook, because any code may come
//! either way (Meta, Error codes, "Receiving errors"). It decides by code alone, as Meta asks: titles, HTTP
//! statuses and subcodes change. The one exception is subcode 33 of code 100, without which a wrong sender
//! would fail every message in its queue.
//!
//! A code that is not here is [`Class::Unknown`], never guessed from its neighbours.

mod cloud;
mod on_premises;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::domain::outcome::{HoldScope, ThrottleScope};

/// Which table a code is to be read in: the two number differently where they overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The Cloud API: one `error` object in an answer, `errors` in a status.
    Cloud,
    /// The On-Premises client, and providers that kept its shape: an `errors` list in the answer itself.
    /// Such providers pass Cloud codes through as well, so what this table lacks is looked up in Cloud's.
    OnPremises,
}

/// What a code means for the work that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Final for this message.
    Rejected(Fault),
    /// Not this message's fault: a sender or a template must rest until the cause is gone.
    Held(HoldScope),
    /// Too fast.
    Throttled(ThrottleScope),
    /// The service says that it did not do it; to be tried again, not sooner than this.
    Transient {
        /// The least wait before the next try.
        at_least: Duration,
    },
    /// It may have been done. Only evidence or the message's policy settles it.
    Uncertain,
    /// Meta's, but about managing groups, templates, calls or numbers: the HTTP status decides.
    NotAboutSending,
    /// In no table of ours: the HTTP status decides.
    Unknown,
}

/// Whose fault a rejection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This content can never work.
    Message,
    /// This content to this recipient cannot work, or not now.
    Recipient,
    /// The parameters do not fit the template. One row's mistake, or, when it comes for row after row, a
    /// template that was changed under a campaign.
    TemplateMismatch,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rejected(Fault::Message) => "rejected: the message",
            Self::Rejected(Fault::Recipient) => "rejected: the recipient",
            Self::Rejected(Fault::TemplateMismatch) => "rejected: does not fit its template",
            Self::Held(HoldScope::Sender) => "held: the sender",
            Self::Held(HoldScope::Template) => "held: the template",
            Self::Throttled(ThrottleScope::Sender) => "throttled: the sender",
            Self::Throttled(ThrottleScope::Account) => "throttled: the account",
            Self::Throttled(ThrottleScope::Pair) => "throttled: this recipient only",
            Self::Transient { .. } => "transient",
            Self::Uncertain => "uncertain",
            Self::NotAboutSending => "not about sending",
            Self::Unknown => "unknown",
        })
    }
}

/// A code, or a range of them, in words for people.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The first code this speaks of.
    pub first: i64,
    /// The last; the same as `first` for all but a few families.
    pub last: i64,
    /// What it means for the work that is left.
    pub class: Class,
    /// Its name, as its source gives it.
    pub title: &'static str,
    /// What a person can do about it, in one line.
    pub remedy: &'static str,
    /// Where this is written.
    pub source: &'static str,
}

/// What a code means. `subcode` matters for code 100 only.
pub fn classify(code: i64, subcode: Option<i64>, dialect: Dialect) -> Class {
    explain(code, subcode, dialect).map_or(Class::Unknown, |entry| entry.class)
}

/// The entry of a code, for people: its title and remedy.
pub fn explain(code: i64, subcode: Option<i64>, dialect: Dialect) -> Option<&'static Entry> {
    match dialect {
        Dialect::Cloud => in_cloud(code, subcode),
        Dialect::OnPremises => find(on_premises::TABLE, code).or_else(|| in_cloud(code, subcode)),
    }
}

/// Every entry of a dialect's own table, in the order of its codes.
pub fn table(dialect: Dialect) -> &'static [Entry] {
    match dialect {
        Dialect::Cloud => cloud::TABLE,
        Dialect::OnPremises => on_premises::TABLE,
    }
}

fn in_cloud(code: i64, subcode: Option<i64>) -> Option<&'static Entry> {
    if (code, subcode) == (100, Some(33)) {
        return Some(&cloud::UNKNOWN_SENDER);
    }
    find(cloud::TABLE, code)
}

fn find(table: &'static [Entry], code: i64) -> Option<&'static Entry> {
    let at = table.partition_point(|entry| entry.last < code);
    table.get(at).filter(|entry| entry.first <= code)
}

// The short names that keep a row of the tables on one line.
const MESSAGE: Class = Class::Rejected(Fault::Message);
const RECIPIENT: Class = Class::Rejected(Fault::Recipient);
const MISMATCH: Class = Class::Rejected(Fault::TemplateMismatch);
const HOLD_SENDER: Class = Class::Held(HoldScope::Sender);
const HOLD_TEMPLATE: Class = Class::Held(HoldScope::Template);
const SLOW_SENDER: Class = Class::Throttled(ThrottleScope::Sender);
const SLOW_ACCOUNT: Class = Class::Throttled(ThrottleScope::Account);
const SLOW_PAIR: Class = Class::Throttled(ThrottleScope::Pair);

/// The service did not do it, and its page names no time; ours is long enough for a status to arrive first.
const TRANSIENT: Class = transient(30);

const fn transient(at_least_seconds: u64) -> Class {
    Class::Transient {
        at_least: Duration::from_secs(at_least_seconds),
    }
}

const fn one(
    code: i64,
    class: Class,
    title: &'static str,
    remedy: &'static str,
    source: &'static str,
) -> Entry {
    family(code, code, class, title, remedy, source)
}

const fn family(
    first: i64,
    last: i64,
    class: Class,
    title: &'static str,
    remedy: &'static str,
    source: &'static str,
) -> Entry {
    Entry {
        first,
        last,
        class,
        title,
        remedy,
        source,
    }
}
