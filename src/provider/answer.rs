//! Reads the body of an answer, whatever it is.
//!
//! It never fails and asks for nothing: what is missing, of another type or no JSON at all is simply not there,
//! so that an id is found in any answer that has one. Texts are made fit to be stored and logged: cut to a length, on
//! one line, and freed of what looks like a token, for an answer may repeat the one that it refuses.

use serde_json::Value;

use super::codes::Dialect;
use crate::domain::id::Wamid;
use crate::domain::outcome::ApiError;
use crate::domain::text::fit;

/// What an answer holds.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// `messages[0].id`.
    pub(super) wamid: Option<Wamid>,
    /// `messages[0].message_status`.
    pub(super) message_status: Option<String>,
    /// `contacts[0].input`: the recipient as the request named it.
    pub(super) echo: Option<String>,
    /// `contacts[0].wa_id`.
    pub(super) wa_id: Option<String>,
    /// `{"success":true}`.
    pub(super) success: bool,
    /// It is a JSON object at all.
    pub(super) is_object: bool,
    /// The error, if one stands there.
    pub(super) error: Reading,
}

/// Whether an error stands in an answer.
#[derive(Debug, Default)]
pub(super) enum Reading {
    /// No, or nothing that looks like WhatsApp's.
    #[default]
    Nothing,
    /// Yes, and its shape tells which table its code is to be looked up in.
    Error {
        /// The error, without the HTTP status.
        error: ApiError,
        /// `errors` list: On-Premises; `error` object: Cloud.
        dialect: Dialect,
    },
}

/// Longer texts are cut: they are for people, and an answer may be a megabyte.
const LONGEST_TEXT: usize = 2_000;

/// Longer ids are none (Meta, Messages reference: 128 characters): they would not fit into a unique index.
const LONGEST_ID: usize = 512;

impl Answer {
    /// What `body` holds; nothing at all if it is no JSON object.
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(answer @ Value::Object(_)) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        let message = |key| first(&answer, "messages")?.get(key);
        let contact = |key| first(&answer, "contacts")?.get(key);
        Self {
            wamid: message("id").and_then(id).map(Wamid::from),
            message_status: message("message_status").and_then(text),
            echo: contact("input").and_then(plain),
            wa_id: contact("wa_id").and_then(name),
            success: answer.get("success") == Some(&Value::Bool(true)),
            is_object: true,
            error: read_error(&answer),
        }
    }
}

/// What stands first in a list of the answer.
fn first<'a>(answer: &'a Value, list: &str) -> Option<&'a Value> {
    answer.get(list)?.get(0)
}

fn read_error(answer: &Value) -> Reading {
    if let Some(error) = answer.get("error").filter(|error| is_error(error)) {
        return Reading::Error {
            error: api_error(error),
            dialect: Dialect::Cloud,
        };
    }
    match first(answer, "errors").filter(|error| is_error(error)) {
        Some(error) => Reading::Error {
            error: api_error(error),
            dialect: Dialect::OnPremises,
        },
        None => Reading::Nothing,
    }
}

/// WhatsApp's errors have a code; Graph's always have a message. `{"error":"invalid_request"}` is neither's.
fn is_error(error: &Value) -> bool {
    error.get("code").and_then(number).is_some()
        || error.get("message").is_some_and(Value::is_string)
}

fn api_error(error: &Value) -> ApiError {
    let of = |key| error.get(key);
    ApiError {
        http_status: None,
        code: of("code").and_then(number),
        subcode: of("error_subcode").and_then(number),
        title: of("message")
            .and_then(text)
            .or_else(|| of("title").and_then(text)),
        details: of("error_data")
            .and_then(|data| data.get("details"))
            .and_then(text)
            .or_else(|| of("details").and_then(text))
            .or_else(|| of("error_user_msg").and_then(text)),
        fbtrace_id: of("fbtrace_id").and_then(text),
    }
}

/// A number, also as a string: a few providers quote their codes.
fn number(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

/// A string as it may be shown, or a number as one; never an empty one.
fn text(value: &Value) -> Option<String> {
    plain(value).map(|text| cut(fit(&text)))
}

/// The same of what is compared, and may look like anything.
fn name(value: &Value) -> Option<String> {
    plain(value).map(|name| cut(name.replace(char::is_control, " ")))
}

/// A string, or a number as one; never an empty one.
fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(end);
    }
    text
}

/// An id is kept exactly as it came or not at all: half an id is no id.
pub(super) fn id(value: &Value) -> Option<String> {
    let is_storable = |id: &String| {
        let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
        id.len() <= LONGEST_ID && !id.chars().any(is_odd)
    };
    plain(value).filter(is_storable)
}
