//! What a message that has not ended waits for, and for how long: the one true sentence, from what is stored about it, its
//! sender, its sequence and its evidence clock.
//!
//! `wa.messages` knows what it waits for in words. What is told here beside that must be looked up in rows of others, each of them
//! by its key and counted to a bound: a look costs the same whatever is queued. Who may not read those rows is told what the view
//! says.

use time::OffsetDateTime;

use super::message::{standing, stopped, without_stop};
use super::sender::{Doing, Reading, counted, rate};
use super::sequence::behind;
use super::time::{age, span};
use super::veil::Veil;
use crate::domain::id::{MessageId, SenderId};
use crate::domain::mask::Eyes;
use crate::store::message::{Message, Place};
use crate::store::sequence::{SequenceKey, SequenceStanding};
use crate::store::summary::SenderStanding;
use crate::store::uncertain::{EvidenceClock, UncertainPolicy};
use crate::store::{Store, StoreError};

/// What is known beside the message itself.
#[derive(Default)]
pub struct Reason {
    sender: Option<SenderStanding>,
    place: Option<Place>,
    clock: Option<EvidenceClock>,
    sequence: Option<SequenceStanding>,
}

impl Reason {
    /// Looks up what has to do with a message in its state.
    ///
    /// `policy` is what workers do where neither message nor sender says, as far as their settings are the same here. `eyes` have seen
    /// the message, and see no more of what is looked up.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn of(
        store: &Store,
        policy: UncertainPolicy,
        message: &Message,
        eyes: Eyes,
    ) -> Result<Self, StoreError> {
        let id = MessageId(message.id);
        let mut reason = Self::default();
        if matches!(message.state.as_str(), "queued" | "sending" | "uncertain") {
            let sender = SenderId::from(message.sender.as_str());
            reason.sender = allowed(store.sender_standings(Some(&sender)).await)?
                .and_then(|mut found| found.pop())
                .veiled(eyes);
        }
        match message.state.as_str() {
            "queued" | "sending" => reason.place = allowed(store.place(id).await)?.flatten(),
            "uncertain" => {
                reason.clock = allowed(store.evidence_clock(id, policy).await)?.flatten();
            }
            "waiting" => {
                reason.place = allowed(store.place(id).await)?.flatten();
                reason.sequence = line(store, message).await?.veiled(eyes);
            }
            _ => {}
        }
        Ok(reason)
    }

    /// Where the message stands and why.
    pub fn sentence(&self, message: &Message, now: OffsetDateTime) -> String {
        let told = match message.state.as_str() {
            "queued" if message.due_at <= self.now(now) => self.due(message),
            "sending" => self.sending(message, now),
            "uncertain" => self.uncertain(message, now),
            "waiting" => self.waiting(message, now),
            _ => None,
        };
        told.unwrap_or_else(|| standing(message, now)) + &expiry(message, now)
    }

    /// By the database's clock, which decides what is due, where that was read.
    fn now(&self, ours: OffsetDateTime) -> OffsetDateTime {
        self.sender.as_ref().map_or(ours, |sender| sender.now)
    }

    /// One that may leave now: what keeps its sender, else how many leave before it.
    fn due(&self, message: &Message) -> Option<String> {
        let id = message.id;
        let awaited = message.waiting_for.as_deref().unwrap_or("its turn");
        let reading = Reading(self.sender.as_ref()?);
        // What its row, its campaign or its template says comes first.
        let is_of_sender = ["its turn", "a worker:", "its sender, held"]
            .iter()
            .any(|start| awaited.starts_with(start));
        let is_problem =
            |problem: &String| awaited == Eyes::CLOSED.text(problem) || awaited == problem;
        if !is_of_sender && !reading.0.problem.as_ref().is_some_and(is_problem) {
            return None;
        }
        match reading.doing() {
            Doing::Held
            | Doing::WithoutWorker
            | Doing::Stopped
            | Doing::Unheard
            | Doing::Unreachable
            | Doing::SlowedDown => Some(stopped(&format!(
                "Message {id} is queued; its sender {}",
                reading.says()
            ))),
            Doing::Idle | Doing::Sending => self.in_line(id, awaited, reading),
        }
    }

    fn in_line(&self, id: i64, awaited: &str, reading: Reading<'_>) -> Option<String> {
        let place = self.place.as_ref()?;
        let awaited = without_stop(awaited);
        let awaited = awaited.strip_prefix("its turn").unwrap_or(awaited);
        let line = format!("Message {id} is queued and waits for its turn{awaited}");
        if place.ahead == 0 {
            return Some(format!("{line}: it is the next to leave."));
        }
        let urgent = match place.more_urgent {
            0 => String::new(),
            some if some == place.ahead => ", all of a more urgent priority".to_owned(),
            some => format!(", {} of them of a more urgent priority", counted(some)),
        };
        let limit = reading.0.rate_limit.filter(|limit| *limit > 0.0);
        let lasts = limit.filter(|_| !reading.is_stale()).map(|limit| {
            #[expect(clippy::cast_precision_loss, reason = "a count of at most 10,001")]
            let seconds = place.ahead as f64 / limit;
            let least = span(time::Duration::seconds_f64(seconds));
            format!("; at {} a second that takes {least}", rate(Some(limit)))
        });
        let (verb, noun) = match place.ahead {
            1 => ("leaves", "message"),
            _ => ("leave", "messages"),
        };
        Some(format!(
            "{line}: {} {noun} {verb} before it{urgent}{}.",
            counted(place.ahead),
            lasts.unwrap_or_default()
        ))
    }

    fn sending(&self, message: &Message, now: OffsetDateTime) -> Option<String> {
        let place = self.place.as_ref()?;
        let (id, attempt, begun_at) = (message.id, place.attempt?, place.begun_at?);
        let begun = format!(
            "Message {id} is being sent: request {attempt} was begun {}",
            age(begun_at, now)
        );
        if place.is_overdue != Some(true) {
            return Some(format!("{begun} and waits for its answer."));
        }
        let next = match self.sender.as_ref().is_some_and(|it| it.worker.is_some()) {
            true => "its sender's worker makes it uncertain soon",
            false => "it becomes uncertain as soon as a worker has its sender",
        };
        Some(format!(
            "{begun}, and its worker has not told how it ended; {next}."
        ))
    }

    fn uncertain(&self, message: &Message, now: OffsetDateTime) -> Option<String> {
        let clock = self.clock.as_ref()?;
        if message.waiting_for.as_deref()?.starts_with("a person") {
            return None;
        }
        let (id, policy) = (message.id, &clock.policy);
        let then = match clock.verdict.as_str() {
            "resend" => format!("it is sent again (its policy is {policy})"),
            "expire" => "it expires".to_owned(),
            _ if !clock.echoes => {
                "it is left to a person: its provider does not say which message a status is about"
                    .to_owned()
            }
            _ if policy == "retry" => "it is left to a person: it may not be sent again".to_owned(),
            _ => format!("it is left to a person (its policy is {policy})"),
        };
        let workers = self.sender.as_ref().map_or(1, |it| it.workers);
        let when = match clock.runs_out_at > now {
            _ if workers == 0 => "as soon as a worker runs again, ".to_owned(),
            true => format!("{} ", age(clock.runs_out_at, now)),
            false => "when the webhooks that came by now are applied, ".to_owned(),
        };
        let deaf = match clock.is_heard {
            true => "",
            false => " Nobody receives webhooks at the moment.",
        };
        Some(format!(
            "Message {id} is uncertain: the answer to request {} of {} was lost, and it may have reached WhatsApp. A webhook settles \
             it; without one, {when}{then}.{deaf}",
            clock.attempt,
            age(clock.begun_at, now)
        ))
    }

    fn waiting(&self, message: &Message, now: OffsetDateTime) -> Option<String> {
        let before = self
            .place
            .as_ref()
            .map_or(0, |place| place.before_in_sequence);
        let sentence = behind(self.sequence.as_ref()?, message.id, now)?;
        Some(match before {
            0 => sentence,
            1 => format!("{sentence} One more message of it comes before this one."),
            some => format!(
                "{sentence} Of it {} more messages come before this one.",
                counted(some)
            ),
        })
    }
}

/// When its time is over, for one that may still expire.
fn expiry(message: &Message, now: OffsetDateTime) -> String {
    let open = matches!(message.state.as_str(), "queued" | "waiting" | "uncertain");
    match message.expires_at.filter(|_| open) {
        Some(at) if at > now => format!(" It expires {}.", age(at, now)),
        Some(_) => " Its time has passed: it expires at a worker's next look.".to_owned(),
        None => String::new(),
    }
}

/// None where the role may not read it.
fn allowed<T>(found: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Err(error) if error.is_missing_right() => Ok(None),
        found => found.map(Some),
    }
}

/// The sequence that it waits in.
async fn line(store: &Store, message: &Message) -> Result<Option<SequenceStanding>, StoreError> {
    let Some(sequence) = message.sequence.clone() else {
        return Ok(None);
    };
    let key = SequenceKey {
        sender: message.sender.clone(),
        recipient: message.recipient.clone(),
        sequence,
    };
    store.sequence(&key).await
}
