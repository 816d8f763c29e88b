//! What is kept about each request that did not end in plain acceptance: enough to find out why, and to ask Meta.

use wa_outbox::domain::id::MessageId;
use wa_outbox::simulator::{Fault, WebhookFault};
use wa_outbox::store::message::AttemptRow;

use crate::support::make::{ALICE, a_text};
use crate::support::world::World;

/// The first request of a message, once it is written down.
async fn first_attempt_of(world: &World, id: MessageId) -> AttemptRow {
    world
        .until_true("the request is written down", async || {
            !world.timeline(id).await.attempts.is_empty()
        })
        .await;
    world.timeline(id).await.attempts.remove(0)
}

/// The first request of a message that met this fault.
async fn first_attempt(world: &World, fault: Fault) -> AttemptRow {
    world.simulator.fault_next(ALICE, fault);
    world
        .simulator
        .webhook_fault_always(ALICE, Some(WebhookFault::Lost));
    let id = world.enqueue(a_text()).await;
    first_attempt_of(world, id).await
}

#[tokio::test]
async fn each_kind_of_outcome_is_kept_with_its_status_and_code() {
    let cases = [
        (Fault::Error(131026), "rejected", Some(400), Some(131026)),
        (Fault::Error(2), "transient", Some(503), Some(2)),
        (Fault::Error(131000), "uncertain", Some(500), Some(131000)),
        (Fault::RateLimited, "throttled", Some(400), Some(130429)),
        (Fault::PairLimited, "throttled", Some(400), Some(131056)),
        (Fault::AccountLimited, "throttled", Some(400), Some(80007)),
        (Fault::TooManyRequests(1), "throttled", Some(429), None),
        // A text: there is no template that could be held.
        (Fault::Error(132001), "rejected", Some(404), Some(132001)),
        (Fault::GatewayPage, "uncertain", Some(502), None),
        (Fault::RequestTimeout, "uncertain", Some(408), None),
        (Fault::CloseAfterReading, "uncertain", None, None),
        (Fault::Hang, "uncertain", None, None),
        (Fault::AcceptThenAnswerHtml, "uncertain", None, None),
        // The last one: it holds the sender.
        (Fault::Error(190), "held", Some(401), Some(190)),
    ];
    let world = World::start().await;
    let mut messages = Vec::new();
    for (at, (fault, ..)) in cases.iter().enumerate() {
        let recipient = format!("+16505551{at:03}");
        world.simulator.fault_next(&recipient, *fault);
        world
            .simulator
            .webhook_fault_always(&recipient, Some(WebhookFault::Lost));
        messages.push(world.enqueue(a_text().to(&recipient)).await);
    }
    for (id, (fault, outcome, http_status, code)) in messages.into_iter().zip(cases) {
        let attempt = first_attempt_of(&world, id).await;
        let kept = (
            attempt.outcome.as_str(),
            attempt.http_status,
            attempt.error_code,
        );
        assert_eq!(kept, (outcome, http_status, code), "{fault}");
        assert_eq!(attempt.attempt, 1, "{fault}");
        let begun_at = attempt.begun_at.expect("it was begun");
        assert!(begun_at <= attempt.ended_at, "{fault}");
        assert_eq!(
            (attempt.settled_by, attempt.settled_at),
            (None, None),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn what_meta_says_is_kept_word_for_word_with_its_trace() {
    let world = World::start().await;
    let attempt = first_attempt(&world, Fault::Error(131047)).await;
    let title = attempt.error_title.unwrap_or_default();
    assert!(title.contains("Re-engagement message"), "{title}");
    let details = attempt.error_details.unwrap_or_default();
    assert!(
        details.contains("More than 24 hours have passed"),
        "{details}"
    );
    // The simulator numbers its traces by its requests.
    assert_eq!(attempt.fbtrace_id.as_deref(), Some("A0000000000000000"));
}

#[tokio::test]
async fn an_outcome_without_an_answer_is_explained_in_words() {
    let world = World::start().await;
    for (fault, words) in [
        (
            Fault::CloseAfterReading,
            "the connection ended before the answer came",
        ),
        (
            Fault::AcceptThenAnswerHtml,
            "said yes and could not be read",
        ),
        (Fault::AcceptThenHang, "no answer came in time"),
    ] {
        let attempt = first_attempt(&world, fault).await;
        let note = attempt.note.unwrap_or_default();
        assert!(note.contains(words), "{fault}: {note}");
    }
}

#[tokio::test]
async fn a_request_that_never_left_is_kept_with_its_reason() {
    let world = World::start().await;
    world.simulator.go_away().await;
    let id = world.enqueue(a_text()).await;
    let attempt = first_attempt_of(&world, id).await;
    assert_eq!(
        (attempt.outcome.as_str(), attempt.http_status),
        ("not_sent", None)
    );
    assert_eq!(attempt.note.as_deref(), Some("no connection could be made"));
}

#[tokio::test]
async fn a_plain_acceptance_leaves_no_row_and_each_other_request_its_own() {
    let world = World::start().await;
    let plain = world.enqueue(a_text()).await;
    world.until_state(plain, "accepted").await;
    assert!(world.timeline(plain).await.attempts.is_empty());

    world.simulator.fault_next(ALICE, Fault::PairLimited);
    world.simulator.fault_next(ALICE, Fault::RateLimited);
    world.simulator.fault_next(ALICE, Fault::Error(131051));
    let refused = world.enqueue(a_text()).await;
    world.until_state(refused, "failed").await;

    let attempts = world.timeline(refused).await.attempts;
    let kept: Vec<_> = attempts
        .iter()
        .map(|row| (row.attempt, row.outcome.as_str(), row.error_code))
        .collect();
    assert_eq!(
        kept,
        [
            (1, "throttled", Some(131056)),
            (2, "throttled", Some(130429)),
            (3, "rejected", Some(131051)),
        ]
    );
    assert_eq!(world.message(refused).await.attempts, 1);
}

#[tokio::test]
async fn what_was_held_for_quality_is_accepted_and_not_sent_again() {
    let world = World::start().await;
    world.simulator.fault_next(ALICE, Fault::HeldForQuality);
    let id = world.enqueue(a_text()).await;
    let message = world.until_state(id, "accepted").await;
    assert!(message.wamid.is_some());
    let message_status: Option<String> =
        sqlx::query_scalar("select message_status from wa.messages where id = $1")
            .bind(id.0)
            .fetch_one(&world.database.pool)
            .await
            .expect("the message");
    assert_eq!(
        message_status.as_deref(),
        Some("held_for_quality_assessment")
    );
    assert_eq!(world.simulator.ledger().requests_for(ALICE).len(), 1);
}
