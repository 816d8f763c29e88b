//! A worker with nothing to do is told of a new message, and what nobody tells it of it finds by looking.

use std::time::Duration;

use sqlx::postgres::PgListener;
use wa_outbox::store::lease::WorkerId;
use wa_outbox::store::sender::SenderChange;

use crate::support::make::{ALICE, a_text};
use crate::support::world::{PATIENCE, SENDER, World, quick_settings};

/// Much longer than any test waits.
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn an_insert_wakes_a_worker_that_sleeps() {
    let mut config = quick_settings();
    config.worker.idle_poll = NEVER;
    let world = World::start_with(config).await;
    world.until_the_worker_sleeps().await;

    let message = world.enqueue(a_text()).await;

    world.until_state(message, "accepted").await;
}

#[tokio::test]
async fn what_becomes_due_while_the_worker_sleeps_is_found_without_a_call() {
    let world = World::start().await;
    let mut later = a_text();
    later.0.due_at = Some(time::macros::datetime!(2999-01-01 0:00 UTC));
    let message = world.enqueue(later).await;
    world.until_the_worker_sleeps().await;

    world.run_sql("update wa.queue set due_at = now()").await;

    world.until_state(message, "accepted").await;
}

#[tokio::test]
async fn what_nobody_calls_for_is_found_by_the_look_beside_the_calls() {
    let mut config = quick_settings();
    config.worker.idle_poll = NEVER;
    let world = World::start_with(config).await;
    // It has had something, and has been seen to have nothing any more.
    let first = world.enqueue(a_text()).await;
    world.until_state(first, "accepted").await;
    world.until_the_worker_sleeps().await;

    // One transaction, in which nobody seems to sleep.
    world
        .run_sql(
            "do $$ begin
               update wa.workers set asleep = false;
               insert into wa.outbox (recipient, payload) select recipient, payload from wa.outbox;
               update wa.workers set asleep = true;
             end $$",
        )
        .await;

    world.until_all_have_ended().await;
    assert_eq!(world.count("wa.results where state = 'accepted'").await, 2);
}

#[tokio::test]
async fn a_worker_that_had_to_become_another_says_anew_that_it_sleeps() {
    let mut config = quick_settings();
    config.worker.idle_poll = NEVER;
    let world = World::start_with(config).await;
    world.until_the_worker_sleeps().await;

    world.run_sql("delete from wa.workers").await;
    world.until_the_worker_sleeps().await;
    let message = world.enqueue(a_text()).await;

    world.until_state(message, "accepted").await;
}

#[tokio::test]
async fn a_worker_is_called_for_its_own_senders_and_only_while_it_sleeps() {
    let world = World::at_rest().await;
    let store = &world.store;
    let register = async |name| store.register_worker(name, Duration::from_secs(60)).await;
    let worker = register("owner").await.expect("a worker");
    store.take_senders(worker).await.expect("a sender");
    let another = register("another").await.expect("a worker");
    world.add_sender("206540352242922").await;
    store.take_senders(another).await.expect("the other sender");
    store.set_asleep(another, true).await.expect("it is said");
    let mut calls = PgListener::connect_with(&world.database.pool)
        .await
        .expect("a connection that listens");
    calls.listen("wa_outbox_due").await.expect("it listens");

    world.enqueue(a_text()).await;
    world
        .run_sql("select pg_notify('wa_outbox_due', 'after the first')")
        .await;
    store.set_asleep(worker, true).await.expect("it is said");
    world.enqueue(a_text()).await;

    // Calls come in the order of their commits.
    assert_eq!(next_of(&mut calls).await, "after the first");
    let WorkerId(number) = worker;
    assert_eq!(next_of(&mut calls).await, number.to_string());
}

#[tokio::test]
async fn what_cannot_leave_yet_calls_nobody() {
    let world = World::at_rest().await;
    let store = &world.store;
    let worker = store
        .register_worker("owner", Duration::from_secs(60))
        .await;
    let worker = worker.expect("a worker");
    store.take_senders(worker).await.expect("a sender");
    store.set_asleep(worker, true).await.expect("it is said");
    world
        .run_sql(
            r#"select wa.create_campaign('spring', '{"type":"template","template":{"name":"offer","language":{"code":"en_US"}}}',
                 author => 'ada')"#,
        )
        .await;
    let mut calls = PgListener::connect_with(&world.database.pool)
        .await
        .expect("a connection that listens");
    calls.listen("wa_outbox_due").await.expect("it listens");

    world.run_sql(&due_in("1 minute")).await;
    let of_the_campaign = format!(
        "insert into wa.outbox (recipient, campaign_id) select '{ALICE}', id from wa.campaigns"
    );
    world.run_sql(&of_the_campaign).await;
    world
        .run_sql("select pg_notify('wa_outbox_due', 'after those')")
        .await;
    world
        .run_sql("update wa.campaigns set state = 'running'")
        .await;
    world.run_sql(&of_the_campaign).await;

    assert_eq!(next_of(&mut calls).await, "after those");
    assert_eq!(next_of(&mut calls).await, worker.0.to_string());
}

#[tokio::test]
async fn what_is_due_later_leaves_in_time_though_it_called_nobody() {
    let world = World::start().await;
    world.until_the_worker_sleeps().await;
    world.run_sql(&due_in("4 s")).await;
    world.until_all_have_ended().await;
    assert_eq!(world.count("wa.results where state = 'accepted'").await, 1);
}

fn due_in(time: &str) -> String {
    format!(
        r#"insert into wa.outbox (recipient, payload, due_at)
           values ('{ALICE}', '{{"type":"text","text":{{"body":"Your order has shipped"}}}}', now() + interval '{time}')"#
    )
}

#[tokio::test]
async fn little_work_lets_a_worker_sleep_on_and_much_wakes_it() {
    let mut config = quick_settings();
    config.worker.read_ahead = 1_000;
    let world = World::start_with(config).await;
    world.until_the_worker_sleeps().await;
    for _ in 0..5 {
        let message = world.enqueue(a_text()).await;
        world.until_state(message, "accepted").await;
        assert!(world.a_worker_sleeps().await);
    }
    let mut taken = 5;
    for _ in 0..20 {
        // One look finds all of them, and that there are no more.
        world.enqueue_at_once(300).await;
        taken += 300;
        world.until_taken(taken).await;
        if !world.a_worker_sleeps().await {
            return;
        }
    }
    panic!("it sleeps while it has much to do");
}

#[tokio::test]
async fn a_worker_that_has_not_read_everything_does_not_sleep() {
    let mut world = World::at_rest().await;
    let slow = SenderChange {
        rate_per_second: Some(50.0),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, slow).await;
    world.enqueue_at_once(1_000).await;
    world.start_service().await;

    // That takes much longer than it takes to fall asleep.
    world.until_taken(200).await;
    assert!(!world.a_worker_sleeps().await);
}

async fn next_of(calls: &mut PgListener) -> String {
    tokio::time::timeout(PATIENCE, calls.recv())
        .await
        .expect("a call came")
        .expect("it still listens")
        .payload()
        .to_owned()
}

impl World {
    /// Waits until the worker has said that it sleeps, and has renewed its lease twice since: what it still looks at for
    /// reasons of its own it has looked at by then.
    async fn until_the_worker_sleeps(&self) {
        self.until_true("the worker sleeps", async || self.a_worker_sleeps().await)
            .await;
        for _ in 0..2 {
            let before = self.lease_end().await;
            self.until_true("the lease is renewed", async || {
                self.lease_end().await > before
            })
            .await;
        }
    }

    async fn a_worker_sleeps(&self) -> bool {
        self.count("wa.workers where asleep").await == 1
    }

    /// So many messages in one transaction.
    async fn enqueue_at_once(&self, messages: u32) {
        self.run_sql(&format!(
            r#"insert into wa.outbox (sender, recipient, payload)
               select '{SENDER}', '+1650' || (5550000 + n), '{{"type":"text","text":{{"body":"Hello"}}}}' from generate_series(1, {messages}) n"#
        ))
        .await;
    }

    async fn lease_end(&self) -> time::OffsetDateTime {
        sqlx::query_scalar("select expires_at from wa.workers")
            .fetch_one(&self.database.pool)
            .await
            .expect("a worker")
    }
}
