//! What meets at one moment: writers, deliveries, people and workers.

use std::collections::BTreeMap;

use sqlx::Acquire as _;
use wa_outbox::simulator::{Status, WebhookFault};

use super::{STORY, WAITING_FOR_A_LOCK, a_silent_world, part};
use crate::support::books::message_of;
use crate::support::make::{ALICE, BOB, a_text};
use crate::support::world::{PATIENCE, SENDER, World};

#[tokio::test]
async fn cancelling_a_member_at_the_moment_it_is_set_free_cancels_it() {
    let world = World::at_rest().await;
    world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;

    let store = world.store.clone();
    world
        .set_free_while(async move { store.cancel(second).await.expect("it was not begun") })
        .await;

    assert_eq!(world.state_of(second).await, "cancelled");
    assert_eq!(
        world.count(&format!("wa.queue where id = {second}")).await,
        0
    );
}

#[tokio::test]
async fn expiring_waits_for_no_sequence_and_finds_the_member_wherever_it_went() {
    let world = World::at_rest().await;
    world.enqueue(part(1)).await;
    let mut late = part(2);
    late.0.due_at = Some(time::macros::datetime!(2024-01-01 0:00 UTC));
    late.0.expires_at = Some(time::macros::datetime!(2024-01-02 0:00 UTC));
    let second = world.enqueue(late).await;

    let mut connection = world.database.pool.acquire().await.expect("a connection");
    let mut writer = connection.begin().await.expect("a transaction");
    lock_the_sequence(&mut writer).await;
    // The lock is held as long as an application likes; whoever waits for it gives up after a second and fails.
    let expired = world
        .store
        .expire_overdue()
        .await
        .expect("it is looked for");
    assert_eq!(
        (expired, world.state_of(second).await),
        (0, "waiting".into())
    );
    set_the_next_free(&mut writer).await;
    writer.commit().await.expect("committed");

    assert_eq!(world.store.expire_overdue().await.expect("looked for"), 1);
    assert_eq!(world.state_of(second).await, "expired");
    assert_eq!(
        world.count(&format!("wa.queue where id = {second}")).await,
        0
    );
}

async fn lock_the_sequence(transaction: &mut sqlx::PgConnection) {
    sqlx::query("select from wa.sequences for update")
        .execute(transaction)
        .await
        .expect("the sequence is locked");
}

/// Sets the next member of the story free, as a delivery does.
async fn set_the_next_free(transaction: &mut sqlx::PgConnection) {
    sqlx::query("update wa.sequences set head_id = null")
        .execute(&mut *transaction)
        .await
        .expect("the gate is opened");
    sqlx::query("select wa.promote(sender, recipient, sequence) from wa.sequences")
        .execute(transaction)
        .await
        .expect("the next member is set free");
}

impl World {
    /// Sets the next member of the story free, as a delivery does, while `other` is doing something to it: the sequence is
    /// locked, `other` comes to wait for it, the next member is set free, the lock ends.
    async fn set_free_while(&self, other: impl Future<Output = ()> + Send + 'static) {
        let mut connection = self.database.pool.acquire().await.expect("a connection");
        let mut delivery = connection.begin().await.expect("a transaction");
        lock_the_sequence(&mut delivery).await;
        let other = tokio::spawn(other);
        self.until_true("the other waits for the sequence", async || {
            self.count(WAITING_FOR_A_LOCK).await == 1
        })
        .await;
        set_the_next_free(&mut delivery).await;
        delivery.commit().await.expect("committed");
        other.await.expect("the other got its turn");
    }
}

#[tokio::test]
async fn a_writer_that_keeps_its_transaction_open_holds_up_no_webhook_and_no_answer() {
    let world = a_silent_world().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    let of_bob = world.enqueue(part(1).to(BOB)).await;
    let next_of_bob = world.enqueue(part(2).to(BOB)).await;
    let (first, of_bob) = (
        world.until_state(first, "accepted").await,
        world.until_state(of_bob, "accepted").await,
    );

    let mut connection = world.database.pool.acquire().await.expect("a connection");
    let mut writer = connection.begin().await.expect("a transaction");
    sqlx::query("select wa.enqueue_text($1, 'part 3', sequence => $2)")
        .bind(ALICE)
        .bind(STORY)
        .execute(&mut *writer)
        .await
        .expect("it is taken");
    // Both in one delivery to us: what is known of Bob must not wait for the writer who is writing to Alice.
    let tell = [&first, &of_bob].map(|message| {
        let wamid = message.wamid.as_deref().expect("it was accepted");
        crate::support::callbacks::a_status(wamid, "delivered", 1_700_000_000)
    });
    world.deliver(&tell).await;

    world.until_state(next_of_bob, "accepted").await;
    assert!(world.message(first_id(&first)).await.delivered_at.is_some());
    assert_eq!(world.state_of(second).await, "waiting");
    assert_eq!(world.count("wa.unsettled").await, 1);

    writer.commit().await.expect("committed");
    world.until_state(second, "accepted").await;
    assert_eq!(world.count("wa.unsettled").await, 0);
}

fn first_id(message: &wa_outbox::store::message::Message) -> wa_outbox::domain::id::MessageId {
    wa_outbox::domain::id::MessageId(message.id)
}

#[tokio::test]
async fn sequences_keep_their_order_when_a_worker_is_killed_in_the_middle() {
    const SEQUENCES: usize = 24;
    const LENGTH: usize = 4;
    const ANOTHER: &str = "106540352242923";
    let mut world = World::at_rest().await;
    world.add_sender(ANOTHER).await;
    let doomed = world.start_process("doomed").await;
    // From here on webhooks come to the service, which also takes its share of the senders.
    world.start_service().await;
    for sequence in 0..SEQUENCES {
        let recipient = format!("+1650555{sequence:04}");
        world
            .simulator
            .webhook_fault_always(&recipient, Some(WebhookFault::Doubled));
    }

    let mut written = Vec::new();
    for number in 0..LENGTH {
        for sequence in 0..SEQUENCES {
            let mut draft = part(number).to(&format!("+1650555{sequence:04}"));
            draft.0.sender = Some([SENDER, ANOTHER][sequence % 2].to_owned());
            written.push(world.enqueue(draft).await);
        }
    }
    world.until_taken(SEQUENCES as u64 * 3 / 2).await;
    doomed.kill().await;
    world.until_all_have_ended_within(2 * PATIENCE).await;

    world.assert_each_was_accepted_once(&written).await;
    let mut left: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for entry in world.simulator.ledger().accepted() {
        let id = message_of(&entry);
        let recipient = world.message(wa_outbox::domain::id::MessageId(id)).await;
        left.entry(recipient.recipient).or_default().push(id);
    }
    assert_eq!(left.len(), SEQUENCES);
    for ids in left.values() {
        assert!(ids.is_sorted(), "they left as {ids:?}");
    }
}

#[tokio::test]
async fn a_delivery_told_before_the_answer_sets_the_next_member_free_once() {
    let world = a_silent_world().await;
    world
        .simulator
        .fault_next(ALICE, wa_outbox::simulator::Fault::AcceptThenHang);
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    let third = world.enqueue(part(3)).await;
    world.until_taken(1).await;

    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    let wamid = entry.wamid().expect("an id");
    for status in [
        Status::Read,
        Status::Delivered,
        Status::Delivered,
        Status::Sent,
    ] {
        world.simulator.tell(wamid, status).await.expect("told");
    }

    world.until_state(second, "accepted").await;
    world.until_webhooks_are_applied().await;
    assert_eq!(world.state_of(first).await, "accepted");
    assert_eq!(world.state_of(third).await, "waiting");
    world.enqueue(a_text().to(BOB)).await;
    world.until_taken(3).await;
    assert_eq!(world.state_of(third).await, "waiting");
}
