//! What is begun under an epoch that is over begins nothing, however closely it races.

use sqlx::{AssertSqlSafe, Connection as _};
use wa_outbox::domain::id::Epoch;

use crate::support::make::a_text;
use crate::support::world::World;

#[tokio::test]
async fn nothing_begins_under_an_epoch_that_is_over() {
    let world = World::at_rest().await;
    let store = &world.store;
    let [old, new] = [world.registers("old").await, world.registers("new").await];
    store.take_senders(old).await.expect("a look");
    let (_, before) = world.lease().await;
    let message = world.enqueue(a_text()).await;

    world.hands_over(old, new).await;

    let (owner, after) = world.lease().await;
    assert_eq!((owner, after), (Some(new), Epoch(before.0 + 1)));
    assert_eq!(world.begins(old, message, before).await.len(), 0);
    assert_eq!(world.begins(old, message, after).await.len(), 0);
    assert_eq!(world.begins(new, message, before).await.len(), 0);
    assert_eq!(world.begins(new, message, after).await.len(), 1);
}

#[tokio::test]
async fn a_begin_that_meets_a_hand_over_under_way_begins_nothing() {
    let world = World::at_rest().await;
    let [old, new] = [world.registers("old").await, world.registers("new").await];
    world.store.take_senders(old).await.expect("a look");
    let (_, epoch) = world.lease().await;
    let message = world.enqueue(a_text()).await;
    let mut connection = world.connection().await;
    let mut hand_over = connection.begin().await.expect("a transaction");
    let statement = format!("update wa.leases set worker = {}, epoch = epoch + 1", new.0);
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut *hand_over)
        .await
        .expect("it is handed over");

    let begin = world.begins(old, message, epoch);
    let commit = async {
        world.until_waiting_for_locks(1).await;
        hand_over.commit().await.expect("it is committed");
    };
    let (begun, ()) = tokio::join!(begin, commit);

    assert_eq!(begun.len(), 0);
    assert_eq!(world.state_of(message).await, "queued");
}

#[tokio::test]
async fn a_hand_over_and_a_takeover_wait_for_a_begin_under_way() {
    let world = World::at_rest().await;
    let store = &world.store;
    let [old, new] = [world.registers("old").await, world.registers("new").await];
    store.take_senders(old).await.expect("a look");
    let (_, epoch) = world.lease().await;
    let message = world.enqueue(a_text()).await;
    // A begin does not wait long for a row, but however long for this.
    for statement in [
        "create function public.waits() returns trigger language plpgsql set lock_timeout = 0 as
           $$begin perform pg_advisory_xact_lock_shared(7); return new; end$$",
        "create trigger waits before update on wa.queue for each row execute function public.waits()",
    ] {
        world.run_sql(statement).await;
    }
    let mut connection = world.connection().await;
    let mut in_the_way = connection.begin().await.expect("a transaction");
    sqlx::query("select pg_advisory_xact_lock(7)")
        .execute(&mut *in_the_way)
        .await
        .expect("it is ours");

    let begin = world.begins(old, message, epoch);
    let others = async {
        world.until_waiting_for_locks(1).await;
        world
            .run_sql(&format!(
                "update wa.workers set expires_at = now() - interval '1 s' where worker = {}",
                old.0
            ))
            .await;
        assert_eq!(store.take_senders(new).await.expect("a look"), 0);
        let hand_over = world.hands_over(old, new);
        let go_on = async {
            world.until_waiting_for_locks(2).await;
            in_the_way.commit().await.expect("out of the way");
        };
        tokio::join!(hand_over, go_on);
    };
    let (begun, ()) = tokio::join!(begin, others);

    assert_eq!(begun.len(), 1, "it came first");
    assert_eq!(world.lease().await, (Some(new), Epoch(epoch.0 + 1)));
}

#[tokio::test]
async fn two_that_take_at_once_do_not_take_from_one_another() {
    let world = World::at_rest().await;
    world.add_senders(39).await;
    let workers = [
        world.registers("one").await,
        world.registers("two").await,
        world.registers("three").await,
        world.registers("four").await,
    ];

    let [one, two, three, four] = workers.map(|worker| world.store.take_senders(worker));
    let taken = tokio::join!(one, two, three, four);

    let taken = [taken.0, taken.1, taken.2, taken.3].map(|taken| taken.expect("a look"));
    assert_eq!(taken.iter().sum::<u64>(), 40, "{taken:?}");
    assert_eq!(world.count("wa.leases where epoch = 1").await, 40);
}

#[tokio::test]
async fn a_worker_that_has_expired_begins_nothing_even_before_it_is_relieved() {
    let world = World::at_rest().await;
    let worker = world.registers("expired").await;
    world.store.take_senders(worker).await.expect("a look");
    let (_, epoch) = world.lease().await;
    let message = world.enqueue(a_text()).await;

    world
        .run_sql("update wa.workers set expires_at = now() - interval '1 ms'")
        .await;

    assert_eq!(world.begins(worker, message, epoch).await.len(), 0);
    assert_eq!(world.state_of(message).await, "queued");
}
