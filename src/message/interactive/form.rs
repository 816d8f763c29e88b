//! Forms.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::payload::{can_be_sent, can_reply};
use super::super::{Fields, Payload};
use super::{Header, Interactive, NameOnly, Words};

/// A form (Meta, "Messages" reference of the Cloud API). Its parameters stand beside its action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FormMessage {
    /// What stands on top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Words>,
    /// What it asks.
    pub parameters: FormLayout,
    /// `form_message`.
    pub action: NameOnly<FormLayout>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// What a form asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FormLayout {
    /// `1`.
    pub version: String,
    /// Its parts, as Meta's page writes them.
    pub layout: Vec<Value>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A form under a header.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let rating = message::form("How was it?", "Choose a star").rating("stars").to("+16505551234");
/// assert_eq!(
///     serde_json::to_value(rating.payload())?["interactive"],
///     json!({
///         "type": "form_message",
///         "header": {"type": "text", "text": "How was it?", "sub_text": "Choose a star"},
///         "parameters": {"version": "1", "layout": [{"type": "Rating", "rating_type": "STAR_RATING", "id": "stars"}]},
///         "action": {"name": "form_message"}
///     })
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn form(header: impl Into<String>, sub_text: impl Into<String>) -> FormMessage {
    FormMessage {
        header: Some(Header::Text {
            text: header.into(),
            sub_text: Some(sub_text.into()),
        }),
        body: None,
        parameters: FormLayout {
            version: "1".to_owned(),
            layout: Vec::new(),
            other: Fields::new(),
        },
        action: NameOnly::new("form_message"),
        other: Fields::new(),
    }
}

impl FormMessage {
    /// Asks for stars. The id comes back with them.
    pub fn rating(self, id: &str) -> Self {
        self.part(json!({"type": "Rating", "rating_type": "STAR_RATING", "id": id}))
    }

    /// Asks for anything else, as Meta's page writes it.
    pub fn part(mut self, part: Value) -> Self {
        self.parameters.layout.push(part);
        self
    }
}

impl From<FormMessage> for Payload {
    fn from(form: FormMessage) -> Self {
        Interactive::FormMessage(form).into()
    }
}

can_be_sent!(FormMessage);
can_reply!(FormMessage);
