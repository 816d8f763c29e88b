//! A worker with many senders that have nothing to do reads for one as soon as it has something.

use sqlx::Executor as _;

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
    world
        .run_sql(
            &an_insert(3)
                .replace("payload)", "payload, due_at)")
                .replace("')", "', now() + interval '2 seconds')"),
        )
        .await;
    world.until_taken(1).await;
    let early = world.number("select count(*) from wa.messages where accepted_at < due_at");
    assert_eq!(early.await, 0);
}
