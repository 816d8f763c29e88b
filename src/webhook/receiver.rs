//! Receives deliveries: proves them, keeps them as they came, says 200.
//!
//! The answer comes after the bytes are durable and never before, so what was acknowledged is not lost; many deliveries share
//! one commit. A delivery that cannot be proved gets one constant, empty 401, and what it holds is not looked at; what can be told
//! before it has come is, and then none of it is kept. Memory is taken up by bytes that have come and not by those that were announced.
//! WhatsApp repeats what was not answered with 200 for days, so when the database is away the answer is 503.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::StreamExt as _;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

use super::signature::{AppSecrets, SIGNATURE_HEADER, is_signature};
use crate::crash::crash_point;
use crate::metrics::Metrics;
use crate::secret::shared::{SharedSecrets, digest};
use crate::secret::tries::Tries;
use crate::store::Store;
use crate::traces::{Received, Traces};

/// The largest delivery WhatsApp sends (Meta, "Webhooks": payloads can be up to 3 MB).
pub const LARGEST_DELIVERY: usize = 3 * 1024 * 1024;
/// A body that has not come whole within this time is given up.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// One that is refused unread is listened to so long, and forgotten: who is cut off while still speaking may not hear the answer.
const HEAR_OUT_WITHIN: Duration = Duration::from_millis(500);
/// What deliveries that are read or stored may hold together, in kibibytes; more are told to come again. An ordinary one has less than one.
const HELD: u32 = 192 * 1024;
/// Deliveries that wait to be stored.
const WAITING: usize = 1_000;
/// The first delivery of a group waits this long for others.
const LINGER: Duration = Duration::from_millis(2);
/// Deliveries in one commit, which are applied together.
const GROUP: usize = 50;

/// Between two words that somebody listens; several fit into the gap after which nobody is taken to.
const SAY_LISTENING_EVERY: Duration = Duration::from_secs(2);

/// Who may deliver.
pub struct ReceiverSettings {
    /// WhatsApp signs with one of these.
    pub app_secrets: AppSecrets,
    /// Who signs nothing proves with one of these who they are.
    pub unsigned_secrets: SharedSecrets,
    /// Answers the handshake of a subscription; none refuses every handshake.
    pub verify_token: Option<SecretString>,
}

/// The state of the routes.
struct Receiver {
    settings: ReceiverSettings,
    inbox: mpsc::Sender<Arrival>,
    places: Semaphore,
    handshakes: Tries,
    metrics: Arc<Metrics>,
    traces: Traces,
}

struct Arrival {
    body: Bytes,
    stored: oneshot::Sender<bool>,
}

/// Keeps deliveries, many at a time, until the routes are gone, and lets the database know that somebody listens.
pub struct InboxWriter {
    store: Store,
    /// Without any secret every delivery is refused: nobody listens.
    is_listening: bool,
    arrivals: mpsc::Receiver<Arrival>,
    stored: Arc<Notify>,
    metrics: Arc<Metrics>,
}

/// The routes of the webhook listener, and the writer behind them, which must be run. `stored` is notified after each
/// commit.
pub fn routes(
    store: Store,
    settings: ReceiverSettings,
    stored: Arc<Notify>,
    metrics: Arc<Metrics>,
    traces: Traces,
) -> (Router, InboxWriter) {
    let (inbox, arrivals) = mpsc::channel(WAITING);
    let takes_unsigned = !settings.unsigned_secrets.is_empty();
    let is_listening = takes_unsigned || !settings.app_secrets.is_empty();
    let receiver = Arc::new(Receiver {
        settings,
        inbox,
        places: Semaphore::new(HELD as usize),
        handshakes: Tries::default(),
        metrics: Arc::clone(&metrics),
        traces,
    });
    let mut routes = Router::new().route("/webhook", get(handshake).post(receive));
    if takes_unsigned {
        routes = routes
            .route("/webhook/unsigned", post(receive_by_header))
            .route("/webhook/unsigned/{secret}", post(receive_by_address));
    }
    (
        routes.with_state(receiver),
        InboxWriter {
            store,
            is_listening,
            arrivals,
            stored,
            metrics,
        },
    )
}

#[derive(Deserialize)]
struct Handshake {
    #[serde(rename = "hub.mode")]
    mode: Option<String>,
    #[serde(rename = "hub.challenge")]
    challenge: Option<String>,
    #[serde(rename = "hub.verify_token")]
    verify_token: Option<String>,
}

/// Meta, "Create a webhook endpoint": answer with the challenge if the token is ours.
async fn handshake(
    State(receiver): State<Arc<Receiver>>,
    from: Option<Extension<ConnectInfo<SocketAddr>>>,
    Query(asked): Query<Handshake>,
) -> Response {
    let from = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |from| from.0.0.ip());
    let now = Instant::now();
    // Nothing else limits how often a verify token may be guessed; deliveries are proved by what cannot be.
    if receiver.handshakes.may(from, now).is_err() {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    let expected = receiver
        .settings
        .verify_token
        .as_ref()
        .map(SecretString::expose_secret);
    let proved = match (expected, &asked.verify_token) {
        (Some(expected), Some(given)) => {
            aws_lc_rs::constant_time::verify_slices_are_equal(&digest(expected), &digest(given))
                .is_ok()
        }
        (None, _) | (_, None) => false,
    };
    match (proved, asked.mode.as_deref(), asked.challenge) {
        (true, Some("subscribe"), Some(challenge)) => {
            info!("WhatsApp verified the webhook");
            challenge.into_response()
        }
        _ => {
            receiver.handshakes.wrong(from, now);
            warn!(
                "A webhook verification was refused: the verify token is missing or another than webhook.verify_token"
            );
            StatusCode::FORBIDDEN.into_response()
        }
    }
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    let refusal =
        "A webhook delivery was refused: its signature is missing or made with another app secret";
    let secrets = &receiver.settings.app_secrets;
    let signature = headers.get(SIGNATURE_HEADER).map(|value| value.as_bytes());
    if secrets.is_empty() || !is_signature(signature) {
        return receiver.refuse(body, refusal).await;
    }
    let prove = |body: &[u8]| secrets.verify(signature, body).is_ok();
    receiver.take(body, prove, refusal).await
}

async fn receive_by_header(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let secrets = &receiver.settings.unsigned_secrets;
    if !authorization.is_some_and(|value| secrets.let_in(value)) {
        return receiver.refuse(body, WITHOUT_SECRET).await;
    }
    receiver.take(body, |_| true, WITHOUT_SECRET).await
}

async fn receive_by_address(
    State(receiver): State<Arc<Receiver>>,
    Path(secret): Path<String>,
    body: Body,
) -> StatusCode {
    if !receiver.settings.unsigned_secrets.knows(&secret) {
        return receiver.refuse(body, WITHOUT_SECRET).await;
    }
    receiver.take(body, |_| true, WITHOUT_SECRET).await
}

const WITHOUT_SECRET: &str =
    "An unsigned webhook delivery was refused: it does not carry one of webhook.unsigned_secrets";

impl Receiver {
    /// Turns away what is not proved, without keeping a byte of it.
    async fn refuse(&self, body: Body, refusal: &'static str) -> StatusCode {
        // What has not come by then, or fails, is not waited for.
        let _ = tokio::time::timeout(HEAR_OUT_WITHIN, forget(body)).await;
        self.metrics.webhooks.refused.inc();
        warn!("{refusal}");
        StatusCode::UNAUTHORIZED
    }

    /// Reads a delivery, has it proved, stores it.
    async fn take(
        &self,
        body: Body,
        prove: impl FnOnce(&[u8]) -> bool,
        refusal: &'static str,
    ) -> StatusCode {
        let since = Instant::now();
        let counted = &self.metrics.webhooks;
        let mut held = Held::nothing(&self.places);
        let read = tokio::time::timeout(READ_WITHIN, held.read(body)).await;
        match read {
            Ok(Ok(())) => {}
            Ok(Err(NotRead::Busy)) => {
                counted.busy.inc();
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok(Err(NotRead::TooLarge)) => {
                counted.unreadable.inc();
                return StatusCode::PAYLOAD_TOO_LARGE;
            }
            Err(_) => {
                counted.unreadable.inc();
                return StatusCode::REQUEST_TIMEOUT;
            }
        }
        let Held { bytes, _place, .. } = held;
        let body = Bytes::from(bytes);
        if !prove(&body) {
            counted.refused.inc();
            warn!("{refusal}");
            return StatusCode::UNAUTHORIZED;
        }
        let proved = Instant::now();
        let (stored, answer) = oneshot::channel();
        let arrival = Arrival {
            body: body.clone(),
            stored,
        };
        if self.inbox.send(arrival).await.is_err() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let stored = matches!(answer.await, Ok(true));
        let times = Received {
            since,
            proved,
            answered: Instant::now(),
            stored,
        };
        self.traces.received(&body, times);
        match stored {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl InboxWriter {
    /// Runs until the routes are gone and everything that came is stored or refused.
    pub async fn run(mut self) {
        let store = self.store.clone();
        if self.is_listening {
            tokio::select! {
                () = self.store_what_comes() => {}
                () = keep_saying_that_we_listen(store) => {}
            }
        } else {
            self.store_what_comes().await;
        }
    }

    async fn store_what_comes(&mut self) {
        while let Some(first) = self.arrivals.recv().await {
            let group = self.gather(first).await;
            let (bodies, answers): (Vec<_>, Vec<_>) = group
                .into_iter()
                .map(|arrival| (arrival.body, arrival.stored))
                .unzip();
            crash_point!("webhook.came");
            let stored = self.store.store_deliveries(&bodies).await;
            crash_point!("webhook.stored");
            let stored = match stored {
                Ok(()) => {
                    self.metrics.webhooks.stored.inc_by(bodies.len() as u64);
                    true
                }
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not store {} webhook deliveries; WhatsApp was told to send them again",
                        bodies.len()
                    );
                    self.metrics.webhooks.not_stored.inc_by(bodies.len() as u64);
                    false
                }
            };
            for answer in answers {
                // The other side may have hung up; then it will send again what we have, which is harmless.
                let _ = answer.send(stored);
            }
            self.stored.notify_one();
        }
    }

    async fn gather(&mut self, first: Arrival) -> Vec<Arrival> {
        let mut group = vec![first];
        let until = Instant::now() + LINGER;
        while group.len() < GROUP {
            match tokio::time::timeout_at(until, self.arrivals.recv()).await {
                Ok(Some(arrival)) => group.push(arrival),
                Ok(None) | Err(_) => break,
            }
        }
        group
    }
}

/// What has come of a delivery, and the place that it takes up among all that are held.
struct Held<'a> {
    places: &'a Semaphore,
    bytes: Vec<u8>,
    /// A permit for each kibibyte that `bytes` has room for.
    _place: Option<SemaphorePermit<'a>>,
}

/// Why a delivery was not read to its end.
#[derive(Debug, PartialEq, Eq)]
enum NotRead {
    /// Others hold too much.
    Busy,
    /// It is too large, or was broken off.
    TooLarge,
}

impl<'a> Held<'a> {
    fn nothing(places: &'a Semaphore) -> Self {
        Self {
            places,
            bytes: Vec::new(),
            _place: None,
        }
    }

    /// Reads a body to its end.
    async fn read(&mut self, body: Body) -> Result<(), NotRead> {
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            self.add(&chunk.map_err(|_| NotRead::TooLarge)?)?;
        }
        Ok(())
    }

    fn add(&mut self, chunk: &[u8]) -> Result<(), NotRead> {
        let length = self.bytes.len() + chunk.len();
        if length > LARGEST_DELIVERY {
            return Err(NotRead::TooLarge);
        }
        let had = self.bytes.capacity();
        if length > had {
            // Twice as much as before, lest each byte that comes alone has all of them moved.
            let room = length.max(had * 2).next_multiple_of(1_024);
            let room = room.min(LARGEST_DELIVERY);
            let more = (room.div_ceil(1_024) - had / 1_024) as u32;
            let place = self.places.try_acquire_many(more);
            let place = place.map_err(|_| NotRead::Busy)?;
            match &mut self._place {
                Some(known) => known.merge(place),
                none => *none = Some(place),
            }
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

/// Reads what comes, up to the largest delivery, and keeps nothing.
async fn forget(body: Body) {
    let mut chunks = body.into_data_stream();
    let mut heard = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        heard += chunk.len();
        if heard > LARGEST_DELIVERY {
            break;
        }
    }
}

/// Never ends. What cannot be written is no news either: then deliveries cannot be stored.
async fn keep_saying_that_we_listen(store: Store) {
    loop {
        if let Err(error) = store.say_listening().await {
            warn!(
                error = &error as &dyn std::error::Error,
                "Could not say that webhooks are received; trying again"
            );
        }
        tokio::time::sleep(SAY_LISTENING_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt as _;
    use futures_util::stream::{iter, pending};

    use super::*;

    const KIB: usize = 1_024;

    /// A body that goes on for ever after these chunks.
    fn unfinished(chunks: Vec<Vec<u8>>) -> Body {
        Body::from_stream(iter(chunks.into_iter().map(Ok::<_, Infallible>)).chain(pending()))
    }

    #[tokio::test]
    async fn memory_is_taken_up_by_what_has_come_and_given_back() {
        let places = Semaphore::new(LARGEST_DELIVERY / KIB);
        for (chunks, kibibytes) in [
            (vec![], 0),
            (vec![1], 1),
            (vec![KIB], 1),
            (vec![KIB + 1], 2),
            // In steps that grow.
            (vec![1; 4 * KIB + 1], 8),
            (vec![64 * KIB; 48], 3 * KIB),
        ] {
            let body = unfinished(chunks.iter().map(|length| vec![b' '; *length]).collect());
            let mut held = Held::nothing(&places);
            assert_eq!(held.read(body).now_or_never(), None);
            assert_eq!(held.bytes.len(), chunks.iter().sum::<usize>());
            let taken = LARGEST_DELIVERY / KIB - places.available_permits();
            assert_eq!(taken, kibibytes, "{} chunks", chunks.len());
            drop(held);
            assert_eq!(places.available_permits(), LARGEST_DELIVERY / KIB);
        }
    }

    #[tokio::test]
    async fn one_that_finds_no_room_or_is_too_large_is_read_no_further() {
        let places = Semaphore::new(4 * KIB);
        let mut first = Held::nothing(&places);
        assert_eq!(
            first.read(vec![b' '; LARGEST_DELIVERY].into()).await,
            Ok(())
        );
        let mut second = Held::nothing(&places);
        let chunks = vec![vec![b' '; KIB]; KIB + 1];
        assert_eq!(second.read(unfinished(chunks)).await, Err(NotRead::Busy));
        drop(second);
        // An ordinary one finds room, and a large one again when others have gone.
        let mut small = Held::nothing(&places);
        assert_eq!(small.read("{}".into()).await, Ok(()));
        drop(first);
        let mut again = Held::nothing(&places);
        assert_eq!(
            again.read(vec![b' '; LARGEST_DELIVERY].into()).await,
            Ok(())
        );
        drop(again);
        let mut third = Held::nothing(&places);
        let chunks = vec![vec![b' '; LARGEST_DELIVERY], vec![b' ']];
        assert_eq!(third.read(unfinished(chunks)).await, Err(NotRead::TooLarge));
    }
}
