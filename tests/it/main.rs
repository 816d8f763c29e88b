//! Tests over real Postgres and real HTTP.

mod embedded;
mod support;
