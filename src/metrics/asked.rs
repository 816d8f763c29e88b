//! A figure that somebody else keeps, asked for at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Whether a figure goes up and down, or only up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Gauge,
    Counter,
}

/// Name, meaning, and whom to ask.
pub(super) struct Asked {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    ask: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl Asked {
    pub(super) fn new(
        name: &'static str,
        help: &'static str,
        kind: Kind,
        ask: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            help,
            kind,
            ask: Box::new(ask),
        }
    }
}

impl Collector for Asked {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let figure = (self.ask)();
        let kind = match self.kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
        };
        let to = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        match self.kind {
            Kind::Gauge => ConstGauge::new(figure).encode(to),
            Kind::Counter => ConstCounter::new(figure).encode(to),
        }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
