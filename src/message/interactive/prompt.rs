//! What interactive messages have in common.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::whole::keeps_the_unknown;
use super::super::{Document, Fields, Image, Outgoing, Payload, Recipient, Video};
use super::Interactive;

/// Header, body and footer around an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt<A> {
    /// What stands on top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Words>,
    /// What stands below, in grey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer: Option<Words>,
    /// What can be tapped.
    pub action: A,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Words {
    /// It.
    pub text: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// What stands on top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "snake_case")]
pub enum Header {
    /// A text of at most 60 characters.
    Text {
        /// It.
        text: String,
        /// A smaller one below, in forms.
        #[serde(skip_serializing_if = "Option::is_none")]
        sub_text: Option<String>,
    },
    /// An image.
    Image {
        /// The file.
        image: Image,
    },
    /// A video.
    Video {
        /// The file.
        video: Video,
    },
    /// A document.
    Document {
        /// The file.
        document: Document,
    },
    /// Anything else, as it was written.
    #[serde(untagged)]
    Other(Value),
}
keeps_the_unknown!(Header);

/// An action that is told by its name and has parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named<P> {
    /// Its name; mostly that of the kind.
    pub name: String,
    /// Its parameters.
    pub parameters: P,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// An action that is told by its name alone. `K` says which it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NameOnly<K> {
    /// Its name.
    pub name: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
    #[serde(skip)]
    kind: PhantomData<K>,
}

/// Kinds that may have a text on top.
pub trait TakesTextHeader {}
/// Kinds that may have a text, an image, a video or a document on top.
pub trait TakesHeader: TakesTextHeader {}
/// Kinds that may have a text below.
pub trait TakesFooter {}

impl<A> Prompt<A> {
    pub(super) fn new(action: A) -> Self {
        Self {
            header: None,
            body: None,
            footer: None,
            action,
            other: Fields::new(),
        }
    }

    pub(super) fn saying(body: impl Into<String>, action: A) -> Self {
        Self {
            body: Some(body.into().into()),
            ..Self::new(action)
        }
    }
}

impl<A: TakesTextHeader> Prompt<A> {
    /// With a text on top, of at most 60 characters.
    pub fn header_text(mut self, text: impl Into<String>) -> Self {
        self.header = Some(text.into().into());
        self
    }
}

impl<A: TakesHeader> Prompt<A> {
    /// With a text, an [`image`](crate::message::image), a [`video`](crate::message::video) or a
    /// [`document`](crate::message::document) on top.
    pub fn header(mut self, header: impl Into<Header>) -> Self {
        self.header = Some(header.into());
        self
    }
}

impl<A: TakesFooter> Prompt<A> {
    /// With a text below, of at most 60 characters.
    pub fn footer(mut self, text: impl Into<String>) -> Self {
        self.footer = Some(text.into().into());
        self
    }
}

impl<P> Named<P> {
    pub(super) fn new(name: &str, parameters: P) -> Self {
        Self {
            name: name.to_owned(),
            parameters,
            other: Fields::new(),
        }
    }
}

impl<K> NameOnly<K> {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            other: Fields::new(),
            kind: PhantomData,
        }
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self {
            text,
            other: Fields::new(),
        }
    }
}

impl From<String> for Header {
    fn from(text: String) -> Self {
        Self::Text {
            text,
            sub_text: None,
        }
    }
}

impl From<&str> for Header {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Image> for Header {
    fn from(image: Image) -> Self {
        Self::Image { image }
    }
}

impl From<Video> for Header {
    fn from(video: Video) -> Self {
        Self::Video { video }
    }
}

impl From<Document> for Header {
    fn from(document: Document) -> Self {
        Self::Document { document }
    }
}

impl<A> From<Prompt<A>> for Payload
where
    Interactive: From<Prompt<A>>,
{
    fn from(prompt: Prompt<A>) -> Self {
        Interactive::from(prompt).into()
    }
}

impl<A> Prompt<A>
where
    Interactive: From<Self>,
{
    /// To this recipient.
    pub fn to(self, recipient: impl Into<Recipient>) -> Outgoing {
        Payload::from(self).to(recipient)
    }

    /// In answer to the message with this wamid.
    pub fn reply_to(self, wamid: impl Into<String>) -> Payload {
        Payload::from(self).reply_to(wamid)
    }

    /// With data of yours, which the statuses hand back; see [`Payload::callback_data`].
    pub fn callback_data(self, data: impl Into<String>) -> Payload {
        Payload::from(self).callback_data(data)
    }
}

/// Which variant a prompt with that action is.
macro_rules! is_interactive {
    ($($action:ty => $variant:ident),+ $(,)?) => {$(
        impl From<$crate::message::interactive::Prompt<$action>> for $crate::message::interactive::Interactive {
            fn from(prompt: $crate::message::interactive::Prompt<$action>) -> Self {
                Self::$variant(prompt.into())
            }
        }
    )+};
}
pub(super) use is_interactive;
