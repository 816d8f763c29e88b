//! What operators and orchestrators ask.
//!
//! `/healthz`: the process answers. `/readyz`: the database answers and, where this process sends, its leases can be trusted and
//! its loop turns and its outcomes can be written. What of these is not so is said in the answer, in words, so that a page at
//! night says where to look. That senders are held because the database went back is told beside it: a process that is taken out of
//! service for it would hear no webhooks, which are what it is settled by.
//!
//! `/metrics`: everything that is counted and measured, for Prometheus (OpenMetrics). Everything else is the dashboard. Who may read
//! what says [`Access`].

pub mod activity;
mod dashboard;
pub mod figures;
mod guard;
pub mod sampler;
pub mod tail;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use dashboard::Dashboard;
use dashboard::session::Sessions;
pub use guard::Access;
use guard::Guard;

use crate::clock::Clock;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::store::Store;
use crate::store::uncertain::UncertainPolicy;

/// A loop that has not turned for this long is stuck: it never waits for anything that takes so long.
pub const STALLED_AFTER: Duration = Duration::from_secs(10);
/// A database that has not answered by then does not count as answering.
const DATABASE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What stands in the way of sending although the process is ready.
const WENT_BACK: &str = "the database went back, and every sender is held until it is settled what it has forgotten; see: wa-outbox recover";

/// Whether this process may send at the moment.
pub type MaySend = Arc<dyn Fn(&Clock) -> bool + Send + Sync>;
/// How long ago the loop that sends last turned.
pub type Progress = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How many outcomes wait to be written, where so many cannot be that nothing new is sent; none while that is not so.
pub type Stuck = Arc<dyn Fn() -> Option<usize> + Send + Sync>;

/// How many outcomes are known and not written yet.
pub type Unwritten = Arc<dyn Fn() -> usize + Send + Sync>;

/// What is asked of, to tell how this process is.
pub struct Health {
    /// The database.
    pub store: Store,
    /// Tells the time that leases are measured by.
    pub clock: Clock,
    /// Whether it may send; none where it does not send at all.
    pub may_send: Option<MaySend>,
    /// Whether its loop turns; none where it does not send at all.
    pub progress: Option<Progress>,
    /// Whether its outcomes can be written; none where it does not send at all.
    pub stuck: Option<Stuck>,
    /// How many outcomes are known and not written; none where it does not send at all.
    pub unwritten: Option<Unwritten>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    database: bool,
    leases: Option<bool>,
    last_turn: Option<Duration>,
    /// So many outcomes cannot be written.
    stuck: Option<usize>,
}

impl Found {
    fn dispatcher(self) -> Option<bool> {
        self.last_turn.map(|ago| ago <= STALLED_AFTER)
    }

    /// What is amiss, in words; nothing when it is ready.
    fn reasons(self) -> Vec<String> {
        let database = (!self.database).then(|| "the database does not answer".to_owned());
        let leases = (self.leases == Some(false))
            .then(|| "the leases could not be renewed in time, so nothing may be sent".to_owned());
        let stalled = self.last_turn.filter(|ago| *ago > STALLED_AFTER);
        let dispatcher =
            stalled.map(|ago| format!("the sending loop has not turned for {} s", ago.as_secs()));
        let stuck = self.stuck.map(|outcomes| {
            format!("{outcomes} outcomes cannot be written to the database, so nothing new is sent")
        });
        [database, leases, dispatcher, stuck]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The largest body that is read: a form with a reason, or a list of messages.
const LARGEST_FORM: usize = 64 * 1024;

/// The routes of the admin listener. `policy`: what workers do with lost answers where neither message nor sender says. With `stop`
/// pages that are live end.
pub fn routes(
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    access: Access,
    policy: UncertainPolicy,
    stop: CancellationToken,
) -> Router {
    let sessions = Arc::<Sessions>::default();
    let guard = Arc::new(Guard::new(
        access,
        Arc::clone(&sessions),
        metrics.refused_logins.clone(),
    ));
    let (store, clock) = (health.store.clone(), health.clock.clone());
    let dashboard = Arc::new(Dashboard::new(store, clock, sessions, policy, stop));
    let scrape = async move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.text());
    let logins = Router::new()
        .route("/login", get(guard::ask_for_token).post(guard::log_in))
        .route("/logout", post(guard::log_out))
        .with_state(Arc::clone(&guard));
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(health)
        .merge(logins)
        .merge(dashboard::routes(dashboard))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        // The last one, so that it lies before all of them and before what is not there.
        .layer(from_fn_with_state(guard, guard::look))
}

async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, Json<serde_json::Value>) {
    let database = tokio::time::timeout(DATABASE_ANSWERS_WITHIN, health.store.ping())
        .await
        .is_ok_and(|pong| pong.is_ok());
    let unsettled = tokio::time::timeout(DATABASE_ANSWERS_WITHIN, health.store.is_unsettled());
    let went_back = matches!(unsettled.await, Ok(Ok(true)));
    let found = Found {
        database,
        leases: health
            .may_send
            .as_ref()
            .map(|may_send| may_send(&health.clock)),
        last_turn: health.progress.as_ref().map(|progress| progress()),
        stuck: health.stuck.as_ref().and_then(|stuck| stuck()),
    };
    let reasons = found.reasons();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let answer = json!({
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "held": went_back.then_some(WENT_BACK),
        "database": found.database,
        "leases": found.leases,
        "dispatcher": found.dispatcher(),
        "last_turn_ms": found.last_turn.map(|ago| ago.as_millis() as u64),
    });
    (status, Json(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Found = Found {
        database: true,
        leases: Some(true),
        last_turn: Some(STALLED_AFTER),
        stuck: None,
    };

    #[test]
    fn a_process_is_ready_when_nothing_that_it_needs_is_amiss() {
        let only_webhooks = Found {
            leases: None,
            last_turn: None,
            ..WELL
        };
        assert!(WELL.reasons().is_empty() && only_webhooks.reasons().is_empty());
        for (amiss, words) in [
            (
                Found {
                    database: false,
                    ..WELL
                },
                "the database",
            ),
            (
                Found {
                    leases: Some(false),
                    ..WELL
                },
                "the leases",
            ),
            (
                Found {
                    last_turn: Some(STALLED_AFTER + Duration::from_millis(1)),
                    ..WELL
                },
                "the sending loop",
            ),
            (
                Found {
                    stuck: Some(17),
                    ..WELL
                },
                "17 outcomes",
            ),
        ] {
            let reasons = amiss.reasons();
            assert!(
                reasons.len() == 1 && reasons[0].starts_with(words),
                "{reasons:?}"
            );
        }
    }
}
