//! Keeps a page that is looked at up to date.
//!
//! One connection a page. Its parts are made anew every two seconds, and only those that have changed are sent: on a bad line that is
//! little. A long list is sent as a whole when one line of it has changed, so the longer it is, the more seldom it comes. It ends with
//! the session, and when the process stops.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::page::Page;
use super::session::{SessionKey, Visitor};
use super::{Dashboard, LIVE_AT_MOST, LIVE_OF_ONE, Trouble, pages};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A part of a page takes no more of the line than so many bytes a second.
const PACE: f64 = 16.0 * 1_024.0;

/// Whose places of live pages are taken.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<Looker, usize>>);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Looker {
    Session(SessionKey),
    Address(IpAddr),
}

/// One of them, until it is dropped.
struct Place {
    places: Arc<Places>,
    of: Looker,
}

impl Places {
    /// None: too many pages are live, or too many of this visitor.
    fn take(self: &Arc<Self>, visitor: &Visitor) -> Option<Place> {
        let address = Looker::Address(visitor.address);
        let of = visitor.session.map_or(address, Looker::Session);
        let mut taken = self.taken();
        let of_this_one = taken.get(&of).copied().unwrap_or_default();
        if taken.values().sum::<usize>() >= LIVE_AT_MOST || of_this_one >= LIVE_OF_ONE {
            return None;
        }
        taken.insert(of, of_this_one + 1);
        Some(Place {
            places: Arc::clone(self),
            of,
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Looker, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get(&self.of).copied() {
            Some(many @ 2..) => taken.insert(self.of, many - 1),
            Some(_) | None => taken.remove(&self.of),
        };
    }
}

/// A part as it was sent.
struct Sent {
    html: String,
    at: Instant,
}

impl Sent {
    /// Whether it is to be sent as it is now: it has changed, and what was sent has had its time on the line.
    fn makes_way_for(&self, html: &str, now: Instant) -> bool {
        let takes = Duration::from_secs_f64(self.html.len() as f64 / PACE);
        self.html != html && now >= self.at + takes
    }
}

/// Which page.
#[derive(Deserialize)]
pub(super) struct Asked {
    at: String,
}

struct Follower {
    dashboard: Arc<Dashboard>,
    visitor: Visitor,
    page: Page,
    sent: HashMap<&'static str, Sent>,
    is_first: bool,
    _place: Place,
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
    let Some(place) = dashboard.live.take(&visitor) else {
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
                let (mut parts, now) = (Vec::new(), Instant::now());
                for section in &shown.sections {
                    let html = section.html.0.as_str();
                    let sent = self.sent.get(section.id);
                    if sent.is_none_or(|sent| sent.makes_way_for(html, now)) {
                        parts.push(json!({"id": section.id, "html": html}));
                        let (html, at) = (html.to_owned(), now);
                        self.sent.insert(section.id, Sent { html, at });
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::session::{Role, Sessions};
    use super::*;

    fn visitor(session: Option<SessionKey>) -> Visitor {
        Visitor {
            role: Role::Viewer,
            name: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            session,
            shows_token: false,
        }
    }

    #[tokio::test]
    async fn nobody_takes_every_place_and_a_page_that_is_left_gives_its_own_back() {
        let (places, sessions, now) = (
            Arc::<Places>::default(),
            Sessions::default(),
            Instant::now(),
        );
        let mut taken: Vec<Place> = Vec::new();
        for _ in 0..LIVE_AT_MOST / LIVE_OF_ONE {
            let one = visitor(Some(sessions.begin(Role::Viewer, None, now).0));
            taken.extend((0..LIVE_OF_ONE).map(|_| places.take(&one).expect("a place")));
            assert!(places.take(&one).is_none());
        }
        assert_eq!(taken.len(), LIVE_AT_MOST);
        let other = visitor(None);
        assert!(places.take(&other).is_none());
        drop(taken.pop());
        assert!(places.take(&other).is_some());
        drop(taken);
        assert!(places.taken().is_empty());
    }

    #[tokio::test]
    async fn the_longer_a_part_is_the_more_seldom_it_is_sent() {
        let at = Instant::now();
        let sent = |bytes: usize| Sent {
            html: "a".repeat(bytes),
            at,
        };
        let small = sent(20_000);
        assert!(small.makes_way_for("b", at + LOOK_EVERY));
        assert!(!small.makes_way_for(&small.html, at + LOOK_EVERY));
        let large = sent(400_000);
        assert!(!large.makes_way_for("b", at + 10 * LOOK_EVERY));
        assert!(large.makes_way_for("b", at + 13 * LOOK_EVERY));
    }
}
