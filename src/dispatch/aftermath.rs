//! What the dispatcher learns when a request is over, and what it has done beside its loop.
//!
//! Everything that waits for the database is a task of its own that tells the loop when it is done.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::dispatcher::{Dispatcher, Event, TRY_AGAIN};
use super::given_up::either;
use super::sending::Answered;
use crate::crash::crash_point;
use crate::domain::id::{MessageId, SenderId};
use crate::domain::outcome::{HoldScope, Outcome, ThrottleScope};
use crate::domain::transition::{doubt_in_words, in_words, not_sent};
use crate::metrics::Going;
use crate::store::StoreError;
use crate::store::runtime::SenderRuntime;
use crate::throttle::Slowed;

impl Dispatcher {
    pub(super) fn hear(&mut self, event: Event) {
        match event {
            Event::Returned(answered) => self.learn(&answered),
            Event::Probe {
                sender,
                epoch,
                of,
                begun,
            } => self.hear_probe(&sender, epoch, of, begun),
            Event::Forget(messages) => {
                for (sender, id) in messages {
                    if let Some(desk) = self.desks.get_mut(&sender) {
                        desk.forget(id);
                    }
                }
            }
            Event::Unsent(claims) => self.unsent.extend(claims),
            Event::SlowedUnsaid(senders) => self.say_slowed_again(&senders),
        }
    }

    fn say_slowed_again(&mut self, senders: &[SenderId]) {
        for sender in senders {
            if let Some(desk) = either(&mut self.desks, &mut self.given_up, sender) {
                desk.is_slowed_anew = true;
            }
        }
    }

    /// A request is over: its place is free, and its sender may have learned something.
    fn learn(&mut self, answered: &Answered) {
        let (recipient, outcome) = (answered.recipient.as_str(), &answered.outcome);
        let (now, wall) = (Instant::now(), self.wall(&self.taken_up));
        let Some(desk) = either(&mut self.desks, &mut self.given_up, &answered.sender) else {
            return;
        };
        let accepted = matches!(outcome, Outcome::Accepted(_));
        let tried = desk.resting.came_back(answered.id, accepted);
        desk.places.free();
        let (way, before) = (&answered.way, self.breakers.is_closed(&answered.way));
        self.breakers.learned(way, outcome.into(), now);
        match (before, self.breakers.is_closed(way)) {
            (true, false) => say_opened(way),
            (false, true) => info!("Connections to {way} can be made again"),
            (true, true) | (false, false) => {}
        }
        if !accepted {
            desk.may_have_one_back();
        }
        match outcome {
            Outcome::Accepted(_) => desk.throttle.learn_accepted(recipient, now),
            Outcome::Throttled { .. } => self.learn_throttled(answered, now, wall),
            Outcome::Held {
                scope: HoldScope::Sender,
                error,
            } => {
                desk.hold(now);
                desk.last_error = Some((in_words(error), wall));
                self.unsent.extend(desk.unsent());
            }
            Outcome::Held {
                scope: HoldScope::Template,
                error,
            }
            | Outcome::Rejected(error)
            | Outcome::Transient { error, .. } => {
                desk.last_error = Some((in_words(error), wall));
            }
            Outcome::NotSent(cause) => desk.last_error = Some((not_sent(*cause).to_owned(), wall)),
            Outcome::Uncertain(doubt) => desk.last_error = Some((doubt_in_words(doubt), wall)),
        }
        self.learn_of_holds(answered, &tried, now);
    }

    /// WhatsApp said that somebody is too fast. What is meant for an account is meant for all senders with its credential.
    fn learn_throttled(&mut self, answered: &Answered, now: Instant, wall: OffsetDateTime) {
        let Outcome::Throttled {
            scope,
            retry_after,
            error,
        } = &answered.outcome
        else {
            return;
        };
        let Some(desk) = either(&mut self.desks, &mut self.given_up, &answered.sender) else {
            return;
        };
        let credential = desk.credential.clone();
        for desk in self.desks.values_mut().chain(self.given_up.values_mut()) {
            let is_meant = match scope {
                ThrottleScope::Account => desk.credential == credential,
                ThrottleScope::Sender | ThrottleScope::Pair => desk.sender == answered.sender,
            };
            if is_meant {
                let recipient = answered.recipient.as_str();
                desk.throttle
                    .learn_throttled(*scope, recipient, *retry_after, now);
                desk.is_slowed_anew |= *scope != ThrottleScope::Pair;
                desk.last_error = Some((in_words(error), wall));
            }
        }
    }

    /// What uploads of files have taught about their senders. One that went another way than its sender goes now says nothing of it.
    pub(super) fn learn_of_uploads(&mut self) {
        let (now, wall) = (Instant::now(), self.wall(&self.taken_up));
        for lesson in self.sending.media.lessons() {
            let Some(desk) = self.desks.get_mut(&lesson.sender) else {
                continue;
            };
            let is_its_way = |way: &Arc<_>| Arc::ptr_eq(way, &lesson.endpoint);
            if !desk.endpoint.as_ref().is_some_and(is_its_way) {
                continue;
            }
            let why = format!("a file could not be uploaded: {}", lesson.why);
            desk.last_error = Some((why, wall));
            if let Some(error) = lesson.hold() {
                desk.hold(now);
                let fingerprint = desk.resting.fingerprint();
                self.unsent.extend(desk.unsent());
                self.hold_sender(&lesson.sender, fingerprint, error);
            }
        }
    }

    /// What is to be written of how WhatsApp has slowed senders down.
    fn slowed_anew(&mut self) -> Vec<(SenderId, Slowed)> {
        let all = self.desks.values_mut().chain(self.given_up.values_mut());
        all.filter_map(|desk| {
            let is_new = std::mem::take(&mut desk.is_slowed_anew);
            let slowed = desk.throttle.slowed().filter(|_| is_new)?;
            Some((desk.sender.clone(), slowed))
        })
        .collect()
    }

    /// Has it written what WhatsApp said of the speed of senders, soon after it did: it must outlive us.
    pub(super) fn say_slowed(&mut self, now: Instant) {
        if now < self.say_slowed_after {
            return;
        }
        let slowed = self.slowed_anew();
        if slowed.is_empty() {
            return;
        }
        self.say_slowed_after = now + BETWEEN_SLOWED;
        let (store, tell) = (self.store.clone(), self.tell.clone());
        self.in_flight.spawn(async move {
            if let Err(error) = store.say_slowed(&slowed, now).await {
                unsaid(&error);
                let senders = slowed.into_iter().map(|(sender, _)| sender);
                let _ = tell.send(Event::SlowedUnsaid(senders.collect()));
            }
        });
    }

    /// The same at the end, for what was learned since. Whoever comes after us is told again where the database does not answer.
    pub(super) async fn say_slowed_at_last(&mut self) {
        let (slowed, now) = (self.slowed_anew(), Instant::now());
        if slowed.is_empty() {
            return;
        }
        let said = tokio::time::timeout(SAY_WITHIN, self.store.say_slowed(&slowed, now)).await;
        if let Ok(Err(error)) = said {
            unsaid(&error);
        }
    }

    /// Puts messages off in the database. They stay known until that is done, so that they are not read again meanwhile.
    pub(super) fn put_off(
        &self,
        messages: Vec<(SenderId, MessageId, OffsetDateTime, Cow<'static, str>)>,
    ) {
        if messages.is_empty() {
            return;
        }
        let (store, tell) = (self.store.clone(), self.tell.clone());
        self.in_flight.spawn(async move {
            let until: Vec<_> = messages
                .iter()
                .map(|(_, id, until, why)| (*id, *until, why.as_ref()))
                .collect();
            let put_off = store.put_off(&until).await;
            crash_point!("put-off.committed");
            if let Err(error) = put_off {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not put messages off; they are looked at again"
                );
            }
            let forget = messages.into_iter().map(|(sender, id, ..)| (sender, id));
            let _ = tell.send(Event::Forget(forget.collect()));
        });
    }

    /// Puts back into the queue what was begun and will not leave: it was never sent.
    pub(super) fn put_back_unsent(&mut self) {
        if self.unsent.is_empty() || Instant::now() < self.database_after {
            return;
        }
        let claims = std::mem::take(&mut self.unsent);
        let (store, tell) = (self.store.clone(), self.tell.clone());
        self.in_flight.spawn(async move {
            crash_point!("take-back.asked");
            let taken_back = store.take_back(&claims).await;
            crash_point!("take-back.committed");
            let told = match taken_back {
                Ok(_) => Event::Forget(
                    claims
                        .into_iter()
                        .map(|claim| (claim.sender, claim.id))
                        .collect(),
                ),
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not put unsent messages back; trying again"
                    );
                    tokio::time::sleep(TRY_AGAIN).await;
                    Event::Unsent(claims)
                }
            };
            let _ = tell.send(told);
        });
    }

    /// Puts all of it back and waits until that is written, for nobody comes after the loop who would try again.
    pub(super) async fn put_back_all(&mut self) {
        loop {
            while let Ok(event) = self.events.try_recv() {
                match event {
                    Event::Unsent(claims) => self.unsent.extend(claims),
                    Event::Returned(answered) => {
                        let wall = self.wall(&self.taken_up);
                        self.learn_throttled(&answered, Instant::now(), wall);
                    }
                    Event::SlowedUnsaid(senders) => self.say_slowed_again(&senders),
                    Event::Probe { .. } | Event::Forget(_) => {}
                }
            }
            if self.unsent.is_empty() {
                return;
            }
            match self.store.take_back(&self.unsent).await {
                Ok(_) => self.unsent.clear(),
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not put unsent messages back; trying again"
                    );
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// Says how the senders go, for people. Of one that stays idle that is said now and then: it is what they know.
    pub(super) fn say_how_it_goes(&mut self, now: Instant) {
        let Some(worker) = self.worker else { return };
        self.said += 1;
        let of_all = self.said.is_multiple_of(SAY_OF_ALL_EVERY);
        let wall = self.wall(&self.taken_up);
        let at = |instant: Instant| wall + instant.saturating_duration_since(now);
        let mut runtimes = Vec::with_capacity(self.desks.len());
        let mut going = Vec::with_capacity(self.desks.len());
        for desk in self.desks.values_mut() {
            let (breaker, breaker_until) = self.breakers.state(&desk.way, now);
            let last_error = desk.last_error.take();
            let figures = Going {
                rate_limit: desk.throttle.limit(now),
                in_flight: desk.places.taken(),
                ready: desk.at_hand(),
                breaker_open: breaker != "closed",
            };
            going.push((desk.sender.clone(), figures));
            let is_idle = desk.is_idle() && breaker == "closed" && last_error.is_none();
            if std::mem::replace(&mut desk.was_idle, is_idle) && is_idle && !of_all {
                continue;
            }
            runtimes.push(SenderRuntime {
                sender: desk.sender.as_str().to_owned(),
                epoch: desk.epoch,
                rate_now: desk.throttle.rate_now(now) as f64,
                rate_limit: figures.rate_limit,
                limit_source: desk.throttle.source(now),
                in_flight: desk.places.taken().try_into().unwrap_or(i32::MAX),
                at_hand: desk.at_hand().try_into().unwrap_or(i32::MAX),
                breaker,
                breaker_until: breaker_until.map(at),
                slow_until: desk.throttle.slow_until(now).map(at),
                last_error_at: last_error.as_ref().map(|(_, at)| *at),
                last_error: last_error.map(|(words, _)| words),
            });
        }
        self.sending.metrics.senders.say_going(going);
        if runtimes.is_empty() {
            return;
        }
        let store = self.store.clone();
        self.in_flight.spawn(async move {
            let said = tokio::time::timeout(SAY_WITHIN, store.say_runtime(worker, &runtimes)).await;
            if let Ok(Err(error)) = said {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "Could not say how the senders go"
                );
            }
        });
    }
}

fn unsaid(error: &StoreError) {
    warn!(
        error = error as &dyn std::error::Error,
        "Could not write down how fast WhatsApp lets senders go"
    );
}

/// Many answers come to what left at one speed.
const BETWEEN_SLOWED: Duration = Duration::from_millis(250);
/// Once in so many times it is said of all, more often than a reader calls the figures stale.
const SAY_OF_ALL_EVERY: u64 = 5;
/// Older figures are of no use.
const SAY_WITHIN: Duration = Duration::from_secs(2);

/// An outage is told when it begins and when it is over, and not for each message that meets it.
fn say_opened(way: &str) {
    warn!(
        "No connection can be made to {way}; its messages wait, and one finds out from time to time whether it is over (why: wa-outbox doctor)"
    );
}
