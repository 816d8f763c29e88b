//! Makes messages, and what applies deliveries: defaults, and the one thing that matters to a test.

use std::sync::Arc;

use serde_json::Value;
use wa_outbox::clock::Clock;
use wa_outbox::domain::token::TokenKey;
use wa_outbox::message::{self, OnUncertain, Outgoing};
use wa_outbox::store::Store;
use wa_outbox::tail::Tail;
use wa_outbox::traces::Traces;
use wa_outbox::webhook::applier::Applier;

/// Somebody.
pub(crate) const ALICE: &str = "+16505551001";
/// Somebody else.
pub(crate) const BOB: &str = "+16505551002";

/// A message to be written into the outbox.
#[derive(Clone, Debug)]
pub(crate) struct Draft(pub(crate) Outgoing);

/// A text to Alice.
pub(crate) fn a_text() -> Draft {
    Draft(message::text("Your order has shipped").to(ALICE))
}

/// Anything to Alice.
pub(crate) fn a_message(payload: Value) -> Draft {
    Draft(Outgoing::written(payload.to_string(), ALICE))
}

/// Applies so many deliveries at a time, when it is told to.
pub(crate) async fn an_applier(store: &Store, batch: u32) -> Applier {
    let key = store.callback_token_key().await.expect("the key");
    Applier::new(
        store.clone(),
        TokenKey::from_bytes(&key),
        batch,
        Arc::default(),
        Traces::default(),
        Tail::new(Clock::system()),
    )
}

impl Draft {
    pub(crate) fn to(mut self, recipient: &str) -> Self {
        self.0.recipient = recipient.into();
        self
    }

    pub(crate) fn saying(mut self, body: &str) -> Self {
        self.0.content = message::text(body).to(ALICE).content;
        self
    }

    pub(crate) fn in_sequence(mut self, sequence: &str) -> Self {
        self.0.sequence = Some(sequence.to_owned());
        self
    }

    pub(crate) fn on_uncertain(mut self, policy: OnUncertain) -> Self {
        self.0.on_uncertain = Some(policy);
        self
    }

    pub(crate) fn with_priority(mut self, priority: i16) -> Self {
        self.0.priority = Some(priority);
        self
    }
}
