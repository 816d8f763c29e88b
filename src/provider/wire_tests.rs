use serde_json::{Value, json};

use super::*;

const ALICE: Recipient<'static> = Recipient::Phone("+16505551234");

fn composed(payload: &str, recipient: Recipient<'_>, callback_data: Option<&str>) -> String {
    let payload = Payload::parse(payload).expect("is an object");
    let bytes = payload.compose(Envelope::Cloud, &recipient, callback_data);
    String::from_utf8(bytes.to_vec()).expect("is UTF-8")
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("is JSON")
}

#[test]
fn a_text_to_a_phone_number_is_written_as_whatsapp_wants_it() {
    let payload = r#"{"type":"text","text":{"body":"Hi"},"context":{"message_id":"wamid.A"}}"#;
    assert_eq!(
        composed(payload, ALICE, Some("token")),
        concat!(
            r#"{"messaging_product":"whatsapp","recipient_type":"individual","to":"+16505551234","#,
            r#""type":"text","text":{"body":"Hi"},"context":{"message_id":"wamid.A"},"#,
            r#""biz_opaque_callback_data":"token"}"#
        )
    );
}

#[test]
fn a_phone_number_never_leaves_without_its_plus() {
    let sent = value(&composed("{}", Recipient::Phone("16505551234"), None));
    assert_eq!(sent["to"], "+16505551234");
}

#[test]
fn a_user_is_addressed_as_recipient_and_a_group_as_to() {
    let user = value(&composed(
        r#"{"type":"text"}"#,
        Recipient::User("US.1349"),
        None,
    ));
    let expected = json!({"messaging_product": "whatsapp", "recipient_type": "individual",
        "recipient": "US.1349", "type": "text"});
    assert_eq!(user, expected);
    let group = value(&composed(
        r#"{"type":"text"}"#,
        Recipient::Group("Y2FwaQ"),
        None,
    ));
    let expected = json!({"messaging_product": "whatsapp", "recipient_type": "group",
        "to": "Y2FwaQ", "type": "text"});
    assert_eq!(group, expected);
}

#[test]
fn values_reach_the_wire_byte_for_byte() {
    for raw in [
        "1.0",
        "1e5",
        "-0",
        "0.10000000000000000000000000000001",
        "12345678901234567890",
        "123456789012345678901234567890123456789",
        r#""\u00e9\/\ud83d\ude00 é😀""#,
        r#""\u0000""#,
        r#"[ 1.50 , {"b":1, "a" : 2,"a":3} ]"#,
        r#"{"to":"x","messaging_product":"y"}"#,
        "null",
    ] {
        let sent = composed(&format!(r#"{{"type":"x","x":{raw}}}"#), ALICE, None);
        assert!(sent.contains(&format!(r#""x":{raw}}}"#)), "{sent}");
    }
}

#[test]
fn the_applications_keys_keep_their_order() {
    let sent = composed(r#"{"z":1,"type":"text","a":2,"m":3}"#, ALICE, None);
    assert!(
        sent.ends_with(r#""z":1,"type":"text","a":2,"m":3}"#),
        "{sent}"
    );
}

#[test]
fn what_is_ours_to_say_is_not_taken_from_the_payload() {
    let payload = r#"{"messaging_product":"sms","recipient_type":"group","to":"+44","recipient":"US.1",
        "biz_opaque_callback_data":"mine","t\u006f":"+45","type":"text"}"#;
    let sent = composed(payload, ALICE, Some("token mine"));
    let expected = json!({"messaging_product": "whatsapp", "recipient_type": "individual",
        "to": "+16505551234", "type": "text", "biz_opaque_callback_data": "token mine"});
    assert_eq!(value(&sent), expected);
    assert_eq!(sent.matches("\"to\"").count(), 1);
}

#[test]
fn of_a_key_that_stands_twice_the_last_one_is_sent_once() {
    let sent = composed(
        r#"{"type":"text","text":1,"t\u0065xt":2,"text":3}"#,
        ALICE,
        None,
    );
    assert!(sent.ends_with(r#""type":"text","text":3}"#), "{sent}");
}

#[test]
fn what_we_write_is_escaped() {
    let sent = composed(
        r#"{"a\"b\n":1}"#,
        Recipient::User("\"}\u{1}"),
        Some("\\\" é"),
    );
    let sent = value(&sent);
    assert_eq!(sent["recipient"], "\"}\u{1}");
    assert_eq!(sent["biz_opaque_callback_data"], "\\\" é");
    assert_eq!(sent["a\"b\n"], 1);
}

#[test]
fn a_mark_as_read_is_addressed_to_nobody_and_carries_no_token() {
    let payload =
        r#"{"status":"read","message_id":"wamid.A","typing_indicator":{"type":"text"},"to":"+1"}"#;
    let expected = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.A",
        "typing_indicator": {"type": "text"}});
    assert_eq!(value(&composed(payload, ALICE, Some("token"))), expected);
}

#[test]
fn a_payload_tells_its_kind() {
    let kind = |payload| {
        let payload = Payload::parse(payload).expect("is an object");
        payload.kind().map(Cow::into_owned)
    };
    assert_eq!(kind(r#"{"type":"image"}"#).as_deref(), Some("image"));
    assert_eq!(
        kind(r#"{"type":"te\u0078t","status":"read"}"#).as_deref(),
        Some("text")
    );
    assert_eq!(kind(r#"{"text":{"body":"Hi"}}"#).as_deref(), Some("text"));
    assert_eq!(
        kind(r#"{"status":"read","message_id":"x"}"#).as_deref(),
        Some(MARK_AS_READ)
    );
    assert_eq!(kind(r#"{"image":{}}"#), None);
    assert_eq!(kind(r#"{"type":7}"#), None);
}

#[test]
fn a_template_is_known_by_name_and_language() {
    let template = |payload| Payload::parse(payload).expect("is an object").template();
    let known = |name: &str, language: Option<&str>| {
        Some(Template {
            name: name.to_owned(),
            language: language.map(str::to_owned),
        })
    };
    let full = r#"{"type":"template","template":{"name":"hello","language":{"code":"en_US"},"components":[]}}"#;
    assert_eq!(template(full), known("hello", Some("en_US")));
    assert_eq!(
        template(r#"{"type":"template","template":{"name":"hello"}}"#),
        known("hello", None)
    );
    assert_eq!(template(r#"{"type":"template","template":{}}"#), None);
    assert_eq!(
        template(r#"{"type":"text","template":{"name":"hello"}}"#),
        None
    );
}

#[test]
fn the_applications_callback_data_can_be_had() {
    let data = |payload| {
        let payload = Payload::parse(payload).expect("is an object");
        payload.callback_data().map(Cow::into_owned)
    };
    assert_eq!(
        data(r#"{"biz_opaque_callback_data":"a\u0062"}"#).as_deref(),
        Some("ab")
    );
    assert_eq!(
        data(r#"{"biz_opaque_callback_data":{"a": 1}}"#).as_deref(),
        Some(r#"{"a": 1}"#)
    );
    assert_eq!(data(r#"{"biz_opaque_callback_data":null}"#), None);
    assert_eq!(data("{}"), None);
}

#[test]
fn what_is_no_object_is_refused_without_repeating_it() {
    for text in [r#""secret""#, "[\"secret\"]", "7", "null"] {
        let error = Payload::parse(text).expect_err("is no object");
        assert!(matches!(error, WireError::NotAnObject), "{error}");
    }
    for text in [
        "",
        "{",
        r#"{"secret":}"#,
        r#"{"a":1}secret"#,
        r#"{secret:1}"#,
    ] {
        let error = Payload::parse(text).expect_err("is no JSON");
        assert!(matches!(error, WireError::NotJson { .. }), "{error}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn a_payload_of_many_keys_and_great_depth_is_no_trouble() {
    let many: Vec<String> = (0..50_000).map(|n| format!(r#""k{n}":{n}"#)).collect();
    let sent = composed(&format!("{{{}}}", many.join(",")), ALICE, None);
    assert!(sent.ends_with(r#""k49999":49999}"#));
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(composed(&deep, ALICE, None).ends_with("]]}"));
}

#[test]
fn a_recipient_is_not_printed() {
    assert_eq!(format!("{ALICE:?}"), "Phone(…)");
}

#[test]
fn the_on_premises_client_gets_digits_and_no_product() {
    let payload = r#"{"type":"template","template":{"namespace":"n","name":"t","language":{"policy":"deterministic","code":"en"}},
        "to":"x","messaging_product":"whatsapp","biz_opaque_callback_data":"own"}"#;
    let payload = Payload::parse(payload).expect("is an object");
    let bytes = payload.compose(Envelope::OnPremises, &ALICE, None);
    let expected = json!({"recipient_type": "individual", "to": "16505551234", "type": "template",
        "template": {"namespace": "n", "name": "t", "language": {"policy": "deterministic", "code": "en"}},
        "biz_opaque_callback_data": "own"});
    assert_eq!(
        serde_json::from_slice::<Value>(&bytes).expect("is JSON"),
        expected
    );

    let group = payload.compose(Envelope::OnPremises, &Recipient::Group("1650-99"), None);
    let group: Value = serde_json::from_slice(&group).expect("is JSON");
    assert_eq!(
        (&group["recipient_type"], &group["to"]),
        (&json!("group"), &json!("1650-99"))
    );
}

#[test]
fn a_template_is_marked_as_marketing_by_what_only_that_address_knows() {
    let marked = |text: &str| {
        Payload::parse(text)
            .expect("is an object")
            .is_marked_as_marketing()
    };
    for key in ["product_policy", "message_activity_sharing", "bid_spec"] {
        assert!(
            marked(&format!(
                r#"{{"type":"template","template":{{}},"{key}":1}}"#
            )),
            "{key}"
        );
        assert!(
            !marked(&format!(r#"{{"type":"text","text":{{}},"{key}":1}}"#)),
            "{key}"
        );
    }
    assert!(!marked(
        r#"{"type":"template","template":{"product_policy":"STRICT"}}"#
    ));
}
