//! Metrics: what is counted is what happened.

use std::sync::Arc;
use std::time::Duration;

use wa_outbox::admin::sampler::Sampler;
use wa_outbox::metrics::Metrics;
use wa_outbox::simulator::{Fault, Status, Statuses, WebhookFault};
use wa_outbox::store::sender::SenderChange;

use crate::support::callbacks::{a_status, signed_with};
use crate::support::make::{ALICE, BOB, a_text};
use crate::support::scrape::Scrape;
use crate::support::world::{APP_SECRET, SENDER, World, quick_settings};

fn of_sender(name: &str) -> String {
    format!("{name}{{sender=\"{SENDER}\"}}")
}

fn attempts(outcome: &str) -> String {
    format!("wa_outbox_attempts_total{{sender=\"{SENDER}\",outcome=\"{outcome}\"}}")
}

fn throttled(scope: &str) -> String {
    format!("wa_outbox_throttled_total{{sender=\"{SENDER}\",scope=\"{scope}\"}}")
}

/// What the sampler would say of this world now.
async fn sampled(world: &World) -> Scrape {
    let metrics = Arc::new(Metrics::new());
    let sampler = Sampler::new(world.store.clone(), Arc::clone(&metrics));
    sampler.run_once().await.expect("the database answers");
    Scrape(metrics.text())
}

#[tokio::test]
async fn the_counters_say_what_the_ledger_says() {
    let world = World::start().await;
    let throttled_one = "+16505551003";
    let lost_one = "+16505551004";
    world.simulator.fault_next(BOB, Fault::Error(131026));
    world
        .simulator
        .fault_next(throttled_one, Fault::RateLimited);
    world.simulator.fault_next(lost_one, Fault::AcceptThenHang);
    let accepted = [
        world.enqueue(a_text()).await,
        world.enqueue(a_text()).await,
        world.enqueue(a_text().to(throttled_one)).await,
        world.enqueue(a_text().to(lost_one)).await,
    ];
    let refused = world.enqueue(a_text().to(BOB)).await;
    for message in accepted {
        world.until_state(message, "accepted").await;
    }
    world.until_state(refused, "failed").await;
    world.until_webhooks_are_applied().await;
    // The answer to the last request is waited for until its time is over, whatever the webhook has told by then.
    world.until_metric_is(&attempts("uncertain"), 1.0).await;

    let ledger = world.simulator.ledger();
    let scrape = world.scrape().await;

    let of = |series: &str| scrape.of(series).unwrap_or_else(|| panic!("no {series}"));
    let outcomes = ["accepted", "rejected", "throttled", "uncertain"].map(|one| of(&attempts(one)));
    assert_eq!(outcomes, [3.0, 1.0, 1.0, 1.0]);
    assert_eq!(outcomes.iter().sum::<f64>(), ledger.request_count() as f64);
    assert_eq!(
        ["sender", "account", "pair"].map(|scope| of(&throttled(scope))),
        [1.0, 0.0, 0.0]
    );
    assert_eq!(
        of("wa_outbox_messages_total{state=\"accepted\"}"),
        ledger.accepted_count() as f64
    );
    assert_eq!(of("wa_outbox_messages_total{state=\"failed\"}"), 1.0);
    let requests = of("wa_outbox_request_duration_seconds_count");
    assert_eq!(requests, ledger.request_count() as f64);
    assert_eq!(
        of("wa_outbox_due_to_request_seconds_count"),
        requests,
        "each request was due once"
    );
    assert!(of("wa_outbox_begin_duration_seconds_count") >= 1.0);
    assert!(of("wa_outbox_record_duration_seconds_count") >= 1.0);
    assert_eq!(of("wa_outbox_unwritten_outcomes"), 0.0);
    let stored = of("wa_outbox_webhook_deliveries_total{result=\"stored\"}");
    assert_eq!(of("wa_outbox_webhook_deliveries_applied_total"), stored);
    assert_eq!(stored, world.simulator.webhooks().answered as f64);
    // Where only a webhook told of the acceptance, nobody knows how long before it was.
    let by_answer: i64 =
        sqlx::query_scalar("select count(*) from wa.known_wamids where learned_from = 'response'")
            .fetch_one(&world.database.pool)
            .await
            .expect("a count");
    assert_eq!(
        of("wa_outbox_sent_status_delay_seconds_count"),
        by_answer as f64
    );
    assert_eq!(of("wa_outbox_may_send"), 1.0);
    for secret in [ALICE, &ALICE[1..], "wamid", "Your order"] {
        assert!(!scrape.0.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn webhooks_are_counted_by_what_became_of_them() {
    let world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    let forged = b"{}".to_vec();
    assert_eq!(world.post_webhook(forged, None).await.status, 401);
    let unreadable = b"[]".to_vec();
    let signature = signed_with(APP_SECRET, &unreadable);
    let answer = world.post_webhook(unreadable, Some(&signature)).await;
    assert_eq!(answer.status, 200);
    let message = world.enqueue(a_text()).await;
    let wamid = world.until_state(message, "accepted").await.wamid;
    let ours = a_status(&wamid.expect("a wamid"), "sent", 1_800_000_000);
    let unknown = a_status("wamid.NOBODY", "sent", 1_800_000_000);
    world.deliver(&[ours, unknown]).await;

    for (series, value) in [
        (
            "wa_outbox_webhook_deliveries_total{result=\"refused\"}",
            1.0,
        ),
        ("wa_outbox_webhook_deliveries_total{result=\"stored\"}", 2.0),
        ("wa_outbox_webhook_deliveries_applied_total", 2.0),
        ("wa_outbox_webhook_bad_total", 1.0),
        ("wa_outbox_webhook_statuses_total{result=\"matched\"}", 1.0),
        (
            "wa_outbox_webhook_statuses_total{result=\"unmatched\"}",
            1.0,
        ),
        ("wa_outbox_sent_status_delay_seconds_count", 1.0),
    ] {
        world.until_metric_is(series, value).await;
    }
}

fn settled(how: &str) -> String {
    format!("wa_outbox_uncertain_settled_total{{how=\"{how}\"}}")
}

#[tokio::test]
async fn a_lost_answer_is_counted_by_what_settled_it() {
    let world = World::start().await;
    world
        .simulator
        .fault_next(ALICE, Fault::AcceptThenDropAnswer);
    world
        .simulator
        .webhook_fault_next(ALICE, WebhookFault::Lost);
    let patient = SenderChange {
        reconcile_window_s: Some(3_600),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, patient).await;
    let message = world.enqueue(a_text()).await;
    world.until_state(message, "uncertain").await;
    let scrape = sampled(&world).await;
    assert_eq!(scrape.of("wa_outbox_uncertain_messages"), Some(1.0));
    let age = scrape.of("wa_outbox_uncertain_oldest_seconds");
    assert!(age > Some(0.0), "{age:?}");

    let accepted = world.simulator.ledger().accepted_for(ALICE);
    let wamid = accepted[0].wamid().expect("a wamid");
    let told = world.simulator.tell(wamid, Status::Sent).await;
    assert_eq!(told.expect("it is told"), 200);
    world.until_state(message, "accepted").await;

    world.until_metric_is(&settled("webhook"), 1.0).await;
    world
        .until_metric_is("wa_outbox_webhook_echoed_tokens_total", 1.0)
        .await;
    let scrape = world.scrape().await;
    for how in ["late_answer", "resent", "kept", "expired"] {
        assert_eq!(scrape.of(&settled(how)), Some(0.0), "{how}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_after_a_sweep_is_counted_as_late() {
    let world = World::start().await;
    let patient = SenderChange {
        reconcile_window_s: Some(3_600),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, patient).await;
    world.simulator.set_statuses(Statuses::none());
    world
        .simulator
        .set_latency(Duration::from_millis(900), Duration::ZERO);
    let message = world.enqueue(a_text()).await;
    world.until_taken(1).await;
    // As a new holder does that finds the request of one before it: what it concludes comes before the answer.
    let swept = "insert into wa.uncertain (id, sender, priority, expires_at, campaign, in_sequence, attempt, attempts, resends, begun_at,
           deadline, may_resend, doubt, waiting_for)
         select id, sender, priority, expires_at, campaign, in_sequence, attempt, attempts, resends, begun_at, deadline, true, 'swept', 'evidence'
         from wa.queue where state = 'sending'";
    let swept = sqlx::query(swept).execute(&world.database.pool).await;
    assert_eq!(swept.expect("it is swept").rows_affected(), 1);

    world.until_state(message, "accepted").await;

    world.until_metric_is(&settled("late_answer"), 1.0).await;
}

#[tokio::test]
async fn how_far_the_statuses_of_a_sender_have_come_is_told() {
    let world = World::start().await;
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;

    let accepted_at = of_sender("wa_outbox_sender_last_accepted_timestamp_seconds");
    let accepted_at = world.scrape().await.of(&accepted_at).expect("a time");
    let watermark = of_sender("wa_outbox_sender_status_watermark_timestamp_seconds");
    let watermark = sampled(&world).await.of(&watermark).expect("a time");
    let apart = (accepted_at - watermark).abs();
    assert!(apart < 600.0, "{accepted_at} and {watermark}");
}

#[tokio::test]
async fn how_a_sender_goes_is_told_while_it_is_worked() {
    let world = World::start().await;
    world.simulator.fault_always(ALICE, Some(Fault::Hang));
    let change = SenderChange {
        rate_per_second: Some(50.0),
        max_in_flight: Some(2),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, change).await;
    for _ in 0..3 {
        world.enqueue(a_text()).await;
    }

    world
        .until_metric_is(&of_sender("wa_outbox_sender_rate_limit"), 50.0)
        .await;
    world.until_metric_is("wa_outbox_leases_held", 1.0).await;
    world
        .until_true("requests are out", async || {
            let scrape = world.scrape().await;
            let of = |name: &str| scrape.of(&of_sender(name)).unwrap_or_default();
            of("wa_outbox_sender_in_flight") >= 1.0
        })
        .await;
}

#[tokio::test]
async fn what_waits_is_told_with_its_age_and_a_hold_too() {
    let world = World::at_rest().await;
    for _ in 0..3 {
        world.enqueue(a_text()).await;
    }
    let late = "update wa.queue set due_at = now() - interval '1 hour' where id = (select min(id) from wa.queue)";
    sqlx::raw_sql(late)
        .execute(&world.database.pool)
        .await
        .expect("one is late");

    let scrape = sampled(&world).await;

    assert_eq!(scrape.of(&of_sender("wa_outbox_queue_messages")), Some(3.0));
    let age = scrape.of(&of_sender("wa_outbox_queue_oldest_due_seconds"));
    assert!(
        (3_600.0..3_700.0).contains(&age.expect("an age")),
        "{age:?}"
    );
    assert_eq!(
        scrape.of(&of_sender("wa_outbox_sender_rate_set")),
        Some(5_000.0)
    );
    assert_eq!(scrape.of(&of_sender("wa_outbox_sender_held")), Some(0.0));
    assert_eq!(scrape.of("wa_outbox_senders_unowned"), Some(1.0));
    assert_eq!(scrape.of("wa_outbox_workers"), Some(0.0));

    world.deliveries_wait(&["{}"], "10 minutes").await;
    for statement in [
        "update wa.senders set held_reason = 'a test', held_by = 'ada', held_at = now()",
        "insert into wa.campaigns (name, sender, payload, state, state_changed_by) select x.name, s.sender,
           '{\"type\":\"template\",\"template\":{\"name\":\"a\",\"language\":{\"code\":\"en\"}}}', x.state, x.by
         from wa.senders s, (values ('one', 'running', 'ada'), ('two', 'paused', 'ada'), ('three', 'paused', 'wa-outbox'))
           as x (name, state, by)",
        "insert into wa.results (id, sender, state, wamid, attempts, duplicate)
         select 1000 + n, s.sender, 'accepted', 'w' || n, 1, case when n > 2 then 'resend' else 'transport_retry' end
         from wa.senders s, generate_series(1, 5) n",
    ] {
        sqlx::raw_sql(statement)
            .execute(&world.database.pool)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let scrape = sampled(&world).await;
    assert_eq!(scrape.of(&of_sender("wa_outbox_sender_held")), Some(1.0));
    assert_eq!(scrape.of("wa_outbox_webhook_pending"), Some(1.0));
    let lag = scrape.of("wa_outbox_webhook_lag_seconds").expect("a lag");
    assert!((600.0..700.0).contains(&lag), "{lag}");
    for (cause, count) in [("resend", 3.0), ("transport_retry", 2.0)] {
        let series = format!("wa_outbox_duplicate_messages{{cause=\"{cause}\"}}");
        assert_eq!(scrape.of(&series), Some(count), "{cause}");
    }
    assert_eq!(scrape.of("wa_outbox_campaigns_running"), Some(1.0));
    assert_eq!(scrape.of("wa_outbox_campaigns_self_paused"), Some(1.0));
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_seen_in_the_metrics() {
    let (world, cable) = World::start_on_a_cable_with(quick_settings()).await;
    world.until_ready_is(true).await;
    let scrape = world.scrape().await;
    assert_eq!(scrape.of("wa_outbox_database_unanswered_total"), Some(0.0));
    assert_eq!(scrape.of("wa_outbox_database_connections_limit"), Some(6.0));
    assert!(scrape.of("wa_outbox_database_round_trips_total") > Some(0.0));

    cable.forget_connections();

    world
        .until_true("a statement was given up", async || {
            world
                .scrape()
                .await
                .of("wa_outbox_database_unanswered_total")
                > Some(0.0)
        })
        .await;
}
