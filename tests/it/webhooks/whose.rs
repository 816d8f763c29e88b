//! Whose a status is where providers count their ids for each sender.

use wa_outbox::message::OnUncertain;
use wa_outbox::simulator::Fault;

use super::*;
use crate::support::callbacks::with_data;
use crate::support::make::{ALICE, Draft};
use crate::support::world::SENDER;

const ANOTHER: &str = "206540352242922";

/// A delivery that names a number of ours so.
fn a_delivery_of(metadata: Value, status: &Value) -> String {
    let value =
        json!({"messaging_product": "whatsapp", "metadata": metadata, "statuses": [status]});
    let entry =
        json!({"id": "102290129340398", "changes": [{"field": "messages", "value": value}]});
    json!({"object": "whatsapp_business_account", "entry": [entry]}).to_string()
}

/// The first message of anybody was delivered, WhatsApp says.
fn the_first_was_delivered() -> Value {
    a_status("1", "delivered", AT)
}

impl World {
    async fn hears_of(&self, body: String) {
        let body = body.into_bytes();
        let signature = signed_with(APP_SECRET, &body);
        assert_eq!(self.post_webhook(body, Some(&signature)).await.status, 200);
        self.until_webhooks_are_applied().await;
    }

    async fn from(&self, sender: &str, draft: Draft) -> MessageId {
        let mut draft = draft;
        draft.0.sender = Some(sender.to_owned());
        self.enqueue(draft).await
    }

    /// The provider of its sender has taken the message as the first one of that sender.
    async fn is_the_first_of(&self, sender: &str, id: MessageId) {
        run(
            self,
            &format!(
                "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('1', '{sender}', {id}, 1, 'webhook')"
            ),
        )
        .await;
        assert_eq!(self.state_of(id).await, "accepted");
    }

    async fn status_of(&self, id: MessageId) -> Option<String> {
        self.message(id).await.status
    }
}

/// Two senders that send nothing by themselves.
async fn two_held_senders() -> World {
    let mut world = World::at_rest().await;
    world.simulator.set_statuses(Statuses::none());
    world.add_sender(ANOTHER).await;
    for sender in [SENDER, ANOTHER] {
        let hold = ["sender", "hold", sender, "--reason", "the test answers"];
        world.says(&hold).await;
    }
    // A worker that runs takes up a hold within two seconds.
    world.start_service().await;
    world
}

const UNMATCHED: &str = "wa.status_events where id is null";

#[tokio::test]
async fn a_status_is_about_a_message_of_the_sender_it_names() {
    let world = two_held_senders().await;
    let mine = world.from(SENDER, a_text()).await;
    let first = world.from(ANOTHER, a_text().in_sequence("story")).await;
    let second = world.from(ANOTHER, a_text().in_sequence("story")).await;
    world.is_the_first_of(SENDER, mine).await;
    world.is_the_first_of(ANOTHER, first).await;

    let named = |sender: &str| {
        a_delivery_of(
            json!({"phone_number_id": sender}),
            &the_first_was_delivered(),
        )
    };
    world.hears_of(named(SENDER)).await;
    assert_eq!(world.status_of(mine).await.as_deref(), Some("delivered"));
    assert_eq!(world.status_of(first).await, None);
    assert_eq!(world.state_of(second).await, "waiting");

    world.hears_of(named(ANOTHER)).await;
    assert_eq!(world.status_of(first).await.as_deref(), Some("delivered"));
    assert_eq!(world.state_of(second).await, "queued");
}

#[tokio::test]
async fn a_status_that_comes_before_its_answer_waits_for_it_and_takes_no_message_of_another_sender()
{
    let world = two_held_senders().await;
    let mine = world.from(SENDER, a_text()).await;
    let other = world.from(ANOTHER, a_text()).await;
    world.is_the_first_of(ANOTHER, other).await;

    let named = a_delivery_of(
        json!({"phone_number_id": SENDER}),
        &the_first_was_delivered(),
    );
    world.hears_of(named).await;
    assert_eq!(world.status_of(other).await, None);
    assert_eq!(world.count(UNMATCHED).await, 1);

    world.is_the_first_of(SENDER, mine).await;
    world.until_status(mine, "delivered").await;
    assert_eq!(world.status_of(other).await, None);
}

#[tokio::test]
async fn a_sender_that_is_known_under_another_id_is_told_by_its_number() {
    let world = two_held_senders().await;
    let mine = world.from(SENDER, a_text()).await;
    let other = world.from(ANOTHER, a_text()).await;
    world.is_the_first_of(SENDER, mine).await;
    world.is_the_first_of(ANOTHER, other).await;

    let number = json!({"phone_number_id": "7", "display_phone_number": "+20 6540352242922"});
    world
        .hears_of(a_delivery_of(number, &the_first_was_delivered()))
        .await;

    assert_eq!(world.status_of(other).await.as_deref(), Some("delivered"));
    assert_eq!(world.status_of(mine).await, None);
}

#[tokio::test]
async fn a_number_that_two_senders_have_leaves_open_whose_the_status_is_until_one_has_got_its_id() {
    let world = two_held_senders().await;
    let other = world.from(ANOTHER, a_text()).await;
    for sender in [SENDER, ANOTHER] {
        run(
            &world,
            &format!(
                "insert into wa.sender_numbers (sender, number) values ('{sender}', '15550001')
             on conflict (sender) do update set number = excluded.number"
            ),
        )
        .await;
    }
    let number = json!({"phone_number_id": "7", "display_phone_number": "+1 555 0001"});
    world
        .hears_of(a_delivery_of(number, &the_first_was_delivered()))
        .await;
    assert_eq!(world.count(UNMATCHED).await, 1);

    world.is_the_first_of(ANOTHER, other).await;
    world.until_status(other, "delivered").await;
}

#[tokio::test]
async fn a_status_that_names_nobody_is_kept_where_several_messages_have_its_id() {
    let world = two_held_senders().await;
    let mine = world.from(SENDER, a_text()).await;
    let other = world.from(ANOTHER, a_text()).await;
    world.is_the_first_of(SENDER, mine).await;
    let flat = json!({"statuses": [the_first_was_delivered()]}).to_string();
    world.hears_of(flat.clone()).await;
    assert_eq!(world.status_of(mine).await.as_deref(), Some("delivered"));

    world.is_the_first_of(ANOTHER, other).await;
    world.hears_of(flat).await;
    assert_eq!(world.status_of(other).await, None);
    assert_eq!(world.count(UNMATCHED).await, 1);
}

#[tokio::test]
async fn a_token_tells_of_an_acceptance_although_another_sender_has_a_message_with_that_id() {
    let world = a_quiet_world().await;
    world.add_sender(ANOTHER).await;
    let hold = ["sender", "hold", ANOTHER, "--reason", "the test answers"];
    world.says(&hold).await;
    let other = world.from(ANOTHER, a_text()).await;
    world.is_the_first_of(ANOTHER, other).await;
    world
        .simulator
        .fault_next(ALICE, Fault::AcceptThenDropAnswer);
    let kept = a_text().on_uncertain(OnUncertain::Hold);
    let mine = world.from(SENDER, kept).await;
    world.until_state(mine, "uncertain").await;

    let token = world.token(mine, 1).await;
    let status = with_data(the_first_was_delivered(), &token);
    let named = a_delivery_of(json!({"phone_number_id": SENDER}), &status);
    world.hears_of(named).await;

    assert_eq!(world.state_of(mine).await, "accepted");
    assert_eq!(world.status_of(mine).await.as_deref(), Some("delivered"));
    assert_eq!(world.status_of(other).await, None);
}
