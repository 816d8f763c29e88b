//! Holds a message to WhatsApp's documented rules before a request is spent on it.
//!
//! What is sure to be rejected fails here, with words that name the field, what is there, what is allowed and what to do; a doubt is
//! let through. What was let through is counted, and logged once for each sender and rule, without a word of the message: an
//! application that does something odd does it in every message.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tracing::{info, warn};

use crate::domain::id::SenderId;
use crate::message::rules::{self, Finding, To};
use crate::store::sender::Sender;

/// How a sender's messages are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checking {
    policy: Policy,
    strict: bool,
}

/// What becomes of a message that breaks a rule. `validate` in `wa.senders`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Policy {
    /// It is not looked at.
    Off,
    /// It is sent, and counted.
    Warn,
    /// It fails where it is sure to be rejected; else as with `Warn`.
    #[default]
    Refuse,
}

/// Rules that were broken by what was sent all the same, and how often.
#[derive(Debug, Default)]
pub struct Doubts(Mutex<BTreeMap<(SenderId, &'static str), u64>>);

impl Checking {
    /// As the sender is set.
    pub fn of(sender: &Sender) -> Self {
        let policy = match sender.validate.as_str() {
            "off" => Policy::Off,
            "warn" => Policy::Warn,
            _ => Policy::Refuse,
        };
        Self {
            policy,
            strict: sender.strict,
        }
    }

    /// Looks at what is about to be sent.
    ///
    /// # Errors
    /// When it is not to be sent: why not, in words.
    pub fn look(
        self,
        payload: &str,
        recipient_kind: &str,
        sender: &SenderId,
        doubts: &Doubts,
    ) -> Result<(), String> {
        if self.policy == Policy::Off {
            return Ok(());
        }
        // What serde cannot hold (a number of a thousand digits) goes out as it is written, unread.
        let Ok(body) = serde_json::from_str::<Value>(payload) else {
            return Ok(());
        };
        let to = match recipient_kind {
            "user" => To::User,
            "group" => To::Group,
            _ => To::Phone,
        };
        let findings = rules::check(&body, Some(to), self.strict);
        if findings.is_empty() {
            return Ok(());
        }
        if self.policy == Policy::Refuse
            && let Some(first) = rules::refusals(&findings).next()
        {
            return Err(match rules::refusals(&findings).count() - 1 {
                0 => first.to_string(),
                more => format!("{first}; and {more} more"),
            });
        }
        doubts.note(sender, &findings);
        Ok(())
    }
}

impl Doubts {
    fn note(&self, sender: &SenderId, findings: &[Finding]) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noted: Vec<&str> = Vec::new();
        for Finding { rule, class, .. } in findings {
            if noted.contains(&rule.id) {
                continue;
            }
            noted.push(rule.id);
            let count = counts.entry((sender.clone(), rule.id)).or_default();
            *count += 1;
            if *count == 1 {
                warn!(
                    sender.id = %sender,
                    rule = rule.id,
                    class = class.name(),
                    "Sender {sender}: a message breaks the rule {}: {}. It is sent; others like it are only counted",
                    rule.id,
                    rule.demand
                );
            }
        }
    }

    /// How many messages broke which rule and were sent all the same.
    pub fn counts(&self) -> Vec<(SenderId, &'static str, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|((sender, rule), count)| (sender.clone(), *rule, *count))
            .collect()
    }

    /// Says the counts, at the end.
    pub(super) fn say(&self) {
        for (sender, rule, count) in self.counts() {
            info!(sender.id = %sender, rule, "Sender {sender}: {count} messages broke the rule {rule} and were sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = r#"{"type":"text","text":{"body":7,"font":"bold","size":2}}"#;
    const BAD: &str = r#"{"type":"image","image":{}}"#;

    fn checking(policy: Policy, strict: bool) -> Checking {
        Checking { policy, strict }
    }

    fn look(checking: Checking, payload: &str, doubts: &Doubts) -> Result<(), String> {
        checking.look(payload, "phone", &SenderId::from("1"), doubts)
    }

    fn counted(doubts: &Doubts) -> Vec<(&'static str, u64)> {
        let counts = doubts.counts().into_iter();
        counts.map(|(_, rule, count)| (rule, count)).collect()
    }

    #[test]
    fn what_is_sure_to_be_rejected_fails_and_a_doubt_is_counted_once_a_message() {
        let (doubts, refuse) = (Doubts::default(), checking(Policy::Refuse, false));
        assert_eq!(
            look(refuse, BAD, &doubts).unwrap_err(),
            "/image has neither; allowed: exactly one of id and link; give an id, or a link (rule media_id_or_link)"
        );
        assert_eq!(counted(&doubts), []);
        for _ in 0..2 {
            assert_eq!(look(refuse, ODD, &doubts), Ok(()));
        }
        assert_eq!(
            counted(&doubts),
            [("field_scalar", 2), ("unknown_field", 2)]
        );
    }

    #[test]
    fn warn_lets_all_through_and_counts_it_and_off_does_not_look() {
        let doubts = Doubts::default();
        assert_eq!(look(checking(Policy::Off, true), BAD, &doubts), Ok(()));
        assert_eq!(counted(&doubts), []);
        assert_eq!(look(checking(Policy::Warn, true), BAD, &doubts), Ok(()));
        assert_eq!(counted(&doubts), [("media_id_or_link", 1)]);
    }

    #[test]
    fn a_strict_sender_refuses_a_field_that_is_not_documented() {
        let doubts = Doubts::default();
        let why = look(checking(Policy::Refuse, true), ODD, &doubts).unwrap_err();
        assert!(why.starts_with("/text/font is no field"), "{why}");
    }

    #[test]
    fn what_cannot_be_held_in_memory_is_sent_as_it_is_written() {
        let huge = format!(r#"{{"type":"image","image":{{"id":{}}}}}"#, "9".repeat(400));
        let refuse = checking(Policy::Refuse, false);
        assert_eq!(look(refuse, &huge, &Doubts::default()), Ok(()));
    }
}
