//! What one attempt taught us.
//!
//! Everything that can happen to a request has exactly one home here. The question that decides is not "did it
//! fail?" but "may it have been accepted?": where the answer is *perhaps*, the outcome is [`Outcome::Uncertain`],
//! and nothing is sent again for it before evidence or the message's own policy has settled it.

use std::time::Duration;

use serde::Deserialize;

use super::id::Wamid;

/// What one attempt taught us. Which answer leads to which outcome is decided in `provider::verdict`.
#[must_use]
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// WhatsApp took the message and named it (or took what never gets a name: a mark-as-read).
    Accepted(Acceptance),
    /// A verdict about this message or this recipient. It is final.
    Rejected(ApiError),
    /// Proved never to have been handed to the network: may be tried again, an attempt is spent.
    NotSent(NotSent),
    /// Too fast. The message stays, no attempt is spent, and whoever is meant slows down.
    Throttled {
        /// Who slows down.
        scope: ThrottleScope,
        /// For how long at least, where the answer said so.
        retry_after: Option<Duration>,
        /// In WhatsApp's words.
        error: ApiError,
    },
    /// Not this message's fault: a sender or a template must not be used now. No attempt is spent.
    Held {
        /// What must not be used.
        scope: HoldScope,
        /// In WhatsApp's words.
        error: ApiError,
    },
    /// The service says that it did not do it. Tried again after `at_least`, and after a look for evidence.
    Transient {
        /// No sooner than this.
        at_least: Duration,
        /// In WhatsApp's words.
        error: ApiError,
    },
    /// It may have been accepted and we do not know.
    Uncertain(Doubt),
}

impl Outcome {
    /// The name of what was told to slow down.
    pub const THROTTLED: &'static str = "throttled";

    /// The names of all kinds, each at its [`Outcome::place`].
    pub const NAMES: [&'static str; 7] = [
        "accepted",
        "rejected",
        "not_sent",
        Self::THROTTLED,
        "held",
        "transient",
        "uncertain",
    ];

    /// Its name in `wa.attempts`, in logs and in metrics.
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.place()]
    }

    /// Where its kind stands among all, for whoever counts by kind.
    pub fn place(&self) -> usize {
        match self {
            Self::Accepted(_) => 0,
            Self::Rejected(_) => 1,
            Self::NotSent(_) => 2,
            Self::Throttled { .. } => 3,
            Self::Held { .. } => 4,
            Self::Transient { .. } => 5,
            Self::Uncertain(_) => 6,
        }
    }
}

impl Outcome {
    /// The HTTP status of its answer, where there was one.
    pub fn http_status(&self) -> Option<u16> {
        match self {
            Self::Accepted(acceptance) => acceptance.http_status,
            Self::Uncertain(
                Doubt::UnreadableAcceptance { http_status, .. }
                | Doubt::CutOff { http_status, .. }
                | Doubt::NamedInFailure { http_status, .. },
            ) => Some(*http_status),
            Self::NotSent(_)
            | Self::Rejected(_)
            | Self::Throttled { .. }
            | Self::Held { .. }
            | Self::Transient { .. }
            | Self::Uncertain(
                Doubt::AnswerLost(_) | Doubt::AnswerOfAnother | Doubt::ServerFailed(_),
            ) => self.error().and_then(|error| error.http_status),
        }
    }

    /// Meta's code, where its answer had one.
    pub fn code(&self) -> Option<i64> {
        self.error().and_then(|error| error.code)
    }

    /// How its answer began, where it could not be read.
    pub fn excerpt(&self) -> Option<&str> {
        if let Self::Uncertain(Doubt::UnreadableAcceptance { excerpt, .. }) = self {
            return excerpt.as_deref();
        }
        self.error().and_then(|error| error.excerpt.as_deref())
    }

    /// The same as if nothing had been kept of how its answer began.
    #[cfg(test)]
    pub(crate) fn without_excerpt(mut self) -> Self {
        match &mut self {
            Self::Uncertain(Doubt::UnreadableAcceptance { excerpt, .. }) => *excerpt = None,
            Self::Rejected(error)
            | Self::Throttled { error, .. }
            | Self::Held { error, .. }
            | Self::Transient { error, .. }
            | Self::Uncertain(Doubt::ServerFailed(error)) => error.excerpt = None,
            Self::Accepted(_) | Self::NotSent(_) | Self::Uncertain(_) => {}
        }
        self
    }

    /// The error that its answer told.
    fn error(&self) -> Option<&ApiError> {
        match self {
            Self::Rejected(error)
            | Self::Throttled { error, .. }
            | Self::Held { error, .. }
            | Self::Transient { error, .. }
            | Self::Uncertain(Doubt::ServerFailed(error)) => Some(error),
            Self::Accepted(_) | Self::NotSent(_) | Self::Uncertain(_) => None,
        }
    }
}

/// What a positive answer told us.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acceptance {
    /// Absent only for what WhatsApp gives no id (mark-as-read, typing indicator).
    pub wamid: Option<Wamid>,
    /// The recipient as WhatsApp knows it; may differ from the number we gave (BR, MX).
    pub wa_id: Option<String>,
    /// `accepted`, `held_for_quality_assessment`, `paused`; templates only.
    pub message_status: Option<String>,
    /// The HTTP status it came with; none where a webhook told of it.
    pub http_status: Option<u16>,
}

/// An error as WhatsApp words it, in a response or in a `failed` status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiError {
    /// The HTTP status it came with; none in a webhook.
    pub http_status: Option<u16>,
    /// Meta's error code; none when the answer carried no readable error.
    pub code: Option<i64>,
    /// Meta's subcode, kept for people only: Meta asks not to build on it.
    pub subcode: Option<i64>,
    /// `title` in a webhook, `message` in a response.
    pub title: Option<String>,
    /// `error_data.details`, the text that helps.
    pub details: Option<String>,
    /// What Meta's support asks for.
    pub fbtrace_id: Option<String>,
    /// How the answer began, where no error could be read in it.
    pub excerpt: Option<String>,
}

/// Why a request provably never left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// No connection could be made: name, TCP or TLS.
    NoConnection,
    /// The time to send had passed before the first byte was asked for.
    TooLate,
    /// The connection ended before the request body was taken.
    ConnectionLost,
    /// It left under a session that was over by then, and was refused for that before anybody looked at it.
    SessionEnded,
}

/// Who has to slow down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleScope {
    /// The sender (429, 130429).
    Sender,
    /// All senders of the same credential or account (4, 80007).
    Account,
    /// This sender to this recipient only (131056).
    Pair,
}

/// What must not be used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldScope {
    /// Token, permission, account, payment, registration, policy.
    Sender,
    /// A template that is missing, paused, disabled or does not match.
    Template,
}

/// Why we do not know.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// The request may have reached WhatsApp, and no whole answer came back.
    AnswerLost(LostAnswer),
    /// A 2xx that cannot be read or names no message: most likely accepted, so never resent by itself.
    UnreadableAcceptance {
        /// 200 or another of its hundred.
        http_status: u16,
        /// How it began, where anything came.
        excerpt: Option<String>,
    },
    /// An answer that is no yes began, and did not come to its end.
    CutOff {
        /// 400 or another that is not of the two hundreds.
        http_status: u16,
        /// How the rest got lost.
        lost: LostAnswer,
    },
    /// An answer that says no and yet names the message: to be looked at, never to be sent again by itself.
    NamedInFailure {
        /// 400 or another that is not of the two hundreds.
        http_status: u16,
        /// The id; none where it was broken.
        wamid: Option<Wamid>,
    },
    /// The answer names another recipient, so it belongs to another request; ours is as good as lost.
    AnswerOfAnother,
    /// WhatsApp, or something before it, failed in a way that does not tell whether it had taken the message.
    ServerFailed(ApiError),
}

/// How an answer got lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostAnswer {
    /// The response timeout passed.
    TimedOut,
    /// The connection was reset or closed after the body was asked for.
    ConnectionLost,
    /// The process that sent it is gone, or lost its lease; found by a sweep.
    Swept,
}

impl Doubt {
    /// Whether the message may be sent again by policy alone. A 2xx that could not be read never is, nor what names the message:
    /// it was most likely accepted.
    pub fn may_resend(&self) -> bool {
        match self {
            Self::UnreadableAcceptance { .. } | Self::NamedInFailure { .. } => false,
            Self::AnswerLost(_)
            | Self::CutOff { .. }
            | Self::AnswerOfAnother
            | Self::ServerFailed(_) => true,
        }
    }
}

/// What happens to an uncertain message when no evidence came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUncertain {
    /// It is sent again: it may then arrive twice.
    Retry,
    /// It is kept for a person: it may then never have arrived.
    Hold,
}

impl OnUncertain {
    /// The word, as the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
        }
    }
}
