//! Programs and schemas of different versions: an older program works on with a newer schema that only adds, and says so once; one
//! from which something was taken away is refused by who needs it; a newer program refuses an older schema, with the fix.

mod released;
mod side_by_side;

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _};
use wa_outbox::store::{ConnectSettings, Store, migrator};

use crate::support::database::TestDatabase;
use crate::support::make::{ALICE, BOB, a_text};
use crate::support::world::{PATIENCE, World};

/// What a later version might bring, of all that an expanding migration may do.
const EXPANSION: &str = "
    alter table wa.outbox add column origin text;
    alter table wa.senders add column tier text not null default 'usual';
    alter table wa.queue add column hops smallint not null default 0;
    create table wa.origins (origin text primary key);
    create index senders_by_tier on wa.senders (tier);
    grant select on wa.origins to wa_worker";

/// As a newer version records what it has applied.
async fn record(world: &World, version: i64, description: &str) {
    let statement = format!(
        "insert into wa.migrations (version, description, success, checksum, execution_time) values ({version}, '{description}', true, '\\x00', 1)"
    );
    world.run_sql(&statement).await;
}

/// A newer version migrates.
async fn expand(world: &World) {
    sqlx::raw_sql(AssertSqlSafe(EXPANSION))
        .execute(&world.database.pool)
        .await
        .expect("it is applied");
    record(world, 9_001, "origins").await;
}

#[tokio::test]
async fn an_older_program_works_on_while_a_newer_schema_is_put_under_it_and_says_so_when_it_starts()
{
    let world = World::at_rest().await;
    let old = world.start_process("old").await;
    let before = world.enqueue(a_text().to(ALICE)).await;
    world.until_state(before, "accepted").await;
    let across: Vec<_> = {
        let mut ids = Vec::new();
        for count in 0..20 {
            if count == 10 {
                expand(&world).await;
            }
            ids.push(
                world
                    .enqueue(a_text().to(&format!("+1650555{count:04}")))
                    .await,
            );
        }
        ids
    };
    for id in across {
        world.until_status(id, "read").await;
    }
    // One more of the old version, beside the first.
    let another = world.spawn_process("another", &world.database.url);
    let said = another.until_logged("newer version").await;
    assert!(
        said.contains("a migration of a newer version, up to 9001 (origins)"),
        "{said}"
    );
    assert!(said.contains("it works on"), "{said}");
    another.until_logged("Running").await;
    assert_eq!(another.count_logged("newer version"), 1);
    old.ask_to_stop();
    assert!(old.ended().await.success());

    let after = world.enqueue(a_text().to(BOB)).await;
    world.until_state(after, "accepted").await;
    assert_eq!(world.requests(), 22, "each message was sent once");

    let told = world.says(&["migrate", "--check"]).await;
    assert!(
        told.contains("every migration of this version") && told.contains("up to 9001"),
        "{told}"
    );
    let told = world.says(&["migrate"]).await;
    assert!(
        told.contains("already") && told.contains("up to 9001"),
        "{told}"
    );
    let doctor = world.command(&["doctor"]).await;
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(told.contains("up to 9001"), "{told}");
}

#[tokio::test]
async fn an_older_program_refuses_a_schema_from_which_what_it_uses_was_taken() {
    let world = World::at_rest().await;
    let last = migrator()
        .iter()
        .map(|one| one.version)
        .max()
        .expect("there are some");
    record(
        &world,
        9_002,
        &format!("contract after {last:04} old names"),
    )
    .await;
    world.says(&["migrate", "--check"]).await;

    record(&world, 9_003, "contract after 9001 other names").await;
    for arguments in [
        &["run"][..],
        &["run", "--no-migrate"],
        &["migrate", "--check"],
    ] {
        let refused = refused_by(&world, arguments).await;
        for words in [
            "left this version behind",
            "9003 (contract after 9001 other names)",
            "run a newer version",
        ] {
            assert!(refused.contains(words), "{arguments:?}: {refused}");
        }
    }
}

/// What a command says that would go on working if it were not refused.
async fn refused_by(world: &World, arguments: &[&str]) -> String {
    tokio::time::timeout(PATIENCE, world.refuses(arguments))
        .await
        .unwrap_or_else(|_| panic!("{arguments:?} is not refused"))
}

/// A database that lacks the last migration.
async fn an_older_database() -> TestDatabase {
    let database = TestDatabase::empty().await;
    let versions = migrator().iter().map(|one| one.version).max();
    migrate_below(&database.url, versions.expect("there are some")).await;
    database
}

/// Applies the migrations below this one.
async fn migrate_below(url: &str, version: i64) {
    let mut connection = sqlx::PgConnection::connect(url).await.expect("it answers");
    migrator()
        .run_to(version - 1, &mut connection)
        .await
        .expect("they are applied");
}

#[tokio::test]
async fn what_somebody_holds_is_tried_for_in_moments_and_whoever_migrates_is_told_who_it_is() {
    let mut world = World::at_rest().await;
    let older = TestDatabase::empty().await;
    // The migration that locks the table is still to come.
    migrate_below(&older.url, 58).await;
    let url = std::mem::replace(&mut world.database.url, older.url.clone());
    let mut holder = older.pool.begin().await.expect("a transaction");
    let reads = "select pg_backend_pid() from (select count(*) from wa.campaign_deltas) read";
    let pid: i32 = sqlx::query_scalar(reads)
        .fetch_one(&mut *holder)
        .await
        .expect("it reads");
    let waits = async || -> bool {
        sqlx::query_scalar(
            "select exists (select from pg_locks l where l.relation = 'wa.campaign_deltas'::regclass and not l.granted)",
        )
        .fetch_one(&older.pool)
        .await
        .expect("locks")
    };
    let lets_go = async {
        world.until_true("it waits", &waits).await;
        world
            .until_true("it lets others go before it", async || !waits().await)
            .await;
        world.until_true("it tries again", &waits).await;
        holder.rollback().await.expect("it ends");
    };
    // However patient its other statements are.
    let patient = [
        ("WA_OUTBOX__DATABASE__LOCK_TIMEOUT_S", "600"),
        ("WA_OUTBOX__DATABASE__STATEMENT_TIMEOUT_S", "600"),
    ];
    let migrates = world.command_with(&patient, &["migrate"]);
    let (output, ()) = tokio::join!(migrates, lets_go);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(&format!("waits for server process {pid}")),
        "{said}"
    );
    world.database.url = url;
}

#[tokio::test]
async fn what_others_keep_in_the_schema_and_who_may_run_what_by_default_stop_nothing() {
    let mut world = World::at_rest().await;
    let database = TestDatabase::empty().await;
    let url = std::mem::replace(&mut world.database.url, database.url.clone());
    let does = async |statement: &str| {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&database.pool)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"))
            .rows_affected()
    };
    migrate_below(&database.url, 39).await;
    does("create table orders (id int); set search_path = public, wa; create function wa.ours_not() returns bigint language sql as 'select count(*) from orders'").await;
    let said = world.refuses(&["migrate"]).await;
    assert!(said.contains("function wa.ours_not()"), "{said}");
    for statement in [
        "alter function wa.ours_not() set schema public",
        "create aggregate wa.summed(int) (sfunc = int4pl, stype = int)",
        "create procedure wa.nothing() language sql as 'select 1'",
        "alter default privileges revoke execute on functions from public",
        "create publication everything for all tables",
    ] {
        does(statement).await;
    }

    world.says(&["migrate"]).await;

    does("insert into wa.senders (sender, credential) values ('1', 'env:TOKEN')").await;
    does(
        r#"set role wa_producer;
           insert into wa.outbox (recipient, payload) values ('+16505551234', '{"type":"text","text":{"body":"Hello"}}');
           reset role"#,
    )
    .await;
    does("insert into wa.campaign_deltas (campaign, kind, n) values (1, 'queued', 1); delete from wa.campaign_deltas").await;
    world.database.url = url;
}

#[tokio::test]
async fn who_migrates_for_the_owner_makes_all_as_the_owner() {
    let mut world = World::at_rest().await;
    let database = TestDatabase::empty().await;
    let url = std::mem::replace(&mut world.database.url, database.url.clone());
    let owner = format!("wa_test_owner_{}", fastrand::u32(..));
    let as_superuser = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&database.pool)
            .await
            .expect("it is done");
    };
    as_superuser(format!(
        "create role {owner} login createrole;
         do $$ begin execute format('grant create on database %I to {owner}', current_database()); end $$"
    ))
    .await;
    let options: sqlx::postgres::PgConnectOptions = database.url.parse().expect("an address");
    let its_url = sqlx::ConnectOptions::to_url_lossy(&options.username(&owner)).to_string();
    migrate_below(&its_url, 39).await;

    world.says(&["migrate"]).await;

    let of_others: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
        "select (select count(*) from pg_proc p where p.pronamespace = 'wa'::regnamespace and p.proowner <> '{owner}'::regrole)
           + (select count(*) from pg_class c where c.relnamespace = 'wa'::regnamespace and c.relowner <> '{owner}'::regrole)"
    )))
    .fetch_one(&database.pool)
    .await
    .expect("a count");
    assert_eq!(of_others, 0);

    // A table of somebody else's is not looked into when the ids of all are set forward.
    as_superuser(
        "create table wa.notes (id bigint generated always as identity primary key);
         select wa.beat(null, 0, 0);
         select wa.begin_era(0, 'operator', 'it was restored', 'ada', 0, clock_timestamp())"
            .to_owned(),
    )
    .await;
    as_superuser(format!("drop owned by {owner} cascade; drop role {owner}")).await;
    world.database.url = url;
}

#[tokio::test]
async fn a_newer_program_refuses_an_older_schema_with_the_fix_or_brings_it_up_to_date() {
    let mut world = World::at_rest().await;
    let older = an_older_database().await;
    let last = migrator()
        .iter()
        .map(|one| one.version)
        .max()
        .expect("there are some");
    let url = std::mem::replace(&mut world.database.url, older.url.clone());

    let refused = refused_by(&world, &["run", "--no-migrate"]).await;
    for words in [&format!("lacks migration {last}")[..], "wa-outbox migrate"] {
        assert!(refused.contains(words), "{refused}");
    }
    let refused = world.refuses(&["migrate", "--check"]).await;
    assert!(
        refused.contains("fix: apply them: wa-outbox migrate"),
        "{refused}"
    );

    // Who may work may not migrate, and is told who may.
    let role = format!("wa_test_worker_{}", fastrand::u32(..));
    let statement = format!("create role {role} login in role wa_worker");
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&older.pool)
        .await
        .expect("a role");
    let refused = run_as(&world, &role).await;
    for words in [
        "this role may not migrate",
        &format!("lacks migration {last}"),
        "as the owner of the schema",
    ] {
        assert!(refused.contains(words), "{refused}");
    }

    let settings = ConnectSettings::new(older.url.clone());
    let store = Store::connect(&settings).await.expect("it answers");
    assert!(store.schema().await.expect("a schema").check().is_err());
    world.says(&["migrate"]).await;
    assert!(store.schema().await.expect("a schema").check().is_ok());
    let process = world.spawn_process("newer", &older.url);
    process.until_logged("Running").await;
    drop(process);
    sqlx::raw_sql(AssertSqlSafe(format!("drop role {role}")))
        .execute(&older.pool)
        .await
        .expect("it is gone");
    world.database.url = url;
}

/// What `run` says that connects as this role.
async fn run_as(world: &World, role: &str) -> String {
    command_as(world, role, "run").await
}

/// What a command says that connects as this role, and is refused.
async fn command_as(world: &World, role: &str, command: &str) -> String {
    let options: sqlx::postgres::PgConnectOptions = world.database.url.parse().expect("an address");
    let url = sqlx::ConnectOptions::to_url_lossy(&options.username(role)).to_string();
    let env = [("DATABASE_URL", url.as_str())];
    let output = tokio::time::timeout(PATIENCE, world.command_with(&env, &[command])).await;
    let output = output.expect("it is refused");
    assert!(!output.status.success());
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test]
async fn an_index_that_an_interrupted_migration_has_left_half_made_is_made_anew() {
    let world = World::at_rest().await;
    let index = "pg_index where indexrelid = 'wa.wamid_is_of_one_message'::regclass and indisvalid";
    for statement in [
        "update pg_index set indisvalid = false where indexrelid = 'wa.wamid_is_of_one_message'::regclass",
        "delete from wa.migrations where description = 'wamids once'",
    ] {
        world.run_sql(statement).await;
    }
    assert_eq!(world.count(index).await, 0);

    world.says(&["migrate"]).await;

    assert_eq!(world.count(index).await, 1);
}

#[tokio::test]
async fn who_migrates_while_another_makes_an_index_waits_and_is_not_waited_for() {
    let world = World::at_rest().await;
    world
        .run_sql("delete from wa.migrations where description = 'wamids once'")
        .await;
    // The index cannot be made while somebody may write.
    let mut writing = world.database.pool.begin().await.expect("a transaction");
    sqlx::query("lock table wa.results in row exclusive mode")
        .execute(&mut *writing)
        .await
        .expect("a lock");

    let both_wait = async {
        for waits in ["wait_event = 'virtualxid'", "query like '%advisory_lock%'"] {
            // Of the commands: these questions have the same words.
            let one = format!(
                "pg_stat_activity where datname = current_database() and application_name = 'wa-outbox' and {waits}"
            );
            world
                .until_true(waits, async || world.count(&one).await == 1)
                .await;
        }
        writing.rollback().await.expect("it is over");
    };
    // A machine that is busy starts the second one late, and the first waits for a lock all the time.
    let patient = [("WA_OUTBOX__DATABASE__LOCK_TIMEOUT_S", "15")];
    let migrates = || world.command_with(&patient, &["migrate"]);
    let (one, other, ()) = tokio::join!(migrates(), migrates(), both_wait);

    let told = [one, other].map(|output| {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).expect("text")
    });
    assert!(told.iter().any(|told| told.contains("wamids once")));
    assert_eq!(world.count("pg_index where not indisvalid").await, 0);
}

#[tokio::test]
async fn who_has_nothing_to_migrate_waits_for_nobody_and_who_waits_is_told_for_whom() {
    let world = World::at_rest().await;
    let holder = sqlx::PgConnection::connect(&world.database.url).await;
    let mut holder = holder.expect("it answers");
    // Any login may do so.
    let pid: i32 = sqlx::query_scalar(
        "select pg_backend_pid() from pg_advisory_lock(hashtextextended('wa.migrations', 0))",
    )
    .fetch_one(&mut holder)
    .await
    .expect("the lock is taken");

    let done = tokio::time::timeout(PATIENCE, world.says(&["migrate"])).await;
    assert!(done.expect("it does not wait").contains("already"));

    world
        .run_sql("delete from wa.migrations where description = 'wamids once'")
        .await;
    let lets_go = async {
        // Longer than nothing is said.
        tokio::time::sleep(Duration::from_secs(6)).await;
        holder.close().await.expect("it ends");
    };
    let (output, ()) = tokio::join!(world.command(&["migrate"]), lets_go);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("server process {pid}")), "{said}");
}

#[tokio::test]
async fn who_may_not_migrate_is_told_the_right_that_lacks() {
    let mut world = World::at_rest().await;
    let empty = TestDatabase::empty().await;
    let url = std::mem::replace(&mut world.database.url, empty.url.clone());
    let role = format!("wa_test_owner_{}", fastrand::u32(..));
    let as_superuser = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&empty.pool)
            .await
            .expect("it is done");
    };
    as_superuser(format!("create role {role} login")).await;

    let told = command_as(&world, &role, "migrate").await;
    assert!(told.contains("fix: grant create on database"), "{told}");
    let grant = "do $$ begin execute format('grant create on database %I to ";
    as_superuser(format!("{grant}{role}', current_database()); end $$")).await;
    let told = command_as(&world, &role, "migrate").await;
    assert!(
        told.contains(&format!("fix: alter role {role} createrole")),
        "{told}"
    );
    as_superuser(format!(
        "alter role {role} set default_transaction_read_only = on"
    ))
    .await;
    let told = command_as(&world, &role, "migrate").await;
    assert!(told.contains("connect to the primary"), "{told}");

    as_superuser(format!("drop owned by {role}; drop role {role}")).await;
    world.database.url = url;
}

#[tokio::test]
async fn a_database_in_which_a_text_may_come_that_cannot_be_read_is_refused_with_the_fix() {
    let world = World::at_rest().await;
    let name = format!("wa_test_ascii_{}", fastrand::u32(..));
    let create =
        format!("create database {name} encoding 'SQL_ASCII' locale 'C' template template0");
    world.run_sql(&create).await;
    let options: sqlx::postgres::PgConnectOptions = world.database.url.parse().expect("an address");
    let url = sqlx::ConnectOptions::to_url_lossy(&options.database(&name)).to_string();
    let env = [("DATABASE_URL", url.as_str())];

    for command in ["migrate", "run"] {
        let output = world.command_with(&env, &[command]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("encoding 'UTF8'"),
            "{command}: {said}"
        );
    }
    let output = world.command_with(&env, &["doctor"]).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("SQL_ASCII"), "{said}");
    world.run_sql(&format!("drop database {name}")).await;
}
