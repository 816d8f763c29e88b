//! Faults by their names: what goes wrong with a request, and with the news about it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What goes wrong with one request. Those named `AcceptThen…`, and the last few, did take the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Fault {
    /// The connection is closed before anything is read. By probability this hits any connection; set for a
    /// recipient, who is known only from what was read, it resets the connection instead of answering.
    CloseBeforeReading,
    /// Read, not accepted, closed without an answer.
    CloseAfterReading,
    /// Accepted; the connection is closed in place of an answer.
    AcceptThenDropAnswer,
    /// Accepted; the answer breaks off in the middle of its body.
    AcceptThenTruncateAnswer,
    /// Accepted; 200 with a page of HTML.
    AcceptThenAnswerHtml,
    /// Accepted; 200 with JSON that names no message.
    AcceptThenAnswerWithoutId,
    /// Accepted and answered well; then the connection is closed although the answer promised to keep it.
    AcceptThenClose,
    /// 500 without a body that says why; not accepted.
    ServerError,
    /// 500 without a body that says why; accepted all the same.
    AcceptThenServerError,
    /// 502 with a gateway's page of HTML; not accepted.
    GatewayPage,
    /// 502 with a gateway's page of HTML; accepted all the same.
    AcceptThenGatewayPage,
    /// Not accepted and never answered.
    Hang,
    /// Accepted and never answered.
    AcceptThenHang,
    /// 408, then closed; not accepted.
    RequestTimeout,
    /// 130429: the number sends too fast.
    RateLimited,
    /// 131056: too much to this one recipient.
    PairLimited,
    /// 80007: the account sends too fast.
    AccountLimited,
    /// A bare 429 with `Retry-After` in seconds, as gateways answer.
    TooManyRequests(u32),
    /// A Graph error by its code.
    Error(u32),
    /// Accepted, but the answer is the one to somebody else's request: another recipient, another id.
    EchoAnother,
    /// 200 with a list `errors` and no id, as Turn answers; not accepted. The code is the On-Premises client's.
    ErrorsWith200(u32),
    /// Accepted with `message_status: held_for_quality_assessment`.
    HeldForQuality,
}

impl Fault {
    /// One of each, those with a value with a usual one.
    pub const ALL: [Fault; 22] = [
        Self::CloseBeforeReading,
        Self::CloseAfterReading,
        Self::AcceptThenDropAnswer,
        Self::AcceptThenTruncateAnswer,
        Self::AcceptThenAnswerHtml,
        Self::AcceptThenAnswerWithoutId,
        Self::AcceptThenClose,
        Self::ServerError,
        Self::AcceptThenServerError,
        Self::GatewayPage,
        Self::AcceptThenGatewayPage,
        Self::Hang,
        Self::AcceptThenHang,
        Self::RequestTimeout,
        Self::RateLimited,
        Self::PairLimited,
        Self::AccountLimited,
        Self::TooManyRequests(1),
        Self::Error(131026),
        Self::ErrorsWith200(1013),
        Self::EchoAnother,
        Self::HeldForQuality,
    ];

    /// Whether the message is accepted under this fault, whatever the sender gets to see.
    pub fn accepts(self) -> bool {
        match self {
            Self::AcceptThenDropAnswer
            | Self::AcceptThenTruncateAnswer
            | Self::AcceptThenAnswerHtml
            | Self::AcceptThenAnswerWithoutId
            | Self::AcceptThenClose
            | Self::AcceptThenServerError
            | Self::AcceptThenGatewayPage
            | Self::AcceptThenHang
            | Self::EchoAnother
            | Self::HeldForQuality => true,
            Self::CloseBeforeReading
            | Self::CloseAfterReading
            | Self::ServerError
            | Self::GatewayPage
            | Self::Hang
            | Self::RequestTimeout
            | Self::RateLimited
            | Self::PairLimited
            | Self::AccountLimited
            | Self::TooManyRequests(_)
            | Self::Error(_)
            | Self::ErrorsWith200(_) => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::CloseBeforeReading => "close_before_reading",
            Self::CloseAfterReading => "close_after_reading",
            Self::AcceptThenDropAnswer => "accept_then_drop_answer",
            Self::AcceptThenTruncateAnswer => "accept_then_truncate_answer",
            Self::AcceptThenAnswerHtml => "accept_then_answer_html",
            Self::AcceptThenAnswerWithoutId => "accept_then_answer_without_id",
            Self::AcceptThenClose => "accept_then_close",
            Self::ServerError => "server_error",
            Self::AcceptThenServerError => "accept_then_server_error",
            Self::GatewayPage => "gateway_page",
            Self::AcceptThenGatewayPage => "accept_then_gateway_page",
            Self::Hang => "hang",
            Self::AcceptThenHang => "accept_then_hang",
            Self::RequestTimeout => "request_timeout",
            Self::RateLimited => "rate_limited",
            Self::PairLimited => "pair_limited",
            Self::AccountLimited => "account_limited",
            Self::TooManyRequests(_) => "too_many_requests",
            Self::Error(_) => "error",
            Self::ErrorsWith200(_) => "errors_with_200",
            Self::EchoAnother => "echo_another",
            Self::HeldForQuality => "held_for_quality",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRequests(value) | Self::Error(value) | Self::ErrorsWith200(value) => {
                write!(f, "{}:{value}", self.name())
            }
            plain => f.write_str(plain.name()),
        }
    }
}

/// What goes wrong with the status webhooks of one accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum WebhookFault {
    /// The first status is posted, and answered, before the answer to the send goes out.
    Early,
    /// The first status comes this many milliseconds later than usual.
    Late(u32),
    /// Every status is posted twice.
    Doubled,
    /// The statuses come in the reverse of their order: `delivered` before `sent`.
    Reordered,
    /// `read` alone, without `sent` and `delivered`: so it is for a person who has the chat open.
    ReadOnly,
    /// No status is ever posted.
    Lost,
    /// `sent`, then `failed` with this code.
    Failed(u32),
    /// `sent`, `delivered`, then `failed` with this code, as from a person's second device.
    DeliveredThenFailed(u32),
    /// `sent`, `failed` with this code, then `delivered`: the second device was luckier.
    FailedThenDelivered(u32),
}

impl WebhookFault {
    /// One of each, those with a value with a usual one.
    pub const ALL: [WebhookFault; 9] = [
        Self::Early,
        Self::Late(5000),
        Self::Doubled,
        Self::Reordered,
        Self::ReadOnly,
        Self::Lost,
        Self::Failed(131049),
        Self::DeliveredThenFailed(131026),
        Self::FailedThenDelivered(131026),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Late(_) => "late",
            Self::Doubled => "doubled",
            Self::Reordered => "reordered",
            Self::ReadOnly => "read_only",
            Self::Lost => "lost",
            Self::Failed(_) => "failed",
            Self::DeliveredThenFailed(_) => "delivered_then_failed",
            Self::FailedThenDelivered(_) => "failed_then_delivered",
        }
    }
}

impl fmt::Display for WebhookFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(value)
            | Self::Failed(value)
            | Self::DeliveredThenFailed(value)
            | Self::FailedThenDelivered(value) => write!(f, "{}:{value}", self.name()),
            plain => f.write_str(plain.name()),
        }
    }
}

/// A name that is no fault's.
#[derive(Debug, thiserror::Error)]
#[error("there is no fault {given:?}; known: {}", known.join(", "))]
pub struct UnknownFault {
    given: String,
    known: Vec<String>,
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(given: &str) -> Result<Self, UnknownFault> {
        let found = parse_name(given, &Self::ALL, |fault, value| match (fault, value) {
            (Self::TooManyRequests(_), Some(seconds)) => Some(Self::TooManyRequests(seconds)),
            (Self::Error(_), Some(code)) => Some(Self::Error(code)),
            (Self::ErrorsWith200(_), Some(code)) => Some(Self::ErrorsWith200(code)),
            (_, Some(_)) => None,
            (fault, None) => Some(fault),
        });
        found.ok_or_else(|| unknown(given, &Self::ALL))
    }
}

impl FromStr for WebhookFault {
    type Err = UnknownFault;

    fn from_str(given: &str) -> Result<Self, UnknownFault> {
        let found = parse_name(given, &Self::ALL, |fault, value| match (fault, value) {
            (Self::Late(_), Some(ms)) => Some(Self::Late(ms)),
            (Self::Failed(_), Some(code)) => Some(Self::Failed(code)),
            (Self::DeliveredThenFailed(_), Some(code)) => Some(Self::DeliveredThenFailed(code)),
            (Self::FailedThenDelivered(_), Some(code)) => Some(Self::FailedThenDelivered(code)),
            (_, Some(_)) => None,
            (fault, None) => Some(fault),
        });
        found.ok_or_else(|| unknown(given, &Self::ALL))
    }
}

/// Reads `name` or `name:value`.
fn parse_name<F: Copy + fmt::Display>(
    given: &str,
    all: &[F],
    with_value: impl Fn(F, Option<u32>) -> Option<F>,
) -> Option<F> {
    let (name, value) = match given.split_once(':') {
        Some((name, value)) => (name, Some(value.parse().ok()?)),
        None => (given, None),
    };
    let fault = all.iter().find(|fault| {
        let shown = fault.to_string();
        shown.split(':').next() == Some(name)
    })?;
    with_value(*fault, value)
}

fn unknown<F: fmt::Display>(given: &str, all: &[F]) -> UnknownFault {
    UnknownFault {
        given: given.to_owned(),
        known: all.iter().map(F::to_string).collect(),
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

impl TryFrom<String> for Fault {
    type Error = UnknownFault;

    fn try_from(name: String) -> Result<Self, UnknownFault> {
        name.parse()
    }
}

impl From<WebhookFault> for String {
    fn from(fault: WebhookFault) -> Self {
        fault.to_string()
    }
}

impl TryFrom<String> for WebhookFault {
    type Error = UnknownFault;

    fn try_from(name: String) -> Result<Self, UnknownFault> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_back_from_its_name() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse::<Fault>().expect("a name"), fault);
        }
        for fault in WebhookFault::ALL {
            assert_eq!(
                fault.to_string().parse::<WebhookFault>().expect("a name"),
                fault
            );
        }
        assert_eq!(
            "error:190".parse::<Fault>().expect("a name"),
            Fault::Error(190)
        );
        assert!(
            "hang:1".parse::<Fault>().is_err(),
            "a value where none belongs"
        );
        assert!(
            "explode"
                .parse::<Fault>()
                .expect_err("no fault")
                .to_string()
                .contains("accept_then_drop_answer")
        );
    }
}
