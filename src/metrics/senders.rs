//! What is known of each sender.
//!
//! A sender has its counters as long as the process lives; whoever works it holds them, so that nothing is looked up for a
//! message. Figures that go up and down are said anew, all at once, and replace those before: a sender that has gone to another
//! worker is no longer told of here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use time::OffsetDateTime;

use crate::domain::id::SenderId;
use crate::domain::outcome::{Outcome, ThrottleScope};

/// So many senders have series of their own; the others are added up.
pub const SENDERS_AT_MOST: usize = 1_000;
/// The label of those that are added up.
pub const OTHER: &str = "other";

/// In the order of [`scope_of`].
const SCOPES: [&str; 3] = ["sender", "account", "pair"];

/// The senders of a process. Clones are one.
#[derive(Clone, Default)]
pub struct Senders(Arc<Shared>);

#[derive(Default)]
struct Shared {
    meters: Mutex<BTreeMap<SenderId, Arc<SenderMeter>>>,
    other: Arc<SenderMeter>,
    /// Some are added up.
    has_others: AtomicBool,
    going: Mutex<Vec<(SenderId, Row<4>)>>,
    standing: Mutex<Vec<(SenderId, Row<5>)>>,
}

/// Figures in the order of [`GOING`] or of [`STANDING`].
type Row<const COLUMNS: usize> = [f64; COLUMNS];

/// The counters of one sender, or of all that are added up.
#[derive(Debug, Default)]
pub struct SenderMeter {
    attempts: [AtomicU64; Outcome::NAMES.len()],
    throttled: [AtomicU64; SCOPES.len()],
    /// When it was last told of an acceptance, in seconds since 1970.
    accepted_at_s: AtomicU64,
}

/// How a sender goes at the moment, as its owner says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Going {
    /// Requests a second that are permitted.
    pub rate_limit: f64,
    /// Requests that are out.
    pub in_flight: usize,
    /// Messages read ahead and not begun.
    pub ready: usize,
    /// Nothing, or one probe, is let through to its endpoint.
    pub breaker_open: bool,
}

/// How a sender stands, as the database says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Requests a second, as it is set.
    pub rate_set: f64,
    /// It is held.
    pub held: bool,
    /// Messages queued or being sent, counted up to a limit.
    pub queued: i64,
    /// For how long the oldest that may leave has been due, in seconds.
    pub oldest_due_s: f64,
    /// When the latest message was accepted of which a status has come, in seconds since 1970; 0 where none has.
    pub status_watermark_s: f64,
}

impl SenderMeter {
    /// An attempt ended so, at `now`.
    pub fn attempted(&self, outcome: &Outcome, now: OffsetDateTime) {
        self.attempts[outcome.place()].fetch_add(1, Ordering::Relaxed);
        if let Outcome::Accepted(_) = outcome {
            let now_s = now.unix_timestamp().max(0) as u64;
            self.accepted_at_s.fetch_max(now_s, Ordering::Relaxed);
        }
        if let Outcome::Throttled { scope, .. } = outcome {
            self.throttled[scope_of(*scope)].fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn scope_of(scope: ThrottleScope) -> usize {
    match scope {
        ThrottleScope::Sender => 0,
        ThrottleScope::Account => 1,
        ThrottleScope::Pair => 2,
    }
}

impl Senders {
    /// The counters of a sender, to be kept by whoever works it.
    pub fn meter(&self, sender: &SenderId) -> Arc<SenderMeter> {
        let mut meters = locked(&self.0.meters);
        if let Some(known) = meters.get(sender) {
            return Arc::clone(known);
        }
        if meters.len() >= SENDERS_AT_MOST || sender.as_str() == OTHER {
            self.0.has_others.store(true, Ordering::Relaxed);
            return Arc::clone(&self.0.other);
        }
        let meter = Arc::<SenderMeter>::default();
        meters.insert(sender.clone(), Arc::clone(&meter));
        meter
    }

    /// How all senders that this process works go.
    pub fn say_going(&self, all: impl IntoIterator<Item = (SenderId, Going)>) {
        let rows = all.into_iter().map(|(sender, going)| (sender, going.row()));
        *locked(&self.0.going) = rows.collect();
    }

    /// How all senders stand, this process's or not.
    pub fn say_standing(&self, all: impl IntoIterator<Item = (SenderId, Standing)>) {
        let rows = all
            .into_iter()
            .map(|(sender, standing)| (sender, standing.row()));
        *locked(&self.0.standing) = rows.collect();
    }

    /// Answers that said too fast, of all senders.
    pub(super) fn throttled(&self) -> u64 {
        let of = |meter: &SenderMeter| -> u64 {
            let counts = meter.throttled.iter();
            counts.map(|count| count.load(Ordering::Relaxed)).sum()
        };
        locked(&self.0.meters)
            .values()
            .map(|meter| of(meter))
            .sum::<u64>()
            + of(&self.0.other)
    }

    /// How much is queued, counted up to a limit, and for how long the oldest that may leave has been due, in seconds: of all senders,
    /// as the database last said. None before it was asked.
    pub fn backlog(&self) -> Option<(i64, f64)> {
        let standing = locked(&self.0.standing);
        let rows = standing.iter().map(|(_, row)| *row);
        let [_, _, queued, oldest, _] = rows.reduce(sum_and_extremes)?;
        #[expect(clippy::cast_possible_truncation, reason = "it was a count")]
        Some((queued as i64, oldest))
    }

    /// The figures by label: those of senders without series of their own are joined.
    fn by_label<const COLUMNS: usize>(
        &self,
        said: &[(SenderId, Row<COLUMNS>)],
        join: fn(Row<COLUMNS>, Row<COLUMNS>) -> Row<COLUMNS>,
    ) -> Vec<(String, Row<COLUMNS>)> {
        let (mut own, mut other) = (Vec::new(), None);
        for (sender, figures) in said {
            if Arc::ptr_eq(&self.meter(sender), &self.0.other) {
                other = Some(other.map_or(*figures, |others| join(others, *figures)));
            } else {
                own.push((sender.as_str().to_owned(), *figures));
            }
        }
        own.extend(other.map(|figures| (OTHER.to_owned(), figures)));
        own
    }

    fn meters(&self) -> Vec<(String, Arc<SenderMeter>)> {
        let mut all: Vec<_> = locked(&self.0.meters)
            .iter()
            .map(|(sender, meter)| (sender.as_str().to_owned(), Arc::clone(meter)))
            .collect();
        if self.0.has_others.load(Ordering::Relaxed) {
            all.push((OTHER.to_owned(), Arc::clone(&self.0.other)));
        }
        all
    }
}

impl Going {
    fn row(self) -> Row<4> {
        [
            self.rate_limit,
            self.in_flight as f64,
            self.ready as f64,
            f64::from(u8::from(self.breaker_open)),
        ]
    }
}

impl Standing {
    fn row(self) -> Row<5> {
        [
            self.rate_set,
            f64::from(u8::from(self.held)),
            self.queued as f64,
            self.oldest_due_s,
            self.status_watermark_s,
        ]
    }
}

fn sum<const COLUMNS: usize>(one: Row<COLUMNS>, two: Row<COLUMNS>) -> Row<COLUMNS> {
    std::array::from_fn(|column| one[column] + two[column])
}

/// The oldest of several is the oldest of them, the latest the latest; everything else adds up.
fn sum_and_extremes(one: Row<5>, two: Row<5>) -> Row<5> {
    let [rate, held, queued, ..] = sum(one, two);
    [rate, held, queued, one[3].max(two[3]), one[4].max(two[4])]
}

/// Name and meaning of each column of [`Going`].
const GOING: [(&str, &str); 4] = [
    (
        "wa_outbox_sender_rate_limit",
        "Requests a second that are permitted now, as the owner of the sender says.",
    ),
    (
        "wa_outbox_sender_in_flight",
        "Requests of the sender that are out.",
    ),
    (
        "wa_outbox_sender_ready",
        "Messages of the sender that are read ahead and not begun.",
    ),
    (
        "wa_outbox_sender_breaker_open",
        "1: nothing can connect to the sender's endpoint, and at most one request tries.",
    ),
];

/// Name and meaning of each column of [`Standing`].
const STANDING: [(&str, &str); 5] = [
    (
        "wa_outbox_sender_rate_set",
        "Requests a second, as the sender is set.",
    ),
    ("wa_outbox_sender_held", "1: the sender is held."),
    (
        "wa_outbox_queue_messages",
        "Messages of the sender that are queued or being sent, counted up to a limit.",
    ),
    (
        "wa_outbox_queue_oldest_due_seconds",
        "For how long the oldest message that may leave has been due; 0 when none is.",
    ),
    (
        "wa_outbox_sender_status_watermark_timestamp_seconds",
        "When the latest message of the sender was accepted of which a status has come; 0 where none has.",
    ),
];

impl Collector for Senders {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let going = locked(&self.0.going).clone();
        let held = going.len() as f64;
        let going = self.by_label(&going, sum);
        let standing = locked(&self.0.standing).clone();
        let standing = self.by_label(&standing, sum_and_extremes);
        encode_columns(&mut encoder, GOING, &going)?;
        encode_columns(&mut encoder, STANDING, &standing)?;
        let name = "wa_outbox_leases_held";
        let help = "Senders that this process works.";
        let to = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(held).encode(to)?;
        self.encode_counters(&mut encoder)
    }
}

/// A family of gauges for each column.
fn encode_columns<const COLUMNS: usize>(
    encoder: &mut DescriptorEncoder,
    names: [(&str, &str); COLUMNS],
    rows: &[(String, Row<COLUMNS>)],
) -> fmt::Result {
    for (column, (name, help)) in names.into_iter().enumerate() {
        let mut to = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (sender, figures) in rows {
            let labels = [("sender", sender.as_str())];
            ConstGauge::new(figures[column]).encode(to.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

impl Senders {
    fn encode_counters(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let meters = self.meters();
        let families: [(&str, &str, &str, &[&str]); 2] = [
            (
                "wa_outbox_attempts",
                "Attempts that ended, by outcome.",
                "outcome",
                &Outcome::NAMES,
            ),
            (
                "wa_outbox_throttled",
                "Answers that said too fast, by whom they meant: the sender (429, 130429), its account (4, 80007), one recipient (131056).",
                "scope",
                &SCOPES,
            ),
        ];
        for (name, help, label, values) in families {
            let mut to = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (sender, meter) in &meters {
                let counts: &[AtomicU64] = if label == "outcome" {
                    &meter.attempts
                } else {
                    &meter.throttled
                };
                for (value, count) in values.iter().zip(counts) {
                    let labels = [("sender", sender.as_str()), (label, value)];
                    let count = ConstCounter::new(count.load(Ordering::Relaxed));
                    count.encode(to.encode_family(&labels)?)?;
                }
            }
        }
        let name = "wa_outbox_sender_last_accepted_timestamp_seconds";
        let help = "When this process was last told that a message of the sender was accepted.";
        let mut to = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (sender, meter) in &meters {
            let at_s = meter.accepted_at_s.load(Ordering::Relaxed);
            if at_s > 0 {
                let labels = [("sender", sender.as_str())];
                ConstGauge::new(at_s as f64).encode(to.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Senders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Senders")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::domain::outcome::{Acceptance, ApiError};

    fn text_of(senders: &Senders) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(senders.clone()));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        text
    }

    fn says(text: &str, line: &str) -> bool {
        text.lines().any(|one| one == line)
    }

    #[test]
    fn beyond_a_thousand_senders_the_others_are_added_up() {
        let senders = Senders::default();
        let ids: Vec<SenderId> = (0..SENDERS_AT_MOST + 2)
            .map(|number| SenderId::from(format!("{number}").as_str()))
            .collect();
        for id in &ids {
            senders.meter(id).attempted(
                &Outcome::Accepted(Acceptance::default()),
                OffsetDateTime::UNIX_EPOCH,
            );
        }
        let all = |oldest: fn(usize) -> f64| {
            let standing = move |place| Standing {
                queued: 5,
                oldest_due_s: oldest(place),
                ..Standing::default()
            };
            ids.iter()
                .enumerate()
                .map(move |(place, id)| (id.clone(), standing(place)))
        };
        senders.say_standing(all(|place| place as f64));

        let text = text_of(&senders);

        for line in [
            "wa_outbox_attempts_total{sender=\"999\",outcome=\"accepted\"} 1",
            "wa_outbox_attempts_total{sender=\"other\",outcome=\"accepted\"} 2",
            "wa_outbox_queue_messages{sender=\"other\"} 10.0",
            "wa_outbox_queue_oldest_due_seconds{sender=\"other\"} 1001.0",
        ] {
            assert!(says(&text, line), "{line}");
        }
        assert!(!text.contains("sender=\"1000\""));
        let labelled = text
            .lines()
            .filter(|line| line.starts_with("wa_outbox_queue_messages{"));
        assert_eq!(labelled.count(), SENDERS_AT_MOST + 1);
    }

    #[test]
    fn a_sender_that_is_called_other_is_one_of_the_others() {
        let senders = Senders::default();
        let other = SenderId::from(OTHER);
        for place in 0..SENDERS_AT_MOST + 1 {
            senders.meter(&SenderId::from(format!("{place}").as_str()));
        }
        senders.meter(&other);
        let line = "wa_outbox_throttled_total{sender=\"other\",scope=\"pair\"} 0";
        let text = text_of(&senders);
        assert_eq!(text.lines().filter(|one| *one == line).count(), 1);
    }

    #[test]
    fn a_sender_that_has_gone_elsewhere_is_told_of_no_longer_and_its_counts_stay() {
        let senders = Senders::default();
        let id = SenderId::from("1");
        let throttled = Outcome::Throttled {
            scope: ThrottleScope::Account,
            retry_after: None,
            error: ApiError::default(),
        };
        senders
            .meter(&id)
            .attempted(&throttled, OffsetDateTime::UNIX_EPOCH);
        senders.say_going([(id, Going::default())]);
        assert!(says(&text_of(&senders), "wa_outbox_leases_held 1.0"));

        senders.say_going([]);

        let text = text_of(&senders);
        assert!(says(&text, "wa_outbox_leases_held 0.0"));
        assert!(!text.contains("wa_outbox_sender_in_flight{"), "{text}");
        for line in [
            "wa_outbox_throttled_total{sender=\"1\",scope=\"account\"} 1",
            "wa_outbox_attempts_total{sender=\"1\",outcome=\"throttled\"} 1",
        ] {
            assert!(says(&text, line), "{line} not in {text}");
        }
    }
}
