//! Reads what a delivery says.
//!
//! One delivery may hold a thousand updates of many messages (Meta, "Create a webhook endpoint"), and one that we
//! cannot read must not cost the others. So every entry, change and status is read on its own: a bad one is named by
//! its place and a reason, the rest is applied. What is well-formed but none of our business is only counted.
//!
//! Nothing in here panics, whatever the bytes. What we do not read is skipped without being decoded or nested into,
//! so an inbound message of any depth costs no stack; what we do read is bounded by serde_json's limit of 128 levels,
//! and deeper is a bad entry like any other.
//!
//! No text of a delivery gets into a reason, so bad entries may be logged.

mod accounts;
mod templates;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::domain::account_news::{AccountNews, OurNumber};
use crate::domain::id::{SenderId, Wamid, is_id_of_somebody};
use crate::domain::outcome::ApiError;
use crate::domain::phone;
use crate::domain::status::{Status, StatusEvent};
use crate::domain::text::{fit, without_halves};
use accounts::Entry;
use templates::template_update;
pub use templates::{TemplateEffect, TemplateUpdate};

/// The longest wamid that is taken, in bytes. Real ones have under 100; one that no index of ours could hold must not
/// stop the rest of its delivery.
pub const MAX_WAMID_BYTES: usize = 512;
/// Of what cannot be read so many parts are told one by one; a delivery of three megabytes can have a million.
const MOST_BAD: usize = 100;

/// What one delivery says.
#[derive(Debug, Default, PartialEq)]
pub struct Delivery {
    /// Statuses of messages, in the order they stood in.
    pub statuses: Vec<StatusEvent>,
    /// Changes of templates.
    pub template_updates: Vec<TemplateUpdate>,
    /// What WhatsApp says of our numbers and accounts.
    pub account_news: Vec<AccountNews>,
    /// The numbers of ours that it names, each once in a row.
    pub numbers: Vec<OurNumber>,
    /// What people have chosen about marketing messages.
    pub preferences: Vec<UserPreference>,
    /// How many parts were understood to be none of ours: changes that carry no statuses (inbound messages, calls, good news of
    /// an account) and statuses of a name we do not know.
    pub others: usize,
    /// What could not be read: the first of it.
    pub bad: Vec<BadEntry>,
    /// And so many more.
    pub more_bad: usize,
}

/// A part of a delivery that could not be read. Holds nothing personal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// Where it stands, as a JSON pointer (RFC 6901): `/entry/0/changes/2/value/statuses/1`.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Somebody has stopped marketing messages from a number of ours, or allows them again (Meta, "user_preferences webhook
/// reference").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPreference {
    /// The number.
    pub sender: SenderId,
    /// Who: a phone number with `+`, or a business-scoped user id.
    pub recipient: String,
    /// No more, or again.
    pub stops: bool,
    /// When, where it says so.
    pub at: Option<OffsetDateTime>,
}

/// The bytes are no JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the delivery is not a JSON object")]
pub struct NotJson;

impl Delivery {
    /// Reads a delivery from its raw bytes.
    ///
    /// # Errors
    /// When it is not JSON at all, or no object; all else is in [`Delivery::bad`], or counted in [`Delivery::more_bad`].
    pub fn read(body: &[u8]) -> Result<Self, NotJson> {
        // Bytes that are not UTF-8 spoil the string they stand in, not the delivery.
        let body = String::from_utf8_lossy(body);
        let envelope: Object<'_> = serde_json::from_str(&body).map_err(|_| NotJson)?;

        let mut delivery = Self::default();
        match (envelope.get("entry"), envelope.get("statuses")) {
            (Some(entries), _) => delivery.read_entries(entries),
            // On-Premises and Service4U post the statuses without an envelope, so they name no sender.
            (None, Some(statuses)) => delivery.read_statuses(statuses, None, "/statuses"),
            (None, None) => delivery.others += 1,
        }
        Ok(delivery)
    }

    fn read_entries(&mut self, entries: &RawValue) {
        for (index, entry) in self.items(entries, "/entry").into_iter().enumerate() {
            let path = format!("/entry/{index}");
            let Some(entry) = self.object(entry, &path) else {
                continue;
            };
            let of = Entry {
                account: entry.get("id").and_then(text).filter(|id| id != "0"),
                at: entry.get("time").and_then(moment),
            };
            match entry.get("changes") {
                Some(changes) => self.read_changes(changes, &of, &path),
                None => self.others += 1,
            }
        }
    }

    fn read_changes(&mut self, changes: &RawValue, entry: &Entry, entry_path: &str) {
        let path = format!("{entry_path}/changes");
        for (index, change) in self.items(changes, &path).into_iter().enumerate() {
            let path = format!("{path}/{index}");
            let Some(change) = self.object(change, &path) else {
                continue;
            };
            let path = format!("{path}/value");
            match (
                change.get("field").and_then(text).as_deref(),
                change.get("value"),
            ) {
                (Some("messages") | None, Some(value)) => self.read_value(value, entry, &path),
                (Some("message_template_status_update"), Some(value)) => {
                    self.read_template(value, entry, &path)
                }
                (Some("message_template_quality_update"), Some(value)) => {
                    self.read_news(value, entry, &path, accounts::template_quality)
                }
                (Some("phone_number_quality_update"), Some(value)) => {
                    self.read_news(value, entry, &path, accounts::number_quality)
                }
                (Some("account_update"), Some(value)) => {
                    self.read_news(value, entry, &path, accounts::account_update)
                }
                (Some("user_preferences"), Some(value)) => {
                    self.read_preferences(value, entry, &path)
                }
                _ => self.others += 1,
            }
        }
    }

    fn read_preferences(&mut self, value: &RawValue, entry: &Entry, path: &str) {
        let Some(value) = self.object(value, path) else {
            return;
        };
        let number = our_number(&value, entry);
        let (Some(chosen), Some(number)) = (value.get("user_preferences"), number) else {
            self.others += 1;
            return;
        };
        let sender = number.sender;
        let path = format!("{path}/user_preferences");
        for (index, one) in self.items(chosen, &path).into_iter().enumerate() {
            let read = serde_json::from_str::<Value>(one.get()).map_err(|_| "cannot be decoded");
            match read.and_then(|one| preferences(&one, &sender)) {
                Ok(read) if read.is_empty() => self.others += 1,
                Ok(read) => self.preferences.extend(read),
                Err(reason) => self.cannot_read(format_args!("{path}/{index}"), reason),
            }
        }
    }

    fn read_value(&mut self, value: &RawValue, entry: &Entry, path: &str) {
        let Some(value) = self.object(value, path) else {
            return;
        };
        let number = our_number(&value, entry);
        let sender = number.as_ref().map(|number| number.sender.clone());
        if let Some(number) = number
            && (number.account.is_some() || number.number.is_some())
            && self.numbers.last() != Some(&number)
        {
            self.numbers.push(number);
        }
        let Some(statuses) = value.get("statuses") else {
            self.others += 1;
            return;
        };
        self.read_statuses(statuses, sender.as_ref(), &format!("{path}/statuses"));
    }

    fn read_statuses(&mut self, statuses: &RawValue, sender: Option<&SenderId>, path: &str) {
        for (index, status) in self.items(statuses, path).into_iter().enumerate() {
            let read = Object::of(status).ok_or("is not an object");
            match read.and_then(|status| status_event(&status, sender)) {
                Ok(Some(event)) => self.statuses.push(event),
                Ok(None) => self.others += 1,
                Err(reason) => self.cannot_read(format_args!("{path}/{index}"), reason),
            }
        }
    }

    fn read_template(&mut self, value: &RawValue, entry: &Entry, path: &str) {
        // Meta's own example of a quality update carries the name of this field.
        if Object::of(value).is_some_and(|value| is_of_quality(&value)) {
            return self.read_news(value, entry, path, accounts::template_quality);
        }
        let read = serde_json::from_str::<Value>(value.get()).map_err(|_| "cannot be decoded");
        match read.and_then(|value| template_update(&value, entry.account.as_deref())) {
            Ok(update) => self.template_updates.push(update),
            Err(reason) => self.cannot_read(format_args!("{path}"), reason),
        }
    }

    fn read_news(
        &mut self,
        value: &RawValue,
        entry: &Entry,
        path: &str,
        news_of: fn(&Value, &Entry) -> Result<Option<AccountNews>, &'static str>,
    ) {
        let read = serde_json::from_str::<Value>(value.get()).map_err(|_| "cannot be decoded");
        match read.and_then(|value| news_of(&value, entry)) {
            Ok(Some(news)) => self.account_news.push(news),
            Ok(None) => self.others += 1,
            Err(reason) => self.cannot_read(format_args!("{path}"), reason),
        }
    }

    fn cannot_read(&mut self, path: fmt::Arguments<'_>, reason: &'static str) {
        match self.bad.len() < MOST_BAD {
            true => self.bad.push(BadEntry {
                path: path.to_string(),
                reason,
            }),
            false => self.more_bad += 1,
        }
    }

    /// The items of an array; none, and a bad entry, when it is no array.
    fn items<'a>(&mut self, array: &'a RawValue, path: &str) -> Vec<&'a RawValue> {
        serde_json::from_str(array.get()).unwrap_or_else(|_| {
            self.cannot_read(format_args!("{path}"), "is not an array");
            Vec::new()
        })
    }

    /// The members of an object; none, and a bad entry, when it is no object.
    fn object<'a>(&mut self, object: &'a RawValue, path: &str) -> Option<Object<'a>> {
        let read = Object::of(object);
        if read.is_none() {
            self.cannot_read(format_args!("{path}"), "is not an object");
        }
        read
    }
}

/// An object whose values are not decoded yet. Of a member given twice the last counts, as with most readers.
#[derive(Deserialize)]
#[serde(transparent)]
struct Object<'a>(#[serde(borrow)] HashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Object<'a> {
    fn of(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    /// A member that is there and not null.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .get(name)
            .copied()
            .filter(|value| value.get() != "null")
    }
}

/// The number of ours that a change is about, and what else it is known by.
fn our_number(value: &Object<'_>, entry: &Entry) -> Option<OurNumber> {
    let metadata = value.get("metadata").and_then(Object::of)?;
    let named = |name: &str| metadata.get(name).and_then(text);
    Some(OurNumber {
        sender: named("phone_number_id").map(SenderId::from)?,
        account: entry.account.clone(),
        number: named("display_phone_number")
            .as_deref()
            .and_then(accounts::digits),
    })
}

fn is_of_quality(value: &Object<'_>) -> bool {
    value.get("event").is_none() && value.get("new_quality_score").is_some()
}

fn moment(raw: &RawValue) -> Option<OffsetDateTime> {
    serde_json::from_str::<Value>(raw.get())
        .ok()
        .as_ref()
        .and_then(timestamp)
}

/// A value, also where a text in it was cut in the middle of a character: half of a surrogate pair cannot be decoded.
fn decoded(raw: &RawValue) -> Option<Value> {
    let whole = serde_json::from_str(raw.get());
    whole
        .or_else(|_| serde_json::from_str(&without_halves(raw.get())))
        .ok()
}

/// The string that a raw value is. An id that came as a number is taken by its digits.
fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str::<Value>(raw.get())
        .ok()
        .as_ref()
        .and_then(clean_text)
}

/// A string or a number as text that Postgres can hold.
fn clean_text(value: &Value) -> Option<String> {
    match value {
        // A text column of Postgres refuses a NUL, and would refuse the whole batch with it.
        Value::String(text) => Some(text.replace('\0', "\u{FFFD}")),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The first of these members that is a text with something in it.
fn first_text(object: &Value, names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| object.get(name).and_then(clean_text))
        .find(|text| !text.is_empty())
}

/// What is read of a status.
const OF_A_STATUS: [&str; 10] = [
    "id",
    "status",
    "timestamp",
    "recipient_id",
    "recipient_user_id",
    "recipient_participant_id",
    "participant_recipient_id",
    "recipient_participant_user_id",
    "biz_opaque_callback_data",
    "errors",
];

/// A status; `None` for one that WhatsApp has added since, or that only other APIs know. Each member is decoded on its own: it counts
/// without those that cannot be.
fn status_event(
    status: &Object<'_>,
    sender: Option<&SenderId>,
) -> Result<Option<StatusEvent>, &'static str> {
    let member = |name: &&str| Some(((*name).to_owned(), decoded(status.get(name)?)?));
    let status = &Value::Object(OF_A_STATUS.iter().filter_map(member).collect());
    let name = status
        .get("status")
        .and_then(Value::as_str)
        .ok_or("has no status")?;
    let Some(name) = Status::parse(name) else {
        return Ok(None);
    };
    Ok(Some(StatusEvent {
        sender: sender.cloned(),
        wamid: wamid(status)?,
        status: name,
        at: status.get("timestamp").and_then(timestamp),
        recipient: first_text(status, &["recipient_id", "recipient_user_id"]),
        // Meta's pages name the participant in two ways.
        participant: first_text(
            status,
            &[
                "recipient_participant_id",
                "participant_recipient_id",
                "recipient_participant_user_id",
            ],
        ),
        callback_data: status.get("biz_opaque_callback_data").and_then(clean_text),
        error: status.get("errors").and_then(first_error),
    }))
}

fn wamid(status: &Value) -> Result<Wamid, &'static str> {
    let id = status.get("id").ok_or("has no id")?;
    let id = id.as_str().ok_or("has an id that is not text")?;
    match id {
        "" => Err("has an empty id"),
        _ if id.len() > MAX_WAMID_BYTES => Err("has an id that is too long"),
        _ if id.contains('\0') => Err("has an id with a NUL in it"),
        _ => Ok(Wamid::from(id)),
    }
}

/// Seconds since 1970, as text (Meta) or number, or milliseconds, as some go-betweens send them. What cannot be a
/// moment is left out: a status counts without it.
fn timestamp(value: &Value) -> Option<OffsetDateTime> {
    // As seconds this is the year 5138, as milliseconds it is 1973: nothing real is taken for the other.
    const FIRST_MILLISECONDS: i64 = 100_000_000_000;
    let number = match value {
        Value::String(text) => text.trim().parse::<i64>().ok()?,
        Value::Number(number) => number.as_i64()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    match number {
        ..=0 => None,
        1..FIRST_MILLISECONDS => OffsetDateTime::from_unix_timestamp(number).ok(),
        _ => OffsetDateTime::from_unix_timestamp_nanos(i128::from(number) * 1_000_000).ok(),
    }
}

/// The first error that says something; Meta sends one.
fn first_error(errors: &Value) -> Option<ApiError> {
    errors
        .as_array()?
        .iter()
        .map(api_error)
        .find(|error| *error != ApiError::default())
}

fn api_error(error: &Value) -> ApiError {
    let code = error.get("code").and_then(|code| match code {
        Value::String(text) => text.trim().parse().ok(),
        _ => code.as_i64(),
    });
    ApiError {
        http_status: None,
        code,
        subcode: error.get("error_subcode").and_then(Value::as_i64),
        title: told(error, &["title", "message"]),
        // On-Premises has the details beside the title.
        details: error
            .get("error_data")
            .and_then(|data| told(data, &["details"]))
            .or_else(|| told(error, &["details"])),
        fbtrace_id: told(error, &["fbtrace_id"]),
        excerpt: None,
    }
}

/// A text for people: it becomes the reason of a hold and a line of a log.
fn told(object: &Value, names: &[&str]) -> Option<String> {
    first_text(object, names).map(|text| fit(&text))
}

/// A choice about marketing messages, once for each name that the person is known by; none for any other choice (`signup`, and
/// what will come).
fn preferences(chosen: &Value, sender: &SenderId) -> Result<Vec<UserPreference>, &'static str> {
    if !chosen.is_object() {
        return Err("is not an object");
    }
    let category = first_text(chosen, &["category"]);
    let stops = match first_text(chosen, &["value"]).as_deref() {
        Some("stop") => true,
        Some("resume") => false,
        Some(_) => return Ok(Vec::new()),
        None => return Err("has no value"),
    };
    if category.is_some_and(|category| category != "marketing_messages") {
        return Ok(Vec::new());
    }
    let phone =
        first_text(chosen, &["wa_id"]).map(|id| match id.bytes().all(|b| b.is_ascii_digit()) {
            true => format!("+{id}"),
            false => id,
        });
    let names: Vec<String> = phone
        .into_iter()
        .chain(first_text(chosen, &["user_id"]))
        .filter(|name| phone::is_normal(name) || is_id_of_somebody(name))
        .collect();
    if names.is_empty() {
        return Err("names nobody");
    }
    let at = chosen.get("timestamp").and_then(timestamp);
    let of = |recipient| UserPreference {
        sender: sender.clone(),
        recipient,
        stops,
        at,
    };
    Ok(names.into_iter().map(of).collect())
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.reason)
    }
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
