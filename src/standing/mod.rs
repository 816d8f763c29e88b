//! Where something stands and why, in sentences: for whoever asks in a terminal and for whoever looks at the dashboard.
//!
//! A sentence is made from what the database says and from nothing else, so the same question gets the same answer everywhere. Every
//! look is bounded: it costs the same whatever is queued.

pub mod campaign;
pub mod facts;
pub mod failure;
pub mod message;
#[cfg(test)]
mod message_tests;
pub mod reason;
pub mod sender;
pub mod sequence;
pub mod shell;
pub mod time;
pub mod veil;
