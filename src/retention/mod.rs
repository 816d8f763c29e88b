//! Retention: what has ended is deleted when it is old enough, if somebody wants that.
//!
//! A [`walk`] goes through the tables a slice at a time, each a transaction of some hundred rows, and rests in between; so it can be
//! broken off at any moment, and costs those who send little. The [`keeper`] begins one every hour, in one process of the fleet, as
//! the settings `[retention]` say; `wa-outbox prune` begins one at once. What may go, the database itself decides (the migration
//! *prune*).

pub mod keeper;
pub mod walk;
