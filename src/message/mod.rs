//! Every kind of message that WhatsApp takes, as types: to write payloads that are right, and to read what others wrote.
//!
//! A message is made from the inside out: its content, what it answers and carries, its recipient, and then the row around it.
//!
//! ```
//! use serde_json::json;
//! use wa_outbox::message;
//!
//! let answer = message::text("On its way: https://example.com/4711")
//!     .preview_url()
//!     .reply_to("wamid.HBgL")
//!     .callback_data("order-4711")
//!     .to("+16505551234")
//!     .in_sequence("order-4711")
//!     .priority(0);
//! assert_eq!(
//!     serde_json::to_value(answer.payload())?,
//!     json!({
//!         "type": "text",
//!         "text": {"body": "On its way: https://example.com/4711", "preview_url": true},
//!         "context": {"message_id": "wamid.HBgL"},
//!         "biz_opaque_callback_data": "order-4711"
//!     })
//! );
//! # Ok::<(), serde_json::Error>(())
//! ```
//! [`enqueue`](crate::enqueue) writes it into the outbox. What a kind cannot have it has no method for: a reaction cannot be a reply, a
//! product has no header. What only WhatsApp or the database can know they refuse.
//!
//! Reading loses nothing: `serde_json::from_str::<Payload>(text)` keeps every property, those that this version does not know in `other`
//! or in a variant `Other`, and written again it is the same JSON value.
//!
//! Pure: nothing here waits, asks the time or knows a database.

pub mod contacts;
pub mod interactive;
pub mod rules;
pub mod template;

mod about_messages;
mod location;
mod media;
mod outgoing;
mod payload;
mod text;
mod whole;

pub use about_messages::{
    MarkAsRead, Pin, Reaction, TypingIndicator, mark_as_read, pin, reaction, remove_reaction, unpin,
};
pub use contacts::{Contacts, contacts};
pub use interactive::{
    Interactive, address_request, buttons, call_permission_request, carousel, catalog,
    contact_request, cta_url, flow, form, list, location_request, order_details, order_status,
    product, product_list, voice_call,
};
pub use location::{Degrees, Location, location};
pub use media::{
    Audio, Document, Image, Media, Sticker, Video, audio, document, image, sticker, video,
};
pub use outgoing::{OnUncertain, Outgoing, Recipient, RowContent};
pub use payload::{Content, Context, Payload};
pub use template::{Template, template};
pub use text::{Text, text};
pub use whole::Fields;
