//! G3: only transport failures are retried. A verdict is final; "slow down" and "not now" cost no attempt.

use std::time::Duration;

use serde_json::json;
use sqlx::AssertSqlSafe;
use wa_outbox::domain::id::{MessageId, SenderId};
use wa_outbox::simulator::Fault;

use crate::support::make::{ALICE, BOB, a_message, a_text};
use crate::support::world::{SENDER, World, quick_settings};

const AN_HOUR: Duration = Duration::from_secs(3600);

/// A world in which a message that was put back does not come again by itself while the test looks at it.
async fn a_patient_world() -> World {
    let mut config = quick_settings();
    config.retry.first_delay = AN_HOUR;
    config.retry.max_delay = AN_HOUR;
    World::start_with(config).await
}

/// Lets the time pass that a queued message waits for.
async fn its_time_comes(world: &World, id: MessageId) {
    run(
        world,
        &format!("update wa.queue set due_at = now() where id = {id}"),
    )
    .await;
}

async fn run(world: &World, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&world.database.pool)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn a_template() -> crate::support::make::Draft {
    a_message(
        json!({"type": "template", "template": {"name": "shipped", "language": {"code": "en_US"}}}),
    )
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_after_growing_waits() {
    let mut config = quick_settings();
    config.retry.first_delay = Duration::from_millis(40);
    config.retry.max_delay = AN_HOUR;
    config.retry.jitter = 0.0;
    let world = World::start_with(config).await;
    world.simulator.go_away().await;
    let id = world.enqueue(a_text()).await;

    world
        .until(id, "four attempts", |message| {
            message.attempts >= 4 && message.state == "queued"
        })
        .await;
    world.simulator.come_back().await.expect("it listens again");
    let message = world.until_state(id, "accepted").await;

    let attempts = world.timeline(id).await.attempts;
    assert_eq!(
        message.attempts as usize,
        attempts.len() + 1,
        "each failed one is counted, and the last"
    );
    for (pair, wait_ms) in attempts.windows(2).zip([40, 80, 160]) {
        assert_eq!(pair[0].outcome, "not_sent");
        let waited = pair[1].begun_at.expect("it was begun") - pair[0].ended_at;
        assert!(
            waited >= Duration::from_millis(wait_ms),
            "{waited} is less than {wait_ms} ms"
        );
    }
    assert_eq!(world.simulator.ledger().requests_for(ALICE).len(), 1);
}

#[tokio::test]
async fn an_outage_however_long_fails_no_message_of_a_sender_that_has_but_one() {
    let mut config = quick_settings();
    config.retry.first_delay = Duration::from_millis(200);
    config.retry.factor = 1.0;
    config.retry.max_attempts = 6;
    let world = World::start_with(config).await;
    world.simulator.go_away().await;
    let id = world.enqueue(a_text()).await;
    let requests = format!("wa.attempts where id = {id} and outcome = 'not_sent'");
    world
        .until_true(
            "more requests were tried than attempts may be spent",
            async || world.count(&requests).await > 6,
        )
        .await;
    assert_eq!(world.state_of(id).await, "queued");

    world.simulator.come_back().await.expect("it listens again");
    let message = world.until_state(id, "accepted").await;
    assert!(message.attempts <= 6, "{}", message.attempts);
    assert_eq!(world.simulator.ledger().requests_for(ALICE).len(), 1);
}

#[tokio::test]
async fn who_was_to_find_out_whether_an_outage_is_over_and_cannot_leave_lets_another() {
    let mut config = quick_settings();
    config.retry.first_delay = Duration::from_millis(200);
    config.retry.factor = 1.0;
    let world = World::start_with(config).await;
    world.simulator.go_away().await;
    // Were each waited for until it must be lost, the last one would come after minutes.
    let kept_back = [a_text(), a_text(), a_text()];
    world.enqueue_all(kept_back).await;
    world
        .until_true("no connection is tried any more", async || {
            world
                .count("wa.sender_runtime where breaker <> 'closed'")
                .await
                == 1
                && world.count("wa.queue where state = 'queued'").await == 3
        })
        .await;
    let mut application = world.database.pool.begin().await.expect("a transaction");
    let lock = "select from wa.queue where state = 'queued' for update";
    let locked = sqlx::query(lock).fetch_all(&mut *application).await;
    assert_eq!(locked.expect("they are locked").len(), 3);
    let id = world.enqueue(a_text().to(BOB)).await;

    world.simulator.come_back().await.expect("it listens again");

    world.until_state(id, "accepted").await;
    assert_eq!(world.simulator.ledger().requests_for(ALICE).len(), 0);
}

#[tokio::test]
async fn the_time_of_the_next_attempt_is_shown_and_survives_a_restart() {
    let mut world = a_patient_world().await;
    world.simulator.go_away().await;
    let id = world.enqueue(a_text()).await;
    let before = world
        .until(id, "an attempt", |message| {
            message.attempts == 1 && message.state == "queued"
        })
        .await;
    let waiting_for = before.waiting_for.clone().unwrap_or_default();
    assert!(
        waiting_for.contains("its next attempt (2 of 10): no connection"),
        "{waiting_for}"
    );
    assert!(
        before.due_at > before.created_at + AN_HOUR / 2,
        "{} after {}",
        before.due_at,
        before.created_at
    );

    assert!(world.stop_service().await);
    world.simulator.come_back().await.expect("it listens again");
    world.start_service().await;
    let other = world.enqueue(a_text().to(BOB)).await;
    world.until_state(other, "accepted").await;

    let after = world.message(id).await;
    assert_eq!(
        (after.state.as_str(), after.attempts, after.due_at),
        ("queued", 1, before.due_at)
    );
    assert_eq!(after.waiting_for.as_deref(), Some(waiting_for.as_str()));
    assert!(world.simulator.ledger().requests_for(ALICE).is_empty());

    its_time_comes(&world, id).await;
    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

#[tokio::test]
async fn the_last_attempt_ends_a_message_as_failed() {
    let mut config = quick_settings();
    config.retry.max_attempts = 3;
    let world = World::start_with(config).await;
    world.simulator.go_away().await;
    let id = world.enqueue(a_text()).await;

    let message = world.until_state(id, "failed").await;

    assert_eq!((message.attempts, message.error_code), (3, None));
    let why = message.error_message.unwrap_or_default();
    assert!(why.contains("given up after 3 attempts"), "{why}");
    assert!(message.failed_at.is_some());
    assert_eq!(world.timeline(id).await.attempts.len(), 3);
}

#[tokio::test]
async fn a_message_whose_time_passes_while_it_is_retried_expires() {
    let world = a_patient_world().await;
    world.simulator.go_away().await;
    let mut draft = a_text();
    draft.0.expires_at = Some(
        world
            .message(world.enqueue(a_text().to(BOB)).await)
            .await
            .created_at
            + AN_HOUR,
    );
    let id = world.enqueue(draft).await;
    world
        .until(id, "an attempt", |message| {
            message.attempts == 1 && message.state == "queued"
        })
        .await;

    run(
        &world,
        &format!("update wa.queue set expires_at = now() where id = {id}"),
    )
    .await;

    let message = world.until_state(id, "expired").await;
    assert_eq!(message.attempts, 1);
    assert!(
        message
            .error_message
            .unwrap_or_default()
            .contains("its time passed")
    );
    world.simulator.come_back().await.expect("it listens again");
    let other = world.enqueue(a_text().to("+16505551003")).await;
    world.until_state(other, "accepted").await;
    assert!(world.simulator.ledger().requests_for(ALICE).is_empty());
}

#[tokio::test]
async fn a_verdict_is_final_and_costs_one_request() {
    let world = World::start().await;
    for (at, code) in [131026, 131047, 131051, 100, 131008, 130472]
        .into_iter()
        .enumerate()
    {
        let recipient = format!("+1650555300{at}");
        world.simulator.fault_next(&recipient, Fault::Error(code));
        let id = world.enqueue(a_text().to(&recipient)).await;

        let message = world.until_state(id, "failed").await;

        assert_eq!(
            (message.attempts, message.error_code),
            (1, Some(i64::from(code)))
        );
        assert!(message.error_message.is_some_and(|words| words.len() > 10));
        assert_eq!((message.wamid, message.accepted_at), (None, None));
        assert_eq!(world.store.open_messages().await.expect("a count"), 0);
        assert_eq!(world.simulator.ledger().requests_for(&recipient).len(), 1);
    }
}

#[tokio::test]
async fn throttling_costs_no_attempt_and_the_message_leaves_later() {
    let world = World::start().await;
    for (at, fault) in [
        Fault::RateLimited,
        Fault::AccountLimited,
        Fault::PairLimited,
        Fault::TooManyRequests(1),
        Fault::Error(4),
    ]
    .into_iter()
    .enumerate()
    {
        let recipient = format!("+1650555400{at}");
        world.simulator.fault_next(&recipient, fault);
        let id = world.enqueue(a_text().to(&recipient)).await;

        let message = world.until_state(id, "accepted").await;

        assert_eq!(message.attempts, 1, "{fault}");
        assert_eq!(
            world.simulator.ledger().requests_for(&recipient).len(),
            2,
            "{fault}"
        );
        let attempts = world.timeline(id).await.attempts;
        assert_eq!(
            (attempts.len(), attempts[0].outcome.as_str()),
            (1, "throttled"),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn throttling_never_uses_up_a_message() {
    let mut config = quick_settings();
    config.retry.max_attempts = 1;
    let world = World::start_with(config).await;
    world.simulator.fault_next(ALICE, Fault::PairLimited);
    world.simulator.fault_next(ALICE, Fault::RateLimited);
    let id = world.enqueue(a_text()).await;

    assert_eq!(world.until_state(id, "accepted").await.attempts, 1);
    assert_eq!(world.simulator.ledger().requests_for(ALICE).len(), 3);
}

#[tokio::test]
async fn the_limit_of_one_recipient_keeps_back_nobody_else() {
    let world = World::start().await;
    world
        .simulator
        .fault_always(ALICE, Some(Fault::PairLimited));
    let alice = world.enqueue(a_text()).await;
    world
        .until(alice, "its recipient's limit", |message| {
            message
                .waiting_for
                .as_deref()
                .is_some_and(|words| words.contains("this recipient's limit"))
        })
        .await;

    let bob = world.enqueue(a_text().to(BOB)).await;

    world.until_state(bob, "accepted").await;
    let message = world.message(alice).await;
    assert_ne!(message.state, "accepted");
    assert!(
        message.attempts <= 1,
        "an attempt that is out, and none that is spent"
    );
}

#[tokio::test]
async fn a_sender_that_must_not_send_is_held_and_its_messages_wait_unharmed() {
    // One request at a time, and everything there before the start: so one answer is known before the next could leave.
    let mut config = quick_settings();
    config.worker.max_in_flight = 1;
    let mut world = World::at_rest_with(config).await;
    world.add_sender("2").await;
    world.simulator.fault_always(ALICE, Some(Fault::Error(190)));
    let mut messages = Vec::new();
    for _ in 0..20 {
        messages.push(world.enqueue(a_text()).await);
    }
    world.start_service().await;

    world
        .until(messages[0], "its sender, held", |message| {
            message
                .waiting_for
                .as_deref()
                .is_some_and(|words| words.contains("held: ") && words.contains("190"))
        })
        .await;
    let senders = world.store.senders().await.expect("the senders");
    let sender = senders
        .iter()
        .find(|sender| sender.sender == SENDER)
        .expect("the sender");
    assert!(
        sender
            .held_reason
            .as_deref()
            .is_some_and(|reason| reason.contains("Access token has expired"))
    );
    assert_eq!(sender.held_by.as_deref(), Some("wa-outbox"));

    // Another sender works on; by the time its messages are through, the held one has had every chance to send.
    for n in 0..40 {
        let mut draft = a_text().to(&format!("+165055560{n:02}"));
        draft.0.sender = Some("2".to_owned());
        let id = world.enqueue(draft).await;
        world.until_state(id, "accepted").await;
    }
    for id in &messages {
        let message = world.message(*id).await;
        assert_eq!((message.state.as_str(), message.attempts), ("queued", 0));
    }
    assert_eq!(
        world.simulator.ledger().requests_for(ALICE).len(),
        1,
        "the first answer stopped the sender"
    );

    world.simulator.fault_always(ALICE, None);
    assert!(
        world
            .store
            .release_sender(&SenderId::from(SENDER))
            .await
            .expect("it is released")
    );
    for id in &messages {
        assert_eq!(world.until_state(*id, "accepted").await.attempts, 1);
    }
    assert_eq!(world.simulator.ledger().accepted_for(ALICE).len(), 20);
}

#[tokio::test]
async fn the_fault_of_a_template_fails_nobody() {
    let world = World::start().await;
    for (at, code) in [132001, 132015, 132016].into_iter().enumerate() {
        let recipient = format!("+1650555700{at}");
        world.simulator.fault_next(&recipient, Fault::Error(code));
        let id = world.enqueue(a_template().to(&recipient)).await;
        let other = world.enqueue(a_text().to(BOB)).await;

        let message = world
            .until(id, "its template, held", |message| {
                message
                    .waiting_for
                    .as_deref()
                    .is_some_and(|words| words.contains("its template") && words.contains("held"))
            })
            .await;

        assert_eq!((message.state.as_str(), message.attempts), ("queued", 0));
        world.until_state(other, "accepted").await;
        world
            .until_true("the template is held", async || {
                world
                    .count("wa.template_holds where released_at is null")
                    .await
                    == 1
            })
            .await;
        // The template has rested: one message may try it.
        world
            .run_sql("update wa.template_holds set held_until = now() where released_at is null")
            .await;
        assert_eq!(world.until_state(id, "accepted").await.attempts, 1);
        assert_eq!(world.simulator.ledger().requests_for(&recipient).len(), 2);
    }
}

#[tokio::test]
async fn what_the_service_says_it_did_not_do_is_tried_again_and_costs_an_attempt() {
    let world = World::start().await;
    for (at, code) in [131016, 2, 133004].into_iter().enumerate() {
        let recipient = format!("+1650555800{at}");
        world.simulator.fault_next(&recipient, Fault::Error(code));
        let id = world.enqueue(a_text().to(&recipient)).await;
        let message = world
            .until(id, "an attempt", |message| {
                message.attempts == 1 && message.state == "queued"
            })
            .await;
        let earliest = message.created_at + Duration::from_secs(29);
        assert!(
            message.due_at > earliest,
            "not before the service may be back"
        );

        its_time_comes(&world, id).await;

        assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
        assert_eq!(world.simulator.ledger().requests_for(&recipient).len(), 2);
    }
}
