//! Makes one request and says what is to be written about it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::breaker::Probe;
use super::campaign::Content;
use super::checking::{Checking, Doubts};
use super::departures::Departure;
use super::media::Media;
use super::ownership::Trust;
use super::resting::template_of;
use crate::clock::{BootInstant, Clock};
use crate::crash::crash_point;
use crate::domain::hold::Fingerprint;
use crate::domain::id::{MessageId, SenderId};
use crate::domain::outcome::{ApiError, Doubt, HoldScope, Outcome};
use crate::domain::retry::RetryPolicy;
use crate::domain::token::TokenKey;
use crate::domain::transition::{Progress, Transition, doubt_in_words, not_sent};
use crate::metrics::{Metrics, SenderMeter};
use crate::provider::{Endpoint, Envelope, Expected, Gate, Payload, Provider, Recipient, Request};
use crate::store::claim::{Begun, Due};
use crate::store::record::{Account, Record};
use crate::tail::Tail;
use crate::throttle::Permit;
use crate::traces::{EndedTrace, LeavingTrace, Traces};

/// A message must start to leave within this long of its intent; later, nothing is sent.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// What every request needs.
pub struct Sending {
    /// Speaks to WhatsApp.
    pub provider: Arc<Provider>,
    /// Has the ids of files that messages name.
    pub media: Arc<Media>,
    /// Signs the callback token.
    pub token_key: TokenKey,
    /// How long to wait between attempts.
    pub retry: RetryPolicy,
    /// Tells how long it has been.
    pub clock: Clock,
    /// Whether this worker still owns its senders.
    pub trust: Arc<Trust>,
    /// What was sent although it is odd.
    pub doubts: Doubts,
    /// What is measured of each request.
    pub metrics: Arc<Metrics>,
    /// Where the course of an attempt is told.
    pub traces: Traces,
    /// Where it is told to those who watch.
    pub tail: Tail,
}

/// One begun attempt on its way out. Can be sent once: sending consumes it.
pub struct Errand {
    /// The message.
    pub due: Due,
    /// What it says, where its campaign says it.
    pub content: Option<Arc<Content>>,
    /// Its intent, as it was written down.
    pub begun: Begun,
    /// Where it goes.
    pub endpoint: Arc<Endpoint>,
    /// Which way ([`Endpoint::way`]).
    pub way: Arc<str>,
    /// How it is looked at before it goes.
    pub checking: Checking,
    /// Of the token that it goes with.
    pub fingerprint: Option<Arc<Fingerprint>>,
    /// How often in a row its recipient was answered with the pair limit.
    pub pair_strikes: u32,
    /// Whether it finds out if a connection can be made again.
    pub finds_out: bool,
    /// Its leave, if it is the one that finds out whether connections can be made again.
    pub probe: Option<Probe>,
    /// Counts the attempts of its sender.
    pub meter: Arc<SenderMeter>,
    /// How it has gone so far, where traces are told.
    pub trace: Option<LeavingTrace>,
}

/// Lets one request leave as long as all that made it right still holds.
pub struct WayOut {
    clock: Clock,
    trust: Arc<Trust>,
    /// Nothing leaves after this.
    leave_by: BootInstant,
    /// Whether the sender is still ours.
    ours: Arc<AtomicBool>,
    /// Its sender's, and those of its campaign. Unused if the request does not leave.
    permits: Vec<Permit>,
    departure: Departure,
    metrics: Arc<Metrics>,
    due_for: DueFor,
    left_at: Arc<OnceLock<Instant>>,
}

/// How long a message had been due at a moment, by the database's clock.
#[derive(Clone, Copy)]
pub struct DueFor {
    /// So long.
    pub waited: time::Duration,
    /// At this moment.
    pub by: Instant,
}

impl DueFor {
    /// How long it has been now. What the database's clock says is known to some milliseconds: a due time that lies ahead is as good as now.
    fn at(self, now: Instant) -> Duration {
        let waited = self
            .waited
            .saturating_add((now - self.by).try_into().unwrap_or_default());
        waited.try_into().unwrap_or_default()
    }
}

impl Gate for WayOut {
    fn is_open(&self) -> bool {
        let now = self.clock.boot();
        self.ours.load(Ordering::Acquire)
            && !now.has_reached(self.leave_by)
            && self.trust.holds_at(now)
    }

    fn left(&self) {
        let now = Instant::now();
        let late_by = self.permits.iter().map(|permit| permit.leaves(now)).min();
        self.departure.left(late_by.unwrap_or_default());
        if self.left_at.set(now).is_ok() {
            self.metrics
                .took
                .due_to_request
                .observe(self.due_for.at(now));
        }
    }
}

/// What came back from an errand.
pub struct Returned {
    /// To be learned from.
    pub answered: Answered,
    /// To be written.
    pub record: Record,
    /// To be told once that is written.
    pub trace: Option<EndedTrace>,
}

/// What an attempt teaches about more than its own message.
pub struct Answered {
    /// The message.
    pub id: MessageId,
    /// From this sender.
    pub sender: SenderId,
    /// To whom.
    pub recipient: String,
    /// As the application wrote it: it names the template.
    pub payload: String,
    /// Which way it went.
    pub way: Arc<str>,
    /// Its leave, if it is the one that finds out whether connections can be made again.
    pub probe: Option<Probe>,
    /// Of the token that it went with.
    pub fingerprint: Option<Arc<Fingerprint>>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Errand {
    /// Its content as the application, or its campaign, wrote it.
    fn says(&self) -> &str {
        let content = self.content.as_ref();
        content.map_or(&self.due.payload, |content| &content.payload)
    }
}

/// What holds a template where there is none that could be held is a verdict about the message: it would be sent again and again, for
/// nothing ever keeps it back.
fn unless_it_cannot_be_held(outcome: Outcome, payload: &str) -> Outcome {
    match outcome {
        Outcome::Held {
            scope: HoldScope::Template,
            error,
        } if !template_of(payload).is_some_and(|template| template.can_be_held()) => {
            Outcome::Rejected(error)
        }
        outcome => outcome,
    }
}

impl Sending {
    /// The way out of a request that has its permit.
    pub fn way_out(
        &self,
        leave_by: BootInstant,
        ours: Arc<AtomicBool>,
        permits: Vec<Permit>,
        departure: Departure,
        due_for: DueFor,
    ) -> WayOut {
        WayOut {
            clock: self.clock.clone(),
            trust: Arc::clone(&self.trust),
            leave_by,
            ours,
            permits,
            departure,
            metrics: Arc::clone(&self.metrics),
            due_for,
            left_at: Arc::default(),
        }
    }

    /// Makes the request of an errand.
    pub async fn send(&self, errand: Errand, way_out: WayOut) -> Returned {
        let receipts: Vec<_> = way_out.permits.iter().map(Permit::receipt).collect();
        let left_at = Arc::clone(&way_out.left_at);
        crash_point!("send.leaving");
        let outcome = self.outcome_of(&errand, way_out).await;
        let outcome = unless_it_cannot_be_held(outcome, errand.says());
        crash_point!("send.answered");
        let now = Instant::now();
        if let Some(left_at) = left_at.get() {
            self.metrics.took.request.observe(now - *left_at);
        }
        errand.meter.attempted(&outcome, self.clock.now());
        receipts.iter().for_each(|receipt| receipt.answered(now));
        let Errand {
            due,
            content,
            begun,
            pair_strikes,
            finds_out,
            way,
            probe,
            fingerprint,
            trace,
            ..
        } = errand;
        let trace = trace.map(|trace| {
            let about = (&due.sender, due.id, begun.attempt);
            trace.ended(about, left_at.get().copied(), now, &outcome)
        });
        let progress = Progress {
            attempts: begun.attempts.max(0) as u32,
            pair_strikes,
            finds_out,
        };
        let transition = Transition::of(&outcome, progress, &self.retry);
        debug!(message.id = due.id.0, sender.id = %due.sender, outcome = outcome.name(), "Attempt {} of message {} ended", begun.attempt.0, due.id);
        let record = Record {
            id: due.id,
            sender: due.sender.clone(),
            attempt: begun.attempt,
            begun_at: begun.begun_at,
            era: begun.era,
            transition,
            account: account_of(&outcome),
        };
        let answered = Answered {
            id: due.id,
            sender: due.sender,
            recipient: due.recipient,
            payload: content.map_or(due.payload, |content| content.payload.clone()),
            way,
            probe,
            fingerprint,
            outcome,
        };
        Returned {
            answered,
            record,
            trace,
        }
    }

    async fn outcome_of(&self, errand: &Errand, way_out: WayOut) -> Outcome {
        let refused = |why: String| {
            Outcome::Rejected(ApiError {
                title: Some(why),
                ..ApiError::default()
            })
        };
        let filled = (errand.content.as_ref())
            .map(|content| content.fill(errand.due.variables.as_deref()))
            .transpose();
        let filled = match filled {
            Ok(filled) => filled,
            Err(why) => return refused(why),
        };
        let filled = filled.as_deref().unwrap_or(&errand.due.payload);
        let endpoint = &errand.endpoint;
        let with_media = match self
            .media
            .fill(&errand.due.sender, filled, endpoint)
            .transpose()
        {
            Ok(with_media) => with_media,
            Err(why) => return refused(why),
        };
        let text = with_media.as_deref().unwrap_or(filled);
        let payload = match Payload::parse(text) {
            Ok(payload) => payload,
            Err(error) => return refused(error.to_string()),
        };
        let (due, checking) = (&errand.due, errand.checking);
        if let Err(why) = checking.look(text, &due.recipient_kind, &due.sender, &self.doubts) {
            return refused(why);
        }
        let own = payload.callback_data();
        let issued = endpoint.carries_token.then(|| {
            self.token_key.in_era(errand.begun.era).issue(
                due.id,
                errand.begun.attempt,
                own.as_deref(),
            )
        });
        let token = match issued.transpose() {
            Ok(token) => token,
            Err(error) => return refused(error.to_string()),
        };
        let recipient = match due.recipient_kind.as_str() {
            "user" => Recipient::User(&due.recipient),
            "group" => Recipient::Group(&due.recipient),
            _ => Recipient::Phone(&due.recipient),
        };
        let envelope = endpoint.kind.capabilities().envelope;
        let request = Request {
            endpoint,
            target: endpoint.target_of(&payload),
            body: payload.compose(envelope, &recipient, token.as_deref()),
            expected: match (payload.is_mark_as_read(), envelope) {
                (false, _) => Expected::Message(recipient),
                (true, Envelope::Cloud) => Expected::MarkAsRead,
                (true, Envelope::OnPremises) => Expected::BareMarkAsRead,
            },
        };
        self.provider.send(&request, way_out).await
    }
}

/// The row that tells people about it; none for a plain acceptance.
pub(super) fn account_of(outcome: &Outcome) -> Option<Account> {
    let outcome_name = outcome.name();
    let (error, note) = match outcome {
        Outcome::Accepted(_) => return None,
        Outcome::NotSent(cause) => (ApiError::default(), Some(not_sent(*cause).to_owned())),
        Outcome::Uncertain(doubt) => {
            let error = match doubt {
                Doubt::ServerFailed(error) => error.clone(),
                _ => ApiError::default(),
            };
            (error, Some(doubt_in_words(doubt)))
        }
        Outcome::Rejected(error)
        | Outcome::Throttled { error, .. }
        | Outcome::Held { error, .. }
        | Outcome::Transient { error, .. } => (error.clone(), None),
    };
    let named = match outcome {
        Outcome::Uncertain(Doubt::NamedInFailure { wamid, .. }) => wamid.as_ref(),
        _ => None,
    };
    let named = named.map(|wamid| format!("its id: {}", wamid.reveal()));
    let began = (outcome.excerpt()).map(|excerpt| format!("the answer began: {excerpt}"));
    let notes: Vec<String> = note.into_iter().chain(named).chain(began).collect();
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Some(Account {
        outcome: outcome_name,
        error,
        note,
    })
}

#[cfg(test)]
#[path = "sending_tests.rs"]
mod tests;
