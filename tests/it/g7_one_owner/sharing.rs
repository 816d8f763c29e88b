//! All workers work equally many senders, whoever comes and goes.

use std::time::Duration;

use sqlx::postgres::PgListener;
use wa_outbox::domain::id::{Epoch, SenderId};
use wa_outbox::store::lease::{HandOver, WorkerId};
use wa_outbox::store::sender::SenderChange;

use super::{LONG, stop_all};
use crate::support::make::{ALICE, a_text};
use crate::support::world::{PATIENCE, SENDER, World, quick_settings};

#[tokio::test]
async fn workers_share_senders_evenly_as_they_come_and_go() {
    let world = World::at_rest().await;
    world.add_senders(11).await;
    let first = world.another_service().await;
    world.until_shares_are(&[12]).await;

    let second = world.another_service().await;
    let third = world.another_service().await;
    world.until_shares_are(&[4, 4, 4]).await;

    let fourth = world.another_service().await;
    world.until_shares_are(&[3, 3, 3, 3]).await;

    assert!(second.stop().await);
    world.until_shares_are(&[4, 4, 4]).await;
    stop_all([first, third, fourth]).await;
    assert_eq!(
        world.count("wa.leases where worker is not null").await,
        0,
        "nobody is there to hand over to"
    );
}

#[tokio::test]
async fn what_is_shared_evenly_stays_where_it_is() {
    let world = World::at_rest().await;
    // Eleven, so that not all can have the same number.
    world.add_senders(10).await;
    let services = [
        world.another_service().await,
        world.another_service().await,
        world.another_service().await,
    ];
    world.until_shares_are(&[3, 4, 4]).await;
    let before = world.leases().await;

    for _ in 0..4 {
        world.until_every_worker_has_renewed().await;
    }

    assert_eq!(world.leases().await, before);
    stop_all(services).await;
}

#[tokio::test]
async fn a_leaving_worker_s_senders_go_directly_to_those_who_stay() {
    // Who misses two heartbeats is handed nothing; on a loaded machine that must be longer than a moment.
    let mut config = quick_settings();
    config.worker.heartbeat = Duration::from_secs(1);
    config.worker.lease = Duration::from_secs(5);
    let world = World::at_rest_with(config).await;
    world.add_senders(5).await;
    let staying = [world.another_service().await, world.another_service().await];
    world.until_shares_are(&[3, 3]).await;
    let leaving = world.another_service().await;
    world.until_shares_are(&[2, 2, 2]).await;
    let before = world.leases().await;

    assert!(leaving.stop().await);

    // The stop is over when they are handed over: nothing is waited for here.
    assert_eq!(world.shares().await, [3, 3]);
    let mut moved = 0;
    for (sender, (worker, epoch)) in world.leases().await {
        let (old_worker, old_epoch) = before[&sender];
        // Given back and taken by another would be two changes.
        let changes = i64::from(worker != old_worker);
        assert_eq!(epoch.0 - old_epoch.0, changes, "sender {sender}");
        moved += changes;
    }
    assert_eq!(moved, 2);
    stop_all(staying).await;
}

#[tokio::test]
async fn a_sender_is_handed_over_while_its_last_request_still_waits_for_its_answer() {
    let mut config = quick_settings();
    config.http.response_timeout = Duration::from_secs(60);
    config.worker.shutdown = Some(Duration::from_secs(60));
    let world = World::at_rest_with(config).await;
    world
        .simulator
        .set_latency(Duration::from_secs(4), Duration::ZERO);
    let leaving = world.another_service().await;
    world.until_shares_are(&[1]).await;
    let staying = world.another_service().await;
    let message = world.enqueue(a_text()).await;
    world.simulator.ledger().wait_for_requests(1).await;
    let (first_owner, _) = world.lease().await;

    let stopped = tokio::spawn(leaving.stop());
    world
        .until_true("the sender has another owner", async || {
            world.lease().await.0 != first_owner
        })
        .await;

    assert_eq!(
        world.count("wa.queue where state = 'sending'").await,
        1,
        "its answer is still to come"
    );
    assert!(stopped.await.expect("it stops"));
    assert_eq!(
        world.state_of(message).await,
        "accepted",
        "who has handed a sender over still writes what it is owed"
    );
    assert_eq!(world.simulator.ledger().request_count(), 1);
    stop_all([staying]).await;
}

#[tokio::test]
async fn a_killed_worker_s_senders_are_taken_and_shared() {
    let world = World::at_rest().await;
    world.add_senders(5).await;
    let killed = world.start_process("killed").await;
    world.until_shares_are(&[6]).await;
    let services = [world.another_service().await, world.another_service().await];
    world.until_shares_are(&[2, 2, 2]).await;
    let before = world.leases().await;
    let dead = world.worker_named("killed").await;

    killed.kill().await;

    world.until_shares_are(&[3, 3]).await;
    for (sender, (worker, epoch)) in world.leases().await {
        let (old_worker, old_epoch) = before[&sender];
        assert_ne!(worker, Some(dead));
        if old_worker == Some(dead) {
            assert!(epoch > old_epoch, "sender {sender}");
        } else {
            assert_eq!((worker, epoch), before[&sender], "sender {sender}");
        }
    }
    stop_all(services).await;
}

#[tokio::test]
async fn the_share_of_a_worker_that_does_not_take_it_goes_to_another() {
    let world = World::at_rest().await;
    world.add_senders(3).await;
    let store = &world.store;
    let _silent = world.registers("silent").await;
    let awake = world.registers("awake").await;

    let first = store.take_share(awake, LONG).await.expect("a look");
    let second = store.take_share(awake, LONG).await.expect("a look");
    let rest = store.take_senders(awake).await.expect("a look");

    assert_eq!((first.taken, first.left_over), (2, 2));
    assert_eq!((second.taken, second.left_over), (0, 2));
    assert_eq!(rest, 2);
}

#[tokio::test]
async fn a_worker_that_is_late_is_handed_nothing() {
    let world = World::at_rest().await;
    world.add_senders(1).await;
    let store = &world.store;
    let busy = world.registers("busy").await;
    assert_eq!(store.take_senders(busy).await.expect("a look"), 2);
    let late = world.registers("late").await;
    assert_eq!(world.plan_of(busy).await.len(), 1);

    world
        .run_sql(&format!(
            "update wa.workers set renewed_at = now() - interval '1 h' where worker = {}",
            late.0
        ))
        .await;

    assert_eq!(world.plan_of(busy).await, []);
}

#[tokio::test]
async fn two_that_hand_over_at_once_do_not_fill_the_same_place() {
    let world = World::at_rest().await;
    world.add_senders(11).await;
    let store = &world.store;
    let one = world.registers("one").await;
    assert_eq!(store.take_senders(one).await.expect("a look"), 12);
    let two = world.registers("two").await;
    store
        .hand_over(one, &world.plan_of(one).await)
        .await
        .expect("given");
    for name in ["three", "four"] {
        world.registers(name).await;
    }

    let (from_one, from_two) = (world.plan_of(one).await, world.plan_of(two).await);
    let given = store.hand_over(one, &from_one).await.expect("given")
        + store.hand_over(two, &from_two).await.expect("given");

    assert_eq!(given, 6);
    assert_eq!(world.shares().await, [3, 3, 3, 3]);
}

#[tokio::test]
async fn a_receiver_is_called() {
    let world = World::at_rest().await;
    let store = &world.store;
    let mut calls = PgListener::connect_with(&world.database.pool)
        .await
        .expect("a connection that listens");
    calls.listen("wa_outbox_lease").await.expect("it listens");
    let [giver, receiver] = [
        world.registers("giver").await,
        world.registers("receiver").await,
    ];
    store.take_senders(giver).await.expect("a look");

    world.hands_over(giver, receiver).await;
    assert_eq!(called(&mut calls).await, receiver);

    store.hand_over_all(receiver, LONG).await.expect("given");
    assert_eq!(called(&mut calls).await, giver);
}

async fn called(calls: &mut PgListener) -> WorkerId {
    let call = tokio::time::timeout(PATIENCE, calls.recv())
        .await
        .expect("somebody is called")
        .expect("the connection lives");
    WorkerId(call.payload().parse().expect("a worker"))
}

#[tokio::test]
async fn nothing_is_handed_to_a_worker_that_leaves() {
    let world = World::at_rest().await;
    let store = &world.store;
    let [giver, leaving] = [
        world.registers("giver").await,
        world.registers("leaving").await,
    ];
    store.take_senders(giver).await.expect("a look");
    let (_, epoch) = world.lease().await;
    store.hand_over_all(leaving, LONG).await.expect("nothing");

    let plan = [HandOver {
        sender: SenderId::from(SENDER),
        epoch,
        receiver: leaving,
    }];
    let by_an_old_plan = store.hand_over(giver, &plan).await.expect("an answer");
    let by_leaving = store.hand_over_all(giver, LONG).await.expect("an answer");

    assert_eq!(by_an_old_plan, 0);
    assert_eq!((by_leaving.given, by_leaving.freed), (0, 1));
}

#[tokio::test]
async fn a_hand_over_that_does_not_happen_gives_nobody_s_limits_back() {
    const BURST: i32 = 3;
    let world = World::at_rest().await;
    world.add_senders(1).await;
    let slow = SenderChange {
        pair_period_ms: Some(3_600_000),
        pair_burst: Some(BURST),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, slow).await;
    // As if the receiver had gone between the plan and the hand-over: that needs no luck here.
    for statement in [
        "create sequence handed_over_in_vain",
        "grant usage on sequence handed_over_in_vain to public",
        "create function in_vain() returns trigger language plpgsql as $$
         begin perform nextval('public.handed_over_in_vain'); return null; end $$",
        "create trigger in_vain before update on wa.leases for each row when (old.worker <> new.worker) execute function in_vain()",
    ] {
        world.run_sql(statement).await;
    }
    let service = world.another_service().await;
    world.until_shares_are(&[2]).await;
    world.until_burst_is_spent(BURST).await;

    let receiver = world.another_service().await;
    world
        .until_true("the sender was to be handed over twice", async || {
            world
                .number("select last_value from handed_over_in_vain")
                .await
                >= 2
        })
        .await;
    world.until_burst_is_spent(BURST).await;

    assert_eq!(world.lease().await.1, Epoch(1));
    let left = world.simulator.ledger().accepted_for(ALICE).len();
    assert_eq!(left, BURST as usize);
    stop_all([receiver, service]).await;
}

impl World {
    /// Writes more to Alice than may leave, and waits until each has left or was put off.
    async fn until_burst_is_spent(&self, burst: i32) {
        for _ in 0..burst * 2 {
            self.enqueue(a_text().from(SENDER)).await;
        }
        self.until_true("nothing is due", async || {
            let open = "wa.queue where state = 'sending' or due_at <= now()";
            self.count(open).await == 0
        })
        .await;
    }
}
