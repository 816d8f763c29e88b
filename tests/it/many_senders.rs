//! A worker with many senders that have nothing to do reads for one as soon as it has something.

use sqlx::Executor as _;
use wa_outbox::domain::id::SenderId;

use crate::support::world::World;

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
