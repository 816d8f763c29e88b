//! What was applied makes nothing that follows dearer, and nothing is written that was written before.

use sqlx::{Connection as _, Executor as _, PgConnection};
use wa_outbox::store::{ConnectSettings, Store};

use crate::support::make::an_applier;
use crate::support::world::World;

const DELIVERIES: i64 = 3_000;
/// A look takes so many.
const BATCH: u32 = 10;
/// Rows of the index that are read for a delivery at most. From the front each time it would be half of all.
const READS: i64 = 30;

#[tokio::test]
async fn g8_deliveries_are_applied_as_cheaply_while_a_transaction_is_held_open() {
    let world = World::at_rest().await;
    let mut old = PgConnection::connect(&world.database.url)
        .await
        .expect("it answers");
    for holding in [
        "begin isolation level repeatable read",
        "select from wa.senders",
    ] {
        old.execute(holding).await.expect("a snapshot is held");
    }
    world
        .run_sql(&format!(
            "with kept as (
               insert into wa.webhook_inbox (body, state) select '{{}}', 'stored' from generate_series(1, {DELIVERIES}) returning id
             )
             insert into wa.webhook_pending (received_at, deliveries)
             select now() - interval '1 day' + id * interval '1 second', array[id] from kept"
        ))
        .await;

    let store = Store::connect(&ConnectSettings::new(world.database.url.clone()))
        .await
        .expect("it connects");
    let mut applier = an_applier(&store, BATCH).await;
    let mut applied = 0;
    loop {
        match applier.run_once().await.expect("they are applied") {
            report if report.deliveries == 0 && !report.more_may_wait => break,
            report => applied += report.deliveries as i64,
        }
    }
    assert_eq!(applied, DELIVERIES);

    // A connection tells what it has read when it ends at the latest.
    store.close().await;
    world
        .until_true("what was read is told", async || {
            world
                .number(
                    "select n_tup_del from pg_stat_user_tables where relname = 'webhook_pending'",
                )
                .await
                == DELIVERIES
        })
        .await;
    let read = world
        .number("select idx_tup_read from pg_stat_user_indexes where indexrelname = 'webhook_pending_pkey'")
        .await;
    assert!(read <= READS * DELIVERIES, "{read} for {DELIVERIES}");
    let rewritten = world
        .number("select n_tup_upd from pg_stat_user_tables where relname = 'webhook_inbox'")
        .await;
    assert_eq!(rewritten, 0);
}
