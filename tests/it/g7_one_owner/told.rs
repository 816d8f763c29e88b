//! What WhatsApp said of a sender's speed holds for whoever works it next.

use std::time::Duration;

use wa_outbox::simulator::Fault;

use crate::support::make::{ALICE, BOB, a_text};
use crate::support::world::{SENDER, World, quick_settings};

/// Longer than any test, as `Retry-After` gives it.
const AN_HOUR: u32 = 3_600;

#[tokio::test]
async fn a_wait_that_was_asked_for_outlives_a_killed_process() {
    let world = World::at_rest().await;
    world
        .simulator
        .fault_next(ALICE, Fault::TooManyRequests(AN_HOUR));
    let killed = world.start_process("told to wait").await;
    world.enqueue(a_text()).await;
    world.until_silence_is_written().await;
    killed.kill().await;

    let next = world.start_process("next").await;
    world.enqueue(a_text().to(BOB)).await;

    world.until_owner_knows_of_the_silence().await;
    let rate = "wa.sender_runtime where rate_limit < 5000";
    assert_eq!(world.count(rate).await, 1, "nor is it as fast as before");
    assert_eq!(world.requests(), 1);
    next.ask_to_stop();
    assert!(next.ended().await.success());
}

#[tokio::test]
async fn a_wait_that_was_asked_for_while_a_process_stops_outlives_it() {
    let mut world = World::start().await;
    world
        .simulator
        .set_latency(Duration::from_millis(500), Duration::ZERO);
    world
        .simulator
        .fault_next(ALICE, Fault::TooManyRequests(AN_HOUR));
    world.enqueue(a_text()).await;
    world.simulator.ledger().wait_for_requests(1).await;

    assert!(world.stop_service().await);
    world.start_service().await;
    world.enqueue(a_text().to(BOB)).await;

    world.until_owner_knows_of_the_silence().await;
    assert_eq!(world.requests(), 1);
    assert!(world.stop_service().await);
}

#[tokio::test]
async fn a_person_ends_a_wait_that_was_asked_for_and_one_asked_for_afterwards_stands() {
    let mut world = World::start().await;
    let too_many = || Fault::TooManyRequests(AN_HOUR);
    world.simulator.fault_next(ALICE, too_many());
    let first = world.enqueue(a_text()).await;
    world.until_silence_is_written().await;
    world.until_owner_knows_of_the_silence().await;

    let released = [
        "sender",
        "release",
        SENDER,
        "--reason",
        "their gateway is well again",
    ];
    assert_eq!(
        world.says(&released).await,
        format!("Sender {SENDER} goes on.\n")
    );
    world.until_state(first, "accepted").await;

    world.simulator.fault_next(BOB, too_many());
    world.enqueue(a_text().to(BOB)).await;
    world.until_silence_is_written().await;
    // Read anew, with the release of before in the row.
    world
        .run_sql("update wa.senders set rate_per_second = rate_per_second - 1")
        .await;
    world.enqueue(a_text()).await;
    world.until_owner_knows_of_the_silence().await;
    assert_eq!(world.requests(), 3, "refused, sent, refused");
    assert!(world.stop_service().await);
}

#[tokio::test]
async fn nobody_waits_longer_than_was_asked_because_the_database_s_clock_was_set_back() {
    let mut world = World::at_rest_with(quick_settings()).await;
    // As it was asked for an hour later by that clock.
    world
        .run_sql(
            "update wa.leases set slowed_to = 2500, slowed_at = now() + interval '1 hour',
               silent_until = now() + interval '1 hour 2 seconds'",
        )
        .await;

    world.start_service().await;
    let message = world.enqueue(a_text()).await;

    world.until_state(message, "accepted").await;
    assert!(world.stop_service().await);
}

#[tokio::test]
async fn what_was_said_last_of_a_sender_s_speed_stands_and_no_silence_is_shortened() {
    use tokio::time::Instant;
    use wa_outbox::domain::id::SenderId;
    use wa_outbox::throttle::Slowed;

    let world = World::at_rest().await;
    let now = Instant::now();
    let said = async |to, ago: u64, silent_for: Option<u64>| {
        let slowed = Slowed {
            to,
            told_at: now - Duration::from_secs(ago),
            silent_until: silent_for.map(|wait| now + Duration::from_secs(wait)),
        };
        let said = [(SenderId::from(SENDER), slowed)];
        (world.store.say_slowed(&said, now).await).expect("it is written");
        let stands = sqlx::query_as(
            "select slowed_to, round(extract(epoch from now() - slowed_at) / 10)::int * 10,
               coalesce(round(extract(epoch from silent_until - now()) / 10)::int * 10, 0) from wa.leases",
        );
        let stands: (f64, i32, i32) =
            (stands.fetch_one(&world.database.pool).await).expect("what stands");
        stands
    };
    assert_eq!(said(40.0, 100, None).await, (40.0, 100, 0));
    assert_eq!(said(20.0, 50, Some(600)).await, (20.0, 50, 600));
    // Of before, but written late.
    assert_eq!(said(30.0, 80, Some(900)).await, (20.0, 50, 900));
    assert_eq!(said(10.0, 20, Some(300)).await, (10.0, 20, 900));
    // The database's clock is set back by an hour.
    world
        .run_sql("update wa.leases set slowed_at = slowed_at + interval '1 hour', silent_until = silent_until + interval '1 hour'")
        .await;
    assert_eq!(said(40.0, 0, Some(60)).await, (40.0, 0, 60));
}

impl World {
    async fn until_silence_is_written(&self) {
        self.until_true("the silence is written", async || {
            self.count("wa.leases where silent_until > now()").await == 1
        })
        .await;
    }

    /// Waits until who holds the sender now has said that it waits.
    async fn until_owner_knows_of_the_silence(&self) {
        self.until_true("the owner waits", async || {
            let waits = "wa.sender_runtime r join wa.leases l using (sender, worker, epoch) where r.slow_until > now()";
            self.count(waits).await == 1
        })
        .await;
    }
}
