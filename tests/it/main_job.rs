//! A row goes in, one message goes out, its statuses come back.

use serde_json::{Value, json};
use wa_outbox::message::Outgoing;

use crate::support::make::{ALICE, Draft, a_message, a_text};
use crate::support::world::{SENDER, World};

#[tokio::test]
async fn a_row_becomes_one_message_and_its_statuses_come_back() {
    let world = World::start().await;
    let message = world.enqueue(a_text()).await;

    let message = world.until_status(message, "read").await;
    assert_eq!(message.state, "accepted");
    assert_eq!(message.attempts, 1);
    assert!(message.wamid.is_some());
    assert!(
        message.accepted_at.is_some()
            && message.sent_at.is_some()
            && message.delivered_at.is_some()
    );
    assert_eq!(message.waiting_for, None);
    assert_eq!(world.simulator.ledger().accepted_for(ALICE).len(), 1);
}

#[tokio::test]
async fn a_payload_reaches_the_wire_as_it_was_written() {
    let world = World::start().await;
    let payload = r#"{ "type":"text", "text":{"body":"caf\u00e9 \"x\" 🎉","preview_url":false}, "context":{"message_id":"wamid.A"} }"#;
    let draft = Draft(Outgoing::written(payload, ALICE));
    let message = world.enqueue(draft).await;

    world.until_state(message, "accepted").await;
    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    let mut sent: Value = serde_json::from_slice(&entry.body).expect("json");
    let object = sent.as_object_mut().expect("an object");
    assert_eq!(object.remove("messaging_product"), Some(json!("whatsapp")));
    assert_eq!(object.remove("recipient_type"), Some(json!("individual")));
    assert_eq!(object.remove("to"), Some(json!(ALICE)));
    assert!(object.remove("biz_opaque_callback_data").is_some());
    assert_eq!(sent, serde_json::from_str::<Value>(payload).expect("json"));
    assert_eq!(&*entry.number, SENDER);
}

#[tokio::test]
async fn a_mark_as_read_ends_as_accepted_without_a_wamid() {
    let world = World::start().await;
    let message = world
        .enqueue(a_message(
            json!({"status": "read", "message_id": "wamid.HBgLMTY1MDU1NTEwMDE="}),
        ))
        .await;

    let message = world.until_state(message, "accepted").await;
    assert_eq!((message.wamid, message.attempts), (None, 1));
}

#[tokio::test]
async fn drain_sends_what_is_due_and_may_leave_and_ends() {
    let world = World::at_rest().await;
    let message = world.enqueue(a_text()).await;
    let listens_elsewhere = [
        ("WA_OUTBOX_WEBHOOK_LISTEN", "127.0.0.1:0"),
        ("WA_OUTBOX_ADMIN_LISTEN", "127.0.0.1:0"),
        ("WHATSAPP_APP_SECRET", "secret"),
    ];
    let drain = async |arguments: &[&str]| {
        let run = [&["run", "--drain"], arguments].concat();
        let output = world.command_with(&listens_elsewhere, &run).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };

    let (code, said) = drain(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(world.message(message).await.state, "accepted", "{said}");

    let held = world
        .command(&["sender", "hold", SENDER, "--reason", "a pause"])
        .await;
    assert!(held.status.success(), "{held:?}");
    let kept_back = world.enqueue(a_text()).await;
    let (code, said) = drain(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(world.message(kept_back).await.state, "queued");

    let (code, said) = drain(&["--roles", "webhook,admin"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("add worker to --roles"), "{said}");

    world
        .run_sql("truncate wa.senders, wa.outbox, wa.queue, wa.results, wa.leases cascade")
        .await;
    let (code, said) = drain(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("there is no sender"), "{said}");
}
