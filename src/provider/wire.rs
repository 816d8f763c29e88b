//! The body of a request, as WhatsApp reads it.
//!
//! Only the top level is ours: to whom, from which API, and the token that will prove the message's arrival.
//! What the application wrote under its own keys reaches the wire byte for byte, because it is not ours to
//! tidy: a number like `1.0` or one of thirty digits must not change on its way, nor an escape in a string.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::kind::Envelope;

/// To whom a message goes. It is personal data, so `Debug` hides it and there is no `Display`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Recipient<'a> {
    /// A phone number in E.164, with its `+`.
    Phone(&'a str),
    /// A business-scoped user id, such as `US.13491208655302741918`.
    User(&'a str),
    /// A group's id.
    Group(&'a str),
}

/// What the application wants to send, parsed as far as its top level.
#[derive(Debug)]
pub struct Payload<'a> {
    members: Vec<(Text<'a>, &'a RawValue)>,
}

/// A string of the payload, not copied where it has no escape.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A template, by what WhatsApp knows it under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Its language, such as `en_US`; none where the payload leaves it out.
    pub language: Option<String>,
}

/// The kind of a payload that marks a message as read, which is not a message itself.
pub const MARK_AS_READ: &str = "mark_as_read";

/// A payload that cannot be sent as it is. It tells where, and never what: the text may be personal.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not JSON.
    #[error("the payload is not valid JSON: line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON, but no object.
    #[error("the payload is not a JSON object; write {{\"type\": …}}")]
    NotAnObject,
}

const PRODUCT: &str = "messaging_product";
const RECIPIENT_TYPE: &str = "recipient_type";
const TO: &str = "to";
const RECIPIENT: &str = "recipient";
const CALLBACK_DATA: &str = "biz_opaque_callback_data";

/// So many bytes are mostly enough for what is written by us: keys, the recipient, the token with the application's callback data.
const OURS_TAKES: usize = 768;

/// What the payload must not decide: left out of it, and written by us.
const OURS: [&str; 4] = [PRODUCT, RECIPIENT_TYPE, TO, RECIPIENT];

/// What only the address for marketing messages knows (Meta, OpenAPI v23.0, `/marketing_messages`).
const OF_MARKETING: [&str; 3] = ["product_policy", "message_activity_sharing", "bid_spec"];

impl Recipient<'_> {
    /// Whether `contacts[0].input` of an answer names this recipient. Phone numbers are compared by their
    /// digits: the answer may leave out the `+` or keep separators.
    pub fn is_echoed_by(&self, input: &str) -> bool {
        match self {
            Self::Phone(phone) => digits(phone).eq(digits(input)),
            Self::User(id) | Self::Group(id) => *id == input,
        }
    }
}

impl fmt::Debug for Recipient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Phone(_) => "Phone(…)",
            Self::User(_) => "User(…)",
            Self::Group(_) => "Group(…)",
        })
    }
}

fn digits(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(char::is_ascii_digit)
}

impl<'a> Payload<'a> {
    /// Reads the top level of a payload. Where a key stands twice, the last one counts, as it does for
    /// WhatsApp; it then stands once on the wire.
    pub fn parse(text: &'a str) -> Result<Self, WireError> {
        serde_json::from_str(text).map_err(|error| {
            if error.is_data() {
                return WireError::NotAnObject;
            }
            WireError::NotJson {
                line: error.line(),
                column: error.column(),
            }
        })
    }

    /// The message's type; [`MARK_AS_READ`] for what is not a message; `None` if the payload names none.
    /// A payload with a `text` and no type is a text: WhatsApp's default (Meta, Messages reference).
    pub fn kind(&self) -> Option<Cow<'a, str>> {
        if let Some(kind) = self.string("type") {
            return Some(kind);
        }
        if self.is_mark_as_read() {
            return Some(MARK_AS_READ.into());
        }
        self.get("text").map(|_| "text".into())
    }

    /// Whether this marks a message as read, with or without a typing indicator.
    pub fn is_mark_as_read(&self) -> bool {
        self.get("type").is_none() && self.get("status").is_some()
    }

    /// The application's own callback data, to be kept behind our token. What is not a string comes as its JSON
    /// text, which is how WhatsApp would hand it back.
    pub fn callback_data(&self) -> Option<Cow<'a, str>> {
        let value = self.get(CALLBACK_DATA)?;
        match self.string(CALLBACK_DATA) {
            Some(data) => Some(data),
            None => (value.get() != "null").then(|| value.get().into()),
        }
    }

    /// The template that this sends, if it sends one.
    pub fn template(&self) -> Option<Template> {
        #[derive(serde::Deserialize)]
        struct Named {
            name: String,
            language: Option<Language>,
        }
        #[derive(serde::Deserialize)]
        struct Language {
            code: Option<String>,
        }
        if self.kind()? != "template" {
            return None;
        }
        let named: Named = serde_json::from_str(self.get("template")?.get()).ok()?;
        Some(Template {
            name: named.name,
            language: named.language.and_then(|language| language.code),
        })
    }

    /// Whether this is a template that its application has marked as marketing, by a property that only the address for
    /// marketing messages knows. A template's category is Meta's knowledge, not ours, so nothing else tells it.
    pub fn is_marked_as_marketing(&self) -> bool {
        OF_MARKETING.iter().any(|key| self.get(key).is_some())
            && self.kind().is_some_and(|kind| kind == "template")
    }

    /// The message that a mark-as-read is about.
    pub fn message_id(&self) -> Option<Cow<'a, str>> {
        self.string("message_id")
    }

    /// The bytes to send to `recipient`, carrying `callback_data`, which is complete: our token and whatever of
    /// the application's stands behind it. Without it the application's own goes as it was written.
    ///
    /// A mark-as-read is addressed to nobody and has no status, so it gets neither.
    pub fn compose(
        &self,
        envelope: Envelope,
        recipient: &Recipient<'_>,
        callback_data: Option<&str>,
    ) -> Bytes {
        let written: usize = (self.members.iter())
            .map(|(key, value)| key.0.len() + value.get().len() + 4)
            .sum();
        let mut object = Object::with_room_for(written + OURS_TAKES);
        if envelope == Envelope::Cloud {
            object.string(PRODUCT, "whatsapp");
        }
        if !self.is_mark_as_read() {
            address(&mut object, envelope, recipient);
        }
        let replaces_data = callback_data.is_some() || self.is_mark_as_read();
        let is_ours = |key: &str| OURS.contains(&key) || (replaces_data && key == CALLBACK_DATA);
        for (Text(key), value) in &self.members {
            if !is_ours(key) {
                object.raw(key, value.get());
            }
        }
        if let Some(data) = callback_data.filter(|_| !self.is_mark_as_read()) {
            object.string(CALLBACK_DATA, data);
        }
        object.finish()
    }

    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.members
            .iter()
            .find(|(Text(name), _)| name == key)
            .map(|(_, value)| *value)
    }

    fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        let text: Option<Text<'a>> = serde_json::from_str(self.get(key)?.get()).ok();
        text.map(|text| text.0)
    }
}

fn address(object: &mut Object, envelope: Envelope, recipient: &Recipient<'_>) {
    match recipient {
        // The client knows a person by their WhatsApp id, which has no plus (Meta, /v1/messages, `to`).
        Recipient::Phone(phone) if envelope == Envelope::OnPremises => {
            object.string(RECIPIENT_TYPE, "individual");
            object.string(TO, phone.trim_start_matches('+'));
        }
        Recipient::Phone(phone) => {
            object.string(RECIPIENT_TYPE, "individual");
            // Without the plus, Meta takes a number for a local one and puts the sender's country code before
            // it: the message would reach a stranger (Meta, Send messages, "Phone number formats").
            object.string(TO, &format!("+{}", phone.trim_start_matches('+')));
        }
        Recipient::User(id) => {
            object.string(RECIPIENT_TYPE, "individual");
            object.string(RECIPIENT, id);
        }
        Recipient::Group(id) => {
            object.string(RECIPIENT_TYPE, "group");
            object.string(TO, id);
        }
    }
}

/// A JSON object being written.
struct Object {
    text: Vec<u8>,
}

impl Object {
    fn with_room_for(bytes: usize) -> Self {
        let mut text = Vec::with_capacity(bytes);
        text.push(b'{');
        Self { text }
    }

    fn string(&mut self, key: &str, value: &str) {
        self.key(key);
        self.quoted(value);
    }

    fn raw(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text.extend_from_slice(value.as_bytes());
    }

    fn key(&mut self, key: &str) {
        if self.text.len() > 1 {
            self.text.push(b',');
        }
        self.quoted(key);
        self.text.push(b':');
    }

    fn quoted(&mut self, text: &str) {
        // Into memory, so it does not fail.
        let _ = serde_json::to_writer(&mut self.text, text);
    }

    fn finish(mut self) -> Bytes {
        self.text.push(b'}');
        self.text.into()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Text<'de>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Self::Value = Vec::new();
                let mut places = HashMap::new();
                while let Some((key, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    match places.get(&key) {
                        Some(&place) => {
                            let member: &mut (Text<'_>, &RawValue) = &mut members[place];
                            member.1 = value;
                        }
                        None => {
                            places.insert(key.clone(), members.len());
                            members.push((key, value));
                        }
                    }
                }
                Ok(members)
            }
        }

        deserializer
            .deserialize_map(Members)
            .map(|members| Self { members })
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
