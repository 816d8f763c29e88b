//! Answers and statuses that come early, late or twice.

use std::time::Duration;

use serde_json::json;
use wa_outbox::domain::id::{AttemptNumber, MessageId, SenderId};
use wa_outbox::domain::outcome::Acceptance;
use wa_outbox::domain::transition::Transition;
use wa_outbox::message::OnUncertain;
use wa_outbox::simulator::{Fault, Statuses, WebhookFault};
use wa_outbox::store::claim::Claim;

use super::{Hand, accepted_as, assert_never_again, lost, run};
use crate::support::callbacks::{a_status, with_data};
use crate::support::make::{ALICE, BOB, a_message, a_text};
use crate::support::world::{SENDER, World};

#[tokio::test]
async fn an_answer_that_comes_after_the_sweep_is_recorded_and_ends_the_message() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let slow = Hand::takes_the_sender(&world).await;
    let begun = slow.begins(id).await.expect("begun");
    let next = Hand::takes_the_sender(&world).await;
    next.sweeps().await;
    assert_eq!(world.state_of(id).await, "uncertain");

    slow.records(begun, accepted_as("wamid.A")).await;

    let message = world.message(id).await;
    assert_eq!((message.attempts, message.duplicate), (1, None));
    assert_never_again(&world, id, "late answer").await;
}

#[tokio::test]
async fn a_late_answer_without_a_wamid_ends_its_message_too() {
    let world = World::at_rest().await;
    let mark_as_read = json!({"status": "read", "message_id": "wamid.HBgLMTY1MDU1NTEwMDE="});
    let id = world.enqueue(a_message(mark_as_read)).await;
    let slow = Hand::takes_the_sender(&world).await;
    let begun = slow.begins(id).await.expect("begun");
    let next = Hand::takes_the_sender(&world).await;
    next.sweeps().await;

    slow.records(begun, Transition::Accept(Acceptance::default()))
        .await;

    let message = world.message(id).await;
    assert_eq!((message.state.as_str(), message.attempts), ("accepted", 1));
    assert_eq!(world.store.open_messages().await.expect("a count"), 0);
}

#[tokio::test]
async fn an_answer_that_comes_while_the_resend_is_queued_stops_the_resend() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let slow = Hand::takes_the_sender(&world).await;
    let begun = slow.begins(id).await.expect("begun");
    let next = Hand::takes_the_sender(&world).await;
    next.sweeps().await;
    run(
        &world,
        "select wa.resend(array_agg(id), array_agg(attempt), 'again') from wa.uncertain",
    )
    .await;
    assert_eq!(world.state_of(id).await, "queued");

    slow.records(begun, accepted_as("wamid.A")).await;

    assert_never_again(&world, id, "late answer").await;
}

/// In doubt, and kept for a person.
async fn assert_left_to_a_person(world: &World, id: MessageId, doubt: &str) {
    let kept: (String, bool) =
        sqlx::query_as("select doubt, may_resend from wa.uncertain where id = $1")
            .bind(id.0)
            .fetch_one(&world.database.pool)
            .await
            .expect("it is uncertain");
    assert_eq!(kept, (doubt.to_owned(), false));
}

#[tokio::test]
async fn an_answer_with_the_id_of_another_message_is_taken_for_none_of_ours() {
    let world = World::at_rest().await;
    let [one, two, three, four] = [
        world.enqueue(a_text()).await,
        world.enqueue(a_text()).await,
        world.enqueue(a_text()).await,
        world.enqueue(a_text()).await,
    ];
    let hand = Hand::takes_the_sender(&world).await;
    let mut told = Vec::new();
    for id in [one, two, three] {
        let begun = hand.begins(id).await.expect("begun");
        told.push((begun, accepted_as("wamid.A")));
    }
    let last = hand.begins(four).await.expect("begun");
    // Together, and one that comes later, with others that end otherwise.
    let third = told.pop().expect("the third");
    let recorded = hand.records_all(told).await;
    assert_eq!((recorded.accepted, recorded.borrowed), (1, 1));
    let recorded = hand.records_all(vec![third, (last, lost())]).await;
    assert_eq!((recorded.accepted, recorded.borrowed), (0, 1));

    assert_never_again(&world, one, "the first").await;
    let doubt = format!("the answer has the id of message {one}");
    for id in [two, three] {
        assert_left_to_a_person(&world, id, &doubt).await;
        let attempts = world.timeline(id).await.attempts;
        assert_eq!(attempts[0].note.as_deref(), Some(doubt.as_str()));
    }
    // Told again it changes nothing.
    assert_eq!(world.timeline(one).await.acceptances.len(), 1);
}

#[tokio::test]
async fn what_is_told_late_of_a_request_that_was_swept_keeps_policy_from_sending_it_again() {
    let world = World::at_rest().await;
    let first = world.enqueue(a_text()).await;
    let slow = Hand::takes_the_sender(&world).await;
    let begun = slow.begins(first).await.expect("begun");
    slow.records(begun, accepted_as("wamid.A")).await;
    let borrowed = accepted_as("wamid.A");
    let unreadable = Transition::Doubt {
        doubt: "it said yes".to_owned(),
        may_resend: false,
    };
    let of_first = format!("the answer has the id of message {first}");
    for (told, doubt) in [(borrowed, of_first.as_str()), (unreadable, "it said yes")] {
        let id = world.enqueue(a_text()).await;
        let slow = Hand::takes_the_sender(&world).await;
        let begun = slow.begins(id).await.expect("begun");
        let next = Hand::takes_the_sender(&world).await;
        next.sweeps().await;
        slow.records(begun, told).await;
        assert_left_to_a_person(&world, id, doubt).await;
    }
}

#[tokio::test]
async fn what_is_told_while_its_request_is_being_swept_keeps_policy_from_sending_it_again() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let slow = Hand::takes_the_sender(&world).await;
    let begun = slow.begins(id).await.expect("begun");
    let mut sweep = world.database.pool.begin().await.expect("a transaction");
    sqlx::query(
        "insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
         select id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, true, 'the worker that sent it is gone', 'a status'
         from wa.queue",
    )
    .execute(&mut *sweep)
    .await
    .expect("it is swept");
    let unreadable = Transition::Doubt {
        doubt: "it said yes".to_owned(),
        may_resend: false,
    };
    let commits = async {
        let waits =
            "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        world
            .until_true("it waits for the sweep", async || {
                world.count(waits).await == 1
            })
            .await;
        sweep.commit().await.expect("it is committed");
    };
    tokio::join!(slow.records(begun, unreadable), commits);
    assert_left_to_a_person(&world, id, "it said yes").await;
}

#[tokio::test]
async fn a_late_refusal_of_one_request_does_not_end_a_message_whose_next_request_is_out() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let slow = Hand::takes_the_sender(&world).await;
    let first = slow.begins(id).await.expect("begun");
    let next = Hand::takes_the_sender(&world).await;
    next.sweeps().await;
    run(
        &world,
        "select wa.resend(array_agg(id), array_agg(attempt), 'again') from wa.uncertain",
    )
    .await;
    let second = next.begins(id).await.expect("begun again");
    assert_eq!(second.attempt, AttemptNumber(2));

    let refusal = Transition::Fail {
        code: Some(131026),
        message: "undeliverable".to_owned(),
    };
    slow.records(first, refusal).await;
    assert_eq!(world.state_of(id).await, "sending");

    next.records(second, accepted_as("wamid.B")).await;
    assert_eq!(world.message(id).await.error_code, None);
    assert_never_again(&world, id, "after a late refusal").await;
}

#[tokio::test]
async fn what_is_told_late_of_one_request_does_not_put_the_next_one_back() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(&world).await;
    let first = hand.begins(id).await.expect("begun");
    let claims = [Claim {
        id,
        sender: SenderId::from(SENDER),
        epoch: hand.epoch,
        attempt: first.attempt,
    }];
    let taken_back = async || world.store.take_back(&claims).await.expect("an answer");
    assert_eq!(taken_back().await, 1);
    let second = hand.begins(id).await.expect("begun again");
    assert_eq!(second.attempt, AttemptNumber(2));

    // Its first answer was lost, so it is tried again.
    assert_eq!(taken_back().await, 0);
    let later = Transition::Requeue {
        after: Duration::ZERO,
        spent: false,
        waiting_for: "its turn".to_owned(),
    };
    hand.records(first, later).await;

    let message = world.message(id).await;
    assert_eq!((message.state.as_str(), message.attempts), ("sending", 1));
}

#[tokio::test]
async fn the_number_of_a_request_that_was_put_back_before_it_was_begun_is_spent() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(&world).await;
    let claim = Claim {
        id,
        sender: SenderId::from(SENDER),
        epoch: hand.epoch,
        attempt: AttemptNumber(1),
    };
    world.store.take_back(&[claim]).await.expect("an answer");
    let begun = hand.begins(id).await.expect("begun");
    assert_eq!((begun.attempt, begun.attempts), (AttemptNumber(2), 1));
}

/// How a message stands in the queue: attempts spent, resends used, and in how many minutes it is due.
async fn in_the_queue(world: &World, id: MessageId) -> (i32, i32, i32) {
    let standing = "select attempts, resends, round(extract(epoch from due_at - now()) / 60)::int
                    from wa.queue where id = $1 and state = 'queued'";
    sqlx::query_as(standing)
        .bind(id.0)
        .fetch_one(&world.database.pool)
        .await
        .expect("it is queued")
}

#[tokio::test]
async fn what_was_swept_and_provably_not_sent_waits_as_if_it_had_not_been_swept() {
    for (spent, attempts) in [(false, 0), (true, 1)] {
        let world = World::at_rest().await;
        let id = world.enqueue(a_text()).await;
        let slow = Hand::takes_the_sender(&world).await;
        let begun = slow.begins(id).await.expect("begun");
        let next = Hand::takes_the_sender(&world).await;
        next.sweeps().await;

        let not_sent = Transition::Requeue {
            after: Duration::from_secs(3_600),
            spent,
            waiting_for: "its next attempt: no connection".to_owned(),
        };
        slow.records(begun, not_sent).await;

        assert_eq!(in_the_queue(&world, id).await, (attempts, 0, 60));
        let timeline = world.timeline(id).await;
        assert_eq!(
            timeline.message.waiting_for.as_deref(),
            Some("its next attempt: no connection")
        );
        assert_eq!(timeline.attempts[0].settled_by.as_deref(), Some("worker"));
    }
}

#[tokio::test]
async fn what_was_swept_and_never_left_is_taken_back_without_a_trace() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let slow = Hand::takes_the_sender(&world).await;
    let begun = slow.begins(id).await.expect("begun");
    let next = Hand::takes_the_sender(&world).await;
    next.sweeps().await;

    let claim = Claim {
        id,
        sender: SenderId::from(SENDER),
        epoch: slow.epoch,
        attempt: begun.attempt,
    };
    let taken = world.store.take_back(&[claim]).await;

    assert_eq!(taken.expect("an answer"), 1);
    assert_eq!(in_the_queue(&world, id).await, (0, 0, 0));
}

#[tokio::test]
async fn a_late_resend_of_one_request_does_not_send_the_next_one_again() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(&world).await;
    let again = format!("select wa.resend(array[{id}], array[1], 'again')");
    let first = hand.begins(id).await.expect("begun");
    hand.records(first, lost()).await;
    run(&world, &again).await;
    let second = hand.begins(id).await.expect("begun again");
    hand.records(second, lost()).await;

    run(&world, &again).await;

    assert_eq!(world.state_of(id).await, "uncertain");
}

#[tokio::test]
async fn a_fact_outweighs_what_was_concluded_without_it() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(&world).await;
    let begun = hand.begins(id).await.expect("begun");
    let failed = Transition::Fail {
        code: None,
        message: "given up".to_owned(),
    };
    hand.records(begun, failed).await;
    assert_eq!(world.state_of(id).await, "failed");

    hand.records(begun, accepted_as("wamid.A")).await;

    assert_never_again(&world, id, "a wamid after a failure").await;
}

#[tokio::test]
async fn an_answer_that_tells_what_a_webhook_has_told_is_no_second_acceptance() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(&world).await;
    let begun = hand.begins(id).await.expect("begun");
    let told = format!(
        "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('wamid.A', '{SENDER}', {id}, 1, 'webhook')"
    );
    run(&world, &told).await;

    hand.records(begun, accepted_as("wamid.A")).await;

    let timeline = world.timeline(id).await;
    assert_eq!(timeline.acceptances.len(), 1);
    assert_eq!(timeline.message.duplicate, None);
    assert_never_again(&world, id, "told twice").await;
}

#[tokio::test]
async fn a_status_that_comes_before_the_answer_is_no_second_acceptance() {
    let mut world = World::start().await;
    world
        .simulator
        .webhook_fault_next(ALICE, WebhookFault::Early);
    let id = world.enqueue(a_text()).await;

    let message = world.until_status(id, "read").await;
    world.until_webhooks_are_applied().await;

    assert_eq!((message.state.as_str(), message.attempts), ("accepted", 1));
    let timeline = world.timeline(id).await;
    assert_eq!(timeline.message.duplicate, None);
    assert_eq!(timeline.acceptances.len(), 1);
    assert_eq!(world.simulator.ledger().requests_for(ALICE).len(), 1);
    assert!(
        world.stop_service().await,
        "the answer, known already, is written all the same"
    );
}

#[tokio::test]
async fn a_status_that_comes_while_the_request_hangs_ends_the_message() {
    let world = World::start().await;
    world.simulator.fault_next(ALICE, Fault::AcceptThenHang);
    world
        .simulator
        .webhook_fault_next(ALICE, WebhookFault::Early);
    let id = world.enqueue(a_text()).await;

    world.until_status(id, "read").await;
    world
        .until_true("the request is given up", async || {
            world.timeline(id).await.attempts.len() == 1
        })
        .await;

    let timeline = world.timeline(id).await;
    assert_eq!(timeline.message.state, "accepted");
    assert_eq!(timeline.acceptances[0].learned_from, "webhook");
    let doubt = &timeline.attempts[0];
    assert_eq!(doubt.outcome, "uncertain");
    assert_eq!(doubt.settled_by.as_deref(), Some("webhook"));
    assert_eq!(doubt.settled_at, Some(timeline.acceptances[0].learned_at));
    assert_never_again(&world, id, "accepted while it hung").await;
    assert_eq!(world.simulator.ledger().requests_for(ALICE).len(), 1);
}

#[tokio::test]
async fn a_second_wamid_is_kept_and_shown_whichever_request_it_is_of() {
    let world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    let (one, other) = (
        world.enqueue(a_text()).await,
        world.enqueue(a_text().to(BOB)).await,
    );
    world.until_state(one, "accepted").await;
    world.until_state(other, "accepted").await;

    let same_request = world.token(one, 1).await;
    let later_request = world.token(other, 2).await;
    world
        .deliver(&[
            with_data(a_status("wamid.twin", "sent", 1_800_000_000), &same_request),
            with_data(
                a_status("wamid.heir", "sent", 1_800_000_000),
                &later_request,
            ),
        ])
        .await;

    for (id, cause, recipient) in [(one, "transport_retry", ALICE), (other, "resend", BOB)] {
        let timeline = world.timeline(id).await;
        assert_eq!(timeline.message.duplicate.as_deref(), Some(cause));
        assert_eq!(timeline.acceptances.len(), 2);
        assert_eq!(timeline.message.status.as_deref(), Some("sent"));
        let requests = world.simulator.ledger().requests_for(recipient);
        assert_eq!(requests.len(), 1);
        assert_eq!(
            timeline.message.wamid.as_deref(),
            requests[0].wamid(),
            "the first stays"
        );
        assert_never_again(&world, id, cause).await;
    }
}

#[tokio::test]
async fn two_wamids_that_are_learned_at_once_are_both_kept_and_shown() {
    let world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    for (asked, requests, cause) in [(1, [1, 1], "transport_retry"), (2, [1, 2], "resend")] {
        world.simulator.fault_next(ALICE, Fault::Hang);
        let id = world
            .enqueue(a_text().on_uncertain(OnUncertain::Hold))
            .await;
        world.until_asked(asked).await;

        let mut told = Vec::new();
        for (nth, request) in requests.into_iter().enumerate() {
            let wamid = format!("wamid.{cause}.{nth}");
            let token = world.token(id, request).await;
            told.push(with_data(a_status(&wamid, "sent", 1_800_000_000), &token));
        }
        world.deliver(&told).await;

        let timeline = world.timeline(id).await;
        assert_eq!(timeline.message.duplicate.as_deref(), Some(cause));
        assert_eq!(timeline.acceptances.len(), 2);
    }
}
