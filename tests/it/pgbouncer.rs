//! A pooler between us and Postgres: it works in session mode, and one that would mix our statements up is refused.

use std::time::Duration;

use wa_outbox::cli::bench::pgbouncer::{self, Mode, PgBouncer};
use wa_outbox::store::pooler::Pooling;
use wa_outbox::store::{ConnectSettings, Store, StoreError};

use crate::support::make::{ALICE, a_text};
use crate::support::tools;
use crate::support::world::{World, quick_settings};

/// Much longer than any test waits.
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn messages_leave_and_calls_arrive_through_a_pooler_in_session_mode() {
    let mut config = quick_settings();
    config.worker.idle_poll = NEVER;
    let mut world = World::at_rest_with(config).await;
    let Some(pooler) = world.pooler(Mode::Session, 20) else {
        return;
    };
    world.start_service_by(&pooler.url()).await;

    let service = world.service.as_ref().expect("a running service");
    assert_eq!(service.store.pooling(), Pooling::Session);
    world
        .until_true("the worker sleeps", async || {
            world.count("wa.workers where asleep").await == 1
        })
        .await;
    // Nothing but a call can wake it.
    let message = world.enqueue(a_text()).await;
    let message = world.until_status(message, "read").await;
    assert_eq!(message.attempts, 1);
    assert_eq!(world.simulator.ledger().accepted_for(ALICE).len(), 1);
    assert!(world.stop_service().await, "the stop is clean");
}

#[tokio::test]
async fn a_connection_through_a_pooler_in_session_mode_has_its_time_limits() {
    let world = World::at_rest().await;
    let Some(pooler) = world.pooler(Mode::Session, 20) else {
        return;
    };
    let store = Store::connect(&ConnectSettings {
        statement_timeout: Duration::from_millis(1_234),
        ..ConnectSettings::new(pooler.url())
    })
    .await
    .expect("it connects");

    let limit: String = sqlx::query_scalar("show statement_timeout")
        .fetch_one(store.pool())
        .await
        .expect("a setting");
    assert_eq!(limit, "1234ms");
}

#[tokio::test]
async fn a_direct_connection_is_known_as_such_and_has_its_time_limits() {
    let world = World::at_rest().await;
    let store = Store::connect(&ConnectSettings {
        statement_timeout: Duration::from_millis(1_234),
        ..ConnectSettings::new(world.database.url.clone())
    })
    .await
    .expect("it connects");

    assert_eq!(store.pooling(), Pooling::Direct);
    let limit: String = sqlx::query_scalar("show statement_timeout")
        .fetch_one(store.pool())
        .await
        .expect("a setting");
    assert_eq!(limit, "1234ms");
}

#[tokio::test]
async fn a_pooler_that_mixes_statements_up_is_refused_with_the_fix() {
    let world = World::at_rest().await;
    for (mode, server_connections) in [
        (Mode::Transaction, 1),
        (Mode::Transaction, 2),
        (Mode::Transaction, 20),
        (Mode::Statement, 20),
    ] {
        let Some(pooler) = world.pooler(mode, server_connections) else {
            return;
        };
        let refusal = Store::connect(&ConnectSettings::new(pooler.url())).await;

        let what = format!("{mode:?} with {server_connections}");
        let Err(refusal) = refusal else {
            panic!("{what} was not refused");
        };
        assert!(
            matches!(refusal, StoreError::StatementsMixedUp),
            "{what}: {refusal:?}"
        );
        assert!(refusal.to_string().contains("session mode"), "{refusal}");
    }
}

#[tokio::test]
async fn a_pooler_that_mixes_statements_up_is_refused_while_others_are_busy_on_it() {
    let world = World::at_rest().await;
    let Some(pooler) = world.pooler(Mode::Transaction, 4) else {
        return;
    };
    let others = world.keep_busy(&pooler, 6);

    // Who gets which server connection is a matter of chance now, so once would prove little.
    for _ in 0..20 {
        let refusal = Store::connect(&ConnectSettings::new(pooler.url())).await;
        assert!(
            matches!(refusal, Err(StoreError::StatementsMixedUp)),
            "it was not refused"
        );
    }
    drop(others);
}

#[tokio::test]
async fn a_pooler_without_room_for_us_is_refused_with_the_setting_that_makes_room() {
    let world = World::at_rest().await;
    let Some(pooler) = world.pooler(Mode::Session, 1) else {
        return;
    };
    let refusal = Store::connect(&ConnectSettings::new(pooler.url())).await;

    let refusal = refusal.err().expect("it is refused").to_string();
    assert!(refusal.contains("default_pool_size"), "{refusal}");
}

#[tokio::test]
async fn a_pooler_that_keeps_statements_apart_works_in_transaction_mode_by_polling() {
    if pgbouncer::version().expect("pgbouncer") < pgbouncer::KEEPS_STATEMENTS_SINCE {
        eprintln!("the installed pgbouncer cannot keep statements apart: not tested");
        return;
    }
    for server_connections in [1, 2, 20] {
        let mut world = World::at_rest().await;
        let Some(pooler) = world.pooler(Mode::TransactionKeepingStatements, server_connections)
        else {
            return;
        };
        let others = world.keep_busy(&pooler, 2);
        world.start_service_by(&pooler.url()).await;

        let service = world.service.as_ref().expect("a running service");
        assert_eq!(service.store.pooling(), Pooling::Transaction);
        let messages = world
            .enqueue_all((0..50).map(|n| a_text().saying(&n.to_string())))
            .await;
        world.until_all_have_ended().await;
        world.assert_each_was_accepted_once(&messages).await;
        let refusal = service.store.migrate().await.expect_err("no migration");
        assert!(matches!(refusal, StoreError::CannotMigrateHere));
        assert!(world.stop_service().await, "the stop is clean");
        drop(others);
    }
}

impl World {
    /// A pooler in front of the database; none: PgBouncer is not installed.
    fn pooler(&self, mode: Mode, server_connections: u32) -> Option<PgBouncer> {
        tools::has("pgbouncer", "pgbouncer").then(|| {
            PgBouncer::start(&self.database.url, mode, server_connections).expect("a pooler")
        })
    }

    /// Others that use the pooler without a pause, by statements that any mode can carry.
    fn keep_busy(&self, pooler: &PgBouncer, others: usize) -> tokio::task::JoinSet<()> {
        use sqlx::Connection as _;
        let mut busy = tokio::task::JoinSet::new();
        for _ in 0..others {
            let options = pooler.url().parse::<sqlx::postgres::PgConnectOptions>();
            let options = options.expect("an address").extra_float_digits(None);
            busy.spawn(async move {
                let mut connection = sqlx::PgConnection::connect_with(&options)
                    .await
                    .expect("it connects");
                loop {
                    sqlx::raw_sql("begin; select pg_sleep(0.0005); commit")
                        .execute(&mut connection)
                        .await
                        .expect("it answers");
                }
            });
        }
        busy
    }
}
