//! What is said of one document.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::shape::Shape;
use crate::domain::outcome::Outcome;
use crate::domain::retry::RetryPolicy;
use crate::domain::text::Secrets;
use crate::domain::transition::{Progress, Transition};
use crate::message::rules::{self, Class, Finding, To};
use crate::provider::{Expected, Happened, Recipient, judge};
use crate::webhook::payload::Delivery;

/// How a document fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    Accepted,
    Warned,
    Refused,
}

/// What was found in a document.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Said {
    Request {
        kind: String,
        findings: Vec<FindingJson>,
    },
    Response {
        http_status: u16,
        outcome: &'static str,
        then: String,
    },
    Webhook {
        statuses: BTreeMap<String, usize>,
        template_updates: usize,
        preferences: usize,
        ignored: usize,
        bad: Vec<BadJson>,
    },
    NotJson {
        error: String,
    },
}

/// A finding as scripts read it.
#[derive(Serialize)]
pub(super) struct FindingJson {
    pub(super) class: Class,
    pub(super) rule: &'static str,
    pub(super) pointer: String,
    pub(super) found: String,
    pub(super) limit: String,
    pub(super) fix: &'static str,
    source: &'static str,
}

/// A part of a webhook that could not be read.
#[derive(Serialize)]
pub(super) struct BadJson {
    pub(super) pointer: String,
    pub(super) reason: &'static str,
}

/// How requests are looked at, and answers read.
pub(super) struct Terms {
    pub(super) to: Option<To>,
    pub(super) strict: bool,
    pub(super) http_status: Option<u16>,
}

impl Fate {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Warned => "warned",
            Self::Refused => "refused",
        }
    }
}

impl Said {
    /// What is said of a document that is taken for something.
    pub(super) fn of(document: &Value, shape: Shape, terms: &Terms) -> (Fate, Self) {
        match shape {
            Shape::Request => request(document, terms),
            Shape::Response => response(document, terms),
            Shape::Webhook => webhook(document),
        }
    }
}

fn request(document: &Value, terms: &Terms) -> (Fate, Said) {
    let to = terms.to.or_else(|| recipient(document));
    let mut findings = rules::check_address(document);
    findings.extend(rules::check(document, to, terms.strict));
    // The surest first; within a class in the order of the body.
    findings.sort_by_key(|finding| finding.class);
    let fate = match findings.first().map(|finding| finding.class) {
        Some(Class::Refused) => Fate::Refused,
        Some(Class::Doubtful) => Fate::Warned,
        None => Fate::Accepted,
    };
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
    let kind = match (text("/type"), text("/interactive/type"), text("/status")) {
        (Some("interactive"), Some(kind), _) => format!("interactive {kind}"),
        (Some(kind), ..) => kind.to_owned(),
        (None, _, Some("read")) => "mark as read".to_owned(),
        (None, ..) if document.get("text").is_some() => "text".to_owned(),
        (None, ..) => "no type".to_owned(),
    };
    let findings = findings.into_iter().map(FindingJson::of).collect();
    (fate, Said::Request { kind, findings })
}

/// To whom a whole request goes; unknown of a payload alone.
fn recipient(document: &Value) -> Option<To> {
    match document.get("recipient_type").and_then(Value::as_str) {
        Some("group") => Some(To::Group),
        _ if document.get("to").is_some() => Some(To::Phone),
        _ => document.get("recipient").map(|_| To::User),
    }
}

fn response(document: &Value, terms: &Terms) -> (Fate, Said) {
    let is_error = document.get("error").is_some() || document.get("errors").is_some();
    let status = match (terms.http_status, is_error) {
        (Some(status), _) => status,
        (None, true) => 400,
        (None, false) => 200,
    };
    let echo = document
        .pointer("/contacts/0/input")
        .and_then(Value::as_str);
    let is_answer_to_read =
        document.get("success").is_some() && echo.is_none() && document.get("messages").is_none();
    let expected = match is_answer_to_read {
        true => Expected::MarkAsRead,
        // Whom the request named is not known here, so the echo is believed.
        false => Expected::Message(Recipient::User(echo.unwrap_or_default())),
    };
    let body = document.to_string();
    let happened = Happened::Answer {
        status,
        retry_after: None,
        body: body.as_bytes(),
        secrets: &Secrets::default(),
    };
    let outcome = judge(&happened, &expected);
    let fate = match outcome {
        Outcome::Accepted(_) => Fate::Accepted,
        Outcome::Rejected(_) => Fate::Refused,
        Outcome::NotSent(_)
        | Outcome::Throttled { .. }
        | Outcome::Held { .. }
        | Outcome::Transient { .. }
        | Outcome::Uncertain(_) => Fate::Warned,
    };
    let said = Said::Response {
        http_status: status,
        outcome: outcome.name(),
        then: then(&outcome),
    };
    (fate, said)
}

/// What the worker would do.
fn then(outcome: &Outcome) -> String {
    let first = Progress {
        attempts: 1,
        pair_strikes: 0,
        finds_out: false,
    };
    match Transition::of(outcome, first, &RetryPolicy::default()) {
        Transition::Accept(acceptance) => match acceptance.wamid {
            Some(_) => "the wamid is kept, and the message is never sent again".to_owned(),
            None => "the message is done; it gets no wamid".to_owned(),
        },
        Transition::Fail { message, .. } => {
            format!("the message fails and is not tried again: {message}")
        }
        Transition::Requeue {
            spent, waiting_for, ..
        } => {
            let cost = match spent {
                true => "an attempt is spent",
                false => "no attempt is spent",
            };
            format!("the message waits for {waiting_for}; {cost}")
        }
        Transition::Doubt { doubt, may_resend } => {
            let policy = match may_resend {
                true => "then its policy settles it",
                false => "then a person does: it is never sent again by itself",
            };
            format!("the message is uncertain: {doubt}; evidence is waited for, {policy}")
        }
    }
}

fn webhook(document: &Value) -> (Fate, Said) {
    let delivery = match Delivery::read(document.to_string().as_bytes()) {
        Ok(delivery) => delivery,
        Err(error) => {
            let error = error.to_string();
            return (Fate::Refused, Said::NotJson { error });
        }
    };
    let mut statuses = BTreeMap::new();
    for event in &delivery.statuses {
        *statuses
            .entry(event.status.as_str().to_owned())
            .or_default() += 1;
    }
    let bad: Vec<_> = delivery
        .bad
        .into_iter()
        .map(|bad| BadJson {
            pointer: bad.path,
            reason: bad.reason,
        })
        .collect();
    let fate = match bad.is_empty() {
        true => Fate::Accepted,
        false => Fate::Warned,
    };
    let said = Said::Webhook {
        statuses,
        template_updates: delivery.template_updates.len(),
        preferences: delivery.preferences.len(),
        ignored: delivery.others,
        bad,
    };
    (fate, said)
}

impl FindingJson {
    fn of(finding: Finding) -> Self {
        let rule = finding.rule;
        Self {
            class: finding.class,
            rule: rule.id,
            found: finding.found.to_string(),
            limit: rule.limit.to_string(),
            fix: finding.fix(),
            pointer: finding.pointer,
            source: rule.source,
        }
    }
}
