//! What the dispatcher does about holds: makes them, sets messages aside for them, and tries them with one message.
//!
//! Like everything that waits for the database, each step is a task of its own. What is not written is not lost: the next message
//! finds the cause again, and a trial that nothing is heard of lapses.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{info, warn};

use super::dispatcher::{Dispatcher, Event};
use super::given_up::either;
use super::resting::{OnTrial, template_of};
use super::sending::Answered;
use crate::crash::crash_point;
use crate::domain::hold::{Fingerprint, Probed, TemplateKey, cause_of, probed, template_rest};
use crate::domain::id::{Epoch, MessageId, SenderId};
use crate::domain::outcome::{ApiError, HoldScope, Outcome};
use crate::domain::transition::in_words;
use crate::store::StoreError;
use crate::store::hold::{MACHINE, NewHold, ProbeEnd};
use crate::store::template_hold::{NewTemplateHold, TemplateCause, TemplateProbeEnd};

impl Dispatcher {
    /// Asks the database whether one message may try a hold, wherever it is time.
    pub(super) fn ask_for_probes(&mut self, now: Instant) {
        let Some(worker) = self.worker else { return };
        for desk in self.desks.values_mut() {
            for of in desk.resting.wanted(now) {
                let (store, tell) = (self.store.clone(), self.tell.clone());
                let (sender, epoch) = (desk.sender.clone(), desk.epoch);
                let token = desk.resting.fingerprint();
                self.in_flight.spawn(async move {
                    let begun = match of {
                        OnTrial::Sender => {
                            store.begin_probe(worker, &sender, token.as_deref()).await
                        }
                        OnTrial::Template(hold) => store.begin_template_probe(worker, hold).await,
                    };
                    let begun = begun.unwrap_or_else(|error| {
                        unwritten(&sender, &error, "begin a probe");
                        false
                    });
                    let _ = tell.send(Event::Probe {
                        sender,
                        epoch,
                        of,
                        begun,
                    });
                });
            }
        }
    }

    pub(super) fn hear_probe(&mut self, sender: &SenderId, epoch: Epoch, of: OnTrial, begun: bool) {
        if let Some(desk) = self.desks.get_mut(sender)
            && desk.epoch == epoch
        {
            desk.resting.answered(of, begun);
            if begun {
                desk.look_soon();
            }
        }
    }

    /// What an answer says of holds: of those that it tried, or that it makes.
    pub(super) fn learn_of_holds(&mut self, answered: &Answered, tried: &[OnTrial], now: Instant) {
        let mut tries_template = false;
        for of in tried {
            match of {
                OnTrial::Sender => self.end_probe(answered),
                OnTrial::Template(hold) => {
                    tries_template = true;
                    self.end_template_probe(answered, *hold);
                }
            }
        }
        match &answered.outcome {
            Outcome::Held {
                scope: HoldScope::Sender,
                error,
            } if !tried.contains(&OnTrial::Sender) => {
                self.hold_sender(&answered.sender, answered.fingerprint.clone(), error);
            }
            Outcome::Held {
                scope: HoldScope::Template,
                error,
            } if !tries_template => {
                self.hold_template(answered, TemplateCause::Answer, error, now);
            }
            Outcome::Rejected(error) if is_mismatch(error.code) && !tries_template => {
                self.count_mismatch(answered, error, now);
            }
            Outcome::Accepted(_) if !self.mismatches.is_empty() => {
                if let Some(template) = template_of(&answered.payload) {
                    self.mismatches.note_success(&answered.sender, &template);
                }
            }
            _ => {}
        }
    }

    fn count_mismatch(&mut self, answered: &Answered, error: &ApiError, now: Instant) {
        let Some(template) = template_of(&answered.payload) else {
            return;
        };
        let at = now.into_std();
        if self
            .mismatches
            .note_mismatch(&answered.sender, &template, at)
        {
            self.hold_template(answered, TemplateCause::Mismatch, error, now);
        }
    }

    /// Holds a sender in the database: sending has stopped for it already.
    pub(super) fn hold_sender(
        &self,
        sender: &SenderId,
        fingerprint: Option<Arc<Fingerprint>>,
        error: &ApiError,
    ) {
        let (store, sender) = (self.store.clone(), sender.clone());
        let refusal = Refusal::of(fingerprint, error);
        self.in_flight.spawn(async move {
            crash_point!("hold.asked");
            let held = store.hold_sender_for(&sender, &refusal.hold()).await;
            crash_point!("hold.committed");
            match held {
                Ok(true) => {
                    // Not in WhatsApp's words, which may name a recipient.
                    let why = refusal.in_our_words();
                    warn!(sender.id = %sender, "Sender {sender} held: {why}; release it with: wa-outbox sender release {sender}");
                }
                // It stands already, from a message that left together with this one.
                Ok(false) => {}
                Err(error) => unwritten(&sender, &error, "hold a sender"),
            }
        });
    }

    fn end_probe(&self, answered: &Answered) {
        let (store, sender) = (self.store.clone(), answered.sender.clone());
        let taught = probed(&answered.outcome, HoldScope::Sender);
        let refusal = error_of(&answered.outcome)
            .map(|error| Refusal::of(answered.fingerprint.clone(), error));
        self.in_flight.spawn(async move {
            let again = refusal.as_ref().map(Refusal::hold);
            let end = match (taught, &again) {
                (Probed::Accepted, _) => ProbeEnd::Accepted,
                (Probed::HeldAgain, Some(again)) => ProbeEnd::HeldAgain(again),
                (Probed::HeldAgain, None) | (Probed::Nothing, _) => ProbeEnd::Nothing,
            };
            match store.end_probe(&sender, end).await {
                Ok(_) => info!(sender.id = %sender, "Sender {sender} was tried with one message: {taught:?}"),
                Err(error) => unwritten(&sender, &error, "end a probe"),
            }
        });
    }

    /// Holds a template in the database; from now on nothing of it leaves here.
    fn hold_template(
        &mut self,
        answered: &Answered,
        cause: TemplateCause,
        error: &ApiError,
        now: Instant,
    ) {
        let Some(template) = template_of(&answered.payload) else {
            return;
        };
        if let Some(desk) = either(&mut self.desks, &mut self.given_up, &answered.sender) {
            desk.resting.refuse(template.clone(), now);
        }
        let (store, sender) = (self.store.clone(), answered.sender.clone());
        let (reason, code) = (in_words(error), error.code);
        self.in_flight.spawn(async move {
            let hold = NewTemplateHold {
                sender: &sender,
                template: &template,
                cause,
                reason: &reason,
                by: MACHINE,
                code,
                rest: Some(template_rest(code)),
            };
            let held = store.hold_template(&hold).await;
            crash_point!("hold.template-committed");
            match held {
                Ok(true) => say_template_held(&sender, &template, code),
                Ok(false) => {}
                Err(error) => unwritten(&sender, &error, "hold a template"),
            }
        });
    }

    fn end_template_probe(&mut self, answered: &Answered, hold: i64) {
        let (store, sender) = (self.store.clone(), answered.sender.clone());
        let error = error_of(&answered.outcome).cloned();
        // Where messages did not fit their template, one that does not fit either is the same refusal.
        let desk = either(&mut self.desks, &mut self.given_up, &sender);
        let was_mismatch = desk.is_some_and(|desk| {
            let held = desk.resting.template_hold(hold);
            held.is_some_and(|held| is_mismatch(held.code))
        });
        let fits_not = error.as_ref().is_some_and(|error| is_mismatch(error.code));
        let taught = match probed(&answered.outcome, HoldScope::Template) {
            Probed::Nothing if was_mismatch && fits_not => Probed::HeldAgain,
            taught @ (Probed::Accepted | Probed::HeldAgain | Probed::Nothing) => taught,
        };
        self.in_flight.spawn(async move {
            let again = error.map(|error| (in_words(&error), error.code));
            let end = match (taught, &again) {
                (Probed::Accepted, _) => TemplateProbeEnd::Accepted,
                (Probed::HeldAgain, Some((reason, code))) => TemplateProbeEnd::HeldAgain {
                    reason,
                    code: *code,
                    rest: template_rest(*code),
                },
                (Probed::HeldAgain, None) | (Probed::Nothing, _) => TemplateProbeEnd::Nothing,
            };
            match store.end_template_probe(hold, end).await {
                Ok(_) => info!(sender.id = %sender, "A template of sender {sender} was tried with one message: {taught:?}"),
                Err(error) => unwritten(&sender, &error, "end a probe"),
            }
        });
    }

    /// Sets messages of held templates aside. They stay known until that is done, so that they are not read again meanwhile.
    pub(super) fn set_aside(&self, messages: Vec<(SenderId, MessageId, i64)>) {
        if messages.is_empty() {
            return;
        }
        let (store, tell) = (self.store.clone(), self.tell.clone());
        self.in_flight.spawn(async move {
            let aside: Vec<_> = messages.iter().map(|(_, id, hold)| (*id, *hold)).collect();
            if let Err(error) = store.put_off_for_template(&aside).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not set messages of held templates aside; they are looked at again"
                );
            }
            let forget = messages.into_iter().map(|(sender, id, _)| (sender, id));
            let _ = tell.send(Event::Forget(forget.collect()));
        });
    }
}

/// An answer that holds a sender, kept until it is written.
struct Refusal {
    reason: String,
    code: Option<i64>,
    http_status: Option<u16>,
    fingerprint: Option<Arc<Fingerprint>>,
}

impl Refusal {
    fn of(fingerprint: Option<Arc<Fingerprint>>, error: &ApiError) -> Self {
        Self {
            reason: in_words(error),
            code: error.code,
            http_status: error.http_status,
            fingerprint,
        }
    }

    fn in_our_words(&self) -> String {
        let cause = cause_of(self.code, self.http_status);
        format!("{}{}", cause.in_words(), by_code(self.code))
    }

    fn hold(&self) -> NewHold<'_> {
        NewHold {
            cause: cause_of(self.code, self.http_status),
            reason: &self.reason,
            by: MACHINE,
            until: None,
            code: self.code,
            fingerprint: self.fingerprint.as_deref(),
        }
    }
}

fn error_of(outcome: &Outcome) -> Option<&ApiError> {
    match outcome {
        Outcome::Held { error, .. } | Outcome::Rejected(error) => Some(error),
        Outcome::Accepted(_)
        | Outcome::NotSent(_)
        | Outcome::Throttled { .. }
        | Outcome::Transient { .. }
        | Outcome::Uncertain(_) => None,
    }
}

/// The parameters do not fit the template in number (132000) or in format (132012; Meta, Error codes).
fn is_mismatch(code: Option<i64>) -> bool {
    matches!(code, Some(132000 | 132012))
}

/// Not in WhatsApp's words, which may name a recipient.
fn say_template_held(sender: &SenderId, template: &TemplateKey, code: Option<i64>) {
    let name = &template.name;
    let why = by_code(code);
    warn!(sender.id = %sender, "Template {name} of sender {sender} held: WhatsApp refuses it{why}; see: wa-outbox template list");
}

fn by_code(code: Option<i64>) -> String {
    code.map_or_else(String::new, |code| format!(" (code {code})"))
}

fn unwritten(sender: &SenderId, error: &StoreError, doing: &str) {
    warn!(
        sender.id = %sender,
        error = error as &dyn std::error::Error,
        "Could not {doing}"
    );
}
