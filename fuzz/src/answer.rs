//! The answer to a request: a line with its HTTP status, one with `Retry-After`, one with the recipient; the body.

use std::time::Duration;

use serde_json::Value;
use wa_outbox::domain::outcome::{ApiError, Doubt, Outcome};
use wa_outbox::domain::text::Secrets;
use wa_outbox::provider::{Dialect, Expected, Happened, Recipient, classify, explain, judge};

use super::{is_storable, line};

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn check(input: &[u8]) {
    let (status, rest) = line(input);
    let (retry_after, rest) = line(rest);
    let (recipient, body) = line(rest);
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (Some(status), Some(recipient)) = (
        text(status).and_then(|text| text.parse().ok()),
        text(recipient),
    ) else {
        return;
    };
    let retry_after = text(retry_after).filter(|text| !text.is_empty());
    let happened = Happened::Answer {
        status,
        retry_after,
        body,
        secrets: &Secrets::default(),
    };
    let recipients = [
        Recipient::Phone(recipient),
        Recipient::User(recipient),
        Recipient::Group(recipient),
    ];
    for recipient in recipients {
        let outcome = judge(&happened, &Expected::Message(recipient));
        assert_eq!(outcome, judge(&happened, &Expected::Message(recipient)));
        sound(&outcome, status);
        of_a_message(&outcome, status, &recipient, body);
    }
    for expected in [Expected::MarkAsRead, Expected::BareMarkAsRead] {
        let outcome = judge(&happened, &expected);
        sound(&outcome, status);
        if let Outcome::Accepted(acceptance) = outcome {
            assert_eq!(acceptance.wamid, None, "a mark-as-read has no id");
        }
    }
}

/// Of any answer.
fn sound(outcome: &Outcome, status: u16) {
    let is_success = (200..300).contains(&status);
    match outcome {
        Outcome::Accepted(acceptance) => {
            assert!(is_success);
            for text in [&acceptance.wa_id, &acceptance.message_status]
                .into_iter()
                .flatten()
            {
                assert!(is_short(text));
            }
        }
        Outcome::Rejected(error) | Outcome::Held { error, .. } => kept(error, status),
        Outcome::Throttled {
            error, retry_after, ..
        } => {
            kept(error, status);
            assert!(retry_after.is_none_or(|wait| wait <= A_DAY));
        }
        Outcome::Transient { error, at_least } => {
            kept(error, status);
            assert!(*at_least > Duration::ZERO && *at_least <= A_DAY);
        }
        Outcome::Uncertain(Doubt::ServerFailed(error)) => kept(error, status),
        Outcome::Uncertain(
            doubt @ (Doubt::UnreadableAcceptance { .. } | Doubt::NamedInFailure { .. }),
        ) => {
            assert!(!doubt.may_resend())
        }
        Outcome::Uncertain(Doubt::AnswerOfAnother) => assert!(is_success),
        Outcome::Uncertain(Doubt::AnswerLost(_) | Doubt::CutOff { .. }) | Outcome::NotSent(_) => {
            panic!("there was an answer")
        }
    }
    // A gateway's 5xx proves nothing: only a code of WhatsApp's does.
    if status >= 500 && !matches!(outcome, Outcome::Uncertain(_)) {
        let code = outcome.code().expect("a code");
        let known = [Dialect::Cloud, Dialect::OnPremises]
            .map(|dialect| explain(code, None, dialect).is_some());
        assert!(known.contains(&true), "{code} is in no table");
    }
}

fn of_a_message(outcome: &Outcome, status: u16, recipient: &Recipient<'_>, body: &[u8]) {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let id = value.pointer("/messages/0/id").and_then(Value::as_str);
    let echo = value
        .pointer("/contacts/0/input")
        .and_then(Value::as_str)
        .filter(|echo| !echo.is_empty() && echo.len() < 2_000);
    let is_anothers = echo.is_some_and(|echo| !recipient.is_echoed_by(echo));
    let is_success = (200..300).contains(&status);
    if is_success && is_anothers {
        assert_eq!(
            *outcome,
            Outcome::Uncertain(Doubt::AnswerOfAnother),
            "another's answer was taken"
        );
    }
    if let Outcome::Accepted(acceptance) = outcome {
        let wamid = acceptance
            .wamid
            .as_ref()
            .expect("a message has an id")
            .reveal();
        assert!((1..=512).contains(&wamid.len()) && !wamid.chars().any(char::is_control));
        let as_number = value.pointer("/messages/0/id").map(Value::to_string);
        assert!(
            // What was mended to be read is looked at by tests of its own.
            value.is_null() || id == Some(wamid) || as_number.as_deref() == Some(wamid),
            "an id was made up"
        );
    }
    // Once a wamid of a message is known, no further request for it starts; nor is it called failed.
    let is_an_id = id.is_some_and(|id| {
        !id.is_empty() && id.len() <= 512 && !id.chars().any(|c| c.is_control() || c == '\u{FFFD}')
    });
    if is_an_id {
        let is_settled = matches!(
            outcome,
            Outcome::Accepted(_)
                | Outcome::Uncertain(
                    Doubt::UnreadableAcceptance { .. }
                        | Doubt::NamedInFailure { .. }
                        | Doubt::AnswerOfAnother
                )
        );
        assert!(
            is_settled,
            "an id is there and the message is {}",
            outcome.name()
        );
    }
    if is_success && value.is_null() && !body.contains(&b'{') {
        assert!(matches!(
            outcome,
            Outcome::Uncertain(Doubt::UnreadableAcceptance { .. })
        ));
    }
}

fn kept(error: &ApiError, status: u16) {
    assert_eq!(error.http_status, Some(status));
    for text in [&error.title, &error.details, &error.fbtrace_id]
        .into_iter()
        .flatten()
    {
        assert!(is_short(text));
    }
    // The same table serves failed statuses; it answers to any code.
    if let Some(code) = error.code {
        for dialect in [Dialect::Cloud, Dialect::OnPremises] {
            assert_eq!(
                classify(code, error.subcode, dialect),
                classify(code, error.subcode, dialect)
            );
        }
    }
}

fn is_short(text: &str) -> bool {
    !text.is_empty()
        && text.chars().count() <= 2_000
        && is_storable(text)
        && !text.contains(char::is_control)
}
