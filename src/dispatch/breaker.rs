//! Stops trying where nothing can connect.
//!
//! A message that could not be handed to the network costs an attempt. While nothing can connect on a way (scheme, host and port, and
//! whose certificates must vouch for it), nothing is begun that goes there, so that an hour's outage costs a message no more than a
//! second's. From time to time one message finds out, which costs it no attempt; when it gets through, the others follow
//! slowly at first, so that whatever just came back is not run over by all that waited.
//!
//! Only connections count. What a provider answers, or that it does not answer, is the business of outcomes and limits.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::outcome::{Doubt, LostAnswer, NotSent, Outcome};
use crate::domain::retry::RetryPolicy;

/// So many in a row that could not connect, over no less than this time, and it opens. All that are out at one bad moment fail
/// together, and that alone is no outage.
const FAILURES: u32 = 5;
const FAILING_FOR: Duration = Duration::from_millis(500);
/// The probe is given up as lost after this long without news, and another may leave.
const PROBE_LOST_AFTER: Duration = Duration::from_secs(60);
/// How long a recovery takes: one request at once, doubled every second.
const RECOVERY: Duration = Duration::from_secs(10);
/// Ways in trouble that are remembered.
const MOST_WAYS: usize = 1_000;

/// Whether requests may be begun that go a way.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They may.
    Closed {
        /// So many out at once, all senders of this worker together; none = no limit of the breaker's.
        at_most: Option<usize>,
    },
    /// None may before then.
    Open {
        /// When to ask again.
        until: Instant,
    },
    /// Exactly one may.
    Probe(Probe),
}

/// The leave of one request to find out. It goes with it until what came of it is learned; where it is dropped before, because its message
/// was not begun or did not leave, another request may.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Probe(Arc<()>);

/// What a request tells about its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// There was a connection, whatever came of it.
    Connected,
    /// None could be made.
    NoConnection,
    /// Nothing: the request did not come so far.
    Nothing,
}

impl From<&Outcome> for Learned {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::NotSent(NotSent::NoConnection) => Self::NoConnection,
            Outcome::NotSent(NotSent::TooLate)
            | Outcome::Uncertain(Doubt::AnswerLost(LostAnswer::Swept)) => Self::Nothing,
            Outcome::NotSent(NotSent::ConnectionLost | NotSent::SessionEnded)
            | Outcome::Accepted(_)
            | Outcome::Rejected(_)
            | Outcome::Throttled { .. }
            | Outcome::Held { .. }
            | Outcome::Transient { .. }
            | Outcome::Uncertain(
                Doubt::AnswerLost(LostAnswer::TimedOut | LostAnswer::ConnectionLost)
                | Doubt::UnreadableAcceptance { .. }
                | Doubt::CutOff { .. }
                | Doubt::NamedInFailure { .. }
                | Doubt::AnswerOfAnother
                | Doubt::ServerFailed(_),
            ) => Self::Connected,
        }
    }
}

/// The breaker of one way.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// Gone as soon as the one that finds out is.
    probe: Weak<()>,
    /// Since when none could connect, while it is closed.
    failing_since: Option<Instant>,
    /// How often it opened without having recovered wholly in between.
    opened: u32,
    touched: Instant,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Everything may pass, or all that a recovery permits.
    Closed {
        failures: u32,
        recovering_since: Option<Instant>,
    },
    /// Nothing may pass.
    Open { until: Instant },
    /// One has left to find out.
    Probing { until: Instant },
}

impl Breaker {
    /// A closed one.
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Closed {
                failures: 0,
                recovering_since: None,
            },
            probe: Weak::new(),
            failing_since: None,
            opened: 0,
            touched: now,
        }
    }

    /// Whether requests may be begun now. [`Verdict::Probe`] is said once: it is the leave for one request.
    pub fn may_begin(&mut self, now: Instant) -> Verdict {
        self.touched = now;
        match self.state {
            State::Open { until } if now < until => Verdict::Open { until },
            State::Probing { until } if now < until && self.probe.strong_count() > 0 => {
                Verdict::Open { until }
            }
            State::Open { .. } | State::Probing { .. } => {
                let probe = Probe::default();
                self.probe = Arc::downgrade(&probe.0);
                self.state = State::Probing {
                    until: now + PROBE_LOST_AFTER,
                };
                Verdict::Probe(probe)
            }
            State::Closed {
                recovering_since, ..
            } => Verdict::Closed {
                at_most: recovering_since.and_then(|since| at_most(since, now)),
            },
        }
    }

    /// A request came back, or could not leave.
    pub fn learned(&mut self, learned: Learned, now: Instant) {
        self.touched = now;
        if learned == Learned::Connected {
            self.failing_since = None;
        }
        match (self.state, learned) {
            (State::Closed { failures, .. }, Learned::NoConnection)
                if failures + 1 >= FAILURES
                    && self
                        .failing_since
                        .is_some_and(|since| now >= since + FAILING_FOR) =>
            {
                self.open(now);
            }
            (
                State::Closed {
                    failures,
                    recovering_since,
                },
                Learned::NoConnection,
            ) => {
                self.failing_since.get_or_insert(now);
                self.state = State::Closed {
                    failures: failures + 1,
                    recovering_since,
                };
            }
            (
                State::Closed {
                    recovering_since, ..
                },
                Learned::Connected,
            ) => {
                let recovering_since =
                    recovering_since.filter(|since| at_most(*since, now).is_some());
                if recovering_since.is_none() {
                    self.opened = 0;
                }
                self.state = State::Closed {
                    failures: 0,
                    recovering_since,
                };
            }
            (State::Probing { .. }, Learned::Connected) => {
                self.state = State::Closed {
                    failures: 0,
                    recovering_since: Some(now),
                };
            }
            (State::Probing { .. }, Learned::NoConnection) => self.open(now),
            // What left before it opened comes back. It is as old as its connection, and none is new.
            (State::Open { .. }, _)
            | (State::Probing { .. } | State::Closed { .. }, Learned::Nothing) => {}
        }
    }

    /// How it stands, for people.
    pub fn in_words(&self, now: Instant) -> String {
        match self.state {
            State::Open { until } => format!(
                "open: no connection can be made; one message tries again in {} s",
                until
                    .saturating_duration_since(now)
                    .as_millis()
                    .div_ceil(1_000)
            ),
            State::Probing { .. } => {
                "half open: one message finds out whether a connection can be made".to_owned()
            }
            State::Closed {
                failures,
                recovering_since,
            } => match recovering_since.and_then(|since| at_most(since, now)) {
                Some(at_most) => {
                    format!("closed: recovering, at most {at_most} requests at once")
                }
                None if failures > 0 => {
                    format!("closed: no connection could be made {failures} times in a row")
                }
                None => "closed: connections can be made".to_owned(),
            },
        }
    }

    fn open(&mut self, now: Instant) {
        self.opened = self.opened.saturating_add(1);
        self.state = State::Open {
            until: now + waits().delay(self.opened),
        };
    }

    /// Whether there is nothing to remember.
    fn is_plain(&self, now: Instant) -> bool {
        match self.state {
            State::Closed {
                failures,
                recovering_since,
            } => {
                failures == 0 && recovering_since.is_none_or(|since| at_most(since, now).is_none())
            }
            State::Open { .. } | State::Probing { .. } => false,
        }
    }
}

/// How long it stays open: about a second at first, twice as long each time, half a minute at most.
fn waits() -> RetryPolicy {
    RetryPolicy {
        first_delay: Duration::from_secs(1),
        factor: 2.0,
        max_delay: Duration::from_secs(30),
        jitter: 0.3,
        max_attempts: u32::MAX,
    }
}

/// How many may be out at once in a recovery; none when it is over.
fn at_most(since: Instant, now: Instant) -> Option<usize> {
    let recovered = now.saturating_duration_since(since);
    (recovered < RECOVERY).then(|| 1 << recovered.as_secs())
}

/// The breakers of all ways ([`crate::provider::Endpoint::way`]). Only those in trouble are kept.
#[derive(Debug, Default)]
pub struct Breakers {
    in_trouble: HashMap<String, Breaker>,
}

impl Breakers {
    /// See [`Breaker::may_begin`].
    pub fn may_begin(&mut self, way: &str, now: Instant) -> Verdict {
        match self.in_trouble.get_mut(way) {
            Some(breaker) => breaker.may_begin(now),
            None => Verdict::Closed { at_most: None },
        }
    }

    /// See [`Breaker::learned`].
    pub fn learned(&mut self, way: &str, learned: Learned, now: Instant) {
        if let Some(breaker) = self.in_trouble.get_mut(way) {
            breaker.learned(learned, now);
            if breaker.is_plain(now) {
                self.in_trouble.remove(way);
            }
        } else if learned == Learned::NoConnection {
            self.make_room(now);
            let mut breaker = Breaker::new(now);
            breaker.learned(learned, now);
            self.in_trouble.insert(way.to_owned(), breaker);
        }
    }

    /// Whether connections can be made this way, as far as we know: requests may pass, and none has to find that out.
    pub fn is_closed(&self, way: &str) -> bool {
        let breaker = self.in_trouble.get(way);
        breaker.is_none_or(|breaker| matches!(breaker.state, State::Closed { .. }))
    }

    /// How the breaker of a way stands, by the name that `wa.sender_runtime` knows, and until when if it is open.
    pub fn state(&self, way: &str, now: Instant) -> (&'static str, Option<Instant>) {
        match self.in_trouble.get(way).map(|breaker| breaker.state) {
            Some(State::Open { until }) if now < until => ("open", Some(until)),
            Some(State::Open { .. } | State::Probing { .. }) => ("half_open", None),
            Some(State::Closed { .. }) | None => ("closed", None),
        }
    }

    /// How the breaker of a way stands, for people.
    pub fn in_words(&self, way: &str, now: Instant) -> String {
        match self.in_trouble.get(way) {
            Some(breaker) => breaker.in_words(now),
            None => Breaker::new(now).in_words(now),
        }
    }

    /// Ways in trouble and how each stands, for people.
    pub fn in_trouble(&self, now: Instant) -> impl Iterator<Item = (&str, String)> {
        self.in_trouble
            .iter()
            .map(move |(way, breaker)| (way.as_str(), breaker.in_words(now)))
    }

    /// Where too many are in trouble, forgets the one that nobody has used for longest.
    fn make_room(&mut self, now: Instant) {
        if self.in_trouble.len() < MOST_WAYS {
            return;
        }
        self.in_trouble.retain(|_, breaker| !breaker.is_plain(now));
        let longest_unused = self
            .in_trouble
            .iter()
            .min_by_key(|(_, breaker)| breaker.touched)
            .map(|(way, _)| way.clone());
        if self.in_trouble.len() >= MOST_WAYS
            && let Some(way) = longest_unused
        {
            self.in_trouble.remove(&way);
        }
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
