//! The files of a sender: what is known of each, which wait for their upload, and when who waits for them looks again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::file::{Looked, MediaError, Stamp};
use crate::dispatch::beside::Answer;
use crate::dispatch::sending::LEAVE_WITHIN;
use crate::provider::Endpoint;

/// A message whose file is on its way is looked at again after this …
pub(super) const LOOK_AGAIN_IN: Duration = Duration::from_secs(1);
/// … and so much later for each file of its sender that waits too.
pub(super) const LATER_FOR_EACH: Duration = Duration::from_millis(50);
/// However long a file rests, its messages are looked at again after this at the latest.
const LOOK_AGAIN_WITHIN: Duration = Duration::from_secs(60);
/// Files of one sender that wait for their upload.
pub(super) const WAIT_AT_MOST: usize = 100;
/// While so many wait, messages that name others look again one after the other, at this distance: a few leave each second.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// While so many wait, another file takes the place of one that could not be uploaded, no more often than this: those that never can be are
/// not in the way of all.
pub(super) const BETWEEN_CHANGES: Duration = Duration::from_secs(1);
/// Files of one sender that are remembered; of more, those are forgotten that nobody has asked for lately …
pub(super) const REMEMBERED: usize = 10_000;
/// … and looked for no more often than this.
const BETWEEN_CLEARINGS: Duration = Duration::from_secs(1);

/// What a message waits for whose file has no id yet.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dispatch) struct Wait {
    /// In words.
    pub(in crate::dispatch) waiting_for: String,
    pub(in crate::dispatch) look_again_in: Duration,
}

/// The files of a sender.
pub(super) struct Files {
    pub(super) known: HashMap<Name, Known>,
    /// How many of them there is nothing of yet.
    pub(super) waiting: usize,
    /// How many are looked at, or wait for their turn.
    pub(super) under_way: usize,
    /// How its provider is reached now.
    pub(super) endpoint: Arc<Endpoint>,
    /// Until then nothing is uploaded: its provider said so.
    pub(super) rest: Option<Rest>,
    /// Its token lets nobody in. It is asked for no file while it is held, so whoever asks has heard of that, and of its end.
    pub(super) is_refused: bool,
    /// When the last of those looks again for whose files there was no room.
    pub(super) line_ends: Instant,
    pub(super) next_change: Instant,
    pub(super) next_clearing: Instant,
}

/// That no files are wanted.
pub(super) struct Rest {
    pub(super) until: Instant,
    pub(super) why: String,
}

/// Who keeps what is uploaded, and the name of a file.
pub(super) type Name = (String, String);

/// What is known of a file.
pub(super) struct Known {
    pub(super) found: Found,
    /// From then on it is looked at again; none while it is.
    pub(super) until: Option<Instant>,
    /// As it was when it was read.
    pub(super) stamp: Option<Stamp>,
    /// How often in a row it could not be uploaded, and why at last.
    pub(super) failures: u32,
    pub(super) why: Option<String>,
    /// Who will say what is in it, where its disk has not answered.
    pub(super) late: Option<Answer<Looked>>,
}

#[derive(Clone)]
pub(super) enum Found {
    /// Nothing yet.
    Nothing,
    /// What messages name it by.
    Id(String),
    /// Why messages cannot name it.
    Unusable(String),
}

impl Files {
    pub(super) fn of(endpoint: Arc<Endpoint>, now: Instant) -> Self {
        Self {
            known: HashMap::new(),
            waiting: 0,
            under_way: 0,
            endpoint,
            rest: None,
            is_refused: false,
            line_ends: now,
            next_change: now,
            next_clearing: now,
        }
    }

    /// Whether a file is to be fetched, for the first time or again. From then on it is under way.
    pub(super) fn begins(&mut self, name: &Name, now: Instant) -> bool {
        if self.rests(now).is_some() {
            return false;
        }
        if !self.known.contains_key(name) {
            if !self.has_room(now) {
                return false;
            }
            self.known.insert(name.clone(), Known::at(now));
            self.waiting += 1;
        }
        let Some(one) = self.known.get_mut(name) else {
            return false;
        };
        // What there is something of can do without a look while many wait.
        let has_place = one.is_waiting() || self.under_way < WAIT_AT_MOST;
        let begins = has_place && one.until.is_some_and(|until| until <= now);
        if begins {
            one.until = None;
            self.under_way += 1;
        }
        begins
    }

    pub(super) fn ready(&mut self, name: &Name, now: Instant) -> Result<(), Wait> {
        let rest = self.rest.as_ref().filter(|rest| rest.until > now);
        let (until, why) = (rest.map(|rest| rest.until), rest.map(|rest| &rest.why));
        let Some(one) = self.known.get(name) else {
            let waiting_for = waiting_for(why, ", behind those of many others");
            let left = until.map(|until| until.saturating_duration_since(now));
            let soonest = left
                .unwrap_or_default()
                .clamp(LOOK_AGAIN_IN, LOOK_AGAIN_WITHIN);
            self.line_ends = self.line_ends.max(now + soonest) + BETWEEN_LOOKS;
            return Err(Wait {
                waiting_for,
                look_again_in: self.line_ends - now,
            });
        };
        let is_ready = match one.found {
            Found::Nothing => false,
            Found::Id(_) => true,
            // While it is looked at again, for it may have been mended, what is on its way out keeps the reason.
            Found::Unusable(_) => one.until.is_some(),
        };
        if is_ready {
            return Ok(());
        }
        let until = one.until.max(until);
        let left = until.map(|until| until.saturating_duration_since(now));
        let soonest = LOOK_AGAIN_IN + LATER_FOR_EACH * self.waiting as u32;
        Err(Wait {
            waiting_for: waiting_for(one.why.as_ref().or(why), ""),
            look_again_in: left.unwrap_or_default().clamp(soonest, LOOK_AGAIN_WITHIN),
        })
    }

    pub(super) fn rests(&self, now: Instant) -> Option<Instant> {
        let until = self.rest.as_ref().map(|rest| rest.until);
        until.filter(|until| *until > now)
    }

    /// Whether one more file can be remembered; if need be, another is forgotten.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        if self.known.len() >= REMEMBERED && now >= self.next_clearing {
            self.next_clearing = now + BETWEEN_CLEARINGS;
            // Not those that a message which is on its way out may still name.
            self.known
                .retain(|_, one| one.until.is_none_or(|until| until + LEAVE_WITHIN > now));
            self.waiting = self.known.values().filter(|one| one.is_waiting()).count();
        }
        if self.known.len() >= REMEMBERED {
            return false;
        }
        if self.waiting >= WAIT_AT_MOST && now >= self.next_change {
            self.next_change = now + BETWEEN_CHANGES;
            let rest = (self.known.iter())
                .filter(|(_, one)| one.is_waiting() && one.until.is_some() && one.late.is_none());
            let longest = rest.max_by_key(|(_, one)| one.until);
            if let Some(name) = longest.map(|(name, _)| name.clone()) {
                self.known.remove(&name);
                self.waiting -= 1;
            }
        }
        self.waiting < WAIT_AT_MOST
    }

    /// Where a file is to be uploaded, and how it was when it was read last; nothing where it is not to be uploaded any more: much may have
    /// been said since it was asked for.
    pub(super) fn takes_its_turn(
        &mut self,
        name: &Name,
        now: Instant,
    ) -> Option<(Arc<Endpoint>, Option<Stamp>)> {
        let is_wanted = !self.is_refused && self.endpoint.keeper() == name.0;
        let not_before = self.rests(now).or((!is_wanted).then_some(now));
        let one = self.known.get_mut(name)?;
        if not_before.is_some() {
            one.until = not_before;
            self.under_way -= 1;
            return None;
        }
        Some((Arc::clone(&self.endpoint), one.stamp))
    }

    /// Takes in what came of a fetch, and when the file is looked at again.
    pub(super) fn take_in(
        &mut self,
        name: &Name,
        got: Result<Option<(String, Stamp)>, MediaError>,
        until: Instant,
    ) {
        self.under_way -= 1;
        let Some(one) = self.known.get_mut(name) else {
            return;
        };
        one.until = Some(until);
        let found = match got {
            Ok(None) => one.found.clone(),
            Ok(Some((id, stamp))) => {
                one.stamp = Some(stamp);
                Found::Id(id)
            }
            Err(MediaError::Unusable(why)) => {
                one.stamp = None;
                Found::Unusable(why)
            }
            Err(MediaError::NotNow { .. } | MediaError::Store(_)) => {
                // What is known of it still holds.
                one.stamp = None;
                return;
            }
        };
        self.waiting -= usize::from(one.is_waiting());
        one.found = found;
        (one.failures, one.why) = (0, None);
    }
}

impl Known {
    /// Nothing is known of it, and it is looked at from then on.
    pub(super) fn at(until: Instant) -> Self {
        Self {
            found: Found::Nothing,
            until: Some(until),
            stamp: None,
            failures: 0,
            why: None,
            late: None,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.found, Found::Nothing)
    }
}

pub(super) fn waiting_for(why: Option<&String>, place: &str) -> String {
    match why {
        Some(why) => format!("the upload of its file: {why}"),
        None => format!("the upload of its file{place}"),
    }
}
