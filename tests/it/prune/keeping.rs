//! Who prunes: workers by their settings, people by a command.

use std::time::Duration;

use wa_outbox::config::Config;
use wa_outbox::retention::walk::{Limits, Walk};

use super::NINETY_DAYS;
use crate::support::make::a_text;
use crate::support::world::{World, quick_settings};

fn kept_for_ninety_days() -> Config {
    let mut config = quick_settings();
    config.retention.messages_days = Some(90);
    config.retention.webhooks_days = Some(90);
    config
}

impl World {
    /// So many messages that were delivered a hundred days ago, and as many deliveries.
    async fn has_been_long_in_use(&self, messages: u32) {
        self.delivered_long_ago(a_text()).await;
        for statement in [
            "insert into wa.outbox (sender, recipient, payload) select sender, recipient, payload from wa.outbox, generate_series(2, $1)",
            "insert into wa.results (id, sender, state, attempts) select id, sender, 'accepted', 1 from wa.outbox
             where $1 > 0 on conflict do nothing",
            "insert into wa.webhook_inbox (body, state, applied_at, received_at)
             select '', 'applied', now() - interval '100 days', now() - interval '100 days' from generate_series(1, $1)",
            "update wa.outbox set created_at = now() - interval '100 days' where $1 > 0",
            "update wa.results set ended_at = now() - interval '100 days' where $1 > 0",
        ] {
            sqlx::query(statement)
                .bind(i32::try_from(messages).expect("a few"))
                .execute(&self.database.pool)
                .await
                .unwrap_or_else(|error| panic!("`{statement}`: {error}"));
        }
    }
}

#[tokio::test]
async fn a_fleet_deletes_what_its_settings_say_one_process_at_a_time() {
    let mut world = World::at_rest_with(kept_for_ninety_days()).await;
    world.has_been_long_in_use(1_200).await;
    world.start_service().await;
    let other = world.another_service().await;
    let young = world.enqueue(a_text()).await;
    world
        .until_true("what is old has gone, and the pass is over", async || {
            world
                .count("wa.pruning where next_at > now() + interval '50 minutes'")
                .await
                == 1
        })
        .await;
    assert_eq!(world.count("wa.outbox").await, 1);
    assert_eq!(
        world
            .count("wa.webhook_inbox where received_at < now() - interval '1 day'")
            .await,
        0
    );
    assert_eq!(world.number("select pass from wa.pruning").await, 1);
    world.until_state(young, "accepted").await;
    assert!(other.stop().await);
    assert!(world.stop_service().await);
}

#[tokio::test]
async fn a_worker_that_is_stopped_breaks_its_walk_off_and_another_goes_on_at_once() {
    let mut world = World::at_rest_with(kept_for_ninety_days()).await;
    world.has_been_long_in_use(3_000).await;
    world.start_service().await;
    world
        .until_true("it is under way", async || {
            world.count("wa.outbox").await < 3_000
        })
        .await;
    assert!(world.stop_service().await);
    let left = world.count("wa.outbox").await;
    world.start_service().await;
    world
        .until_true("all of it has gone", async || {
            world.count("wa.pruning where next_at > now()").await == 1
        })
        .await;
    assert_eq!(world.count("wa.outbox").await, 0);
    let series = "wa_outbox_pruned_total{what=\"messages\"}";
    assert_eq!(world.scrape().await.of(series), Some(left as f64));
    // Unless the first had been faster than its stop.
    if left > 0 {
        assert_eq!(world.number("select pass from wa.pruning").await, 2);
    }
    assert!(world.stop_service().await);
}

#[tokio::test]
async fn a_process_that_falls_silent_is_followed_by_another_and_does_not_go_on() {
    let world = World::at_rest().await;
    let (minute, store) = (Duration::from_secs(60), &world.store);
    let first = store.begin_pruning(minute).await.expect("an answer");
    let first = first.expect("it is time");
    assert_eq!(store.begin_pruning(minute).await.expect("an answer"), None);
    assert!(store.go_on_pruning(first, minute).await.expect("an answer"));
    world
        .run_sql("update wa.pruning set until = now() - interval '1 second'")
        .await;
    let second = store.begin_pruning(minute).await.expect("an answer");
    let second = second.expect("nobody is at it");
    assert!(!store.go_on_pruning(first, minute).await.expect("an answer"));
    // What the first one says now does not end what the second one does.
    store.end_pruning(first, minute).await.expect("an answer");
    assert_eq!(store.begin_pruning(minute).await.expect("an answer"), None);
    store.end_pruning(second, minute).await.expect("an answer");
    assert_eq!(
        store.begin_pruning(minute).await.expect("an answer"),
        None,
        "the next pass is not due"
    );
}

#[tokio::test]
async fn without_settings_nothing_is_ever_deleted() {
    let mut world = World::at_rest().await;
    world.has_been_long_in_use(10).await;
    world.start_service().await;
    let young = world.enqueue(a_text()).await;
    world.until_state(young, "accepted").await;
    assert!(world.stop_service().await);
    assert_eq!(world.count("wa.outbox").await, 11);
    assert_eq!(world.number("select pass from wa.pruning").await, 0);
}

#[tokio::test]
async fn a_walk_that_was_broken_off_is_run_again() {
    let world = World::at_rest().await;
    world.has_been_long_in_use(1_200).await;
    let limits = Limits::now(&world.store, NINETY_DAYS).await.expect("times");
    let mut walk = Walk::new(&world.store, limits, false);
    let slice = walk.step().await.expect("a slice").expect("the first");
    assert_eq!(slice.slice.pruned, 500);
    drop(walk);
    assert_eq!(world.prunes(NINETY_DAYS).await.messages, 700);
    world.assert_nothing_is_left_over().await;
}

#[tokio::test]
async fn ids_that_jumped_ahead_and_what_is_kept_in_between_are_walked_past() {
    let world = World::at_rest().await;
    let kept = world.enqueue(a_text()).await;
    world.ages(kept, 100).await;
    let applied = "insert into wa.webhook_inbox (body, state, applied_at, received_at) select '', 'applied', at, at from (select now() - interval '100 days') of (at)";
    world.run_sql(applied).await;
    for table in ["outbox", "webhook_inbox"] {
        world
            .run_sql(&format!(
                "select setval(pg_get_serial_sequence('wa.{table}', 'id'), 1000000)"
            ))
            .await;
    }
    world.delivered_long_ago(a_text()).await;
    world.run_sql(applied).await;
    let pruned = world.prunes(NINETY_DAYS).await;
    assert_eq!((pruned.messages, pruned.deliveries), (1, 2));
    assert!(world.is_there(kept).await);
}

#[tokio::test]
async fn a_person_counts_first_and_deletes_then() {
    let world = World::at_rest().await;
    world.has_been_long_in_use(3).await;
    let young = world.accepted(a_text()).await;
    let dry = world
        .says(&[
            "prune",
            "--older-than",
            "90d",
            "--webhooks-older-than",
            "30d",
            "--dry-run",
        ])
        .await;
    assert_eq!(
        dry,
        "Would be deleted: 3 messages, 3 webhook deliveries. Nothing was changed.\n"
    );
    assert_eq!(world.count("wa.outbox").await, 4);
    assert_eq!(world.count("wa.audit").await, 0, "nothing was done");
    let by = ["--by", "ada", "--reason", "she asked"];
    let said = world
        .says(&[&["prune", "--older-than", "90d"][..], &by].concat())
        .await;
    assert!(said.starts_with("Deleted 3 messages in "), "{said}");
    let told = world
        .store
        .audit(None, 1)
        .await
        .expect("the audit")
        .remove(0);
    assert_eq!((told.author.as_str(), told.what.as_str()), ("ada", "prune"));
    assert!(told.target.starts_with("messages before 20"), "{told:?}");
    assert_eq!(
        (told.reason.as_str(), told.succeeded),
        ("she asked", Some(true))
    );
    assert_eq!(told.outcome.as_deref(), Some("3 rows were deleted"));
    assert!(world.is_there(young).await);
    let json = world
        .says_json(&["prune", "--webhooks-older-than", "30d", "--json"])
        .await;
    assert_eq!(json["messages"], 0);
    assert_eq!(json["messages_before"], serde_json::Value::Null);
    assert_eq!(json["webhooks"], 3);
    assert!(json["webhooks_before"].is_string());
}

#[tokio::test]
async fn messages_that_somebody_refers_to_stop_no_walk() {
    let world = World::at_rest().await;
    let first = world.delivered_long_ago(a_text()).await;
    // Far enough to be in another slice.
    world
        .run_sql("select setval(pg_get_serial_sequence('wa.outbox', 'id'), 5000000)")
        .await;
    let second = world.delivered_long_ago(a_text()).await;
    world
        .run_sql(
            "create table orders (message bigint, sender text, constraint orders_name_a_message foreign key (message, sender) references wa.outbox)",
        )
        .await;
    world
        .run_sql(&format!(
            "insert into orders select id, sender from wa.outbox where id = {first}"
        ))
        .await;
    let prune = ["prune", "--older-than", "90d"];
    let dry = world.says(&[&prune[..], &["--dry-run"]].concat()).await;
    assert!(
        dry.contains(
            "Those that public.orders refers to stay, by its foreign key orders_name_a_message"
        ),
        "{dry}"
    );
    let refused = world.refuses(&prune).await;
    assert!(
        refused.contains("referred to by public.orders (by its foreign key orders_name_a_message)"),
        "{refused}"
    );
    assert!(refused.contains("on delete cascade"), "{refused}");
    assert!(world.is_there(first).await);
    assert!(!world.is_there(second).await);
    world.run_sql("delete from orders").await;
    world.says(&prune).await;
    assert!(!world.is_there(first).await);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_the_way_out() {
    let world = World::at_rest().await;
    let nothing = world.command(&["prune"]).await;
    assert_eq!(nothing.status.code(), Some(2));
    let said = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(said.contains("fix: say --older-than 90d"), "{said}");
    for (option, value, fix) in [
        ("--older-than", "7d", "say 8d or more"),
        ("--webhooks-older-than", "23h", "say 1d or more"),
    ] {
        let output = world.command(&["prune", option, value]).await;
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(fix) && said.contains(option), "{said}");
    }
    // The settings count where nothing is said.
    let set = [("WA_OUTBOX__RETENTION__MESSAGES_DAYS", "7")];
    let bad = world.command_with(&set, &["prune"]).await;
    assert_eq!(bad.status.code(), Some(64));
    world.delivered_long_ago(a_text()).await;
    let set = [("WA_OUTBOX__RETENTION__MESSAGES_DAYS", "90")];
    let done = world.command_with(&set, &["prune"]).await;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.starts_with("Deleted 1 messages in "), "{said}");
    // And who may not is told so.
    let url = world.database.url_as("wa_producer");
    let not = world
        .command_with(&[("DATABASE_URL", &url)], &["prune", "--older-than", "90d"])
        .await;
    assert_eq!(not.status.code(), Some(1));
    let said = String::from_utf8_lossy(&not.stderr).into_owned();
    assert!(said.contains("permission denied"), "{said}");
}
