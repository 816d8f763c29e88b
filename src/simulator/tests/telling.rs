//! Status webhooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use aws_lc_rs::hmac;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use tokio::sync::{Semaphore, mpsc};

use super::super::{
    Fault, Posting, Status, StatusRule, Statuses, TemplateNews, Webhook, WebhookFault,
};
use super::*;

const SECRET: &str = "a practice secret";

/// A receiver that keeps what was posted to it, and answers as told.
struct Receiver {
    url: String,
    deliveries: mpsc::UnboundedReceiver<(Option<String>, Bytes)>,
    answers_with: Arc<AtomicU16>,
    /// One permit lets one delivery be answered.
    gate: Arc<Semaphore>,
}

impl Receiver {
    async fn start() -> Self {
        let (posted, deliveries) = mpsc::unbounded_channel();
        let answers_with = Arc::new(AtomicU16::new(200));
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let (status, open) = (answers_with.clone(), gate.clone());
        let handler = move |headers: HeaderMap, body: Bytes| async move {
            let signature = headers
                .get("x-hub-signature-256")
                .and_then(|value| value.to_str().ok());
            // The test may have ended already.
            let _ = posted.send((signature.map(str::to_owned), body));
            open.acquire()
                .await
                .expect("the gate is never closed")
                .forget();
            StatusCode::from_u16(status.load(Ordering::SeqCst)).expect("a status")
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!(
            "http://{}/webhook",
            listener.local_addr().expect("an address")
        );
        let router = axum::Router::new().route("/webhook", axum::routing::post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            deliveries,
            answers_with,
            gate,
        }
    }

    fn webhook(&self) -> Option<Webhook> {
        Some(Webhook {
            url: self.url.clone(),
            app_secret: SECRET.to_owned(),
        })
    }

    async fn next(&mut self) -> (Option<String>, Bytes) {
        tokio::time::timeout(PATIENCE, self.deliveries.recv())
            .await
            .expect("in time")
            .expect("a delivery")
    }

    /// All statuses posted so far.
    fn statuses(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Ok((_, body)) = self.deliveries.try_recv() {
            all.extend(statuses_in(&body));
        }
        all
    }
}

fn statuses_in(body: &[u8]) -> Vec<Value> {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    body["entry"][0]["changes"][0]["value"]["statuses"]
        .as_array()
        .expect("statuses")
        .clone()
}

fn names(statuses: &[Value]) -> Vec<&str> {
    statuses
        .iter()
        .map(|status| status["status"].as_str().expect("a status"))
        .collect()
}

#[tokio::test]
async fn an_accepted_message_is_told_of_signed_in_order_and_with_its_callback_data() {
    let mut receiver = Receiver::start().await;
    let simulator = a_simulator_with(Settings {
        webhook: receiver.webhook(),
        ..Settings::default()
    })
    .await;
    let (_, answer) = send(&simulator, &a_text_to(ALICE)).await;
    for expected in ["sent", "delivered", "read"] {
        let (signature, body) = receiver.next().await;
        let signature = signature.expect("a signature");
        let tag = data_encoding::HEXLOWER
            .decode(
                signature
                    .strip_prefix("sha256=")
                    .expect("the scheme")
                    .as_bytes(),
            )
            .expect("hex");
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::verify(&key, &body, &tag).expect("a signature over the bytes received");

        let statuses = statuses_in(&body);
        assert_eq!(names(&statuses), [expected]);
        assert_eq!(statuses[0]["id"], answer["messages"][0]["id"]);
        assert_eq!(statuses[0]["recipient_id"], "16505551234");
        assert_eq!(statuses[0]["biz_opaque_callback_data"], "w1-1-1-abc");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let change = &body["entry"][0]["changes"][0];
        assert_eq!(
            (&body["object"], &change["field"]),
            (&json!("whatsapp_business_account"), &json!("messages"))
        );
        assert_eq!(change["value"]["metadata"]["phone_number_id"], NUMBER);
    }
    simulator.webhooks_settled().await;
    assert!(receiver.statuses().is_empty());
}

#[tokio::test]
async fn an_early_webhook_is_answered_before_the_send_is() {
    let mut receiver = Receiver::start().await;
    let simulator = a_simulator_with(Settings {
        webhook: receiver.webhook(),
        ..Settings::default()
    })
    .await;
    simulator.webhook_fault_next(ALICE, WebhookFault::Early);
    // No webhook is answered until a permit is there; the answer to the send must wait for it.
    receiver.gate.forget_permits(Semaphore::MAX_PERMITS);

    let body = a_text_to(ALICE);
    let sending = send(&simulator, &body);
    tokio::pin!(sending);
    let (_, early) = tokio::select! {
        early = receiver.next() => early,
        _ = &mut sending => panic!("the send was answered before its webhook"),
    };
    assert_eq!(names(&statuses_in(&early)), ["sent"]);
    receiver.gate.add_permits(1000);
    assert_eq!(sending.await.0, 200);
    simulator.webhooks_settled().await;
    assert_eq!(names(&receiver.statuses()), ["delivered", "read"]);
}

#[tokio::test]
async fn doubled_lost_reordered_and_failed_news_come_as_asked() {
    let mut receiver = Receiver::start().await;
    let simulator = a_simulator_with(Settings {
        webhook: receiver.webhook(),
        ..Settings::default()
    })
    .await;
    let cases: [(WebhookFault, &[&str]); 6] = [
        (
            WebhookFault::Doubled,
            &["sent", "sent", "delivered", "delivered", "read", "read"],
        ),
        (WebhookFault::Lost, &[]),
        (WebhookFault::Reordered, &["read", "delivered", "sent"]),
        (WebhookFault::ReadOnly, &["read"]),
        (WebhookFault::Late(1), &["sent", "delivered", "read"]),
        (
            WebhookFault::DeliveredThenFailed(131026),
            &["sent", "delivered", "failed"],
        ),
    ];
    for (fault, expected) in cases {
        simulator.webhook_fault_next(ALICE, fault);
        send(&simulator, &a_text_to(ALICE)).await;
        // News beyond those expected would show up in the next case.
        simulator.webhooks_settled().await;
        let statuses = receiver.statuses();
        assert_eq!(names(&statuses), expected, "{fault}");
        if let WebhookFault::DeliveredThenFailed(code) = fault {
            assert_eq!(statuses[2]["errors"][0]["code"], code);
        }
    }
}

#[tokio::test]
async fn a_message_whose_answer_was_dropped_is_told_of_all_the_same() {
    let mut receiver = Receiver::start().await;
    let simulator = a_simulator_with(Settings {
        webhook: receiver.webhook(),
        ..Settings::default()
    })
    .await;
    simulator.fault_next(ALICE, Fault::AcceptThenDropAnswer);
    let lost = post(&simulator, "/v23.0/1/messages", &a_text_to(ALICE)).await;
    assert!(lost.is_err());
    let (_, body) = receiver.next().await;
    assert_eq!(
        statuses_in(&body)[0]["biz_opaque_callback_data"],
        "w1-1-1-abc"
    );
    assert_eq!(simulator.ledger().accepted_for(ALICE).len(), 1);
}

#[tokio::test]
async fn a_delivery_that_is_not_answered_with_200_comes_again_until_it_is_given_up() {
    let mut receiver = Receiver::start().await;
    receiver.answers_with.store(204, Ordering::SeqCst);
    let pause = Duration::from_millis(1);
    let posting = Posting {
        tries: 3,
        pause,
        longest_pause: pause,
        ..Posting::default()
    };
    let statuses = Statuses::only(&[Status::Sent]);
    let webhook = receiver.webhook();
    let simulator = a_simulator_with(Settings {
        webhook,
        posting,
        statuses,
        ..Settings::default()
    })
    .await;
    send(&simulator, &a_text_to(ALICE)).await;

    let (_, first) = receiver.next().await;
    assert_eq!(receiver.next().await.1, first, "the same body, to the byte");
    assert_eq!(receiver.next().await.1, first);
    simulator
        .wait_for_webhooks(|counts| counts.given_up == 1)
        .await;
    let counts = simulator.webhooks();
    assert_eq!(
        (counts.answered, counts.failed_tries, counts.pending),
        (0, 3, 0)
    );

    receiver.answers_with.store(503, Ordering::SeqCst);
    send(&simulator, &a_text_to(ALICE)).await;
    receiver.next().await;
    receiver.answers_with.store(200, Ordering::SeqCst);
    simulator
        .wait_for_webhooks(|counts| counts.answered == 1 && counts.pending == 0)
        .await;
}

#[tokio::test]
async fn statuses_that_are_due_together_go_in_one_delivery() {
    let mut receiver = Receiver::start().await;
    let posting = Posting {
        concurrent: 1,
        ..Posting::default()
    };
    let statuses = Statuses {
        sent: Some(StatusRule::after(Duration::ZERO)),
        ..Statuses::none()
    };
    let webhook = receiver.webhook();
    let simulator = a_simulator_with(Settings {
        webhook,
        posting,
        statuses,
        ..Settings::default()
    })
    .await;
    receiver.gate.forget_permits(Semaphore::MAX_PERMITS);
    send(&simulator, &a_text_to(ALICE)).await;
    assert_eq!(statuses_in(&receiver.next().await.1).len(), 1);

    for _ in 0..19 {
        send(&simulator, &a_text_to(ALICE)).await;
    }
    simulator
        .wait_for_webhooks(|counts| counts.pending == 20)
        .await;
    receiver.gate.add_permits(1000);
    assert_eq!(statuses_in(&receiver.next().await.1).len(), 19);
}

#[tokio::test]
async fn a_test_can_tell_what_it_wants_told() {
    let mut receiver = Receiver::start().await;
    let simulator = a_simulator_with(Settings {
        statuses: Statuses::none(),
        ..Settings::default()
    })
    .await;
    simulator.set_webhook(receiver.url.clone(), SECRET);
    send(&simulator, &a_text_to(ALICE)).await;
    let accepted = simulator.ledger().accepted_for(ALICE);
    let wamid = accepted[0].wamid().expect("an id");

    assert_eq!(
        simulator
            .tell(wamid, Status::Failed(131049))
            .await
            .expect("told"),
        200
    );
    let statuses = receiver.statuses();
    assert_eq!(
        (names(&statuses), &statuses[0]["id"]),
        (vec!["failed"], &json!(wamid))
    );
    assert!(simulator.tell("wamid.unknown", Status::Sent).await.is_err());

    receiver.answers_with.store(403, Ordering::SeqCst);
    assert_eq!(
        simulator
            .send_raw_webhook("not json")
            .await
            .expect("posted"),
        403
    );
    assert_eq!(receiver.next().await.1.as_ref(), b"not json");

    let news = TemplateNews {
        name: "hello_world".to_owned(),
        language: "en_US".to_owned(),
        event: "PAUSED".to_owned(),
        reason: "NONE".to_owned(),
    };
    simulator.tell_template(&news).await.expect("posted");
    let body: Value = serde_json::from_slice(&receiver.next().await.1).expect("JSON");
    let change = &body["entry"][0]["changes"][0];
    assert_eq!(change["field"], "message_template_status_update");
    assert_eq!(change["value"]["event"], "PAUSED");
}
