//! What a message says: the bodies that WhatsApp takes, and what its documentation demands of them.

pub mod rules;
