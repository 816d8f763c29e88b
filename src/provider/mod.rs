//! Speaks to WhatsApp: what to send, where to, and what the answer means.
//!
//! The one place that knows the shapes of WhatsApp's requests and answers. Everything else sees a
//! [`Request`] go in and an [`Outcome`](crate::domain::outcome::Outcome) come out. A request leaves at most
//! once, and an outcome never claims more than is known.

pub mod address;
mod answer;
pub mod body;
pub mod client;
pub mod codes;
pub mod credential;
pub mod file_reference;
pub mod kind;
pub mod media;
pub mod permission;
mod pool;
mod session;
mod trial;
pub mod verdict;
pub mod wire;

pub use address::{Access, AddressError, AddressSettings, Endpoint, Target, check_base_url};
pub use body::Gate;
pub use client::{HttpSettings, Provider, ProviderError, Request};
pub use codes::{Class, Dialect, Fault, classify, explain};
pub use credential::CredentialError;
pub use kind::{Capabilities, Echo, Envelope, ProviderKind};
pub use trial::Trial;
pub use verdict::{Expected, Happened, judge};
pub use wire::{Payload, Recipient, Template, WireError};
