//! Who may ask.
//!
//! `/healthz` and `/readyz` are for orchestrators and open. Everything else, whatever is added later, needs
//! `Authorization: Bearer` and the token as soon as one is set; without one the listener is on this machine only, which the settings
//! see to. The metrics may have a token of their own, for a scraper that must not do more, or be open. Tokens are compared in
//! constant time; who is wrong too often is not looked at for a while.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use prometheus_client::metrics::counter::Counter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

use crate::secret::shared::SharedSecrets;
use crate::secret::tries::Tries;

/// Open to everybody: whether a process lives is no secret.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// What scrapers read.
const METRICS: &str = "/metrics";

/// What lets in. By default nothing is asked for.
#[derive(Debug, Default)]
pub struct Access {
    /// Lets operators do everything. None: everybody who reaches the listener may.
    pub token: SharedSecrets,
    /// Lets scrapers read the metrics.
    pub metrics_token: SharedSecrets,
    /// Everybody may read the metrics.
    pub metrics_open: bool,
}

/// Looks at every request.
#[derive(Debug)]
pub(super) struct Guard {
    access: Access,
    tries: Tries,
    refused: Counter,
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NoToken,
    WrongToken,
    TooOften(Duration),
}

impl Guard {
    pub(super) fn new(access: Access, refused: Counter) -> Self {
        Self {
            access,
            tries: Tries::default(),
            refused,
        }
    }

    fn look(
        &self,
        path: &str,
        headers: &HeaderMap,
        from: IpAddr,
        now: Instant,
    ) -> Result<(), Refusal> {
        let access = &self.access;
        if OPEN.contains(&path)
            || access.token.is_empty()
            || (path == METRICS && access.metrics_open)
        {
            return Ok(());
        }
        self.tries.may(from, now).map_err(Refusal::TooOften)?;
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let is_right = shown.is_some_and(|shown| {
            access.token.let_bearer_in(shown)
                || (path == METRICS && access.metrics_token.let_bearer_in(shown))
        });
        if is_right {
            return Ok(());
        }
        // Who shows nothing guesses nothing: a browser, a scraper without its token.
        if shown.is_none() {
            return Err(Refusal::NoToken);
        }
        self.tries.wrong(from, now);
        Err(Refusal::WrongToken)
    }
}

/// Lets a request pass, or answers it.
pub(super) async fn look(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let from = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    let looked = guard.look(
        request.uri().path(),
        request.headers(),
        from,
        Instant::now(),
    );
    match looked {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            guard.refused.inc();
            // Only so many wrong tokens are looked at, so nobody fills the log with them.
            if refusal == Refusal::WrongToken {
                warn!(
                    "A request to the admin listener from {from} was refused: it carries a wrong token"
                );
            }
            refusal.into_response()
        }
    }
}

impl Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NoToken | Self::WrongToken => (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, "Bearer")],
                "show the token of this listener: Authorization: Bearer …\n",
            )
                .into_response(),
            Self::TooOften(wait) => {
                let seconds = HeaderValue::from(wait.as_secs() + 1);
                let answer = "too many wrong tokens from this address; wait\n";
                (
                    StatusCode::TOO_MANY_REQUESTS,
                    [(header::RETRY_AFTER, seconds)],
                    answer,
                )
                    .into_response()
            }
        }
    }
}
