//! Looks for senders that have something to send, where nothing says so and to read for each of them would cost more.
//!
//! To read for a sender is to ask for each of its lanes. For five hundred idle ones that was a sixth of a core, and one is asked for nearly
//! always in vain while every INSERT calls. So one question is asked for all that are idle: where there are many, whether any row of
//! the outbox has been written since, and from time to time which of them have anything open, due or not. Those are read for until
//! a look finds nothing of theirs any more. A row whose id was drawn long before its commit is missed by the first question; it is found
//! when its INSERT calls, or by the second.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::desk::Desk;
use super::dispatcher::Dispatcher;
use crate::domain::id::{MessageId, SenderId};
use crate::store::StoreError;

/// So many are read for at once when somebody calls, and without a scout while nobody does.
const FEW: usize = 8;
/// The look for all that does not trust in ids. Who is called for new messages takes no other.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known of senders that are idle.
pub(super) struct Scout {
    pub(super) under_way: Option<JoinHandle<Result<Scouted, StoreError>>>,
    /// The last id that had been drawn when they were looked for.
    newest: Option<MessageId>,
    /// They are looked for next, whatever the ids say.
    wanted: bool,
    next: Instant,
    look_at: Instant,
}

/// What a scout has found.
pub(super) struct Scouted {
    newest: MessageId,
    /// Of which senders which have something open; none where only ids were asked for.
    looked: Option<Looked>,
}

struct Looked {
    at: Vec<SenderId>,
    have_something: Vec<SenderId>,
}

impl Scout {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            under_way: None,
            newest: None,
            wanted: true,
            next: now,
            look_at: now,
        }
    }

    /// Somebody said that there may be something new, and no look was started since.
    pub(super) fn look_soon(&mut self) {
        self.wanted = true;
    }
}

impl Dispatcher {
    /// Whether the scout is asked before any of the idle senders is read for, even when somebody calls.
    pub(super) fn are_many(&self) -> bool {
        self.desks.len() > FEW
    }

    /// Whether idle senders wait for the scout.
    pub(super) fn is_scouted(&self) -> bool {
        self.are_many() || self.is_called()
    }

    /// Whether every INSERT calls, and is heard.
    fn is_called(&self) -> bool {
        self.asleep && self.signals.hears_calls.load(Ordering::Acquire)
    }

    /// Sends the scout out, when it is time and there is anybody to look for.
    pub(super) fn start_scouting(&mut self, now: Instant) {
        let is_time = self.scout.wanted || now >= self.scout.next;
        if !self.is_scouted()
            || self.scout.under_way.is_some()
            || !is_time
            || !self.desks.values().any(Desk::is_idle)
        {
            return;
        }
        if self.scout.wanted || now >= self.scout.look_at {
            self.look_for_idle(now);
        } else {
            let store = self.store.clone();
            self.scout.under_way = Some(tokio::spawn(async move {
                let newest = store.newest_message().await?;
                Ok(Scouted {
                    newest,
                    looked: None,
                })
            }));
        }
    }

    /// The pause until the scout goes out again.
    pub(super) fn scout_again_in(&self) -> Duration {
        match self.is_called() {
            true => LOOK_EVERY,
            false => self.look_again_in(),
        }
    }

    fn look_for_idle(&mut self, now: Instant) {
        self.scout.wanted = false;
        self.scout.look_at = now + LOOK_EVERY;
        let idle: Vec<SenderId> = self
            .desks
            .values()
            .filter(|desk| desk.is_idle())
            .map(|desk| desk.sender.clone())
            .collect();
        let store = self.store.clone();
        self.scout.under_way = Some(tokio::spawn(async move {
            // Before they are looked for: what is written afterwards is told apart from it.
            let newest = store.newest_message().await?;
            let have_something = store.senders_with_something_open(&idle).await?;
            Ok(Scouted {
                newest,
                looked: Some(Looked {
                    at: idle,
                    have_something,
                }),
            })
        }));
    }

    pub(super) fn take_scouted(&mut self, scouted: Result<Scouted, StoreError>) {
        self.scout.under_way = None;
        self.scout.next = Instant::now() + self.scout_again_in();
        match scouted {
            Ok(Scouted { newest, looked }) => {
                let is_news = self.scout.newest.replace(newest) != Some(newest);
                let Some(looked) = looked else {
                    self.scout.wanted |= is_news;
                    return;
                };
                for sender in &looked.at {
                    self.desks.get_mut(sender).map(Desk::has_nothing_open);
                }
                for sender in &looked.have_something {
                    self.desks.get_mut(sender).map(Desk::look_soon);
                }
            }
            Err(error) => {
                self.scout.wanted = true;
                self.database_failed(&error, "look for senders with something to send");
            }
        }
    }
}
