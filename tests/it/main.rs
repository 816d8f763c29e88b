//! The promises of the product, on real Postgres and over real HTTP. A file for a promise.

mod broken_part;
mod campaign_command;
mod campaigns;
mod check_command;
mod demo;
mod embedded;
mod enqueue;
mod g1_no_loss;
mod g2_never_again;
mod g3_retry;
mod g4_lost_answers;
mod g5_in_order;
mod g7_one_owner;
mod g9_honest_end;
mod holds;
mod latency;
mod main_job;
mod outcomes;
mod pgbouncer;
mod sender_settings;
mod sick_database;
mod silent_connections;
mod storm;
mod support;
mod validation;
mod webhooks;
