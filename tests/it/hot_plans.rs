//! What a worker does for each message looks rows up by their keys, also where the planner believes that the tables are empty: a plan that
//! is made once and kept must be good for the ten millions that come afterwards.

use wa_outbox::store::sender::SenderChange;

use crate::support::world::{SENDER, World};

const MESSAGES: i64 = 20_000;
/// By then all that is done for a message has been done often enough for a plan that is kept.
const ENOUGH: u64 = 3_000;
const HOT: &str = "('outbox', 'queue', 'results', 'acceptances', 'status_events')";

#[tokio::test]
async fn no_table_of_messages_is_read_from_end_to_end_however_old_the_statistics_are() {
    let mut world = World::at_rest().await;
    let fast = SenderChange {
        rate_per_second: Some(10_000.0),
        pair_period_ms: Some(0),
        max_in_flight: Some(500),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, fast).await;
    for statement in [
        "analyze".to_owned(),
        format!(
            "do $$ declare t text; begin
               foreach t in array array{} loop execute format('alter table wa.%I set (autovacuum_enabled = false)', t); end loop;
             end $$",
            HOT.replace('(', "[").replace(')', "]")
        ),
        format!(
            r#"insert into wa.outbox (sender, recipient, payload)
               select '{SENDER}', '+1650' || (5550000 + n), '{{"type":"text","text":{{"body":"Hello"}}}}' from generate_series(1, {MESSAGES}) n"#
        ),
    ] {
        world.run_sql(&statement).await;
    }
    let before = rows_read_in_sequence(&world).await;

    world.start_service().await;
    world.until_taken(ENOUGH).await;
    world.stop_service().await;

    // A process tells what it did at the latest when it closes its connections.
    world
        .until_true("what was done is told", async || {
            let deleted = world.number("select n_tup_del from pg_stat_user_tables where schemaname = 'wa' and relname = 'queue'");
            deleted.await >= ENOUGH as i64
        })
        .await;
    assert_eq!(rows_read_in_sequence(&world).await, before);
}

/// By table.
async fn rows_read_in_sequence(world: &World) -> Vec<(String, i64)> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select relname::text, seq_tup_read from pg_stat_user_tables where schemaname = 'wa' and relname in {HOT} order by 1"
    )))
    .fetch_all(&world.database.pool)
    .await
    .expect("the statistics are read")
}
