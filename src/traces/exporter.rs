//! Takes traces to the collector, many at a time.
//!
//! What the collector does not take within a few seconds is lost and counted: a trace is worth nothing that would have to wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::spans::Wall;
use super::{Counts, Trace};
use crate::clock::Clock;

/// The first trace of a batch waits this long for others.
const LINGER: Duration = Duration::from_secs(1);
/// Traces in one request.
const BATCH: usize = 256;
/// A collector that has not answered within this does not answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// At the end of the process the rest is told within this, or not at all.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// A collector of traces.
#[derive(Debug)]
pub struct CollectorSettings {
    /// Its address, as in `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Headers that it asks for.
    pub headers: Vec<(String, SecretString)>,
    /// What this program calls itself there.
    pub service: String,
    /// And which process of it this is.
    pub instance: String,
}

/// A collector that cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A header that is none. Its value is a secret and not repeated.
    #[error("traces.headers: {name:?} is no header, or its value cannot be one")]
    Header {
        /// The header.
        name: String,
    },
    /// HTTPS cannot be set up.
    #[error("could not set up the way to the collector of traces (traces.endpoint)")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Takes traces to the collector until it is stopped.
pub struct Exporter {
    collector: SpanExporter,
    clock: Clock,
    waiting: mpsc::Receiver<Trace>,
    counts: Arc<Counts>,
    /// The last try failed, and that was said.
    failing: bool,
}

impl Exporter {
    pub(super) fn new(
        settings: CollectorSettings,
        clock: Clock,
        waiting: mpsc::Receiver<Trace>,
        counts: Arc<Counts>,
    ) -> Result<Self, CollectorError> {
        // A redirect might take the headers elsewhere.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWERS_WITHIN)
            .build()
            .map_err(|error| CollectorError::Setup(error.into()))?;
        let mut headers = HashMap::new();
        for (name, value) in settings.headers {
            let is_header = HeaderName::try_from(&name).is_ok()
                && HeaderValue::from_str(value.expose_secret()).is_ok();
            if !is_header {
                return Err(CollectorError::Header { name });
            }
            headers.insert(name, value.expose_secret().to_owned());
        }
        let mut collector = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(traces_at(&settings.endpoint))
            .with_timeout(ANSWERS_WITHIN)
            .with_headers(headers)
            .with_http_client(client)
            .build()
            .map_err(|error| CollectorError::Setup(error.into()))?;
        let resource = Resource::builder()
            .with_service_name(settings.service)
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", settings.instance),
            ])
            .build();
        collector.set_resource(&resource);
        Ok(Self {
            collector,
            clock,
            waiting,
            counts,
            failing: false,
        })
    }

    /// Takes what comes to the collector. After `stop`, what is there already is told if that is quickly done.
    pub async fn run(mut self, stop: CancellationToken) {
        let out_of_time = async {
            stop.cancelled().await;
            tokio::time::sleep(ENDS_WITHIN).await;
        };
        tokio::select! {
            () = out_of_time => warn!("The collector of traces did not take the last of them in time"),
            () = self.tell_all(&stop) => {}
        }
    }

    async fn tell_all(&mut self, stop: &CancellationToken) {
        loop {
            let first = tokio::select! {
                first = self.waiting.recv() => first,
                () = stop.cancelled() => self.waiting.try_recv().ok(),
            };
            let Some(first) = first else { return };
            let batch = self.gather(first, stop).await;
            self.tell(batch).await;
        }
    }

    async fn gather(&mut self, first: Trace, stop: &CancellationToken) -> Vec<Trace> {
        let mut batch = vec![first];
        let until = Instant::now() + LINGER;
        while batch.len() < BATCH {
            let next = tokio::select! {
                next = timeout_at(until, self.waiting.recv()) => next.ok().flatten(),
                () = stop.cancelled() => self.waiting.try_recv().ok(),
            };
            match next {
                Some(next) => batch.push(next),
                None => break,
            }
        }
        batch
    }

    async fn tell(&mut self, batch: Vec<Trace>) {
        let wall = Wall {
            instant: Instant::now(),
            time: self.clock.now(),
        };
        let traces = batch.len() as u64;
        let mut spans = Vec::with_capacity(batch.len() * 6);
        for trace in batch {
            trace.spans(wall, &mut spans);
        }
        let refused = match timeout(ANSWERS_WITHIN, self.collector.export(spans)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it does not answer".to_owned()),
        };
        let is_lost = refused.is_some();
        let count = match is_lost {
            true => &self.counts.lost,
            false => &self.counts.sent,
        };
        count.fetch_add(traces, Ordering::Relaxed);
        match refused {
            Some(error) if !self.failing => warn!(
                error,
                "The collector of traces does not take them; they are lost until it does, and nothing else is"
            ),
            None if self.failing => info!("The collector of traces takes them again"),
            Some(_) | None => {}
        }
        self.failing = is_lost;
    }
}

/// Where a collector takes traces (OTLP specification, "OTLP/HTTP Request"): an address without a path is a base.
fn traces_at(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    match endpoint.ends_with("/v1/traces") {
        true => endpoint.to_owned(),
        false => format!("{endpoint}/v1/traces"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_below_the_address_of_the_collector() {
        for endpoint in [
            "http://localhost:4318",
            "http://localhost:4318/",
            "http://localhost:4318/v1/traces",
        ] {
            assert_eq!(traces_at(endpoint), "http://localhost:4318/v1/traces");
        }
        assert_eq!(
            traces_at("https://otlp.example.com/otlp"),
            "https://otlp.example.com/otlp/v1/traces"
        );
    }
}
