//! Turns what happened to a request into what it taught us.
//!
//! One pure function, [`judge`], and one question: may the message have been accepted? An id in a 2xx says
//! yes; a code of Meta's says what its table says; and whatever leaves it open is uncertain, because a message
//! failed or sent again by mistake cannot be taken back, while one that waits for evidence can.

use std::time::Duration;

use super::answer::{Answer, Reading};
use super::codes::{Class, classify};
use super::wire::Recipient;
use crate::domain::outcome::{
    Acceptance, ApiError, Doubt, HoldScope, LostAnswer, NotSent, Outcome, ThrottleScope,
};
use crate::domain::text::Secrets;

/// What happened to one request, as far as this side of the network can know.
#[derive(Debug)]
pub enum Happened<'a> {
    /// Proved never to have been handed to the network.
    NotSent(NotSent),
    /// Handed over, and nothing whole came back.
    AnswerLost(LostAnswer),
    /// The head of an answer came, its body did not, or was too long to read.
    HeadOnly {
        /// The HTTP status.
        status: u16,
        /// The header `Retry-After`, as it came.
        retry_after: Option<&'a str>,
        /// How the rest got lost.
        lost: LostAnswer,
    },
    /// A whole answer.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The header `Retry-After`, as it came.
        retry_after: Option<&'a str>,
        /// The body, whatever it holds.
        body: &'a [u8],
        /// What let the request in, which the body may repeat.
        secrets: &'a Secrets,
    },
}

/// What the request was, as far as its answer can tell it from another's.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// A message to this recipient, whom the answer echoes.
    Message(Recipient<'a>),
    /// A mark-as-read, with or without a typing indicator: answered by `{"success":true}`, never by an id.
    MarkAsRead,
    /// A mark-as-read at the On-Premises client: answered by an object without errors, and by no id.
    BareMarkAsRead,
}

/// No answer makes us wait longer than this, whatever it asks for: it may be a mistake.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What this attempt taught us.
///
/// An [`Doubt::AnswerOfAnother`] asks more of the caller than any other outcome: the connection it came on is
/// one answer off, so its whole pool must be dropped before the next request.
pub fn judge(happened: &Happened<'_>, expected: &Expected<'_>) -> Outcome {
    match *happened {
        Happened::NotSent(why) => Outcome::NotSent(why),
        Happened::AnswerLost(how) => Outcome::Uncertain(Doubt::AnswerLost(how)),
        Happened::HeadOnly {
            status,
            retry_after,
            lost,
        } => judge_head(status, retry_after, lost),
        Happened::Answer {
            status,
            retry_after,
            body,
            secrets,
        } => {
            let answer = Answer::read(body, secrets);
            if is_success(status) {
                judge_success(status, retry_after, answer, expected)
            } else {
                judge_failure(status, retry_after, answer)
            }
        }
    }
}

/// A yes most likely, or a doubt. A 429 says what it says without its body.
fn judge_head(status: u16, retry_after: Option<&str>, lost: LostAnswer) -> Outcome {
    match status {
        200..=299 => Outcome::Uncertain(unreadable(status, None)),
        429 => {
            let error = with_status(ApiError::default(), status);
            judge_status(status, retry_after, error, Speaker::Stranger)
        }
        http_status => Outcome::Uncertain(Doubt::CutOff { http_status, lost }),
    }
}

fn judge_success(
    status: u16,
    retry_after: Option<&str>,
    answer: Answer,
    expected: &Expected<'_>,
) -> Outcome {
    match expected {
        Expected::Message(recipient) => {
            // The echo is looked at first: an answer to someone else proves nothing about our request, whether
            // it brings an id or an error.
            if answer
                .echo
                .as_deref()
                .is_some_and(|echo| !recipient.is_echoed_by(echo))
            {
                return Outcome::Uncertain(Doubt::AnswerOfAnother);
            }
            if let Some(wamid) = answer.wamid {
                return Outcome::Accepted(Acceptance {
                    wamid: Some(wamid),
                    wa_id: answer.wa_id,
                    message_status: answer.message_status,
                    http_status: Some(status),
                });
            }
        }
        Expected::MarkAsRead | Expected::BareMarkAsRead => {
            // Nobody is addressed by a mark-as-read, so an answer that names a recipient is a message's.
            if answer.echo.is_some() {
                return Outcome::Uncertain(Doubt::AnswerOfAnother);
            }
            let is_bare = matches!(expected, Expected::BareMarkAsRead) && answer.is_without_errors;
            if answer.success || is_bare {
                return Outcome::Accepted(Acceptance {
                    http_status: Some(status),
                    ..Acceptance::default()
                });
            }
        }
    }
    match answer.error {
        // Half an id is no id, and it says yes all the same, whatever else the answer says.
        _ if answer.has_broken_id => Outcome::Uncertain(unreadable(status, answer.excerpt)),
        Reading::Error { error, dialect } => {
            let error = with_status(error, status);
            judge_code(&error, dialect, retry_after)
                // Some providers answer 200 and say in the body that they refused (Turn.io does).
                .unwrap_or(Outcome::Rejected(error))
        }
        Reading::Nothing => Outcome::Uncertain(unreadable(status, answer.excerpt)),
    }
}

fn judge_failure(status: u16, retry_after: Option<&str>, answer: Answer) -> Outcome {
    if answer.wamid.is_some() || answer.has_broken_id {
        // A gateway that turned an acceptance into a failure: to be looked at, never to be sent again.
        return Outcome::Uncertain(Doubt::NamedInFailure {
            http_status: status,
            wamid: answer.wamid,
        });
    }
    match answer.error {
        Reading::Error { error, dialect } => {
            let error = with_status(error, status);
            judge_code(&error, dialect, retry_after)
                .unwrap_or_else(|| judge_status(status, retry_after, error, Speaker::WhatsApp))
        }
        Reading::Nothing => {
            let error = ApiError {
                excerpt: answer.excerpt,
                ..with_status(ApiError::default(), status)
            };
            judge_status(status, retry_after, error, Speaker::Stranger)
        }
    }
}

/// By the code alone; `None` where the table does not say.
fn judge_code(
    error: &ApiError,
    dialect: super::codes::Dialect,
    retry_after: Option<&str>,
) -> Option<Outcome> {
    let class = classify(error.code?, error.subcode, dialect);
    let error = error.clone();
    let asked = retry_after.and_then(seconds);
    Some(match class {
        Class::Rejected(_) => Outcome::Rejected(error),
        Class::Held(scope) => Outcome::Held { scope, error },
        Class::Throttled(scope) => Outcome::Throttled {
            scope,
            retry_after: asked,
            error,
        },
        Class::Transient { at_least } => Outcome::Transient {
            at_least: at_least.max(asked.unwrap_or_default()),
            error,
        },
        Class::Uncertain => Outcome::Uncertain(Doubt::ServerFailed(error)),
        Class::NotAboutSending | Class::Unknown => return None,
    })
}

/// Who answered, by the shape of the body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// It has the shape of a WhatsApp error.
    WhatsApp,
    /// A proxy, a gateway, a login page.
    Stranger,
}

/// By the HTTP status, where no code helps.
fn judge_status(
    status: u16,
    retry_after: Option<&str>,
    error: ApiError,
    speaker: Speaker,
) -> Outcome {
    match status {
        429 => Outcome::Throttled {
            scope: ThrottleScope::Sender,
            retry_after: retry_after.and_then(seconds),
            error,
        },
        // Some load balancers send a 408 down an idle connection, and it reads as the answer to a request
        // that they never saw, or to one that they passed on.
        408 => Outcome::Uncertain(Doubt::ServerFailed(error)),
        // A token, a permission or a phone-number-id: the next message would fare the same.
        401 | 403 | 404 => Outcome::Held {
            scope: HoldScope::Sender,
            error,
        },
        400..=499 => match speaker {
            Speaker::WhatsApp => Outcome::Rejected(error),
            // Not WhatsApp's voice, so no verdict about the message: something stands between us and it.
            Speaker::Stranger => Outcome::Held {
                scope: HoldScope::Sender,
                error,
            },
        },
        // 1xx and 3xx are no answers to a message, and a 5xx may come from a gateway after the request ran.
        _ => Outcome::Uncertain(Doubt::ServerFailed(error)),
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn unreadable(http_status: u16, excerpt: Option<String>) -> Doubt {
    Doubt::UnreadableAcceptance {
        http_status,
        excerpt,
    }
}

fn with_status(error: ApiError, status: u16) -> ApiError {
    ApiError {
        http_status: Some(status),
        ..error
    }
}

/// `Retry-After` in its form of seconds (RFC 9110, 10.2.3). Its other form, a date, would need the time of day;
/// Meta does not use it, and without it the caller's own back-off applies.
fn seconds(retry_after: &str) -> Option<Duration> {
    let digits = retry_after.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // What is too long to be counted asks for more than the longest wait, too.
    let seconds = is_number.then(|| digits.parse().unwrap_or(u64::MAX))?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
