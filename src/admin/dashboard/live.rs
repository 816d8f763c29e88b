//! Keeps a page that is looked at up to date.
//!
//! One connection a page. Its parts are made anew every two seconds, and only those that have changed are sent: on a bad line that is
//! little. It ends with the session, and when the process stops.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::page::Page;
use super::session::Visitor;
use super::{Dashboard, Trouble, pages};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Which page.
#[derive(Deserialize)]
pub(super) struct Asked {
    at: String,
}

struct Follower {
    dashboard: Arc<Dashboard>,
    visitor: Visitor,
    page: Page,
    sent: HashMap<&'static str, String>,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn live(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let page = asked.at.parse::<Uri>().ok().and_then(|uri| Page::at(&uri));
    let Some(page) = page else {
        return (StatusCode::NOT_FOUND, "there is no page at this address\n").into_response();
    };
    let Ok(place) = Arc::clone(&dashboard.live).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are live\n").into_response();
    };
    let follower = Follower {
        dashboard,
        visitor,
        page,
        sent: HashMap::new(),
        is_first: true,
        _place: place,
    };
    let events = unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

impl Follower {
    /// The next change of the page; none: it is over.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::take(&mut self.is_first) {
            tokio::select! {
                () = self.dashboard.stop.cancelled() => return None,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        if self.dashboard.stop.is_cancelled() {
            return None;
        }
        let session = self.visitor.session;
        let sessions = &self.dashboard.sessions;
        if session.is_some_and(|session| !sessions.looks_on(session, Instant::now())) {
            return Some(Event::default().event("over").data("the session has ended"));
        }
        match pages::make(&self.dashboard, &self.visitor, &self.page).await {
            Ok(shown) => {
                let mut parts = Vec::new();
                for section in &shown.sections {
                    let html = section.html.0.as_str();
                    if self.sent.get(section.id).is_none_or(|sent| sent != html) {
                        self.sent.insert(section.id, html.to_owned());
                        parts.push(json!({"id": section.id, "html": html}));
                    }
                }
                let order: Vec<_> = shown.sections.iter().map(|section| section.id).collect();
                let news = json!({"title": shown.title, "parts": parts, "order": order});
                Some(Event::default().event("parts").data(news.to_string()))
            }
            Err(Trouble::Store(_)) => Some(
                Event::default()
                    .event("stale")
                    .data("the database does not answer"),
            ),
            Err(_) => Some(Event::default().event("gone").data("it is gone")),
        }
    }
}
