//! What a sequence does when a member of it cannot be delivered: as its setting says, its sender's or the worker's.

mod overtaken;
mod settled;

use std::time::Duration;

use wa_outbox::domain::id::{MessageId, SenderId, Wamid};
use wa_outbox::message::OnUncertain;
use wa_outbox::simulator::{Fault, Status, WebhookFault};
use wa_outbox::store::sender::SenderChange;
use wa_outbox::store::sequence::{
    SequenceChange, SequenceDefaults, SequenceKey, SequenceStanding, Word,
};
use wa_outbox::store::uncertain::Finding;

use super::{STORY, a_silent_world, part};
use crate::support::make::{ALICE, Draft};
use crate::support::world::{SENDER, World};

const WORD: Word<'_> = Word {
    by: "ada",
    reason: "because",
};
/// Over before anyone looks.
const AT_ONCE: Duration = Duration::from_millis(1);

/// The story to Alice.
pub(super) fn story() -> SequenceKey {
    SequenceKey {
        sender: SENDER.to_owned(),
        recipient: ALICE.to_owned(),
        sequence: STORY.to_owned(),
    }
}

impl World {
    async fn set(&self, change: SequenceChange) {
        let set = self.store.set_sequence(&story(), &change, WORD).await;
        set.expect("it is set");
    }

    pub(super) async fn standing(&self) -> SequenceStanding {
        let standing = self.store.sequence(&story()).await.expect("it is read");
        standing.expect("there is such a sequence")
    }

    /// Waits until the story is halted, and says why.
    async fn until_halted(&self) -> String {
        self.until_true("the story is halted", async || {
            self.standing().await.halted_at.is_some()
        })
        .await;
        self.standing().await.halted_reason.expect("a reason")
    }

    /// The look that its worker takes every second, but now.
    async fn look_after(&self) -> u64 {
        self.run_sql("update wa.sequences set look_at = now() where look_at is not null")
            .await;
        let senders = [SenderId::from(SENDER)];
        let looked = self.store.look_after_sequences(&senders, 10);
        looked.await.expect("it is looked")
    }

    /// WhatsApp has taken the message now, under this id.
    async fn is_accepted(&self, id: MessageId, wamid: &str) {
        self.run_sql(&format!(
            "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('{wamid}', '{SENDER}', {id}, 1, 'webhook')"
        ))
        .await;
    }
}

fn on_failure(policy: &str) -> SequenceChange {
    SequenceChange {
        on_failure: Some(policy.to_owned()),
        ..SequenceChange::default()
    }
}

fn a_timeout(policy: &str) -> SequenceChange {
    SequenceChange {
        delivery_timeout: Some(AT_ONCE),
        on_timeout: Some(policy.to_owned()),
        ..SequenceChange::default()
    }
}

/// A member whose answer is lost for good, and which its policy leaves to a person.
fn to_a_person(number: usize) -> Draft {
    part(number).on_uncertain(OnUncertain::Hold)
}

async fn lose_the_answer(world: &World) {
    world
        .simulator
        .fault_next(ALICE, Fault::AcceptThenDropAnswer);
    world
        .simulator
        .webhook_fault_next(ALICE, WebhookFault::Lost);
}

#[tokio::test]
async fn the_setting_of_a_sequence_counts_before_its_senders_and_that_before_the_workers() {
    let world = World::at_rest().await;
    world.enqueue(part(1)).await;
    let settings = async || {
        let now = world.standing().await;
        (now.on_failure, now.delivery_timeout_s, now.on_timeout)
    };
    let lives = (30.0 * 24.0 + 1.0 / 12.0) * 3_600.0;
    assert_eq!(
        settings().await,
        ("halt".into(), Some(lives), "halt".into())
    );

    let defaults = SequenceDefaults {
        on_failure: "skip",
        delivery_timeout: Some(Duration::from_secs(100)),
        on_timeout: "proceed",
    };
    assert!(
        world
            .store
            .set_sequence_defaults(&defaults)
            .await
            .expect("set")
    );
    assert!(
        !world
            .store
            .set_sequence_defaults(&defaults)
            .await
            .expect("set")
    );
    assert_eq!(
        settings().await,
        ("skip".into(), Some(100.0), "proceed".into())
    );

    let change = SenderChange {
        on_failure: Some("halt".into()),
        delivery_timeout: Some(Duration::from_secs(200)),
        on_timeout: Some("halt".into()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, change).await;
    assert_eq!(
        settings().await,
        ("halt".into(), Some(200.0), "halt".into())
    );

    world
        .set(SequenceChange {
            on_failure: Some("skip".into()),
            delivery_timeout: Some(Duration::from_secs(300)),
            on_timeout: Some("proceed".into()),
        })
        .await;
    assert_eq!(
        settings().await,
        ("skip".into(), Some(300.0), "proceed".into())
    );

    world
        .set(SequenceChange {
            on_failure: Some("default".into()),
            delivery_timeout: Some(Duration::ZERO),
            on_timeout: None,
        })
        .await;
    assert_eq!(
        settings().await,
        ("halt".into(), Some(200.0), "proceed".into())
    );
}

#[tokio::test]
async fn a_worker_writes_its_settings_where_lines_advance() {
    let mut config = crate::support::world::quick_settings();
    config.sequence.on_failure = wa_outbox::config::OnFailure::Skip;
    let world = World::start_with(config).await;
    world.simulator.fault_next(ALICE, Fault::Error(131026));
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;

    world.until_state(first, "failed").await;
    world.until_state(second, "accepted").await;
}

#[tokio::test]
async fn a_member_that_expired_halts_its_sequence_in_front_and_in_the_line() {
    for late_one in 1..=2 {
        let world = World::at_rest().await;
        for number in 1..=3 {
            let mut draft = part(number);
            if number == late_one {
                draft.0.due_at = Some(time::macros::datetime!(2024-01-01 0:00 UTC));
                draft.0.expires_at = Some(time::macros::datetime!(2024-01-02 0:00 UTC));
            }
            world.enqueue(draft).await;
        }
        assert_eq!(world.store.expire_overdue().await.expect("looked for"), 1);

        let halted = world.standing().await;
        assert_eq!(halted.halted_cause.as_deref(), Some("expired"));
        let waiting = if late_one == 1 { 2 } else { 1 };
        assert_eq!(halted.waiting, waiting);

        assert!(
            world
                .store
                .resume_sequence(&story(), WORD)
                .await
                .expect("done")
        );
        let resumed = world.standing().await;
        assert_eq!((resumed.halted_cause, resumed.waiting), (None, 1));
    }
}

#[tokio::test]
async fn a_member_left_to_a_person_halts_its_sequence_until_it_is_settled() {
    let world = a_silent_world().await;
    lose_the_answer(&world).await;
    let first = world.enqueue(to_a_person(1)).await;
    let second = world.enqueue(part(2)).await;

    let reason = world.until_halted().await;
    assert_eq!(
        reason,
        format!("message {first} is uncertain and waits for a person")
    );
    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    let wamid = Wamid::from(entry.wamid().expect("an id"));
    let finding = Finding::Accepted(wamid);
    let resolved = world.store.resolve(first, &finding, "ada", "seen").await;
    assert!(resolved.expect("resolved"));

    // It is known to be accepted; now its delivery is waited for, as for any other.
    let lifted = world.standing().await;
    assert_eq!((lifted.halted_cause, lifted.head_id), (None, Some(first.0)));
    assert_eq!(world.state_of(second).await, "waiting");
    let accepted = world.message(first).await;
    world.hear(&accepted, Status::Delivered).await;
    world.until_state(second, "accepted").await;
}

#[tokio::test]
async fn a_member_that_its_sequence_went_on_without_is_never_sent_again() {
    let world = a_silent_world().await;
    world.set(on_failure("skip")).await;
    lose_the_answer(&world).await;
    let first = world.enqueue(to_a_person(1)).await;
    let second = world.enqueue(part(2)).await;

    world.until_state(second, "accepted").await;
    assert_eq!(world.state_of(first).await, "uncertain");
    let again = world
        .store
        .resolve(first, &Finding::SendAgain, "ada", "please")
        .await;
    assert!(!again.expect("it is asked"));
    assert_eq!(world.state_of(first).await, "uncertain");
    assert_eq!(
        world.count(&format!("wa.queue where id = {first}")).await,
        0
    );
    let refusal = world
        .refuses(&[
            "uncertain",
            "resolve",
            &first.to_string(),
            "--send-again",
            "--yes",
            "--reason",
            "please",
        ])
        .await;
    assert!(refusal.contains("its sequence has gone on"), "{refusal}");

    let not_sent = world
        .store
        .resolve(first, &Finding::NotSent, "ada", "asked")
        .await;
    assert!(not_sent.expect("resolved"));
    assert_eq!(world.state_of(first).await, "failed");
    assert_eq!(world.standing().await.halted_cause, None);
}

#[tokio::test]
async fn a_delivery_that_is_not_told_in_time_halts_its_sequence_and_a_late_one_lifts_that() {
    let world = a_silent_world().await;
    world.set(a_timeout("halt")).await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;

    let reason = world.until_halted().await;
    assert!(
        reason.starts_with(&format!(
            "the delivery of message {first} was not told within 00:00:00.001"
        )),
        "{reason}"
    );
    assert_eq!(world.state_of(second).await, "waiting");

    let first = world.message(first).await;
    world.hear(&first, Status::Delivered).await;
    world.until_state(second, "accepted").await;
}

#[tokio::test]
async fn a_sequence_that_proceeds_goes_on_when_a_delivery_is_not_told_in_time() {
    let world = a_silent_world().await;
    world.set(a_timeout("proceed")).await;
    world.enqueue(part(1)).await;
    world.enqueue(part(2)).await;
    let third = world.enqueue(part(3)).await;

    world.until_state(third, "accepted").await;
    let passed = "wa.sequence_events where what = 'passed_over'";
    assert!(world.count(passed).await >= 2);
}

#[tokio::test]
async fn before_its_acceptance_no_message_is_overdue() {
    let world = World::at_rest().await;
    let first = world.enqueue(part(1)).await;
    world.set(a_timeout("halt")).await;
    assert_eq!(world.look_after().await, 0);

    world.is_accepted(first, "wamid.1").await;
    assert_eq!(world.look_after().await, 1);
    assert_eq!(
        world.standing().await.halted_cause.as_deref(),
        Some("timeout")
    );
    assert_eq!(world.look_after().await, 0);
}

#[tokio::test]
async fn a_webhook_that_came_in_time_and_is_not_applied_yet_is_waited_for() {
    let world = World::at_rest().await;
    let first = world.enqueue(part(1)).await;
    world.set(a_timeout("halt")).await;
    world.deliveries_wait(&["{}"], "1 hour").await;
    world.is_accepted(first, "wamid.1").await;
    assert_eq!(world.look_after().await, 0);

    world.no_delivery_waits().await;
    assert_eq!(world.look_after().await, 1);
}

#[tokio::test]
async fn the_time_of_a_head_counts_from_its_own_acceptance_and_not_from_that_of_the_one_before() {
    let world = World::at_rest().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    world
        .set(SequenceChange {
            delivery_timeout: Some(Duration::from_secs(3_600)),
            ..SequenceChange::default()
        })
        .await;
    world.is_accepted(first, "wamid.1").await;
    world
        .run_sql(
            "update wa.results set ended_at = now() - interval '2 hours', delivered_at = now()",
        )
        .await;
    world
        .run_sql(&format!("select wa.settle_sequences(array[{first}])"))
        .await;
    world.is_accepted(second, "wamid.2").await;

    assert_eq!(world.look_after().await, 0);
    let standing = world.standing().await;
    let (accepted, overdue) = (standing.head_accepted_at, standing.timeout_at);
    let waited = overdue.expect("a timeout") - accepted.expect("accepted");
    assert_eq!(waited, time::Duration::HOUR);
    let look = format!(
        "wa.sequences s join wa.results r on r.id = {second} where s.look_at = r.ended_at + interval '1 hour'"
    );
    assert_eq!(world.count(&look).await, 1);
}

#[tokio::test]
async fn a_member_that_is_cancelled_halts_the_line_wherever_it_stands_in_it() {
    for nth in [0, 1] {
        let world = World::at_rest().await;
        let members = [
            world.enqueue(part(1)).await,
            world.enqueue(part(2)).await,
            world.enqueue(part(3)).await,
        ];
        let cancelled = members[nth];

        world
            .store
            .cancel(cancelled)
            .await
            .expect("it was not begun");

        let standing = world.standing().await;
        assert_eq!(standing.halted_cause.as_deref(), Some("cancelled"));
        let waits = world
            .message(members[2])
            .await
            .waiting_for
            .expect("a reason");
        let words = format!("halted: message {cancelled} was cancelled by ");
        assert!(waits.contains(&words), "{waits}");
    }
}

#[tokio::test]
async fn a_sequence_that_skips_goes_on_without_a_member_that_is_cancelled() {
    let world = a_silent_world().await;
    world.set(on_failure("skip")).await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    let third = world.enqueue(part(3)).await;
    let first = world.until_state(first, "accepted").await;

    world.store.cancel(second).await.expect("it was not begun");

    assert_eq!(world.state_of(second).await, "cancelled");
    assert_eq!(world.state_of(third).await, "waiting");
    world.hear(&first, Status::Delivered).await;
    world.until_state(third, "accepted").await;
    assert_eq!(world.requests(), 2);
}
