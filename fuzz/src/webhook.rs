//! The body of a webhook delivery: whatever it is, it is read, and one bad part costs no other.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wa_outbox::domain::status::{Standing, Status, StatusEvent};
use wa_outbox::webhook::payload::{Delivery, MAX_WAMID_BYTES};

use super::is_storable;

pub(crate) fn check(body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    // Of another mind than the reader about what it skips: deeper than 128, or a number that no float can be.
    let value: Option<Value> = serde_json::from_str(&text).ok();
    let Ok(delivery) = Delivery::read(body) else {
        assert!(
            !matches!(value, Some(Value::Object(_))),
            "a JSON object was refused"
        );
        return;
    };
    assert_eq!(
        Ok(&delivery),
        Delivery::read(body).as_ref(),
        "read twice, it says two things"
    );
    can_be_kept(&delivery);
    statuses_only_climb(&delivery.statuses);
    if let Some(value) = value {
        bad_parts_are_there(&delivery, &value);
        a_bad_part_costs_no_other(value);
    }
}

fn can_be_kept(delivery: &Delivery) {
    for status in &delivery.statuses {
        let wamid = status.wamid.reveal();
        assert!((1..=MAX_WAMID_BYTES).contains(&wamid.len()));
        let error = status
            .error
            .iter()
            .flat_map(|error| [&error.title, &error.details, &error.fbtrace_id]);
        let texts = [
            &status.recipient,
            &status.participant,
            &status.callback_data,
        ]
        .into_iter()
        .chain(error)
        .flatten();
        let sender = status.sender.iter().map(|sender| sender.as_str());
        for text in texts.map(String::as_str).chain(sender).chain([wamid]) {
            assert!(is_storable(text), "Postgres would refuse the whole batch");
        }
        // The years that a timestamp of Postgres can be written with.
        assert!(
            status
                .at
                .is_none_or(|at| (1970..=9999).contains(&at.year()))
        );
    }
    for preference in &delivery.preferences {
        assert!(!preference.recipient.is_empty() && is_storable(&preference.recipient));
    }
}

fn standing_after(statuses: impl IntoIterator<Item = Status>) -> Standing {
    statuses
        .into_iter()
        .fold(Standing::default(), Standing::fold)
}

/// Whatever the order and however often they come.
fn statuses_only_climb(events: &[StatusEvent]) {
    let mut by_message: BTreeMap<&str, Vec<Status>> = BTreeMap::new();
    for event in events {
        by_message
            .entry(event.wamid.reveal())
            .or_default()
            .push(event.status);
    }
    for statuses in by_message.values() {
        let rank = |standing: Standing| standing.status.map(Status::rank);
        let mut standing = Standing::default();
        for status in statuses {
            let next = standing.fold(*status);
            assert!(rank(next) >= rank(standing), "a status has fallen");
            assert!(
                next.conflict || !standing.conflict,
                "a contradiction was forgotten"
            );
            standing = next;
        }
        // Two orders may come to different moments at which a contradiction is seen, and to one end.
        let status = standing.status;
        assert_eq!(
            standing_after(statuses.iter().rev().copied()).status,
            status
        );
        let doubled = statuses.iter().flat_map(|status| [*status, *status]);
        assert_eq!(standing_after(doubled), standing);
        let highest = statuses.iter().max_by_key(|status| status.rank());
        assert_eq!(status.as_ref(), highest);
    }
}

/// A bad part is named by its place in the delivery, by nothing that it says.
fn bad_parts_are_there(delivery: &Delivery, value: &Value) {
    for bad in &delivery.bad {
        assert!(!bad.reason.is_empty());
        assert!(
            value.pointer(&bad.path).is_some(),
            "{} is not in the delivery",
            bad.path
        );
    }
}

fn a_bad_part_costs_no_other(mut value: Value) {
    let read = |value: &Value| Delivery::read(value.to_string().as_bytes()).expect("a JSON object");
    let before = read(&value);
    let bad = [
        json!(5),
        json!({"changes": {}}),
        json!({"changes": [{"field": "messages", "value": {"statuses": [{"status": "sent"}]}}]}),
    ];
    let count = bad.len();
    match value.get_mut("entry") {
        Some(Value::Array(entries)) => {
            let good = std::mem::take(entries);
            let (first, second) = good.split_at(good.len() / 2);
            entries.extend(first.iter().chain(&bad).chain(second).cloned());
        }
        _ => return,
    }
    let after = read(&value);
    assert_eq!(before.statuses, after.statuses);
    assert_eq!(before.template_updates, after.template_updates);
    assert_eq!(before.account_news, after.account_news);
    assert_eq!(before.numbers, after.numbers);
    assert_eq!(before.preferences, after.preferences);
    assert_eq!(before.bad.len() + count, after.bad.len());
}
