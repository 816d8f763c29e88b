//! What a document is: a request, an answer or a webhook, told apart by its shape.

use clap::ValueEnum;
use serde_json::Value;

/// What a document is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shape {
    /// The body of a request, or what stands in wa.outbox
    Request,
    /// An answer of the API
    Response,
    /// What WhatsApp posts to a webhook
    Webhook,
}

impl Shape {
    /// What is nothing else is taken for a request, so that what is missing is said.
    pub(super) fn of(document: &Value) -> Self {
        let has = |key: &str| document.get(key).is_some_and(|value| !value.is_null());
        if has("entry") || has("statuses") {
            return Self::Webhook;
        }
        // On-Premises posts inbound messages without an envelope.
        if document.pointer("/messages/0/from").is_some() {
            return Self::Webhook;
        }
        if has("type") || has("to") || has("status") || has("text") {
            return Self::Request;
        }
        let is_answer = has("error") || has("errors") || has("messages") || has("success");
        // Of an encrypted message the request says the product, the answer does not; and a look back has data.
        let is_other =
            has("encrypted_contents") && !has("messaging_product") || has("data") || has("meta");
        match is_answer || is_other {
            true => Self::Response,
            false => Self::Request,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Webhook => "webhook",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_told_by_its_shape() {
        for (document, shape) in [
            (
                json!({"type": "text", "text": {"body": "x"}}),
                Shape::Request,
            ),
            (json!({"text": {"body": "x"}}), Shape::Request),
            (json!({"type": "contacts", "contacts": []}), Shape::Request),
            (json!({"status": "read", "message_id": "x"}), Shape::Request),
            (
                json!({"messaging_product": "whatsapp", "encrypted_contents": "x"}),
                Shape::Request,
            ),
            (json!({}), Shape::Request),
            (json!(7), Shape::Request),
            (json!({"error": {"code": 100}}), Shape::Response),
            (json!({"errors": [{"code": 1001}]}), Shape::Response),
            (json!({"messages": [{"id": "wamid.A"}]}), Shape::Response),
            (
                json!({"messaging_product": "whatsapp", "contacts": [], "messages": [{"id": "A"}]}),
                Shape::Response,
            ),
            (json!({"success": true}), Shape::Response),
            (json!({"encrypted_contents": "x"}), Shape::Response),
            (
                json!({"object": "whatsapp_business_account", "entry": []}),
                Shape::Webhook,
            ),
            (
                json!({"statuses": [{"id": "x", "status": "sent"}]}),
                Shape::Webhook,
            ),
            (
                json!({"messages": [{"from": "1", "id": "x", "type": "text"}]}),
                Shape::Webhook,
            ),
        ] {
            assert_eq!(Shape::of(&document), shape, "{document}");
        }
    }
}
