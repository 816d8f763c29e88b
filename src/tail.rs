//! What this process does, for those who watch the fleet at this moment (`wa-outbox tail`).
//!
//! While nobody watches, an event is a look at one flag: it is not even made. While somebody does, it goes into a bounded list in
//! memory, and the relay ([`crate::admin::tail`]) takes the lists to the database every moment; so no message waits for it, and no
//! transaction knows of it. What there is no room for is counted, for each of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::domain::event::{Event, EventFilter};

/// Events that are kept of one moment for one of them. A page that scrolls shows a person less.
const KEPT_AT_MOST: usize = 5_000;

/// Where events are told. Clones are one.
#[derive(Clone)]
pub struct Tail(Arc<Shared>);

struct Shared {
    clock: Clock,
    /// Somebody watches.
    is_heard: AtomicBool,
    watchers: Mutex<Vec<Watcher>>,
    called: Notify,
}

/// Somebody who watches, by the number of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TailerId(pub i64);

/// Somebody who watches, and what it wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tailer {
    /// Who.
    pub id: TailerId,
    /// What.
    pub filter: EventFilter,
}

/// What happened for one of them since that was asked last.
#[derive(Debug)]
pub struct Heard {
    /// For whom.
    pub tailer: Tailer,
    /// What may be for it, in order.
    pub events: Vec<Event>,
    /// There was no room for so many more.
    pub left_out: u64,
}

struct Watcher {
    tailer: Tailer,
    events: Vec<Event>,
    left_out: u64,
}

impl Tail {
    /// One that nobody watches yet.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Shared {
            clock,
            is_heard: AtomicBool::new(false),
            watchers: Mutex::default(),
            called: Notify::new(),
        }))
    }

    /// Tells what has happened, if anybody watches; else it is not made. It is given the time.
    pub fn tell<I: IntoIterator<Item = Event>>(&self, events: impl FnOnce(OffsetDateTime) -> I) {
        if !self.0.is_heard.load(Ordering::Relaxed) {
            return;
        }
        let events = events(self.0.clock.now());
        let mut watchers = self.watchers();
        for event in events {
            for watcher in watchers.iter_mut() {
                if !watcher.tailer.filter.may_admit(&event) {
                    continue;
                }
                if watcher.events.len() < KEPT_AT_MOST {
                    watcher.events.push(event.clone());
                } else {
                    watcher.left_out += 1;
                }
            }
        }
    }

    /// Somebody may have begun to watch: the relay looks who.
    pub fn call(&self) {
        self.0.called.notify_one();
    }

    /// Waits for the next [`Tail::call`].
    pub async fn called(&self) {
        self.0.called.notified().await;
    }

    /// Who watches from now on. Gives those who are new.
    pub fn watched_by(&self, tailers: Vec<Tailer>) -> Vec<TailerId> {
        let mut watchers = self.watchers();
        let mut before = std::mem::take(&mut *watchers);
        let mut new = Vec::new();
        for tailer in tailers {
            let known = before.iter().position(|one| one.tailer == tailer);
            watchers.push(match known {
                Some(place) => before.swap_remove(place),
                None => {
                    new.push(tailer.id);
                    Watcher {
                        tailer,
                        events: Vec::new(),
                        left_out: 0,
                    }
                }
            });
        }
        let is_heard = !watchers.is_empty();
        self.0.is_heard.store(is_heard, Ordering::Relaxed);
        new
    }

    /// Takes what has happened for each of them; nothing for whom nothing has.
    pub fn take(&self) -> Vec<Heard> {
        let mut watchers = self.watchers();
        let heard = watchers
            .iter_mut()
            .filter(|watcher| !watcher.events.is_empty() || watcher.left_out > 0)
            .map(|watcher| Heard {
                tailer: watcher.tailer.clone(),
                events: std::mem::take(&mut watcher.events),
                left_out: std::mem::take(&mut watcher.left_out),
            });
        heard.collect()
    }

    /// So many events could not be told to one of them.
    pub fn left_out(&self, tailer: TailerId, events: u64) {
        let mut watchers = self.watchers();
        if let Some(watcher) = watchers.iter_mut().find(|one| one.tailer.id == tailer) {
            watcher.left_out += events;
        }
    }

    fn watchers(&self) -> std::sync::MutexGuard<'_, Vec<Watcher>> {
        self.0
            .watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventKind;

    fn tailer(id: i64, sender: Option<&str>) -> Tailer {
        let filter = EventFilter {
            sender: sender.map(str::to_owned),
            ..EventFilter::default()
        };
        Tailer {
            id: TailerId(id),
            filter,
        }
    }

    fn tell(tail: &Tail, sender: &str) {
        tail.tell(|at| [Event::new(at, EventKind::Begun, sender)]);
    }

    #[test]
    fn while_nobody_watches_an_event_is_not_even_made() {
        let tail = Tail::new(Clock::system());
        let tell_badly = |_| -> [Event; 0] { panic!("made for nobody") };
        tail.tell(tell_badly);
        tail.watched_by(vec![tailer(1, None)]);
        tail.watched_by(Vec::new());
        tail.tell(tell_badly);
        assert!(tail.take().is_empty());
    }

    #[test]
    fn each_gets_what_it_asks_for_once() {
        let tail = Tail::new(Clock::system());
        let both = vec![tailer(1, None), tailer(2, Some("b"))];
        assert_eq!(tail.watched_by(both), [TailerId(1), TailerId(2)]);
        tell(&tail, "a");
        tell(&tail, "b");
        let heard = tail.take();
        let counts: Vec<_> = heard
            .iter()
            .map(|one| (one.tailer.id.0, one.events.len()))
            .collect();
        assert_eq!(counts, [(1, 2), (2, 1)]);
        assert!(tail.take().is_empty());
    }

    #[test]
    fn who_goes_on_watching_loses_nothing_when_another_comes_or_goes() {
        let tail = Tail::new(Clock::system());
        tail.watched_by(vec![tailer(1, None)]);
        tell(&tail, "a");
        assert_eq!(
            tail.watched_by(vec![tailer(2, None), tailer(1, None)]),
            [TailerId(2)]
        );
        tell(&tail, "a");
        assert!(tail.watched_by(vec![tailer(1, None)]).is_empty());
        let heard = tail.take();
        assert_eq!((heard.len(), heard[0].events.len()), (1, 2));
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let tail = Tail::new(Clock::system());
        tail.watched_by(vec![tailer(1, None)]);
        for _ in 0..KEPT_AT_MOST + 3 {
            tell(&tail, "a");
        }
        let heard = tail.take();
        assert_eq!(
            (heard[0].events.len(), heard[0].left_out),
            (KEPT_AT_MOST, 3)
        );
    }
}
