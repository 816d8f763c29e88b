//! What may go, and what may not.

use wa_outbox::domain::id::MessageId;
use wa_outbox::domain::retention::{
    MESSAGES_AT_LEAST_DAYS, Retention, WEBHOOKS_AT_LEAST_DAYS, days,
};
use wa_outbox::store::Store;
use wa_outbox::store::prune::Part;

use super::{NINETY_DAYS, eight_days, pruned_by};
use crate::support::make::{ALICE, BOB, Draft, a_text};
use crate::support::world::{SENDER, World};

impl World {
    /// Ended without an acceptance, a hundred days ago.
    async fn ended_long_ago(&self, state: &str) -> MessageId {
        let id = self.enqueue(a_text()).await;
        self.run_sql(&format!(
            "insert into wa.results (id, sender, state, attempts) values ({id}, '{SENDER}', '{state}', 0)"
        ))
        .await;
        self.run_sql(&format!(
            "insert into wa.attempts (id, sender, attempt, outcome) values ({id}, '{SENDER}', 1, 'rejected')"
        ))
        .await;
        self.ages(id, 100).await;
        id
    }

    async fn uncertain_for_long(&self, draft: Draft) -> MessageId {
        let id = self.enqueue(draft).await;
        self.run_sql(&format!(
            "update wa.queue set state = 'sending', attempt = 1, epoch = 1, begun_at = now(), deadline = now() where id = {id}"
        ))
        .await;
        self.run_sql(&format!(
            "insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
             select id, sender, priority, in_sequence, 1, 1, 0, begun_at, deadline, true, 'no answer came', 'evidence' from wa.queue where id = {id}"
        ))
        .await;
        self.ages(id, 100).await;
        id
    }

    /// How many rows of this recipient's sequence there are.
    async fn lines(&self, sequence: &str) -> i64 {
        self.count(&format!("wa.sequences where sequence = '{sequence}'"))
            .await
    }
}

#[tokio::test]
async fn what_has_ended_long_ago_goes_whole_and_nothing_else_changes() {
    let world = World::at_rest().await;
    let mut old = vec![world.delivered_long_ago(a_text()).await];
    for state in ["failed", "expired", "cancelled"] {
        old.push(world.ended_long_ago(state).await);
    }
    let nameless = world.enqueue(a_text()).await;
    world
        .run_sql(&format!(
            "insert into wa.results (id, sender, state, attempts) values ({nameless}, '{SENDER}', 'accepted', 1)"
        ))
        .await;
    world.ages(nameless, 100).await;
    old.push(nameless);

    let mut kept = Vec::new();
    // Young, or told of something since.
    kept.push(world.accepted(a_text()).await);
    let read = world.delivered_long_ago(a_text()).await;
    world.was_told(read, "read").await;
    kept.push(read);
    let repeated = world.delivered_long_ago(a_text()).await;
    world
        .run_sql(&format!(
            "insert into wa.status_events (id, sender, attempt, wamid, status, occurred_at, received_at)
             values ({repeated}, '{SENDER}', 1, 'wamid.{repeated}', 'delivered', now() - interval '100 days', now())"
        ))
        .await;
    kept.push(repeated);
    let named_late = world.delivered_long_ago(a_text()).await;
    world
        .run_sql(&format!(
            "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('wamid.twice', '{SENDER}', {named_late}, 2, 'webhook')"
        ))
        .await;
    kept.push(named_late);
    // Not ended.
    let queued = world.enqueue(a_text()).await;
    world.ages(queued, 100).await;
    kept.push(queued);
    kept.push(world.uncertain_for_long(a_text()).await);

    let before: Vec<_> = world.all_messages().await;
    let pruned = world.prunes(NINETY_DAYS).await;

    assert_eq!(pruned.messages, old.len() as i64);
    for id in &old {
        assert!(!world.is_there(*id).await, "message {id} is kept");
    }
    let is_kept =
        |message: &serde_json::Value| kept.iter().any(|id| message["id"].as_i64() == Some(id.0));
    let expected: Vec<_> = before.into_iter().filter(is_kept).collect();
    assert_eq!(expected.len(), kept.len());
    assert_eq!(world.all_messages().await, expected);
    world.assert_nothing_is_left_over().await;
    assert_eq!(world.prunes(NINETY_DAYS).await.all(), 0);
}

#[tokio::test]
async fn what_may_still_be_delivered_is_kept_for_as_long_as_whatsapp_tries() {
    let world = World::at_rest().await;
    let delivered = world.accepted(a_text()).await;
    world.was_told(delivered, "delivered").await;
    let sent = world.accepted(a_text()).await;
    world.was_told(sent, "sent").await;
    let undeliverable = world.accepted(a_text()).await;
    world.was_told(undeliverable, "failed").await;
    for id in [delivered, sent, undeliverable] {
        world.ages(id, 37).await;
    }
    assert_eq!(world.prunes(eight_days()).await.messages, 2);
    assert!(world.is_there(sent).await);
    world.ages(sent, 2).await;
    assert_eq!(world.prunes(eight_days()).await.messages, 1);
}

#[tokio::test]
async fn what_a_sequence_waits_for_or_names_is_kept_and_an_empty_line_goes() {
    let world = World::at_rest().await;
    let done = world.delivered_long_ago(a_text().in_sequence("done")).await;
    // Its head is not delivered, and another one waits behind it.
    let head = world.accepted(a_text().in_sequence("open")).await;
    let behind = world.enqueue(a_text().in_sequence("open")).await;
    world.ages(head, 100).await;
    world.ages(behind, 100).await;
    // Halted by one that failed.
    let failed = world.accepted(a_text().in_sequence("halted")).await;
    world.was_told(failed, "failed").await;
    world.ages(failed, 100).await;
    assert_eq!(
        world
            .count("wa.sequences where halted_member is not null")
            .await,
        1
    );
    // Set apart from others.
    let settings = [
        ("lenient", "on_failure => 'skip'"),
        ("patient", "delivery_timeout => interval '1 day'"),
        ("relaxed", "on_timeout => 'proceed'"),
    ];
    for (sequence, setting) in settings {
        world
            .run_sql(&format!(
                "select wa.set_sequence('{SENDER}', '{ALICE}', '{sequence}', {setting})"
            ))
            .await;
        world
            .delivered_long_ago(a_text().to(ALICE).in_sequence(sequence))
            .await;
    }
    // One of two members is old.
    let first = world.delivered_long_ago(a_text().in_sequence("both")).await;
    let second = world.accepted(a_text().in_sequence("both")).await;
    world.was_told(second, "delivered").await;
    // Something has become known of it that is not settled yet.
    let unsettled = world.delivered_long_ago(a_text().in_sequence("busy")).await;
    world
        .run_sql(&format!(
            "insert into wa.unsettled (id, sender) values ({unsettled}, '{SENDER}')"
        ))
        .await;

    assert_eq!(world.prunes(NINETY_DAYS).await.messages, 5);
    for (id, is_kept) in [
        (done, false),
        (head, true),
        (behind, true),
        (failed, true),
        (first, false),
        (second, true),
        (unsettled, true),
    ] {
        assert_eq!(world.is_there(id).await, is_kept, "message {id}");
    }
    for (line, count) in [
        ("done", 0),
        ("open", 1),
        ("halted", 1),
        ("lenient", 1),
        ("patient", 1),
        ("relaxed", 1),
        ("both", 1),
        ("busy", 1),
    ] {
        assert_eq!(world.lines(line).await, count, "sequence {line}");
    }
    // A line that went begins anew, and one that stayed goes on.
    let anew = world.accepted(a_text().in_sequence("done")).await;
    world.was_told(anew, "delivered").await;
    world.was_told(head, "delivered").await;
    assert_eq!(world.state_of(behind).await, "queued");
    world.was_accepted(behind).await;
}

#[tokio::test]
async fn a_line_of_a_recipient_with_very_many_messages_is_not_looked_through() {
    let world = World::at_rest().await;
    world.delivered_long_ago(a_text().in_sequence("long")).await;
    world
        .run_sql(
            "insert into wa.outbox (sender, recipient, payload) select sender, recipient, payload from wa.outbox, generate_series(1, 1000)",
        )
        .await;
    let last = world.accepted(a_text().in_sequence("long")).await;
    world.was_told(last, "delivered").await;

    assert_eq!(world.prunes(NINETY_DAYS).await.messages, 1);
    assert_eq!(world.lines("long").await, 1);
}

#[tokio::test]
async fn what_happened_in_lines_goes_when_it_is_old_but_for_those_that_are_halted_or_set_apart() {
    let world = World::at_rest().await;
    for (sequence, what) in [("skips", "skip"), ("halts", "halt"), ("apart", "skip")] {
        world
            .run_sql(&format!(
                "select wa.set_sequence('{SENDER}', '{BOB}', '{sequence}', on_failure => '{what}')"
            ))
            .await;
        let failed = world.accepted(a_text().to(BOB).in_sequence(sequence)).await;
        world.was_told(failed, "failed").await;
    }
    world
        .run_sql("update wa.sequences set on_failure = null where sequence <> 'apart'")
        .await;
    world
        .run_sql("update wa.sequence_events set happened_at = happened_at - interval '100 days'")
        .await;
    let before = world.count("wa.sequence_events").await;
    let pruned = world.prunes_what_it_counts(NINETY_DAYS).await;
    assert_eq!(pruned.history, 2);
    let skips = world.count("wa.sequence_events where sequence = 'skips'");
    assert_eq!(skips.await, 0);
    assert_eq!(world.count("wa.sequence_events").await, before - 2);
}

#[tokio::test]
async fn webhooks_go_when_they_are_old_and_applied_and_statuses_when_nobody_asks_for_them_any_more()
{
    let world = World::at_rest().await;
    for (body, state, received, applied) in [
        ("old", "applied", 3, 3),
        ("old and bad", "bad", 3, 3),
        ("waits", "pending", 3, 3),
        ("young", "applied", 1, 1),
        ("young and bad", "bad", 1, 1),
        ("young, for it waited long", "applied", 3, 1),
        ("old and as it came", "stored", 3, 3),
        ("young and as it came", "stored", 1, 1),
    ] {
        world
            .run_sql(&format!(
                "insert into wa.webhook_inbox (body, state, received_at, applied_at)
                 values ('{body}', '{state}', now() - interval '{received} days', now() - interval '{applied} days')"
            ))
            .await;
    }
    let waits_beside_another = ["waits", "waits, too"];
    world.deliveries_wait(&waits_beside_another, "3 days").await;
    for age in [7, 9] {
        world
            .run_sql(&format!(
                "insert into wa.status_events (wamid, status, occurred_at, received_at)
                 select 'wamid.unknown', 'sent', now(), now() - interval '{age} days' from generate_series(1, 700)"
            ))
            .await;
    }
    let two_days = Retention {
        messages: None,
        webhooks: Some(days(2)),
    };
    let pruned = world.prunes_what_it_counts(two_days).await;
    assert_eq!((pruned.deliveries, pruned.statuses), (3, 700));
    assert_eq!(world.count("wa.webhook_inbox").await, 7);
    assert_eq!(
        world
            .count("wa.webhook_inbox where body like 'waits%' or body like 'young%'")
            .await,
        7
    );
    assert_eq!(world.count("wa.status_events").await, 700);
}

#[tokio::test]
async fn the_counts_of_a_campaign_stay() {
    let world = World::at_rest().await;
    let offer = r#"{"type":"template","template":{"name":"offer","language":{"code":"en_US"}}}"#;
    world
        .run_sql(&format!(
            "select wa.create_campaign('spring', '{offer}', sender => '{SENDER}', author => 'ada')"
        ))
        .await;
    world
        .run_sql("insert into wa.outbox (campaign_id, recipient) select 1, '+1650555' || n from generate_series(1000, 1029) n")
        .await;
    world.run_sql("select wa.start_campaign(1)").await;
    let ids: Vec<i64> = sqlx::query_scalar("select id from wa.outbox")
        .fetch_all(&world.database.pool)
        .await
        .expect("the rows");
    for (id, status) in ids
        .iter()
        .zip(["delivered", "failed", "read"].into_iter().cycle())
    {
        world.was_accepted(MessageId(*id)).await;
        world.was_told(MessageId(*id), status).await;
        world.ages(MessageId(*id), 100).await;
    }
    // Some are added up, some are not.
    world.run_sql("select wa.fold_campaign_deltas(20)").await;
    let counts = || async {
        let counts = sqlx::query_as::<_, (String, i64, i64)>(
            "select kind, code, n from wa.campaign_counts_now(1) order by kind, code",
        );
        counts
            .fetch_all(&world.database.pool)
            .await
            .expect("counts")
    };
    let before = counts().await;
    assert_eq!(before.iter().map(|(.., n)| n).sum::<i64>(), 30);
    assert_eq!(world.prunes(NINETY_DAYS).await.messages, 30);
    assert_eq!(counts().await, before);
    world.run_sql("select wa.fold_campaign_deltas(20000)").await;
    assert_eq!(counts().await, before);
}

#[tokio::test]
async fn the_pace_of_a_campaign_goes_when_it_is_over_but_for_the_last_day() {
    let world = World::at_rest().await;
    let offer = r#"{"type":"template","template":{"name":"offer","language":{"code":"en_US"}}}"#;
    for (campaign, name) in [(1, "spring"), (2, "summer")] {
        world
            .run_sql(&format!(
                "select wa.create_campaign('{name}', '{offer}', sender => '{SENDER}', author => 'ada')"
            ))
            .await;
        world
            .run_sql(&format!(
                "insert into wa.campaign_pace (campaign, at, answered, failed)
                 select {campaign}, now() - days * interval '1 day', 1, 0 from (values (0), (2), (3)) of (days)"
            ))
            .await;
    }
    world
        .run_sql("select wa.cancel_campaign(1, author => 'ada', reason => 'over')")
        .await;
    world.prunes(NINETY_DAYS).await;
    for (campaign, left) in [(1, 1), (2, 3)] {
        let pace = format!("wa.campaign_pace where campaign = {campaign}");
        assert_eq!(world.count(&pace).await, left, "campaign {campaign}");
    }
}

#[tokio::test]
async fn what_is_too_young_is_refused_by_the_database_itself_and_so_is_everything_after_a_restore()
{
    let world = World::at_rest().await;
    for (part, age, least) in [
        (Part::Messages, days(7), "8 days is"),
        (Part::History, days(7), "8 days is"),
        (Part::Deliveries, days(1) / 2, "1 day is"),
        (Part::Statuses, days(1) / 2, "1 day is"),
    ] {
        let before = world.store.time_ago(age).await.expect("the time");
        let slice = world.store.prune_slice(part, before, 0, 500, false).await;
        let because = format!("{:?}", anyhow::Error::from(slice.expect_err("too young")));
        assert!(
            because.contains(&format!("younger than {least}")),
            "{because}"
        );
    }

    world.store.beat().await.expect("a beat");
    world
        .run_sql("select wa.begin_era(era, 'operator', 'it was restored', 'ada', 0, clock_timestamp()) from wa.eras")
        .await;
    let id = world.delivered_long_ago(a_text()).await;
    let error = pruned_by(&world.store, NINETY_DAYS)
        .await
        .expect_err("unsettled");
    let because = format!("{:?}", anyhow::Error::from(error));
    assert!(because.contains("not settled"), "{because}");
    let said = world.refuses(&["prune", "--older-than", "90d"]).await;
    assert!(said.contains("wa-outbox recover"), "{said}");
    assert!(world.is_there(id).await);
}

#[tokio::test]
async fn the_program_and_the_database_agree_how_long_everything_is_kept_at_least() {
    let world = World::at_rest().await;
    let least = sqlx::query_as::<_, (i32, i32, i32)>(
        "select extract(day from wa.messages_kept_at_least())::int, extract(day from wa.deliveries_kept_at_least())::int,
           extract(day from wa.undelivered_kept_at_least() - wa.time_to_live('{}') - wa.messages_kept_at_least())::int",
    );
    let least = least
        .fetch_one(&world.database.pool)
        .await
        .expect("an answer");
    let ours = (MESSAGES_AT_LEAST_DAYS, WEBHOOKS_AT_LEAST_DAYS, 0);
    assert_eq!(least, (ours.0 as i32, ours.1 as i32, ours.2));
}

#[tokio::test]
async fn a_worker_may_prune_and_a_producer_may_not_and_nobody_may_delete_by_hand() {
    let world = World::at_rest().await;
    world.delivered_long_ago(a_text()).await;
    for role in ["wa_producer", "wa_viewer", "wa_worker"] {
        let store = sqlx::PgPool::connect(&world.database.url_as(role))
            .await
            .expect("the database answers");
        for table in [
            "outbox",
            "results",
            "acceptances",
            "attempts",
            "status_events",
            "webhook_inbox",
            "sequences",
            "sequence_events",
        ] {
            let delete = sqlx::AssertSqlSafe(format!("delete from wa.{table}"));
            let error = sqlx::query(delete).execute(&store).await.expect_err(table);
            assert!(error.to_string().contains("permission denied"), "{error}");
        }
        let done = pruned_by(&Store::over(store), NINETY_DAYS).await;
        match role {
            "wa_worker" => assert_eq!(done.expect("it may").messages, 1),
            _ => assert!(done.expect_err("it may not").is_missing_right()),
        }
    }
}

#[tokio::test]
async fn a_dedup_key_may_be_used_again() {
    let world = World::at_rest().await;
    let mut draft = a_text();
    draft.0.dedup_key = Some("order-7".to_owned());
    world.delivered_long_ago(draft.clone()).await;
    assert!(world.store.enqueue(&draft.0).await.is_err());
    world.prunes(NINETY_DAYS).await;
    world.enqueue(draft).await;
}
