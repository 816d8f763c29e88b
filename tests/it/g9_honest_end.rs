//! G9, an honest end: told to stop, a process begins nothing more, takes in every answer it is owed, gives its senders
//! back and exits with 0. Nothing is uncertain after a clean stop.

use std::time::Duration;

#[cfg(target_os = "linux")]
use tokio::process::Command;
use wa_outbox::cli::bench::cable::Cable;
use wa_outbox::simulator::{Fault, Statuses};

use crate::support::make::{ALICE, a_text};
use crate::support::wire::{Mishap, Wire};
use crate::support::world::{World, quick_settings};

/// Enough that a stop meets requests on their way.
const LOAD: usize = 200;

#[tokio::test]
async fn a_process_told_to_stop_ends_with_every_answer_recorded() {
    let mut config = slowed_settings();
    // The last answers are in memory for a while before they are written: an end in haste would lose them.
    config.worker.record_delay = Duration::from_secs(1);
    let world = World::at_rest_with(config).await;
    world
        .simulator
        .set_latency(Duration::from_millis(300), Duration::ZERO);
    world.simulator.set_statuses(Statuses::none());
    let process = world.start_process("told-to-stop").await;
    for number in 0..LOAD {
        world.enqueue(a_text().saying(&number.to_string())).await;
    }
    world.until_taken(30).await;

    process.ask_to_stop();
    let status = process.ended().await;

    assert_eq!(status.code(), Some(0));
    let accepted = world.simulator.ledger().accepted_count() as i64;
    assert!(accepted < LOAD as i64, "the stop came after the load");
    assert_eq!(world.count("wa.known_wamids").await, accepted);
    assert_eq!(world.count("wa.queue where state = 'sending'").await, 0);
    assert_eq!(world.count("wa.uncertain").await, 0);
    assert_eq!(
        world.count("wa.queue").await + accepted,
        LOAD as i64,
        "what was not sent is still queued"
    );
    assert_eq!(
        world.count("wa.leases where worker is not null").await,
        0,
        "the senders are given back"
    );
    assert_eq!(world.count("wa.workers").await, 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_whose_terminal_is_closed_takes_in_the_answers_that_it_is_owed() {
    let world = World::at_rest_with(slowed_settings()).await;
    world
        .simulator
        .set_latency(Duration::from_millis(300), Duration::ZERO);
    // Whoever runs the tests may have them outlive his own terminal, and that is handed down.
    let mut hears = Command::new("env");
    hears.args([
        "--default-signal=HUP",
        env!("CARGO_BIN_EXE_wa-outbox"),
        "run",
    ]);
    let process = world.spawn_by(hears, "in-a-terminal");
    world.enqueue(a_text()).await;
    world.until_asked(1).await;

    process.close_the_terminal();

    assert_eq!(process.ended().await.code(), Some(0));
    assert_eq!(world.count("wa.known_wamids").await, 1);
    assert_eq!(world.count("wa.uncertain").await, 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_that_was_started_to_outlive_its_terminal_goes_on_when_it_is_closed() {
    let world = World::at_rest_with(slowed_settings()).await;
    // What nohup does.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" run"]);
    shell.arg(env!("CARGO_BIN_EXE_wa-outbox"));
    let process = world.spawn_by(shell, "by-nohup");
    process.until_logged("Running: ").await;

    process.close_the_terminal();

    let message = world.enqueue(a_text()).await;
    world.until_state(message, "accepted").await;
    process.ask_to_stop();
    let why = process.until_logged("Stopping by").await;
    assert!(why.contains("SIGTERM"), "{why}");
    assert_eq!(process.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut config = slowed_settings();
    // Longer than anybody waits: only the second signal can end it.
    config.http.response_timeout = Duration::from_secs(600);
    config.worker.shutdown = Some(Duration::from_secs(600));
    config.reconcile.window = Duration::from_secs(600);
    let world = World::at_rest_with(config).await;
    world.simulator.fault_next(ALICE, Fault::Hang);
    let process = world.start_process("told-twice").await;
    world.enqueue(a_text()).await;
    world.until_asked(1).await;

    process.ask_to_stop();
    process.until_logged("waiting for the answers").await;
    process.ask_to_stop();
    process
        .until_logged("Ended at once by a second signal")
        .await;

    assert_eq!(process.ended().await.code(), Some(1));
}

#[tokio::test]
async fn a_process_that_joined_before_the_stop_goes_on_without_a_loss() {
    let world = World::at_rest_with(slowed_settings()).await;
    world.simulator.set_statuses(Statuses::none());
    world
        .simulator
        .set_latency(Duration::from_millis(50), Duration::ZERO);
    let leaving = world.start_process("leaving").await;
    world
        .until_true("the first process has the sender", async || {
            world.count("wa.leases where worker is not null").await == 1
        })
        .await;
    let staying = world.start_process("staying").await;
    for number in 0..LOAD {
        world.enqueue(a_text().saying(&number.to_string())).await;
    }
    world.until_taken(30).await;

    leaving.ask_to_stop();
    assert_eq!(leaving.ended().await.code(), Some(0));
    world.until_all_have_ended().await;

    assert_eq!(world.simulator.ledger().accepted_count(), LOAD as u64);
    assert_eq!(world.simulator.ledger().request_count(), LOAD as u64);
    assert_eq!(world.count("wa.known_wamids").await, LOAD as i64);
    staying.until_logged("Working sender").await;
    staying.ask_to_stop();
    assert_eq!(staying.ended().await.code(), Some(0));
}

/// Few requests at a time, so that a stop leaves something undone.
fn slowed_settings() -> wa_outbox::config::Config {
    let mut config = quick_settings();
    config.worker.max_in_flight = 20;
    config
}

#[tokio::test]
async fn what_was_begun_and_had_not_left_is_put_back_even_if_that_fails_twice() {
    let mut world = World::at_rest().await;
    let wire = Wire::to(&world.database.url);
    world.start_service_over(&wire).await;
    let begin = wire.set("The write-ahead intent", Mishap::AnswerLate);
    let put_back = "set state = 'queued', attempt = c";
    let first_try = wire.set(put_back, Mishap::SentLateByNobody);
    let second_try = wire.set(put_back, Mishap::SentLateByNobody);
    let message = world.enqueue(a_text()).await;
    begin.reached().await;

    let service = world.service.take().expect("it runs");
    let stopping = tokio::spawn(service.stop());
    begin.let_go().await;
    first_try.reached().await;
    second_try.reached().await;

    assert!(stopping.await.expect("it stops"), "it was no clean end");
    assert_eq!(world.state_of(message).await, "queued");
    assert_eq!(world.simulator.ledger().request_count(), 0);
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_while_its_database_is_silent_has_nothing_to_give_back() {
    let world = World::at_rest().await;
    let cable = Cable::to(&world.database.url).await.expect("a cable");
    cable.cut();
    let process = world.spawn_process("early", &cable.url());
    // From here on it waits for the database.
    process.until_logged("Starting").await;

    process.ask_to_stop();
    process.until_logged("before anything was started").await;
    assert_eq!(process.ended().await.code(), Some(0));
}
