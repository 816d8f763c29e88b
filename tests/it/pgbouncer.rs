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
async fn a_connection_has_our_settings_directly_and_through_a_pooler_in_session_mode() {
    let world = World::at_rest().await;
    let Some(pooler) = world.pooler(Mode::Session, 20) else {
        return;
    };
    for (url, pooling) in [
        (world.database.url.clone(), Pooling::Direct),
        (pooler.url(), Pooling::Session),
    ] {
        let store = Store::connect(&ConnectSettings {
            statement_timeout: Duration::from_millis(1_234),
            ..ConnectSettings::new(url)
        })
        .await
        .expect("it connects");

        assert_eq!(store.pooling(), pooling);
        assert_eq!(set(&store, "statement_timeout").await, "1234ms");
    }
}

#[tokio::test]
async fn a_database_that_is_set_to_forget_or_to_look_back_does_neither_for_us() {
    let world = World::at_rest().await;
    // What a standby is waited for is the operator's own choice.
    for (commit, ours, isolation) in [
        ("off", "on", "repeatable read"),
        ("local", "local", "serializable"),
        ("remote_apply", "remote_apply", "read committed"),
    ] {
        world.give_connections("synchronous_commit", commit).await;
        world
            .give_connections("default_transaction_isolation", isolation)
            .await;
        let Some(pooler) = world.pooler(Mode::Session, 20) else {
            return;
        };
        for url in [world.database.url.clone(), pooler.url()] {
            let store = Store::connect(&ConnectSettings::new(url)).await;
            let store = store.expect("it connects");

            assert_eq!(set(&store, "synchronous_commit").await, ours);
            assert_eq!(set(&store, "transaction_isolation").await, "read committed");
            let facts = store.care_facts().await.expect("facts");
            assert_eq!(
                facts.others_forget,
                commit == "off",
                "{commit}: what doctor says"
            );
        }
    }
}

/// What a setting is on a connection of this store.
async fn set(store: &Store, name: &str) -> String {
    sqlx::query_scalar("select current_setting($1)")
        .bind(name)
        .fetch_one(store.pool())
        .await
        .expect("a setting")
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
    for mode in [Mode::Session, Mode::HastySession] {
        let Some(pooler) = world.pooler(mode, 1) else {
            return;
        };
        let refusal = Store::connect(&ConnectSettings::new(pooler.url())).await;

        let refusal = refusal.err().expect("it is refused").to_string();
        assert!(refusal.contains("default_pool_size"), "{mode:?}: {refusal}");
    }
}

#[tokio::test]
async fn behind_a_pooler_in_transaction_mode_a_database_that_is_set_to_forget_is_refused() {
    let world = World::at_rest().await;
    for (setting, value, needed) in [
        ("synchronous_commit", "off", "on"),
        (
            "default_transaction_isolation",
            "serializable",
            "read committed",
        ),
    ] {
        world.give_connections(setting, value).await;
        let Some(pooler) = world.pooler_in_transaction_mode(4) else {
            return;
        };
        let refusal = Store::connect(&ConnectSettings::new(pooler.url())).await;
        let refusal = refusal.err().expect("it is refused").to_string();
        assert!(
            refusal.contains(&format!("{setting} = {value}")),
            "{refusal}"
        );
        assert!(
            refusal.contains(&format!("set {setting} = '{needed}'")),
            "{refusal}"
        );
        world.give_connections(setting, needed).await;
    }
}

#[tokio::test]
async fn a_pooler_that_keeps_statements_apart_works_in_transaction_mode_by_polling() {
    for server_connections in [1, 2, 20] {
        let mut world = World::at_rest().await;
        let Some(pooler) = world.pooler_in_transaction_mode(server_connections) else {
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

    /// One that is of use to us; none: PgBouncer is not installed, or one that cannot keep statements apart.
    fn pooler_in_transaction_mode(&self, server_connections: u32) -> Option<PgBouncer> {
        let version = tools::has("pgbouncer", "pgbouncer").then(pgbouncer::version)?;
        if version.expect("a version") < pgbouncer::KEEPS_STATEMENTS_SINCE {
            eprintln!("the installed pgbouncer cannot keep statements apart: not tested");
            return None;
        }
        self.pooler(Mode::TransactionKeepingStatements, server_connections)
    }

    /// Has the database give its connections this from now on.
    async fn give_connections(&self, setting: &str, value: &str) {
        self.run_sql(&format!(
            "do $$ begin execute format('alter database %I set {setting} = %L', current_database(), '{value}'); end $$"
        ))
        .await;
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
