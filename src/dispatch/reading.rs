//! Reads due messages ahead, and sleeps when there are none.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::desk::Desk;
use super::dispatcher::Dispatcher;
use crate::crash::crash_point;
use crate::domain::id::SenderId;
use crate::store::StoreError;
use crate::store::claim::Due;
use crate::store::lease::WorkerId;

/// From time to time a desk reads from the front again.
const RESCAN_EVERY: Duration = Duration::from_millis(250);
/// After this long with little work, and nothing left to read, the worker says that it sleeps, so that an INSERT calls it.
const AWAKE_FOR: Duration = Duration::from_secs(1);
/// Messages found in a second that are little work. To be called for each costs those who insert next to nothing, and the message
/// waits for no poll; where many insert, their commits would wait for each other.
const LITTLE_WORK: usize = 200;

impl Dispatcher {
    /// Starts a read for all desks that want one, in one statement.
    pub(super) fn start_read(&mut self, now: Instant) {
        if self.reading.is_some() {
            return;
        }
        let is_scouted = self.is_scouted();
        let (mut asks, mut known) = (Vec::new(), Vec::new());
        for desk in self.desks.values_mut() {
            let (more, known_there) = desk.asks(now, RESCAN_EVERY, is_scouted);
            asks.extend(more);
            known.extend(known_there);
        }
        if asks.is_empty() {
            return;
        }
        self.asked.clone_from(&asks);
        let store = self.store.clone();
        self.reading = Some(tokio::spawn(async move {
            let due = store.read_ahead(&asks, &known).await;
            crash_point!("read.done");
            due
        }));
    }

    pub(super) fn take_read(&mut self, read: Result<Vec<Due>, StoreError>) {
        self.reading = None;
        let asked = std::mem::take(&mut self.asked);
        let due = match read {
            Ok(due) => due,
            Err(error) => {
                self.database_failed(&error, "look for due messages");
                self.desks.values_mut().for_each(Desk::look_failed);
                return;
            }
        };
        self.found_lately += due.len();
        let mut found: HashMap<(SenderId, i64, i16), Vec<Due>> = HashMap::new();
        for due in due {
            found
                .entry((due.sender.clone(), due.campaign, due.priority))
                .or_default()
                .push(due);
        }
        let now = Instant::now();
        let look_again_in = self.look_again_in();
        for ask in &asked {
            let due = found
                .remove(&(ask.sender.clone(), ask.campaign, ask.priority))
                .unwrap_or_default();
            if let Some(desk) = self.desks.get_mut(&ask.sender) {
                desk.take_in(ask, due, now, look_again_in);
            }
        }
    }

    /// The pause until it is read again where nothing was found.
    pub(super) fn look_again_in(&self) -> Duration {
        match self.asleep {
            true => self.settings.idle_poll,
            false => self.settings.tick,
        }
    }

    /// Has it said that the worker sleeps, when there has been little to do for a while, or that it does no longer.
    pub(super) fn fall_asleep_or_wake(&mut self) {
        let now = Instant::now();
        // A desk that has asked seems to have read everything until the answer comes.
        let nothing_due = self.reading.is_none()
            && !self.desks.is_empty()
            && self
                .desks
                .values()
                .all(|desk| desk.is_idle() || desk.is_kept_back())
            && self.unsent.is_empty()
            && self.recorder.unwritten() == 0;
        self.signals
            .nothing_due
            .send_if_modified(|was_so| std::mem::replace(was_so, nothing_due) != nothing_due);
        let has_more = self.desks.values().any(|desk| desk.has_more(now));
        if self.found_lately > LITTLE_WORK || has_more {
            self.last_work = now;
        }
        let sleepy = now - self.last_work >= AWAKE_FOR;
        let Some(worker) = self.worker else { return };
        if sleepy == self.asleep || self.dozing.is_some() || now < self.database_after {
            return;
        }
        let store = self.store.clone();
        self.dozing = Some(tokio::spawn(async move {
            store
                .set_asleep(worker, sleepy)
                .await
                .map(|()| (worker, sleepy))
        }));
    }

    /// It was said, or could not be.
    pub(super) fn take_doze(&mut self, said: Result<(WorkerId, bool), StoreError>) {
        self.dozing = None;
        match said {
            // One that has registered anew is awake until it says otherwise.
            Ok((worker, asleep)) => self.asleep = asleep && self.worker == Some(worker),
            Err(error) => self.database_failed(&error, "say whether the worker sleeps"),
        }
        // Whoever inserted before it was said has not called: one more look, at once.
        self.look_soon();
    }
}
