//! `wa-outbox top` where nobody watches: one table, or one object.

use crate::support::make::a_text;
use crate::support::plan::{filled, plan_of};
use crate::support::world::{SENDER, World};

#[tokio::test]
async fn a_producer_who_may_not_look_at_all_of_it_is_told_who_may() {
    let world = World::at_rest().await;
    let url = world.database.url_as("wa_producer");
    for line in [&["top", "--once"][..], &["summary"]] {
        let output = world.command_with(&[("DATABASE_URL", &url)], line).await;
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(
            !output.status.success()
                && error.contains("fix: connect as a member of the role that may: wa_viewer or wa_worker to look at everything"),
            "{line:?}: {error}"
        );
    }
}

#[tokio::test]
async fn without_a_terminal_it_prints_one_table_and_ends() {
    let world = World::at_rest().await;
    world.enqueue(a_text()).await;
    world.enqueue(a_text()).await;
    for arguments in [["top", "--once"], ["top", "--every=1s"]] {
        let says = world.says(&arguments).await;
        let lines: Vec<&str> = says.lines().collect();
        assert_eq!(
            lines[0],
            "workers 0  senders 1  0/s of 0/s  0 out  2 due  2 queued"
        );
        assert_eq!(lines[1], "uncertain 0  webhooks nobody has listened yet");
        assert!(lines[3].starts_with("SENDER "), "{says}");
        assert!(lines[4].starts_with(SENDER), "{says}");
        assert!(
            lines[4].ends_with("waits for a worker: none runs; start one: wa-outbox run"),
            "{says}"
        );
    }
}

#[tokio::test]
async fn as_json_it_tells_of_a_service_that_runs() {
    let world = World::start().await;
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;
    world
        .until_true("its owner has told how it goes", async || {
            let told = world.says_json(&["top", "--json"]).await;
            told["senders"][0]["standing"]["is_stale"] == false
        })
        .await;
    let told = world.says_json(&["top", "--json"]).await;
    assert_eq!(told["workers"], 1);
    assert_eq!(told["is_listening"], true);
    assert!(told["last_status_at"].is_string(), "{told}");
    assert_eq!(
        (&told["uncertain"], &told["needs_person"]),
        (&0.into(), &0.into())
    );
    let sender = &told["senders"][0];
    assert_eq!(sender["sender"], SENDER);
    assert_eq!(sender["rate_per_second"], 5_000.0);
    assert_eq!(sender["standing"]["doing"], "idle");
}

#[tokio::test]
async fn a_look_reads_no_whole_queue_however_long_it_is() {
    let world = World::at_rest().await;
    world
        .run_sql(
            r#"insert into wa.outbox (recipient, payload)
               select '+16505551234', '{"type":"text","text":{"body":"Hello"}}' from generate_series(1, 30000)"#,
        )
        .await;
    world.run_sql("analyze wa.queue").await;
    let last: i64 = sqlx::query_scalar("select max(id) from wa.queue")
        .fetch_one(&world.database.pool)
        .await
        .expect("the last one");
    let standings = include_str!("../../src/store/sql/sender_standings.sql");
    let place = include_str!("../../src/store/sql/message_place.sql");
    for statement in [
        filled(standings, &["null", "10001", "100000"]),
        filled(standings, &[&format!("'{SENDER}'"), "10001", "100000"]),
        filled(place, &[&last.to_string(), "10001"]),
    ] {
        let plan = plan_of(&world.database.pool, &statement).await;
        assert!(plan.contains("queue_in_turn"), "{plan}");
        assert!(!plan.contains("Seq Scan on queue"), "{plan}");
    }
}
