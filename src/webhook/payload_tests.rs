//! Deliveries as they come, and as they should not.

use serde_json::json;
use time::macros::datetime;

use super::*;

const SENDER: &str = "106540352242922";

fn read(body: &Value) -> Delivery {
    Delivery::read(body.to_string().as_bytes()).expect("JSON")
}

fn delivery_of(statuses: Value) -> Value {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{
        "field": "messages",
        "value": {"messaging_product": "whatsapp", "metadata": {"phone_number_id": SENDER}, "statuses": statuses},
    }]}]})
}

fn read_status(status: Value) -> StatusEvent {
    let delivery = read(&delivery_of(json!([status])));
    assert_eq!(delivery.bad, []);
    delivery.statuses.into_iter().next().expect("one status")
}

fn a_status(id: &str, status: &str) -> Value {
    json!({"id": id, "status": status, "timestamp": "1750101000", "recipient_id": "16505551234"})
}

fn bad(path: &str, reason: &'static str) -> BadEntry {
    BadEntry {
        path: path.to_owned(),
        reason,
    }
}

#[test]
fn a_status_is_read_with_all_that_matters() {
    let event = read_status(json!({
        "id": "wamid.A", "status": "sent", "timestamp": "1750101000", "recipient_id": "16505551234",
        "biz_opaque_callback_data": "wo1-1-1-AAAAAAAAAAAAAAAA:order-77",
        "conversation": {"id": "c"}, "pricing": {"billable": true},
    }));
    assert_eq!(
        event,
        StatusEvent {
            sender: Some(SENDER.into()),
            wamid: "wamid.A".into(),
            status: Status::Sent,
            at: Some(datetime!(2025-06-16 19:10 UTC)),
            recipient: Some("16505551234".to_owned()),
            participant: None,
            callback_data: Some("wo1-1-1-AAAAAAAAAAAAAAAA:order-77".to_owned()),
            error: None,
        }
    );
}

#[test]
fn a_failure_says_why() {
    let mut status = a_status("wamid.A", "failed");
    status["errors"] = json!([{
        "code": 131_049, "title": "Not delivered", "message": "Not delivered!",
        "error_data": {"details": "Healthy ecosystem"}, "href": "https://example.com/",
    }]);
    let error = read_status(status).error.expect("an error");
    assert_eq!(error.code, Some(131_049));
    assert_eq!(error.title.as_deref(), Some("Not delivered"));
    assert_eq!(error.details.as_deref(), Some("Healthy ecosystem"));
    assert_eq!(error.http_status, None);
}

#[test]
fn an_error_may_be_half_there() {
    for (errors, code) in [
        (json!([{}, {"code": "1026"}]), Some(Some(1026))),
        (json!([{"message": "only this", "code": null}]), Some(None)),
        (json!([]), None),
        (json!("none"), None),
        (json!([1, null]), None),
    ] {
        let mut status = a_status("wamid.A", "failed");
        status["errors"] = errors.clone();
        assert_eq!(
            read_status(status).error.map(|error| error.code),
            code,
            "{errors}"
        );
    }
}

#[test]
fn all_entries_changes_and_statuses_are_read_in_order() {
    let one = delivery_of(json!([a_status("1", "sent"), a_status("2", "delivered")]));
    let mut body = delivery_of(json!([a_status("3", "read")]));
    let more = one["entry"][0]["changes"][0].clone();
    body["entry"][0]["changes"]
        .as_array_mut()
        .expect("changes")
        .push(more);
    body["entry"]
        .as_array_mut()
        .expect("entries")
        .push(delivery_of(json!([a_status("4", "played")]))["entry"][0].take());

    let ids: Vec<_> = read(&body)
        .statuses
        .iter()
        .map(|event| event.wamid.reveal().to_owned())
        .collect();
    assert_eq!(ids, ["3", "1", "2", "4"]);
}

#[test]
fn a_bad_status_costs_the_others_nothing() {
    let long = "x".repeat(MAX_WAMID_BYTES + 1);
    let delivery = read(&delivery_of(json!([
        a_status("1", "sent"),
        "nonsense",
        {"status": "sent"},
        {"id": 17, "status": "sent"},
        {"id": "", "status": "sent"},
        {"id": "a\0b", "status": "sent"},
        {"id": long, "status": "sent"},
        {"id": "2"},
        {"id": "2", "status": 5},
        null,
        a_status("3", "read"),
    ])));
    let place = |index: usize| format!("/entry/0/changes/0/value/statuses/{index}");
    assert_eq!(
        delivery.bad,
        [
            bad(&place(1), "is not an object"),
            bad(&place(2), "has no id"),
            bad(&place(3), "has an id that is not text"),
            bad(&place(4), "has an empty id"),
            bad(&place(5), "has an id with a NUL in it"),
            bad(&place(6), "has an id that is too long"),
            bad(&place(7), "has no status"),
            bad(&place(8), "has no status"),
            bad(&place(9), "is not an object"),
        ]
    );
    assert_eq!(delivery.statuses.len(), 2);
}

#[test]
fn a_bad_entry_or_change_costs_the_others_nothing() {
    let mut body = delivery_of(json!([a_status("1", "sent")]));
    body["entry"][0]["changes"]
        .as_array_mut()
        .expect("changes")
        .splice(0..0, [json!(7), json!({"value": []})]);
    body["entry"]
        .as_array_mut()
        .expect("entries")
        .splice(0..0, [json!("x"), json!({"changes": {}})]);

    let delivery = read(&body);

    assert_eq!(
        delivery.bad,
        [
            bad("/entry/0", "is not an object"),
            bad("/entry/1/changes", "is not an array"),
            bad("/entry/2/changes/0", "is not an object"),
            bad("/entry/2/changes/1/value", "is not an object"),
        ]
    );
    assert_eq!(delivery.statuses.len(), 1);
}

#[test]
fn a_bad_entry_names_nobody() {
    let delivery = read(&delivery_of(
        json!([{"status": "sent", "recipient_id": "16505551234"}]),
    ));
    let shown = format!("{} {:?}", delivery.bad[0], delivery.bad);
    assert!(
        shown.contains("has no id") && !shown.contains("16505551234"),
        "{shown}"
    );
}

#[test]
fn a_broken_value_costs_no_status() {
    let half_an_emoji = r#"{"entry":[{"changes":[{"field":"messages","value":{
        "contacts":[{"profile":{"name":"\ud83d"}}],
        "statuses":[{"id":"1","status":"failed","errors":[{"code":131026,"title":"Hi \ud83d\ude00 \ud83d \\ud83d"}]},
          {"id":"2","status":"sent","timestamp":1e400,"biz_opaque_callback_data":"\udc00x"}]}}]}]}"#;
    let delivery = Delivery::read(half_an_emoji.as_bytes()).expect("JSON");
    assert_eq!(delivery.bad, []);
    let [failed, sent] = &delivery.statuses[..] else {
        panic!("{:?}", delivery.statuses);
    };
    let error = failed.error.as_ref().expect("an error");
    assert_eq!(error.code, Some(131_026));
    assert_eq!(
        error.title.as_deref(),
        Some("Hi \u{1F600} \u{FFFD} \\ud83d")
    );
    assert_eq!((sent.wamid.reveal(), sent.at), ("2", None));
    assert_eq!(sent.callback_data.as_deref(), Some("\u{FFFD}x"));

    let not_utf_8 = b"{\"statuses\":[{\"id\":\"1\",\"status\":\"failed\",\"errors\":[{\"title\":\"caf\xE9\"}]}]}";
    let delivery = Delivery::read(not_utf_8).expect("JSON");
    assert_eq!(delivery.statuses.len(), 1);
}

#[test]
fn a_nul_reaches_no_text_column() {
    let mut status = a_status("1", "failed");
    status["biz_opaque_callback_data"] = json!("a\0b");
    status["recipient_id"] = json!("1\0");
    status["errors"] = json!([{"code": 1, "title": "a\0b", "error_data": {"details": "\0"}}]);
    let event = read_status(status);
    let error = event.error.expect("an error");
    for text in [
        event.callback_data,
        event.recipient,
        error.title,
        error.details,
    ] {
        assert!(!text.expect("kept").contains('\0'));
    }
}

#[test]
fn a_timestamp_may_be_text_or_number_seconds_or_milliseconds() {
    let at = |timestamp: Value| {
        let mut status = a_status("1", "sent");
        status["timestamp"] = timestamp;
        read_status(status).at
    };
    let moment = Some(datetime!(2025-06-16 19:10 UTC));
    assert_eq!(at(json!("1750101000")), moment);
    assert_eq!(at(json!(1_750_101_000)), moment);
    assert_eq!(at(json!("1750101000000")), moment);
    assert_eq!(at(json!(1_750_101_000_000_i64)), moment);
    assert_eq!(
        at(json!(1_750_101_000_250_i64)),
        Some(datetime!(2025-06-16 19:10:00.25 UTC))
    );
    for nonsense in [
        json!("TIMESTAMP"),
        json!(""),
        json!(0),
        json!(-5),
        json!(i64::MAX),
        json!(u64::MAX),
        json!([1]),
    ] {
        assert_eq!(at(nonsense.clone()), None, "{nonsense}");
    }
}

#[test]
fn a_recipient_may_be_a_user_id_or_missing() {
    let event = read_status(json!({"id": "1", "status": "sent", "recipient_user_id": "US.1349"}));
    assert_eq!(event.recipient.as_deref(), Some("US.1349"));
    let event = read_status(json!({"id": "1", "status": "sent"}));
    assert_eq!((event.recipient, event.at), (None, None));
}

#[test]
fn a_group_status_names_its_participant_in_either_of_meta_s_ways() {
    for name in ["recipient_participant_id", "participant_recipient_id"] {
        let mut status = a_status("1", "read");
        status["recipient_type"] = json!("group");
        status[name] = json!("16505551235");
        assert_eq!(
            read_status(status).participant.as_deref(),
            Some("16505551235")
        );
    }
}

#[test]
fn an_unknown_status_is_counted_and_not_bad() {
    let delivery = read(&delivery_of(
        json!([a_status("1", "deleted"), {"status": "warning"}, a_status("2", "sent")]),
    ));
    assert_eq!(
        (delivery.statuses.len(), delivery.others, delivery.bad.len()),
        (1, 2, 0)
    );
}

#[test]
fn what_is_none_of_our_business_is_counted_and_not_bad() {
    let change = |field: &str, value: Value| json!({"entry": [{"changes": [{"field": field, "value": value}]}]});
    for body in [
        change("messages", json!({"messages": [{"from": "16505551234"}]})),
        change("account_update", json!({"event": "VERIFIED_ACCOUNT"})),
        change(
            "account_alerts",
            json!({"entity_type": "BUSINESS", "alert_info": {"alert_severity": "CRITICAL"}}),
        ),
        change(
            "calls",
            json!({"statuses": [{"id": "1", "status": "delivered"}]}),
        ),
        change("messages", Value::Null),
        json!({"entry": [{"id": "1", "messaging": []}]}),
        json!({"messages": []}),
        json!({}),
    ] {
        let expected = Delivery {
            others: 1,
            ..Delivery::default()
        };
        assert_eq!(read(&body), expected, "{body}");
    }
}

#[test]
fn statuses_without_an_envelope_are_read_and_have_no_sender() {
    let delivery = read(&json!({"statuses": [{
        "id": "gBGG", "recipient_id": "91", "status": "failed", "timestamp": "1670394125", "type": "message",
        "errors": [{"code": 1026, "title": "Receiver Incapable", "details": "old client"}],
    }]}));
    let event = &delivery.statuses[0];
    assert_eq!(event.sender, None);
    let error = event.error.as_ref().expect("an error");
    assert_eq!(
        (error.code, error.details.as_deref()),
        (Some(1026), Some("old client"))
    );
}

#[test]
fn what_is_no_json_object_is_refused_as_a_whole() {
    for body in [
        "",
        "[]",
        "null",
        "7",
        "\"x\"",
        "{",
        "{\"entry\":[}",
        "{} {}",
        "entry=1",
    ] {
        assert_eq!(Delivery::read(body.as_bytes()), Err(NotJson), "{body}");
    }
}

#[test]
fn nesting_of_any_depth_is_bounded() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let body = |value: &str| {
        format!(r#"{{"entry":[{{"changes":[{{"field":"messages","value":{value}}}]}}]}}"#)
    };

    let skipped = body(&format!(
        r#"{{"messages":{deep},"statuses":[{{"id":"1","status":"sent"}}]}}"#
    ));
    assert_eq!(
        Delivery::read(skipped.as_bytes())
            .expect("JSON")
            .statuses
            .len(),
        1
    );

    let decoded = body(&format!(
        r#"{{"statuses":[{{"id":"1","status":"failed","x":{deep},"errors":{deep}}}]}}"#
    ));
    let delivery = Delivery::read(decoded.as_bytes()).expect("JSON");
    assert_eq!((delivery.statuses.len(), delivery.bad), (1, vec![]));
    assert_eq!(delivery.statuses[0].error, None);
}

#[test]
fn of_a_million_bad_parts_the_first_are_told_and_the_rest_are_counted() {
    let body = format!(r#"{{"statuses":[{}0]}}"#, "0,".repeat(999_999));
    let delivery = Delivery::read(body.as_bytes()).expect("JSON");
    assert_eq!((delivery.bad.len(), delivery.more_bad), (100, 999_900));
    assert_eq!(delivery.bad[99], bad("/statuses/99", "is not an object"));
}

#[test]
fn a_choice_of_nobody_is_bad_and_costs_no_other() {
    let chosen = |who: Value| {
        let mut choice = json!({"value": "stop", "category": "marketing_messages"});
        for (name, value) in who.as_object().expect("members") {
            choice[name] = value.clone();
        }
        choice
    };
    let delivery = read(
        &json!({"entry": [{"id": "1", "changes": [{"field": "user_preferences", "value": {
            "metadata": {"phone_number_id": "4711"},
            "user_preferences": [
                chosen(json!({"wa_id": "12345"})),
                chosen(json!({"wa_id": "0016505551234567890"})),
                chosen(json!({"user_id": "+x"})),
                chosen(json!({"user_id": "x".repeat(9_000)})),
                chosen(json!({"user_id": "a b"})),
                chosen(json!({"wa_id": "12345", "user_id": "US.13491208655302741918"})),
                chosen(json!({"wa_id": "16505551234"})),
            ],
        }}]}]}),
    );
    let names: Vec<&str> = (delivery.preferences.iter())
        .map(|one| one.recipient.as_str())
        .collect();
    assert_eq!(names, ["US.13491208655302741918", "+16505551234"]);
    assert_eq!(delivery.bad.len(), 5);
}

#[test]
fn no_cut_and_no_change_of_a_delivery_makes_it_panic() {
    let mut status = a_status("wamid.A", "failed");
    status["errors"] = json!([{"code": 131_049, "error_data": {"details": "x"}}]);
    let body = delivery_of(json!([status, a_status("wamid.B", "sent")]))
        .to_string()
        .into_bytes();
    let mut random = fastrand::Rng::with_seed(5);
    for cut in 0..body.len() {
        assert_eq!(Delivery::read(&body[..cut]), Err(NotJson));
    }
    let mut read = 0;
    for _ in 0..20_000 {
        let mut changed = body.clone();
        let place = random.usize(..changed.len());
        changed[place] = *random
            .choice(b"{}[]\",:0ntx\\\xFF\0".as_slice())
            .expect("some");
        if let Ok(delivery) = Delivery::read(&changed) {
            read += 1;
            assert!(delivery.statuses.len() + delivery.others + delivery.bad.len() > 0);
        }
    }
    assert!(read > 1_000, "only {read} changed deliveries were JSON");
}

#[test]
fn a_template_update_names_its_template_as_messages_do() {
    let body = json!({"entry": [{"id": "102290129340398", "changes": [{
        "field": "message_template_status_update",
        "value": {
            "event": "REJECTED", "message_template_id": 1, "message_template_name": "abandoned_cart",
            "message_template_language": "en-US", "reason": "INVALID_FORMAT",
        },
    }]}]});
    assert_eq!(
        read(&body).template_updates,
        [TemplateUpdate {
            account: Some("102290129340398".to_owned()),
            name: "abandoned_cart".to_owned(),
            language: Some("en_US".to_owned()),
            event: "REJECTED".to_owned(),
            reason: Some("INVALID_FORMAT".to_owned()),
            effect: TemplateEffect::Unusable,
        }]
    );
}

#[test]
fn a_template_is_usable_again_after_approval_reinstatement_or_the_end_of_a_pause() {
    let effect_of = |value: Value| {
        let body = json!({"entry": [{"changes": [{"field": "message_template_status_update", "value": value}]}]});
        read(&body).template_updates[0].effect
    };
    let event = |event: &str| json!({"event": event, "message_template_name": "t", "reason": null});
    assert_eq!(effect_of(event("APPROVED")), TemplateEffect::Usable);
    assert_eq!(effect_of(event("REINSTATED")), TemplateEffect::Usable);
    assert_eq!(effect_of(event("PAUSED")), TemplateEffect::Unusable);
    assert_eq!(effect_of(event("FLAGGED")), TemplateEffect::Unchanged);
    assert_eq!(effect_of(event("SOMETHING_NEW")), TemplateEffect::Unchanged);

    let mut unpaused = event("LOCKED");
    unpaused["other_info"] = json!({"title": "UNPAUSE"});
    assert_eq!(effect_of(unpaused), TemplateEffect::Usable);
}

#[test]
fn a_template_update_that_cannot_be_read_is_bad_and_a_quality_update_is_not() {
    let update = |value: Value| {
        let body = json!({"entry": [{"changes": [{"field": "message_template_status_update", "value": value}]}]});
        let delivery = read(&body);
        (delivery.bad.first().map(|bad| bad.reason), delivery.others)
    };
    assert_eq!(
        update(json!({"event": "PAUSED"})),
        (Some("names no template"), 0)
    );
    assert_eq!(
        update(json!({"message_template_name": "t"})),
        (Some("has no event"), 0)
    );
    assert_eq!(update(json!([])), (Some("is not an object"), 0));
    assert_eq!(
        update(json!({"message_template_name": "t", "new_quality_score": "YELLOW"})),
        (None, 1)
    );
}
