//! What policy does with a lost answer of which nothing is heard, and when.

use std::collections::BTreeSet;

use wa_outbox::message::OnUncertain;
use wa_outbox::service::{Role, Service};
use wa_outbox::simulator::Fault;
use wa_outbox::store::sender::SenderChange;
use wa_outbox::store::uncertain::Settled;
use wa_outbox::store::{ConnectSettings, Store};

use super::{
    a_lost_one, a_lost_one_to, a_world_with_a_window_of, another_message_gets_through,
    listening_for, one_look, requests, requests_to, resends, run, silent_for, unanswered_for,
    until_it_waits_for,
};
use crate::support::make::{ALICE, BOB, a_text};
use crate::support::world::{SENDER, World};

#[tokio::test]
async fn what_was_not_accepted_and_stays_silent_is_sent_again_once() {
    let world = World::start().await;
    let mut messages = Vec::new();
    for (at, fault) in [
        Fault::CloseAfterReading,
        Fault::Hang,
        Fault::GatewayPage,
        Fault::ServerError,
        Fault::RequestTimeout,
        Fault::Error(131000),
    ]
    .into_iter()
    .enumerate()
    {
        let recipient = format!("+1650555200{at}");
        world.simulator.fault_always(&recipient, Some(fault));
        let id = a_lost_one_to(&world, &recipient, fault).await;
        assert_eq!(requests_to(&world, &recipient), 1, "{fault}");
        assert_eq!(resends(&world, id).await, 0, "{fault}");
        messages.push((id, recipient, fault));
    }

    for (id, ..) in &messages {
        silent_for(&world, *id, 60).await;
    }
    for (id, recipient, fault) in &messages {
        world
            .until(*id, "uncertain again", |message| {
                message.state == "uncertain" && message.attempts == 2
            })
            .await;
        assert_eq!(requests_to(&world, recipient), 2, "{fault}");
        assert_eq!(resends(&world, *id).await, 1, "{fault}");
    }

    for (id, ..) in &messages {
        silent_for(&world, *id, 60).await;
    }
    for (id, recipient, fault) in &messages {
        until_it_waits_for(&world, *id, "a person: it was sent again already").await;
        assert_eq!(world.state_of(*id).await, "uncertain", "{fault}");
        assert_eq!(requests_to(&world, recipient), 2, "{fault}");
    }
    assert_eq!(one_look(&world).await, Settled::default());
}

#[tokio::test]
async fn the_resend_is_accepted_and_counts_as_the_second_attempt() {
    let world = World::start().await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    world.simulator.clear_faults();

    silent_for(&world, id, 60).await;

    let message = world.until_status(id, "read").await;
    assert_eq!(
        (message.state.as_str(), message.attempts, message.duplicate),
        ("accepted", 2, None)
    );
    assert_eq!(
        (
            requests(&world),
            world.simulator.ledger().accepted_for(ALICE).len()
        ),
        (2, 1)
    );
}

#[tokio::test]
async fn with_the_policy_hold_a_lost_answer_is_left_to_a_person() {
    let world = World::start().await;
    world.simulator.fault_next(ALICE, Fault::CloseAfterReading);
    let by_message = world
        .enqueue(a_text().on_uncertain(OnUncertain::Hold))
        .await;
    world.until_state(by_message, "uncertain").await;
    let hold = SenderChange {
        on_uncertain: Some("hold".to_owned()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, hold).await;
    let by_sender = a_lost_one(&world, Fault::CloseAfterReading).await;

    for id in [by_message, by_sender] {
        silent_for(&world, id, 86_400).await;
        until_it_waits_for(&world, id, "a person: its policy is hold").await;
    }
    assert_eq!(one_look(&world).await, Settled::default());
    let listed = world.store.uncertain(10).await.expect("the list");
    assert!(listed.len() == 2 && listed.iter().all(|message| message.needs_person));
    assert_eq!(requests(&world), 2);
}

#[tokio::test]
async fn a_message_may_be_sent_again_although_its_sender_holds() {
    let world = World::start().await;
    let hold = SenderChange {
        on_uncertain: Some("hold".to_owned()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, hold).await;
    world.simulator.fault_next(ALICE, Fault::CloseAfterReading);
    let id = world
        .enqueue(a_text().on_uncertain(OnUncertain::Retry))
        .await;
    world.until_state(id, "uncertain").await;

    silent_for(&world, id, 60).await;

    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

#[tokio::test]
async fn an_answer_that_says_yes_and_cannot_be_read_is_never_sent_again_by_policy() {
    let world = World::start().await;
    run(&world, "update wa.senders set on_uncertain = 'retry'").await;
    for (at, fault) in [
        Fault::AcceptThenAnswerHtml,
        Fault::AcceptThenAnswerWithoutId,
        Fault::AcceptThenTruncateAnswer,
    ]
    .into_iter()
    .enumerate()
    {
        let recipient = format!("+1650555300{at}");
        let id = a_lost_one_to(&world, &recipient, fault).await;

        silent_for(&world, id, 86_400).await;

        until_it_waits_for(&world, id, "a person: WhatsApp most likely has it").await;
        assert_eq!(one_look(&world).await, Settled::default(), "{fault}");
        assert_eq!(requests_to(&world, &recipient), 1, "{fault}");
    }
}

#[tokio::test]
async fn silence_does_not_count_before_the_window_has_passed() {
    let world = a_world_with_a_window_of(3_600).await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;

    silent_for(&world, id, 3_000).await;
    assert_eq!(one_look(&world).await, Settled::default());
    assert_eq!(world.state_of(id).await, "uncertain");

    silent_for(&world, id, 3_601).await;
    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

/// Starts a process that sends and receives nothing: nobody applies what is in the inbox either.
async fn start_a_sender_only(world: &mut World) {
    let settings = ConnectSettings::new(world.database.url.clone());
    let store = Store::connect(&settings)
        .await
        .expect("the database answers");
    let roles = BTreeSet::from([Role::Worker]);
    let service = Service::start(store, &world.config, &world.env, &roles).await;
    world.service = Some(service.expect("the service starts"));
}

#[tokio::test]
async fn silence_does_not_count_while_a_delivery_of_its_time_waits_to_be_applied() {
    let mut world = World::at_rest().await;
    start_a_sender_only(&mut world).await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    world.deliveries_wait(&["{}"], "2 days").await;
    silent_for(&world, id, 86_400).await;
    assert_eq!(one_look(&world).await, Settled::default());
    world.no_delivery_waits().await;
    world.older_deliveries_wait(&["{}"], "2 days").await;
    assert_eq!(one_look(&world).await, Settled::default());
    assert_eq!(
        (world.state_of(id).await.as_str(), requests(&world)),
        ("uncertain", 1)
    );

    world.no_delivery_waits().await;
    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

/// It asks `wa.resend`, and knows only of deliveries that were stored as it would.
#[tokio::test]
async fn an_older_version_sends_nothing_again_while_deliveries_wait() {
    let mut world = World::at_rest().await;
    start_a_sender_only(&mut world).await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    assert!(world.stop_service().await);
    let resend = async || {
        let again = format!("select wa.resend(array[{id}], array[1], 'a test')");
        run(&world, &again).await;
        world.state_of(id).await
    };

    world.deliveries_wait(&["{}"], "1 minute").await;
    assert_eq!(resend().await, "uncertain");
    world.no_delivery_waits().await;
    world.deliveries_wait(&["{}"], "0 s").await;
    assert_eq!(resend().await, "queued");
}

#[tokio::test]
async fn a_delivery_that_came_after_the_window_is_not_waited_for() {
    let mut world = World::at_rest().await;
    start_a_sender_only(&mut world).await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    world.deliveries_wait(&["{}"], "0 s").await;

    silent_for(&world, id, 86_400).await;

    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

#[tokio::test]
async fn the_window_starts_again_when_nobody_has_listened_meanwhile() {
    let mut world = a_world_with_a_window_of(3_600).await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    assert!(world.stop_service().await);
    silent_for(&world, id, 86_400).await;
    run(
        &world,
        "update wa.webhook_listening set last_said_at = now() - interval '1 hour'",
    )
    .await;

    world.start_service().await;
    world
        .until_true("somebody listens again", async || {
            sqlx::query_scalar(
                "select since > now() - interval '1 minute' from wa.webhook_listening",
            )
            .fetch_one(&world.database.pool)
            .await
            .expect("it is known")
        })
        .await;
    assert_eq!(one_look(&world).await, Settled::default());
    assert_eq!(
        (world.state_of(id).await.as_str(), requests(&world)),
        ("uncertain", 1)
    );

    listening_for(&world, 3_601).await;
    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

#[tokio::test]
async fn where_no_later_message_was_heard_of_a_listener_that_is_new_waits_one_window_at_least() {
    let world = a_world_with_a_window_of(3_600).await;
    another_message_gets_through(&world).await;
    world.until_webhooks_are_applied().await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    unanswered_for(&world, id, 86_400).await;
    listening_for(&world, 3_599).await;
    assert_eq!(one_look(&world).await, Settled::default());

    listening_for(&world, 3_601).await;
    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

async fn ago(world: &World, seconds: u32, of: &str) {
    let now = format!("update wa.{of} = now() - interval '{seconds} s'");
    run(world, &now).await;
}

#[tokio::test]
async fn where_nobody_listens_any_more_silence_counts_after_ten_windows_of_a_running_worker() {
    let mut world = a_world_with_a_window_of(3_600).await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    assert!(world.stop_service().await);
    silent_for(&world, id, 86_400).await;
    ago(&world, 86_400, "webhook_listening set last_said_at").await;
    assert_eq!(
        one_look(&world).await,
        Settled::default(),
        "a worker that has only just come cannot know that it was silent"
    );

    start_a_sender_only(&mut world).await;
    world
        .until_true("a worker has come", async || {
            sqlx::query_scalar("select count(*) = 1 from wa.workers")
                .fetch_one(&world.database.pool)
                .await
                .expect("a count")
        })
        .await;
    ago(&world, 35_000, "workers set started_at").await;
    assert_eq!(one_look(&world).await, Settled::default());
    ago(&world, 86_400, "workers set started_at").await;
    ago(&world, 35_000, "webhook_listening set last_said_at").await;
    assert_eq!(one_look(&world).await, Settled::default());

    ago(&world, 36_001, "webhook_listening set last_said_at").await;
    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

#[tokio::test]
async fn where_the_database_s_clock_was_set_back_nobody_is_taken_to_listen_who_has_not_said_so_since()
 {
    let mut world = a_world_with_a_window_of(3_600).await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    assert!(world.stop_service().await);
    silent_for(&world, id, 86_400).await;
    let ahead = "update wa.webhook_listening set last_said_at = now() + interval '1 hour'";
    run(&world, ahead).await;
    assert_eq!(one_look(&world).await, Settled::default());

    world.store.say_listening().await.expect("it is said");
    let is_new =
        "wa.webhook_listening where last_said_at <= clock_timestamp() and since = last_said_at";
    assert_eq!(world.count(is_new).await, 1, "the window starts again");
    assert_eq!(one_look(&world).await, Settled::default());
    listening_for(&world, 36_001).await;
    assert_eq!(one_look(&world).await.resent, 1);
}

#[tokio::test]
async fn where_webhooks_flow_silence_counts_only_after_news_of_a_later_message() {
    let world = a_world_with_a_window_of(3_600).await;
    let earlier = world.enqueue(a_text().to(BOB)).await;
    world.until_status(earlier, "read").await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;

    silent_for(&world, id, 35_000).await;
    assert_eq!(
        one_look(&world).await,
        Settled::default(),
        "perhaps our webhooks are only late"
    );
    assert_eq!(requests(&world), 1);

    let later = world.enqueue(a_text().to(BOB)).await;
    world.until_status(later, "read").await;
    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

#[tokio::test]
async fn where_webhooks_flow_silence_counts_after_ten_windows_at_the_latest() {
    let world = a_world_with_a_window_of(3_600).await;
    let earlier = world.enqueue(a_text().to(BOB)).await;
    world.until_status(earlier, "read").await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;

    silent_for(&world, id, 36_001).await;

    assert_eq!(world.until_state(id, "accepted").await.attempts, 2);
}

#[tokio::test]
async fn an_uncertain_message_whose_time_passes_expires_after_its_window_and_not_before() {
    let world = a_world_with_a_window_of(3_600).await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    run(&world, "update wa.uncertain set expires_at = now()").await;
    silent_for(&world, id, 3_000).await;
    assert_eq!(one_look(&world).await, Settled::default());
    assert_eq!(world.state_of(id).await, "uncertain");

    silent_for(&world, id, 3_601).await;

    let message = world.until_state(id, "expired").await;
    assert!(
        message
            .error_message
            .is_some_and(|words| words.contains("no evidence came"))
    );
    assert_eq!(requests(&world), 1);
}
