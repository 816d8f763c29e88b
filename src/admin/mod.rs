//! What operators and orchestrators ask.
//!
//! `/healthz`: the process answers. `/readyz`: the database answers and, where this process sends, its leases can be trusted.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::clock::Clock;
use crate::store::Store;

/// Whether this process may send at the moment; `None` where it does not send at all.
pub type MaySend = Arc<dyn Fn(&Clock) -> bool + Send + Sync>;

struct Health {
    store: Store,
    clock: Clock,
    may_send: Option<MaySend>,
}

/// The routes of the admin listener.
pub fn routes(store: Store, clock: Clock, may_send: Option<MaySend>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::new(Health {
            store,
            clock,
            may_send,
        }))
}

async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, Json<serde_json::Value>) {
    let database = tokio::time::timeout(Duration::from_secs(2), health.store.ping())
        .await
        .is_ok_and(|pong| pong.is_ok());
    let leases = health
        .may_send
        .as_ref()
        .map(|may_send| may_send(&health.clock));
    let ready = database && leases != Some(false);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({ "ready": ready, "database": database, "leases": leases })),
    )
}
