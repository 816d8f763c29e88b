//! The body of a request to send: its content, what it answers, and data of yours.

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::interactive::Interactive;
use super::template::Template;
use super::whole::exactly;
use super::{
    Audio, Contacts, Document, Fields, Image, Location, MarkAsRead, Outgoing, Pin, Reaction,
    Recipient, Sticker, Text, Video,
};

/// What a message says, as `wa.outbox.payload` holds it: the API's body without `messaging_product`, `recipient_type` and `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// What kind of message it is.
    pub content: Content,
    /// What it answers.
    pub context: Option<Context>,
    /// Data of yours, handed back in the statuses.
    pub callback_data: Option<String>,
    /// What is not known.
    pub other: Fields,
}

/// The kinds of message, by their `type`.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `text`
    Text(Text),
    /// `image`
    Image(Image),
    /// `audio`
    Audio(Audio),
    /// `video`
    Video(Video),
    /// `document`
    Document(Document),
    /// `sticker`
    Sticker(Sticker),
    /// `location`
    Location(Location),
    /// `contacts`
    Contacts(Contacts),
    /// `reaction`
    Reaction(Reaction),
    /// `template`
    Template(Template),
    /// `interactive`
    Interactive(Box<Interactive>),
    /// `pin`
    Pin(Pin),
    /// No `type` but `status`: a message of the recipient's is marked as read.
    MarkAsRead(MarkAsRead),
    /// Another type, or none, or a content that its struct cannot hold: `type` and what stands under the key that it names, as
    /// they were written.
    Other(Fields),
}

/// What a message answers (Meta, "Contextual replies").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// The wamid.
    pub message_id: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

const TYPE: &str = "type";
const CONTEXT: &str = "context";
const CALLBACK_DATA: &str = "biz_opaque_callback_data";
const OF_A_READ: [&str; 3] = ["status", "message_id", "typing_indicator"];

impl Payload {
    /// A message of that content.
    pub fn new(content: Content) -> Self {
        Self {
            content,
            context: None,
            callback_data: None,
            other: Fields::new(),
        }
    }

    /// In answer to the message with this wamid. It is quoted above the answer unless it was deleted or is older than 30 days, or the
    /// answer is a template (Meta, "Contextual replies").
    pub fn reply_to(mut self, wamid: impl Into<String>) -> Self {
        self.other.remove(CONTEXT);
        self.context = Some(Context {
            message_id: wamid.into(),
            other: Fields::new(),
        });
        self
    }

    /// With data of yours, at most 448 characters, which is handed back in the status events: a plain ASCII string, and nothing that is
    /// secret or personal, because every app that is subscribed to the number's messages sees it.
    pub fn callback_data(mut self, data: impl Into<String>) -> Self {
        self.other.remove(CALLBACK_DATA);
        self.callback_data = Some(data.into());
        self
    }

    /// To this recipient.
    pub fn to(self, recipient: impl Into<Recipient>) -> Outgoing {
        Outgoing::new(self, recipient)
    }
}

impl Content {
    /// Its `type`; none for a mark-as-read and where the body gives none.
    pub fn kind(&self) -> Option<&str> {
        Some(match self {
            Self::Text(_) => "text",
            Self::Image(_) => "image",
            Self::Audio(_) => "audio",
            Self::Video(_) => "video",
            Self::Document(_) => "document",
            Self::Sticker(_) => "sticker",
            Self::Location(_) => "location",
            Self::Contacts(_) => "contacts",
            Self::Reaction(_) => "reaction",
            Self::Template(_) => "template",
            Self::Interactive(_) => "interactive",
            Self::Pin(_) => "pin",
            Self::MarkAsRead(_) => return None,
            Self::Other(fields) => return fields.get(TYPE)?.as_str(),
        })
    }

    fn write<M: SerializeMap>(&self, body: &mut M) -> Result<(), M::Error> {
        let kind = self.kind().unwrap_or_default();
        if !matches!(self, Self::MarkAsRead(_) | Self::Other(_)) {
            body.serialize_entry(TYPE, kind)?;
        }
        match self {
            Self::Text(it) => body.serialize_entry(kind, it),
            Self::Image(it) => body.serialize_entry(kind, it),
            Self::Audio(it) => body.serialize_entry(kind, it),
            Self::Video(it) => body.serialize_entry(kind, it),
            Self::Document(it) => body.serialize_entry(kind, it),
            Self::Sticker(it) => body.serialize_entry(kind, it),
            Self::Location(it) => body.serialize_entry(kind, it),
            Self::Contacts(it) => body.serialize_entry(kind, it),
            Self::Reaction(it) => body.serialize_entry(kind, it),
            Self::Template(it) => body.serialize_entry(kind, it),
            Self::Interactive(it) => body.serialize_entry(kind, it),
            Self::Pin(it) => body.serialize_entry(kind, it),
            Self::MarkAsRead(read) => {
                body.serialize_entry("status", "read")?;
                body.serialize_entry("message_id", &read.message_id)?;
                match &read.typing_indicator {
                    Some(indicator) => body.serialize_entry("typing_indicator", indicator),
                    None => Ok(()),
                }
            }
            Self::Other(fields) => fields
                .iter()
                .try_for_each(|(key, value)| body.serialize_entry(key, value)),
        }
    }

    /// Takes the content out of a body.
    fn taken_from(body: &mut Fields) -> Self {
        let Some(kind) = body.remove(TYPE) else {
            return Self::without_type(body);
        };
        let name = kind.as_str().unwrap_or_default();
        let Some((key, value)) = body.remove_entry(name) else {
            return Self::Other(Fields::from_iter([(TYPE.to_owned(), kind)]));
        };
        Self::read(name, value).unwrap_or_else(|value| {
            Self::Other(Fields::from_iter([(TYPE.to_owned(), kind), (key, value)]))
        })
    }

    fn without_type(body: &mut Fields) -> Self {
        let mut fields = Fields::new();
        if body.contains_key(OF_A_READ[0]) {
            fields.extend(OF_A_READ.iter().filter_map(|key| body.remove_entry(*key)));
        }
        match exactly(Value::Object(fields)) {
            Ok(read) => Self::MarkAsRead(read),
            Err(Value::Object(fields)) => Self::Other(fields),
            Err(_) => Self::Other(Fields::new()),
        }
    }

    /// The content of a `type`, or the value again where that cannot hold it.
    fn read(kind: &str, value: Value) -> Result<Self, Value> {
        match kind {
            "text" => exactly(value).map(Self::Text),
            "image" => exactly(value).map(Self::Image),
            "audio" => exactly(value).map(Self::Audio),
            "video" => exactly(value).map(Self::Video),
            "document" => exactly(value).map(Self::Document),
            "sticker" => exactly(value).map(Self::Sticker),
            "location" => exactly(value).map(Self::Location),
            "contacts" => exactly(value).map(Self::Contacts),
            "reaction" => exactly(value).map(Self::Reaction),
            "template" => exactly(value).map(Self::Template),
            "interactive" => exactly(value).map(Box::new).map(Self::Interactive),
            "pin" => exactly(value).map(Self::Pin),
            _ => Err(value),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut body = Fields::deserialize(deserializer)?;
        Ok(Self {
            content: Content::taken_from(&mut body),
            context: taken(&mut body, CONTEXT),
            callback_data: taken(&mut body, CALLBACK_DATA),
            other: body,
        })
    }
}

/// Takes a property out of a body. What it cannot be read as stays there.
fn taken<T: DeserializeOwned + Serialize>(body: &mut Fields, key: &str) -> Option<T> {
    let (key, value) = body.remove_entry(key)?;
    match exactly(value) {
        Ok(read) => Some(read),
        Err(value) => {
            body.insert(key, value);
            None
        }
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(None)?;
        self.content.write(&mut body)?;
        if let Some(context) = &self.context {
            body.serialize_entry(CONTEXT, context)?;
        }
        if let Some(data) = &self.callback_data {
            body.serialize_entry(CALLBACK_DATA, data)?;
        }
        for (key, value) in &self.other {
            body.serialize_entry(key, value)?;
        }
        body.end()
    }
}

impl From<MarkAsRead> for Payload {
    fn from(read: MarkAsRead) -> Self {
        Self::new(Content::MarkAsRead(read))
    }
}

/// Kinds that are the content of a body under their own name.
macro_rules! is_content {
    ($($kind:ident),+ $(,)?) => {$(
        impl From<$kind> for Payload {
            fn from(content: $kind) -> Self {
                Self::new(Content::$kind(content.into()))
            }
        }
    )+};
}
is_content!(
    Text,
    Image,
    Audio,
    Video,
    Document,
    Sticker,
    Location,
    Contacts,
    Reaction,
    Template,
    Interactive,
    Pin,
);

/// Kinds that can be given a recipient as they are.
macro_rules! can_be_sent {
    ($($kind:ident),+ $(,)?) => {$(
        impl $kind {
            /// To this recipient.
            pub fn to(
                self,
                recipient: impl Into<$crate::message::Recipient>,
            ) -> $crate::message::Outgoing {
                $crate::message::Payload::from(self).to(recipient)
            }
        }
    )+};
}
pub(super) use can_be_sent;
can_be_sent!(
    Text,
    Image,
    Audio,
    Video,
    Document,
    Sticker,
    Location,
    Contacts,
    Reaction,
    Template,
    Interactive,
    Pin,
    MarkAsRead,
);

/// Kinds that can be an answer and have statuses to hand data back in.
macro_rules! can_reply {
    ($($kind:ident),+ $(,)?) => {$(
        impl $kind {
            /// In answer to the message with this wamid; see [`Payload::reply_to`](crate::message::Payload::reply_to).
            pub fn reply_to(self, wamid: impl Into<String>) -> $crate::message::Payload {
                $crate::message::Payload::from(self).reply_to(wamid)
            }

            /// With data of yours; see [`Payload::callback_data`](crate::message::Payload::callback_data).
            pub fn callback_data(self, data: impl Into<String>) -> $crate::message::Payload {
                $crate::message::Payload::from(self).callback_data(data)
            }
        }
    )+};
}
pub(super) use can_reply;
can_reply!(
    Text,
    Image,
    Audio,
    Video,
    Document,
    Sticker,
    Location,
    Contacts,
    Template,
    Interactive,
);
