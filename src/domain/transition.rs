//! What follows from an outcome for its message.
//!
//! One pure function, so that the promise "only what was provably not sent, or what the service says it did not do, is tried
//! again" can be read and tested in one place. An acceptance, a verdict and a doubt never lead back to the queue from here.

use std::time::Duration;

use super::outcome::{
    Acceptance, ApiError, Doubt, HoldScope, LostAnswer, NotSent, Outcome, ThrottleScope,
};
use super::retry::{RetryPolicy, pair_delay};

/// What happens to the message.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// It ends as accepted.
    Accept(Acceptance),
    /// It ends as failed.
    Fail {
        /// Meta's code, where a verdict ended it.
        code: Option<i64>,
        /// Why, in words.
        message: String,
    },
    /// Back into the queue.
    Requeue {
        /// Due again after this.
        after: Duration,
        /// Whether the attempt counts.
        spent: bool,
        /// What it waits for, in words.
        waiting_for: String,
    },
    /// It becomes uncertain.
    Doubt {
        /// Why we do not know.
        doubt: String,
        /// Whether policy may send it again.
        may_resend: bool,
    },
}

/// How far the message has come: what a transition depends on beside the outcome.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Attempts spent, this one included.
    pub attempts: u32,
    /// How often in a row this pair was told to slow down.
    pub pair_strikes: u32,
    /// It left to find out whether a connection can be made again, for lately none could.
    pub finds_out: bool,
}

/// A message whose sender was too fast looks again after this; its sender's pace, and the wait that was asked for, keep it back meanwhile.
const SLOW_DOWN: Duration = Duration::from_secs(1);
/// A held message looks again after this; its sender's hold is what keeps it back meanwhile.
const HELD: Duration = Duration::from_secs(1);
/// A message of a held template looks again after this; the hold of the template sets it aside then.
const TEMPLATE_HELD: Duration = Duration::from_secs(1);

impl Transition {
    /// What follows from `outcome`.
    pub fn of(outcome: &Outcome, progress: Progress, policy: &RetryPolicy) -> Self {
        match outcome {
            Outcome::Accepted(acceptance) => Self::Accept(acceptance.clone()),
            Outcome::Rejected(error) => Self::Fail {
                code: error.code,
                message: in_words(error),
            },
            // Our own doing: it says nothing about the message or the way to WhatsApp.
            Outcome::NotSent(NotSent::TooLate) => Self::Requeue {
                after: Duration::ZERO,
                spent: false,
                waiting_for: "its turn: it could not leave in time".to_owned(),
            },
            Outcome::NotSent(NotSent::SessionEnded) => Self::Requeue {
                after: Duration::ZERO,
                spent: false,
                waiting_for: "its turn: the session at its provider had ended".to_owned(),
            },
            // An outage is nothing to do with the one that finds out whether it is over.
            Outcome::NotSent(NotSent::NoConnection) if progress.finds_out => Self::Requeue {
                after: policy.delay(progress.attempts),
                spent: false,
                waiting_for: format!("its turn: {}", not_sent(NotSent::NoConnection)),
            },
            Outcome::NotSent(cause) => {
                try_again(not_sent(*cause), Duration::ZERO, progress, policy)
            }
            Outcome::Transient { at_least, error } => {
                try_again(&in_words(error), *at_least, progress, policy)
            }
            Outcome::Throttled {
                scope,
                retry_after,
                error,
            } => {
                let (after, who) = match scope {
                    ThrottleScope::Pair => {
                        let delay = pair_delay(progress.pair_strikes);
                        let after = retry_after.map_or(delay, |asked| asked.max(delay));
                        (after, "this recipient's limit")
                    }
                    ThrottleScope::Sender => (SLOW_DOWN, "the sender's rate limit"),
                    ThrottleScope::Account => (SLOW_DOWN, "the account's rate limit"),
                };
                Self::Requeue {
                    after,
                    spent: false,
                    waiting_for: format!("{who}: {}", in_words(error)),
                }
            }
            Outcome::Held { scope, error } => {
                let (after, who) = match scope {
                    HoldScope::Sender => (HELD, "its sender, held"),
                    HoldScope::Template => (TEMPLATE_HELD, "its template, held"),
                };
                Self::Requeue {
                    after,
                    spent: false,
                    waiting_for: format!("{who}: {}", in_words(error)),
                }
            }
            Outcome::Uncertain(doubt) => Self::Doubt {
                doubt: doubt_in_words(doubt),
                may_resend: doubt.may_resend(),
            },
        }
    }
}

fn try_again(
    why: &str,
    at_least: Duration,
    progress: Progress,
    policy: &RetryPolicy,
) -> Transition {
    if progress.attempts >= policy.max_attempts {
        let message = format!("given up after {} attempts: {why}", progress.attempts);
        return Transition::Fail {
            code: None,
            message,
        };
    }
    let after = policy.delay(progress.attempts).max(at_least);
    let waiting_for = format!(
        "its next attempt ({} of {}): {why}",
        progress.attempts + 1,
        policy.max_attempts
    );
    Transition::Requeue {
        after,
        spent: true,
        waiting_for,
    }
}

/// Why a request did not leave, as a person reads it.
pub fn not_sent(cause: NotSent) -> &'static str {
    match cause {
        NotSent::NoConnection => "no connection could be made",
        NotSent::TooLate => "it could not leave in time",
        NotSent::ConnectionLost => "the connection ended before the request left",
        NotSent::SessionEnded => "the session at its provider had ended",
    }
}

/// An error of WhatsApp's as a person reads it.
pub fn in_words(error: &ApiError) -> String {
    let text = match (error.title.as_deref(), error.details.as_deref()) {
        (Some(title), Some(details)) if title != details => format!("{title}: {details}"),
        (title, details) => details
            .or(title)
            .unwrap_or("no reason was given")
            .to_owned(),
    };
    match (error.code, error.http_status) {
        (Some(code), _) if text.contains(&code.to_string()) => text,
        (Some(code), _) => format!("({code}) {text}"),
        (None, Some(status)) => format!("HTTP {status}: {text}"),
        (None, None) => text,
    }
}

/// A doubt as a person reads it.
pub fn doubt_in_words(doubt: &Doubt) -> String {
    match doubt {
        Doubt::AnswerLost(LostAnswer::TimedOut) => "no answer came in time".to_owned(),
        Doubt::AnswerLost(LostAnswer::ConnectionLost) => {
            "the connection ended before the answer came".to_owned()
        }
        Doubt::AnswerLost(LostAnswer::Swept) => "the worker that sent it is gone".to_owned(),
        Doubt::UnreadableAcceptance { http_status, .. } => {
            format!("the answer (HTTP {http_status}) said yes and could not be read")
        }
        Doubt::CutOff {
            http_status,
            lost: LostAnswer::TimedOut,
        } => format!("the answer (HTTP {http_status}) did not come to its end in time"),
        Doubt::CutOff { http_status, .. } => format!("the answer (HTTP {http_status}) broke off"),
        Doubt::NamedInFailure { http_status, .. } => {
            format!("the answer (HTTP {http_status}) says no and yet gives the message an id")
        }
        Doubt::AnswerOfAnother => "the answer that came belongs to another message".to_owned(),
        Doubt::ServerFailed(error) => format!("the service failed: {}", in_words(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first_delay: Duration::from_secs(1),
        factor: 2.0,
        max_delay: Duration::from_secs(60),
        jitter: 0.0,
        max_attempts: 3,
    };

    fn after(outcome: Outcome, attempts: u32) -> Transition {
        Transition::of(
            &outcome,
            Progress {
                attempts,
                pair_strikes: 0,
                finds_out: false,
            },
            &POLICY,
        )
    }

    #[test]
    fn who_finds_out_whether_an_outage_is_over_spends_nothing_on_it() {
        let finds_out = Progress {
            attempts: 9,
            pair_strikes: 0,
            finds_out: true,
        };
        let outcome = Outcome::NotSent(NotSent::NoConnection);
        let Transition::Requeue { after, spent, .. } = Transition::of(&outcome, finds_out, &POLICY)
        else {
            panic!("it is given up");
        };
        assert_eq!((after, spent), (POLICY.max_delay, false));
        let lost = Outcome::NotSent(NotSent::ConnectionLost);
        let failed = Transition::of(&lost, finds_out, &POLICY);
        assert!(matches!(failed, Transition::Fail { .. }), "{failed:?}");
    }

    fn error(code: i64) -> ApiError {
        ApiError {
            code: Some(code),
            title: Some("Title".into()),
            ..ApiError::default()
        }
    }

    #[test]
    fn a_verdict_is_final() {
        let failed = after(Outcome::Rejected(error(131026)), 1);
        assert_eq!(
            failed,
            Transition::Fail {
                code: Some(131026),
                message: "(131026) Title".into()
            }
        );
    }

    #[test]
    fn what_was_not_sent_is_tried_again_until_its_attempts_are_spent() {
        let Transition::Requeue {
            after: delay,
            spent,
            ..
        } = after(Outcome::NotSent(NotSent::NoConnection), 2)
        else {
            panic!("not tried again");
        };
        assert_eq!((delay, spent), (Duration::from_secs(2), true));
        assert!(matches!(
            after(Outcome::NotSent(NotSent::NoConnection), 3),
            Transition::Fail { code: None, .. }
        ));
    }

    #[test]
    fn throttling_and_holds_cost_no_attempt_however_often_they_come() {
        for outcome in [
            Outcome::Throttled {
                scope: ThrottleScope::Sender,
                retry_after: None,
                error: error(130429),
            },
            Outcome::Throttled {
                scope: ThrottleScope::Pair,
                retry_after: None,
                error: error(131056),
            },
            Outcome::Held {
                scope: HoldScope::Sender,
                error: error(190),
            },
            Outcome::Held {
                scope: HoldScope::Template,
                error: error(132015),
            },
        ] {
            assert!(matches!(
                after(outcome, 99),
                Transition::Requeue { spent: false, .. }
            ));
        }
    }

    #[test]
    fn the_time_whatsapp_asks_for_is_given() {
        let asked = Duration::from_secs(77);
        let throttled = Outcome::Throttled {
            scope: ThrottleScope::Pair,
            retry_after: Some(asked),
            error: error(131056),
        };
        assert!(matches!(after(throttled, 1), Transition::Requeue { after, .. } if after == asked));
        let transient = Outcome::Transient {
            at_least: Duration::from_secs(300),
            error: error(2),
        };
        assert!(
            matches!(after(transient, 1), Transition::Requeue { after, .. } if after == Duration::from_secs(300))
        );
    }

    #[test]
    fn a_doubt_never_leads_back_to_the_queue() {
        for (doubt, expected) in [
            (Doubt::AnswerLost(LostAnswer::TimedOut), true),
            (Doubt::AnswerOfAnother, true),
            (Doubt::ServerFailed(error(1)), true),
            (
                Doubt::UnreadableAcceptance {
                    http_status: 200,
                    excerpt: None,
                },
                false,
            ),
        ] {
            let next = after(Outcome::Uncertain(doubt), 1);
            assert!(matches!(next, Transition::Doubt { may_resend, .. } if may_resend == expected));
        }
    }
}
