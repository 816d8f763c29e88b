//! A durable outbound WhatsApp message queue on Postgres.

pub mod cli;
pub mod clock;
pub mod config;
pub mod dispatch;
pub mod domain;
pub mod provider;
pub mod store;
pub mod telemetry;
pub mod throttle;
pub mod webhook;
