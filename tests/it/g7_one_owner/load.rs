//! Changes of owners while there is much to send: nothing is lost and nothing is sent twice.

use std::time::Duration;

use sqlx::Connection as _;
use wa_outbox::domain::id::Epoch;
use wa_outbox::simulator::Statuses;

use super::stop_all;
use crate::support::make::a_text;
use crate::support::world::{World, quick_settings};

#[tokio::test]
async fn hand_over_under_load_loses_nothing_and_doubles_nothing() {
    const EACH: u64 = 400;
    let mut config = quick_settings();
    config.worker.max_in_flight = 8;
    let world = World::at_rest_with(config).await;
    let senders = world.add_senders(3).await;
    world.simulator.set_statuses(Statuses::none());
    world
        .simulator
        .set_latency(Duration::from_millis(20), Duration::from_millis(20));
    let mut written = Vec::new();
    for number in 0..EACH {
        for sender in &senders {
            let draft = a_text().saying(&number.to_string()).from(sender);
            written.push(world.enqueue(draft).await);
        }
    }

    let first = world.another_service().await;
    world.simulator.ledger().wait_for_accepted(EACH / 2).await;
    let second = world.another_service().await;
    world.until_shares_are(&[2, 2]).await;
    let third = world.another_service().await;
    world.until_shares_are(&[1, 1, 2]).await;
    assert!(first.stop().await);
    assert!(
        world.store.open_messages().await.expect("a count") > 0,
        "the last change came after the load"
    );
    world.until_all_have_ended().await;

    world.assert_each_was_accepted_once(&written).await;
    assert_eq!(
        world.simulator.ledger().request_count(),
        written.len() as u64
    );
    assert!(world.count("wa.leases where epoch > 1").await >= 3);
    stop_all([second, third]).await;
}

#[tokio::test]
async fn a_worker_that_cannot_renew_is_relieved_and_starts_nothing_more() {
    let world = World::at_rest().await;
    let cut_off = world.another_service().await;
    world.until_shares_are(&[1]).await;
    let (first_owner, _) = world.lease().await;
    let mut connection = world.connection().await;
    let mut in_the_way = connection.begin().await.expect("a transaction");
    sqlx::query("select from wa.workers for update")
        .execute(&mut *in_the_way)
        .await
        .expect("its row is locked");

    let relief = world.another_service().await;
    world
        .until_true("the sender has another owner", async || {
            world.lease().await.0 != first_owner
        })
        .await;
    let messages = world
        .enqueue_all((0..50).map(|number| a_text().saying(&number.to_string())))
        .await;
    world.until_all_have_ended().await;
    let (owner, epoch) = world.lease().await;
    in_the_way.commit().await.expect("out of the way");

    world.assert_each_was_accepted_once(&messages).await;
    assert_ne!(owner, first_owner);
    assert!(epoch > Epoch(1));
    stop_all([cut_off, relief]).await;
}

#[tokio::test]
async fn a_worker_whose_row_was_deleted_becomes_another_and_goes_on() {
    let world = World::start().await;
    world.until_shares_are(&[1]).await;
    let (first_owner, first_epoch) = world.lease().await;

    world.run_sql("delete from wa.workers").await;

    world.until_shares_are(&[1]).await;
    let (owner, epoch) = world.lease().await;
    assert_ne!(owner, first_owner);
    assert!(epoch > first_epoch);
    let message = world.enqueue(a_text()).await;
    world.until_state(message, "accepted").await;
}
