//! Takes what this process does to those who watch the fleet, while somebody does.
//!
//! While nobody watches, this waits to be called and asks nothing. Who begins to watch calls the processes that listen; the others
//! find out when they tell their activity, within five seconds. Whoever dies is forgotten when its row expires.
//!
//! A flood is bounded: so many events a moment, those first that somebody may have to look at; the others are counted.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::domain::event::{Event, Tone};
use crate::store::{Store, StoreError};
use crate::tail::{Heard, Tail};

/// Between two times that it tells.
const STEP: Duration = Duration::from_millis(200);
/// Between two looks who watches, while somebody does.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Events that one of them is told of one step: a thousand a second, of each process.
const TOLD_AT_ONCE: usize = 200;

/// Takes events from memory to those who watch.
pub struct Relay {
    store: Store,
    tail: Tail,
    process: String,
}

impl Relay {
    /// `process`: its name in the fleet.
    pub fn new(store: Store, tail: Tail, process: String) -> Self {
        Self {
            store,
            tail,
            process,
        }
    }

    /// Tells until it is stopped, and once more then.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.tail.called() => {}
            }
            let mut is_watched = self.look().await;
            let mut look_at = Instant::now() + LOOK_EVERY;
            while is_watched {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(STEP) => {}
                    () = self.tail.called() => look_at = Instant::now(),
                }
                if let Err(error) = self.tell().await {
                    say(&error, "tell who watches");
                }
                if stop.is_cancelled() {
                    return;
                }
                if Instant::now() >= look_at {
                    is_watched = self.look().await;
                    look_at = Instant::now() + LOOK_EVERY;
                }
            }
        }
    }

    /// Looks who watches, and whether anybody does. Where the database does not answer, nobody can tell, and it goes on.
    async fn look(&self) -> bool {
        match self.take_up().await {
            Ok(is_watched) => is_watched,
            Err(error) => {
                say(&error, "look who watches");
                true
            }
        }
    }

    async fn take_up(&self) -> Result<bool, StoreError> {
        self.store.forget_tailers().await?;
        let tailers = self.store.tailers().await?;
        let is_watched = !tailers.is_empty();
        for new in self.tail.watched_by(tailers) {
            // So that it knows of whom it will hear.
            self.store.tell_tailer(new, &self.process, &[], 0).await?;
        }
        Ok(is_watched)
    }

    /// Tells what has happened since it told last. What could not be told is counted as left out.
    async fn tell(&self) -> Result<(), StoreError> {
        let mut told = Ok(());
        for heard in self.tail.take() {
            let (tailer, lost) = (heard.tailer.id, heard.events.len() as u64 + heard.left_out);
            if let Err(error) = self.tell_one(heard).await {
                self.tail.left_out(tailer, lost);
                told = Err(error);
            }
        }
        told
    }

    async fn tell_one(&self, heard: Heard) -> Result<(), StoreError> {
        let (tailer, left_out) = (heard.tailer.id, heard.left_out);
        let events = self.for_this_one(heard).await?;
        let (events, more) = bounded(events, TOLD_AT_ONCE);
        if events.is_empty() && more + left_out == 0 {
            return Ok(());
        }
        self.store
            .tell_tailer(tailer, &self.process, &events, more + left_out)
            .await
    }

    /// Those that it asks for, where only the rows of their messages tell.
    async fn for_this_one(&self, heard: Heard) -> Result<Vec<Event>, StoreError> {
        let (filter, mut events) = (heard.tailer.filter, heard.events);
        if filter.asks_for_belonging() {
            let ids: HashSet<i64> = events.iter().filter_map(|event| event.message).collect();
            let ids: Vec<i64> = ids.into_iter().collect();
            let (campaign, sequence) = (filter.campaign, filter.sequence.as_deref());
            let belonging = self
                .store
                .messages_belonging(&ids, campaign, sequence)
                .await?;
            let belonging: HashSet<i64> = belonging.into_iter().collect();
            events.retain(|event| event.message.is_some_and(|id| belonging.contains(&id)));
        }
        Ok(events)
    }
}

/// So many of them, in order, and how many more there are: those come first that somebody may have to look at.
fn bounded(mut events: Vec<Event>, at_most: usize) -> (Vec<Event>, u64) {
    let more = events.len().saturating_sub(at_most);
    if more > 0 {
        let is_bad = |event: &Event| event.kind.tone() == Tone::Bad;
        let bad = events.iter().filter(|event| is_bad(event)).count();
        let mut places = (bad.min(at_most), at_most.saturating_sub(bad));
        events.retain(|event| {
            let place = match is_bad(event) {
                true => &mut places.0,
                false => &mut places.1,
            };
            let fits = *place > 0;
            *place = place.saturating_sub(1);
            fits
        });
    }
    (events, more as u64)
}

fn say(error: &StoreError, doing: &str) {
    debug!(
        error = error as &dyn std::error::Error,
        "Could not {doing}; trying again"
    );
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::domain::event::EventKind;

    fn events(kinds: &[EventKind]) -> Vec<Event> {
        let event = |kind: &EventKind| Event::new(OffsetDateTime::UNIX_EPOCH, *kind, "4711");
        kinds.iter().map(event).collect()
    }

    #[test]
    fn of_a_flood_the_bad_ones_are_told_first_and_the_others_counted() {
        use EventKind::{Accepted, Begun, Failed, Uncertain};
        let flood = [Begun, Accepted, Failed, Begun, Uncertain, Begun];
        let kinds = |at_most| {
            let (told, more) = bounded(events(&flood), at_most);
            let kinds: Vec<_> = told.iter().map(|event| event.kind).collect();
            (kinds, more)
        };
        assert_eq!(kinds(3), (vec![Begun, Failed, Uncertain], 3));
        assert_eq!(kinds(1), (vec![Failed], 5));
        assert_eq!(kinds(6), (flood.to_vec(), 0));
    }
}
