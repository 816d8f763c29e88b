//! Ids that were handed out, lost, and handed out again.

use wa_outbox::simulator::Status;

use super::{EVIDENCE, KEPT, SILENT, a_world_on, begin_an_era, in_time, to};
use crate::support::cluster::{Address, Cluster};

/// G1: what WhatsApp tells of a message that was lost must not end another one, which has the same id now and was never sent.
#[tokio::test]
async fn a_status_of_a_lost_message_ends_no_message_that_has_its_id_now() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.start_service().await;
        let known = world.enqueue(to(EVIDENCE)).await;
        world.until_state(known, "accepted").await;
        world.pulse_has_seen(known).await;
        world.stop_service().await;
        let dump = primary.dump();
        world.start_service().await;
        let lost = world.enqueue(to(SILENT)).await;
        world.until_state(lost, "accepted").await;
        world.stop_service().await;

        let another = primary.another("another");
        another.sql(super::restored::ROLES).await;
        another.restore(&dump);
        // As if the dump were a minute old: the application is back before any worker.
        another
            .sql("update wa.pulse set at = at - interval '1 minute'")
            .await;
        world.moves_to(&another);
        let new = world.enqueue(to(KEPT)).await;
        assert_eq!(new, lost, "the id is drawn again");
        world.start_service().await;
        world.until_held_for_a_restore().await;
        world.is_told(SILENT, Status::Delivered).await;
        assert_eq!(world.state_of(new).await, "queued");
        assert!(world.enqueue(to(KEPT)).await.0 > lost.0 + 999_000);

        world
            .says(&["recover", "--yes", "--release", "--reason", "restored"])
            .await;
        world.is_told(SILENT, Status::Read).await;
        world.until_state(new, "accepted").await;
        let new_is_told = world.message(new).await.status;
        assert_eq!(new_is_told, None, "nothing was told of this one");
        world.until_all_have_ended().await;
        assert_eq!(
            [EVIDENCE, SILENT, KEPT].map(|one| world.taken_for(one)),
            [1, 1, 2]
        );
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

/// A worker lives through it with requests out: what it is answered is a fact about a message that is still known, and none about
/// one that has the id of another.
#[tokio::test]
async fn an_answer_of_before_counts_for_what_is_known_and_not_for_what_has_its_id() {
    in_time(async {
        let mut config = crate::support::world::quick_settings();
        config.http.response_timeout = std::time::Duration::from_secs(30);
        let primary = Cluster::start();
        let mut world = super::a_world_with(&primary, config).await;
        world.has_been_worked().await;
        let standby = primary.standby("standby");
        let known = world.enqueue(to(EVIDENCE)).await;
        primary.is_followed_by(&standby).await;
        standby.stops_following().await;
        // So that the standby draws the ids that are lost here.
        let lost = world.enqueue_all((0..40).map(|_| to(SILENT))).await;
        world
            .simulator
            .set_latency(std::time::Duration::from_secs(6), std::time::Duration::ZERO);
        let address = Address::of(&primary).await;
        world.start_service_by(&address.url).await;
        world.until_taken(41).await;

        primary.kill();
        standby.promote();
        world.moves_to(&standby);
        let new = world.enqueue(to(KEPT)).await;
        assert!(lost.contains(&new), "the id is drawn again");
        world
            .simulator
            .set_latency(std::time::Duration::ZERO, std::time::Duration::ZERO);
        address.leads_to(&standby);
        world.until_held_for_a_restore().await;
        world.until_state(known, "accepted").await;
        world.until_the_worker_sends_for_others().await;
        assert_eq!(world.state_of(new).await, "queued");
        assert_eq!(world.taken_for(KEPT), 0);
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

/// What the worker cannot know any more is not undone by its word either.
#[tokio::test]
async fn what_was_put_in_doubt_is_not_put_back_by_a_worker_of_before() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.has_been_worked().await;
        let message = world.enqueue(to(SILENT)).await;
        begin_an_era(&world).await;
        world
            .says(&["recover", "--yes", "--reason", "restored"])
            .await;
        assert_eq!(world.state_of(message).await, "uncertain");
        let put_back = format!(
            "select wa.put_back(array[{message}], array[1], array[1], array[0.0], array['later'])"
        );
        world.run_sql(&put_back).await;
        assert_eq!(world.state_of(message).await, "uncertain");
    })
    .await;
}
