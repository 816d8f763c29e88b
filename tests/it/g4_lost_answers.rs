//! G4: a lost answer is not a failure. Evidence settles it; policy does only when the evidence clock has run out.

mod other_key;
mod policy;
mod without_echo;

use sqlx::AssertSqlSafe;
use wa_outbox::domain::id::{AttemptNumber, MessageId, Wamid};
use wa_outbox::domain::token::TokenKey;
use wa_outbox::simulator::{Fault, Status, Statuses, WebhookFault};
use wa_outbox::store::sender::SenderChange;
use wa_outbox::store::uncertain::{Finding, Settled, UncertainPolicy};

use crate::support::callbacks::{a_status, with_data};
use crate::support::make::{ALICE, BOB, a_text};
use crate::support::world::{SENDER, World};

/// What the quick settings of a world say.
const POLICY: UncertainPolicy = UncertainPolicy {
    window_s: 1,
    max_resends: 1,
    hold: false,
};

async fn run(world: &World, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&world.database.pool)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Moves the deadline of the lost answer into the past, and the moment since when somebody listens: so long has it been silent.
async fn silent_for(world: &World, id: MessageId, seconds: u32) {
    listening_for(world, seconds).await;
    unanswered_for(world, id, seconds).await;
}

async fn unanswered_for(world: &World, id: MessageId, seconds: u32) {
    let deadline = "update wa.uncertain set deadline = now() - interval";
    run(world, &format!("{deadline} '{seconds} s' where id = {id}")).await;
}

async fn listening_for(world: &World, seconds: u32) {
    let since = "update wa.webhook_listening set since = now() - interval";
    run(world, &format!("{since} '{seconds} s'")).await;
}

/// One look at what has stayed silent, as the reconciler takes it.
async fn one_look(world: &World) -> Settled {
    world.store.settle_silent(POLICY).await.expect("a look")
}

/// A world that looks at what is silent only when the test says so: nothing but the sender's own window ends a wait.
async fn a_world_with_a_window_of(seconds: i32) -> World {
    let world = World::start().await;
    let window = SenderChange {
        reconcile_window_s: Some(seconds),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, window).await;
    world
}

/// A message whose answer was lost under this fault, and of which nothing will be heard.
async fn a_lost_one(world: &World, fault: Fault) -> MessageId {
    a_lost_one_to(world, ALICE, fault).await
}

async fn a_lost_one_to(world: &World, recipient: &str, fault: Fault) -> MessageId {
    world.simulator.fault_next(recipient, fault);
    world
        .simulator
        .webhook_fault_next(recipient, WebhookFault::Lost);
    let id = world.enqueue(a_text().to(recipient)).await;
    world.until_state(id, "uncertain").await;
    id
}

async fn resends(world: &World, id: MessageId) -> i32 {
    sqlx::query_scalar("select resends from wa.uncertain where id = $1")
        .bind(id.0)
        .fetch_one(&world.database.pool)
        .await
        .expect("it is uncertain")
}

fn requests(world: &World) -> usize {
    requests_to(world, ALICE)
}

fn requests_to(world: &World, recipient: &str) -> usize {
    world.simulator.ledger().requests_for(recipient).len()
}

async fn until_it_waits_for(world: &World, id: MessageId, words: &str) {
    world
        .until(id, words, |message| {
            message
                .waiting_for
                .as_deref()
                .is_some_and(|waiting_for| waiting_for.contains(words))
        })
        .await;
}

/// A message that went through the whole machinery after the test had looked.
async fn another_message_gets_through(world: &World) {
    let other = world.enqueue(a_text().to(BOB)).await;
    world.until_state(other, "accepted").await;
}

#[tokio::test]
async fn an_answer_that_was_lost_after_acceptance_is_found_by_its_webhook() {
    let world = World::start().await;
    let mut messages = Vec::new();
    for (at, fault) in [
        Fault::AcceptThenDropAnswer,
        Fault::AcceptThenServerError,
        Fault::AcceptThenGatewayPage,
        Fault::AcceptThenTruncateAnswer,
        Fault::AcceptThenAnswerHtml,
        Fault::AcceptThenAnswerWithoutId,
        Fault::AcceptThenHang,
        Fault::EchoAnother,
    ]
    .into_iter()
    .enumerate()
    {
        let recipient = format!("+1650555100{at}");
        world.simulator.fault_next(&recipient, fault);
        let id = world.enqueue(a_text().to(&recipient)).await;
        messages.push((id, recipient, fault));
    }

    for (id, recipient, fault) in messages {
        world.until_status(id, "read").await;
        world
            .until_true("the doubt is written down", async || {
                !world.timeline(id).await.attempts.is_empty()
            })
            .await;
        let timeline = world.timeline(id).await;
        assert_eq!(
            (timeline.message.state.as_str(), timeline.message.attempts),
            ("accepted", 1),
            "{fault}"
        );
        assert_eq!(timeline.attempts[0].outcome, "uncertain", "{fault}");
        assert_eq!(timeline.acceptances.len(), 1, "{fault}");
        assert_eq!(timeline.acceptances[0].learned_from, "webhook", "{fault}");
        assert_eq!(timeline.message.duplicate, None, "{fault}");
        assert_eq!(
            world.simulator.ledger().requests_for(&recipient).len(),
            1,
            "{fault}"
        );
        let accepted = world.simulator.ledger().accepted_for(&recipient);
        assert_eq!(
            timeline.message.wamid.as_deref(),
            accepted[0].wamid(),
            "{fault}"
        );
    }
    assert_eq!(world.store.open_messages().await.expect("a count"), 0);
    assert!(world.simulator.ledger().duplicates().is_empty());
}

#[tokio::test]
async fn a_connection_that_ends_after_its_answer_costs_no_message_anything() {
    let world = World::start().await;
    for _ in 0..5 {
        world.simulator.fault_next(ALICE, Fault::AcceptThenClose);
        let id = world.enqueue(a_text()).await;
        let message = world.until_state(id, "accepted").await;
        assert_eq!(message.attempts, 1);
    }
    assert!(world.simulator.ledger().duplicates().is_empty());
}

#[tokio::test]
async fn evidence_settles_what_was_left_to_a_person() {
    let world = World::start().await;
    let id = a_lost_one(&world, Fault::AcceptThenAnswerHtml).await;
    silent_for(&world, id, 60).await;
    world
        .until_true("it is left to a person", async || {
            world.store.uncertain(1).await.expect("the list")[0].needs_person
        })
        .await;

    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    let told = world
        .simulator
        .tell(entry.wamid().expect("a wamid"), Status::Delivered)
        .await;
    assert_eq!(told.expect("it is told"), 200);

    let message = world.until_status(id, "delivered").await;
    assert_eq!(
        (message.state.as_str(), message.wamid.as_deref()),
        ("accepted", entry.wamid())
    );
}

#[tokio::test]
async fn a_person_settles_it_in_three_ways() {
    let world = World::start().await;
    let known = a_lost_one(&world, Fault::AcceptThenDropAnswer).await;
    let wamid = world.simulator.ledger().accepted_for(ALICE)[0]
        .wamid()
        .map(Wamid::from)
        .expect("a wamid");
    let gone = a_lost_one(&world, Fault::CloseAfterReading).await;
    let again = a_lost_one(&world, Fault::CloseAfterReading).await;
    run(&world, "update wa.senders set on_uncertain = 'hold'").await;

    let resolve = async |id: MessageId, finding: Finding| {
        world
            .store
            .resolve(id, &finding, "ann", "looked it up")
            .await
            .expect("an answer")
    };
    assert!(resolve(known, Finding::Accepted(wamid.clone())).await);
    assert!(resolve(gone, Finding::NotSent).await);
    assert!(resolve(again, Finding::SendAgain).await);

    let message = world.until_state(known, "accepted").await;
    assert_eq!(message.wamid.as_deref(), Some(wamid.reveal()));
    let message = world.until_state(gone, "failed").await;
    assert!(
        message
            .error_message
            .is_some_and(|words| words.contains("not sent, says ann: looked it up"))
    );
    assert_eq!(world.until_state(again, "accepted").await.attempts, 2);
    for id in [known, gone, again] {
        let attempt = world.timeline(id).await.attempts.remove(0);
        assert_eq!(attempt.settled_by.as_deref(), Some("operator ann"));
        assert_eq!(attempt.settled_note.as_deref(), Some("looked it up"));
        assert!(attempt.settled_at.is_some());
        assert!(!resolve(id, Finding::SendAgain).await, "it is settled once");
    }
    another_message_gets_through(&world).await;
    assert_eq!(requests(&world), 4);
}

#[tokio::test]
async fn the_wamid_that_a_person_gives_brings_the_statuses_that_came_before() {
    let world = World::start().await;
    let id = a_lost_one(&world, Fault::AcceptThenDropAnswer).await;
    let wamid = "wamid.found-by-ann";
    world
        .deliver(&[a_status(wamid, "delivered", 1_800_000_000)])
        .await;
    assert_eq!(world.state_of(id).await, "uncertain");

    let finding = Finding::Accepted(Wamid::from(wamid));
    assert!(
        world
            .store
            .resolve(id, &finding, "ann", "asked Meta")
            .await
            .expect("an answer")
    );

    assert_eq!(world.until_status(id, "delivered").await.state, "accepted");
}

#[tokio::test]
async fn a_token_that_was_not_made_with_our_key_settles_nothing() {
    let world = World::start().await;
    let id = a_lost_one(&world, Fault::AcceptThenDropAnswer).await;
    let forged = TokenKey::from_bytes(&[7; 32])
        .issue(id, AttemptNumber(1), None)
        .expect("a token");
    let own = world.token(id, 1).await;
    let borrowed = own.replacen(&format!("-{id}-1-"), &format!("-{id}-2-"), 1);

    for data in [forged.as_str(), &borrowed, "wo1-1-1-", &format!("{id}")] {
        world
            .deliver(&[with_data(
                a_status("wamid.forged", "delivered", 1_800_000_000),
                data,
            )])
            .await;
        let timeline = world.timeline(id).await;
        assert_eq!(timeline.message.state, "uncertain", "{data}");
        assert!(
            timeline.acceptances.is_empty() && timeline.statuses.is_empty(),
            "{data}"
        );
    }
    assert_eq!(
        world
            .store
            .inbox_summary()
            .await
            .expect("the counts")
            .unmatched,
        4
    );

    world
        .deliver(&[with_data(
            a_status("wamid.true", "delivered", 1_800_000_000),
            &own,
        )])
        .await;
    let message = world.message(id).await;
    assert_eq!(
        (message.state.as_str(), message.wamid.as_deref()),
        ("accepted", Some("wamid.true"))
    );
}

#[tokio::test]
async fn two_acceptances_of_one_message_are_both_kept_and_flagged() {
    let world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    let id = a_lost_one(&world, Fault::AcceptThenDropAnswer).await;
    silent_for(&world, id, 60).await;
    let message = world.until_state(id, "accepted").await;
    assert_eq!((message.attempts, message.duplicate), (2, None));
    let accepted = world.simulator.ledger().accepted_for(ALICE);
    assert_eq!(
        accepted.len(),
        2,
        "WhatsApp took it twice, and nobody could know yet"
    );

    // The webhook of the first, delayed beyond the resend.
    let first = accepted[0].wamid().expect("a wamid");
    let told = world.simulator.tell(first, Status::Delivered).await;
    assert_eq!(told.expect("it is told"), 200);
    world.until_webhooks_are_applied().await;

    let timeline = world.timeline(id).await;
    assert_eq!(timeline.message.state, "accepted");
    assert_eq!(timeline.message.duplicate.as_deref(), Some("resend"));
    assert_eq!(
        timeline.message.wamid.as_deref(),
        accepted[1].wamid(),
        "the one that was known first"
    );
    assert_eq!(timeline.message.status.as_deref(), Some("delivered"));
    let mut attempts: Vec<i32> = timeline.acceptances.iter().map(|row| row.attempt).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2]);
}

#[tokio::test]
async fn evidence_that_comes_while_the_resend_is_out_makes_it_a_known_duplicate() {
    let world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    let id = a_lost_one(&world, Fault::AcceptThenDropAnswer).await;
    world.simulator.fault_next(ALICE, Fault::AcceptThenHang);
    silent_for(&world, id, 60).await;
    world
        .simulator
        .ledger()
        .wait_until(|ledger| ledger.requests_for(ALICE).len() == 2)
        .await;

    let accepted = world.simulator.ledger().accepted_for(ALICE);
    for entry in &accepted {
        let told = world
            .simulator
            .tell(entry.wamid().expect("a wamid"), Status::Sent)
            .await;
        assert_eq!(told.expect("it is told"), 200);
    }
    world.until_webhooks_are_applied().await;

    let timeline = world.timeline(id).await;
    assert_eq!(timeline.message.state, "accepted");
    assert_eq!(timeline.message.duplicate.as_deref(), Some("resend"));
    assert_eq!(timeline.acceptances.len(), 2);
    assert_eq!(world.store.open_messages().await.expect("a count"), 0);
}

#[tokio::test]
async fn an_answer_to_another_request_is_no_evidence_for_ours() {
    let world = World::start().await;
    let id = a_lost_one(&world, Fault::EchoAnother).await;

    let timeline = world.timeline(id).await;

    assert!(
        timeline.acceptances.is_empty(),
        "the id in that answer is somebody else's"
    );
    assert_eq!(timeline.message.wamid, None);
    assert_eq!(timeline.attempts[0].outcome, "uncertain");
    let note = timeline.attempts[0].note.clone().unwrap_or_default();
    assert!(note.contains("belongs to another message"), "{note}");
    another_message_gets_through(&world).await;
}
