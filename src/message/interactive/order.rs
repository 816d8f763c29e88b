//! An order to be paid.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::Fields;
use super::prompt::is_interactive;
use super::{Named, Prompt, TakesFooter, TakesHeader, TakesTextHeader};

/// An order to be paid, in India, Brazil and Singapore (Meta, "Payments", *order details*). The total is the subtotal with tax and shipping,
/// less the discount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderDetails {
    /// The order's id: at most 35 characters, once for ever.
    pub reference_id: String,
    /// `digital-goods` or `physical-goods`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `upi`, `br`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_type: Option<String>,
    /// The name of a configuration, where one is set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_configuration: Option<String>,
    /// How it can be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_settings: Option<Vec<PaymentSetting>>,
    /// ISO 4217, such as `INR`.
    pub currency: String,
    /// What is to be paid.
    pub total_amount: Amount,
    /// What it is for.
    pub order: Order,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// `value` divided by `offset`: 12.34 is 1234 with the offset 100, which all currencies here have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// The amount, times the offset.
    pub value: i64,
    /// 100.
    pub offset: i64,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// An amount with words for it: tax, shipping, discount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    /// What it is: at most 60 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How much; holds what is not known.
    #[serde(flatten)]
    pub amount: Amount,
}

/// What is to be paid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// `pending`.
    pub status: String,
    /// The things.
    pub items: Vec<OrderItem>,
    /// What the things cost together.
    pub subtotal: Amount,
    /// The tax.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax: Option<Charge>,
    /// The shipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shipping: Option<Charge>,
    /// What is taken off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount: Option<Charge>,
    /// What is not known; `catalog_id`, `expiration`.
    #[serde(flatten)]
    pub other: Fields,
}

/// A thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderItem {
    /// Its id in the catalog, or one of yours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retailer_id: Option<String>,
    /// Its name: at most 60 characters.
    pub name: String,
    /// What one of it costs.
    pub amount: Amount,
    /// What one of it costs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale_amount: Option<Amount>,
    /// How many.
    pub quantity: u32,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A way to pay: `{"type": "boleto", "boleto": {…}}`, as the page of that way writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaymentSetting {
    /// `payment_gateway`, `pix_dynamic_code`, `payment_link`, `boleto`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its settings, under the name of its kind.
    #[serde(flatten)]
    pub settings: Fields,
}

impl TakesTextHeader for Named<OrderDetails> {}
impl TakesHeader for Named<OrderDetails> {}
impl TakesFooter for Named<OrderDetails> {}
is_interactive!(Named<OrderDetails> => OrderDetails);

/// A text with an order to be paid: its id, its currency and what it is for. The total is reckoned from the order.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message::{self, interactive::{Order, OrderItem, PaymentSetting}};
///
/// let order = Order::of([OrderItem::new("Cake", 500_00, 2)]).tax(7_00);
/// let bill = message::order_details("Your order", "order-17", "BRL", order)
///     .payment("br")
///     .payment_setting(PaymentSetting::new("payment_link", json!({"uri": "https://example.com/pay/17"})));
/// assert_eq!(
///     serde_json::to_value(&bill)?["action"],
///     json!({"name": "review_and_pay", "parameters": {
///         "reference_id": "order-17",
///         "type": "digital-goods",
///         "payment_type": "br",
///         "payment_settings": [{"type": "payment_link", "payment_link": {"uri": "https://example.com/pay/17"}}],
///         "currency": "BRL",
///         "total_amount": {"value": 100700, "offset": 100},
///         "order": {
///             "status": "pending",
///             "items": [{"name": "Cake", "amount": {"value": 50000, "offset": 100}, "quantity": 2}],
///             "subtotal": {"value": 100000, "offset": 100},
///             "tax": {"value": 700, "offset": 100}
///         }
///     }})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn order_details(
    body: impl Into<String>,
    reference: impl Into<String>,
    currency: impl Into<String>,
    order: Order,
) -> Prompt<Named<OrderDetails>> {
    let details = OrderDetails {
        reference_id: reference.into(),
        kind: Some("digital-goods".to_owned()),
        payment_type: None,
        payment_configuration: None,
        payment_settings: None,
        currency: currency.into(),
        total_amount: order.total(),
        order,
        other: Fields::new(),
    };
    Prompt::saying(body, Named::new("review_and_pay", details))
}

impl Prompt<Named<OrderDetails>> {
    /// Of goods that are shipped.
    pub fn physical_goods(mut self) -> Self {
        self.action.parameters.kind = Some("physical-goods".to_owned());
        self
    }

    /// Paid by this type of payment (`upi`, `br`).
    pub fn payment(mut self, payment_type: impl Into<String>) -> Self {
        self.action.parameters.payment_type = Some(payment_type.into());
        self
    }

    /// Paid as the configuration of this name says.
    pub fn payment_configuration(mut self, name: impl Into<String>) -> Self {
        self.action.parameters.payment_configuration = Some(name.into());
        self
    }

    /// With a way to pay.
    pub fn payment_setting(mut self, setting: PaymentSetting) -> Self {
        let settings = &mut self.action.parameters.payment_settings;
        settings.get_or_insert_default().push(setting);
        self
    }
}

impl Amount {
    /// In hundredths of the currency.
    pub fn of(hundredths: i64) -> Self {
        Self {
            value: hundredths,
            offset: 100,
            other: Fields::new(),
        }
    }
}

impl Charge {
    /// In hundredths of the currency.
    pub fn of(hundredths: i64) -> Self {
        Self {
            description: None,
            amount: Amount::of(hundredths),
        }
    }
}

impl OrderItem {
    /// A thing: its name, what one of it costs in hundredths of the currency, and how many.
    pub fn new(name: impl Into<String>, hundredths: i64, quantity: u32) -> Self {
        Self {
            retailer_id: None,
            name: name.into(),
            amount: Amount::of(hundredths),
            sale_amount: None,
            quantity,
            other: Fields::new(),
        }
    }

    /// With its id in the catalog, or one of yours.
    pub fn retailer_id(mut self, id: impl Into<String>) -> Self {
        self.retailer_id = Some(id.into());
        self
    }

    fn cost(&self) -> i64 {
        let one = self.sale_amount.as_ref().unwrap_or(&self.amount);
        one.value.saturating_mul(self.quantity.into())
    }
}

impl Order {
    /// An order of these things. The subtotal is what they cost together.
    pub fn of(items: impl IntoIterator<Item = OrderItem>) -> Self {
        let items: Vec<OrderItem> = items.into_iter().collect();
        let subtotal = items.iter().map(OrderItem::cost);
        Self {
            status: "pending".to_owned(),
            subtotal: Amount::of(subtotal.fold(0, i64::saturating_add)),
            items,
            tax: None,
            shipping: None,
            discount: None,
            other: Fields::new(),
        }
    }

    /// With tax, in hundredths of the currency.
    pub fn tax(mut self, hundredths: i64) -> Self {
        self.tax = Some(Charge::of(hundredths));
        self
    }

    /// With shipping, in hundredths of the currency.
    pub fn shipping(mut self, hundredths: i64) -> Self {
        self.shipping = Some(Charge::of(hundredths));
        self
    }

    /// Less this, in hundredths of the currency.
    pub fn discount(mut self, hundredths: i64) -> Self {
        self.discount = Some(Charge::of(hundredths));
        self
    }

    /// Subtotal, tax and shipping, less the discount.
    fn total(&self) -> Amount {
        let charged = |charge: &Option<Charge>| charge.as_ref().map_or(0, |it| it.amount.value);
        let more = charged(&self.tax).saturating_add(charged(&self.shipping));
        let all = self.subtotal.value.saturating_add(more);
        Amount::of(all.saturating_sub(charged(&self.discount)))
    }
}

impl PaymentSetting {
    /// A way to pay and its settings, as Meta's page of that way writes them.
    pub fn new(kind: impl Into<String>, settings: Value) -> Self {
        let kind = kind.into();
        Self {
            settings: Fields::from_iter([(kind.clone(), settings)]),
            kind,
        }
    }
}
