//! What is told late, again or of a member that is past changes no halt, and what is known counts before the time that is over.

use super::*;

#[tokio::test]
async fn what_is_known_already_of_a_member_that_halted_its_sequence_changes_nothing() {
    for cause in ["failed", "uncertain", "timeout"] {
        let world = a_silent_world().await;
        match cause {
            "failed" => world.simulator.fault_next(ALICE, Fault::Error(131026)),
            "uncertain" => lose_the_answer(&world).await,
            _ => {
                world.enqueue(part(0)).await;
                world.set(a_timeout("halt")).await;
            }
        }
        world.enqueue(to_a_person(1)).await;
        world.enqueue(part(2)).await;
        world.until_halted().await;
        let before = world.standing().await;
        assert_eq!(before.halted_cause.as_deref(), Some(cause));

        let again = "select wa.settle_sequences(array[halted_member]) from wa.sequences";
        world.run_sql(again).await;

        assert_eq!(
            world.standing().await.halted_at,
            before.halted_at,
            "{cause}"
        );
        let events = "wa.sequence_events where what <> 'set'";
        assert_eq!(world.count(events).await, 1, "{cause}");
    }
}

#[tokio::test]
async fn a_delivery_that_is_known_when_the_time_is_over_counts_and_not_the_time() {
    let world = World::at_rest().await;
    world.set(a_timeout("halt")).await;
    let (first, second) = (world.enqueue(part(1)).await, world.enqueue(part(2)).await);
    world.is_accepted(first, "wamid.1").await;
    // Written by somebody who died before it was settled.
    world
        .run_sql("update wa.results set delivered_at = now()")
        .await;

    assert_eq!(world.look_after().await, 0);

    let standing = world.standing().await;
    assert_eq!(
        (standing.halted_cause, standing.head_id),
        (None, Some(second.0))
    );
}

#[tokio::test]
async fn a_halt_keeps_its_cause_when_another_member_is_cancelled() {
    let world = World::at_rest().await;
    world.enqueue(part(1)).await;
    let (second, third) = (world.enqueue(part(2)).await, world.enqueue(part(3)).await);
    for member in [third, second] {
        let cancelled = world.store.cancel(member).await;
        cancelled.expect("it was not begun");
    }
    assert_eq!(world.standing().await.halted_member, Some(third.0));
    assert_eq!(world.count("wa.sequence_events").await, 1);
}

#[tokio::test]
async fn a_member_that_ends_behind_the_head_halts_nothing() {
    let world = a_silent_world().await;
    world.set(on_failure("skip")).await;
    lose_the_answer(&world).await;
    let first = world.enqueue(to_a_person(1)).await;
    let second = world.enqueue(part(2)).await;
    world.until_state(second, "accepted").await;
    world.set(on_failure("halt")).await;

    let ended = format!(
        "insert into wa.results (id, sender, state, attempts, in_sequence) values ({first}, '{SENDER}', 'expired', 1, true)"
    );
    world.run_sql(&ended).await;

    let standing = world.standing().await;
    assert_eq!(
        (standing.halted_cause, standing.head_id),
        (None, Some(second.0))
    );
}
