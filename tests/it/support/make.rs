//! Makes messages: defaults, and the one thing that matters to a test.

use serde_json::{Value, json};
use wa_outbox::store::outbox::NewMessage;

/// Somebody.
pub(crate) const ALICE: &str = "+16505551001";
/// Somebody else.
pub(crate) const BOB: &str = "+16505551002";

/// A message to be written into the outbox.
#[derive(Clone, Debug)]
pub(crate) struct Draft(pub(crate) NewMessage);

/// A text to Alice.
pub(crate) fn a_text() -> Draft {
    a_message(json!({"type": "text", "text": {"body": "Your order has shipped"}}))
}

/// Anything to Alice.
pub(crate) fn a_message(payload: Value) -> Draft {
    Draft(NewMessage {
        recipient: ALICE.to_owned(),
        payload: payload.to_string(),
        ..NewMessage::default()
    })
}

impl Draft {
    pub(crate) fn to(mut self, recipient: &str) -> Self {
        self.0.recipient = recipient.to_owned();
        self
    }

    pub(crate) fn saying(mut self, body: &str) -> Self {
        self.0.payload = json!({"type": "text", "text": {"body": body}}).to_string();
        self
    }

    pub(crate) fn in_sequence(mut self, sequence: &str) -> Self {
        self.0.sequence = Some(sequence.to_owned());
        self
    }

    pub(crate) fn on_uncertain(mut self, policy: &str) -> Self {
        self.0.on_uncertain = Some(policy.to_owned());
        self
    }

    pub(crate) fn with_priority(mut self, priority: i16) -> Self {
        self.0.priority = Some(priority);
        self
    }
}
