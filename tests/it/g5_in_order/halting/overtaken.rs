//! A halt that is older than what is known: its message is in the queue again while a writer keeps the line, so settling it is left
//! for the next look. Whoever lets the line go on meanwhile does not let it go on past that message.

use sqlx::{Connection as _, PgConnection};
use wa_outbox::store::sequence::Skipped;

use super::*;
use crate::g5_in_order::WAITING_FOR_A_LOCK;
use crate::support::books::message_of;

/// A story that is halted because its first part is left to a person, and whose worker has gone.
async fn a_story_left_to_a_person() -> (World, [MessageId; 3]) {
    let mut world = a_silent_world().await;
    lose_the_answer(&world).await;
    let first = world.enqueue(to_a_person(1)).await;
    let (second, third) = (world.enqueue(part(2)).await, world.enqueue(part(3)).await);
    world.until_halted().await;
    assert!(world.stop_service().await);
    (world, [first, second, third])
}

/// Somebody who writes into the story, and keeps it until the transaction ends.
async fn a_writer(world: &World) -> PgConnection {
    let mut writer = PgConnection::connect(&world.database.url)
        .await
        .expect("a connection");
    let keep = "begin; select from wa.sequences for update";
    sqlx::raw_sql(keep)
        .execute(&mut writer)
        .await
        .expect("the line is kept");
    writer
}

async fn say(connection: &mut PgConnection, statement: &'static str) {
    let said = sqlx::raw_sql(statement).execute(connection).await;
    said.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// A person has the message in front sent again, while the line is kept.
async fn is_sent_again_behind_a_writer(world: &World, first: MessageId) {
    let mut writer = a_writer(world).await;
    let finding = Finding::SendAgain;
    let resolved = world.store.resolve(first, &finding, "ada", "please").await;
    assert!(resolved.expect("resolved"));
    say(&mut writer, "commit").await;
    // The halt is as old as before: nobody has settled it.
    assert_eq!(world.count("wa.unsettled").await, 1);
    assert_eq!(world.standing().await.halted_member, Some(first.0));
}

#[tokio::test]
async fn a_sequence_that_is_resumed_waits_for_the_message_in_front_that_is_sent_again() {
    let (mut world, [first, second, third]) = a_story_left_to_a_person().await;
    is_sent_again_behind_a_writer(&world, first).await;

    let resumed = world.store.resume_sequence(&story(), WORD).await;
    assert!(resumed.expect("it was halted"));
    let standing = world.standing().await;
    assert_eq!(
        (standing.halted_cause, standing.head_id),
        (None, Some(first.0))
    );

    world.start_service().await;
    for (member, behind_it) in [(first, 2), (second, 1), (third, 0)] {
        let accepted = world.until_state(member, "accepted").await;
        let waiting = world.standing().await.waiting;
        assert_eq!(waiting, behind_it, "nobody leaves with {member}");
        world.hear(&accepted, Status::Delivered).await;
    }
    let left: Vec<i64> = world
        .simulator
        .ledger()
        .accepted()
        .iter()
        .map(|entry| message_of(entry))
        .collect();
    // The first had reached Alice already.
    assert_eq!(left, [first.0, first.0, second.0, third.0]);
}

#[tokio::test]
async fn a_message_that_comes_back_while_its_sequence_is_resumed_is_waited_for() {
    let (world, [first, second, _]) = a_story_left_to_a_person().await;
    // Somebody puts it back, cannot have the line, and has not committed when a person resumes.
    let mut writer = a_writer(&world).await;
    let mut putting_back = PgConnection::connect(&world.database.url)
        .await
        .expect("a connection");
    let put_back = "begin; select wa.send_again(array_agg(id), array_agg(attempt), 'please') from wa.uncertain";
    say(&mut putting_back, put_back).await;
    say(&mut writer, "commit").await;
    let store = world.store.clone();
    let resuming = tokio::spawn(async move { store.resume_sequence(&story(), WORD).await });
    world
        .until_true("it waits for the message", async || {
            world.count(WAITING_FOR_A_LOCK).await == 1
        })
        .await;
    say(&mut putting_back, "commit").await;

    assert!(resuming.await.expect("it ran").expect("it was halted"));
    assert_eq!(world.state_of(first).await, "queued");
    assert_eq!(world.state_of(second).await, "waiting");
}

#[tokio::test]
async fn a_sequence_that_skips_failures_from_now_on_does_not_skip_what_comes_back_meanwhile() {
    let (world, [first, second, _]) = a_story_left_to_a_person().await;
    world.set(on_failure("skip")).await;
    let mut writer = a_writer(&world).await;
    let mut putting_back = PgConnection::connect(&world.database.url)
        .await
        .expect("a connection");
    let put_back = "begin; select wa.send_again(array_agg(id), array_agg(attempt), 'please') from wa.uncertain";
    say(&mut putting_back, put_back).await;
    say(&mut writer, "commit").await;
    // Settled without a limit to how long it waits, so that the test need not be quick.
    let store = world.store.clone();
    let settling = tokio::spawn(async move {
        sqlx::raw_sql("select wa.settle_gate(s, array[s.head_id], '{}') from wa.sequences s")
            .execute(store.pool())
            .await
    });
    world
        .until_true("it waits for the message", async || {
            world.count(WAITING_FOR_A_LOCK).await == 1
        })
        .await;
    say(&mut putting_back, "commit").await;

    settling.await.expect("it ran").expect("it is settled");
    assert_eq!(world.state_of(first).await, "queued");
    assert_eq!(world.state_of(second).await, "waiting");
    assert_eq!(world.standing().await.head_id, Some(first.0));
    let passed_over = "wa.sequence_events where what = 'passed_over'";
    assert_eq!(world.count(passed_over).await, 0);
}

#[tokio::test]
async fn a_message_in_front_that_is_queued_again_is_cancelled_when_it_is_skipped() {
    let (world, [first, second, _]) = a_story_left_to_a_person().await;
    is_sent_again_behind_a_writer(&world, first).await;

    let skipped = world.store.skip_head(&story(), WORD).await;
    assert_eq!(skipped.expect("it is skipped"), Skipped::Cancelled);
    assert_eq!(world.state_of(first).await, "cancelled");
    assert_eq!(world.state_of(second).await, "queued");
    assert_eq!(world.standing().await.halted_cause, None);
}
