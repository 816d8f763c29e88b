//! Interactive messages: a text with something to tap.
//!
//! Each is a [`Prompt`]: header, body and footer around an action of its own. What a kind cannot carry it has no method for.

mod address;
mod calls;
mod carousel;
mod cta_url;
mod flow;
mod form;
mod list;
mod order;
mod order_status;
mod products;
mod prompt;
mod reply_buttons;
mod requests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use address::{AddressRequest, SavedAddress, address_request};
pub use calls::{
    CallPermission, VoiceCall, VoiceCallParameters, call_permission_request, voice_call,
};
pub use carousel::{Card, CardAction, CardButton, CardReply, Cards, carousel};
pub use cta_url::{CtaUrl, cta_url};
pub use flow::{Flow, FlowScreen, flow};
pub use form::{FormLayout, FormMessage, form};
pub use list::{Choices, Row, Section, list};
pub use order::{Amount, Charge, Order, OrderDetails, OrderItem, PaymentSetting, order_details};
pub use order_status::{OrderStanding, OrderStatus, order_status};
pub use products::{
    Catalog, CatalogParameters, Product, ProductList, catalog, product, product_list,
};
pub use prompt::{
    Header, NameOnly, Named, Prompt, TakesFooter, TakesHeader, TakesTextHeader, Words,
};
pub use reply_buttons::{Reply, ReplyButton, ReplyButtons, buttons};
pub use requests::{RequestContactInfo, SendLocation, contact_request, location_request};

use super::whole::keeps_the_unknown;

/// What kind of interactive message it is (Meta, "Interactive messages"). Header text and footer have at most 60 characters, the body
/// 1024, that of a list 4096.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "snake_case")]
pub enum Interactive {
    /// Up to three buttons to answer by.
    Button(Prompt<ReplyButtons>),
    /// Up to ten choices behind a button.
    List(Prompt<Choices>),
    /// A button that opens an address.
    CtaUrl(Prompt<Named<CtaUrl>>),
    /// A button that opens a flow.
    Flow(Prompt<Named<Flow>>),
    /// Asks where the recipient is.
    LocationRequestMessage(Prompt<NameOnly<SendLocation>>),
    /// Asks for the recipient's contact.
    RequestContactInfo(Prompt<NameOnly<RequestContactInfo>>),
    /// A product of a catalog.
    Product(Prompt<Product>),
    /// Products of a catalog.
    ProductList(Prompt<ProductList>),
    /// A whole catalog.
    CatalogMessage(Prompt<Catalog>),
    /// Asks for a delivery address.
    AddressMessage(Prompt<Named<AddressRequest>>),
    /// An order to be paid.
    OrderDetails(Box<Prompt<Named<OrderDetails>>>),
    /// What became of an order.
    OrderStatus(Prompt<Named<OrderStatus>>),
    /// A row of cards.
    Carousel(Prompt<Cards>),
    /// Asks whether the business may call.
    CallPermissionRequest(Prompt<NameOnly<CallPermission>>),
    /// A button that calls the business.
    VoiceCall(Prompt<VoiceCall>),
    /// A form.
    FormMessage(FormMessage),
    /// Anything else, as it was written.
    #[serde(untagged)]
    Other(Value),
}
keeps_the_unknown!(Interactive);
