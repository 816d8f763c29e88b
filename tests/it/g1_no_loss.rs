//! G1, no loss: whatever is killed, cut off or frozen, and whenever, every message ends in exactly one state, and none is
//! taken by WhatsApp twice.

use std::time::Duration;

use wa_outbox::config::Config;
use wa_outbox::domain::id::{AttemptNumber, SenderId};
use wa_outbox::message::OnUncertain;
use wa_outbox::simulator::{Fault, Status, Statuses};
use wa_outbox::store::sweep::BegunBefore;

use crate::support::books::attempt_of;
use crate::support::make::{ALICE, Draft, a_text};
use crate::support::wire::{BEGIN, Mishap, Wire};
use crate::support::world::{SENDER, World, quick_settings};

/// How long the end of a worker may take to be got over: its lease, the deadline of its requests, the evidence clock.
const RECOVERY: Duration = Duration::from_secs(90);

/// Few requests at a time, so that a load lasts through what is done to it.
fn slowed_settings() -> Config {
    let mut config = quick_settings();
    config.worker.max_in_flight = 20;
    // The request of one message may be met by every mishap; with fewer it would be left to a person, and rightly.
    config.reconcile.max_resends = 20;
    config
}

async fn a_slow_world(config: Config) -> World {
    let world = World::at_rest_with(config).await;
    world
        .simulator
        .set_latency(Duration::from_millis(20), Duration::from_millis(30));
    world
}

fn numbered(count: u64) -> impl Iterator<Item = Draft> {
    (0..count).map(|number| a_text().saying(&number.to_string()))
}

#[tokio::test]
async fn a_worker_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    const KILLS: u64 = 6;
    const EACH: u64 = 60;
    let world = a_slow_world(slowed_settings()).await;
    let mut written = Vec::new();
    let mut met = 0;
    for kill in 0..KILLS {
        written.extend(world.enqueue_all(numbered(EACH)).await);
        let victim = world.start_process(&format!("victim-{kill}")).await;
        // Counted at the moment of an acceptance, before its answer: requests are on their way when it dies.
        let moment = kill * EACH + fastrand::u64(5..40);
        world.until_taken(moment).await;
        victim.kill().await;
        met += world.count("wa.queue where state = 'sending'").await;
    }
    assert!(met > 0, "no kill met anything on its way");

    let _survivor = world.start_process("survivor").await;
    world.until_all_have_ended_within(RECOVERY).await;

    world.assert_each_was_accepted_once(&written).await;
    let told = "wa.known_wamids where learned_from = 'webhook'";
    assert!(
        world.count(told).await > 0,
        "every answer survived its worker"
    );
}

#[tokio::test]
async fn a_request_whose_worker_died_is_uncertain_until_a_webhook_tells() {
    let world = World::at_rest_with(quick_settings()).await;
    world.simulator.set_statuses(Statuses::none());
    world.simulator.fault_next(ALICE, Fault::AcceptThenHang);
    let victim = world.start_process("victim").await;
    let message = world
        .enqueue(a_text().on_uncertain(OnUncertain::Hold))
        .await;
    world.until_taken(1).await;
    victim.kill().await;
    assert_eq!(world.state_of(message).await, "sending");

    let _survivor = world.start_process("survivor").await;
    world.until_state(message, "uncertain").await;
    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    world
        .simulator
        .tell(entry.wamid().expect("an id"), Status::Delivered)
        .await
        .expect("told");

    world.until_status(message, "delivered").await;
    world.assert_each_was_accepted_once(&[message]).await;
    assert_eq!(world.simulator.ledger().request_count(), 1);
}

#[tokio::test]
async fn a_request_whose_worker_died_before_it_was_taken_is_made_once_more() {
    let world = World::at_rest_with(quick_settings()).await;
    world.simulator.fault_next(ALICE, Fault::Hang);
    let victim = world.start_process("victim").await;
    let message = world.enqueue(a_text()).await;
    world.until_asked(1).await;
    victim.kill().await;

    let _survivor = world.start_process("survivor").await;
    world.until_state(message, "accepted").await;

    world.assert_each_was_accepted_once(&[message]).await;
    assert_eq!(world.simulator.ledger().request_count(), 2);
    assert_eq!(
        world.count("wa.attempts where outcome = 'uncertain'").await,
        1
    );
}

#[tokio::test]
async fn a_database_that_drops_every_connection_again_and_again_costs_nothing() {
    const CUTS: u64 = 12;
    const EACH: u64 = 40;
    let mut world = a_slow_world(slowed_settings()).await;
    world.start_service().await;
    let mut written = Vec::new();
    for cut in 0..CUTS {
        written.extend(world.enqueue_all(numbered(EACH)).await);
        let moment = cut * EACH + fastrand::u64(5..40);
        world.until_asked(moment).await;
        let cut = "(select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and application_name = 'wa-outbox') as cut";
        assert!(world.count(cut).await > 0, "there was nothing to cut");
    }

    world.until_all_have_ended_within(RECOVERY).await;
    world.assert_each_was_accepted_once(&written).await;
}

#[tokio::test]
async fn a_begin_whose_answer_is_lost_leaves_its_message_queued() {
    let mut world = World::at_rest().await;
    let wire = Wire::to(&world.database.url);
    world.start_service_over(&wire).await;
    let first = wire.set(BEGIN, Mishap::AnswerLost);
    let second = wire.set(BEGIN, Mishap::AnswerLost);

    let message = world.enqueue(a_text()).await;

    first.over().await;
    second.over().await;
    let message = world.until_state(message, "accepted").await;
    assert_eq!(message.attempts, 1, "what never left cost an attempt");
    assert_eq!(world.simulator.ledger().request_count(), 1);
}

#[tokio::test]
async fn a_begin_that_arrives_when_nobody_waits_for_it_any_more_strands_nothing() {
    let mut world = World::at_rest().await;
    let wire = Wire::to(&world.database.url);
    world.start_service_over(&wire).await;
    let forgotten = wire.set(BEGIN, Mishap::SentLateByNobody);
    let next = wire.set(BEGIN, Mishap::SentLate);
    let message = world.enqueue(a_text()).await;

    // The first has been taken back, as far as its sender could, before the second is tried; then it arrives after all.
    next.reached().await;
    forgotten.let_go().await;
    next.let_go().await;
    assert_eq!(world.state_of(message).await, "sending");
    assert_eq!(world.simulator.ledger().request_count(), 0);

    world.until_state(message, "accepted").await;
    assert_eq!(world.simulator.ledger().request_count(), 1);
}

#[tokio::test]
async fn a_put_back_that_arrives_late_does_not_take_back_the_next_attempt() {
    a_late_put_back_of(Mishap::AnswerLost).await;
}

#[tokio::test]
async fn a_put_back_of_what_was_never_begun_that_arrives_late_does_not_take_back_the_next_attempt()
{
    a_late_put_back_of(Mishap::SentLateByNobody).await;
}

/// The begin of the first request meets this, and its put-back arrives when the second request is out.
async fn a_late_put_back_of(lost: Mishap) {
    let mut config = quick_settings();
    // The second request is still out when the first is put back.
    config.http.response_timeout = Duration::from_secs(20);
    config.reconcile.window = Duration::from_secs(20);
    let mut world = World::at_rest_with(config).await;
    world.simulator.set_statuses(Statuses::none());
    world.simulator.fault_next(ALICE, Fault::AcceptThenHang);
    let wire = Wire::to(&world.database.url);
    world.start_service_over(&wire).await;
    let begin = wire.set(BEGIN, lost);
    let put_back = wire.set(
        "set state = 'queued', attempt = c",
        Mishap::SentLateByNobody,
    );
    let message = world.enqueue(a_text()).await;
    begin.reached().await;
    put_back.reached().await;
    world.until_taken(1).await;

    put_back.let_go().await;

    let out = "wa.queue where state = 'sending' and attempt = 2";
    assert_eq!(world.count(out).await, 1, "it would be sent again");
    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    let wamid = entry.wamid().expect("an id");
    let told = world.simulator.tell(wamid, Status::Delivered).await;
    assert_eq!(told.expect("told"), 200);
    world.until_status(message, "delivered").await;
    assert_eq!(world.simulator.ledger().request_count(), 1);
}

#[tokio::test]
async fn a_record_whose_answer_is_lost_is_written_again() {
    let mut world = World::at_rest().await;
    world.simulator.set_statuses(Statuses::none());
    let wire = Wire::to(&world.database.url);
    world.start_service_over(&wire).await;
    let undone = wire.set("wa.learn_from_answers", Mishap::AnswerLost);

    let first = world.enqueue(a_text()).await;
    undone.over().await;
    world.until_state(first, "accepted").await;
    // Now the whole record is done, and only nobody is told so.
    let done = wire.set("COMMIT", Mishap::AnswerLost);
    let second = world.enqueue(a_text()).await;
    done.over().await;
    world.until_state(second, "accepted").await;
    assert!(world.stop_service().await, "the record was written");

    world.assert_each_was_accepted_once(&[first, second]).await;
    assert_eq!(world.simulator.ledger().request_count(), 2);
}

#[tokio::test]
async fn an_answer_recorded_after_the_sweep_still_ends_its_message() {
    let mut world = World::at_rest().await;
    world.simulator.set_statuses(Statuses::none());
    let wire = Wire::to(&world.database.url);
    world.start_service_over(&wire).await;
    let record = wire.set("wa.learn_from_answers", Mishap::SentLate);
    let message = world
        .enqueue(a_text().on_uncertain(OnUncertain::Hold))
        .await;
    record.reached().await;

    // What the next holder of the sender does once the deadline has passed.
    world
        .run_sql("update wa.queue set deadline = now() - interval '1 second'")
        .await;
    let begun = BegunBefore {
        id: message,
        sender: SenderId::from(SENDER),
        attempt: AttemptNumber(1),
    };
    let swept = world.store.sweep([&begun]).await;
    assert_eq!(swept.expect("it sweeps").uncertain, [begun]);
    assert_eq!(world.state_of(message).await, "uncertain");
    record.let_go().await;

    world.until_state(message, "accepted").await;
    let from_answer = "wa.known_wamids where learned_from = 'response'";
    assert_eq!(world.count(from_answer).await, 1);
    assert_eq!(world.simulator.ledger().request_count(), 1);
}

#[tokio::test]
async fn a_worker_that_was_frozen_past_its_lease_sends_nothing_late_and_still_records_its_answers()
{
    const LOAD: u64 = 100;
    let mut config = slowed_settings();
    // Longer than the freeze: what came meanwhile is an answer, and not one that was given up.
    config.http.response_timeout = Duration::from_secs(60);
    config.worker.shutdown = Some(Duration::from_secs(60));
    config.reconcile.window = Duration::from_secs(60);
    let world = World::at_rest_with(config).await;
    world.simulator.set_statuses(Statuses::none());
    world
        .simulator
        .set_latency(Duration::from_millis(300), Duration::ZERO);
    let frozen = world.start_process("frozen").await;
    let written = world.enqueue_all(numbered(LOAD)).await;
    world.until_asked(25).await;

    frozen.freeze();
    let heir = world.start_process("heir").await;
    heir.until_logged("Working sender").await;
    world
        .until_true(
            "only what the frozen worker had begun is left",
            async || {
                world
                    .count("wa.queue where state = 'queued' or epoch > 1")
                    .await
                    == 0
            },
        )
        .await;
    assert!(world.count("wa.queue").await > 0, "it was owed no answer");
    let before = world.simulator.ledger().request_count();
    frozen.thaw();

    world.until_all_have_ended_within(RECOVERY).await;
    world.assert_each_was_accepted_once(&written).await;
    assert_eq!(world.simulator.ledger().request_count(), LOAD);
    // What it had begun and not sent goes back into the queue, and the heir begins it anew. Only what a thread had looked at for
    // the last time and not yet written, at the moment of the freeze, is beyond any check of ours.
    let late = world.simulator.ledger().since(before, LOAD as usize);
    let sent_on_waking = late.iter().filter(|one| attempt_of(one) == 1).count();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(
        sent_on_waking <= threads,
        "the frozen worker sent {sent_on_waking} when it woke"
    );
    let from_answer = "wa.known_wamids where learned_from = 'response'";
    assert_eq!(world.count(from_answer).await, LOAD as i64);
    // Awake, it takes part again.
    frozen.ask_to_stop();
    assert_eq!(frozen.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_was_begun_under_a_lease_that_has_lapsed_does_not_leave_under_the_next() {
    let mut world = World::at_rest().await;
    let wire = Wire::to(&world.database.url);
    world.start_service_over(&wire).await;
    world
        .until_true("it has the sender", async || {
            world.count("wa.leases where epoch = 1").await == 1
        })
        .await;
    let begin = wire.set(BEGIN, Mishap::AnswerLate);
    let message = world.enqueue(a_text()).await;
    begin.reached().await;

    // It cannot renew until its lease has been taken. Then it can again, and only after that it learns of its begin.
    let mut locked = world.database.pool.begin().await.expect("a transaction");
    let first: i64 = sqlx::query_scalar(
        "select worker from wa.workers where worker = (select worker from wa.leases) for update",
    )
    .fetch_one(&mut *locked)
    .await
    .expect("its row is locked");
    let heir = world.another_service().await;
    world
        .until_true("the heir has the sender", async || {
            world.count("wa.leases where epoch = 2").await == 1
        })
        .await;
    locked.rollback().await.expect("its row is free again");
    // Whoever renews again has taken in that the renewal before it was good.
    for _ in 0..2 {
        let now: String = sqlx::query_scalar("select clock_timestamp()::text")
            .fetch_one(&world.database.pool)
            .await
            .expect("the time");
        let renewed = format!("wa.workers where worker = {first} and renewed_at > '{now}'");
        world
            .until_true("it has renewed", async || world.count(&renewed).await == 1)
            .await;
    }
    begin.let_go().await;

    world.until_state(message, "accepted").await;
    let sent = world.simulator.ledger().all();
    assert_eq!(sent.len(), 1);
    assert_eq!(attempt_of(&sent[0]), 2, "the first attempt left after all");
    heir.stop().await;
}
