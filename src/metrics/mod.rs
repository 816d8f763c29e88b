//! What is counted and measured, for Prometheus.
//!
//! Where something happens it is counted by an atomic addition on a counter that is at hand: no lock and no look-up on the way of
//! a message. What only a scrape needs to know is asked by the scrape.
//!
//! The number of series is bounded: labels are words of this program and the ids of [`SENDERS_AT_MOST`] senders; further senders
//! are added up as `sender="other"`. No label ever holds a recipient, a wamid or a text.
//!
//! Every name stands here as it is scraped, but for the `_total` that the format adds to counters.

mod asked;
mod durations;
mod process;
mod senders;

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::domain::status::Status;
use crate::store::prune::Part;
use asked::{Asked, Kind};
pub use durations::Durations;
use durations::{FAST, SLOW};
pub use senders::{Going, OTHER, SENDERS_AT_MOST, SenderMeter, Senders, Standing};

/// What the text is, for the header of an answer.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// All that one process counts and measures.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// By sender.
    pub senders: Senders,
    /// Messages that came to a state.
    pub messages: Messages,
    /// Uncertain messages that were settled.
    pub settled: Settled,
    /// Statements and requests.
    pub took: Took,
    /// What WhatsApp tells.
    pub webhooks: Webhooks,
    /// What was deleted for its age.
    pub pruned: Pruned,
    /// What is read from the database from time to time.
    pub sampled: Sampled,
    /// Logins refused by the admin listener.
    pub refused_logins: Counter,
}

/// What a process has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Messages that WhatsApp took.
    pub accepted: u64,
    /// Messages that ended by a verdict, or without an attempt left.
    pub failed: u64,
    /// Messages whose answer was lost.
    pub uncertain: u64,
    /// Answers that said too fast.
    pub throttled: u64,
    /// Statuses of messages of ours, in the order of [`Status::ALL`].
    pub told: [u64; Status::ALL.len()],
}

/// Messages that came to a state by what this process has written down.
pub struct Messages {
    /// WhatsApp took them; one that it took twice counts twice.
    pub accepted: Counter,
    /// A verdict, or no attempt left.
    pub failed: Counter,
    /// The answer was lost.
    pub uncertain: Counter,
    /// Their time passed.
    pub expired: Counter,
}

/// What settled uncertain messages: evidence that they were accepted, or policy where they stayed silent.
pub struct Settled {
    /// A webhook told of the acceptance.
    pub webhook: Counter,
    /// The answer came after another worker had taken the sender and swept the message.
    pub late_answer: Counter,
    /// Sent again.
    pub resent: Counter,
    /// Left to a person.
    pub kept: Counter,
    /// Their time passed.
    pub expired: Counter,
}

/// How long things took.
pub struct Took {
    /// From the first byte of a request to its answer, or to the end of waiting for one.
    pub request: Durations,
    /// From when a message was due to the first byte of its request.
    pub due_to_request: Durations,
    /// From a message's acceptance to the arrival of its status `sent`.
    pub sent_status: Durations,
    /// The statement that begins attempts.
    pub begin: Durations,
    /// The transaction that records outcomes.
    pub record: Durations,
}

/// Deliveries and what was in them.
pub struct Webhooks {
    /// Proved and stored: answered with 200.
    pub stored: Counter,
    /// Not proved: answered with 401.
    pub refused: Counter,
    /// Too many at once: answered with 503.
    pub busy: Counter,
    /// Too large, or not whole in time.
    pub unreadable: Counter,
    /// The database did not take them: answered with 503.
    pub not_stored: Counter,
    /// Deliveries applied.
    pub applied: Counter,
    /// Statuses of messages of ours.
    pub matched: Counter,
    /// Statuses whose wamid was unknown when they came.
    pub unmatched: Counter,
    /// Of those, the ones whose message became known.
    pub matched_later: Counter,
    /// Statuses of messages of ours, in the order of [`Status::ALL`].
    pub told: [Counter; Status::ALL.len()],
    /// Deliveries, or parts of them, that could not be read or applied.
    pub bad: Counter,
    /// Callback tokens that were not made with our key.
    pub forged: Counter,
    /// Statuses that brought our token back.
    pub echoed: Counter,
}

/// What was deleted because it was older than the settings `[retention]` keep it.
pub struct Pruned {
    /// Messages, with all that belonged to them.
    pub messages: Counter,
    /// Webhook deliveries.
    pub deliveries: Counter,
    /// Statuses that belonged to no message.
    pub statuses: Counter,
    /// Events of sequences.
    pub history: Counter,
}

/// What is read from the database from time to time. The same in every process.
#[derive(Default)]
pub struct Sampled {
    /// Messages whose outcome is unknown, counted up to a limit.
    pub uncertain: Gauge,
    /// Of those, the ones that only a person can settle.
    pub needs_person: Gauge,
    /// How long ago the request of the oldest of them was begun.
    pub oldest_uncertain: Gauge<f64, std::sync::atomic::AtomicU64>,
    /// Messages accepted twice because we sent them again, counted up to a limit.
    pub doubled_by_resend: Gauge,
    /// Messages accepted twice though we had sent them once, counted up to a limit.
    pub doubled_by_transport: Gauge,
    /// Webhook deliveries stored and not applied, counted up to a limit.
    pub webhooks_pending: Gauge,
    /// How long the oldest of them has been waiting.
    pub webhook_lag: Gauge<f64, std::sync::atomic::AtomicU64>,
    /// Campaigns that run.
    pub campaigns_running: Gauge,
    /// Campaigns that paused by themselves and wait for a person.
    pub campaigns_self_paused: Gauge,
    /// Sequences that wait for a person, counted up to a limit.
    pub sequences_halted: Gauge,
    /// Templates that are held.
    pub templates_held: Gauge,
    /// Workers whose lease lasts.
    pub workers: Gauge,
    /// Senders that no worker holds.
    pub senders_unowned: Gauge,
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let to = &mut registry;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("wa_outbox_build", "The program", version);
        let senders = Senders::default();
        to.register_collector(Box::new(senders.clone()));
        let refused_logins = Counter::default();
        to.register(
            "wa_outbox_admin_logins_refused",
            "Requests to the admin listener without the right token",
            refused_logins.clone(),
        );
        let metrics = Self {
            senders,
            messages: Messages::registered(to),
            settled: Settled::registered(to),
            took: Took::registered(to),
            webhooks: Webhooks::registered(to),
            pruned: Pruned::registered(to),
            sampled: Sampled::registered(to),
            refused_logins,
            registry: Mutex::new(registry),
        };
        process::register(&metrics);
        metrics
    }

    /// Adds a figure that is asked for at each scrape.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        ask: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.ask(Asked::new(name, help, Kind::Gauge, ask));
    }

    /// Adds a figure that only ever grows and is asked for at each scrape.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        ask: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.ask(Asked::new(name, help, Kind::Counter, ask));
    }

    fn ask(&self, asked: Asked) {
        self.registry().register_collector(Box::new(asked));
    }

    /// What was done so far, of all senders together.
    pub fn done(&self) -> Done {
        Done {
            accepted: self.messages.accepted.get(),
            failed: self.messages.failed.get(),
            uncertain: self.messages.uncertain.get(),
            throttled: self.senders.throttled(),
            told: self.webhooks.told.each_ref().map(Counter::get),
        }
    }

    /// All of it, in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // A string takes everything.
        let _ = encode(&mut text, &self.registry());
        text
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Registers one counter for each value of a label.
fn counters<const N: usize>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: [&'static str; N],
) -> [Counter; N] {
    let family = Family::<Label, Counter>::default();
    registry.register(name, help, family.clone());
    values.map(|value| family.get_or_create_owned(&[(label, value)]))
}

impl Messages {
    fn registered(registry: &mut Registry) -> Self {
        let [accepted, failed, uncertain, expired] = counters(
            registry,
            "wa_outbox_messages",
            "Messages that came to this state by what this process has written down; one that was accepted twice counts twice",
            "state",
            ["accepted", "failed", "uncertain", "expired"],
        );
        Self {
            accepted,
            failed,
            uncertain,
            expired,
        }
    }
}

impl Settled {
    fn registered(registry: &mut Registry) -> Self {
        let [webhook, late_answer, resent, kept, expired] = counters(
            registry,
            "wa_outbox_uncertain_settled",
            "Uncertain messages that were settled: by evidence (webhook, late_answer), or by what policy made of those that stayed silent",
            "how",
            ["webhook", "late_answer", "resent", "kept", "expired"],
        );
        Self {
            webhook,
            late_answer,
            resent,
            kept,
            expired,
        }
    }
}

impl Pruned {
    fn registered(registry: &mut Registry) -> Self {
        let [messages, deliveries, statuses, history] = counters(
            registry,
            "wa_outbox_pruned",
            "What this process has deleted because it was older than the settings [retention] keep it",
            "what",
            ["messages", "deliveries", "statuses", "history"],
        );
        Self {
            messages,
            deliveries,
            statuses,
            history,
        }
    }

    /// Of this part.
    pub fn of(&self, part: Part) -> &Counter {
        match part {
            Part::Messages => &self.messages,
            Part::Deliveries => &self.deliveries,
            Part::Statuses => &self.statuses,
            Part::History => &self.history,
        }
    }
}

impl Took {
    fn registered(registry: &mut Registry) -> Self {
        let mut durations = |name: &'static str, help: &'static str, bounds| {
            let durations = Durations::new(bounds);
            registry.register(name, help, durations.clone());
            durations
        };
        Self {
            request: durations(
                "wa_outbox_request_duration_seconds",
                "From the first byte of a request to its answer, or to the end of waiting for one",
                FAST,
            ),
            due_to_request: durations(
                "wa_outbox_due_to_request_seconds",
                "From when a message was due to the first byte of its request",
                SLOW,
            ),
            sent_status: durations(
                "wa_outbox_sent_status_delay_seconds",
                "From the acceptance of a message to the arrival of its status sent",
                SLOW,
            ),
            begin: durations(
                "wa_outbox_begin_duration_seconds",
                "The statement that begins attempts, its commit included",
                FAST,
            ),
            record: durations(
                "wa_outbox_record_duration_seconds",
                "The transaction that records outcomes, its commit included",
                FAST,
            ),
        }
    }
}

impl Webhooks {
    fn registered(registry: &mut Registry) -> Self {
        let [stored, refused, busy, unreadable, not_stored] = counters(
            registry,
            "wa_outbox_webhook_deliveries",
            "Webhook deliveries received, by what became of them",
            "result",
            ["stored", "refused", "busy", "unreadable", "not_stored"],
        );
        let [matched, unmatched, matched_later] = counters(
            registry,
            "wa_outbox_webhook_statuses",
            "Statuses applied, by whether their message is known",
            "result",
            ["matched", "unmatched", "matched_later"],
        );
        let told = counters(
            registry,
            "wa_outbox_statuses",
            "Statuses of messages of ours, by what they say",
            "status",
            Status::ALL.map(Status::as_str),
        );
        let mut counter = |name: &'static str, help: &'static str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        Self {
            applied: counter(
                "wa_outbox_webhook_deliveries_applied",
                "Webhook deliveries applied",
            ),
            bad: counter(
                "wa_outbox_webhook_bad",
                "Webhook deliveries, or parts of them, that could not be read or applied",
            ),
            forged: counter(
                "wa_outbox_webhook_forged_tokens",
                "Callback tokens in webhooks that were not made with our key",
            ),
            echoed: counter(
                "wa_outbox_webhook_echoed_tokens",
                "Statuses that brought our callback token back",
            ),
            stored,
            refused,
            busy,
            unreadable,
            not_stored,
            matched,
            unmatched,
            matched_later,
            told,
        }
    }
}

impl Sampled {
    fn registered(to: &mut Registry) -> Self {
        let mut all = Self::default();
        for (name, help, gauge) in [
            (
                "wa_outbox_webhook_lag_seconds",
                "How long the oldest webhook delivery that is not applied has been waiting",
                &all.webhook_lag,
            ),
            (
                "wa_outbox_uncertain_oldest_seconds",
                "How long ago the request of the oldest uncertain message was begun; 0 when there is none",
                &all.oldest_uncertain,
            ),
        ] {
            to.register(name, help, gauge.clone());
        }
        let doubled = Family::<Label, Gauge>::default();
        to.register(
            "wa_outbox_duplicate_messages",
            "Messages that WhatsApp accepted twice and that are kept still, up to 10,001 of a cause: resend (by policy, after silence), transport_retry (sent once by us)",
            doubled.clone(),
        );
        all.doubled_by_resend = doubled.get_or_create_owned(&[("cause", "resend")]);
        all.doubled_by_transport = doubled.get_or_create_owned(&[("cause", "transport_retry")]);
        for (name, help, gauge) in [
            (
                "wa_outbox_uncertain_messages",
                "Messages whose outcome is unknown, up to 10,001",
                &all.uncertain,
            ),
            (
                "wa_outbox_uncertain_needs_person",
                "Of those, the ones that only a person can settle",
                &all.needs_person,
            ),
            (
                "wa_outbox_webhook_pending",
                "Webhook deliveries stored and not applied, up to 10,001",
                &all.webhooks_pending,
            ),
            (
                "wa_outbox_campaigns_running",
                "Campaigns that run",
                &all.campaigns_running,
            ),
            (
                "wa_outbox_campaigns_self_paused",
                "Campaigns that paused by themselves and wait for a person",
                &all.campaigns_self_paused,
            ),
            (
                "wa_outbox_sequences_halted",
                "Sequences that wait for a person, up to 10,001",
                &all.sequences_halted,
            ),
            (
                "wa_outbox_templates_held",
                "Templates that are held",
                &all.templates_held,
            ),
            (
                "wa_outbox_workers",
                "Workers of the whole fleet whose lease lasts",
                &all.workers,
            ),
            (
                "wa_outbox_senders_unowned",
                "Senders that no worker holds",
                &all.senders_unowned,
            ),
        ] {
            to.register(name, help, gauge.clone());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_are_asked_for_are_asked_at_each_scrape() {
        let metrics = Metrics::new();
        let asked = std::sync::atomic::AtomicU64::new(0);
        metrics.gauge("asked", "How often", move || {
            asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) as f64
        });
        assert!(metrics.text().contains("\nasked 0.0\n"));
        assert!(metrics.text().contains("\nasked 1.0\n"));
    }

    #[test]
    fn a_process_tells_what_it_uses_and_which_version_it_is() {
        let text = Metrics::new().text();
        let resident = text
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
            .expect("its memory");
        assert!(resident.parse::<f64>().expect("a number") > 1_000_000.0);
        assert!(text.contains("process_cpu_seconds_total "), "{text}");
        let build = format!(
            "wa_outbox_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        assert!(text.contains(&build), "{text}");
    }
}
