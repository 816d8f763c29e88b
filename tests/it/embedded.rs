//! The embedded PostgreSQL server, and the databases of the tests that stand on it.

pub(crate) mod victim;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Signal, kill_process};
use sqlx::{Connection, PgConnection};
use wa_outbox::embedded::{EmbeddedError, Purpose, Search, Server};

use crate::support::database::TestDatabase;
use victim::{DOING, Process, Scratch, ended, pid};

fn durable(folder: impl Into<PathBuf>) -> Purpose {
    Purpose::Durable {
        folder: folder.into(),
        tcp_port: None,
    }
}

async fn start(purpose: Purpose) -> Result<Server, EmbeddedError> {
    tokio::task::spawn_blocking(move || Server::start(purpose))
        .await
        .expect("a start does not panic")
}

async fn started(purpose: Purpose) -> Server {
    start(purpose)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn run(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url)
        .await
        .expect("the server answers");
    sqlx::raw_sql(statement)
        .execute(&mut connection)
        .await
        .expect("the statement runs");
}

async fn number(url: &str, query: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url)
        .await
        .expect("the server answers");
    sqlx::query_scalar(query)
        .fetch_one(&mut connection)
        .await
        .expect("the query runs")
}

async fn kill_postmaster(server: &Server) {
    let postmaster = pid(server.postmaster_pid().expect("the server runs"));
    kill_process(postmaster, Signal::KILL).expect("killed");
    ended(postmaster).await;
}

#[tokio::test]
async fn the_test_server_answers() {
    let server = started(Purpose::Tests).await;
    let version = number(
        &server.url("postgres"),
        "select current_setting('server_version_num')::int8",
    )
    .await;
    assert_eq!(version / 10_000, i64::from(server.version()));
    assert_eq!(server.tcp_url("postgres"), None);
    if let Ok(doing) = std::env::var(DOING) {
        tell_and_stay(&server, &doing).await;
    }
}

/// As the process that another test watches: tells what it uses, and uses it until its starter says otherwise or is gone.
async fn tell_and_stay(server: &Server, doing: &str) {
    println!(
        "\npostmaster: {}",
        server.postmaster_pid().expect("it runs")
    );
    println!("url: {}", server.url("postgres"));
    let database = if doing == "database" {
        Some(TestDatabase::create().await)
    } else {
        None
    };
    println!(
        "database: {}",
        database
            .as_ref()
            .map_or("none", |database| database.url.as_str())
    );
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[tokio::test]
async fn who_leaves_takes_the_server_from_nobody() {
    let staying = started(Purpose::Tests).await;
    let leaving = started(Purpose::Tests).await;
    assert_eq!(staying.postmaster_pid(), leaving.postmaster_pid());

    leaving.stop().expect("left");
    assert_eq!(number(&staying.url("postgres"), "select 1::int8").await, 1);
}

#[tokio::test]
async fn all_test_processes_share_a_server_that_ends_after_the_last_even_if_killed() {
    let scratch = Scratch::new();
    let (mut one, mut other) = (
        Process::start(&scratch, "wait"),
        Process::start(&scratch, "wait"),
    );
    let postmaster = one.postmaster();
    assert_eq!(postmaster, other.postmaster());

    one.kill();
    assert_eq!(number(&other.hear("url"), "select 1::int8").await, 1);
    other.kill();
    ended(postmaster).await;
}

#[tokio::test]
async fn a_test_server_that_cannot_start_is_made_anew() {
    let scratch = Scratch::new();
    let mut first = Process::start(&scratch, "wait");
    let postmaster = first.postmaster();
    first.kill();
    ended(postmaster).await;
    fs::write(scratch.data("postgresql.conf"), "nonsense").expect("broken");

    let mut second = Process::start(&scratch, "wait");
    let (postmaster, url) = (second.postmaster(), second.hear("url"));
    assert_eq!(number(&url, "select 1::int8").await, 1);
    second.kill();
    ended(postmaster).await;
}

#[tokio::test]
async fn two_test_databases_are_independent() {
    let (one, other) = (TestDatabase::create().await, TestDatabase::empty().await);
    run(&one.url, "create table only_here ()").await;
    let tables = "select count(*) from pg_class where relname = 'only_here'";
    assert_eq!(number(&one.url, tables).await, 1);
    let seen: i64 = sqlx::query_scalar(tables)
        .fetch_one(&other.pool)
        .await
        .expect("an answer");
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn a_test_database_has_every_migration_and_an_empty_one_none() {
    let (migrated, empty) = (TestDatabase::create().await, TestDatabase::empty().await);
    let applied = number(
        &migrated.url,
        "select count(*) from wa.migrations where success",
    )
    .await;
    let known = wa_outbox::store::migrator()
        .iter()
        .filter(|it| it.migration_type.is_up_migration())
        .count();
    assert_eq!(usize::try_from(applied).expect("a count"), known);
    assert_eq!(
        number(
            &empty.url,
            "select count(*) from pg_namespace where nspname = 'wa'"
        )
        .await,
        0
    );
}

#[tokio::test]
async fn a_test_database_is_gone_with_its_test_even_if_still_connected() {
    let staying = TestDatabase::empty().await;
    let leaving = TestDatabase::empty().await;
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&leaving.pool)
        .await
        .expect("a name");
    drop(leaving);

    let found: i64 = sqlx::query_scalar("select count(*) from pg_database where datname = $1")
        .bind(name)
        .fetch_one(&staying.pool)
        .await
        .expect("an answer");
    assert_eq!(found, 0);
}

#[tokio::test]
async fn the_next_process_sweeps_the_databases_of_a_killed_one_and_no_others() {
    let scratch = Scratch::new();
    let mut staying = Process::start(&scratch, "database");
    let mut killed = Process::start(&scratch, "database");
    let (postmaster, url, kept) = (
        staying.postmaster(),
        staying.hear("url"),
        staying.hear("database"),
    );
    let leftover = killed.hear("database");
    killed.kill();
    // The server learns of the death by the closed connection.
    while number(&url, "select count(distinct application_name) from pg_stat_activity where application_name ~ '^t_'").await > 1 {}

    let mut sweeper = Process::start(&scratch, "database");
    let fresh = sweeper.hear("database");
    for (url, exists) in [(&kept, true), (&fresh, true), (&leftover, false)] {
        assert_eq!(PgConnection::connect(url).await.is_ok(), exists, "{url}");
    }
    sweeper.kill();
    staying.kill();
    ended(postmaster).await;
}

#[tokio::test]
async fn a_durable_server_comes_back_with_its_data_after_a_kill() {
    let scratch = Scratch::new();
    let server = started(durable(scratch.folder())).await;
    run(
        &server.url("postgres"),
        "create table kept as select 7::int8 as value",
    )
    .await;
    kill_postmaster(&server).await;
    assert_eq!(server.postmaster_pid(), None);
    drop(server);

    let server = started(durable(scratch.folder())).await;
    assert_eq!(
        number(&server.url("postgres"), "select value from kept").await,
        7
    );
    assert_eq!(
        number(
            &server.url("postgres"),
            "select count(*) from pg_settings where name = 'fsync' and setting = 'on'"
        )
        .await,
        1
    );
    server.remove().expect("removed");
}

#[tokio::test]
async fn a_durable_server_goes_on_without_its_user_and_ends_on_request() {
    let scratch = Scratch::new();
    let server = started(durable(scratch.folder())).await;
    let postmaster = server.postmaster_pid();
    drop(server);

    let server = started(durable(scratch.folder())).await;
    assert_eq!(server.postmaster_pid(), postmaster);
    server.stop().expect("stopped");
    ended(pid(postmaster.expect("it ran"))).await;

    let server = started(durable(scratch.folder())).await;
    server.remove().expect("removed");
    assert!(!scratch.folder().exists());
}

#[tokio::test]
async fn a_dead_servers_process_number_in_use_by_another_is_no_obstacle() {
    let scratch = Scratch::new();
    let server = started(durable(scratch.folder())).await;
    kill_postmaster(&server).await;
    drop(server);
    let file = scratch.data("postmaster.pid");
    let text = fs::read_to_string(&file).expect("it was killed");
    let rest = text.split_once('\n').expect("lines").1;
    // A process that the server's user could signal is what PostgreSQL takes for a server.
    let mut stranger = Command::new("/bin/sleep");
    stranger.arg("600").current_dir("/");
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(&file).expect("a file");
        stranger.uid(owner.uid());
    }
    let mut stranger = stranger.spawn().expect("another program");
    fs::write(&file, format!("{}\n{rest}", stranger.id())).expect("written");

    let again = start(durable(scratch.folder())).await;
    stranger
        .kill()
        .and_then(|()| stranger.wait())
        .expect("ended");
    again.expect("it starts").remove().expect("removed");
}

#[tokio::test]
async fn a_cluster_whose_making_was_killed_is_made_anew() {
    let scratch = Scratch::new();
    let half_made = scratch.folder().join("data.new.00000000deadbeef");
    fs::create_dir_all(half_made.join("base")).expect("half a cluster");
    fs::write(half_made.join("PG_VERSION"), "15\n").expect("half a cluster");
    fs::write(scratch.folder().join("password"), "").expect("no password yet");
    fs::set_permissions(scratch.folder(), fs::Permissions::from_mode(0o711))
        .expect("as it is made");

    let server = started(durable(scratch.folder())).await;
    assert_eq!(number(&server.url("postgres"), "select 1::int8").await, 1);
    assert!(!half_made.exists());
    server.remove().expect("removed");
}

#[tokio::test]
async fn a_server_in_use_is_not_removed() {
    let scratch = Scratch::new();
    let (one, other) = (
        started(durable(scratch.folder())).await,
        started(durable(scratch.folder())).await,
    );
    let refused = one.remove().expect_err("the other uses it");
    assert!(matches!(refused, EmbeddedError::InUse { .. }), "{refused}");
    assert_eq!(number(&other.url("postgres"), "select 1::int8").await, 1);
    other.remove().expect("removed");
}

#[tokio::test]
async fn over_tcp_the_password_is_needed() {
    let scratch = Scratch::new();
    let purpose = Purpose::Durable {
        folder: scratch.folder(),
        tcp_port: Some(0),
    };
    // First without a port: the wish for one starts the server anew.
    drop(started(durable(scratch.folder())).await);
    let server = started(purpose).await;
    let url = server.tcp_url("postgres").expect("a port");
    assert_eq!(number(&url, "select 1::int8").await, 1);

    let (start, end) = url.split_once('@').expect("a password");
    let (scheme, password) = start.rsplit_once(':').expect("a password");
    assert!(!format!("{server:?}").contains(password));
    for wrong in [format!("{scheme}:guess@{end}"), format!("{scheme}@{end}")] {
        assert!(
            PgConnection::connect(&wrong).await.is_err(),
            "{wrong} was let in"
        );
    }
    server.remove().expect("removed");
}

#[tokio::test]
async fn data_made_by_others_is_left_alone() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.data("base")).expect("somebody's data");
    fs::write(scratch.data("PG_VERSION"), "15\n").expect("somebody's data");
    fs::set_permissions(scratch.folder(), fs::Permissions::from_mode(0o755)).expect("opened up");
    let refused = start(durable(scratch.folder()))
        .await
        .expect_err("not ours");
    assert!(
        matches!(refused, EmbeddedError::NotACluster { .. }),
        "{refused}"
    );
    assert!(scratch.data("base").exists());
}

#[tokio::test]
async fn a_server_that_does_not_start_brings_the_end_of_its_log() {
    let scratch = Scratch::new();
    started(durable(scratch.folder()))
        .await
        .stop()
        .expect("stopped");
    fs::write(scratch.data("postgresql.conf"), "no_such_setting = 1\n").expect("broken");
    let error = start(durable(scratch.folder()))
        .await
        .expect_err("a broken setting")
        .to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_works_all_the_same() {
    let scratch = Scratch::new();
    let server = started(durable(scratch.folder().join("deep/".repeat(30)))).await;
    assert_eq!(number(&server.url("postgres"), "select 1::int8").await, 1);
    server.remove().expect("removed");
}

#[tokio::test]
async fn a_folder_that_the_servers_user_may_not_enter_is_named() {
    let scratch = Scratch::new();
    fs::set_permissions(&scratch.folder, fs::Permissions::from_mode(0o700)).expect("closed");
    let result = start(durable(scratch.folder())).await;
    if rustix::process::geteuid().is_root() {
        let refused = result.expect_err("root's own folder").to_string();
        assert!(
            refused.contains(&*scratch.folder().to_string_lossy()),
            "{refused}"
        );
    } else {
        result
            .expect("our own folder is open to our own server")
            .remove()
            .expect("removed");
    }
}

#[test]
fn without_programs_the_error_says_what_was_looked_for_and_how_to_get_it() {
    let scratch = Scratch::new();
    let search = Search::only([scratch.folder.clone()]);
    let error = Server::start_with(durable(scratch.folder()), &search)
        .expect_err("nothing is there")
        .to_string();
    let place = scratch.folder.to_string_lossy();
    for needed in [
        "initdb",
        &place,
        "apt-get install -y postgresql",
        "dnf install",
        "brew install",
        "WA_OUTBOX_PG_BIN",
    ] {
        assert!(error.contains(needed), "{needed} is missing in:\n{error}");
    }
}

#[test]
fn programs_too_old_or_broken_are_named_with_the_reason() {
    let scratch = Scratch::new();
    for (place, script) in [
        ("old", "echo 'postgres (PostgreSQL) 13.9'"),
        ("broken", "exit 1"),
    ] {
        let folder = scratch.folder.join(place);
        fs::create_dir(&folder).expect("a folder");
        for program in ["initdb", "pg_ctl", "postgres"] {
            fs::write(folder.join(program), format!("#!/bin/sh\n{script}\n")).expect("a program");
            fs::set_permissions(folder.join(program), fs::Permissions::from_mode(0o755))
                .expect("it can be run");
        }
    }
    let search = Search::only(["old", "broken"].map(|place| scratch.folder.join(place)));
    let error = Server::start_with(durable(scratch.folder()), &search)
        .expect_err("neither will do")
        .to_string();
    assert!(
        error.contains("version 13 is too old") && error.contains("did not answer"),
        "{error}"
    );
}
