//! What things are: pure rules, without waiting, SQL or HTTP.
//!
//! Whatever is true about messages, attempts and statuses without a database or a network stands here,
//! and nothing here ever asks the time: a rule that needs it takes `now`.

pub mod account_news;
pub mod base_url;
mod country_zones;
pub mod era;
pub mod event;
pub mod forecast;
pub mod hold;
pub mod id;
pub mod kind;
pub mod mask;
pub mod numbering;
pub mod outcome;
pub mod phone;
pub mod placeholders;
pub mod quiet_hours;
pub mod ramp;
pub mod retention;
pub mod retry;
pub mod status;
pub mod text;
pub mod token;
pub mod transition;
