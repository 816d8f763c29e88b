//! An earlier copy of the files, put in place without a promotion: server and timeline are the same.

use wa_outbox::simulator::Status;

use super::{EVIDENCE, SILENT, a_world_on, in_time, to};
use crate::support::cluster::{Address, Cluster};
use crate::support::world::SENDER;

#[tokio::test]
async fn a_worker_that_lives_through_it_remembers_what_it_has_seen() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.has_been_worked().await;
        let evident = world.enqueue(to(EVIDENCE)).await;
        primary.kill();
        let copy = primary.snapshot("copy");
        primary.go();
        world.moves_to(&primary);
        let address = Address::of(&primary).await;
        world.start_service_by(&address.url).await;
        world.until_state(evident, "accepted").await;
        world.pulse_goes_on().await;
        world.pulse_goes_on().await;

        primary.kill();
        primary.is_replaced_by(&copy);
        primary.go();
        world.moves_to(&primary);
        let reason = world.until_held_for_a_restore().await;
        assert!(reason.contains("an earlier copy"), "{reason}");
        world.until_others_are_held_too().await;
        assert_eq!(world.state_of(evident).await, "queued");
        world
            .says(&["recover", "--yes", "--release", "--reason", "a snapshot"])
            .await;
        world.is_told(EVIDENCE, Status::Delivered).await;
        assert_eq!(world.state_of(evident).await, "accepted");
        assert_eq!(world.taken_for(EVIDENCE), 1);
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

#[tokio::test]
async fn where_no_process_has_lived_through_it_the_first_webhook_about_what_it_forgot_tells() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.has_been_worked().await;
        let evident = world.enqueue(to(EVIDENCE)).await;
        let silent = world.enqueue(to(SILENT)).await;
        primary.kill();
        let copy = primary.snapshot("copy");
        primary.go();
        world.moves_to(&primary);
        world.start_service().await;
        world.until_state(evident, "accepted").await;
        world.until_state(silent, "accepted").await;
        world.stop_service().await;

        primary.kill();
        primary.is_replaced_by(&copy);
        primary.go();
        world.moves_to(&primary);
        // Nothing tells it from a night without a worker; a careful person lets nothing leave at first.
        world
            .says(&["sender", "hold", SENDER, "--reason", "restored?"])
            .await;
        world.start_service().await;
        world.is_told(EVIDENCE, Status::Delivered).await;
        assert_eq!(world.state_of(evident).await, "accepted");
        let reason = world.until_held_for_a_restore().await;
        assert!(reason.contains("a webhook tells"), "{reason}");
        world
            .says(&[
                "recover",
                "--yes",
                "--release",
                "--hold",
                "--reason",
                "a snapshot",
            ])
            .await;
        world.says(&["sender", "release", SENDER]).await;
        world.until_the_worker_sends_for_others().await;
        assert_eq!(world.state_of(silent).await, "uncertain");
        assert_eq!([EVIDENCE, SILENT].map(|one| world.taken_for(one)), [1, 1]);
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}
