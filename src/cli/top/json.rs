//! One look as scripts read it.

use serde::Serialize;
use time::OffsetDateTime;

use super::Look;
use crate::standing::sender::{Reading, StandingJson};
use crate::store::summary::SenderStanding;

/// How all senders go.
#[derive(Serialize)]
pub(super) struct TopJson<'a> {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    workers: i64,
    uncertain: i64,
    needs_person: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    oldest_delivery_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_status_at: Option<OffsetDateTime>,
    is_listening: Option<bool>,
    senders: Vec<SenderJson<'a>>,
}

#[derive(Serialize)]
struct SenderJson<'a> {
    sender: &'a str,
    rate_per_second: f64,
    worker: Option<&'a str>,
    held_reason: Option<&'a str>,
    problem: Option<&'a str>,
    standing: StandingJson<'a>,
}

impl<'a> TopJson<'a> {
    pub(super) fn of(look: &'a Look) -> Self {
        let all = &look.overview;
        Self {
            at: all.now,
            workers: all.workers,
            uncertain: all.uncertain,
            needs_person: all.needs_person,
            oldest_delivery_at: all.oldest_delivery_at,
            last_status_at: all.last_status_at,
            is_listening: all.is_listening,
            senders: look.senders.iter().map(SenderJson::of).collect(),
        }
    }
}

impl<'a> SenderJson<'a> {
    fn of(it: &'a SenderStanding) -> Self {
        let is_held = Reading(it).hold().is_some();
        Self {
            sender: &it.sender,
            rate_per_second: it.rate_per_second,
            worker: it.worker.as_deref(),
            held_reason: it.held_reason.as_deref().filter(|_| is_held),
            problem: it.problem.as_deref(),
            standing: StandingJson::of(it),
        }
    }
}
