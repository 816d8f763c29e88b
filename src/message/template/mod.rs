//! Template messages: approved beforehand, filled in here.
//!
//! What a template takes is fixed by its approval, so each value goes to a place: the header, the body's placeholders in their order
//! or by their names, a button by its index.

mod card;
mod component;
mod parameter;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use card::Card;
pub use component::{Button, Carousel, Component, Filled, Index};
pub use parameter::{
    Action, Currency, DateTime, LimitedTimeOffer, Parameter, ProductItem, ProductSection,
    TemplateProduct,
};

use super::Fields;
use component::fills_components;

/// A template and what fills it (Meta, "Template messages"). The name has at most 512 characters (lower case, digits, `_`); a filled
/// text is limited by its place: header 60, body 1024, a button's address 2000, a coupon code 15, a one-time password 15.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// As it was approved.
    pub name: String,
    /// Of its translations, this one.
    pub language: Language,
    /// What fills it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<Vec<Component>>,
    /// What is not known; `namespace` for an On-Premises client.
    #[serde(flatten)]
    pub other: Fields,
}

/// A translation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Language {
    /// Such as `en_US`.
    pub code: String,
    /// `deterministic`, for an On-Premises client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A template, by its name and the code of its language.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message::{self, Media, template::Parameter};
///
/// let shipped = message::template("order_shipped", "en_US")
///     .header(message::image(Media::link("https://example.com/17.jpg")))
///     .body(["Ada", "4711"])
///     .url_button(0, "track/4711");
/// assert_eq!(
///     serde_json::to_value(&shipped)?,
///     json!({
///         "name": "order_shipped",
///         "language": {"code": "en_US"},
///         "components": [
///             {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://example.com/17.jpg"}}]},
///             {"type": "body", "parameters": [{"type": "text", "text": "Ada"}, {"type": "text", "text": "4711"}]},
///             {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "track/4711"}]}
///         ]
///     })
/// );
///
/// let login = message::template("login_code", "en_US").one_time_password("J$FpnYnP");
/// assert_eq!(
///     serde_json::to_value(&login)?["components"],
///     json!([
///         {"type": "body", "parameters": [{"type": "text", "text": "J$FpnYnP"}]},
///         {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "J$FpnYnP"}]}
///     ])
/// );
///
/// let receipt = message::template("receipt", "en_US")
///     .body([Parameter::named("name", "Ada"), Parameter::currency("$100.99", "USD", 100_990)]);
/// assert_eq!(
///     serde_json::to_value(&receipt)?["components"][0]["parameters"],
///     json!([
///         {"type": "text", "parameter_name": "name", "text": "Ada"},
///         {"type": "currency", "currency": {"fallback_value": "$100.99", "code": "USD", "amount_1000": 100990}}
///     ])
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn template(name: impl Into<String>, language: impl Into<String>) -> Template {
    Template {
        name: name.into(),
        language: Language {
            code: language.into(),
            policy: None,
            other: Fields::new(),
        },
        components: None,
        other: Fields::new(),
    }
}

fills_components!(Template);

impl Template {
    fn with(mut self, component: Component) -> Self {
        self.components.get_or_insert_default().push(component);
        self
    }

    /// Fills an authentication template: the code stands in its body and behind its button, whether that copies or fills in (Meta,
    /// "Authentication templates"). At most 15 characters.
    pub fn one_time_password(self, code: impl Into<String>) -> Self {
        let code = code.into();
        self.body([code.as_str()]).url_button(0, code)
    }

    /// Fills a button that copies a coupon code (Meta, "Coupon templates"). At most 15 characters.
    pub fn coupon_code(self, index: u8, code: impl Into<String>) -> Self {
        let parameter = Parameter::CouponCode {
            coupon_code: code.into(),
        };
        self.button("copy_code", index, [parameter])
    }

    /// When the offer of a limited-time offer template ends (Meta, "Limited-time offer templates").
    pub fn offer_ends_at(self, end: OffsetDateTime) -> Self {
        let parameter = Parameter::LimitedTimeOffer {
            limited_time_offer: LimitedTimeOffer {
                expiration_time_ms: i64::try_from(end.unix_timestamp_nanos() / 1_000_000)
                    .unwrap_or(i64::MAX),
                other: Fields::new(),
            },
        };
        self.with(Component::LimitedTimeOffer(Filled::by([parameter])))
    }

    /// Opens the flow behind a button with a token of yours and with data for its first screen (Meta, "Flows templates").
    pub fn flow_button(
        self,
        index: u8,
        flow_token: impl Into<String>,
        data: Option<Fields>,
    ) -> Self {
        let action = Action {
            flow_token: Some(flow_token.into()),
            flow_action_data: data,
            ..Action::default()
        };
        self.button("flow", index, [Parameter::Action { action }])
    }

    /// Shows the catalog behind a button, with this product's picture (Meta, "Catalog templates").
    pub fn catalog_button(self, index: u8, thumbnail: impl Into<String>) -> Self {
        let action = Action {
            thumbnail_product_retailer_id: Some(thumbnail.into()),
            ..Action::default()
        };
        self.button("catalog", index, [Parameter::Action { action }])
    }

    /// Shows up to 30 products in up to 10 sections behind a button, with this product's picture (Meta, "Multi-product message
    /// templates").
    pub fn products_button(
        self,
        index: u8,
        thumbnail: impl Into<String>,
        sections: impl IntoIterator<Item = ProductSection>,
    ) -> Self {
        let action = Action {
            thumbnail_product_retailer_id: Some(thumbnail.into()),
            sections: Some(sections.into_iter().collect()),
            ..Action::default()
        };
        self.button("mpm", index, [Parameter::Action { action }])
    }

    /// Fills its carousel: 2 to 10 cards, as many and in the order as they were approved (Meta, "Media card carousel templates").
    ///
    /// ```
    /// use serde_json::json;
    /// use wa_outbox::message::{self, template::{Card, Parameter}};
    ///
    /// let plants = message::template("plants", "en_US").carousel([
    ///     Card::new().header(Parameter::product("aloe-1", "194836987003835")).url_button(0, "aloe"),
    ///     Card::new().header(Parameter::product("fern-1", "194836987003835")).quick_reply(0, "more-ferns"),
    /// ]);
    /// let cards = &serde_json::to_value(&plants)?["components"][0]["cards"];
    /// assert_eq!(
    ///     cards[1],
    ///     json!({"card_index": 1, "components": [
    ///         {"type": "header", "parameters": [
    ///             {"type": "product", "product": {"product_retailer_id": "fern-1", "catalog_id": "194836987003835"}}]},
    ///         {"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [
    ///             {"type": "payload", "payload": "more-ferns"}]}
    ///     ]})
    /// );
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn carousel(self, cards: impl IntoIterator<Item = Card>) -> Self {
        self.with(Component::carousel(cards))
    }
}
