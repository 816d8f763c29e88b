//! What WhatsApp says of a message after it took it, and the words it says it in.
//!
//! Bodies follow Meta's "Status messages webhook reference". Like Meta's they are signed as sent, with `/` and all
//! that is not ASCII escaped: a receiver that checks the signature over JSON it has written anew does not pass.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::dice::dice;
use super::entry::Entry;
use super::fault::WebhookFault;
use super::graph_error::GraphError;
use super::message::{Address, Asked, Dialect, recipient_key};
use super::number::{display_phone_number, wa_id};

/// A business account that all numbers belong to.
pub(super) const ACCOUNT: &str = "102290129340398";

/// WhatsApp's news of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// On its way to the recipient.
    Sent,
    /// On the recipient's device.
    Delivered,
    /// Seen.
    Read,
    /// A voice message was listened to.
    Played,
    /// Not delivered, with Meta's code.
    Failed(u32),
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed(_) => "failed",
        }
    }
}

/// A name that is no status that comes by itself.
#[derive(Debug, thiserror::Error)]
#[error("there is no status {0:?}; known: sent, delivered, read, played")]
pub struct UnknownStatus(String);

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(name: &str) -> Result<Self, UnknownStatus> {
        let known = [Self::Sent, Self::Delivered, Self::Read, Self::Played];
        known
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or_else(|| UnknownStatus(name.to_owned()))
    }
}

/// When a status comes, and how often it comes at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatusRule {
    /// Since the status before it, or since the answer for the first.
    pub delay: Duration,
    /// From 0 to 1. What does not come ends the row: a message not delivered is not read.
    pub probability: f64,
}

impl StatusRule {
    /// A status that always comes, after this time.
    pub fn after(delay: Duration) -> Self {
        Self {
            delay,
            probability: 1.0,
        }
    }
}

/// Which statuses an accepted message gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statuses {
    /// Also the only one that a reaction ever gets (Meta, Reaction messages, "Limitations").
    pub sent: Option<StatusRule>,
    /// Delivered.
    pub delivered: Option<StatusRule>,
    /// Read.
    pub read: Option<StatusRule>,
    /// Played; voice messages only.
    pub played: Option<StatusRule>,
}

impl Default for Statuses {
    /// All of them, always, a few milliseconds apart.
    fn default() -> Self {
        Self::only(&[
            Status::Sent,
            Status::Delivered,
            Status::Read,
            Status::Played,
        ])
    }
}

impl Statuses {
    /// None by itself: a test tells what it wants told.
    pub fn none() -> Self {
        Self {
            sent: None,
            delivered: None,
            read: None,
            played: None,
        }
    }

    /// These, always, a few milliseconds apart.
    pub fn only(wanted: &[Status]) -> Self {
        let rule = |status, ms| {
            wanted
                .contains(&status)
                .then(|| StatusRule::after(Duration::from_millis(ms)))
        };
        Self {
            sent: rule(Status::Sent, 5),
            delivered: rule(Status::Delivered, 10),
            read: rule(Status::Read, 10),
            played: rule(Status::Played, 10),
        }
    }
}

/// One status to be told, and how long after the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) delay: Duration,
    pub(super) status: Status,
}

/// In which form statuses come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Meta's envelope, signed; callback data comes back.
    Meta,
    /// The On-Premises client's: a bare list, unsigned, without callback data.
    Bare,
}

/// A body to be posted.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) style: Style,
    pub(super) body: String,
}

impl Delivery {
    pub(super) fn signed(body: String) -> Self {
        Self {
            style: Style::Meta,
            body,
        }
    }
}

/// An accepted message as its statuses name it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) wamid: String,
    pub(super) number: Arc<str>,
    /// The recipient as faults and ledger compare it.
    pub(super) key: String,
    pub(super) address: Address,
    pub(super) kind: String,
    pub(super) is_voice: bool,
    pub(super) callback_data: Option<String>,
    pub(super) style: Style,
}

impl Told {
    pub(super) fn new(wamid: String, number: Arc<str>, dialect: Dialect, asked: &Asked) -> Self {
        Self {
            style: match dialect {
                Dialect::Cloud | Dialect::Marketing => Style::Meta,
                Dialect::OnPremises => Style::Bare,
            },
            wamid,
            number,
            key: asked.recipient_key(),
            address: asked.address,
            kind: asked.kind.clone(),
            is_voice: asked.is_voice,
            callback_data: asked.callback_data.clone(),
        }
    }

    /// The message of an entry that was accepted under this id.
    pub(super) fn of_entry(entry: &Entry, wamid: &str) -> Self {
        let key = recipient_key(&entry.recipient);
        let is_phone = key.bytes().all(|byte| byte.is_ascii_digit());
        Self {
            style: match wamid.starts_with("wamid.") {
                true => Style::Meta,
                false => Style::Bare,
            },
            wamid: wamid.to_owned(),
            number: entry.number.clone(),
            key,
            address: if is_phone {
                Address::Phone
            } else {
                Address::User
            },
            kind: entry.kind.clone(),
            is_voice: false,
            callback_data: entry.callback_data.clone(),
        }
    }

    /// One of `statuses[]`. `unix_s` is when it happened.
    pub(super) fn in_words(&self, status: Status, unix_s: u64) -> Value {
        let mut words = json!({
            "id": self.wamid,
            "status": status.name(),
            "timestamp": unix_s.to_string(),
        });
        match self.address {
            Address::Phone => words["recipient_id"] = wa_id(&self.key).into(),
            Address::User => words["recipient_user_id"] = self.key.as_str().into(),
            Address::Group => {
                words["recipient_id"] = self.key.as_str().into();
                words["recipient_type"] = "group".into();
            }
        }
        if self.style == Style::Bare {
            words["type"] = "message".into();
            if let Status::Failed(code) = status {
                words["errors"] = json!([GraphError::of_code(code).in_bare_status()]);
            }
            return words;
        }
        match status {
            Status::Sent | Status::Delivered => words["pricing"] = self.pricing(),
            Status::Read | Status::Played => {}
            Status::Failed(code) => {
                words["errors"] = json!([GraphError::of_code(code).in_status()])
            }
        }
        if let Some(data) = &self.callback_data {
            words["biz_opaque_callback_data"] = data.as_str().into();
        }
        words
    }

    fn pricing(&self) -> Value {
        if self.kind == "template" {
            json!({ "billable": true, "pricing_model": "PMP", "type": "regular", "category": "utility" })
        } else {
            json!({
                "billable": false,
                "pricing_model": "PMP",
                "type": "free_customer_service",
                "category": "service",
            })
        }
    }
}

/// The statuses of a message, in the order in which they are told.
pub(super) fn steps(
    told: &Told,
    rules: &Statuses,
    fault: Option<WebhookFault>,
    seed: u64,
) -> Vec<Step> {
    let natural = natural_steps(told, rules, seed);
    let soon = Duration::from_millis(10);
    let step = |status| Step {
        delay: soon,
        status,
    };
    match fault {
        None | Some(WebhookFault::Early) => natural,
        Some(WebhookFault::Lost) => Vec::new(),
        Some(WebhookFault::Late(ms)) => {
            let mut late = natural;
            if let Some(first) = late.first_mut() {
                first.delay += Duration::from_millis(ms.into());
            }
            late
        }
        Some(WebhookFault::Doubled) => natural.into_iter().flat_map(|step| [step, step]).collect(),
        Some(WebhookFault::Reordered) => natural.into_iter().rev().collect(),
        Some(WebhookFault::ReadOnly) => vec![step(Status::Read)],
        Some(WebhookFault::Failed(code)) => vec![step(Status::Sent), step(Status::Failed(code))],
        Some(WebhookFault::DeliveredThenFailed(code)) => {
            vec![
                step(Status::Sent),
                step(Status::Delivered),
                step(Status::Failed(code)),
            ]
        }
        Some(WebhookFault::FailedThenDelivered(code)) => {
            vec![
                step(Status::Sent),
                step(Status::Failed(code)),
                step(Status::Delivered),
            ]
        }
    }
}

fn natural_steps(told: &Told, rules: &Statuses, seed: u64) -> Vec<Step> {
    let mut rows = vec![(Status::Sent, rules.sent)];
    if told.kind != "reaction" {
        rows.push((Status::Delivered, rules.delivered));
        rows.push((Status::Read, rules.read));
        if told.is_voice {
            rows.push((Status::Played, rules.played));
        }
    }
    let mut steps = Vec::new();
    for (count, (status, rule)) in rows.into_iter().enumerate() {
        let Some(rule) = rule else { continue };
        // The id is in the dice, so that each message of a recipient has its own.
        if rule.probability < 1.0 && dice(seed, &told.wamid, count as u64) >= rule.probability {
            break;
        }
        steps.push(Step {
            delay: rule.delay,
            status,
        });
    }
    steps
}

/// One delivery of statuses, which are all of one style.
pub(super) fn delivery(news: &[(Arc<Told>, Status)], unix_s: u64) -> Delivery {
    match news.first().map(|(told, _)| told.style) {
        Some(Style::Bare) => Delivery {
            style: Style::Bare,
            body: bare_body(news, unix_s),
        },
        Some(Style::Meta) | None => Delivery::signed(body(news, unix_s)),
    }
}

/// As the On-Premises client posts them (Meta, On-Premises API, Webhooks).
fn bare_body(news: &[(Arc<Told>, Status)], unix_s: u64) -> String {
    let statuses: Vec<_> = news
        .iter()
        .map(|(told, status)| told.in_words(*status, unix_s))
        .collect();
    json!({ "statuses": statuses }).to_string()
}

/// As Meta posts them, grouped by number.
fn body(news: &[(Arc<Told>, Status)], unix_s: u64) -> String {
    let mut numbers: Vec<(&str, Vec<Value>)> = Vec::new();
    for (told, status) in news {
        let words = told.in_words(*status, unix_s);
        match numbers
            .iter_mut()
            .find(|(number, _)| *number == &*told.number)
        {
            Some((_, statuses)) => statuses.push(words),
            None => numbers.push((&told.number, vec![words])),
        }
    }
    let changes: Vec<Value> = numbers
        .into_iter()
        .map(|(number, statuses)| {
            let metadata = json!({ "display_phone_number": display_phone_number(number), "phone_number_id": number });
            json!({
                "value": { "messaging_product": "whatsapp", "metadata": metadata, "statuses": statuses },
                "field": "messages",
            })
        })
        .collect();
    as_meta_writes(&json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": ACCOUNT, "changes": changes }],
    }))
}

/// News of a template, as the field `message_template_status_update` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateNews {
    /// The template's name.
    pub name: String,
    /// Its language, such as `en_US`.
    pub language: String,
    /// `APPROVED`, `PAUSED`, `DISABLED`, `REJECTED`, …
    pub event: String,
    /// Meta's reason; `NONE` where there is none.
    pub reason: String,
}

impl TemplateNews {
    pub(super) fn delivery(&self, unix_s: u64) -> String {
        let value = json!({
            "event": self.event,
            "message_template_id": 1_689_556_908_129_832_u64,
            "message_template_name": self.name,
            "message_template_language": self.language,
            "reason": self.reason,
        });
        let change = json!({ "value": value, "field": "message_template_status_update" });
        as_meta_writes(&json!({
            "object": "whatsapp_business_account",
            "entry": [{ "id": ACCOUNT, "time": unix_s, "changes": [change] }],
        }))
    }
}

/// JSON as Meta writes it: `/` as `\/`, and what is not ASCII as `\u….`, in UTF-16 units.
fn as_meta_writes(value: &Value) -> String {
    let plain = value.to_string();
    let mut written = String::with_capacity(plain.len() + 64);
    for character in plain.chars() {
        match character {
            '/' => written.push_str("\\/"),
            ascii if ascii.is_ascii() => written.push(ascii),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(written, "\\u{unit:04x}");
                }
            }
        }
    }
    written
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
