//! A durable outbound WhatsApp message queue on Postgres.

pub mod domain;
pub mod embedded;
