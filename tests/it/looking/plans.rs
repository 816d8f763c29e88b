//! Each look reads the one index it is written for, and none of those indexes makes the way of an ordinary message dearer.

use sqlx::{AssertSqlSafe, Executor as _};

use crate::support::plan::{filled, plan_of};
use crate::support::world::{SENDER, World};

/// The plan for whatever is asked for: the one that a popular value gets, too, once a statement has been asked often enough.
async fn plan_for_any(world: &World, statement: &str, parameters: &[&str]) -> String {
    let mut connection = world.database.pool.acquire().await.expect("a connection");
    let asked: Vec<&str> = parameters
        .iter()
        .copied()
        .filter(|one| !one.is_empty())
        .collect();
    for preparing in [
        "set plan_cache_mode = force_generic_plan".to_owned(),
        format!("prepare walk as {statement}"),
    ] {
        (&mut *connection)
            .execute(AssertSqlSafe(preparing))
            .await
            .expect("it is prepared");
    }
    let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "explain execute walk ({})",
        asked.join(", ")
    )))
    .persistent(false)
    .fetch_all(&mut *connection)
    .await
    .expect("a plan");
    (&mut *connection)
        .execute("deallocate walk")
        .await
        .expect("it is forgotten");
    plan.join("\n")
}

/// Very many messages that are accepted and read, and a few of everything else; the planner knows it.
async fn a_long_past() -> World {
    let world = World::at_rest().await;
    for statement in [
        // As if they had been sent: the books are left out, which would take their time.
        "set session_replication_role = replica".to_owned(),
        format!(
            r#"insert into wa.outbox (sender, recipient, payload, reference)
               select '{SENDER}', '+1650' || (5550000 + n % 9000), '{{"type":"text","text":{{"body":"Hello"}}}}', 'order-' || n
               from generate_series(1, 40000) as n"#
        ),
        "insert into wa.results (id, sender, state, wamid, attempts, sent_at, delivered_at, failed_at, error_code, duplicate)
         select id, sender, case when id % 4000 = 1 then 'failed' when id % 4000 = 2 then 'cancelled' else 'accepted' end,
           case when id % 4000 > 2 then 'wamid.' || id end, 1, case when id % 4000 > 3 then now() end, case when id % 4000 > 3 then now() end,
           case when id % 4000 = 3 then now() end, case when id % 4000 in (1, 3) then 131026 end, case when id % 4000 = 4 then 'resend' end
         from wa.outbox".to_owned(),
        "insert into wa.queue (id, sender, priority, due_at) select id + 40000, sender, 5, now() from wa.outbox".to_owned(),
        "set session_replication_role = origin".to_owned(),
        "analyze wa.outbox, wa.results, wa.queue".to_owned(),
    ] {
        world.run_sql(&statement).await;
    }
    world
}

#[tokio::test]
async fn each_walk_reads_the_index_it_is_written_for() {
    let world = a_long_past().await;
    let newest = "9223372036854775807";
    macro_rules! walk {
        ($name:literal) => {
            include_str!(concat!("../../../src/store/sql/walks/", $name, ".sql"))
        };
    }
    for (statement, about, index) in [
        (walk!("outbox"), "", "outbox_pkey"),
        (walk!("recipient"), "'+16505550007'", "outbox_to_recipient"),
        (walk!("reference"), "'order-7'", "outbox_by_reference"),
        (walk!("campaign"), "1", "outbox_by_campaign"),
        (walk!("queue"), "", "queue_pkey"),
        (walk!("ended"), "'cancelled'", "results_not_accepted"),
        (walk!("results"), "", "results_pkey"),
        (walk!("failed_status"), "", "results_failed_status"),
        (walk!("code"), "131026", "results_by_failure"),
        (walk!("duplicates"), "", "results_duplicate"),
    ] {
        let plan = plan_for_any(&world, statement, &[newest, "null", "101", about]).await;
        assert!(plan.contains(index), "{index}:\n{plan}");
        for far in ["Seq Scan", "Sort"] {
            assert!(!plan.contains(far), "{index}:\n{plan}");
        }
    }
}

#[tokio::test]
async fn failures_are_found_among_failures() {
    let world = a_long_past().await;
    let board = include_str!("../../../src/store/sql/failures.sql");
    let slice = include_str!("../../../src/store/sql/failure_slice.sql");
    let count = include_str!("../../../src/store/sql/count_failures.sql");
    let again = include_str!("../../../src/store/sql/count_again.sql");
    let newest = "9223372036854775807";
    for (statement, index) in [
        (
            filled(again, &["131026", "null", "null", "10000"]),
            "results_by_failure",
        ),
        (
            filled(board, &["null", "null", "10000"]),
            "results_by_failure_time",
        ),
        (
            filled(slice, &["131026", "null", "null", newest, "500"]),
            "results_by_failure",
        ),
        (
            filled(count, &["131026", "null", "null", "10000"]),
            "results_by_failure",
        ),
    ] {
        let plan = plan_of(&world.database.pool, &statement).await;
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("Seq Scan on results"), "{plan}");
    }
}

#[tokio::test]
async fn what_is_shown_of_messages_is_found_by_key() {
    let world = a_long_past().await;
    let like = include_str!("../../../src/store/sql/messages_like.sql");
    let parameters = [
        "'{1,2,3}'",
        "null",
        "null",
        "null",
        "null",
        "null",
        "null",
        "null",
        "null",
        "false",
        "21",
    ];
    // The last ones first: $1 is the beginning of $10.
    let statement = parameters
        .iter()
        .enumerate()
        .rev()
        .fold(like.to_owned(), |text, (place, value)| {
            text.replace(&format!("${}", place + 1), value)
        });
    let plan = plan_of(&world.database.pool, &statement).await;
    for table in ["outbox", "results", "queue", "uncertain"] {
        assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
    }
}

#[tokio::test]
async fn the_way_of_an_ordinary_message_stays_on_its_page() {
    let world = a_long_past().await;
    let mut transaction = world.database.pool.begin().await.expect("a transaction");
    for step in [
        "update wa.queue set state = 'sending', attempt = 1, attempts = 1, epoch = 1, begun_at = now(), deadline = now() where id % 500 = 0",
        "update wa.results set sent_at = now(), delivered_at = null where id % 500 = 10",
        "update wa.results set delivered_at = now() where id % 500 = 10",
        "update wa.results set read_at = now() where id % 500 = 10",
    ] {
        sqlx::query(step)
            .execute(&mut *transaction)
            .await
            .expect("a step");
    }
    for table in ["queue", "results"] {
        let (all, hot): (i64, i64) = sqlx::query_as(
            "select n_tup_upd, n_tup_hot_upd from pg_stat_xact_user_tables where schemaname = 'wa' and relname = $1",
        )
        .bind(table)
        .fetch_one(&mut *transaction)
        .await
        .expect("the figures");
        assert!(all > 0, "{table}");
        assert_eq!(all, hot, "{table}");
    }
}
