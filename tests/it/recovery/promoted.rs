//! A standby takes over.

use wa_outbox::message::OnUncertain;
use wa_outbox::simulator::Status;

use super::{EVIDENCE, KEPT, SILENT, a_world_on, in_time, to};
use crate::support::callbacks::get;
use crate::support::cluster::{Address, Cluster};
use crate::support::world::SENDER;

#[tokio::test]
async fn what_a_standby_has_not_got_is_not_sent_again_and_settled_by_evidence_else_by_policy() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.has_been_worked().await;
        let standby = primary.standby("standby");
        let evident = world.enqueue(to(EVIDENCE)).await;
        let silent = world.enqueue(to(SILENT)).await;
        let kept = world
            .enqueue(to(KEPT).on_uncertain(OnUncertain::Hold))
            .await;
        primary.is_followed_by(&standby).await;
        standby.stops_following().await;
        let address = Address::of(&primary).await;
        world.start_service_by(&address.url).await;
        world.until_taken(3).await;
        // Its statuses of then are told to the database that is lost.
        world.is_told(SILENT, Status::Delivered).await;

        primary.kill();
        standby.promote();
        address.leads_to(&standby);
        world.moves_to(&standby);
        let reason = world.until_held_for_a_restore().await;
        assert!(
            reason.contains("timeline 2 of its log now, before it was 1"),
            "{reason}"
        );
        world.until_others_are_held_too().await;
        for message in [evident, silent, kept] {
            assert_eq!(world.state_of(message).await, "queued");
        }
        assert_eq!(
            [EVIDENCE, SILENT, KEPT].map(|one| world.taken_for(one)),
            [1, 1, 1]
        );

        assert_eq!(world.foreseen(&[]).await, [2, 1, 0]);
        let settled = world
            .says(&["recover", "--yes", "--reason", "the standby was behind"])
            .await;
        assert!(
            settled.contains("3 messages were put in doubt"),
            "{settled}"
        );
        for message in [evident, silent, kept] {
            let message = world.message(message).await;
            assert_eq!(message.state, "uncertain");
            assert_eq!(message.attempts, 1);
        }
        world.is_told(EVIDENCE, Status::Read).await;
        assert_eq!(world.message(evident).await.status.as_deref(), Some("read"));
        world
            .says(&["recover", "--release", "--reason", "settled"])
            .await;

        // Silence is settled by policy once it means something, and shown for what it is.
        let resent = world.until_state(silent, "accepted").await;
        assert_eq!(resent.attempts, 2);
        let waits = |message: &wa_outbox::store::message::Message| {
            let waiting_for = message.waiting_for.as_deref();
            waiting_for.is_some_and(|words| words.starts_with("a person: its policy is hold"))
        };
        world.until(kept, "a person", waits).await;
        assert_eq!(
            [EVIDENCE, SILENT, KEPT].map(|one| world.taken_for(one)),
            [1, 2, 1]
        );
        let why = world.says(&["message", "show", &kept.to_string()]).await;
        assert!(why.contains("the database was restored"), "{why}");
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

#[tokio::test]
async fn a_standby_that_has_everything_goes_on_by_one_word() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        let standby = primary.standby("standby");
        let address = Address::of(&primary).await;
        let before = world.enqueue(to(EVIDENCE)).await;
        world.start_service().await;
        world.until_state(before, "accepted").await;
        world.stop_service().await;
        world
            .says(&["sender", "hold", SENDER, "--reason", "a pause"])
            .await;
        let queued = world.enqueue(to(SILENT)).await;
        world.start_service_by(&address.url).await;
        primary.is_followed_by(&standby).await;

        primary.kill();
        standby.promote();
        address.leads_to(&standby);
        world.moves_to(&standby);
        world.until_held_for_a_restore().await;
        world.until_others_are_held_too().await;
        let word = [
            "recover",
            "--nothing-lost",
            "--reason",
            "it was synchronous",
        ];
        let said = world.says(&word).await;
        // What a person had held before, that person releases.
        assert!(
            said.contains("held again as before, by ada: a pause"),
            "{said}"
        );
        assert_eq!(world.taken_for(SILENT), 0);
        world.says(&["sender", "release", SENDER]).await;
        let sent = world.until_state(queued, "accepted").await;
        assert_eq!(sent.attempts, 1);
        assert_eq!([EVIDENCE, SILENT].map(|one| world.taken_for(one)), [1, 1]);
        assert_eq!(
            world
                .count("wa.audit where what = 'recover_nothing_lost' and succeeded")
                .await,
            1
        );
        let again = world.refuses(&word).await;
        assert!(again.contains("nothing to settle"), "{again}");
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}

#[tokio::test]
async fn while_it_is_not_settled_everything_says_so_and_nobody_can_release_a_sender() {
    in_time(async {
        let primary = Cluster::start();
        let mut world = a_world_on(&primary).await;
        world.start_service().await;
        let sent = world.enqueue(to(EVIDENCE)).await;
        world.until_state(sent, "accepted").await;
        let standby = primary.standby("standby");
        world.stop_service().await;
        primary.kill();
        standby.promote();
        world.moves_to(&standby);
        // Two at once: one of them notices.
        let (one, another) = tokio::join!(world.another_service(), world.another_service());
        world.until_held_for_a_restore().await;
        assert_eq!(world.count("wa.eras").await, 2);
        world.service = Some(one);
        world.until_ready_is(true).await;

        let ready = world.readiness().await;
        assert_eq!(
            ready.status, 200,
            "webhooks must still find it: {}",
            ready.body
        );
        assert!(ready.body.contains("wa-outbox recover"), "{}", ready.body);
        for command in [&["why", "sender", SENDER][..], &["summary"], &["recover"]] {
            let said = world.says(command).await;
            assert!(said.contains("wa-outbox recover"), "{command:?}: {said}");
        }
        let page = get(world.admin_url("/")).await.body;
        assert!(page.contains("wa-outbox recover"), "{page}");
        let held = world.scrape().await.of("wa_outbox_database_went_back");
        assert_eq!(held, Some(1.0));
        let doctor = world.command(&["doctor"]).await;
        let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(doctor.contains("BROKEN  era"), "{doctor}");
        let queued = world.enqueue(to(SILENT)).await;
        let why = world.message(queued).await.waiting_for.unwrap_or_default();
        assert!(why.starts_with("its sender, held: it"), "{why}");

        let refusal = world.refuses(&["sender", "release", SENDER]).await;
        assert!(refusal.contains("wa-outbox recover"), "{refusal}");
        let hold = ["sender", "hold", SENDER, "--reason", "me too"];
        let refusal = world.refuses(&hold).await;
        assert!(
            refusal.contains("is held") && refusal.contains("wa-outbox recover"),
            "{refusal}"
        );
        let refusal = world.refuses(&["recover", "--release"]).await;
        assert!(refusal.contains("stay held"), "{refusal}");
        let by_hand = "update wa.senders set held_reason = null, held_by = null";
        assert!(
            sqlx::query(by_hand)
                .execute(&world.database.pool)
                .await
                .is_err()
        );
        another.stop().await;
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}
