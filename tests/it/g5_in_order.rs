//! G5, in order: of one sequence, a message leaves only after the one before it has been delivered, or read; or sent,
//! where WhatsApp never tells more. Whatever the webhooks do, and however many write and work at once.

mod halting;
mod kinds;
mod people;
mod races;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use sqlx::{Acquire as _, Connection as _};
use wa_outbox::domain::id::MessageId;
use wa_outbox::simulator::{Fault, FaultPlan, Status, Statuses, WebhookFault};
use wa_outbox::store::message::Message;

use crate::support::books::message_of;
use crate::support::make::{ALICE, BOB, Draft, a_message, a_text};
use crate::support::world::{SENDER, World};

/// The name of a sequence where there is one only.
const STORY: &str = "story";
const WAITING_FOR_A_LOCK: &str =
    "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

/// The part of a story with this number, to Alice.
fn part(number: usize) -> Draft {
    a_text().saying(&number.to_string()).in_sequence(STORY)
}

/// A world in which WhatsApp says nothing by itself.
async fn a_silent_world() -> World {
    let world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    world
}

impl World {
    /// WhatsApp says this of a message, and we have taken it in.
    async fn hear(&self, message: &Message, status: Status) {
        let wamid = message.wamid.as_deref().expect("it was accepted");
        let answer = self.simulator.tell(wamid, status).await.expect("told");
        assert_eq!(answer, 200);
        self.until_webhooks_are_applied().await;
    }
}

#[tokio::test]
async fn forty_sequences_keep_their_order_whatever_the_webhooks_do() {
    const SEQUENCES: usize = 40;
    const LENGTH: usize = 6;
    let world = World::start().await;
    let another = world.another_service().await;
    world.simulator.set_faults(FaultPlan {
        seed: 5,
        webhook_probabilities: vec![
            (WebhookFault::Doubled, 0.2),
            (WebhookFault::Reordered, 0.2),
            (WebhookFault::ReadOnly, 0.2),
            (WebhookFault::Early, 0.2),
            (WebhookFault::Late(60), 0.1),
        ],
        ..FaultPlan::default()
    });

    let mut written = Vec::new();
    for number in 0..LENGTH {
        for sequence in 0..SEQUENCES {
            // Sequences of one name to two people, and of several names to one.
            let recipient = format!("+1650555{:04}", sequence / 2);
            let draft = a_text()
                .to(&recipient)
                .saying(&number.to_string())
                .in_sequence(&format!("story-{}", sequence % 4));
            written.push(world.enqueue(draft).await);
        }
    }
    world.until_all_have_ended().await;

    world.assert_each_was_accepted_once(&written).await;
    let mut sequence_of = BTreeMap::new();
    for id in &written {
        let message = world.message(*id).await;
        sequence_of.insert(id.0, (message.recipient, message.sequence));
    }
    let mut told: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for entry in world.simulator.ledger().all() {
        let position = entry.text.as_deref().expect("a text").parse();
        told.entry(&sequence_of[&message_of(&entry)])
            .or_default()
            .push(position.expect("a position"));
    }
    assert_eq!(told.len(), SEQUENCES);
    for (sequence, positions) in told {
        assert_eq!(positions, (0..LENGTH).collect::<Vec<_>>(), "{sequence:?}");
    }
    another.stop().await;
}

#[tokio::test]
async fn the_next_member_leaves_after_delivered_and_not_after_sent() {
    let world = a_silent_world().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;

    let first = world.until_state(first, "accepted").await;
    let waits = world.message(second).await;
    assert_eq!(waits.state, "waiting");
    assert_eq!(
        waits.waiting_for.as_deref(),
        Some(format!("message {} in sequence 'story' to be delivered", first.id).as_str())
    );
    // A status and what it sets free are written in one transaction, so what was not set free by now will not be.
    world.hear(&first, Status::Sent).await;
    assert_eq!(world.state_of(second).await, "waiting");
    assert_eq!(world.requests(), 1);

    world.hear(&first, Status::Delivered).await;
    world.until_state(second, "accepted").await;
}

#[tokio::test]
async fn read_alone_sets_the_next_member_free() {
    let world = a_silent_world().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;

    let first = world.until_state(first, "accepted").await;
    world.hear(&first, Status::Read).await;

    world.until_state(second, "accepted").await;
}

#[tokio::test]
async fn sent_is_enough_for_a_reaction() {
    let world = a_silent_world().await;
    let reaction =
        json!({"type": "reaction", "reaction": {"message_id": "wamid.A", "emoji": "👍"}});
    let first = world.enqueue(a_message(reaction).in_sequence(STORY)).await;
    let second = world.enqueue(part(2)).await;

    let first = world.until_state(first, "accepted").await;
    assert_eq!(world.state_of(second).await, "waiting");
    world.hear(&first, Status::Sent).await;

    world.until_state(second, "accepted").await;
}

#[tokio::test]
async fn nothing_is_awaited_after_a_mark_as_read() {
    let world = a_silent_world().await;
    let mark = json!({"status": "read", "message_id": "wamid.A"});
    world.enqueue(a_message(mark).in_sequence(STORY)).await;
    let second = world.enqueue(part(2)).await;

    world.until_state(second, "accepted").await;
}

#[tokio::test]
async fn a_lost_answer_keeps_the_next_member_back_until_its_delivery_is_told() {
    let world = a_silent_world().await;
    world
        .simulator
        .fault_next(ALICE, Fault::AcceptThenDropAnswer);
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;

    world.until_state(first, "uncertain").await;
    assert_eq!(world.state_of(second).await, "waiting");
    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    let wamid = entry.wamid().expect("an id");
    world
        .simulator
        .tell(wamid, Status::Delivered)
        .await
        .expect("told");

    world.until_state(second, "accepted").await;
    assert_eq!(world.state_of(first).await, "accepted");
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn a_member_that_was_refused_halts_its_sequence_and_says_so() {
    let world = a_silent_world().await;
    world.simulator.fault_next(ALICE, Fault::Error(131026));
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;

    world.until_state(first, "failed").await;
    let halted = world.message(second).await;

    assert_is_halted_by(&halted, first);
    let third = world.enqueue(part(3)).await;
    assert_is_halted_by(&world.message(third).await, first);
}

#[tokio::test]
async fn a_member_that_failed_after_its_acceptance_halts_its_sequence() {
    let world = a_silent_world().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;

    let accepted = world.until_state(first, "accepted").await;
    world.hear(&accepted, Status::Failed(131026)).await;

    let halted = world.message(second).await;
    assert_is_halted_by(&halted, first);
}

#[tokio::test]
async fn a_delivery_told_after_a_failure_lifts_the_halt() {
    let world = a_silent_world().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    let accepted = world.until_state(first, "accepted").await;
    world.hear(&accepted, Status::Failed(131026)).await;
    assert_is_halted_by(&world.message(second).await, first);

    // One of the recipient's devices refused it, another took it (Meta, Support, "Conflicting message delivery status").
    world.hear(&accepted, Status::Delivered).await;

    world.until_state(second, "accepted").await;
}

#[tokio::test]
async fn a_sequence_that_skips_failures_goes_on() {
    let world = a_silent_world().await;
    world
        .run_sql(&format!(
            "insert into wa.sequences (sender, recipient, sequence, on_failure) values ('{SENDER}', '{ALICE}', '{STORY}', 'skip')"
        ))
        .await;
    world.simulator.fault_next(ALICE, Fault::Error(131026));
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    let third = world.enqueue(part(3)).await;

    world.until_state(first, "failed").await;
    let second = world.until_state(second, "accepted").await;
    world.hear(&second, Status::Failed(131026)).await;
    world.until_state(third, "accepted").await;
}

/// It waits because this member failed for want of a WhatsApp account, and says so.
fn assert_is_halted_by(waits: &Message, member: MessageId) {
    assert_eq!(waits.state, "waiting");
    let words = waits.waiting_for.as_deref().expect("it says why");
    let halted = format!("sequence 'story', halted: message {member} failed: ");
    assert!(words.starts_with(&halted), "{words}");
    assert!(words.to_lowercase().contains("undeliverable"), "{words}");
}

#[tokio::test]
async fn a_message_of_no_sequence_waits_for_none() {
    let world = a_silent_world().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    world.until_state(first, "accepted").await;

    let free = world.enqueue(a_text()).await;
    let another = world.enqueue(part(1).to(BOB)).await;

    world.until_state(free, "accepted").await;
    world.until_state(another, "accepted").await;
    assert_eq!(world.state_of(second).await, "waiting");
}

#[tokio::test]
async fn inserts_racing_with_deliveries_strand_nothing_and_overtake_nothing() {
    const WRITERS: usize = 20;
    const EACH: usize = 8;
    const SEQUENCES: usize = 8;
    let world = World::start().await;
    // Writers of their own, as many as an application has.
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(WRITERS as u32)
        .connect(&world.database.url)
        .await
        .expect("connections");
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = wa_outbox::store::Store::over(pool.clone());
        writers.spawn(async move {
            let mut ids = Vec::new();
            for number in 0..EACH {
                let sequence = format!("story-{}", (writer + number) % SEQUENCES);
                let draft = a_text().saying(&sequence).in_sequence(&sequence);
                ids.push(store.enqueue(&draft.0).await.expect("it is taken"));
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..40))).await;
            }
            ids
        });
    }
    let written: Vec<MessageId> = writers.join_all().await.into_iter().flatten().collect();
    world.until_all_have_ended().await;

    world.assert_each_was_accepted_once(&written).await;
    let mut left: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for entry in world.simulator.ledger().all() {
        let sequence = entry.text.clone().expect("a text");
        left.entry(sequence).or_default().push(message_of(&entry));
    }
    assert_eq!(left.len(), SEQUENCES);
    for (sequence, ids) in left {
        assert!(ids.is_sorted(), "{sequence} left as {ids:?}");
    }
    pool.close().await;
}

#[tokio::test]
async fn ids_of_a_sequence_are_in_the_order_of_their_commits() {
    let world = World::at_rest().await;
    world.enqueue(part(1)).await;
    let mut early = world.database.pool.acquire().await.expect("a connection");
    let mut transaction = early.begin().await.expect("a transaction");
    let write = "insert into wa.outbox (sender, recipient, sequence, payload)
                 values ($1, $2, $3, '{\"type\":\"text\",\"text\":{\"body\":\"hello\"}}') returning id";
    let first: i64 = sqlx::query_scalar(write)
        .bind(SENDER)
        .bind(ALICE)
        .bind(STORY)
        .fetch_one(&mut *transaction)
        .await
        .expect("it is taken");

    // A second writer of the sequence waits for the first, a writer of another one does not.
    let store = world.store.clone();
    let second = tokio::spawn(async move { store.enqueue(&part(3).0).await.expect("taken").0 });
    world
        .until_true("the second writer waits", async || {
            world.count(WAITING_FOR_A_LOCK).await == 1
        })
        .await;
    let other = world.enqueue(a_text().in_sequence("another")).await.0;
    transaction.commit().await.expect("committed");

    let second = second.await.expect("written");
    assert!(first < second, "{first} was committed before {second}");
    assert!(other < second, "the id was drawn after the wait");
}

#[tokio::test]
async fn one_statement_writes_a_whole_sequence_in_its_order() {
    let world = World::start().await;
    let inserted = "insert into wa.outbox (sender, recipient, sequence, payload)
        select $1, $2, 'inserted', json_build_object('type', 'text', 'text', json_build_object('body', 'inserted-' || n))
        from generate_series(1, 5) n";
    sqlx::query(inserted)
        .bind(SENDER)
        .bind(ALICE)
        .execute(&world.database.pool)
        .await
        .expect("a statement of five rows");
    let rows: String = (1..=5)
        .map(|n| {
            format!(
                "{SENDER}\t{ALICE}\tcopied\t{{\"type\":\"text\",\"text\":{{\"body\":\"copied-{n}\"}}}}\n"
            )
        })
        .collect();
    let mut connection = sqlx::PgConnection::connect(&world.database.url)
        .await
        .expect("a connection");
    let mut copy = connection
        .copy_in_raw("copy wa.outbox (sender, recipient, sequence, payload) from stdin")
        .await
        .expect("a copy");
    copy.send(rows.as_bytes()).await.expect("five rows");
    assert_eq!(copy.finish().await.expect("copied"), 5);

    world.until_all_have_ended().await;
    let texts: Vec<String> = world
        .simulator
        .ledger()
        .all()
        .iter()
        .filter_map(|entry| entry.text.clone())
        .collect();
    for name in ["inserted", "copied"] {
        let of_one: Vec<&String> = texts.iter().filter(|text| text.starts_with(name)).collect();
        let expected: Vec<String> = (1..=5).map(|n| format!("{name}-{n}")).collect();
        assert_eq!(of_one, expected.iter().collect::<Vec<_>>());
    }
}
