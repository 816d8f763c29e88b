//! What became of an order.

use serde::{Deserialize, Serialize};

use super::super::Fields;
use super::prompt::is_interactive;
use super::{Named, Prompt, TakesFooter};

/// What became of an order (Meta, "Payments", *order status*).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderStatus {
    /// The order's id, as its details gave it.
    pub reference_id: String,
    /// Where it stands.
    pub order: OrderStanding,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Where an order stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderStanding {
    /// `pending`, `processing`, `partially_shipped`, `shipped`, `completed` or `canceled`.
    pub status: String,
    /// More words: at most 120 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

impl TakesFooter for Named<OrderStatus> {}
is_interactive!(Named<OrderStatus> => OrderStatus);

/// A text about the order with this id, and its status (`processing`, `shipped`, …).
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let shipped = message::order_status("It is on its way", "order-17", "shipped").description("By bike");
/// assert_eq!(
///     serde_json::to_value(&shipped)?["action"],
///     json!({"name": "review_order", "parameters": {
///         "reference_id": "order-17", "order": {"status": "shipped", "description": "By bike"}
///     }})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn order_status(
    body: impl Into<String>,
    reference: impl Into<String>,
    status: impl Into<String>,
) -> Prompt<Named<OrderStatus>> {
    let status = OrderStatus {
        reference_id: reference.into(),
        order: OrderStanding {
            status: status.into(),
            description: None,
            other: Fields::new(),
        },
        other: Fields::new(),
    };
    Prompt::saying(body, Named::new("review_order", status))
}

impl Prompt<Named<OrderStatus>> {
    /// With more words.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.action.parameters.order.description = Some(description.into());
        self
    }
}
