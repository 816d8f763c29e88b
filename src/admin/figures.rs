//! Figures that others keep anyway, and that a scrape asks for.

use std::sync::Arc;

use super::Health;
use super::sampler::Sampler;
use crate::metrics::Metrics;

/// Has a scrape ask for how this process is.
pub fn ask(metrics: &Metrics, health: &Arc<Health>, sampler: &Sampler) {
    let usage = |pick: fn(crate::store::connections::Usage) -> f64| {
        let store = health.store.clone();
        move || pick(store.pool().usage())
    };
    metrics.gauge(
        "wa_outbox_database_connections_in_use",
        "Database connections that are lent.",
        usage(|usage| usage.in_use as f64),
    );
    metrics.gauge(
        "wa_outbox_database_connections_limit",
        "Database connections that may be lent at once.",
        usage(|usage| usage.at_most as f64),
    );
    metrics.gauge(
        "wa_outbox_database_connections_waiting",
        "Who waits for a database connection.",
        usage(|usage| usage.waiting as f64),
    );
    metrics.counter(
        "wa_outbox_database_round_trips",
        "Times that the database was asked: statements, and beginnings and ends of transactions.",
        usage(|usage| usage.asked as f64),
    );
    metrics.counter(
        "wa_outbox_database_unanswered",
        "Statements that were given up because no answer came in time.",
        usage(|usage| usage.unanswered as f64),
    );
    let era = health.store.era();
    metrics.gauge(
        "wa_outbox_database_went_back",
        "1: the database went back, and it is not settled what it has forgotten; every sender is held.",
        move || f64::from(u8::from(!era.is_settled())),
    );
    let age = sampler.age();
    metrics.gauge(
        "wa_outbox_sample_age_seconds",
        "How long ago figures were last read from the database; since the start, where they never were.",
        move || age().as_secs_f64(),
    );
    let asked = Arc::clone(health);
    if let Some(may_send) = asked.may_send.clone() {
        metrics.gauge(
            "wa_outbox_may_send",
            "1: the leases of this process are renewed in time, so it may send.",
            move || f64::from(u8::from(may_send(&asked.clock))),
        );
    }
    if let Some(progress) = health.progress.clone() {
        metrics.gauge(
            "wa_outbox_last_turn_seconds",
            "How long ago the loop that sends last turned.",
            move || progress().as_secs_f64(),
        );
    }
    if let Some(unwritten) = health.unwritten.clone() {
        metrics.gauge(
            "wa_outbox_unwritten_outcomes",
            "Outcomes that are known and not written to the database yet.",
            move || unwritten() as f64,
        );
    }
}
