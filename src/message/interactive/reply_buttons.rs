//! Buttons to answer by.

use serde::{Deserialize, Serialize};

use super::super::Fields;
use super::prompt::is_interactive;
use super::{Prompt, TakesFooter, TakesHeader, TakesTextHeader};

/// One to three buttons (Meta, "Interactive reply buttons messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyButtons {
    /// The buttons.
    pub buttons: Vec<ReplyButton>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A button.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyButton {
    /// `reply`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says and what comes back.
    pub reply: Reply,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// What a button says and what comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Comes back when it is tapped: at most 256 characters, no blanks around it, once in a message.
    pub id: String,
    /// What it says: at most 20 characters, once in a message.
    pub title: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

impl TakesTextHeader for ReplyButtons {}
impl TakesHeader for ReplyButtons {}
impl TakesFooter for ReplyButtons {}
is_interactive!(ReplyButtons => Button);

/// A text with one to three buttons to answer by.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let question = message::buttons("Shall we deliver tomorrow?")
///     .button("yes", "Yes")
///     .button("no", "No")
///     .footer("Order 4711")
///     .to("+16505551234");
/// assert_eq!(
///     serde_json::to_value(question.payload())?,
///     json!({"type": "interactive", "interactive": {
///         "type": "button",
///         "body": {"text": "Shall we deliver tomorrow?"},
///         "footer": {"text": "Order 4711"},
///         "action": {"buttons": [
///             {"type": "reply", "reply": {"id": "yes", "title": "Yes"}},
///             {"type": "reply", "reply": {"id": "no", "title": "No"}}
///         ]}
///     }})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn buttons(body: impl Into<String>) -> Prompt<ReplyButtons> {
    Prompt::saying(
        body,
        ReplyButtons {
            buttons: Vec::new(),
            other: Fields::new(),
        },
    )
}

impl Prompt<ReplyButtons> {
    /// With a button: what comes back when it is tapped, and what it says.
    pub fn button(mut self, id: impl Into<String>, title: impl Into<String>) -> Self {
        self.action.buttons.push(ReplyButton {
            kind: "reply".to_owned(),
            reply: Reply {
                id: id.into(),
                title: title.into(),
                other: Fields::new(),
            },
            other: Fields::new(),
        });
        self
    }
}
