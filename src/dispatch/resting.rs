//! What a desk keeps back because its sender or a template is held, and the single messages that try these holds.
//!
//! The database says who is held, and permits each trial; here is remembered which message it is. A trial that nothing is heard of
//! is forgotten after the time in which the database gives it up, so that it is asked again.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::desk::HOLD_SHOWS_WITHIN;
use super::ownership::Held;
use crate::domain::hold::{Fingerprint, PROBE_HEARD_WITHIN, TemplateKey};
use crate::domain::id::MessageId;
use crate::provider::Payload;
use crate::store::hold::SenderHold;
use crate::store::template_hold::{TemplateCause, TemplateHold};

/// A hold that is tried with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnTrial {
    /// That of the sender.
    Sender,
    /// One of a template, by its number.
    Template(i64),
}

/// Whether a message is kept back by its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is not.
    No,
    /// Its template is held, and it may try this hold.
    Tries(i64),
    /// It waits for this hold.
    Aside(i64),
    /// Its template was refused a moment ago.
    UntilItsHoldShows,
}

/// The holds of one sender and of its templates.
#[derive(Debug, Default)]
pub struct Resting {
    fingerprint: Option<Arc<Fingerprint>>,
    sender: Option<SenderHold>,
    templates: Vec<TemplateHold>,
    trials: HashMap<OnTrial, Trial>,
    /// Refused here; their holds have not been read back yet.
    refused: Vec<(TemplateKey, Instant)>,
}

#[derive(Debug)]
struct Trial {
    asked_at: Instant,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The database was asked.
    Asked,
    /// One message may leave.
    Granted,
    /// This one does.
    Out(MessageId),
    /// It was accepted: the hold ends as soon as that is read back.
    Won,
}

impl Resting {
    /// Takes up the holds as they stand. A trial ends with its hold, and where a person holds now.
    pub fn take_up(&mut self, held: &Held, now: Instant) {
        self.fingerprint.clone_from(&held.fingerprint);
        self.sender.clone_from(&held.sender_hold);
        self.templates.clone_from(&held.template_holds);
        let (sender, templates) = (&self.sender, &self.templates);
        self.trials.retain(|of, trial| {
            let is_machines = match of {
                OnTrial::Sender => sender.as_ref().is_some_and(|hold| hold.cause.is_probed()),
                OnTrial::Template(hold) => templates
                    .iter()
                    .any(|one| one.hold == *hold && one.cause != TemplateCause::Operator.as_str()),
            };
            is_machines && now < trial.asked_at + PROBE_HEARD_WITHIN
        });
        self.refused.retain(|(template, until)| {
            now < *until && !templates.iter().any(|hold| hold.covers(template))
        });
    }

    /// Of the token that requests carry now.
    pub fn fingerprint(&self) -> Option<Arc<Fingerprint>> {
        self.fingerprint.clone()
    }

    /// A hold of a template, if it stands.
    pub fn template_hold(&self, hold: i64) -> Option<&TemplateHold> {
        self.templates.iter().find(|one| one.hold == hold)
    }

    /// The holds whose trial is to be asked for now. Each is told once.
    pub fn wanted(&mut self, now: Instant) -> Vec<OnTrial> {
        let sender = self
            .sender
            .iter()
            .filter(|hold| hold.wants_probe(self.fingerprint.as_deref()))
            .map(|_| OnTrial::Sender);
        let templates = self
            .templates
            .iter()
            .filter(|hold| hold.is_probe_due)
            .map(|hold| OnTrial::Template(hold.hold));
        let wanted: Vec<_> = sender
            .chain(templates)
            .filter(|of| !self.trials.contains_key(of))
            .collect();
        for of in &wanted {
            let stage = Stage::Asked;
            self.trials.insert(
                *of,
                Trial {
                    asked_at: now,
                    stage,
                },
            );
        }
        wanted
    }

    /// The database's answer.
    pub fn answered(&mut self, of: OnTrial, begun: bool) {
        if !begun {
            self.trials.remove(&of);
        } else if let Some(trial) = self.trials.get_mut(&of) {
            trial.stage = Stage::Granted;
        }
    }

    /// Whether a message may leave to try this hold. What is left of the time must suffice for its answer.
    pub fn may_try(&self, of: OnTrial, now: Instant) -> bool {
        self.trials.get(&of).is_some_and(|trial| {
            trial.stage == Stage::Granted && now < trial.asked_at + PROBE_HEARD_WITHIN / 2
        })
    }

    /// This message tries these holds, and no other does.
    pub fn tries(&mut self, holds: impl Iterator<Item = OnTrial>, id: MessageId) {
        for of in holds {
            if let Some(trial) = self.trials.get_mut(&of) {
                trial.stage = Stage::Out(id);
            }
        }
    }

    /// Whether this hold is being tried, or about to be, or about to end.
    pub fn is_tried(&self, of: OnTrial) -> bool {
        self.trials.contains_key(&of)
    }

    /// Whether it is this message that tries the hold.
    pub fn is_trying(&self, of: OnTrial, id: MessageId) -> bool {
        self.trials
            .get(&of)
            .is_some_and(|trial| trial.stage == Stage::Out(id))
    }

    /// It did not leave: another one may try what it was to try.
    pub fn unused(&mut self, id: MessageId) {
        for trial in self.trials.values_mut() {
            if trial.stage == Stage::Out(id) {
                trial.stage = Stage::Granted;
            }
        }
    }

    /// It came back, accepted or not. Says which holds it has tried.
    pub fn came_back(&mut self, id: MessageId, accepted: bool) -> Vec<OnTrial> {
        let of_it = (self.trials.iter_mut()).filter(|(_, trial)| trial.stage == Stage::Out(id));
        let tried: Vec<_> = of_it
            .map(|(of, trial)| {
                trial.stage = Stage::Won;
                *of
            })
            .collect();
        if !accepted {
            self.trials.retain(|of, _| !tried.contains(of));
        }
        tried
    }

    /// A template was refused: nothing more of it leaves, before its hold is read back from the database.
    pub fn refuse(&mut self, template: TemplateKey, now: Instant) {
        self.refused.push((template, now + HOLD_SHOWS_WITHIN));
    }

    /// Whether a message with this content is kept back. Looks into it only where a template is held.
    pub fn keeps(&self, payload: &str, now: Instant) -> Kept {
        if self.templates.is_empty() && self.refused.is_empty() {
            return Kept::No;
        }
        let Some(template) = template_of(payload) else {
            return Kept::No;
        };
        let covering = || self.templates.iter().filter(|hold| hold.covers(&template));
        let waits_for = covering().find(|hold| !self.may_try(OnTrial::Template(hold.hold), now));
        let is_refused =
            |(refused, until): &(TemplateKey, Instant)| *refused == template && now < *until;
        match (waits_for, covering().next()) {
            (Some(hold), _) => Kept::Aside(hold.hold),
            (None, Some(hold)) => Kept::Tries(hold.hold),
            (None, None) if self.refused.iter().any(is_refused) => Kept::UntilItsHoldShows,
            (None, None) => Kept::No,
        }
    }
}

/// The template that this content names, if it is one.
pub fn template_of(payload: &str) -> Option<TemplateKey> {
    let template = Payload::parse(payload).ok()?.template()?;
    Some(TemplateKey::new(
        template.name,
        template.language.as_deref(),
    ))
}

#[cfg(test)]
#[path = "resting_tests.rs"]
pub(super) mod tests;
