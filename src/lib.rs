//! A durable outbound WhatsApp message queue on Postgres.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
mod crash;
pub mod dispatch;
pub mod domain;
pub mod embedded;
pub mod message;
pub mod metrics;
pub mod provider;
pub mod recovery;
pub mod retention;
pub mod secret;
pub mod service;
pub mod simulator;
pub mod standing;
pub mod store;
pub mod tail;
pub mod telemetry;
pub mod throttle;
pub mod traces;
pub mod webhook;

pub use store::outbox::{EnqueueError, enqueue, enqueue_all};

// The examples of the README are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
