//! The top level of a body: its kind, what goes with any kind, and to whom it goes.

use serde_json::Value;

use super::look::{Be, Look, MayBe, Object, Place, type_of, unlike};
use super::rule::{Found, Limit, rules};
use super::{To, content, interactive, template};

rules! {
    NOT_AN_OBJECT "not_an_object" Refused: "a body is a JSON object", Limit::Words("an object");
        "Meta, Messages reference"; "write {\"type\": …}".
    TYPE_MISSING "type_missing" Refused: "a body has a type, or a text, or marks a message as read", Limit::Words("required");
        "Meta, Messages reference (the default is text)"; "set \"type\", e.g. \"text\" or \"template\"".
    TYPE_UNKNOWN "type_unknown" Doubtful: "the type is one of the documentation", Limit::OneOf(&TYPES);
        "Meta, Messages reference"; "check how it is spelt; a newer type is fine".
    CONTENT_MISSING "content_missing" Refused: "the content stands under the key that the type names", Limit::Words("required");
        "Meta, Messages reference; Error codes (131008)"; "put the content under the key that \"type\" names".
    ENCRYPTED "encrypted_envelope" Refused: "an encrypted envelope is not for /messages", Limit::Words("no encrypted_contents");
        "Meta, OpenAPI v23.0 (POST /messages_encrypted)"; "write the message itself: nothing is sent to /messages_encrypted from here".
    CALLBACK_LENGTH "callback_data_length" Refused: "the callback data keeps its length", Limit::Characters(0, 512);
        "Meta, Messages reference; changelog of 2024-01-26"; "shorten it; in wa.outbox it takes 448, because a token of ours stands before it".
    CONTEXT_IN_REACTION "reaction_context" Doubtful: "a reaction is no reply", Limit::Words("no context");
        "Meta, Contextual replies"; "leave context out: the reaction names its message itself".
    TTL "ttl_range" Refused: "the time to live is within what any category may have", Limit::Words("-1, or 30 to 2592000 seconds");
        "Meta, Time-to-live"; "give seconds: authentication 30 to 900, utility 30 to 43200, marketing 43200 to 2592000, -1 for 30 days".
    PRODUCT_POLICY "product_policy" Doubtful: "the product policy is one of the documentation", Limit::OneOf(&["CLOUD_API_FALLBACK", "STRICT"]);
        "Meta, OpenAPI v23.0 (POST /marketing_messages)"; "use one of them".
    GROUP_TYPE "group_type" Doubtful: "a group gets what the documentation of groups has", Limit::OneOf(&GROUP_TYPES);
        "Meta, Group messaging"; "send it to each person, or as one of these".
    PIN_OUTSIDE "pin_outside_group" Doubtful: "a message is pinned in a group", Limit::Words("recipient_type group");
        "Meta, Group messaging"; "set recipient_kind to group".
    READ_STATUS "read_status" Refused: "what has a status and no type marks a message as read", Limit::OneOf(&["read"]);
        "Meta, Mark messages as read"; "write \"status\":\"read\"".
    READ_MESSAGE "read_message_id" Refused: "a mark-as-read names the message", Limit::Words("the id of the message");
        "Meta, Mark messages as read; On-Premises has it in the path"; "add \"message_id\" with the wamid".
    TYPING "typing_indicator_type" Doubtful: "a typing indicator is of type text", Limit::OneOf(&["text"]);
        "Meta, Typing indicators"; "write {\"type\":\"text\"}".
    ADDRESS_PRODUCT "messaging_product" Refused: "the product is whatsapp", Limit::OneOf(&["whatsapp"]);
        "Meta, Messages reference"; "write \"messaging_product\":\"whatsapp\"; in wa.outbox leave it out".
    ADDRESS_PRODUCT_MISSING "messaging_product_missing" Doubtful: "a request to the Cloud API names the product", Limit::Words("\"messaging_product\":\"whatsapp\"");
        "Meta, Messages reference; On-Premises has none"; "add it; in wa.outbox it is added by itself".
    ADDRESS_KIND "recipient_type" Refused: "the recipient type is known", Limit::OneOf(&["individual", "group"]);
        "Meta, Messages reference; Group messaging"; "use one of them".
    ADDRESS_PLUS "recipient_form" Doubtful: "a phone number starts with + and its country code", Limit::Words("+ and 7 to 15 digits");
        "Meta, Send messages, Phone number formats: without + the sender's country code is put before it"; "write +, country code and number".
}

/// The types of messages, as the schema has them too (`wa.message_types`).
const TYPES: [&str; 12] = [
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
const GROUP_TYPES: [&str; 9] = [
    "text", "image", "audio", "video", "document", "sticker", "reaction", "template", "pin",
];
/// What may stand beside the content of any message.
const BESIDE: [&str; 11] = [
    "messaging_product",
    "recipient_type",
    "to",
    "recipient",
    "type",
    "context",
    "biz_opaque_callback_data",
    "recipient_identity_key_hash",
    "message_send_ttl_seconds",
    "product_policy",
    "message_activity_sharing",
];

pub(super) fn body(look: &mut Look, body: &Value, to: Option<To>) {
    let Value::Object(fields) = body else {
        let found = Found::Type(type_of(body));
        return look.tell(&NOT_AN_OBJECT, &Place::ROOT, found);
    };
    let at = Place::ROOT;
    let message = Object { fields, at };
    if message.get("type").is_none() && fields.contains_key("encrypted_contents") {
        let at = message.at.key("encrypted_contents");
        return look.tell(&ENCRYPTED, &at, Found::Words("is an encrypted envelope"));
    }
    if message.get("type").is_none() && message.get("status").is_some() {
        return mark_as_read(look, &message);
    }
    let Some(kind) = kind(look, &message) else {
        return;
    };
    beside(look, &message, kind);
    group(look, &message, kind, to);
    content(look, &message, kind);
}

fn kind<'a>(look: &mut Look, message: &Object<'a, '_>) -> Option<&'a str> {
    let kind = match message.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(other) => {
            let found = Found::Type(type_of(other));
            look.tell(&TYPE_MISSING, &message.at.key("type"), found);
            return None;
        }
        None if message.get("text").is_some() => "text",
        None => {
            look.tell(&TYPE_MISSING, &message.at.key("type"), Found::Missing);
            return None;
        }
    };
    if !TYPES.contains(&kind) {
        let found = Found::Words("is none of them");
        look.tell(&TYPE_UNKNOWN, &message.at.key("type"), found);
    }
    Some(kind)
}

fn beside(look: &mut Look, message: &Object<'_, '_>, kind: &str) {
    for key in message.fields.keys() {
        let key = key.as_str();
        if key != kind && key != "bid_spec" && !BESIDE.contains(&key) {
            look.unknown(message, key);
        }
    }
    look.text(message, "biz_opaque_callback_data", MayBe, &CALLBACK_LENGTH);
    if let Some(context) = look.object(message, "context", MayBe) {
        look.known(&context, &["message_id"]);
        content::message_id(look, &context, "message_id");
        if kind == "reaction" {
            let found = Found::Words("stands beside a reaction");
            look.tell(&CONTEXT_IN_REACTION, &context.at, found);
        }
    }
    time_to_live(look, message);
    look.one_of(message, "product_policy", MayBe, &PRODUCT_POLICY);
    look.switch(message, "message_activity_sharing");
}

/// Of a message, or of a template that is sent without having been made before.
pub(super) fn time_to_live(look: &mut Look, of: &Object<'_, '_>) {
    let ttl = "message_send_ttl_seconds";
    if of.get(ttl).is_none() {
        return;
    }
    let fits = |seconds: f64| seconds == -1.0 || (30.0..=2_592_000.0).contains(&seconds);
    if !of.number(ttl).is_some_and(fits) {
        let found = Found::Words("is out of range");
        look.tell(&TTL, &of.at.key(ttl), found);
    }
}

fn group(look: &mut Look, message: &Object<'_, '_>, kind: &str, to: Option<To>) {
    let at = message.at.key("type");
    match to {
        Some(To::Group) if TYPES.contains(&kind) && !GROUP_TYPES.contains(&kind) => {
            look.tell(&GROUP_TYPE, &at, Found::Words("is none of them"));
        }
        Some(To::Phone | To::User) if kind == "pin" => {
            let found = Found::Words("goes to one person");
            look.tell(&PIN_OUTSIDE, &at, found);
        }
        Some(To::Phone | To::User | To::Group) | None => {}
    }
}

fn content(look: &mut Look, message: &Object<'_, '_>, kind: &str) {
    match message.fields.get(kind) {
        None => return look.tell(&CONTENT_MISSING, &message.at.key(kind), Found::Missing),
        Some(Value::Null) => {
            return look.tell(&CONTENT_MISSING, &message.at.key(kind), Found::Type("null"));
        }
        Some(_) => {}
    }
    if kind == "contacts" {
        if let Some(contacts) = look.list(message, kind, Be) {
            content::contacts(look, &contacts);
        }
        return;
    }
    if !TYPES.contains(&kind) {
        return;
    }
    let Some(content) = look.object(message, kind, Be) else {
        return;
    };
    match kind {
        "text" => content::text(look, &content),
        "location" => content::location(look, &content),
        "reaction" => content::reaction(look, &content),
        "pin" => content::pin(look, &content),
        "interactive" => interactive::interactive(look, &content),
        "template" => template::template(look, &content),
        media => content::media_message(look, &content, media),
    }
}

fn mark_as_read(look: &mut Look, message: &Object<'_, '_>) {
    let fields = [
        "messaging_product",
        "status",
        "message_id",
        "typing_indicator",
        "recipient_type",
        "to",
    ];
    look.known(message, &fields);
    look.one_of(message, "status", Be, &READ_STATUS);
    if message.str("message_id").is_none_or(str::is_empty) {
        let found = match message.fields.get("message_id") {
            None => Found::Missing,
            Some(Value::String(_)) => Found::Words("is empty"),
            Some(other) => Found::Type(type_of(other)),
        };
        look.tell(&READ_MESSAGE, &message.at.key("message_id"), found);
    }
    if let Some(typing) = look.object(message, "typing_indicator", MayBe) {
        look.known(&typing, &["type"]);
        look.one_of(&typing, "type", Be, &TYPING);
    }
}

pub(super) fn address(look: &mut Look, body: &Value) {
    let Value::Object(fields) = body else { return };
    let at = Place::ROOT;
    let message = Object { fields, at };
    let has = |key: &str| fields.contains_key(key);
    if has("messaging_product") {
        look.one_of(&message, "messaging_product", Be, &ADDRESS_PRODUCT);
    } else if has("to") || has("recipient") {
        let at = message.at.key("messaging_product");
        look.tell(&ADDRESS_PRODUCT_MISSING, &at, Found::Missing);
    }
    let kind = look.one_of(&message, "recipient_type", MayBe, &ADDRESS_KIND);
    if kind != Some("group")
        && has("to")
        && let Some(to) = look.string(&message, "to", MayBe)
        && !is_number(to)
    {
        let found = match to.trim_start().starts_with('+') {
            true => "is no phone number",
            false => "does not start with +",
        };
        let at = message.at.key("to");
        look.tell(&ADDRESS_PLUS, &at, unlike(to, found));
    }
}

/// As the schema takes a recipient (`wa.checked_recipient`).
fn is_number(to: &str) -> bool {
    let Some(number) = to.trim().strip_prefix('+') else {
        return false;
    };
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let plain = |character: char| character.is_ascii_digit() || " -.()/\u{a0}".contains(character);
    (7..=15).contains(&digits) && number.chars().all(plain)
}
