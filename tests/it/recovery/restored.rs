//! A backup takes the place of the database.

use wa_outbox::clock::Clock;
use wa_outbox::simulator::Status;
use wa_outbox::store::era::Beat;

use super::{EVIDENCE, KEPT, SILENT, a_world_on, in_time, to};
use crate::support::cluster::Cluster;
use crate::support::world::World;

/// What a dump refers to and does not hold.
pub(super) const ROLES: &str =
    "create role wa_producer; create role wa_worker; create role wa_viewer";

#[tokio::test]
async fn a_base_backup_that_is_put_in_place_forgets_nothing_that_it_would_send_again() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.has_been_worked().await;
        let alone = world.enqueue(to(SILENT)).await;
        let head = world.enqueue(to(EVIDENCE).in_sequence("order")).await;
        let next = world.enqueue(to(EVIDENCE).in_sequence("order")).await;
        let backup = primary.base_backup("backup");
        world.start_service().await;
        world.until_taken(2).await;
        world.until_state(head, "accepted").await;
        world.is_told(EVIDENCE, Status::Delivered).await;
        world.until_state(next, "accepted").await;
        world.stop_service().await;
        assert_eq!(world.taken_for(EVIDENCE), 2);

        primary.kill();
        backup.go();
        backup.is_a_primary().await;
        world.moves_to(&backup);
        world.start_service().await;
        let reason = world.until_held_for_a_restore().await;
        assert!(reason.contains("timeline"), "{reason}");
        world.until_others_are_held_too().await;
        assert_eq!(world.foreseen(&[]).await, [2, 0, 1]);
        assert_eq!(world.foreseen(&["--hold"]).await, [0, 2, 1]);
        let line = [
            "recover",
            "--yes",
            "--release",
            "--hold",
            "--reason",
            "restored",
        ];
        world.says(&line).await;
        assert_eq!(world.state_of(alone).await, "uncertain");
        assert_eq!(world.state_of(head).await, "uncertain");
        assert_eq!(world.state_of(next).await, "waiting");

        // The turn of the next one comes, and it may have been sent, too.
        world.is_told(EVIDENCE, Status::Read).await;
        assert_eq!(world.message(head).await.status.as_deref(), Some("read"));
        assert_eq!(world.state_of(next).await, "uncertain");
        world.last_is_told(EVIDENCE, Status::Delivered).await;
        let told = world.message(next).await;
        assert_eq!(
            (told.state.as_str(), told.status.as_deref()),
            ("accepted", Some("delivered"))
        );
        let kept = world.message(alone).await.waiting_for.unwrap_or_default();
        assert!(
            kept.starts_with("a person: the database was restored"),
            "{kept}"
        );
        world.until_the_worker_sends_for_others().await;
        assert_eq!([EVIDENCE, SILENT].map(|one| world.taken_for(one)), [2, 1]);
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

#[tokio::test]
async fn a_dump_that_is_restored_into_another_server_is_noticed_before_anything_leaves() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.has_been_worked().await;
        let forgotten = world.enqueue(to(SILENT)).await;
        let mut draft = to(KEPT);
        draft.0.due_at = Some(Clock::system().now() + time::Duration::hours(1));
        let later = world.enqueue(draft).await;
        let dump = primary.dump();
        world.start_service().await;
        world.until_state(forgotten, "accepted").await;
        world.stop_service().await;

        let another = primary.another("another");
        another.sql(ROLES).await;
        another.restore(&dump);
        world.moves_to(&another);
        world.start_service().await;
        let reason = world.until_held_for_a_restore().await;
        assert!(reason.contains("another server"), "{reason}");
        world.until_others_are_held_too().await;
        assert_eq!(world.taken_for(SILENT), 1);

        // What was not due before was not sent before.
        assert_eq!(world.foreseen(&[]).await, [1, 0, 0]);
        world
            .says(&["recover", "--yes", "--reason", "restored"])
            .await;
        assert_eq!(world.state_of(later).await, "queued");
        assert_eq!(world.state_of(forgotten).await, "uncertain");
        let again = world.says(&["recover"]).await;
        assert!(again.contains("1 messages were put in doubt"), "{again}");
        world.is_told(SILENT, Status::Read).await;
        assert_eq!(world.state_of(forgotten).await, "accepted");
        assert_eq!(world.taken_for(SILENT), 1);
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

/// While nothing of ours runs, a dump takes the place of what was there: the same server, the same database.
async fn is_noticed_when_it_is_restored_over_itself(options: &[&str], emptied_by: &str) {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.has_been_worked().await;
        let forgotten = world.enqueue(to(SILENT)).await;
        let dump = primary.dump_of(options);
        world.start_service().await;
        world.until_state(forgotten, "accepted").await;
        assert!(world.stop_service().await, "the stop is clean");

        primary.sql(emptied_by).await;
        primary.restore(&dump);
        world.moves_to(&primary);
        let report = world.command(&["doctor"]).await;
        let said = String::from_utf8_lossy(&report.stdout).into_owned();
        assert!(said.contains("a dump was restored over"), "{said}");
        world.start_service().await;
        let reason = world.until_held_for_a_restore().await;
        assert!(reason.contains("restored from a dump"), "{reason}");
        world.until_others_are_held_too().await;
        assert_eq!(world.foreseen(&[]).await, [1, 0, 0]);
        world
            .says(&["recover", "--yes", "--release", "--reason", "restored"])
            .await;
        assert_eq!(world.state_of(forgotten).await, "uncertain");
        world.is_told(SILENT, Status::Read).await;
        assert_eq!(world.state_of(forgotten).await, "accepted");
        assert_eq!(world.taken_for(SILENT), 1);
        assert!(world.stop_service().await, "the stop is clean");
        // Once it is settled it is the database that it is.
        world.start_service().await;
        world.until_the_worker_sends_for_others().await;
        assert_eq!(world.count("wa.eras").await, 2);
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

#[tokio::test]
async fn a_dump_that_is_restored_over_its_own_database_is_noticed_before_anything_leaves() {
    is_noticed_when_it_is_restored_over_itself(&[], "drop schema wa cascade").await;
    is_noticed_when_it_is_restored_over_itself(&["--clean", "--if-exists"], "select 1").await;
}

const DATA: [&str; 2] = ["--data-only", "--disable-triggers"];
const EMPTIED: &str = "do $$ begin execute (select 'truncate ' || string_agg(c.oid::regclass::text, ', ') from pg_class c
  where c.relnamespace = 'wa'::regnamespace and c.relkind = 'r'); end $$";

#[tokio::test]
async fn data_that_is_restored_alone_over_its_own_tables_is_noticed_before_anything_leaves() {
    is_noticed_when_it_is_restored_over_itself(&DATA, EMPTIED).await;
}

/// The era is begun over empty tables; what arrives then belongs to it, and evidence about it counts.
#[tokio::test]
async fn data_that_is_restored_while_a_worker_lives_is_held_and_in_doubt() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.has_been_worked().await;
        let evident = world.enqueue(to(EVIDENCE)).await;
        let silent = world.enqueue(to(SILENT)).await;
        let dump = primary.dump_of(&DATA);
        world.start_service().await;
        for message in [evident, silent] {
            world.until_state(message, "accepted").await;
        }
        primary.sql(EMPTIED).await;
        world
            .until_true("the era is begun", async || {
                world.count("wa.eras where settled_at is null").await == 1
            })
            .await;
        assert_eq!(world.count("wa.senders").await, 0);
        primary.restore_what_goes(&dump);
        world.until_held_for_a_restore().await;
        world.until_others_are_held_too().await;
        assert_eq!(world.state_of(silent).await, "queued");
        assert_eq!(world.foreseen(&[]).await, [2, 0, 0]);
        world.is_told(EVIDENCE, Status::Delivered).await;
        assert_eq!(world.state_of(evident).await, "accepted");
        world
            .says(&[
                "recover",
                "--yes",
                "--hold",
                "--release",
                "--reason",
                "restored",
            ])
            .await;
        assert_eq!(world.state_of(silent).await, "uncertain");
        world.until_the_worker_sends_for_others().await;
        assert_eq!([EVIDENCE, SILENT].map(|one| world.taken_for(one)), [1, 1]);
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

/// Their first beat finds no era, and must not take that for the first of all.
#[tokio::test]
async fn tables_that_are_emptied_after_a_restore_are_no_new_database_to_who_knows_it() {
    let world = World::at_rest().await;
    world.store.beat().await.expect("a beat");
    super::begin_an_era(&world).await;
    world.store.beat().await.expect("a beat");
    let known = world.store.era().current().expect("an era");
    world.run_sql(EMPTIED).await;
    let beat = world.store.beat().await.expect("a beat");
    let Beat::Amiss(amiss) = beat else {
        panic!("{beat:?}");
    };
    assert_eq!((amiss.era, amiss.cause.as_str()), (known, "went_back"));
    let begun = world.store.begin_era(&amiss, "of the test", None).await;
    assert!(begun.expect("an answer").expect("an era").era > known);
    // One that was just started finds tables of before the restore, empty, and then what is copied into them.
    world.run_sql(EMPTIED).await;
    let fresh = wa_outbox::store::Store::over(world.database.pool.clone());
    assert!(matches!(fresh.beat().await, Ok(Beat::Learned { .. })));
    assert!(matches!(world.store.beat().await, Ok(Beat::Amiss(_))));
    world
        .run_sql("insert into wa.birthmark select tables, '3' from wa.birthmark")
        .await;
    assert!(matches!(fresh.beat().await, Ok(Beat::Amiss(_))));
}

/// Nobody worked on it between its last pulse and the dump: what was written then is known all the same.
#[tokio::test]
async fn what_was_written_long_after_the_last_pulse_of_a_dump_is_known_by_its_token() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.has_been_worked().await;
        primary
            .sql("update wa.pulse set at = at - interval '1 hour'")
            .await;
        let forgotten = world.enqueue(to(SILENT)).await;
        let dump = primary.dump();
        world.start_service().await;
        world.until_state(forgotten, "accepted").await;
        assert!(world.stop_service().await, "the stop is clean");

        let another = primary.another("another");
        another.sql(ROLES).await;
        another.restore(&dump);
        world.moves_to(&another);
        world.start_service().await;
        world.until_held_for_a_restore().await;
        world
            .says(&["recover", "--yes", "--reason", "restored"])
            .await;
        world.is_told(SILENT, Status::Delivered).await;
        assert_eq!(world.state_of(forgotten).await, "accepted");
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

#[tokio::test]
async fn what_rewrites_a_table_and_leaves_it_what_it_is_is_no_restore() {
    let world = World::at_rest().await;
    world.store.beat().await.expect("a beat");
    let statements = [
        "vacuum full",
        "vacuum freeze wa.pulse, wa.birthmark",
        "vacuum full wa.birthmark",
        "cluster wa.pulse using pulse_pkey",
        "reindex schema wa",
        "alter table wa.pulse alter column tick type numeric",
        "alter table wa.pulse alter column tick type bigint",
        "alter table wa.outbox add column noted timestamptz default clock_timestamp()",
        "alter table wa.queue set unlogged",
        "alter table wa.queue set logged",
        "truncate wa.campaign_deltas",
        "analyze",
    ];
    for statement in statements {
        world.run_sql(statement).await;
        assert_eq!(
            world.text("select wa.is_from_a_dump()::text").await,
            "false",
            "{statement}"
        );
    }
    let beat = world.store.beat().await.expect("a beat");
    assert_eq!(beat, Beat::Same);
    assert_eq!(world.count("wa.eras").await, 1);
}
