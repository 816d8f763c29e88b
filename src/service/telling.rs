//! The way to the collector of traces, where one is set.

use super::{Service, ServiceError, default_name};
use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::traces::{CollectorSettings, TraceKey, Traces};

/// What this program is called at a collector, unless its environment says otherwise.
const SERVICE: &str = "wa-outbox";

impl Service {
    /// Has traces told from now on, and counts them; does nothing but count where no collector is set.
    pub(super) async fn tell_traces(
        &mut self,
        config: &Config,
        env: &Environment,
    ) -> Result<(), ServiceError> {
        if let Some(endpoint) = &config.traces.endpoint {
            let named = env.get("OTEL_SERVICE_NAME").filter(|name| !name.is_empty());
            let settings = CollectorSettings {
                endpoint: endpoint.clone(),
                headers: config.trace_headers(env)?,
                service: named.map_or(SERVICE, String::as_str).to_owned(),
                instance: config.worker.name.clone().unwrap_or_else(default_name),
            };
            let key = TraceKey::from_bytes(&self.store.callback_token_key().await?);
            let ratio = config.traces.sample_ratio;
            let (traces, exporter) = Traces::to_collector(settings, ratio, key, Clock::system())?;
            self.traces = traces;
            let telling = exporter.run(self.stop.clone());
            self.tasks
                .spawn(self.parts.of("exporter of traces", telling));
        }
        let (sent, lost) = (self.traces.clone(), self.traces.clone());
        self.metrics.counter(
            "wa_outbox_traces_sent",
            "Traces that the collector has.",
            move || sent.counts().0 as f64,
        );
        self.metrics.counter(
            "wa_outbox_traces_lost",
            "Traces that the collector did not take, or that there was no room for.",
            move || lost.counts().1 as f64,
        );
        Ok(())
    }
}
