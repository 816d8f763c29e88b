//! A collector of traces, that takes OTLP over HTTP as any other does.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// What it was sent, as it came.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    requests: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    hangs: bool,
}

impl Collector {
    /// Starts one, and tells its address.
    pub(crate) async fn start() -> (Self, String) {
        Self::default().listen().await
    }

    /// One that takes requests and never answers.
    pub(crate) async fn start_hanging() -> (Self, String) {
        let hanging = Self {
            hangs: true,
            ..Self::default()
        };
        hanging.listen().await
    }

    async fn listen(self) -> (Self, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("its address");
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (self, format!("http://{address}"))
    }

    /// How often it was called.
    pub(crate) fn calls(&self) -> usize {
        self.requests.lock().expect("whole").len()
    }

    /// The headers of its first call.
    pub(crate) fn first_headers(&self) -> HeaderMap {
        self.requests.lock().expect("whole")[0].0.clone()
    }

    /// All spans that it was sent.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("whole");
        let decoded = requests.iter().map(|(_, body)| {
            ExportTraceServiceRequest::decode(body.clone()).expect("a request by OTLP")
        });
        decoded
            .flat_map(|request| request.resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect()
    }

    /// The first span of this name.
    pub(crate) fn span(&self, name: &str) -> Option<Span> {
        self.spans().into_iter().find(|span| span.name == name)
    }

    /// What it was told of the receiving of an applied delivery.
    pub(crate) fn receiver_of(&self, applied: Option<Span>) -> Option<Span> {
        let parent = applied?.parent_span_id;
        self.spans().into_iter().find(|span| span.span_id == parent)
    }

    /// Whether this stands anywhere in what it was sent.
    pub(crate) fn was_told(&self, text: &str) -> bool {
        let requests = self.requests.lock().expect("whole");
        let holds = |body: &Bytes| body.windows(text.len()).any(|part| part == text.as_bytes());
        requests.iter().any(|(_, body)| holds(body))
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) {
    let request = (headers, body);
    collector.requests.lock().expect("whole").push(request);
    if collector.hangs {
        std::future::pending::<()>().await;
    }
}

/// An attribute of a span as text.
pub(crate) fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}
