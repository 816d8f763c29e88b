//! What an application wants to send: any text. What it wrote reaches the wire as it wrote it.

use serde_json::Value;
use wa_outbox::message::{self, rules};
use wa_outbox::provider::file_reference::{file_references, with_ids};
use wa_outbox::provider::{Envelope, Payload, Recipient};

const OURS: [&str; 4] = ["messaging_product", "recipient_type", "to", "recipient"];
const DATA: &str = "biz_opaque_callback_data";

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let value: Option<Value> = serde_json::from_str(text).ok();
    let payload = match Payload::parse(text) {
        Ok(payload) => payload,
        Err(error) => {
            assert!(
                !matches!(value, Some(Value::Object(_))),
                "an object was refused: {error}"
            );
            return;
        }
    };
    files_become_ids(text, value.as_ref());
    let _ = (
        payload.kind(),
        payload.template(),
        payload.callback_data(),
        payload.message_id(),
    );
    let recipients = [
        Recipient::Phone("+16505551234"),
        Recipient::User("US.1349"),
        Recipient::Group("Y2FwaV9n"),
    ];
    for recipient in &recipients {
        for envelope in [Envelope::Cloud, Envelope::OnPremises] {
            for data in [Some("wo1-1-1-AAAAAAAAAAAAAAAA"), None] {
                let body = payload.compose(envelope, recipient, data);
                let body = std::str::from_utf8(&body).expect("text");
                serde_json::from_str::<serde::de::IgnoredAny>(body).expect("JSON");
                if let Some(value) = &value {
                    let written =
                        serde_json::from_str(body).expect("no worse than what it was made of");
                    is_addressed(&written, value, &payload, envelope, recipient, data);
                }
            }
        }
    }
    if let Some(value) = value {
        is_read_and_written(&value);
        is_looked_at(&value);
    }
}

fn is_addressed(
    written: &Value,
    value: &Value,
    payload: &Payload<'_>,
    envelope: Envelope,
    recipient: &Recipient<'_>,
    data: Option<&str>,
) {
    let is_read = payload.is_mark_as_read();
    let (to, user) = (written.get("to"), written.get("recipient"));
    match recipient {
        _ if is_read => assert!(to.is_none() && user.is_none() && written.get(DATA).is_none()),
        Recipient::Phone(_) if envelope == Envelope::OnPremises => {
            assert_eq!(to.expect("to"), "16505551234")
        }
        Recipient::Phone(phone) => assert_eq!(to.expect("to"), phone),
        Recipient::User(id) => assert!(to.is_none() && user.expect("recipient") == id),
        Recipient::Group(id) => assert!(user.is_none() && to.expect("to") == id),
    }
    assert_eq!(
        written.get("messaging_product").is_some(),
        envelope == Envelope::Cloud
    );
    let (written, value) = (
        written.as_object().expect("an object"),
        value.as_object().expect("an object"),
    );
    for (key, value) in value {
        let is_ours = OURS.contains(&key.as_str()) || key == DATA && (is_read || data.is_some());
        assert!(
            is_ours || written.get(key) == Some(value),
            "{key} has changed on its way"
        );
    }
    if let (Some(data), false) = (data, is_read) {
        assert_eq!(written[DATA], data);
    }
    let added = written.keys().filter(|key| !value.contains_key(*key));
    assert!(
        added
            .clone()
            .all(|key| OURS.contains(&key.as_str()) || key == DATA),
        "something was made up"
    );
}

/// Read as types and written again, it is the same JSON.
fn is_read_and_written(value: &Value) {
    let typed: message::Payload =
        serde_json::from_value(value.clone()).expect("any object is a payload");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), *value);
}

fn is_looked_at(value: &Value) {
    for to in [
        None,
        Some(rules::To::Phone),
        Some(rules::To::User),
        Some(rules::To::Group),
    ] {
        let lenient = rules::check(value, to, false);
        let strict = rules::check(value, to, true);
        assert_eq!(
            lenient.len(),
            strict.len(),
            "to be strict is to judge, not to see more"
        );
        assert!(rules::refusals(&lenient).count() <= rules::refusals(&strict).count());
        for finding in &lenient {
            assert!(!finding.to_string().is_empty());
        }
    }
    let _ = rules::check_address(value);
}

/// A file that is named becomes an id, and every other value stays.
fn files_become_ids(text: &str, value: Option<&Value>) {
    let references = file_references(text);
    let filled =
        with_ids(text, &references, |_| Ok::<_, ()>("4711".to_owned())).expect("an id of each");
    if references.is_empty() {
        assert_eq!(filled, text);
        return;
    }
    assert!(file_references(&filled).is_empty(), "a file is still named");
    serde_json::from_str::<serde::de::IgnoredAny>(&filled).expect("JSON");
    if let (Some(value), Ok(filled)) = (value, serde_json::from_str::<Value>(&filled)) {
        let others = |value: &Value| {
            value
                .as_object()
                .map(|members| members.keys().cloned().collect::<Vec<_>>())
        };
        let outside = |keys: Option<Vec<String>>| {
            keys.map(|keys| {
                keys.into_iter()
                    .filter(|key| key != "id" && key != "link")
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(outside(others(value)), outside(others(&filled)));
    }
}
