//! A database that went back in time: noticing it before anything leaves, and settling what it has forgotten.
//!
//! A promoted standby that had not got everything, a restored backup, a copy: each has forgotten what was sent last, and calls it
//! queued. Every process looks at each beat ([`watch`]) whether its database is the one it knows, at once when a statement
//! was refused for it, and before its parts are started. Who notices holds all senders; a person has it settled ([`settle`]) by
//! `wa-outbox recover`. Nothing is sent again because it was settled: it is in doubt then, and evidence or policy decides.

pub mod settle;
pub mod watch;
