//! A button that opens a flow.

use serde::{Deserialize, Serialize};

use super::super::Fields;
use super::prompt::is_interactive;
use super::{Named, Prompt, TakesFooter, TakesHeader, TakesTextHeader};

/// A flow (Meta, "Sending a flow"). It is named by `flow_id` or by `flow_name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// `3`.
    pub flow_message_version: String,
    /// What the button says: at most 30 characters, no emoji.
    pub flow_cta: String,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_id: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_name: Option<String>,
    /// A word of yours that tells this run of it from others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_token: Option<String>,
    /// `draft` or `published`, the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `navigate`, the default, or `data_exchange`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_action: Option<String>,
    /// Where `navigate` begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_action_payload: Option<FlowScreen>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Where a flow begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowScreen {
    /// The screen's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen: Option<String>,
    /// What the screen is given; not empty where it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Fields>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

impl TakesTextHeader for Named<Flow> {}
impl TakesHeader for Named<Flow> {}
impl TakesFooter for Named<Flow> {}
is_interactive!(Named<Flow> => Flow);

/// A text with a button that opens the flow with this id.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let booking = message::flow("Book a table", "Book!", "1234567890").token("4711").begin_at("TABLES", None);
/// assert_eq!(
///     serde_json::to_value(&booking)?["action"],
///     json!({"name": "flow", "parameters": {
///         "flow_message_version": "3", "flow_cta": "Book!", "flow_id": "1234567890", "flow_token": "4711",
///         "flow_action": "navigate", "flow_action_payload": {"screen": "TABLES"}
///     }})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn flow(
    body: impl Into<String>,
    button: impl Into<String>,
    flow_id: impl Into<String>,
) -> Prompt<Named<Flow>> {
    let flow = Flow {
        flow_message_version: "3".to_owned(),
        flow_cta: button.into(),
        flow_id: Some(flow_id.into()),
        flow_name: None,
        flow_token: None,
        mode: None,
        flow_action: None,
        flow_action_payload: None,
        other: Fields::new(),
    };
    Prompt::saying(body, Named::new("flow", flow))
}

impl Prompt<Named<Flow>> {
    /// With a word of yours that tells this run of it from others.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.action.parameters.flow_token = Some(token.into());
        self
    }

    /// Begins at this screen, with data for it.
    pub fn begin_at(mut self, screen: impl Into<String>, data: Option<Fields>) -> Self {
        let flow = &mut self.action.parameters;
        flow.flow_action = Some("navigate".to_owned());
        flow.flow_action_payload = Some(FlowScreen {
            screen: Some(screen.into()),
            data,
            other: Fields::new(),
        });
        self
    }

    /// Asks your endpoint for its first screen.
    pub fn ask_endpoint(mut self) -> Self {
        let flow = &mut self.action.parameters;
        flow.flow_action = Some("data_exchange".to_owned());
        flow.flow_action_payload = None;
        self
    }

    /// As it stands now, before it is published.
    pub fn draft(mut self) -> Self {
        self.action.parameters.mode = Some("draft".to_owned());
        self
    }
}
