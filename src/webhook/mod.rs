//! What WhatsApp tells us about messages it has taken.
//!
//! Receiving and applying are two things. A delivery is proved, stored as it came and acknowledged; what it says is
//! applied apart, from the stored bytes, as often as it takes. So WhatsApp never waits for us, and nothing that we
//! fail to understand is lost.
//!
//! - [`signature`]: is it WhatsApp's?
//! - [`SharedSecrets`](crate::secret::shared::SharedSecrets): if it is not signed, is it from one we know?
//! - [`payload`]: what does it say?
//! - [`receiver`]: prove, store, say 200.
//! - [`applier`]: apply what was stored.

pub mod applier;
pub mod payload;
mod place;
pub mod receiver;
pub mod signature;
