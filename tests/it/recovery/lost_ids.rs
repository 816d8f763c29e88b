//! Ids that were handed out, lost, and handed out again.

use wa_outbox::simulator::Status;

use super::{EVIDENCE, KEPT, OTHER, SILENT, a_world_on, begin_an_era, in_time, to};
use crate::support::cluster::{Address, Cluster};
use crate::support::world::World;

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
        world.until_others_are_held_too().await;
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

/// The next beat writes the pulse, as one two seconds later does.
async fn beats_again(world: &World) {
    world
        .run_sql("update wa.pulse set at = at - interval '1 minute'")
        .await;
    world.store.beat().await.expect("a beat");
}

async fn says_of_ids(world: &World) -> (String, String) {
    let output = world.command(&["doctor", "--json"]).await;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let ids = findings.iter().find(|one| one["check"] == "ids");
    let ids = ids.expect("a finding about ids");
    let word = |key: &str| ids[key].as_str().unwrap_or_default().to_owned();
    (word("standing"), word("words"))
}

#[tokio::test]
async fn a_sequence_of_ids_that_was_set_back_is_set_forward_by_the_next_beat_and_told() {
    let world = World::at_rest().await;
    world.add_sender(OTHER).await;
    let first = world.enqueue_all((0..5).map(|_| to(KEPT))).await;
    beats_again(&world).await;
    assert_eq!(says_of_ids(&world).await.0, "fine");
    world
        .run_sql("alter sequence wa.outbox_id_seq restart")
        .await;
    let mut draft = to(SILENT);
    draft.0.sender = Some(OTHER.to_owned());
    let doubled = world.enqueue(draft).await;
    assert_eq!(doubled, first[0], "the id is given twice");
    let (standing, words) = says_of_ids(&world).await;
    assert_eq!(standing, "broken", "{words}");

    beats_again(&world).await;
    assert!(world.enqueue(to(KEPT)).await.0 > first[4].0 + 99_999);
    let resets = world.store.id_resets(0).await.expect("a list");
    assert_eq!(resets.len(), 1);
    assert_eq!((resets[0].stood_at, resets[0].doubled), (doubled.0, 1));
    let (standing, words) = says_of_ids(&world).await;
    assert_eq!(standing, "note", "{words}");
    assert!(words.contains("some were"), "{words}");

    beats_again(&world).await;
    assert_eq!(world.store.id_resets(0).await.expect("a list").len(), 1);
}

#[tokio::test]
async fn a_sequence_of_ids_that_was_set_forward_stays_where_it_was_set() {
    let world = World::at_rest().await;
    world.enqueue(to(KEPT)).await;
    beats_again(&world).await;
    world
        .run_sql("alter sequence wa.outbox_id_seq restart with 5000000")
        .await;
    assert_eq!(says_of_ids(&world).await.0, "fine");
    beats_again(&world).await;
    assert_eq!(world.store.id_resets(0).await.expect("a list").len(), 0);
    assert_eq!(world.enqueue(to(KEPT)).await.0, 5_000_000);

    world
        .run_sql("alter sequence wa.outbox_id_seq restart with 9000000")
        .await;
    begin_an_era(&world).await;
    assert!(world.enqueue(to(KEPT)).await.0 > 9_999_999);
}

/// As after a switch by logical replication, which carries rows and no sequences.
#[tokio::test]
async fn a_new_era_begins_with_ids_above_all_that_are_there_wherever_the_sequences_stand() {
    let world = World::at_rest().await;
    world.store.beat().await.expect("a beat");
    world
        .run_sql("select setval('wa.outbox_id_seq', 5000000)")
        .await;
    world.enqueue(to(KEPT)).await;
    for statement in [
        "alter sequence wa.outbox_id_seq restart",
        "insert into wa.webhook_inbox (id, body, state) overriding system value values (700, 'told', 'stored')",
        "alter sequence wa.webhook_inbox_id_seq restart",
    ] {
        world.run_sql(statement).await;
    }
    begin_an_era(&world).await;
    assert!(world.enqueue(to(KEPT)).await.0 > 6_000_000);
    let stored = world.store.store_deliveries(&["told again"]).await;
    stored.expect("it is stored");
    assert_eq!(world.count("wa.webhook_inbox where id > 700").await, 1);
}
