//! Begins attempts: writes down what may leave within the next moment, before it may.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::breaker::Verdict;
use super::departures::Departure;
use super::desk::{Chosen, Ready};
use super::dispatcher::Dispatcher;
use super::given_up::either;
use super::sending::LEAVE_WITHIN;
use super::telling;
use crate::clock::BootInstant;
use crate::crash::crash_point;
use crate::domain::event::EventKind;
use crate::domain::id::MessageId;
use crate::store::StoreError;
use crate::store::claim::{Begun, Claim};

/// So far ahead of its time a message is begun, beside what two begins were seen to take: one at a time is under way, so what the first has
/// begun must last until the second is over.
const HEAD_START: Duration = Duration::from_millis(10);
/// A begin that takes longer does not make us begin further ahead.
const LONGEST_BEGIN_AHEAD: Duration = Duration::from_millis(100);

/// A begin under way.
pub(super) struct Beginning {
    pub(super) task: JoinHandle<Result<Vec<Begun>, StoreError>>,
    messages: HashMap<MessageId, (Chosen, Departure)>,
    claims: Vec<Claim>,
    leave_by: BootInstant,
    since: Instant,
}

impl Dispatcher {
    /// Starts a begin of everything that may leave within the next moment, in one statement.
    pub(super) fn start_begin(&mut self, now: Instant) {
        let unwritten = self.recorder.unwritten();
        if self.beginning.is_some()
            || now < self.begin_after
            || unwritten > self.settings.max_unwritten
            || self.desks.values().all(|desk| desk.at_hand() == 0)
        {
            return;
        }
        let asked_at = self.sending.clock.boot();
        let Some(worker) = self
            .worker
            .filter(|_| self.sending.trust.holds_at(asked_at))
        else {
            return;
        };
        let wall = self.wall(&self.taken_up);
        let horizon = HEAD_START + 2 * self.begin_takes.min(LONGEST_BEGIN_AHEAD);
        let mut on_the_way: HashMap<Arc<str>, usize> = HashMap::new();
        for desk in self.desks.values() {
            *on_the_way.entry(Arc::clone(&desk.way)).or_default() += desk.on_the_way();
        }
        let (mut leaving, mut put_off, mut aside) = (Vec::new(), Vec::new(), Vec::new());
        for desk in self.desks.values_mut() {
            if desk.at_hand() == 0 {
                continue;
            }
            let out = on_the_way.entry(Arc::clone(&desk.way)).or_default();
            let (at_most, probe) = match self.breakers.may_begin(&desk.way, now) {
                Verdict::Closed { at_most } => {
                    (at_most.unwrap_or(usize::MAX).saturating_sub(*out), None)
                }
                Verdict::Probe(probe) => (1, Some(probe)),
                Verdict::Open { .. } => (0, None),
            };
            let mut picked = desk.pick(now, wall, horizon, at_most, &self.sending.media);
            if let Some(first) = picked.leaving.first_mut() {
                first.probe = probe;
            }
            *out += picked.leaving.len();
            leaving.extend(picked.leaving.into_iter().map(|one| (one, desk.epoch)));
            put_off.extend(
                picked
                    .put_off
                    .into_iter()
                    .map(|(id, until, why)| (desk.sender.clone(), id, until, why)),
            );
            aside.extend(
                picked
                    .aside
                    .into_iter()
                    .map(|(id, hold)| (desk.sender.clone(), id, hold)),
            );
        }
        self.put_off(put_off);
        self.set_aside(aside);
        if leaving.is_empty() {
            return;
        }
        self.begin_after = now + self.settings.tick;
        let claims: Vec<Claim> = leaving
            .iter()
            .map(|(Chosen { due, .. }, epoch)| Claim {
                id: due.id,
                sender: due.sender.clone(),
                epoch: *epoch,
                attempt: due.next_attempt(),
            })
            .collect();
        let (store, begin, due_in) = (
            self.store.clone(),
            claims.clone(),
            self.settings.answer_due_in,
        );
        let took = self.sending.metrics.took.begin.clone();
        self.beginning = Some(Beginning {
            messages: leaving
                .into_iter()
                .map(|(chosen, _)| {
                    let departure = self.departures.announce(&chosen.due.sender);
                    (chosen.due.id, (chosen, departure))
                })
                .collect(),
            claims,
            // Under the lease as it is now. If that lapses before the answer comes, another may hold the sender by then, and a
            // renewal that succeeds afterwards is a renewal of nothing.
            leave_by: (asked_at + LEAVE_WITHIN).min(self.sending.trust.ends_at()),
            since: now,
            // After its departures were announced.
            task: tokio::spawn(async move {
                let since = Instant::now();
                crash_point!("begin.asked");
                let begun = store.begin(worker, &begin, due_in).await;
                crash_point!("begin.committed");
                took.observe(since.elapsed());
                begun
            }),
        });
    }

    pub(super) fn take_begun(&mut self, begun: Result<Vec<Begun>, StoreError>) {
        let Some(mut beginning) = self.beginning.take() else {
            return;
        };
        for claim in &beginning.claims {
            if let Some(desk) = either(&mut self.desks, &mut self.given_up, &claim.sender) {
                desk.begin_ended(1);
                if begun.is_err()
                    && let Some((chosen, _)) = beginning.messages.get(&claim.id)
                {
                    desk.unused(chosen);
                }
            }
        }
        let begun = match begun {
            Ok(begun) => begun,
            Err(error) => {
                // It may have been committed all the same. Nothing of it is sent; it is put back before anything else. And it
                // may be committed later still: that is looked after by the reconciler.
                self.signals.suspect(&beginning.claims);
                self.unsent.extend(beginning.claims);
                self.database_failed(&error, "begin attempts");
                return;
            }
        };
        self.begin_takes = (self.begin_takes * 7 + beginning.since.elapsed()) / 8;
        let epochs: HashMap<MessageId, _> = beginning
            .claims
            .iter()
            .map(|claim| (claim.id, claim.epoch))
            .collect();
        let (leave_by, now) = (beginning.leave_by, Instant::now());
        self.tell_begun(&beginning, &begun);
        for begun in begun {
            let (Some((chosen, departure)), Some(epoch)) = (
                beginning.messages.remove(&begun.id),
                epochs.get(&begun.id).copied(),
            ) else {
                continue;
            };
            let desk = either(&mut self.desks, &mut self.given_up, &chosen.due.sender);
            let desk = desk.filter(|desk| desk.epoch == epoch);
            match desk {
                Some(desk) if desk.is_ours() && desk.lets_leave(&chosen, now) => {
                    desk.make_ready(Ready {
                        chosen,
                        begun,
                        leave_by,
                        departure,
                        trace: self.sending.traces.begun(beginning.since, now),
                    });
                }
                // The sender changed hands, or was held, or its campaign was paused, while its begin was under way.
                desk => {
                    if let Some(desk) = desk {
                        desk.unused(&chosen);
                    }
                    self.unsent.push(Claim {
                        id: chosen.due.id,
                        sender: chosen.due.sender,
                        epoch,
                        attempt: begun.attempt,
                    });
                }
            }
        }
        // Cancelled, settled, or of a sender that has changed hands.
        for (gone, _) in beginning.messages.into_values() {
            if let Some(desk) = either(&mut self.desks, &mut self.given_up, &gone.due.sender) {
                desk.forget(gone.due.id);
                desk.unused(&gone);
            }
        }
        if !self.stopping {
            self.let_go_what_may_leave();
        }
    }

    fn tell_begun(&self, beginning: &Beginning, begun: &[Begun]) {
        self.sending.tail.tell(|at| {
            let event = |begun: &Begun| {
                let (chosen, _) = beginning.messages.get(&begun.id)?;
                let sender = &chosen.due.sender;
                Some(telling::attempt(
                    at,
                    EventKind::Begun,
                    sender,
                    begun.id,
                    begun.attempt,
                ))
            };
            begun.iter().filter_map(event).collect::<Vec<_>>()
        });
    }
}
