//! Asks for the recipient's place, or for their contact.

use super::prompt::is_interactive;
use super::{NameOnly, Prompt};

/// Asks where the recipient is (Meta, "Location request messages"). It has a body and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendLocation;

/// Asks for the recipient's contact, for who is known by a business-scoped user id only (Meta, "Business-scoped user IDs").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestContactInfo;

is_interactive!(
    NameOnly<SendLocation> => LocationRequestMessage,
    NameOnly<RequestContactInfo> => RequestContactInfo,
);

/// A text with a button that sends where the recipient is.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let where_to = message::location_request("Where shall we pick you up?");
/// assert_eq!(
///     serde_json::to_value(&where_to)?,
///     json!({"body": {"text": "Where shall we pick you up?"}, "action": {"name": "send_location"}})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn location_request(body: impl Into<String>) -> Prompt<NameOnly<SendLocation>> {
    Prompt::saying(body, NameOnly::new("send_location"))
}

/// A text with a button that sends the recipient's contact.
pub fn contact_request(body: impl Into<String>) -> Prompt<NameOnly<RequestContactInfo>> {
    Prompt::saying(body, NameOnly::new("request_contact_info"))
}
