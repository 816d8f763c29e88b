//! What statuses do to a message, in whatever number and order they come.

use serde_json::{Value, json};
use wa_outbox::domain::id::MessageId;
use wa_outbox::simulator::{Fault, WebhookFault};

use super::{AT, a_quiet_world, an_accepted_message, run};
use crate::support::callbacks::{a_status, with_data};
use crate::support::make::{ALICE, a_message, a_text};
use crate::support::world::World;

#[tokio::test]
async fn a_status_that_cannot_be_stored_does_not_keep_back_the_others() {
    let world = a_quiet_world().await;
    let (id, wamid) = an_accepted_message(&world).await;
    let strange = [
        json!({"id": "wamid.A\u{0}B", "status": "read", "timestamp": "1"}),
        json!({"id": "wamid.C", "status": "failed", "timestamp": "253402300799", "errors": [{"code": i64::MAX, "title": "a\u{0}b", "error_data": {"details": "x".repeat(100_000)}}]}),
        json!({"id": "wamid.D", "status": "sent", "timestamp": "99999999999999999999", "biz_opaque_callback_data": "\u{0}"}),
        json!({"id": "wamid.E", "status": "sent", "timestamp": -5}),
    ];
    world.deliver(&strange).await;
    world.deliver(&[a_status(&wamid, "read", AT)]).await;
    assert_eq!(world.message(id).await.status.as_deref(), Some("read"));
    let events: Vec<String> =
        sqlx::query_scalar("select wamid from wa.status_events where id is null order by event")
            .fetch_all(&world.database.pool)
            .await
            .expect("the events");
    assert_eq!(events, ["wamid.C", "wamid.D", "wamid.E"]);
}

#[tokio::test]
async fn statuses_that_come_twice_and_in_any_order_come_to_the_same() {
    for fault in [
        WebhookFault::Doubled,
        WebhookFault::Reordered,
        WebhookFault::ReadOnly,
    ] {
        let world = World::start().await;
        world.simulator.webhook_fault_next(ALICE, fault);
        let id = world.enqueue(a_text()).await;
        world.until_state(id, "accepted").await;
        world.until_webhooks_are_applied().await;

        let timeline = world.timeline(id).await;
        assert_eq!(timeline.message.status.as_deref(), Some("read"), "{fault}");
        let alone = fault == WebhookFault::ReadOnly;
        assert_eq!(timeline.message.delivered_at.is_none(), alone, "{fault}");
        let expected = match fault {
            WebhookFault::Doubled => 6,
            WebhookFault::Reordered => 3,
            _ => 1,
        };
        assert_eq!(
            timeline.statuses.len(),
            expected,
            "each is kept as it came: {fault}"
        );
        assert!(!timeline.message.status_conflict, "{fault}");
    }
}

#[tokio::test]
async fn a_status_never_goes_back_and_a_time_once_known_stays() {
    let world = a_quiet_world().await;
    let (id, wamid) = an_accepted_message(&world).await;
    world.deliver(&[a_status(&wamid, "read", AT + 30)]).await;
    let read_at = world.message(id).await.read_at;

    world
        .deliver(&[
            a_status(&wamid, "sent", AT),
            a_status(&wamid, "delivered", AT + 10),
        ])
        .await;
    world.deliver(&[a_status(&wamid, "read", AT + 99)]).await;

    let message = world.message(id).await;
    assert_eq!(message.status.as_deref(), Some("read"));
    assert_eq!(message.read_at, read_at);
    let seconds =
        |time: Option<time::OffsetDateTime>| time.map(time::OffsetDateTime::unix_timestamp);
    assert_eq!(
        (
            seconds(message.sent_at),
            seconds(message.delivered_at),
            seconds(message.read_at)
        ),
        (Some(AT), Some(AT + 10), Some(AT + 30))
    );
}

#[tokio::test]
async fn a_voice_message_that_was_heard_is_played() {
    let world = World::start().await;
    let voice = json!({"type": "audio", "audio": {"id": "1013859600285441", "voice": true}});
    let id = world.enqueue(a_message(voice)).await;
    let message = world.until_status(id, "played").await;
    assert!(message.read_at.is_some());
}

#[tokio::test]
async fn of_delivered_and_failed_the_delivery_counts_and_the_conflict_shows() {
    for fault in [
        WebhookFault::DeliveredThenFailed(131026),
        WebhookFault::FailedThenDelivered(131026),
    ] {
        let world = World::start().await;
        world.simulator.webhook_fault_next(ALICE, fault);
        let id = world.enqueue(a_text()).await;
        world.until_state(id, "accepted").await;
        world.until_webhooks_are_applied().await;

        let message = world.message(id).await;
        assert_eq!(
            (message.state.as_str(), message.status.as_deref()),
            ("accepted", Some("delivered")),
            "{fault}"
        );
        assert!(message.status_conflict, "{fault}");
        assert!(
            message.failed_at.is_some() && message.delivered_at.is_some(),
            "{fault}"
        );
        assert_eq!(
            world.simulator.ledger().requests_for(ALICE).len(),
            1,
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_message_that_failed_after_its_acceptance_stays_accepted_and_says_why() {
    let world = World::start().await;
    world
        .simulator
        .webhook_fault_next(ALICE, WebhookFault::Failed(131049));
    let id = world.enqueue(a_text()).await;

    let message = world.until_status(id, "failed").await;

    assert_eq!(
        (message.state.as_str(), message.error_code),
        ("accepted", Some(131049))
    );
    let why = message.error_message.unwrap_or_default();
    assert!(why.contains("healthy ecosystem engagement"), "{why}");
    assert!(message.failed_at.is_some() && message.accepted_at.is_some());
    assert!(!message.status_conflict);
    world.until_webhooks_are_applied().await;
    let status = world.timeline(id).await.statuses.pop().expect("a status");
    assert_eq!(
        (status.status.as_str(), status.error_code),
        ("failed", Some(131049))
    );
    assert!(status.error_title.is_some() && status.error_details.is_some());
    assert_eq!(
        world.simulator.ledger().requests_for(ALICE).len(),
        1,
        "a failed status is no reason to send again"
    );
}

#[tokio::test]
async fn a_status_that_comes_before_its_wamid_is_known_is_kept_until_it_is() {
    let world = a_quiet_world().await;
    world
        .simulator
        .fault_next(ALICE, Fault::AcceptThenDropAnswer);
    let id = world.enqueue(a_text()).await;
    world.until_state(id, "uncertain").await;
    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    let wamid = entry.wamid().expect("a wamid");

    // Without our token, as some providers deliver it: nobody can tell whose it is.
    world
        .deliver(&[
            a_status(wamid, "delivered", AT),
            a_status("wamid.of-nobody", "read", AT),
        ])
        .await;
    assert_eq!(world.state_of(id).await, "uncertain");
    assert_eq!(
        world
            .store
            .inbox_summary()
            .await
            .expect("the counts")
            .unmatched,
        2
    );

    let token = world.token(id, 1).await;
    world
        .deliver(&[with_data(a_status(wamid, "sent", AT), &token)])
        .await;

    world.until_status(id, "delivered").await;
    let left: Vec<String> =
        sqlx::query_scalar("select wamid from wa.status_events where id is null")
            .fetch_all(&world.database.pool)
            .await
            .expect("the events");
    assert_eq!(left, ["wamid.of-nobody"]);
}

#[tokio::test]
async fn the_applications_own_callback_data_is_sent_along_and_handed_back() {
    let world = World::start().await;
    let own = "order-77:é \"quoted\" 🚀 wo1-1-1-x";
    let payload =
        json!({"type": "text", "text": {"body": "Hello"}, "biz_opaque_callback_data": own});
    let id = world.enqueue(a_message(payload)).await;
    let longest = "x".repeat(448);
    let payload =
        json!({"type": "text", "text": {"body": "Hello"}, "biz_opaque_callback_data": longest});
    let long = world.enqueue(a_message(payload)).await;
    let plain = world.enqueue(a_text()).await;

    for id in [id, long, plain] {
        world.until_status(id, "read").await;
    }
    world.until_webhooks_are_applied().await;

    let handed_back = async |id: MessageId| -> Vec<Option<String>> {
        sqlx::query_scalar("select distinct callback_data from wa.status_events where id = $1")
            .bind(id.0)
            .fetch_all(&world.database.pool)
            .await
            .expect("the events")
    };
    assert_eq!(handed_back(id).await, [Some(own.to_owned())]);
    assert_eq!(handed_back(long).await, [Some(longest)]);
    assert_eq!(handed_back(plain).await, [None]);
    for entry in world.simulator.ledger().accepted() {
        let data = entry.callback_data.clone().expect("a token");
        assert!(
            data.chars().count() <= 512,
            "{} characters",
            data.chars().count()
        );
        assert!(
            data.starts_with("wo1-") && !data.contains("1650555"),
            "{data}"
        );
    }
}

#[tokio::test]
async fn a_delivery_of_a_thousand_statuses_is_applied_at_once() {
    let world = a_quiet_world().await;
    run(
        &world,
        "insert into wa.outbox (recipient, payload)
         select '+1650' || 5550000 + n, '{\"type\":\"text\",\"text\":{\"body\":\"Hello\"}}' from generate_series(1, 250) n",
    )
    .await;
    world.until_all_have_ended().await;
    let wamids: Vec<String> = sqlx::query_scalar("select wamid from wa.messages order by id")
        .fetch_all(&world.database.pool)
        .await
        .expect("the wamids");
    let statuses: Vec<Value> = wamids
        .iter()
        .flat_map(|wamid| {
            ["sent", "delivered", "read", "read"].map(|status| a_status(wamid, status, AT))
        })
        .collect();

    world.deliver(&statuses).await;

    let counts = world.store.counts().await.expect("the counts");
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert_eq!(
        (counts[0].status.as_deref(), counts[0].messages),
        (Some("read"), 250)
    );
}
