//! A bad day: answers get lost, connections close, servers fail and lie about it, webhooks come twice and in disorder. At
//! its end every message has been taken by WhatsApp exactly once, and we know it.

use std::collections::BTreeMap;
use std::time::Duration;

use wa_outbox::simulator::{Entry, Fault, FaultPlan, WebhookFault};

use crate::support::books::message_of;
use crate::support::make::a_text;
use crate::support::world::{World, quick_settings};

const MESSAGES: usize = 1_500;
/// The slowest way to an end: lost, silent to the end of its evidence clock, sent again, and once more.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_storm_of_faults_loses_nothing_and_repeats_nothing() {
    let mut config = quick_settings();
    // So that a message struck three times in a row is sent a fourth time, and not left to a person.
    config.reconcile.max_resends = 5;
    let world = World::start_with(config).await;
    world.simulator.set_faults(FaultPlan {
        seed: 1_500,
        probabilities: vec![
            (Fault::AcceptThenDropAnswer, 0.02),
            (Fault::CloseBeforeReading, 0.01),
            (Fault::CloseAfterReading, 0.01),
            (Fault::AcceptThenServerError, 0.005),
            (Fault::ServerError, 0.005),
        ],
        webhook_probabilities: vec![
            (WebhookFault::Doubled, 0.1),
            (WebhookFault::Reordered, 0.1),
            (WebhookFault::Early, 0.1),
            // Long after a request was given up, and well before its evidence clock has run out.
            (WebhookFault::Late(2_500), 0.3),
        ],
        ..FaultPlan::default()
    });
    let written = world
        .enqueue_all((0..MESSAGES).map(|number| {
            a_text()
                .to(&format!("+1650555{number:04}"))
                .saying(&number.to_string())
        }))
        .await;

    world.until_all_have_ended_within(PATIENCE).await;
    world.until_webhooks_are_applied().await;

    world.assert_each_was_accepted_once(&written).await;
    let read = world.count("wa.results where read_at is not null").await;
    assert_eq!(read, MESSAGES as i64, "a status was lost");
    let mut requests: BTreeMap<i64, Vec<_>> = BTreeMap::new();
    for entry in world.simulator.ledger().all() {
        requests.entry(message_of(&entry)).or_default().push(entry);
    }
    for (message, requests) in &requests {
        let (last, before) = requests.split_last().expect("one at least");
        assert!(
            last.wamid().is_some(),
            "{message} ended without being taken"
        );
        assert!(
            before.iter().all(|entry| entry.wamid().is_none()),
            "{message} was sent again although it had been taken"
        );
    }
    let happened = tally(requests.values().flatten());
    println!("requests by what became of them: {happened:#?}");
    for fault in [
        "accept_then_drop_answer",
        "close_after_reading",
        "server_error",
    ] {
        assert!(happened.contains_key(fault), "the storm brought no {fault}");
    }
    let outcomes: Vec<(String, i64)> =
        sqlx::query_as("select outcome, count(*) from wa.attempts group by 1 order by 1")
            .fetch_all(&world.database.pool)
            .await
            .expect("the attempts");
    println!("attempts that did not end in plain acceptance: {outcomes:?}");
}

fn tally<'a>(entries: impl Iterator<Item = &'a std::sync::Arc<Entry>>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for entry in entries {
        let name = entry
            .fault
            .map_or("plain".to_owned(), |fault| fault.to_string());
        *tally.entry(name).or_default() += 1;
    }
    tally
}
