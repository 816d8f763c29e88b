//! The session at an On-Premises client.

use std::time::Duration;

use serde_json::{Value, json};
use wa_outbox::domain::id::MessageId;

use crate::support::make::{ALICE, a_message, a_text};
use crate::support::provider::{LOGIN, Provided, on_premises};
use crate::support::world::{SENDER, quick_settings};

/// To different people, so that nothing but the session stands in their way.
async fn enqueue(world: &Provided, numbers: std::ops::Range<u32>) -> Vec<MessageId> {
    let mut messages = Vec::new();
    for number in numbers {
        let recipient = format!("+1650555{number:04}");
        messages.push(world.enqueue(a_text().to(&recipient)).await);
    }
    messages
}

async fn held_cause(world: &Provided) -> Option<String> {
    sqlx::query_scalar("select held_cause from wa.senders where sender = $1")
        .bind(SENDER)
        .fetch_one(&world.database.pool)
        .await
        .expect("the sender")
}

#[tokio::test]
async fn many_messages_are_sent_under_one_login() {
    let world = Provided::on_premises().await;
    enqueue(&world, 0..50).await;
    world.until_all_have_ended().await;
    assert_eq!(world.simulator.ledger().accepted_count(), 50);
    assert_eq!((world.simulator.logins(), world.refusals()), (1, vec![]));
}

#[tokio::test]
async fn a_session_that_is_refused_amid_many_messages_is_renewed_once_and_costs_none_of_them() {
    let world = Provided::on_premises().await;
    let mut messages = enqueue(&world, 0..25).await;
    world.until_all_have_ended().await;

    // Several are out with the old token when its refusal comes.
    let slow = Duration::from_millis(50);
    world.simulator.set_latency(slow, Duration::ZERO);
    world.simulator.end_sessions();
    messages.extend(enqueue(&world, 25..50).await);
    world.until_all_have_ended().await;

    for id in messages {
        let message = world.message(id).await;
        assert_eq!((message.state.as_str(), message.attempts), ("accepted", 1));
    }
    let refusals = world.refusals();
    assert!(
        refusals.len() > 1 && refusals.iter().all(|status| *status == 401),
        "{refusals:?}"
    );
    assert_eq!(world.simulator.ledger().accepted_count(), 50);
    assert_eq!(world.simulator.logins(), 2);
    assert_eq!(held_cause(&world).await, None);
}

#[tokio::test]
async fn a_session_is_renewed_before_it_ends() {
    let mut world = Provided::at_rest_with(quick_settings(), on_premises(), LOGIN).await;
    world.simulator.set_session_lifetime(Duration::from_secs(2));
    world.start_service().await;
    let mut sent = 0;
    while world.simulator.logins() < 3 {
        let message = world.enqueue(a_text()).await;
        world.until_state(message, "accepted").await;
        sent += 1;
    }
    assert_eq!(world.refusals(), Vec::<u16>::new());
    assert_eq!(world.requests(), sent);
}

#[tokio::test]
async fn a_wrong_password_holds_the_sender_fails_no_message_and_is_not_tried_again_and_again() {
    let mut world = Provided::at_rest_with(quick_settings(), on_premises(), "admin:wrong").await;
    world.simulator.set_password(Some(LOGIN));
    world.start_service().await;
    let messages = enqueue(&world, 0..20).await;
    world
        .until_true("the sender is held", async || {
            held_cause(&world).await.as_deref() == Some("token")
        })
        .await;
    assert_eq!((world.requests(), world.simulator.refused_logins()), (0, 1));

    world.rotate(LOGIN);
    world.until_all_have_ended().await;
    for id in messages {
        let message = world.message(id).await;
        assert_eq!((message.state.as_str(), message.attempts), ("accepted", 1));
    }
    assert_eq!(
        (world.simulator.refused_logins(), world.simulator.logins()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_mark_as_read_names_its_message_in_the_address() {
    let world = Provided::on_premises().await;
    let payload = json!({"status": "read", "message_id": "gBGGFlA5FpafAgkOuJbRq54qwbM"});
    let read = world.enqueue(a_message(payload.clone())).await;
    let read = world.until_state(read, "accepted").await;
    assert_eq!((read.wamid, read.attempts), (None, 1));
    let entry = world.simulator.ledger().all().remove(0);
    assert_eq!(entry.path, "/v1/messages/gBGGFlA5FpafAgkOuJbRq54qwbM");
    let body: Value = serde_json::from_slice(&entry.body).expect("JSON");
    assert_eq!(body, payload);
}

#[tokio::test]
async fn nobody_there_to_log_in_to_is_no_hold() {
    let world = Provided::on_premises().await;
    world.simulator.go_away().await;
    let message = world.enqueue(a_text()).await;
    world
        .until(message, "an attempt that met nobody", |message| {
            message
                .waiting_for
                .as_deref()
                .is_some_and(|why| why.contains("no connection"))
        })
        .await;
    assert_eq!(held_cause(&world).await, None);
    world.simulator.come_back().await.expect("it listens again");
    world.until_state(message, "accepted").await;
    assert_eq!(world.simulator.ledger().accepted_for(ALICE).len(), 1);
}
