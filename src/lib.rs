//! A durable outbound WhatsApp message queue on Postgres.

pub mod clock;
pub mod config;
pub mod domain;
pub mod telemetry;
pub mod webhook;
