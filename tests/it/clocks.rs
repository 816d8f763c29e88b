//! Clocks of several machines: what is due, held and overdue is so by the database's, whatever a worker's own says.

use std::path::Path;

use wa_outbox::store::sender::SenderChange;

use crate::support::callbacks::get;
use crate::support::make::{BOB, a_text};
use crate::support::scrape::Scrape;
use crate::support::world::{SENDER, World};

const HELD: &str = "200000000000001";
/// Where Debian and its kin (by architecture), Fedora and Homebrew put it.
const LIBFAKETIME: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
];

#[tokio::test]
async fn a_worker_whose_clock_is_two_hours_ahead_keeps_holds_expiries_and_pair_limits_by_the_database_s()
 {
    let Some(library) = LIBFAKETIME
        .into_iter()
        .find(|path| Path::new(path).exists())
    else {
        eprintln!("not tried: libfaketime is not installed");
        return;
    };
    let world = World::at_rest().await;
    world.add_sender(HELD).await;
    let slow = SenderChange {
        pair_period_ms: Some(3_600_000),
        pair_burst: Some(1),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, slow).await;
    world
        .run_sql(&format!(
            "update wa.senders set held_reason = 'an hour of rest', held_by = 'ada', held_cause = 'operator', held_at = now(),
               held_until = now() + interval '1 hour' where sender = '{HELD}'"
        ))
        .await;
    let mut of_held = a_text();
    of_held.0.sender = Some(HELD.to_owned());
    let kept_back = world.enqueue(of_held).await;

    let ahead = [
        ("LD_PRELOAD", library),
        ("FAKETIME", "+7200s"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let worker = world.spawn_process_with("ahead", &world.database.url, &ahead);

    let mut soon_overdue = a_text().to(BOB);
    soon_overdue.0.expires_at = Some(world.in_an_hour().await);
    let soon_overdue = world.enqueue(soon_overdue).await;
    world.until_state(soon_overdue, "accepted").await;
    let said = worker.until_logged("(admin.listen)").await;
    let address = said.split_whitespace().find(|word| word.contains(':'));
    let metrics = get(format!("http://{}/metrics", address.expect("an address"))).await;
    let waited = Scrape(metrics.body).of("wa_outbox_due_to_request_seconds_sum");
    assert!(
        waited.is_some_and(|seconds| seconds < 3_600.0),
        "{waited:?}"
    );

    let second = world.enqueue(a_text().to(BOB)).await;
    world
        .until_true("the second one is put off", async || {
            world
                .count("wa.queue where waiting_for like 'this recipient%'")
                .await
                == 1
        })
        .await;
    let put_off = world.message(second).await.due_at;
    let in_an_hour = world.in_an_hour().await;
    assert!(
        put_off <= in_an_hour,
        "{put_off}, and it is {in_an_hour} in an hour"
    );
    assert_eq!(world.state_of(kept_back).await, "queued");
    worker.ask_to_stop();
    assert!(worker.ended().await.success());
}

impl World {
    async fn in_an_hour(&self) -> time::OffsetDateTime {
        sqlx::query_scalar("select now() + interval '1 hour'")
            .fetch_one(&self.database.pool)
            .await
            .expect("the time")
    }
}
