//! A worker with many senders that have nothing to do reads for one as soon as it has something.

use std::time::Duration;

use sqlx::Executor as _;
use wa_outbox::domain::id::{AttemptNumber, MessageId, SenderId};
use wa_outbox::store::claim::{Begun, Claim};
use wa_outbox::store::lease::WorkerId;
use wa_outbox::store::{ConnectSettings, Store};

use crate::support::plan::{filled, plan_of};
use crate::support::world::World;

const LONG: Duration = Duration::from_secs(60);

const SENDERS: u32 = 20;

fn sender(nth: u32) -> String {
    format!("2065403522429{nth:02}")
}

fn an_insert(nth: u32) -> String {
    format!(
        r#"insert into wa.outbox (sender, recipient, payload)
           values ('{}', '+16505550{nth:03}', '{{"type":"text","text":{{"body":"Hello"}}}}')"#,
        sender(nth)
    )
}

/// The same with one more column.
fn an_insert_with(nth: u32, column: &str, value: &str) -> String {
    an_insert(nth)
        .replace("payload)", &format!("payload, {column})"))
        .replace("')", &format!("', {value})"))
}

/// All senders are held by a worker that sleeps and that nobody calls: it finds what there is by itself.
async fn uncalled() -> World {
    let mut world = World::at_rest().await;
    for nth in 0..SENDERS {
        world.add_sender(&sender(nth)).await;
    }
    world.start_service().await;
    world
        .until_true("the worker holds all senders and sleeps", async || {
            world.count("wa.leases where worker is null").await == 0
                && world.count("wa.workers where asleep").await == 1
        })
        .await;
    world.run_sql("update wa.workers set asleep = false").await;
    world
}

#[tokio::test]
async fn each_of_many_idle_senders_is_read_for_when_it_has_something() {
    let world = uncalled().await;
    for nth in 0..SENDERS {
        world.run_sql(&an_insert(nth)).await;
        world.until_taken(u64::from(nth) + 1).await;
    }
}

#[tokio::test]
async fn a_row_that_is_committed_long_after_its_id_was_drawn_is_found_too() {
    let world = uncalled().await;
    let mut late = world.database.pool.begin().await.expect("a transaction");
    late.execute(sqlx::AssertSqlSafe(an_insert(1)))
        .await
        .expect("it is written");
    world.run_sql(&an_insert(2)).await;
    world.until_taken(1).await;

    late.commit().await.expect("it is committed");
    world.until_taken(2).await;
}

#[tokio::test]
async fn what_is_due_later_is_sent_when_its_time_comes() {
    let world = uncalled().await;
    let later = an_insert_with(3, "due_at", "now() + interval '2 seconds'");
    world.run_sql(&later).await;
    world.until_taken(1).await;
    let early = world.number("select count(*) from wa.messages where accepted_at < due_at");
    assert_eq!(early.await, 0);
}

#[tokio::test]
async fn who_has_a_message_that_is_queued_or_waits_in_a_sequence_has_something_open() {
    let world = World::at_rest().await;
    for nth in 0..4 {
        world.add_sender(&sender(nth)).await;
    }
    let later = an_insert_with(1, "due_at", "now() + interval '1 day'");
    let member = an_insert_with(2, "sequence", "'order'");
    for insert in [&later, &member, &member, &an_insert(3)] {
        world.run_sql(insert).await;
    }
    // The third one's first is under way, and so is all that the fourth has.
    world
        .run_sql(&format!(
            "update wa.queue set state = 'sending', attempt = 1, attempts = 1, epoch = 1, begun_at = now(), deadline = now()
             where sender in ('{}', '{}')",
            sender(2),
            sender(3)
        ))
        .await;

    let all = [0, 1, 2, 3].map(|nth| SenderId::from(sender(nth)));
    let found = world.store.senders_with_something_open(&all).await;
    assert_eq!(found.expect("they are found"), all[1..3]);
}

/// A message of each sender, and a worker that holds them all, each under an epoch of its own.
async fn one_of_each() -> (World, Store, WorkerId, Vec<Claim>) {
    let world = World::at_rest().await;
    for nth in 0..SENDERS {
        world.add_sender(&sender(nth)).await;
        world.run_sql(&an_insert(nth)).await;
    }
    world
        .run_sql("update wa.leases set epoch = epoch + right(sender, 2)::int")
        .await;
    let settings = ConnectSettings {
        by_key: true,
        ..ConnectSettings::new(world.database.url.clone())
    };
    let store = Store::connect(&settings).await.expect("it connects");
    let worker = store.register_worker("owner", LONG).await;
    let worker = worker.expect("a worker");
    store.take_senders(worker).await.expect("all of them");
    let held = store.held_senders(worker).await.expect("what it holds");
    let queued: Vec<(i64, String)> =
        sqlx::query_as("select id, sender from wa.queue order by sender desc")
            .fetch_all(&world.database.pool)
            .await
            .expect("the queue");
    let claims = queued.into_iter().map(|(id, sender)| {
        let sender = SenderId::from(sender);
        let held = held.iter().find(|one| one.sender.sender == sender.as_str());
        Claim {
            id: MessageId(id),
            epoch: held.expect("it is held").epoch,
            sender,
            attempt: AttemptNumber(1),
        }
    });
    let claims = claims.collect();
    (world, store, worker, claims)
}

async fn begun_under_their_epochs(world: &World) -> i64 {
    world
        .count("wa.queue q join wa.leases l using (sender) where q.state = 'sending' and q.epoch = l.epoch")
        .await
}

#[tokio::test]
async fn g8_messages_of_many_senders_are_begun_each_under_the_epoch_of_its_own() {
    let (world, store, worker, mut claims) = one_of_each().await;
    // Somebody else has taken this one.
    let lost = claims.pop().expect("the last");
    let taken = format!(
        "update wa.leases set epoch = epoch + 1 where sender = '{}'",
        lost.sender
    );
    world.run_sql(&taken).await;
    claims.push(lost);
    let begun = store.begin(worker, &claims, LONG).await.expect("begun");

    let expected = i64::from(SENDERS) - 1;
    assert_eq!(begun.len() as i64, expected);
    assert_eq!(begun_under_their_epochs(&world).await, expected);

    // Whether a sender is held is looked up for each message. To join them is to compare each message with each sender.
    let begin = filled(
        include_str!("../../src/store/sql/begin.sql"),
        &[
            "1", "'{1}'", "'{a}'", "'{1}'", "1", "1", "1", "false", "'50ms'",
        ],
    );
    let plan = plan_of(&world.database.pool, &begin).await;
    let joins = plan
        .lines()
        .filter(|line| line.contains("Join") || line.contains("Nested Loop"));
    assert!(plan.contains("hashed SubPlan"), "{plan}");
    assert_eq!(joins.count(), 1, "of leases, to lock them: {plan}");
}

#[tokio::test]
async fn what_somebody_has_locked_keeps_nobody_waiting_and_is_begun_as_he_leaves_it() {
    let (world, store, worker, claims) = one_of_each().await;
    let (put_off, cancelled) = (claims[3].id, claims[7].id);
    let mut somebody = world.database.pool.begin().await.expect("a transaction");
    for change in [
        format!("update wa.queue set waiting_for = 'a moment' where id = {put_off}"),
        format!("select wa.cancel({cancelled})"),
    ] {
        somebody
            .execute(sqlx::AssertSqlSafe(change))
            .await
            .expect("it is done");
    }
    let begin = async || store.begin(worker, &claims, LONG).await.expect("begun");
    let is_locked = |one: &Begun| one.id == put_off || one.id == cancelled;
    let begun = begin().await;
    assert_eq!(begun.len(), SENDERS as usize - 2);
    assert!(!begun.iter().any(is_locked));
    assert!(begin().await.is_empty());
    somebody.commit().await.expect("it is committed");

    let begun: Vec<MessageId> = begin().await.iter().map(|one| one.id).collect();
    assert_eq!(begun, [put_off]);
    let expected = i64::from(SENDERS) - 1;
    assert_eq!(begun_under_their_epochs(&world).await, expected);
}

#[tokio::test]
async fn a_transaction_that_stays_open_over_cancelled_messages_holds_up_nothing_else() {
    let mut world = World::at_rest().await;
    let other = sender(0);
    world.add_sender(&other).await;
    let all = r#"insert into wa.outbox (sender, recipient, payload)
         select sender, '+1650555' || 1000 + n, '{"type":"text","text":{"body":"Hello"}}'
         from generate_series(1, 40) as n cross join wa.senders"#;
    world.run_sql(all).await;
    let mut somebody = world.database.pool.begin().await.expect("a transaction");
    let cancel = "select wa.cancel(id) from wa.queue where id % 4 = 0";
    somebody.execute(cancel).await.expect("it is done");
    world.start_service().await;
    world
        .until_true("all others are sent", async || {
            world.count("wa.messages where state = 'accepted'").await == 60
        })
        .await;
    assert!(world.stop_service().await, "nothing is out that cannot end");
    assert_eq!(world.count("wa.messages where state = 'queued'").await, 20);

    somebody.rollback().await.expect("it is rolled back");
    world.start_service().await;
    world
        .until_true("they are sent, too", async || {
            world.count("wa.messages where state = 'accepted'").await == 80
        })
        .await;
}
