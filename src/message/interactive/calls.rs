//! Calls: may we, and call us.

use serde::{Deserialize, Serialize};

use super::super::Fields;
use super::prompt::is_interactive;
use super::{NameOnly, Prompt};

/// Asks whether the business may call (Meta, "Obtain user call permissions").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPermission;

/// A button that calls the business (Meta, "Call button messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VoiceCall {
    /// `voice_call`.
    pub name: String,
    /// How it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<VoiceCallParameters>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// How a call button is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VoiceCallParameters {
    /// What it says: at most 20 characters; else "Call now".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_text: Option<String>,
    /// For how long it may be tapped: 1 to 43,200 minutes; else seven days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_minutes: Option<u32>,
    /// Comes back with the call: at most 512 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

is_interactive!(NameOnly<CallPermission> => CallPermissionRequest, VoiceCall => VoiceCall);

/// A text that asks whether the business may call.
pub fn call_permission_request(body: impl Into<String>) -> Prompt<NameOnly<CallPermission>> {
    Prompt::saying(body, NameOnly::new("call_permission_request"))
}

/// A text with a button that calls the business.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let call = message::voice_call("Call us, it is faster").display_text("Call now").ttl_minutes(100);
/// assert_eq!(
///     serde_json::to_value(&call)?["action"],
///     json!({"name": "voice_call", "parameters": {"display_text": "Call now", "ttl_minutes": 100}})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn voice_call(body: impl Into<String>) -> Prompt<VoiceCall> {
    let call = VoiceCall {
        name: "voice_call".to_owned(),
        parameters: None,
        other: Fields::new(),
    };
    Prompt::saying(body, call)
}

impl Prompt<VoiceCall> {
    fn parameters(&mut self) -> &mut VoiceCallParameters {
        self.action.parameters.get_or_insert_default()
    }

    /// With these words on the button.
    pub fn display_text(mut self, text: impl Into<String>) -> Self {
        self.parameters().display_text = Some(text.into());
        self
    }

    /// It may be tapped for so long.
    pub fn ttl_minutes(mut self, minutes: u32) -> Self {
        self.parameters().ttl_minutes = Some(minutes);
        self
    }

    /// With a word of yours that comes back with the call.
    pub fn payload(mut self, payload: impl Into<String>) -> Self {
        self.parameters().payload = Some(payload.into());
        self
    }
}
