//! A durable outbound WhatsApp message queue on Postgres.

pub mod clock;
pub mod domain;
pub mod provider;
pub mod store;
pub mod webhook;
