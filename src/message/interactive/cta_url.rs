//! A button that opens an address.

use serde::{Deserialize, Serialize};

use super::super::Fields;
use super::prompt::is_interactive;
use super::{Named, Prompt, TakesFooter, TakesHeader, TakesTextHeader};

/// A button that opens an address (Meta, "Interactive Call-to-Action URL button messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CtaUrl {
    /// What the button says: at most 20 characters.
    pub display_text: String,
    /// What it opens.
    pub url: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

impl TakesTextHeader for Named<CtaUrl> {}
impl TakesHeader for Named<CtaUrl> {}
impl TakesFooter for Named<CtaUrl> {}
is_interactive!(Named<CtaUrl> => CtaUrl);

impl CtaUrl {
    pub(super) fn action(display_text: impl Into<String>, url: impl Into<String>) -> Named<Self> {
        let parameters = Self {
            display_text: display_text.into(),
            url: url.into(),
            other: Fields::new(),
        };
        Named::new("cta_url", parameters)
    }
}

/// A text with a button that opens an address.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message::{self, Media};
///
/// let dates = message::cta_url("Tap to see the dates", "See dates", "https://example.com/dates")
///     .header(message::image(Media::id("1602186516975000")));
/// assert_eq!(
///     serde_json::to_value(&dates)?,
///     json!({
///         "header": {"type": "image", "image": {"id": "1602186516975000"}},
///         "body": {"text": "Tap to see the dates"},
///         "action": {"name": "cta_url", "parameters": {"display_text": "See dates", "url": "https://example.com/dates"}}
///     })
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn cta_url(
    body: impl Into<String>,
    display_text: impl Into<String>,
    url: impl Into<String>,
) -> Prompt<Named<CtaUrl>> {
    Prompt::saying(body, CtaUrl::action(display_text, url))
}
