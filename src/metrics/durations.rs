//! A histogram of durations without a lock: to observe one is two atomic additions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Upper bounds in seconds of what is awaited: statements, requests.
pub(super) const FAST: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Upper bounds in seconds of what takes its time: the queue, WhatsApp's statuses.
pub(super) const SLOW: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0,
];

/// How long something took. Clones count together.
#[derive(Clone)]
pub struct Durations(Arc<Counts>);

struct Counts {
    bounds: &'static [f64],
    /// One more than bounds: the last takes what is longer than all of them.
    counts: Vec<AtomicU64>,
    sum_us: AtomicU64,
}

impl Durations {
    /// Nothing observed. `bounds` in seconds, rising.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self(Arc::new(Counts {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_us: AtomicU64::new(0),
        }))
    }

    /// It took so long, once.
    pub fn observe(&self, took: Duration) {
        let Counts {
            bounds,
            counts,
            sum_us,
        } = &*self.0;
        let seconds = took.as_secs_f64();
        let place = bounds.partition_point(|bound| *bound < seconds);
        counts[place].fetch_add(1, Ordering::Relaxed);
        sum_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|one| one.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Durations")
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_in_every_wider_one() {
        let durations = Durations::new(&[0.01, 1.0]);
        for ms in [10, 11, 1_000, 1_001] {
            durations.observe(Duration::from_millis(ms));
        }
        let mut registry = Registry::default();
        registry.register("took", "How long", durations);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for line in [
            "took_bucket{le=\"0.01\"} 1",
            "took_bucket{le=\"1.0\"} 3",
            "took_bucket{le=\"+Inf\"} 4",
            "took_count 4",
            "took_sum 2.022",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} not in {text}");
        }
    }
}
