//! How a sender stands: one sentence that says what keeps it, and the facts it rests on.
//!
//! The sentence names the first thing that stands in the way, from the outside in: a hold, no worker, a problem of the worker's,
//! no connection, an order to slow down. Only a sender that nothing stands in the way of sends, or has nothing to send.

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::facts::{Facts, thousands};
use super::time::{age, moment, span};
use crate::store::summary::{COUNTED_AT_MOST, SenderStanding};
use crate::store::template_hold::TemplateHold;

/// The owner says each second how it goes. What is older than this is not how it goes now.
const STALE_AFTER: Duration = Duration::seconds(10);
/// A due message that has waited longer, for something other than its turn, is worth a person's look.
const STUCK_AFTER: Duration = Duration::minutes(1);

/// What a sender does, or what stands in its way. Scripts may build on these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Nothing may leave.
    Held,
    /// Nobody works it.
    WithoutWorker,
    /// Its worker cannot send for it.
    Stopped,
    /// Its worker has not been heard of.
    Unheard,
    /// No connection can be made.
    Unreachable,
    /// It was told to slow down.
    SlowedDown,
    /// There is nothing to send.
    Idle,
    /// It sends.
    Sending,
}

/// A standing, read at its own time.
#[derive(Clone, Copy)]
pub struct Reading<'a>(pub &'a SenderStanding);

impl Reading<'_> {
    /// What it does, or what stands in its way.
    pub fn doing(self) -> Doing {
        let it = self.0;
        let is_ahead =
            |moment: Option<OffsetDateTime>| moment.is_some_and(|moment| moment > it.now);
        if self.hold().is_some() {
            Doing::Held
        } else if it.worker.is_none() {
            Doing::WithoutWorker
        } else if it.problem.is_some() {
            Doing::Stopped
        } else if it.due > 0 && self.is_stale() {
            Doing::Unheard
        } else if !self.is_stale() && it.breaker.as_deref().is_some_and(|is| is != "closed") {
            Doing::Unreachable
        } else if !self.is_stale() && is_ahead(it.slow_until) {
            Doing::SlowedDown
        } else if it.due == 0 && it.in_flight.is_none_or(|requests| requests == 0) {
            Doing::Idle
        } else {
            Doing::Sending
        }
    }

    /// Why it is held, while it is.
    pub fn hold(self) -> Option<&'static str> {
        let it = self.0;
        it.held_reason.as_ref()?;
        let over = it.held_until.is_some_and(|until| until <= it.now);
        (!over).then(|| {
            it.held_cause
                .as_deref()
                .and_then(|cause| cause.parse().ok())
                .unwrap_or(crate::domain::hold::Cause::Operator)
                .in_words()
        })
    }

    /// Whether the owner's figures are too old, or not there at all.
    pub fn is_stale(self) -> bool {
        self.0
            .said_at
            .is_none_or(|said_at| self.0.now - said_at > STALE_AFTER)
    }

    /// How long its oldest due message has waited for something other than its turn, where that is worth a look.
    pub fn stuck_for(self) -> Option<Duration> {
        let waits = self.0.now - self.0.oldest_due_at?;
        let moves = match self.doing() {
            Doing::Sending => self.0.rate_now.is_some_and(|rate| rate > 0.0),
            Doing::Idle => true,
            Doing::Held
            | Doing::WithoutWorker
            | Doing::Stopped
            | Doing::Unheard
            | Doing::Unreachable
            | Doing::SlowedDown => false,
        };
        (waits > STUCK_AFTER && !moves).then_some(waits)
    }

    /// The sentence, with its full stop.
    pub fn sentence(self) -> String {
        format!("Sender {} {}.", self.0.sender, self.says())
    }

    /// The sentence without its subject and its full stop.
    pub fn says(self) -> String {
        let says = match self.doing() {
            Doing::Held => self.held(),
            Doing::WithoutWorker if self.0.workers == 0 => {
                "waits for a worker: none runs; start one: wa-outbox run".to_owned()
            }
            Doing::WithoutWorker => {
                "waits for a worker: those that run have not taken it yet".to_owned()
            }
            Doing::Stopped => format!(
                "cannot be worked: {}",
                self.0.problem.as_deref().unwrap_or_default()
            ),
            Doing::Unheard => self.unheard(),
            Doing::Unreachable => self.unreachable(),
            Doing::SlowedDown => format!(
                "waits: WhatsApp told it to slow down{}",
                self.until(self.0.slow_until)
            ),
            Doing::Idle => self.idle(),
            Doing::Sending => format!(
                "sends {} of {} a second",
                rate(self.0.rate_now),
                rate(self.0.rate_limit)
            ),
        };
        says.trim_end_matches('.').to_owned()
    }

    fn held(self) -> String {
        let it = self.0;
        let reason = it.held_reason.as_deref().unwrap_or_default();
        let since = it.held_at.map_or_else(String::new, |since| {
            format!(" since {}", span(it.now - since))
        });
        let by = it.held_by.as_deref().unwrap_or("someone");
        let cause = match self.hold() {
            Some(cause) if it.held_cause.as_deref() != Some("operator") => {
                format!("{cause}: {reason}")
            }
            Some(_) | None => reason.to_owned(),
        };
        let code = it
            .held_code
            .filter(|code| !cause.contains(&code.to_string()))
            .map_or_else(String::new, |code| format!(" ({code})"));
        // There the reason ends in the way out.
        let way_out = match it.held_cause.as_deref() {
            Some("restore") => String::new(),
            Some(_) | None => format!("; {}", self.way_out()),
        };
        format!(
            "is held{since} by {by}: {}{code}{way_out}",
            cause.trim_end_matches('.')
        )
    }

    fn way_out(self) -> String {
        let it = self.0;
        let release = format!("release it: wa-outbox sender release {}", it.sender);
        if it.probing_until.is_some_and(|until| until > it.now) {
            return "it is trying one message at this moment".to_owned();
        }
        match (it.probe_at, it.held_until) {
            (Some(at), _) => format!(
                "it tries one message again {}, or at once when the token at {} changes",
                if at > it.now {
                    age(at, it.now)
                } else {
                    "with the next one that is due".to_owned()
                },
                it.credential
            ),
            (None, Some(until)) => format!("it goes on {}", age(until, it.now)),
            (None, None) => release,
        }
    }

    fn unheard(self) -> String {
        let it = self.0;
        let worker = it.worker.as_deref().unwrap_or_default();
        match it.said_at {
            Some(said_at) => format!(
                "is worked by {worker}, which last told {} how it goes",
                age(said_at, it.now)
            ),
            None => format!("is worked by {worker}, which has not told yet how it goes"),
        }
    }

    fn unreachable(self) -> String {
        let host = host_of(&self.0.base_url);
        if self.0.breaker.as_deref() == Some("half_open") {
            return format!("cannot connect to {host}: the circuit is open, one message is tried");
        }
        let next = self.0.breaker_until.map_or_else(String::new, |until| {
            format!(", next try {}", age(until, self.0.now))
        });
        format!("cannot connect to {host}: the circuit is open{next}")
    }

    fn idle(self) -> String {
        let it = self.0;
        if let Some(next) = it.next_due_at {
            let next = age(next, it.now);
            return format!("has nothing due; its next message is due {next}");
        }
        let kept_by = match (it.resting_campaigns, it.held_templates) {
            _ if it.queued == 0 => return "has nothing due".to_owned(),
            (0, 0) => return "has nothing due".to_owned(),
            (0, _) => "a template that is held",
            (_, 0) => "a campaign that does not run now",
            (_, _) => "a campaign that does not run now, or a template that is held",
        };
        let queued = counted_to(it.counted_at_most, it.queued);
        format!("has nothing due; what it has queued ({queued}) waits for {kept_by}")
    }

    fn until(self, moment: Option<OffsetDateTime>) -> String {
        moment.map_or_else(String::new, |moment| {
            format!(" for another {}", span(moment - self.0.now))
        })
    }

    /// The facts behind the sentence.
    pub fn facts(self, facts: &mut Facts, templates: &[TemplateHold]) {
        let it = self.0;
        let worker = it.worker.as_ref().map(|name| {
            let number = it
                .worker_id
                .map_or_else(String::new, |id| format!(" (worker {id})"));
            format!("{name}{number}")
        });
        facts.add("owner", worker.unwrap_or_else(|| "none".to_owned()));
        facts.add("epoch", it.epoch.to_string());
        facts.add("due", counted_to(it.counted_at_most, it.due));
        facts.add("queued", counted_to(it.counted_at_most, it.queued));
        facts.add_some("oldest due", it.oldest_due_at.map(|at| moment(at, it.now)));
        facts.add_some("next due", it.next_due_at.map(|at| moment(at, it.now)));
        self.figures(facts);
        if let (None, Some(at), Some(by)) = (self.hold(), it.released_at, &it.released_by) {
            let why = it.released_why.as_deref().unwrap_or_default();
            facts.add(
                "last hold",
                format!("released {} by {by}: {why}", age(at, it.now)),
            );
        }
        for hold in templates {
            facts.add("held template", template_in_words(hold, it.now));
        }
    }

    fn figures(self, facts: &mut Facts) {
        let it = self.0;
        let Some(said_at) = it.said_at else {
            facts.add("figures", "none: its owner has not told yet how it goes");
            return;
        };
        if self.is_stale() {
            facts.add("figures", format!("stale, of {}", moment(said_at, it.now)));
        }
        facts.add("rate now", format!("{} a second", rate(it.rate_now)));
        let source = it.limit_source.as_deref().unwrap_or_default();
        facts.add(
            "rate limit",
            format!("{} a second: {source}", rate(it.rate_limit)),
        );
        facts.add("requests out", number(it.in_flight));
        facts.add("at hand", number(it.at_hand));
        let breaker = it.breaker.as_deref().unwrap_or_default();
        let until = it
            .breaker_until
            .filter(|until| *until > it.now)
            .map_or_else(String::new, |until| {
                format!(", next try {}", age(until, it.now))
            });
        facts.add("circuit", format!("{}{until}", breaker.replace('_', " ")));
        if let Some(error) = &it.last_error {
            let at = it
                .last_error_at
                .map_or_else(String::new, |at| format!(" ({})", age(at, it.now)));
            facts.add("last error", format!("{error}{at}"));
        }
    }
}

/// A hold of a template in a line.
pub fn template_in_words(hold: &TemplateHold, now: OffsetDateTime) -> String {
    let language = hold.language.as_deref().unwrap_or("every language");
    let next = match (hold.is_probing, hold.held_until, hold.cause.as_str()) {
        (true, ..) => "; one message is being tried".to_owned(),
        (false, Some(until), "operator") => format!("; it goes on {}", age(until, now)),
        (false, Some(until), _) if until > now => format!("; tried again {}", age(until, now)),
        (false, Some(_), _) => "; tried again with the next message".to_owned(),
        (false, None, _) => String::new(),
    };
    format!(
        "{} ({language}), since {} by {}: {}{next}",
        hold.template,
        span(now - hold.held_at),
        hold.held_by,
        hold.reason
    )
}

/// A count that goes no further than [`COUNTED_AT_MOST`].
pub fn counted(count: i64) -> String {
    counted_to(COUNTED_AT_MOST, count)
}

/// A count that goes no further than a bound.
pub fn counted_to(at_most: i64, count: i64) -> String {
    if count >= at_most {
        format!("more than {}", thousands(at_most - 1))
    } else {
        thousands(count)
    }
}

/// A rate without needless digits.
pub fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "an unknown number".to_owned(),
        Some(rate) if (rate - rate.round()).abs() < 0.05 => format!("{rate:.0}"),
        Some(rate) => format!("{rate:.1}"),
    }
}

fn number(number: Option<i32>) -> String {
    number.map_or_else(|| "unknown".to_owned(), |number| number.to_string())
}

fn host_of(base_url: &str) -> &str {
    let after_scheme = base_url
        .split_once("://")
        .map_or(base_url, |(_, rest)| rest);
    after_scheme.split('/').next().unwrap_or(after_scheme)
}

/// A standing as scripts read it.
#[derive(Serialize)]
pub struct StandingJson<'a> {
    doing: Doing,
    sentence: String,
    held_cause: Option<&'a str>,
    held_code: Option<i64>,
    #[serde(with = "time::serde::rfc3339::option")]
    held_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    probe_at: Option<OffsetDateTime>,
    probes: i32,
    is_probing: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    released_at: Option<OffsetDateTime>,
    released_by: Option<&'a str>,
    released_why: Option<&'a str>,
    worker_id: Option<i64>,
    epoch: i64,
    due: i64,
    queued: i64,
    counted_at_most: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    oldest_due_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    next_due_at: Option<OffsetDateTime>,
    is_stale: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    said_at: Option<OffsetDateTime>,
    rate_now: Option<f64>,
    rate_limit: Option<f64>,
    limit_source: Option<&'a str>,
    in_flight: Option<i32>,
    at_hand: Option<i32>,
    breaker: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339::option")]
    breaker_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    slow_until: Option<OffsetDateTime>,
    last_error: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_error_at: Option<OffsetDateTime>,
    held_templates: i64,
}

impl<'a> StandingJson<'a> {
    /// At its own time.
    pub fn of(it: &'a SenderStanding) -> Self {
        let reading = Reading(it);
        let is_held = reading.hold().is_some();
        Self {
            doing: reading.doing(),
            sentence: reading.sentence(),
            held_cause: it.held_cause.as_deref().filter(|_| is_held),
            held_code: it.held_code.filter(|_| is_held),
            held_at: it.held_at.filter(|_| is_held),
            probe_at: it.probe_at.filter(|_| is_held),
            probes: it.probes,
            is_probing: it.probing_until.is_some_and(|until| until > it.now),
            released_at: it.released_at,
            released_by: it.released_by.as_deref(),
            released_why: it.released_why.as_deref(),
            worker_id: it.worker_id,
            epoch: it.epoch,
            due: it.due,
            queued: it.queued,
            counted_at_most: it.counted_at_most,
            oldest_due_at: it.oldest_due_at,
            next_due_at: it.next_due_at,
            is_stale: reading.is_stale(),
            said_at: it.said_at,
            rate_now: it.rate_now,
            rate_limit: it.rate_limit,
            limit_source: it.limit_source.as_deref(),
            in_flight: it.in_flight,
            at_hand: it.at_hand,
            breaker: it.breaker.as_deref(),
            breaker_until: it.breaker_until,
            slow_until: it.slow_until,
            last_error: it.last_error.as_deref(),
            last_error_at: it.last_error_at,
            held_templates: it.held_templates,
        }
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
pub(crate) mod tests;
