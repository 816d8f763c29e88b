//! What WhatsApp's documentation demands of a message body, and a look at a body before a request is spent on it.
//!
//! What is [`Class::Refused`] the API is sure to reject, as far as Meta says so or an answer of it was seen; everything else that is
//! odd is [`Class::Doubtful`]. Nothing is refused for being newer than these pages: an unknown type or field is doubtful. Where Meta's
//! pages disagree the more permissive value counts, because a message refused by mistake is lost and one let through costs a request.
//!
//! A template's own text is Meta's, so whether its parameters fit is Meta's to say; what is measured here can only be shorter than
//! what it becomes. Nor can be seen here how large a file is, or whether a window is open.
//!
//! The list is `docs/rules.md`, written by `wa-outbox check --rules`. A finding tells where and how long, never what: the text may be
//! personal.

mod cards;
mod commerce;
mod content;
mod document;
mod envelope;
mod interactive;
mod look;
mod parameter;
mod rule;
mod template;

use serde_json::Value;

pub use document::document;
pub use rule::{Class, Finding, Found, Limit, Rule};

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A phone number.
    Phone,
    /// A business-scoped user id.
    User,
    /// A group.
    Group,
}

/// Everything that a body breaks, in the order of its parts.
///
/// `body` is what stands in `wa.outbox`, or a whole request: what we write ourselves is looked at by [`check_address`] alone. Without
/// `to`, what depends on it is not looked at. `strict` refuses fields that the documentation does not have: the Cloud API rejects
/// them, On-Premises and some providers do not.
pub fn check(body: &Value, to: Option<To>, strict: bool) -> Vec<Finding> {
    let mut look = look::Look::new(strict);
    envelope::body(&mut look, body, to);
    look.findings
}

/// What a whole request breaks in how it is addressed. Of a row of `wa.outbox` all that is written by us.
pub fn check_address(body: &Value) -> Vec<Finding> {
    let mut look = look::Look::new(false);
    envelope::address(&mut look, body);
    look.findings
}

/// The findings that are sure.
pub fn refusals(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings
        .iter()
        .filter(|finding| finding.class == Class::Refused)
}

/// All rules, by part.
pub fn rules() -> impl Iterator<Item = (&'static str, &'static Rule)> {
    let parts = [
        ("Any field", look::RULES),
        ("The message", envelope::RULES),
        (
            "Text, media, location, contacts, reaction, pin",
            content::RULES,
        ),
        ("Interactive", interactive::RULES),
        ("Interactive: products and orders", commerce::RULES),
        ("Interactive: cards", cards::RULES),
        ("Template", template::RULES),
        ("Template: parameters", parameter::RULES),
    ];
    parts
        .into_iter()
        .flat_map(|(part, rules)| rules.iter().map(move |rule| (part, *rule)))
}

#[cfg(test)]
mod cases;
