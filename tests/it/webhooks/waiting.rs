//! Deliveries that wait, however they came to.

use serde_json::json;
use wa_outbox::domain::id::MessageId;

use super::{AT, an_accepted_message, inbox, run};
use crate::support::callbacks::{a_delivery, a_status};
use crate::support::world::{SENDER, World};
use wa_outbox::simulator::Statuses;

/// Two messages that were accepted, with their wamids, and nobody who applies.
async fn two_accepted() -> (World, [(MessageId, String); 2]) {
    let mut world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    let accepted = [
        an_accepted_message(&world).await,
        an_accepted_message(&world).await,
    ];
    assert!(world.stop_service().await);
    (world, accepted)
}

async fn states(world: &World) -> Vec<String> {
    let inbox = inbox(world).await;
    inbox.into_iter().map(|(state, ..)| state).collect()
}

#[tokio::test]
async fn what_the_database_refuses_is_put_aside_and_what_was_stored_with_it_is_applied() {
    for refusal in ["data_exception", "program_limit_exceeded"] {
        is_put_aside(refusal).await;
    }
}

/// Three deliveries that wait together; applying the second ends with this error.
async fn fails_between(world: &World, error: &str, first: &str, third: &str) {
    run(
        world,
        &format!(
            "create function public.refuses() returns trigger language plpgsql as
               $$begin raise exception using errcode = '{error}'; end$$;
             create trigger refuses before insert on wa.status_events
               for each row when (new.wamid = 'wamid.bad') execute function public.refuses()"
        ),
    )
    .await;
    let deliveries =
        [first, "wamid.bad", third].map(|wamid| a_delivery(&[a_status(wamid, "read", AT)]));
    world.deliveries_wait(&deliveries, "1 minute").await;
}

#[tokio::test]
async fn what_cannot_be_applied_now_keeps_nothing_back_and_waits() {
    for error in [
        "query_canceled",
        "out_of_memory",
        "data_corrupted",
        "lock_not_available",
    ] {
        let (mut world, [(one, first), (other, second)]) = two_accepted().await;
        fails_between(&world, error, &first, &second).await;
        world.start_service().await;
        for id in [one, other] {
            world.until_status(id, "read").await;
        }
        assert_eq!(states(&world).await, ["stored"; 3]);
        assert_eq!(world.count("wa.webhook_pending").await, 1);

        // Whoever comes anew tries it at once.
        assert!(world.stop_service().await);
        run(&world, "drop trigger refuses on wa.status_events").await;
        world.start_service().await;
        world.until_webhooks_are_applied().await;
        assert_eq!(states(&world).await, ["stored"; 3]);
    }
}

/// What the database refuses with this error.
async fn is_put_aside(refusal: &str) {
    let (mut world, [(one, first), (other, second)]) = two_accepted().await;
    fails_between(&world, refusal, &first, &second).await;

    world.start_service().await;
    world.until_webhooks_are_applied().await;
    for id in [one, other] {
        assert_eq!(world.message(id).await.status.as_deref(), Some("read"));
    }
    assert_eq!(states(&world).await, ["stored", "bad", "stored"]);
    let why = json!([{"place": "", "reason": "the database refuses what it holds"}]);
    assert_eq!(inbox(&world).await[1].2, Some(why));
}

#[tokio::test]
async fn a_choice_of_nobody_keeps_no_status_from_being_applied() {
    let (mut world, [(one, first), _]) = two_accepted().await;
    let status = a_delivery(&[a_status(&first, "read", AT)]);
    let mut delivery: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let changes = delivery["entry"][0]["changes"]
        .as_array_mut()
        .expect("changes");
    for who in [
        "12345".to_owned(),
        "0016505551234567890".to_owned(),
        "x".repeat(9_000),
    ] {
        changes.push(json!({"field": "user_preferences", "value": {
            "metadata": {"phone_number_id": SENDER},
            "user_preferences": [{"wa_id": who, "category": "marketing_messages", "value": "stop"}],
        }}));
    }
    world
        .deliveries_wait(&[delivery.to_string()], "1 minute")
        .await;

    world.start_service().await;
    world.until_webhooks_are_applied().await;
    assert_eq!(world.message(one).await.status.as_deref(), Some("read"));
    assert_eq!(world.count("wa.suppressions").await, 0);
    let told = inbox(&world)
        .await
        .remove(0)
        .2
        .expect("what could not be read");
    assert_eq!(told.as_array().map(Vec::len), Some(3), "{told}");
}

#[tokio::test]
async fn what_an_older_version_has_stored_and_not_applied_is_applied() {
    let (mut world, [(one, first), (other, second)]) = two_accepted().await;
    let deliveries = [first, second].map(|wamid| a_delivery(&[a_status(&wamid, "delivered", AT)]));
    world.older_deliveries_wait(&deliveries, "1 minute").await;

    world.start_service().await;
    world.until_webhooks_are_applied().await;
    for id in [one, other] {
        assert_eq!(world.message(id).await.status.as_deref(), Some("delivered"));
    }
    assert_eq!(states(&world).await, ["stored", "stored"]);
}

#[tokio::test]
async fn deliveries_that_somebody_has_deleted_wait_no_more() {
    let mut world = World::at_rest().await;
    world.deliveries_wait(&["{}", "{}"], "1 minute").await;
    world.run_sql("delete from wa.webhook_inbox").await;
    world.start_service().await;
    world.until_webhooks_are_applied().await;
    assert_eq!(world.count("wa.webhook_pending").await, 0);
}
