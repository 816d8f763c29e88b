//! Traces: what a collector is told, and that nothing depends on it.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::Span;
use wa_outbox::config::{Config, SecretRef};
use wa_outbox::simulator::Fault;

use crate::support::collector::{Collector, attribute};
use crate::support::make::{ALICE, BOB, a_text};
use crate::support::world::{SENDER, World, quick_settings};

fn told_to(endpoint: String) -> Config {
    let mut config = quick_settings();
    config.traces.endpoint = Some(endpoint);
    config
}

/// What a trace tells of itself.
fn of(span: &Span, names: &[&str]) -> Vec<String> {
    let told = |name: &&str| attribute(span, name).unwrap_or_else(|| "(nothing)".to_owned());
    names.iter().map(told).collect()
}

#[tokio::test]
async fn a_message_is_told_from_its_intent_to_its_status_and_nobody_is_named() {
    let (collector, endpoint) = Collector::start().await;
    let mut config = told_to(endpoint);
    let key = SecretRef::Env("COLLECTOR_KEY".to_owned());
    config.traces.headers.insert("x-api-key".to_owned(), key);
    let mut world = World::at_rest_with(config).await;
    let key = ("COLLECTOR_KEY".to_owned(), "let-me-in".to_owned());
    world.env.extend([key]);
    world.start_service().await;

    let message = world.enqueue(a_text()).await;
    let wamid = world.until_state(message, "accepted").await.wamid;
    world.until_webhooks_are_applied().await;
    world
        .until_true("the collector knows of it", async || {
            let received = collector.receiver_of(collector.span("apply webhook"));
            received.is_some() && collector.span("attempt").is_some()
        })
        .await;

    let attempt = collector.span("attempt").expect("an attempt");
    let about = ["sender.id", "message.id", "message.attempt", "outcome"];
    let told = of(&attempt, &about);
    assert_eq!(told, [SENDER, &message.0.to_string(), "1", "accepted"]);
    let parts: Vec<Span> = collector
        .spans()
        .into_iter()
        .filter(|span| span.parent_span_id == attempt.span_id)
        .collect();
    let names: BTreeSet<&str> = parts.iter().map(|span| span.name.as_str()).collect();
    let expected = ["begin", "wait for permit", "connect", "request", "record"];
    assert_eq!(names, BTreeSet::from(expected));
    for part in &parts {
        assert_eq!(part.trace_id, attempt.trace_id, "{}", part.name);
        assert!(
            attempt.start_time_unix_nano <= part.start_time_unix_nano
                && part.start_time_unix_nano <= part.end_time_unix_nano
                && part.end_time_unix_nano <= attempt.end_time_unix_nano,
            "{} lies outside of its attempt",
            part.name
        );
    }
    let request = collector.span("request").expect("a request");
    assert_eq!(of(&request, &["http.response.status_code"]), ["200"]);

    let applied = collector.span("apply webhook").expect("it was applied");
    let received = collector.receiver_of(Some(applied.clone()));
    let received = received.expect("it was received");
    assert_eq!(received.name, "receive webhook");
    assert_eq!(received.trace_id, applied.trace_id);
    assert!(received.parent_span_id.is_empty());
    let links: Vec<_> = (applied.links.iter())
        .map(|link| (&link.trace_id, &link.span_id))
        .collect();
    assert_eq!(links, [(&attempt.trace_id, &attempt.span_id)]);

    assert_eq!(collector.first_headers()["x-api-key"], "let-me-in");
    let wamid = wamid.expect("a wamid");
    assert!(collector.was_told(SENDER));
    for secret in [ALICE, &ALICE[1..], wamid.as_str(), "wamid", "Your order"] {
        assert!(!collector.was_told(secret), "{secret}");
    }
}

#[tokio::test]
async fn of_what_went_well_a_share_is_told_and_of_the_rest_everything() {
    let (collector, endpoint) = Collector::start().await;
    let mut config = told_to(endpoint);
    config.traces.sample_ratio = 0.0;
    let world = World::start_with(config).await;
    world.simulator.fault_next(BOB, Fault::Error(131026));
    let well = world.enqueue(a_text()).await;
    world.until_state(well, "accepted").await;
    let refused = world.enqueue(a_text().to(BOB)).await;
    world.until_state(refused, "failed").await;
    world
        .until_true("the collector knows of it", async || collector.calls() > 0)
        .await;

    // Traces are told in the order of their ends, so one of the first message would be here.
    let attempt = collector.span("attempt").expect("an attempt");
    let about = ["message.id", "outcome", "error.code"];
    let expected = [&refused.0.to_string(), "rejected", "131026"];
    assert_eq!(of(&attempt, &about), expected);
    let request = collector.span("request").expect("a request");
    assert_eq!(of(&request, &["http.response.status_code"]), ["400"]);
    let attempts = collector.spans();
    let attempts = attempts.iter().filter(|span| span.name == "attempt");
    assert_eq!(attempts.count(), 1);
}

#[tokio::test]
async fn messages_leave_while_nobody_takes_their_traces() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nowhere = unused.local_addr().expect("its address");
    drop(unused);
    let world = World::start_with(told_to(format!("http://{nowhere}"))).await;
    for _ in 0..20 {
        world.enqueue(a_text()).await;
    }
    world.until_all_have_ended().await;
    assert_eq!(world.simulator.ledger().accepted_count(), 20);
    world
        .until_true("the traces are counted as lost", async || {
            let scrape = world.scrape().await;
            scrape.of("wa_outbox_traces_lost_total") >= Some(20.0)
        })
        .await;
    assert_eq!(
        world.scrape().await.of("wa_outbox_traces_sent_total"),
        Some(0.0)
    );
}

#[tokio::test]
async fn a_collector_that_hangs_keeps_back_neither_a_message_nor_the_end() {
    let (collector, endpoint) = Collector::start_hanging().await;
    let mut world = World::start_with(told_to(endpoint)).await;
    let first = world.enqueue(a_text()).await;
    world.until_state(first, "accepted").await;
    world
        .until_true("the collector hangs", async || collector.calls() > 0)
        .await;

    for _ in 0..20 {
        world.enqueue(a_text()).await;
    }
    world.until_all_have_ended().await;

    assert_eq!(world.simulator.ledger().accepted_count(), 21);
    assert!(world.stop_service().await, "a clean end");
}

#[tokio::test]
async fn a_header_that_is_none_is_a_bad_setting() {
    let world = World::at_rest().await;
    let settings = [
        ("WA_OUTBOX__TRACES__ENDPOINT", "http://127.0.0.1:4318"),
        ("WA_OUTBOX__TRACES__HEADERS", "{ \"x y\" = \"env:KEY\" }"),
        ("KEY", "1"),
    ];
    let process = world.spawn_process_with("odd-header", &world.database.url, &settings);
    process.until_logged("is no header").await;
    assert_eq!(process.ended().await.code(), Some(64));
}
