//! Text messages.

use serde::{Deserialize, Serialize};

use super::Fields;

/// A text (Meta, "Text messages"). `body` has 1 to 4096 characters; links in it begin with `http://` or `https://`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// What it says.
    pub body: String,
    /// Whether the first link in it is shown with a preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_url: Option<bool>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A text.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let text = message::text("See https://example.com/orders/4711").preview_url();
/// assert_eq!(
///     serde_json::to_value(&text)?,
///     json!({"body": "See https://example.com/orders/4711", "preview_url": true})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn text(body: impl Into<String>) -> Text {
    Text {
        body: body.into(),
        preview_url: None,
        other: Fields::new(),
    }
}

impl Text {
    /// Shows the first link in it with a preview.
    pub fn preview_url(mut self) -> Self {
        self.preview_url = Some(true);
        self
    }
}
