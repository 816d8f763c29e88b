//! What somebody names like something of Postgres is not taken for it by anything of ours.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use wa_outbox::store::{ConnectSettings, Store};

use super::{TEXT, a_database, a_producer, add_sender, count, refusal};
use crate::support::database::TestDatabase;
use crate::support::make::ALICE;
use crate::support::world::SENDER;

async fn run(connection: &mut PgConnection, statements: &str) {
    let done = connection
        .execute(AssertSqlSafe(statements.to_owned()))
        .await;
    done.unwrap_or_else(|error| panic!("{statements}: {error}"));
}

/// Functions of the schema for which this is so.
async fn functions_that(database: &TestDatabase, condition: &str) -> Vec<String> {
    let statement = format!(
        "select p.oid::regprocedure::text from pg_proc p join pg_language l on l.oid = p.prolang
         where p.pronamespace = 'wa'::regnamespace and {condition} order by 1"
    );
    sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_all(&database.pool)
        .await
        .expect("functions")
}

#[tokio::test]
async fn every_function_says_itself_where_its_names_are_from() {
    let database = TestDatabase::create().await;
    let path = "(select c from unnest(p.proconfig) as c where c like 'search_path=%')";
    let says = format!("coalesce({path} = 'search_path=pg_catalog, pg_temp', false)");
    let understood = "p.prosqlbody is not null";
    // It has one call, by its whole name.
    assert_eq!(
        functions_that(&database, &format!("not ({says} or {understood})"))
            .await
            .iter()
            .map(|name| name.split('(').next().unwrap_or_default())
            .collect::<Vec<_>>(),
        ["wa.row_is_unusual"]
    );
}

#[tokio::test]
async fn nobody_hangs_a_trigger_of_the_schema_on_a_table_of_his_own() {
    let database = a_database().await;
    let may_be_hung = "p.prorettype = 'trigger'::regtype
         and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0))";
    assert_eq!(
        functions_that(&database, may_be_hung).await,
        Vec::<String>::new()
    );

    let mut caller = PgConnection::connect(&database.url)
        .await
        .expect("connects");
    run(
        &mut caller,
        "set role wa_viewer; create temp table result (like wa.results)",
    )
    .await;
    let refused = refusal(
        &mut caller,
        "create trigger closes after insert on result referencing new table as fresh
         for each statement execute function wa.result_closes_the_message()",
    )
    .await;
    assert!(
        refused.message.contains("permission denied"),
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn a_type_of_the_callers_runs_no_code_of_his_as_the_owner() {
    let database = a_database().await;
    for role in ["wa_producer", "wa_viewer"] {
        let mut caller = PgConnection::connect(&database.url)
            .await
            .expect("connects");
        run(&mut caller, &format!("set role {role}")).await;
        // Where current_user is the session's own, nobody was deceived.
        run(
            &mut caller,
            "create function pg_temp.seen(pg_catalog.text) returns bool language plpgsql as
               $$begin perform pg_catalog.set_config('wa_test.ran_as', current_user, false); return true; end$$;
             create domain pg_temp.text as pg_catalog.text check (pg_temp.seen(value));
             create domain pg_temp.bigint as pg_catalog.int8 check (pg_temp.seen('x'))",
        )
        .await;
        for statement in [
            "select wa.plain_recipient('+1 650 555 1234')",
            "select wa.cancel(1)",
            "select count(waiting_for) from wa.messages",
        ] {
            // Refused or not.
            let _ = caller.execute(statement).await;
        }
        if role == "wa_producer" {
            run(
                &mut caller,
                &format!(
                    "insert into wa.outbox (recipient, payload) values ('+1 650 555 1234', {TEXT})"
                ),
            )
            .await;
        }
        let ran_as: Option<String> =
            sqlx::query_scalar("select nullif(current_setting('wa_test.ran_as', true), '')")
                .fetch_one(&mut caller)
                .await
                .expect("a setting");
        assert_eq!(ran_as.filter(|name| name != role), None, "{role}");
    }
}

#[tokio::test]
async fn an_operator_of_the_producers_lets_no_row_pass_unchecked() {
    let database = a_database().await;
    run(
        &mut database.pool.acquire().await.expect("a connection"),
        "create schema shop; grant all on schema shop to wa_producer",
    )
    .await;
    let mut producer = a_producer(&database).await;
    run(
        &mut producer,
        "create function shop.no(timestamptz, timestamptz) returns bool language sql immutable as 'select false';
         create operator shop.> (leftarg = timestamptz, rightarg = timestamptz, function = shop.no);
         create operator shop.< (leftarg = timestamptz, rightarg = timestamptz, function = shop.no);
         create function shop.no(text, text) returns bool language sql immutable as 'select false';
         create operator shop.!~ (leftarg = text, rightarg = text, function = shop.no);
         create operator shop.~ (leftarg = text, rightarg = text, function = shop.no);
         set search_path = shop, pg_catalog",
    )
    .await;
    let insert = "insert into wa.outbox (recipient, payload, due_at, expires_at) values";
    let refused = refusal(
        &mut producer,
        &format!("{insert} ('call me', {TEXT}, now(), null)"),
    )
    .await;
    assert!(
        refused.message.starts_with("recipient "),
        "{}",
        refused.message
    );
    run(
        &mut producer,
        &format!("{insert} ('{ALICE}', {TEXT}, '-infinity', 'infinity')"),
    )
    .await;
    let (due, expires): (f64, Option<f64>) = sqlx::query_as(
        "select extract(epoch from due_at)::float8, extract(epoch from expires_at)::float8 from wa.outbox",
    )
    .fetch_one(&database.pool)
    .await
    .expect("a row");
    assert_eq!((due, expires), (0.0, None));
}

#[tokio::test]
async fn an_old_way_to_write_strings_changes_nothing() {
    let database = a_database().await;
    add_sender(&database, "200").await;
    let mut producer = a_producer(&database).await;
    run(&mut producer, "set standard_conforming_strings = off").await;
    let insert = "insert into wa.outbox (sender, recipient, payload) values";
    for recipient in [ALICE, "+1 650 555 1234"] {
        run(
            &mut producer,
            &format!("{insert} ('{SENDER}', '{recipient}', {TEXT})"),
        )
        .await;
    }
    run(
        &mut producer,
        &format!("select wa.enqueue_text('{ALICE}', 'Hello', '200')"),
    )
    .await;
    let refused = refusal(
        &mut producer,
        &format!("{insert} ('{SENDER}', '0650555', {TEXT})"),
    )
    .await;
    assert!(
        refused.message.starts_with("recipient "),
        "{}",
        refused.message
    );
    assert_eq!(count(&database).await, 3);
}

#[tokio::test]
async fn our_own_connections_look_for_names_in_postgres_alone() {
    let database = a_database().await;
    run(
        &mut database.pool.acquire().await.expect("a connection"),
        "do $$ begin
           execute format('alter database %I set search_path = public', current_database());
           execute format('alter database %I set standard_conforming_strings = off', current_database());
         end $$",
    )
    .await;
    let store = Store::connect(&ConnectSettings::new(database.url.clone()))
        .await
        .expect("the database answers");
    let settings: (String, String) = sqlx::query_as(
        "select current_setting('search_path'), current_setting('standard_conforming_strings')",
    )
    .fetch_one(store.pool())
    .await
    .expect("settings");
    assert_eq!(
        settings,
        ("pg_catalog, pg_temp".to_owned(), "on".to_owned())
    );
}
