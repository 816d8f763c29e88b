//! What a worker does for each message looks rows up by their keys, also where the planner believes that the tables are empty: a plan that
//! is made once and kept must be good for the ten millions that come afterwards.

use std::collections::BTreeMap;

use sqlx::{Connection as _, Executor as _, PgConnection};
use wa_outbox::store::sender::SenderChange;

use crate::support::make::a_text;
use crate::support::plan::{filled, plan_of};
use crate::support::world::{SENDER, World};

const MESSAGES: i64 = 10_000;
/// By then all that is done for a message has been done often enough for a plan that is kept.
const FEW: i64 = 20;
/// Of one table so many rows are read for a message at most, from its INSERT to its last status.
const READS: i64 = 40;
const HOT: &str = "('outbox', 'queue', 'results', 'acceptances', 'status_events')";
/// Messages that the books are told of in one statement.
const BATCH: i64 = 500;
/// Of one table they read at most so many rows for each of them.
const LOOKS: i64 = 3;

#[tokio::test]
async fn few_rows_are_read_for_a_message_although_there_were_next_to_none_when_the_plans_were_made()
{
    let mut world = World::at_rest().await;
    let fast = SenderChange {
        rate_per_second: Some(10_000.0),
        pair_period_ms: Some(0),
        max_in_flight: Some(500),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, fast).await;
    keep_statistics_as_they_are(&world).await;

    // Plans are made while there is next to nothing, and kept.
    world.start_service().await;
    for _ in 0..FEW {
        let alone = world.enqueue(a_text()).await;
        world.until_status(alone, "read").await;
    }
    write(&world, MESSAGES).await;
    // (Nobody asks the tables meanwhile.)
    world.until_taken((FEW + MESSAGES) as u64).await;
    world.until_webhooks_are_applied().await;
    world.stop_service().await;

    // A process tells what it did at the latest when it closes its connections.
    world
        .until_true("what was done is told", async || {
            let deleted = world.number("select n_tup_del from pg_stat_user_tables where schemaname = 'wa' and relname = 'queue'");
            deleted.await >= FEW + MESSAGES
        })
        .await;
    for (table, rows) in rows_read(&world).await {
        assert!(rows <= READS * MESSAGES, "{rows} rows of wa.{table}");
    }
}

#[tokio::test]
async fn the_books_look_up_each_message_of_many_although_there_were_few_when_they_made_their_plans()
{
    let world = World::at_rest().await;
    keep_statistics_as_they_are(&world).await;
    // A connection keeps its plans.
    let mut connection = world.database.pool.acquire().await.expect("a connection");
    let mut told = 0;
    let alone = std::iter::repeat_n((4, 1), FEW as usize);
    for (messages, batch) in alone.chain([(4 * BATCH, BATCH), (MESSAGES, BATCH)]) {
        write(&world, messages).await;
        world
            .run_sql(
                "update wa.queue set state = 'sending', attempt = 1, attempts = 1, epoch = 1, begun_at = now(), deadline = now()
                 where state = 'queued'",
            )
            .await;
        for news in [
            "insert into wa.acceptances (id, sender, wamid, attempt, learned_from) select n, s, 'wamid.' || n, 1, 'response'",
            "insert into wa.results (id, sender, state, attempts) select n, s, 'failed', 1",
            "insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
             select n, s, 5, false, 1, 1, 0, now(), now(), true, 'no answer came', 'evidence'",
            "select wa.learn_from_answers(array_agg('wamid.' || n), array_agg(s), array_agg(n::bigint), array_agg(1), array_agg(null::text),
               array_agg(null::text))",
        ] {
            let (first, last) = (told + 1, told + batch);
            told = last;
            let statement = format!(
                "{news} from generate_series({first}, {last}) n, (values ('{SENDER}')) of (s)"
            );
            for (table, rows) in rows_read_by(&mut connection, statement).await {
                assert!(rows <= LOOKS * BATCH, "{rows} rows of wa.{table}: {news}");
            }
        }
    }
    assert_eq!(world.count("wa.queue").await, MESSAGES - 4 * BATCH);
}

/// They keep their plans, too, and have sequential scans.
#[tokio::test]
async fn the_sessions_of_applications_read_no_whole_queue_by_plans_of_when_it_was_empty() {
    let world = World::at_rest().await;
    // Others than of the queue there are none, as where small tables are never analyzed.
    world
        .run_sql("alter table wa.queue set (autovacuum_enabled = false)")
        .await;
    world.run_sql("vacuum analyze wa.queue").await;
    let mut connection = world.database.pool.acquire().await.expect("a connection");
    let recipient = |n: i64| format!("+1650{}", 6_550_000 + n);
    let firsts = |from: i64, to: i64| {
        format!(
            r#"insert into wa.outbox (sender, recipient, sequence, payload)
               select '{SENDER}', '+1650' || (6550000 + n), 'story', '{{"type":"text","text":{{"body":"Hello"}}}}'
               from generate_series({from}, {to}) n"#
        )
    };
    let cancel = "select wa.cancel((select max(id) from wa.outbox))".to_owned();
    let verb = |verb: &str, n| {
        format!(
            "select wa.{verb}('{SENDER}', '{}', 'story', 'ada', 'a test')",
            recipient(n)
        )
    };
    // What is queued grows while the first plans are kept already.
    let many = firsts(FEW + BATCH + 1, FEW + 2 * BATCH);
    let rows = rows_read_by(&mut connection, many).await["queue"];
    assert!(rows <= LOOKS * BATCH, "{rows} rows for the first {BATCH}");
    world.run_sql("delete from wa.queue").await;
    world.run_sql("vacuum wa.queue").await;
    for n in 1..=FEW {
        for statement in [
            firsts(n, n),
            verb("skip_head", n),
            firsts(n, n),
            verb("cancel_sequence", n),
            firsts(n, n),
            cancel.clone(),
        ] {
            (connection.execute(sqlx::AssertSqlSafe(statement)).await).expect("it is done");
        }
    }
    write(&world, MESSAGES).await;
    for (statement, at_most) in [
        (firsts(FEW + 1, FEW + BATCH), LOOKS * BATCH),
        (verb("skip_head", FEW + 1), READS),
        (firsts(FEW + 1, FEW + 1), READS),
        (verb("cancel_sequence", FEW + 1), READS),
        (firsts(FEW + 1, FEW + 1), READS),
        (cancel, READS),
    ] {
        let rows = rows_read_by(&mut connection, statement.clone()).await["queue"];
        assert!(rows <= at_most, "{rows} rows: {statement}");
    }
}

/// Where another one could, a plan that was made for an empty table would use it, and would be kept when there are ten millions in it.
#[tokio::test]
async fn no_index_but_that_of_its_key_can_find_a_message() {
    let world = World::at_rest().await;
    let mut transaction = world.database.pool.begin().await.expect("it begins");
    // Whatever there is to choose from.
    for choice in [
        "set local enable_seqscan = off",
        "set local jit = off",
        "alter table wa.queue drop constraint queue_pkey",
        "alter table wa.outbox drop constraint outbox_pkey",
        "alter table wa.results drop constraint results_pkey",
    ] {
        (transaction.execute(choice).await).expect("the choice is narrowed");
    }
    let mut of_a_message = vec![
        filled(
            include_str!("../../src/store/sql/begin.sql"),
            &[
                "1", "'{1}'", "'{a}'", "'{1}'", "1", "1", "1", "false", "'50ms'",
            ],
        ),
        filled(
            include_str!("../../src/store/sql/end_suppressed.sql"),
            &["'{1}'::bigint[]"],
        ),
    ];
    for table in ["queue", "outbox", "results"] {
        for known in [
            "m.id = 1",
            "m.id = any ('{1, 2}')",
            "m.id = 1 and m.sender = 'a'",
            "m.sender = 'a'",
            "(m.id, m.sender) = any (select 1::bigint, 'a')",
        ] {
            of_a_message.push(format!("select from wa.{table} m where {known}"));
        }
    }
    for statement in of_a_message {
        let plan = plan_of(&mut *transaction, &statement).await;
        let scans = plan.lines().filter(|line| line.contains("Scan"));
        let mut of_messages = scans.filter(|line| {
            line.contains(" on queue")
                || line.contains(" on outbox")
                || line.contains(" on results")
        });
        assert!(
            of_messages.all(|line| line.contains("Seq Scan")),
            "{statement}: {plan}"
        );
    }

    let one = "select from wa.queue q where q.sender = 'a' and";
    let in_turn = [
        format!(
            "{one} q.campaign = 0 and q.priority = 5::smallint order by q.due_at, q.id limit 10"
        ),
        format!("{one} q.campaign >= 0 limit 1"),
        filled(
            include_str!("../../src/store/sql/read_ahead.sql"),
            &[
                "'{a}'", "'{0}'", "'{5}'", "'{now}'", "'{0}'", "'{10}'", "'{}'", "8192",
            ],
        ),
        filled(
            include_str!("../../src/store/sql/find_begun.sql"),
            &["'a'", "1", "0", "0::smallint", "now()", "0", "10"],
        ),
        filled(
            include_str!("../../src/store/sql/watched_senders.sql"),
            &["10000"],
        ),
    ];
    for statement in in_turn {
        let plan = plan_of(&mut *transaction, &statement).await;
        assert!(
            plan.contains("queue_in_turn") && !plan.contains("Seq Scan on queue"),
            "{statement}: {plan}"
        );
    }
}

#[tokio::test]
async fn news_are_matched_for_many_results_although_the_statistics_know_of_none() {
    let world = World::at_rest().await;
    let results_without_statistics = [
        "alter table wa.results disable trigger user",
        "alter table wa.results set (autovacuum_enabled = false)",
        "analyze wa.results",
        "insert into wa.results (id, sender, state, wamid, attempts)
         select n, 'a', 'accepted', 'wamid.' || n, 1 from generate_series(1, 5000) n",
    ];
    for statement in results_without_statistics {
        world.run_sql(statement).await;
    }
    let array = |of: fn(i64) -> String| {
        let each: Vec<String> = (1_001..=3_000).map(of).collect();
        format!("'{{{}}}'", each.join(","))
    };
    let (nothing, now) = (array(|_| "null".to_owned()), array(|_| "now".to_owned()));
    let news = filled(
        include_str!("../../src/store/sql/apply_news.sql"),
        &[
            &array(|id| id.to_string()),
            &array(|_| "a".to_owned()),
            &now,
            &nothing,
            &nothing,
            &nothing,
            &nothing,
            &nothing,
            &nothing,
        ],
    );
    let mut transaction = world.database.pool.begin().await.expect("it begins");
    (transaction.execute("set local enable_seqscan = off").await)
        .expect("as in a process that works");
    let plan = plan_of(&mut *transaction, &news).await;
    // A planner that takes it that one of them can have news begins with it, and compares each with all the news.
    let by_key = plan.contains("Index Cond: ((id = n");
    let mut scans = plan
        .lines()
        .filter(|line| line.contains(" on results r") && line.contains("Scan"));
    assert!(
        by_key || scans.all(|scan| !scan.contains("rows=1 ")),
        "{plan}"
    );
}

/// The planner goes on believing that the tables are empty.
async fn keep_statistics_as_they_are(world: &World) {
    world.run_sql("analyze").await;
    let tables = HOT.replace('(', "[").replace(')', "]");
    world
        .run_sql(&format!(
            "do $$ declare t text; begin
               foreach t in array array{tables} loop execute format('alter table wa.%I set (autovacuum_enabled = false)', t); end loop;
             end $$"
        ))
        .await;
}

async fn write(world: &World, messages: i64) {
    world
        .run_sql(&format!(
            r#"insert into wa.outbox (sender, recipient, payload)
               select '{SENDER}', '+1650' || (5550000 + n), '{{"type":"text","text":{{"body":"Hello"}}}}' from generate_series(1, {messages}) n"#
        ))
        .await;
}

/// What a statement, and all that it sets off, reads; by table.
async fn rows_read_by(connection: &mut PgConnection, statement: String) -> BTreeMap<String, i64> {
    let mut transaction = connection.begin().await.expect("it begins");
    let before = rows_read_so_far(&mut transaction).await;
    transaction
        .execute(sqlx::AssertSqlSafe(statement))
        .await
        .expect("it is written");
    let mut rows = rows_read_so_far(&mut transaction).await;
    transaction.commit().await.expect("it is done");
    rows.iter_mut()
        .for_each(|(table, rows)| *rows -= before[table]);
    rows
}

/// By this connection, as far as it has told nobody yet.
async fn rows_read_so_far(connection: &mut PgConnection) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select relname::text, seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables where schemaname = 'wa'",
    )
    .fetch_all(connection)
    .await
    .expect("the statistics are read");
    rows.into_iter().collect()
}

/// By table.
async fn rows_read(world: &World) -> Vec<(String, i64)> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select relname::text, seq_tup_read + idx_tup_fetch from pg_stat_user_tables where schemaname = 'wa' and relname in {HOT}"
    )))
    .fetch_all(&world.database.pool)
    .await
    .expect("the statistics are read")
}
