//! The promises of the product, on real Postgres and over real HTTP. A file for a promise.

mod demo;
mod embedded;
mod main_job;
mod support;
