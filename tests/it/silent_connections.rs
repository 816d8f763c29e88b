//! Connections to the database that go silent without closing, as behind a firewall that has forgotten them: they are dropped
//! and replaced while the lease lasts, and nothing is sent twice for it.

use std::collections::BTreeSet;
use std::time::Duration;

use wa_outbox::cli::bench::cable::Cable;
use wa_outbox::config::Config;
use wa_outbox::domain::id::MessageId;
use wa_outbox::store::connections::Connection;
use wa_outbox::store::inbox::FRONT;
use wa_outbox::store::{ConnectSettings, Store};

use crate::support::make::a_text;
use crate::support::world::{APP_SECRET, World, quick_settings};

/// Enough that the silence falls among it.
const LOAD: usize = 400;

#[tokio::test]
async fn a_worker_whose_connections_go_silent_goes_on_with_new_ones_before_its_lease_ends() {
    let (world, cable) = World::start_on_a_cable_with(patient_settings()).await;
    let written = world.enqueue_a_slow_load().await;
    world.until_taken(50).await;
    let rival = world.another_service().await;
    let before = world.lease_of_the_sender().await;

    cable.forget_connections();
    let accepted = world.simulator.ledger().accepted_count();
    assert!(accepted < LOAD as u64, "the silence came after the load");
    world.until_all_have_ended().await;

    assert_eq!(
        world.lease_of_the_sender().await,
        before,
        "it changed hands"
    );
    world.assert_each_was_accepted_once(&written).await;
    world.until_ready_is(true).await;

    // What the server was asked in the silence arrives only now.
    cable.mend();
    world.until_webhooks_are_applied().await;
    world.assert_each_was_accepted_once(&written).await;
    rival.stop().await;
}

#[tokio::test]
async fn a_worker_whose_connections_go_silent_again_and_again_loses_nothing() {
    let (world, cable) = World::start_on_a_cable_with(patient_settings()).await;
    let written = world.enqueue_a_slow_load().await;
    for accepted in [50, 150, 250] {
        world.until_taken(accepted).await;
        cable.forget_connections();
    }
    world.until_all_have_ended().await;
    world.until_webhooks_are_applied().await;
    world.assert_each_was_accepted_once(&written).await;
}

#[tokio::test]
async fn a_database_that_is_silent_for_longer_than_the_lease_costs_the_sender_and_no_message() {
    let mut config = patient_settings();
    // What was out when the cable was cut has its webhooks by then; what was begun and never left has none.
    config.reconcile.window = Duration::from_secs(5);
    let (mut world, cable) = World::start_on_a_cable_with(config).await;
    let mut written = world.enqueue_a_slow_load().await;
    world.until_taken(50).await;
    let rival = world.another_service().await;
    let webhooks = rival.webhook_address.expect("it receives webhooks");
    world
        .simulator
        .set_webhook(format!("http://{webhooks}/webhook"), APP_SECRET);
    let (first, epoch) = world.lease_of_the_sender().await;

    cable.cut();
    world
        .until_true("another worker takes over", async || {
            let (worker, now) = world.lease_of_the_sender().await;
            now > epoch && worker.is_some_and(|worker| Some(worker) != first)
        })
        .await;
    world.until_ready_is(false).await;
    world.until_all_have_ended().await;
    world.assert_each_was_accepted_once(&written).await;

    cable.mend();
    world.until_ready_is(true).await;
    let webhooks = world
        .service
        .as_ref()
        .and_then(|first| first.webhook_address);
    let webhooks = webhooks.expect("it receives webhooks");
    world
        .simulator
        .set_webhook(format!("http://{webhooks}/webhook"), APP_SECRET);
    assert!(rival.stop().await, "every answer was written");
    written.extend(world.enqueue_a_slow_load().await);
    world.until_all_have_ended().await;
    world.until_webhooks_are_applied().await;
    world.assert_each_was_accepted_once(&written).await;
    assert!(world.stop_service().await, "every answer was written");
}

#[tokio::test]
async fn a_listener_that_went_silent_is_replaced() {
    let mut config = patient_settings();
    // Nothing but a call finds a message.
    config.worker.idle_poll = Duration::from_secs(600);
    let (world, cable) = World::start_on_a_cable_with(config).await;
    let listening = async || -> BTreeSet<i32> {
        let pids = "select pid from pg_stat_activity where datname = current_database() and query ilike 'listen %'";
        let pids = sqlx::query_scalar(pids).fetch_all(&world.database.pool);
        pids.await.expect("the connections").into_iter().collect()
    };
    world
        .until_true("it listens", async || !listening().await.is_empty())
        .await;
    let silent = listening().await;

    cable.forget_connections();
    world
        .until_true("another connection listens", async || {
            !listening().await.is_subset(&silent)
        })
        .await;

    world
        .until_true("the worker sleeps", async || {
            world.count("wa.workers where asleep").await == 1
        })
        .await;
    let message = world.enqueue(a_text()).await;
    world.until_state(message, "accepted").await;
}

#[tokio::test]
async fn connections_that_went_silent_together_cost_one_wait() {
    let (_world, cable, store) = a_store_on_a_cable(4).await;
    // All are lent at once, so that four lie idle afterwards.
    let lent = futures_util::future::join_all((0..4).map(|_| store.pool().acquire())).await;
    assert!(lent.iter().all(Result::is_ok));
    drop(lent);

    cable.forget_connections();
    store.ping().await.expect_err("nobody answers");
    store.ping().await.expect("a new one is made");
}

#[tokio::test]
async fn a_connection_that_went_silent_frees_its_place() {
    let (_world, cable, store) = a_store_on_a_cable(1).await;
    let mut transaction = store.pool().begin().await.expect("it begins");

    cable.forget_connections();
    sqlx::query("select 1")
        .execute(&mut *transaction)
        .await
        .expect_err("nobody answers");
    sqlx::query("select 1")
        .execute(&mut *transaction)
        .await
        .expect_err("it is not asked again");
    drop(transaction);
    store.ping().await.expect("a new one is made");
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_undone_and_its_connection_with_it() {
    let (_world, _cable, store) = a_store_on_a_cable(1).await;
    let mut transaction = store.pool().begin().await.expect("it begins");
    sqlx::query("delete from wa.keys")
        .execute(&mut *transaction)
        .await
        .expect("it is deleted");

    drop(transaction);
    store.callback_token_key().await.expect("it is there");
}

#[tokio::test]
async fn a_look_at_an_empty_inbox_costs_no_connection() {
    let (_world, _cable, store) = a_store_on_a_cable(1).await;
    let before = backend(&mut store.pool().acquire().await.expect("a connection")).await;

    let taken = store
        .take_deliveries((10, 10), FRONT, &[])
        .await
        .expect("it looks");
    assert!(taken.is_none());
    let after = backend(&mut store.pool().acquire().await.expect("a connection")).await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_statement_that_was_given_up_takes_its_connection_with_it() {
    let (_world, _cable, store) = a_store_on_a_cable(1).await;
    let mut connection = store.pool().acquire().await.expect("a connection");
    let before = backend(&mut connection).await;
    let asked = sqlx::query("select pg_sleep(0.3)").execute(&mut connection);
    let given_up = tokio::time::timeout(Duration::from_millis(1), asked).await;
    given_up.expect_err("it takes longer");
    drop(connection);

    let mut connection = store.pool().acquire().await.expect("a connection");
    assert_ne!(backend(&mut connection).await, before);
}

async fn backend(connection: &mut Connection) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(connection)
        .await
        .expect("it answers")
}

/// A store with so many connections, which waits for no answer longer than a moment.
async fn a_store_on_a_cable(connections: u32) -> (World, Cable, Store) {
    let world = World::at_rest().await;
    let cable = Cable::to(&world.database.url).await.expect("a cable");
    let store = Store::connect(&ConnectSettings {
        max_connections: connections,
        statement_timeout: Duration::from_secs(1),
        ..ConnectSettings::new(cable.url())
    })
    .await
    .expect("the database answers");
    (world, cable, store)
}

/// A lease that outlasts a connection that went silent, on a machine that is busy with other tests.
fn patient_settings() -> Config {
    let mut config = quick_settings();
    config.worker.heartbeat = Duration::from_secs(1);
    config.worker.lease = Duration::from_secs(10);
    config.database.statement_timeout = Duration::from_secs(15);
    config.worker.max_in_flight = 4;
    config
}

impl World {
    async fn enqueue_a_slow_load(&self) -> Vec<MessageId> {
        self.simulator
            .set_latency(Duration::from_millis(30), Duration::ZERO);
        let drafts = (0..LOAD).map(|number| a_text().saying(&number.to_string()));
        self.enqueue_all(drafts).await
    }

    /// Who works the sender, and its epoch.
    async fn lease_of_the_sender(&self) -> (Option<i64>, i64) {
        sqlx::query_as("select worker, epoch from wa.leases")
            .fetch_one(&self.database.pool)
            .await
            .expect("the lease")
    }
}

#[tokio::test]
async fn no_more_connections_are_made_than_are_allowed_however_many_ask_at_once() {
    let (_world, _cable, store) = a_store_on_a_cable(2).await;
    let asking = (0..20).map(|_| {
        sqlx::query_scalar("select pg_backend_pid() from pg_sleep(0.01)").fetch_one(store.pool())
    });
    let answers = futures_util::future::join_all(asking).await;
    let backends: BTreeSet<i32> = answers
        .into_iter()
        .map(|one| one.expect("a turn"))
        .collect();
    assert_eq!(backends.len(), 2);
}
