//! What a request asks for, and whether the Cloud API would take it.
//!
//! Checked as Meta documents it ("Messages" reference, Cloud API): required parameters, known types, lengths, and
//! no property that the API does not know. What Meta checks later, when it has the template or the media in hand,
//! is not checked here; a fault can stand in for it.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::graph_error::GraphError;

/// Longest text, in characters (Meta, Text messages).
const TEXT_LIMIT: usize = 4096;
/// Longest callback data, in characters (Meta, changelog of 2024-01-26).
const CALLBACK_DATA_LIMIT: usize = 512;

/// The values of `type`; each is the name of the property that holds the content.
const TYPES: &[&str] = &[
    "text",
    "image",
    "audio",
    "video",
    "document",
    "sticker",
    "location",
    "contacts",
    "reaction",
    "template",
    "interactive",
    "pin",
];

/// Properties beside the content.
const PROPERTIES: &[&str] = &[
    "messaging_product",
    "recipient_type",
    "to",
    "recipient",
    "type",
    "context",
    "biz_opaque_callback_data",
    "status",
    "message_id",
    "typing_indicator",
    "recipient_identity_key_hash",
];

/// Properties that only `/marketing_messages` knows (Meta, OpenAPI description v23.0).
const MARKETING_PROPERTIES: &[&str] = &["message_activity_sharing", "product_policy", "bid_spec"];

/// A request as far as it could be read, whether valid or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// `to`, or `recipient` where there is no `to`, exactly as given; empty for a mark-as-read.
    pub(super) recipient: String,
    pub(super) address: Address,
    /// `type`, or `read` for a mark-as-read.
    pub(super) kind: String,
    pub(super) callback_data: Option<String>,
    /// What tells one content from another where there is no callback data: the text.
    pub(super) text: Option<String>,
    /// An audio message with `voice: true`, which can be `played`.
    pub(super) is_voice: bool,
    /// The wamid that a mark-as-read names.
    pub(super) reads: Option<String>,
}

/// How the recipient is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Address {
    #[default]
    Phone,
    /// A business-scoped user id, in `recipient`.
    User,
    Group,
}

/// Which door the request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The Cloud API and those who speak like it.
    Cloud,
    /// The Cloud API's `/marketing_messages`.
    Marketing,
    /// The On-Premises client: no `messaging_product`, unknown properties ignored.
    OnPremises,
}

impl Dialect {
    /// A message's id as it is written there.
    pub(super) fn id_of(self, wamid: String) -> String {
        match self {
            Self::Cloud | Self::Marketing => wamid,
            Self::OnPremises => wamid.trim_start_matches("wamid.").to_owned(),
        }
    }

    fn knows(self, property: &str) -> bool {
        match self {
            Self::OnPremises => true,
            Self::Cloud => PROPERTIES.contains(&property) || TYPES.contains(&property),
            Self::Marketing => {
                Self::Cloud.knows(property) || MARKETING_PROPERTIES.contains(&property)
            }
        }
    }
}

impl Asked {
    /// The recipient as faults, limits and the ledger compare it.
    pub(super) fn recipient_key(&self) -> String {
        recipient_key(&self.recipient)
    }
}

/// A recipient as faults and ledger compare it: a phone number without `+` and separators, anything else as it is.
pub(super) fn recipient_key(recipient: &str) -> String {
    if recipient.contains(|c: char| c.is_alphabetic()) {
        return recipient.to_owned();
    }
    recipient.chars().filter(char::is_ascii_digit).collect()
}

/// Reads a body. What could be read comes back also when the API would refuse it, for the ledger.
pub(super) fn read(body: &Bytes, dialect: Dialect) -> (Asked, Result<(), GraphError>) {
    let object = match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => {
            return (Asked::default(), invalid("The body is not a JSON object."));
        }
    };
    let asked = describe(&object);
    let verdict = check(&object, &asked, dialect);
    (asked, verdict)
}

fn describe(object: &Map<String, Value>) -> Asked {
    let text_of = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let reads = (object.get("status").and_then(Value::as_str) == Some("read"))
        .then(|| text_of("message_id").unwrap_or_default());
    let kind = match &reads {
        Some(_) => "read".to_owned(),
        // Meta, Messages reference: `type` may be left out for a text.
        None => text_of("type").unwrap_or_else(|| "text".to_owned()),
    };
    let address = match text_of("recipient_type").as_deref() {
        Some("group") => Address::Group,
        _ if object.contains_key("to") => Address::Phone,
        _ if object.contains_key("recipient") => Address::User,
        _ => Address::Phone,
    };
    Asked {
        // Meta, Business-scoped user IDs: where both are given, `to` wins.
        recipient: text_of("to")
            .or_else(|| text_of("recipient"))
            .unwrap_or_default(),
        address,
        kind,
        callback_data: text_of("biz_opaque_callback_data"),
        text: object
            .get("text")
            .and_then(|text| text["body"].as_str())
            .map(str::to_owned),
        is_voice: object
            .get("audio")
            .is_some_and(|audio| audio["voice"] == true),
        reads,
    }
}

fn check(object: &Map<String, Value>, asked: &Asked, dialect: Dialect) -> Result<(), GraphError> {
    if dialect != Dialect::OnPremises {
        match object.get("messaging_product").and_then(Value::as_str) {
            Some("whatsapp") => {}
            Some(_) => return invalid("Param messaging_product must be one of {WHATSAPP}."),
            None => return invalid("The parameter messaging_product is required."),
        }
        if let Some(unknown) = object.keys().find(|key| !dialect.knows(key)) {
            return invalid(format!("Unexpected key \"{unknown}\" on param \"$\"."));
        }
    }
    if let Some(message) = &asked.reads {
        return if message.is_empty() {
            missing("message_id")
        } else {
            Ok(())
        };
    }
    if object.contains_key("status") {
        return invalid("Param status must be one of {read}.");
    }
    if dialect == Dialect::Marketing && asked.kind != "template" {
        let details = "Only marketing template messages are supported.";
        return Err(GraphError::of_code(131_055).with_details(details));
    }
    check_recipient(object, asked)?;
    if let Some(data) = object.get("biz_opaque_callback_data") {
        let fits = data
            .as_str()
            .is_some_and(|data| data.chars().count() <= CALLBACK_DATA_LIMIT);
        if !fits {
            return wrong("biz_opaque_callback_data must be a string of at most 512 characters.");
        }
    }
    if let Some(context) = object.get("context")
        && !context["message_id"].is_string()
    {
        return missing("context.message_id");
    }
    check_content(object, asked)
}

fn check_recipient(object: &Map<String, Value>, asked: &Asked) -> Result<(), GraphError> {
    match object.get("recipient_type") {
        None => {}
        Some(Value::String(kind)) if kind == "individual" || kind == "group" => {}
        Some(_) => return invalid("Param recipient_type must be one of {INDIVIDUAL, GROUP}."),
    }
    if asked.recipient.is_empty() {
        return missing("to");
    }
    let is_number = |c: char| c.is_ascii_digit() || "+-(). ".contains(c);
    if asked.address == Address::Phone && !asked.recipient.chars().all(is_number) {
        return wrong("Param to is not a valid WhatsApp phone number.");
    }
    Ok(())
}

fn check_content(object: &Map<String, Value>, asked: &Asked) -> Result<(), GraphError> {
    let kind = asked.kind.as_str();
    if object.get("type").is_some_and(|kind| !kind.is_string()) || !TYPES.contains(&kind) {
        return invalid(format!(
            "Param type must be one of {{{}}}.",
            TYPES.join(", ").to_uppercase()
        ));
    }
    let Some(content) = object.get(kind) else {
        return missing(kind);
    };
    let fits = if kind == "contacts" {
        content.is_array()
    } else {
        content.is_object()
    };
    if !fits {
        return invalid(format!(
            "Param {kind} must be a JSON {}.",
            if kind == "contacts" {
                "array"
            } else {
                "object"
            }
        ));
    }
    match kind {
        "text" => check_text(content),
        "image" | "audio" | "video" | "document" | "sticker" => check_media(kind, content),
        "location" => require(content, kind, &["latitude", "longitude"]),
        "contacts" if content.as_array().is_some_and(Vec::is_empty) => missing("contacts"),
        "reaction" if object.contains_key("context") => {
            wrong("A reaction cannot be a contextual reply.")
        }
        "reaction" => require(content, kind, &["message_id", "emoji"]),
        "template" if content["language"]["code"].is_null() => missing("template.language.code"),
        "template" => require(content, kind, &["name"]),
        "interactive" => require(content, kind, &["type"]),
        _ => Ok(()),
    }
}

fn check_text(text: &Value) -> Result<(), GraphError> {
    match text["body"].as_str() {
        None => missing("text.body"),
        Some("") => wrong("Param text['body'] must be at least 1 character long."),
        Some(body) if body.chars().count() > TEXT_LIMIT => {
            wrong("Param text['body'] must be at most 4096 characters long.")
        }
        Some(_) => Ok(()),
    }
}

fn check_media(kind: &str, media: &Value) -> Result<(), GraphError> {
    match (media["id"].is_null(), media["link"].is_null()) {
        (false, true) | (true, false) => Ok(()),
        (true, true) => missing(&format!("{kind}.id")),
        (false, false) => wrong(format!(
            "Only one of {kind}.id and {kind}.link may be given."
        )),
    }
}

fn require(content: &Value, kind: &str, keys: &[&str]) -> Result<(), GraphError> {
    match keys.iter().find(|key| content[**key].is_null()) {
        Some(key) => missing(&format!("{kind}.{key}")),
        None => Ok(()),
    }
}

fn invalid(details: impl Into<String>) -> Result<(), GraphError> {
    Err(GraphError::of_code(100).with_details(details))
}

fn missing(parameter: &str) -> Result<(), GraphError> {
    Err(GraphError::of_code(131_008).with_details(format!("Parameter {parameter} is required.")))
}

fn wrong(details: impl Into<String>) -> Result<(), GraphError> {
    Err(GraphError::of_code(131_009).with_details(details))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(body: Value) -> Option<u32> {
        code_at(Dialect::Cloud, body)
    }

    fn code_at(dialect: Dialect, body: Value) -> Option<u32> {
        let (_, verdict) = read(&body.to_string().into(), dialect);
        verdict.err().map(|error| error.code)
    }

    #[test]
    fn what_is_for_marketing_alone_is_known_at_its_own_address_only() {
        let template = json!({
            "messaging_product": "whatsapp", "to": "+16505551234", "type": "template",
            "template": { "name": "sale", "language": { "code": "en_US" } }, "product_policy": "STRICT",
        });
        assert_eq!(code_at(Dialect::Marketing, template.clone()), None);
        assert_eq!(code_at(Dialect::Cloud, template), Some(100));
        let text = a_text_with("type", "text".into());
        assert_eq!(code_at(Dialect::Marketing, text), Some(131_055));
    }

    fn a_text_with(key: &str, value: Value) -> Value {
        let mut body = json!({
            "messaging_product": "whatsapp", "to": "+16505551234", "type": "text", "text": { "body": "hello" },
        });
        body[key] = value;
        body
    }

    #[test]
    fn each_kind_in_its_least_form_is_taken() {
        let kinds = [
            ("image", json!({ "id": "1" })),
            (
                "audio",
                json!({ "link": "https://example.com/a.ogg", "voice": true }),
            ),
            ("location", json!({ "latitude": 1.0, "longitude": 2.0 })),
            ("contacts", json!([{ "name": { "formatted_name": "A" } }])),
            ("reaction", json!({ "message_id": "wamid.x", "emoji": "" })),
            (
                "template",
                json!({ "name": "hello_world", "language": { "code": "en_US" } }),
            ),
            (
                "interactive",
                json!({ "type": "button", "body": { "text": "?" }, "action": {} }),
            ),
        ];
        for (kind, content) in kinds {
            let body = json!({ "messaging_product": "whatsapp", "to": "+16505551234", "type": kind, kind: content });
            assert_eq!(code(body), None, "{kind}");
        }
        assert_eq!(code(a_text_with("type", "text".into())), None);
    }

    #[test]
    fn what_meta_refuses_is_refused_with_its_code() {
        assert_eq!(code(json!([])), Some(100));
        assert_eq!(
            code(a_text_with("messaging_product", Value::Null)),
            Some(100)
        );
        assert_eq!(
            code(a_text_with("messaging_product", "sms".into())),
            Some(100)
        );
        assert_eq!(code(a_text_with("colour", "red".into())), Some(100));
        assert_eq!(code(a_text_with("type", "telegram".into())), Some(100));
        assert_eq!(code(a_text_with("type", "image".into())), Some(131_008));
        assert_eq!(code(a_text_with("text", "hello".into())), Some(100));
        assert_eq!(code(a_text_with("to", Value::Null)), Some(131_008));
        assert_eq!(code(a_text_with("to", "+1650CALLME".into())), Some(131_009));
        assert_eq!(code(a_text_with("text", json!({}))), Some(131_008));
        assert_eq!(
            code(a_text_with("text", json!({ "body": "é".repeat(4096) }))),
            None
        );
        assert_eq!(
            code(a_text_with("text", json!({ "body": "é".repeat(4097) }))),
            Some(131_009)
        );
        assert_eq!(
            code(a_text_with("biz_opaque_callback_data", json!({ "id": 1 }))),
            Some(131_009)
        );
        assert_eq!(
            code(a_text_with(
                "biz_opaque_callback_data",
                "x".repeat(513).into()
            )),
            Some(131_009)
        );
        assert_eq!(
            code(json!({ "messaging_product": "whatsapp", "status": "read" })),
            Some(131_008)
        );
    }

    #[test]
    fn the_on_premises_client_ignores_what_it_does_not_know() {
        let body = json!({ "to": "16505551234", "type": "text", "text": { "body": "hello" }, "colour": "red" });
        let (asked, verdict) = read(&body.to_string().into(), Dialect::OnPremises);
        assert!(verdict.is_ok());
        assert_eq!(asked.recipient, "16505551234");
    }

    #[test]
    fn a_user_id_goes_into_recipient_and_to_wins_over_it() {
        let mut body = a_text_with("recipient", "US.13491208655302741918".into());
        let (asked, _) = read(&body.to_string().into(), Dialect::Cloud);
        assert_eq!(
            (asked.recipient.as_str(), asked.address),
            ("+16505551234", Address::Phone)
        );

        body.as_object_mut().expect("an object").remove("to");
        let (asked, verdict) = read(&body.to_string().into(), Dialect::Cloud);
        assert!(verdict.is_ok());
        assert_eq!(asked.address, Address::User);
    }
}
