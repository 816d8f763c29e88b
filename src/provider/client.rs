//! Sends one request and finds out what became of it.
//!
//! A request leaves at most once: HTTP/1.1 only, no redirects, no retries in any layer, and a body that cannot
//! be sent twice. What it teaches us never rests on the kind of an error: either the body was taken back
//! before anyone asked for it, and then nothing was sent, or the answer decides, and its absence is a doubt.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, error};

use super::address::{Access, Endpoint, Target};
use super::body::{Gate, Recall, RevocableBody, Whereabouts};
use super::pool::{Pool, Pools};
use super::session::{Pass, Session, Sessions};
use super::verdict::{Expected, Happened, judge};
use crate::clock::Clock;
use crate::domain::outcome::{Doubt, LostAnswer, NotSent, Outcome};
use crate::domain::text::{Secrets, chain};

/// How requests are made.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// For name, TCP, TLS and whatever else comes before the body is asked for. Must be shorter than
    /// `response_timeout`.
    pub connect_timeout: Duration,
    /// For the whole exchange, from the first try to connect to the last byte of the answer.
    pub response_timeout: Duration,
    /// How long a connection is kept without work. Short: a server that closes one at the moment we use it
    /// leaves us in doubt, and every common server keeps its own end open for longer than four seconds.
    pub pool_idle_timeout: Duration,
    /// How many connections to one host are kept without work; best as many as requests are in flight.
    pub max_idle_per_host: usize,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// Whether `HTTPS_PROXY` and its kin are obeyed. Off unless asked for: a proxy between us and WhatsApp may
    /// send a request twice, and nothing on our side could see it.
    pub proxy_from_environment: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            pool_idle_timeout: Duration::from_secs(4),
            max_idle_per_host: 256,
            user_agent: concat!("wa-outbox/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy_from_environment: false,
        }
    }
}

/// Why requests cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// With such timeouts, a connection still being opened would count as a lost answer.
    #[error("connect_timeout ({connect:?}) must be shorter than response_timeout ({response:?})")]
    Timeouts {
        /// `connect_timeout`.
        connect: Duration,
        /// `response_timeout`.
        response: Duration,
    },
    /// Most often: the machine has no certificates.
    #[error(
        "could not set up HTTPS; are the system's CA certificates installed (ca-certificates)?"
    )]
    Setup(#[source] reqwest::Error),
}

/// One request, ready to leave.
#[derive(Debug)]
pub struct Request<'a> {
    /// The sender's provider, and what lets a request in.
    pub endpoint: &'a Endpoint,
    /// Where to, as [`Endpoint::target_of`] says.
    pub target: Target,
    /// The body, as [`Payload::compose`](super::wire::Payload::compose) made it.
    pub body: Bytes,
    /// What its answer will be checked against.
    pub expected: Expected<'a>,
}

/// Speaks to WhatsApp. Cheap to share: every sender's requests go through one, and its connections are kept for
/// the next.
#[derive(Debug)]
pub struct Provider {
    pub(super) settings: HttpSettings,
    pools: Pools,
    sessions: Sessions,
}

/// A longer answer is not read on: WhatsApp's are a few hundred bytes.
const LONGEST_ANSWER: usize = 1 << 20;
/// A timer that is heard so long after its time tells of a process that stood still.
const LATE: Duration = Duration::from_millis(100);
/// What came in meanwhile is read within this.
const MOMENT: Duration = Duration::from_secs(1);

impl Provider {
    /// Sets up HTTPS with these settings; opens no connection yet. `clock` tells when a session ends.
    ///
    /// # Errors
    /// When the timeouts cannot be meant, or the machine has no certificates.
    pub fn new(settings: &HttpSettings, clock: Clock) -> Result<Self, ProviderError> {
        if settings.connect_timeout >= settings.response_timeout {
            return Err(ProviderError::Timeouts {
                connect: settings.connect_timeout,
                response: settings.response_timeout,
            });
        }
        Ok(Self {
            settings: settings.clone(),
            pools: Pools::new(settings).map_err(ProviderError::Setup)?,
            sessions: Sessions::new(clock),
        })
    }

    /// Sends `request` and says what became of it.
    ///
    /// `gate` is asked before anything is done, and once more at the moment the body is asked for: opening
    /// a connection takes time, in which the machine may have slept and the lease may have gone. Where it is
    /// closed, the outcome is [`NotSent::TooLate`].
    ///
    /// A caller that drops this future learns nothing: the request may have been sent.
    pub async fn send(&self, request: &Request<'_>, gate: impl Gate) -> Outcome {
        if !gate.is_open() {
            return Outcome::NotSent(NotSent::TooLate);
        }
        let start = Instant::now();
        let deadline = start + self.settings.response_timeout;
        let connected_by = start + self.settings.connect_timeout;
        let endpoint = request.endpoint;
        let way_in = match timeout_at(connected_by, self.way_in(endpoint)).await {
            Ok(Ok(way_in)) => way_in,
            Ok(Err(outcome)) => return outcome,
            Err(_) => return Outcome::NotSent(NotSent::NoConnection),
        };
        let (body, recall) = RevocableBody::new(request.body.clone(), gate);
        let http = http_request(&request.target, &way_in, reqwest::Body::wrap(body));

        let sending = way_in.pool.client.execute(http);
        tokio::pin!(sending);
        let ended = match head(sending.as_mut(), &recall, connected_by, deadline).await {
            Some(Ok(response)) => Ended::from_response(response, deadline).await,
            Some(Err(error)) => Ended::WithoutAnswer(Some(error)),
            None => Ended::WithoutAnswer(None),
        };
        // Whatever happened: the body is taken back before the request's future is dropped.
        let whereabouts = recall.take_back();
        let outcome = ended.judge(whereabouts, &request.expected, &way_in.secrets);
        if outcome == Outcome::Uncertain(Doubt::AnswerOfAnother) {
            let authority = endpoint.authority.as_ref();
            self.pools.drop_connections(authority, &way_in.pool);
        }
        let outcome = unless_never_sent(outcome, whereabouts);
        way_in.consider(outcome)
    }

    /// Connections to where this endpoint is, as those vouch for it who may.
    pub(super) fn pool_of(&self, endpoint: &Endpoint) -> Result<Pool, reqwest::Error> {
        self.pools.of(endpoint.authority.as_ref())
    }

    /// Connections and the header that lets a request in; logs in where that must be done first.
    pub(super) async fn way_in(&self, endpoint: &Endpoint) -> Result<WayIn, Outcome> {
        let pool = self
            .pools
            .of(endpoint.authority.as_ref())
            .map_err(|error| {
                let error = chain(&error.without_url());
                error!(
                    error,
                    "Could not set up HTTPS with the certificates of a ca_file"
                );
                Outcome::NotSent(NotSent::NoConnection)
            })?;
        match &endpoint.access {
            Access::Header { name, value } => Ok(WayIn {
                pool,
                header: (name.clone(), value.clone()),
                secrets: endpoint.secrets(),
                session: None,
            }),
            Access::Login(login) => {
                let session = self.sessions.of(login);
                let secrets = endpoint.secrets();
                let pass = session.pass(&pool.client, &secrets).await?;
                Ok(WayIn {
                    pool,
                    header: (AUTHORIZATION, pass.bearer.clone()),
                    secrets: secrets.and(pass.token()),
                    session: Some((session, pass)),
                })
            }
        }
    }
}

/// What a request needs to be let in.
pub(super) struct WayIn {
    pub(super) pool: Pool,
    pub(super) header: (HeaderName, HeaderValue),
    /// What must not be told of it.
    pub(super) secrets: Secrets,
    session: Option<(Arc<Session>, Pass)>,
}

impl WayIn {
    /// What an answer to a request that went in this way means, once the session is taken into account.
    pub(super) fn consider(&self, outcome: Outcome) -> Outcome {
        match &self.session {
            Some((session, pass)) => session.consider(pass, outcome),
            None => outcome,
        }
    }
}

fn http_request(target: &Target, way_in: &WayIn, body: reqwest::Body) -> reqwest::Request {
    let mut http = reqwest::Request::new(target.method.clone(), target.url.clone());
    let headers = http.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (name, value) = way_in.header.clone();
    headers.insert(name, value);
    *http.body_mut() = Some(body);
    http
}

/// What `sending` came to; `None` if it took too long. A body that nobody has asked for by `connected_by` is
/// taken back at once: that is free, and there is no answer to wait for.
///
/// The library's own limit on connecting is not enough. Against a server that closes connections at random,
/// one request in some hundred thousand was given to a dying connection and never looked at again.
async fn head<T>(
    mut sending: Pin<&mut impl Future<Output = T>>,
    recall: &Recall,
    connected_by: Instant,
    deadline: Instant,
) -> Option<T> {
    if let Ok(ended) = timeout_at(connected_by, &mut sending).await {
        return Some(ended);
    }
    match recall.take_back() {
        Whereabouts::HandedOver => by(deadline, sending).await,
        Whereabouts::TakenBack | Whereabouts::Refused => None,
    }
}

/// What `future` came to; `None` if it is not over by `deadline`.
///
/// A process that was frozen (SIGSTOP, a machine that was moved) wakes up past its deadlines, and hears of them before it hears of what
/// came in meanwhile: 17 of 20 answers that lay in the socket were called lost. So who is told late listens a moment longer.
async fn by<T>(deadline: Instant, mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    if let Ok(ended) = timeout_at(deadline, &mut future).await {
        return Some(ended);
    }
    if Instant::now() < deadline + LATE {
        return None;
    }
    timeout(MOMENT, future).await.ok()
}

/// How an exchange ended, before anything is made of it.
enum Ended {
    /// With an error, or without one at the response timeout.
    WithoutAnswer(Option<reqwest::Error>),
    /// In the middle of an answer.
    InTheBody {
        status: u16,
        retry_after: Option<HeaderValue>,
        lost: LostAnswer,
    },
    /// With a whole answer.
    Answered {
        status: u16,
        retry_after: Option<HeaderValue>,
        body: BytesMut,
    },
}

impl Ended {
    async fn from_response(mut response: Response, deadline: Instant) -> Self {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).cloned();
        // Read to the end whatever the status: a connection with a rest in it is of no use to the next request.
        let read = pin!(read(&mut response, LONGEST_ANSWER));
        match by(deadline, read).await {
            Some(Some(body)) => Self::Answered {
                status,
                retry_after,
                body,
            },
            Some(None) => Self::InTheBody {
                status,
                retry_after,
                lost: LostAnswer::ConnectionLost,
            },
            None => Self::InTheBody {
                status,
                retry_after,
                lost: LostAnswer::TimedOut,
            },
        }
    }

    fn judge(
        self,
        whereabouts: Whereabouts,
        expected: &Expected<'_>,
        secrets: &Secrets,
    ) -> Outcome {
        match &self {
            Self::WithoutAnswer(error) => {
                let happened = without_answer(error.as_ref(), whereabouts);
                if let Self::WithoutAnswer(Some(error)) = self {
                    debug!(
                        error = chain(&error.without_url()),
                        "No answer: {happened:?}"
                    );
                }
                judge(&happened, expected)
            }
            Self::InTheBody {
                status,
                retry_after,
                lost,
            } => {
                let happened = Happened::HeadOnly {
                    status: *status,
                    retry_after: retry_after.as_ref().and_then(|value| value.to_str().ok()),
                    lost: *lost,
                };
                judge(&happened, expected)
            }
            Self::Answered {
                status,
                retry_after,
                body,
            } => {
                let retry_after = retry_after.as_ref().and_then(|value| value.to_str().ok());
                let happened = Happened::Answer {
                    status: *status,
                    retry_after,
                    body,
                    secrets,
                };
                judge(&happened, expected)
            }
        }
    }
}

/// The whole body; `None` if it broke off or is too long.
pub(super) async fn read(response: &mut Response, longest: usize) -> Option<BytesMut> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= longest => {
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return Some(body),
            Ok(Some(_)) | Err(_) => return None,
        }
    }
}

fn without_answer(error: Option<&reqwest::Error>, whereabouts: Whereabouts) -> Happened<'static> {
    match (whereabouts, error) {
        (Whereabouts::HandedOver, Some(_)) => Happened::AnswerLost(LostAnswer::ConnectionLost),
        (Whereabouts::HandedOver, None) => Happened::AnswerLost(LostAnswer::TimedOut),
        (Whereabouts::Refused, _) => Happened::NotSent(NotSent::TooLate),
        (Whereabouts::TakenBack, Some(error)) if !error.is_connect() => {
            Happened::NotSent(NotSent::ConnectionLost)
        }
        // Out of time without having been asked for: no connection ever got as far as the body.
        (Whereabouts::TakenBack, _) => Happened::NotSent(NotSent::NoConnection),
    }
}

/// An answer that comes before the body was handed over cannot be about the message. What it says about the
/// sender or its pace may well be true (a 401 or a 429 can come early); all else proves only that nothing left.
fn unless_never_sent(outcome: Outcome, whereabouts: Whereabouts) -> Outcome {
    let never_sent = match whereabouts {
        Whereabouts::HandedOver => return outcome,
        Whereabouts::Refused => NotSent::TooLate,
        Whereabouts::TakenBack => NotSent::ConnectionLost,
    };
    match outcome {
        Outcome::NotSent(_) | Outcome::Held { .. } | Outcome::Throttled { .. } => outcome,
        Outcome::Accepted(_)
        | Outcome::Rejected(_)
        | Outcome::Transient { .. }
        | Outcome::Uncertain(_) => Outcome::NotSent(never_sent),
    }
}

#[cfg(test)]
#[path = "client_tests/mod.rs"]
mod tests;
