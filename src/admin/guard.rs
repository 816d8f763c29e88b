//! Who may ask.
//!
//! `/healthz` and `/readyz` are for orchestrators and open. Everything else, whatever is added later, needs a token as soon as one is
//! set: as `Authorization: Bearer`, or, in a browser, shown once at the login, whose session a cookie then proves. Without a token the
//! listener is on this machine only, which the settings see to, and answers to no name but this machine's, so that no page of the web
//! can reach it under a name of its own. The metrics may have a token of their own, for a scraper that must not do more, or be open.
//! Tokens are compared in constant time; who is wrong too often is not looked at for a while.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::extract::{ConnectInfo, Extension, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tracing::{info, warn};

use super::dashboard::session::{Role, Sessions, Visitor, set_cookie};
use super::dashboard::{guarded_headers, login_page, page_of_ours};
use crate::secret::shared::SharedSecrets;
use crate::secret::tries::Tries;

/// Open to everybody: whether a process lives is no secret.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// What scrapers read.
const METRICS: &str = "/metrics";
/// Where a browser shows its token.
const LOGIN: &str = "/login";
/// What the login looks like is no secret.
const ASSETS: &str = "/assets/";

/// What lets in. By default nothing is asked for.
#[derive(Debug, Default)]
pub struct Access {
    /// Lets operators do everything. None: everybody who reaches the listener may.
    pub token: SharedSecrets,
    /// Lets viewers look; what is personal stays masked, and nothing can be done.
    pub viewer_token: SharedSecrets,
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
    sessions: Arc<Sessions>,
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NoToken,
    WrongToken,
    TooOften(Duration),
    /// It was asked by a name that is not this machine's.
    StrangeName,
}

/// Who may pass.
#[derive(Debug)]
enum Passing {
    /// Anybody: nothing is told or done there that needs a name.
    Anybody,
    /// A visitor who has a session or has shown a token.
    Visitor(Visitor),
    /// Somebody on this machine, where nothing is asked for.
    Newcomer(IpAddr),
}

impl Guard {
    pub(super) fn new(access: Access, sessions: Arc<Sessions>, refused: Counter) -> Self {
        Self {
            access,
            tries: Tries::default(),
            refused,
            sessions,
        }
    }

    fn is_open(&self) -> bool {
        self.access.token.is_empty()
    }

    fn look(
        &self,
        path: &str,
        headers: &HeaderMap,
        from: IpAddr,
        now: Instant,
    ) -> Result<Passing, Refusal> {
        let access = &self.access;
        if OPEN.contains(&path) || (path == METRICS && access.metrics_open) {
            return Ok(Passing::Anybody);
        }
        if self.is_open() {
            if !is_asked_by_our_name(headers) {
                return Err(Refusal::StrangeName);
            }
            if path == METRICS {
                return Ok(Passing::Anybody);
            }
            return Ok(match self.sessions.visitor(headers, from, now) {
                Some(visitor) => Passing::Visitor(visitor),
                None => Passing::Newcomer(from),
            });
        }
        if path == LOGIN || path.starts_with(ASSETS) {
            return Ok(Passing::Anybody);
        }
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some(shown) = shown else {
            // Who shows nothing guesses nothing: a browser, a scraper without its token.
            return match self.sessions.visitor(headers, from, now) {
                Some(visitor) => Ok(Passing::Visitor(visitor)),
                None => self
                    .tries
                    .may(from, now)
                    .map_err(Refusal::TooOften)
                    .and(Err(Refusal::NoToken)),
            };
        };
        self.tries.may(from, now).map_err(Refusal::TooOften)?;
        if path == METRICS && access.metrics_token.let_bearer_in(shown) {
            return Ok(Passing::Anybody);
        }
        let role = if access.token.let_bearer_in(shown) {
            Role::Operator
        } else if access.viewer_token.let_bearer_in(shown) {
            Role::Viewer
        } else {
            self.tries.wrong(from, now);
            return Err(Refusal::WrongToken);
        };
        Ok(Passing::Visitor(Visitor {
            role,
            name: None,
            address: from,
            session: None,
            shows_token: true,
        }))
    }

    /// As what a token lets in.
    fn role_of(&self, token: &str) -> Option<Role> {
        // Both are looked at, whichever it is.
        let operator = self.access.token.knows(token);
        let viewer = self.access.viewer_token.knows(token);
        match (operator, viewer) {
            (true, _) => Some(Role::Operator),
            (false, true) => Some(Role::Viewer),
            (false, false) => None,
        }
    }
}

/// Whether a browser asked for this machine by its own name or by an address. A page of the web may have a name of its own lead here,
/// and a browser would let it read what it gets.
fn is_asked_by_our_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn address_of(request: &Request) -> IpAddr {
    request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

/// Whether somebody opens a page. Only that begins a session: what a page loads, what a script asks and what a page of others sends
/// here would take the places of those who look.
fn opens_a_page(request: &Request) -> bool {
    let loaded_for = request.headers().get("sec-fetch-dest");
    wants_a_page(request)
        && !request.uri().path().starts_with(ASSETS)
        && loaded_for.is_none_or(|what| what == "document")
}

fn wants_a_page(request: &Request) -> bool {
    request.method() == Method::GET
        && request
            .headers()
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"))
}

/// Lets a request pass, or answers it.
pub(super) async fn look(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = address_of(&request);
    let looked = guard.look(
        request.uri().path(),
        request.headers(),
        from,
        Instant::now(),
    );
    match looked {
        Ok(Passing::Anybody) => next.run(request).await,
        Ok(Passing::Visitor(visitor)) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Ok(Passing::Newcomer(address)) => {
            let begun = opens_a_page(&request).then(|| {
                let (session, id) = guard.sessions.begin(Role::Operator, None, Instant::now());
                (session, set_cookie(request.headers(), &id))
            });
            request.extensions_mut().insert(Visitor {
                role: Role::Operator,
                name: None,
                address,
                session: begun.as_ref().map(|(session, _)| *session),
                shows_token: false,
            });
            let mut response = next.run(request).await;
            if let Some((_, cookie)) = begun {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(Refusal::NoToken) if wants_a_page(&request) => {
            let asked = request
                .uri()
                .path_and_query()
                .map_or("/", |asked| asked.as_str());
            let next = serde_urlencoded::to_string([("next", asked)]).unwrap_or_default();
            Redirect::to(&format!("{LOGIN}?{next}")).into_response()
        }
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

/// The form of the login.
pub(super) async fn ask_for_token(Query(asked): Query<BTreeMap<String, String>>) -> Response {
    let next = asked.get("next").map_or("/", String::as_str);
    guarded_headers(login_page(page_of_ours(next), None)).await
}

/// Begins a session for who shows a token.
pub(super) async fn log_in(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(shown): Form<BTreeMap<String, String>>,
) -> Response {
    let (from, now) = (from.ip(), Instant::now());
    let field = |name: &str| shown.get(name).map_or("", |text| text.trim());
    let next = page_of_ours(field("next"));
    if guard.is_open() {
        return Redirect::to(next).into_response();
    }
    if let Err(wait) = guard.tries.may(from, now) {
        guard.refused.inc();
        return Refusal::TooOften(wait).into_response();
    }
    let Some(role) = guard.role_of(field("token")) else {
        guard.tries.wrong(from, now);
        guard.refused.inc();
        warn!("A login to the dashboard from {from} was refused: it showed a wrong token");
        return guarded_headers(login_page(
            next,
            Some("That is not a token of this listener."),
        ))
        .await;
    };
    if field("name").is_empty() {
        return guarded_headers(login_page(
            next,
            Some("Say who you are: it stands in the audit."),
        ))
        .await;
    }
    let (_, id) = guard.sessions.begin(role, Some(field("name")), now);
    info!(
        "Somebody logged in to the dashboard from {from} as {}",
        role.as_str()
    );
    (
        [(header::SET_COOKIE, set_cookie(&headers, &id))],
        Redirect::to(next),
    )
        .into_response()
}

/// Ends the session.
pub(super) async fn log_out(
    State(guard): State<Arc<Guard>>,
    visitor: Option<Extension<Visitor>>,
    headers: HeaderMap,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Response {
    let Some(session) = visitor.and_then(|Extension(visitor)| visitor.session) else {
        return Redirect::to(LOGIN).into_response();
    };
    let word = fields.get("form").map_or("", String::as_str);
    // A browser that loses its cookie to a form of others would leave a session behind that nobody can end.
    if !guard.sessions.knows_form(session, word) {
        return (
            StatusCode::FORBIDDEN,
            "the form was not one of your session; open a page again and log out there\n",
        )
            .into_response();
    }
    guard.sessions.end(session);
    (
        [(header::SET_COOKIE, set_cookie(&headers, ""))],
        Redirect::to(LOGIN),
    )
        .into_response()
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
            Self::StrangeName => (
                StatusCode::MISDIRECTED_REQUEST,
                "without a token this listener answers to localhost and to addresses only; set WA_OUTBOX_ADMIN_TOKEN to use another name\n",
            )
                .into_response(),
        }
    }
}
