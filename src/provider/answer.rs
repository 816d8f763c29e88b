//! Reads the body of an answer, whatever it is.
//!
//! It never fails and asks for nothing: what is missing, of another type or no JSON at all is simply not there,
//! so that an id is found in any answer that has one. What is JSON but for a broken character or a rest behind it is mended. Texts
//! are made fit to be stored and logged: cut to a length, on one line, and freed of what let the request in and of what looks like a
//! token, for an answer may repeat the one that it refuses.

use serde_json::Value;

use super::codes::Dialect;
use crate::domain::id::Wamid;
use crate::domain::outcome::ApiError;
use crate::domain::text::{Secrets, fit, without_halves};

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
    /// It is a JSON object, and nothing stands under `error` or `errors`.
    pub(super) is_without_errors: bool,
    /// Something stands at `messages[0].id` that is no id: half of one, most likely.
    pub(super) has_broken_id: bool,
    /// The error, if one stands there.
    pub(super) error: Reading,
    /// How it begins, for people.
    pub(super) excerpt: Option<String>,
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

/// Beyond this not every whole number can be written as a fraction.
const LARGEST_WHOLE: f64 = (1_u64 << 53) as f64;

/// Some servers begin every text with it.
const BYTE_ORDER_MARK: char = '\u{FEFF}';

impl Answer {
    /// What `body` holds; nothing at all if it is no JSON object. No text of it tells any of the secrets.
    pub(super) fn read(body: &[u8], secrets: &Secrets) -> Self {
        let Some(answer) = object(body) else {
            return Self {
                excerpt: secrets.excerpt(body),
                ..Self::default()
            };
        };
        let message = |key| first(&answer, "messages")?.get(key);
        let contact = |key| first(&answer, "contacts")?.get(key);
        let wamid = message("id").and_then(id).map(Wamid::from);
        Self {
            // Of a plain acceptance nobody asks for it.
            excerpt: wamid.is_none().then(|| secrets.excerpt(body)).flatten(),
            has_broken_id: wamid.is_none() && message("id").and_then(plain).is_some(),
            wamid,
            message_status: message("message_status").and_then(|it| text(it, secrets)),
            echo: contact("input").and_then(plain),
            wa_id: contact("wa_id").and_then(|it| name(it, secrets)),
            success: answer.get("success") == Some(&Value::Bool(true)),
            is_without_errors: !has_something(&answer, "error")
                && !has_something(&answer, "errors"),
            error: read_error(&answer, secrets),
        }
    }
}

/// The id of a file that was uploaded: `{"id":…}` of the Cloud API, `{"media":[{"id":…}]}` of the On-Premises client.
pub(super) fn uploaded(body: &[u8]) -> Option<String> {
    let answer = object(body)?;
    let of_client = || first(&answer, "media")?.get("id");
    answer.get("id").or_else(of_client).and_then(id)
}

fn object(body: &[u8]) -> Option<Value> {
    let whole = serde_json::from_slice(body).ok();
    whole.or_else(|| mended(body)).filter(Value::is_object)
}

/// A JSON object that is good but for bytes that are no UTF-8, halves of characters, a byte order mark, or bytes behind its end:
/// what proxies and cut texts do to an answer.
///
/// It must not make another answer of it. So there is none where a name was broken, for what stood under it would be missing, nor
/// where another object may follow.
fn mended(body: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(body);
    let text = without_halves(text.trim_start_matches(BYTE_ORDER_MARK));
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let value = values.next()?.ok()?;
    let is_last = !text[values.byte_offset()..].contains('{');
    (is_last && has_whole_names(&value)).then_some(value)
}

fn has_whole_names(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().all(|(name, value)| {
            !name.contains(char::REPLACEMENT_CHARACTER) && has_whole_names(value)
        }),
        Value::Array(values) => values.iter().all(has_whole_names),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn has_something(answer: &Value, name: &str) -> bool {
    match answer.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Array(values)) => !values.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => true,
    }
}

/// What stands first in a list of the answer.
fn first<'a>(answer: &'a Value, list: &str) -> Option<&'a Value> {
    answer.get(list)?.get(0)
}

fn read_error(answer: &Value, secrets: &Secrets) -> Reading {
    if let Some(error) = answer.get("error").filter(|error| is_error(error)) {
        return Reading::Error {
            error: api_error(error, secrets),
            dialect: Dialect::Cloud,
        };
    }
    match first(answer, "errors").filter(|error| is_error(error)) {
        Some(error) => Reading::Error {
            error: api_error(error, secrets),
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

fn api_error(error: &Value, secrets: &Secrets) -> ApiError {
    let of = |key| error.get(key);
    let text = |value| text(value, secrets);
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
        excerpt: None,
    }
}

/// A whole number, also as a string or written as a fraction: a few providers quote their codes, and in some languages every number is one
/// with a point.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| whole(text.parse().ok()?))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < LARGEST_WHOLE).then_some(number as i64)
}

/// A string as it may be shown, or a number as one; never an empty one.
fn text(value: &Value, secrets: &Secrets) -> Option<String> {
    plain(value).map(|text| cut(fit(&secrets.taken_out(&text))))
}

/// The same of what is compared, and may look like anything.
fn name(value: &Value, secrets: &Secrets) -> Option<String> {
    plain(value).map(|name| cut(secrets.taken_out(&name).replace(char::is_control, " ")))
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
