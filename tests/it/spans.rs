//! Spans of time that Postgres takes and no time can be told by: they are refused, or kept as they were meant, and one that stands all the
//! same costs only itself.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use wa_outbox::domain::id::{MessageId, SenderId};
use wa_outbox::simulator::{Fault, WebhookFault};

use crate::support::callbacks::{a_delivery, a_status};
use crate::support::make::{ALICE, BOB, a_text, an_applier};
use crate::support::world::{SENDER, World};

/// A thousand days as it is compared, and fourteen thousand years as it is added.
const MONSTROUS: &str = "1000000 years -359999000 days";
const OTHER: &str = "106540352249999";
const AT: i64 = 1_700_000_000;

impl World {
    /// Each column with a span, and how a role can write it.
    async fn spans(&self) -> Vec<(&'static str, String, fn(&str) -> String)> {
        let owner = self.text("select current_user::text").await;
        let producer = "wa_producer".to_owned();
        vec![
            (
                "select delivery_timeout from wa.sequences",
                producer.clone(),
                |span| {
                    format!(
                        "select wa.set_sequence('{SENDER}', '{ALICE}', 'order', delivery_timeout => '{span}')"
                    )
                },
            ),
            (
                "select delivery_timeout from wa.senders",
                "wa_worker".to_owned(),
                |span| format!("update wa.senders set delivery_timeout = '{span}'"),
            ),
            (
                "select delivery_timeout from wa.sequence_defaults",
                "wa_worker".to_owned(),
                |span| format!("update wa.sequence_defaults set delivery_timeout = '{span}'"),
            ),
            (
                "select expires_after from wa.campaigns",
                producer.clone(),
                |span| {
                    format!(
                        r#"select wa.set_campaign(id, '{{"expires_after":"{span}"}}') from wa.campaigns"#
                    )
                },
            ),
            ("select pause_window from wa.campaigns", producer, |span| {
                format!(
                    r#"select wa.set_campaign(id, '{{"pause_window":"{span}"}}') from wa.campaigns"#
                )
            }),
            ("select wait from wa.eras", owner, |span| {
                format!("update wa.eras set wait = '{span}'")
            }),
        ]
    }

    async fn writes(&self, role: &str, statement: String) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(&self.database.url_as(role))
            .await
            .expect("it answers");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .map(drop)
    }

    /// The story of each has a message in front that was accepted, and one behind it.
    async fn two_stories(&self) -> [[MessageId; 2]; 2] {
        let mut stories = Vec::new();
        for recipient in [ALICE, BOB] {
            let part = || a_text().to(recipient).in_sequence("story");
            stories.push([self.enqueue(part()).await, self.enqueue(part()).await]);
        }
        self.run_sql(&format!(
            "insert into wa.acceptances (wamid, sender, id, attempt, learned_from)
             select 'wamid.' || q.id, q.sender, q.id, 1, 'webhook' from wa.queue q where q.sender = '{SENDER}'"
        ))
        .await;
        stories.try_into().expect("two")
    }

    /// As it was before there was such a check.
    async fn alice_waits_for_ever(&self) {
        for statement in [
            "alter table wa.sequences disable trigger a_span_is_plain".to_owned(),
            format!(
                "update wa.sequences set delivery_timeout = '{MONSTROUS}' where recipient = '{ALICE}'"
            ),
        ] {
            self.run_sql(&statement).await;
        }
    }

    async fn stand_as<const N: usize>(&self, ids: [MessageId; N]) -> Vec<String> {
        let mut states = Vec::new();
        for id in ids {
            states.push(self.state_of(id).await);
        }
        states
    }
}

#[tokio::test]
async fn a_span_that_no_time_can_be_told_by_is_refused_and_one_of_mixed_parts_is_kept_as_it_is_meant()
 {
    let world = World::at_rest().await;
    world.store.beat().await.expect("there is an era");
    world
        .run_sql(
            r#"select wa.create_campaign('spring', '{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}')"#,
        )
        .await;
    for (kept, role, write) in world.spans().await {
        for refused in [
            MONSTROUS,
            "1000000 years -360000000 days 1 hour",
            "1000000 years",
            "-1 day",
        ] {
            let said = world.writes(&role, write(refused)).await;
            let said = said.expect_err(&format!("{kept}: {refused}")).to_string();
            assert!(said.contains("violates check constraint"), "{said}");
        }
        for (given, meant) in [
            ("1 day -1 hour", "23:00:00"),
            ("-100000000 days 2400000001 hours", "01:00:00"),
            ("2 hours", "02:00:00"),
        ] {
            let written = world.writes(&role, write(given)).await;
            written.unwrap_or_else(|error| panic!("{kept}: {given}: {error}"));
            assert_eq!(world.text(&format!("select ({kept})::text")).await, meant);
        }
    }
}

#[tokio::test]
async fn a_delivery_with_a_status_of_a_sequence_that_cannot_be_settled_is_applied_with_all_others()
{
    let world = World::at_rest().await;
    let [[first, second], [other_first, other_second]] = world.two_stories().await;
    world.alice_waits_for_ever().await;
    let statuses = [first, other_first].map(|id| a_status(&format!("wamid.{id}"), "delivered", AT));
    world
        .deliveries_wait(&[a_delivery(&statuses)], "1 minute")
        .await;

    let mut applier = an_applier(&world.store, 10).await;
    let report = applier.run_once().await.expect("it is applied");

    assert_eq!((report.deliveries, report.bad), (1, 0));
    for id in [first, other_first] {
        assert_eq!(world.message(id).await.status.as_deref(), Some("delivered"));
    }
    assert_eq!(
        world.stand_as([second, other_second]).await,
        ["waiting", "queued"]
    );
    world
        .run_sql("update wa.sequences set delivery_timeout = null")
        .await;
    let senders = [SenderId::from(SENDER)];
    let looked = world.store.look_after_sequences(&senders, 10);
    looked.await.expect("it is looked");
    assert_eq!(world.state_of(second).await, "queued");
}

#[tokio::test]
async fn a_sequence_that_cannot_be_looked_at_keeps_no_other_from_being_overdue() {
    let world = World::at_rest().await;
    let [[_, second], [_, other_second]] = world.two_stories().await;
    world.alice_waits_for_ever().await;
    for statement in [
        format!(
            "update wa.sequences set delivery_timeout = '1 second', on_timeout = 'proceed' where recipient = '{BOB}'"
        ),
        "update wa.results set ended_at = now() - interval '1 minute'".to_owned(),
        "update wa.sequences set look_at = now()".to_owned(),
    ] {
        world.run_sql(&statement).await;
    }
    let senders = [SenderId::from(SENDER)];
    let looked = world.store.look_after_sequences(&senders, 10);
    assert_eq!(looked.await.expect("it is looked"), 1);
    assert_eq!(
        world.stand_as([second, other_second]).await,
        ["waiting", "queued"]
    );
    let later = format!(
        "wa.sequences where recipient = '{ALICE}' and look_at > now() + interval '30 seconds'"
    );
    assert_eq!(world.count(&later).await, 1);
}

#[tokio::test]
async fn a_look_at_sequences_that_fails_keeps_no_lost_answer_from_being_settled() {
    let world = World::start().await;
    world.add_sender(OTHER).await;
    let mut later = a_text().to(BOB).in_sequence("story");
    later.0.due_at = Some(wa_outbox::clock::Clock::system().now() + time::Duration::hours(1));
    world.enqueue(later).await;
    for statement in [
        "create function public.is_cancelled() returns trigger language plpgsql as
           $$begin raise exception using errcode = 'query_canceled'; end$$",
        "create trigger is_cancelled before update on wa.sequences
           for each row when (new.look_at > old.look_at) execute function public.is_cancelled()",
        "update wa.sequences set look_at = now()",
    ] {
        world.run_sql(statement).await;
    }
    world
        .simulator
        .fault_next(ALICE, Fault::AcceptThenDropAnswer);
    world
        .simulator
        .webhook_fault_next(ALICE, WebhookFault::Lost);
    let mut lost = a_text().to(ALICE);
    lost.0.sender = Some(OTHER.to_owned());
    let lost = world.enqueue(lost).await;
    world.until_state(lost, "uncertain").await;
    world.until_state(lost, "accepted").await;
}

#[tokio::test]
async fn a_campaign_whose_window_cannot_be_reckoned_with_keeps_no_other_from_being_paused() {
    let world = World::at_rest().await;
    for statement in [
        "alter table wa.campaigns disable trigger a_second_span_is_plain",
        r#"select wa.create_campaign(name, '{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}')
           from unnest('{spring,summer}'::text[]) name"#,
        "select wa.start_campaign(id) from wa.campaigns",
        "update wa.campaigns set pause_window = '1000000 years -360000000 days 1 hour' where name = 'spring'",
        "insert into wa.campaign_pace (campaign, at, answered, failed) select id, now(), 100, 50 from wa.campaigns",
        "update wa.campaigns set state_changed_at = now() - interval '1 minute'",
    ] {
        world.run_sql(statement).await;
    }
    let senders = [SenderId::from(SENDER)];
    let paused = world.store.pause_troubled_campaigns(&senders);
    let mut paused: Vec<String> = paused
        .await
        .expect("a look")
        .into_iter()
        .map(|one| one.name)
        .collect();
    paused.sort();
    assert_eq!(paused, ["spring", "summer"]);
}

#[tokio::test]
async fn what_was_written_before_it_was_looked_at_is_mended_and_lets_the_constraints_be_valid() {
    let world = World::at_rest().await;
    world.two_stories().await;
    world.alice_waits_for_ever().await;
    world
        .run_sql("alter table wa.sequences enable trigger a_span_is_plain")
        .await;
    let told = world
        .store
        .store_deliveries(&[r#"{"object":"whatsapp_business_account","entry":[]}"#]);
    told.await.expect("it is stored");
    for statement in [
        "delete from wa.webhook_pending",
        r#"update wa.webhook_inbox set state = 'bad', applied_at = now(), bad_entries = '[{"place":"","reason":"the database refuses what it holds"}]'"#,
    ] {
        world.run_sql(statement).await;
    }
    let mending = include_str!("../../migrations/0053_bounds_of_before.sql");
    let owner = world.text("select current_user::text").await;
    let mended = world.writes(&owner, format!("-- {mending}")).await;
    mended.expect("they are valid");
    let kept =
        format!("select delivery_timeout::text from wa.sequences where recipient = '{ALICE}'");
    assert_eq!(world.text(&kept).await, "86400:00:00");
    let again =
        "wa.waiting_deliveries w join wa.webhook_inbox i using (id) where i.state = 'stored'";
    assert_eq!(
        world.count(again).await,
        1,
        "what such a span kept aside is applied"
    );
}
