//! The promises of the product, on real Postgres and over real HTTP. A file for a promise.

mod embedded;
mod g5_in_order;
mod g9_honest_end;
mod latency;
mod main_job;
mod support;
