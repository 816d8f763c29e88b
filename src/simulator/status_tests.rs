use super::*;

fn told(kind: &str, is_voice: bool) -> Told {
    Told {
        wamid: "wamid.x".to_owned(),
        number: "106".into(),
        key: "16505551234".to_owned(),
        address: Address::Phone,
        kind: kind.to_owned(),
        is_voice,
        callback_data: Some("w1-1-1-a/b 😀".to_owned()),
        style: Style::Meta,
    }
}

fn names(told: &Told, fault: Option<WebhookFault>) -> Vec<&'static str> {
    steps(told, &Statuses::default(), fault, 0)
        .iter()
        .map(|step| step.status.name())
        .collect()
}

#[test]
fn each_kind_gets_the_statuses_that_whatsapp_gives_it() {
    assert_eq!(
        names(&told("text", false), None),
        ["sent", "delivered", "read"]
    );
    assert_eq!(names(&told("reaction", false), None), ["sent"]);
    assert_eq!(
        names(&told("audio", true), None),
        ["sent", "delivered", "read", "played"]
    );
}

#[test]
fn each_webhook_fault_changes_the_news_as_its_name_says() {
    let text = told("text", false);
    assert_eq!(names(&text, Some(WebhookFault::Lost)), [""; 0]);
    assert_eq!(names(&text, Some(WebhookFault::ReadOnly)), ["read"]);
    assert_eq!(
        names(&text, Some(WebhookFault::Reordered)),
        ["read", "delivered", "sent"]
    );
    assert_eq!(
        names(&text, Some(WebhookFault::Failed(131026))),
        ["sent", "failed"]
    );
    let doubled = ["sent", "sent", "delivered", "delivered", "read", "read"];
    assert_eq!(names(&text, Some(WebhookFault::Doubled)), doubled);
    let conflict = ["sent", "failed", "delivered"];
    assert_eq!(
        names(&text, Some(WebhookFault::FailedThenDelivered(131026))),
        conflict
    );
}

#[test]
fn a_message_that_is_not_delivered_is_not_read() {
    let never = Some(StatusRule {
        delay: Duration::ZERO,
        probability: 0.0,
    });
    let rules = Statuses {
        delivered: never,
        ..Statuses::default()
    };
    let steps = steps(&told("text", false), &rules, None, 0);
    assert_eq!(steps.len(), 1);
}

#[test]
fn a_bare_delivery_has_no_envelope_and_gives_no_callback_data_back() {
    let told = Told {
        wamid: "gBGG".to_owned(),
        style: Style::Bare,
        ..told("text", false)
    };
    let told = Arc::new(told);
    let news = [(told.clone(), Status::Sent), (told, Status::Failed(470))];
    let delivery = delivery(&news, 1_700_000_000);
    assert_eq!(delivery.style, Style::Bare);
    let read: Value = serde_json::from_str(&delivery.body).expect("JSON");
    let sent = json!({ "id": "gBGG", "status": "sent", "timestamp": "1700000000",
        "recipient_id": "16505551234", "type": "message" });
    assert_eq!(read["statuses"][0], sent);
    assert_eq!(read["statuses"][1]["errors"][0]["code"], 470);
    assert!(read["statuses"][1]["errors"][0]["details"].is_string());
}

#[test]
fn a_body_is_ascii_with_slashes_escaped_and_says_the_same() {
    let body = body(
        &[(Arc::new(told("text", false)), Status::Failed(131049))],
        1_700_000_000,
    );
    assert!(body.is_ascii());
    assert!(body.contains(r"a\/b \ud83d\ude00"));
    let read: Value = serde_json::from_str(&body).expect("JSON");
    let status = &read["entry"][0]["changes"][0]["value"]["statuses"][0];
    assert_eq!(status["biz_opaque_callback_data"], "w1-1-1-a/b 😀");
    assert_eq!(status["timestamp"], "1700000000");
    assert_eq!(status["errors"][0]["code"], 131_049);
}
