//! Where statuses do not bring our callback data back, silence says nothing: a lost answer is left to a person.

use wa_outbox::domain::outcome::OnUncertain;
use wa_outbox::simulator::Fault;
use wa_outbox::store::sender::SenderChange;
use wa_outbox::store::uncertain::Settled;

use super::{
    a_lost_one, a_lost_one_to, one_look, requests, requests_to, run, silent_for, until_it_waits_for,
};
use crate::support::callbacks::{a_status, with_data};
use crate::support::make::{ALICE, BOB, a_text};
use crate::support::provider::Provided;
use crate::support::world::SENDER;

const NOBODY_KNOWS: &str = "a person: its provider does not say which message a status is about";

#[tokio::test]
async fn a_lost_answer_of_an_on_premises_client_is_not_sent_again_by_the_workers_setting() {
    let world = Provided::on_premises().await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    // Webhooks flow, and a later message is delivered: it proves nothing of this one.
    let later = world.enqueue(a_text().to(BOB)).await;
    world.until_status(later, "read").await;

    silent_for(&world, id, 86_400).await;
    until_it_waits_for(&world, id, NOBODY_KNOWS).await;
    assert_eq!(one_look(&world).await, Settled::default());
    assert_eq!(requests(&world), 1);

    // The person finds it in the client's log, under an id as clients give them.
    let (message, found) = (id.to_string(), "gBEGkYiEB1VXAglK1ZEqA1YKPrU");
    let resolve = |found| {
        let reason = ["--reason", "the client's log"];
        [
            &["uncertain", "resolve", &message, "--accepted", found][..],
            &reason,
        ]
        .concat()
    };
    let refusal = world.refuses(&resolve("gBEG…PrU")).await;
    assert!(refusal.contains("masked or cut"), "{refusal}");
    world.says(&resolve(found)).await;
    let accepted = world.message(id).await;
    assert_eq!(
        (accepted.state.as_str(), accepted.wamid.as_deref()),
        ("accepted", Some(found))
    );
}

#[tokio::test]
async fn it_is_sent_again_where_the_message_or_its_sender_asks_for_it() {
    let world = Provided::on_premises().await;
    world.simulator.fault_next(ALICE, Fault::CloseAfterReading);
    let by_message = world
        .enqueue(a_text().on_uncertain(OnUncertain::Retry))
        .await;
    world.until_state(by_message, "uncertain").await;
    silent_for(&world, by_message, 86_400).await;
    world.until_status(by_message, "read").await;
    assert_eq!(requests(&world), 2);

    let retry = SenderChange {
        on_uncertain: Some("retry".to_owned()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, retry).await;
    let by_sender = a_lost_one_to(&world, BOB, Fault::CloseAfterReading).await;
    silent_for(&world, by_sender, 86_400).await;
    world.until_state(by_sender, "accepted").await;
    assert_eq!(requests_to(&world, BOB), 2);
}

#[tokio::test]
async fn a_bsp_is_believed_to_echo_once_it_has() {
    let world = Provided::bsp("/messages").await;
    let before = a_lost_one(&world, Fault::CloseAfterReading).await;
    silent_for(&world, before, 86_400).await;
    until_it_waits_for(&world, before, NOBODY_KNOWS).await;

    let other = world.enqueue(a_text().to(BOB)).await;
    world.until_status(other, "read").await;
    let after = a_lost_one(&world, Fault::CloseAfterReading).await;
    silent_for(&world, after, 86_400).await;
    world.until_state(after, "accepted").await;
    assert_eq!(requests(&world), 3);
}

#[tokio::test]
async fn a_bsp_that_never_echoes_is_never_believed_to() {
    let world = Provided::bsp("/turn/v1/messages").await;
    let other = world.enqueue(a_text().to(BOB)).await;
    world.until_status(other, "read").await;
    let id = a_lost_one(&world, Fault::CloseAfterReading).await;
    silent_for(&world, id, 86_400).await;
    until_it_waits_for(&world, id, NOBODY_KNOWS).await;
    assert_eq!(requests(&world), 1);
}

#[tokio::test]
async fn a_setting_says_what_a_kind_of_provider_does_not() {
    let world = Provided::bsp("/messages").await;
    for (echoes, requests_made) in [(true, 2), (false, 1)] {
        let change = SenderChange {
            callback_echo: Some(echoes),
            ..SenderChange::default()
        };
        world.change_sender(SENDER, change).await;
        let recipient = format!("+1650555300{requests_made}");
        let id = a_lost_one_to(&world, &recipient, Fault::CloseAfterReading).await;
        silent_for(&world, id, 86_400).await;
        match echoes {
            true => drop(world.until_state(id, "accepted").await),
            false => until_it_waits_for(&world, id, NOBODY_KNOWS).await,
        }
        assert_eq!(requests_to(&world, &recipient), requests_made, "{echoes}");
    }
}

#[tokio::test]
async fn what_is_known_of_one_provider_is_not_believed_of_the_next() {
    let world = Provided::bsp("/messages").await;
    let heard = world.enqueue(a_text().to(BOB)).await;
    let read = world.until_status(heard, "read").await;
    let echoes = "wa.webhook_flow where echoes";
    assert_eq!(world.count(echoes).await, 1);

    let another = SenderChange {
        path: Some("/turn/v1/messages".to_owned()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, another).await;
    assert_eq!(world.count(echoes).await, 0);
    // What comes late of the way of before teaches nothing of the way of now.
    let wamid = read.wamid.expect("it was accepted");
    let token = world.token(heard, 1).await;
    let late = a_status(&wamid, "read", 1_900_000_000);
    world.deliver(&[with_data(late, &token)]).await;
    assert_eq!(world.count(echoes).await, 0);
    let unheard = a_lost_one(&world, Fault::CloseAfterReading).await;
    silent_for(&world, unheard, 86_400).await;
    until_it_waits_for(&world, unheard, NOBODY_KNOWS).await;

    // And one that was lost on the way of before is not judged by what is known of the way of now.
    let carol = "+16505553000";
    let lost = a_lost_one_to(&world, carol, Fault::CloseAfterReading).await;
    let back = SenderChange {
        path: Some("/messages".to_owned()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, back).await;
    // Nothing is learned before all workers have certainly taken it up.
    let heard_again = world.enqueue(a_text().to(BOB)).await;
    world.until_status(heard_again, "read").await;
    assert_eq!(world.count(echoes).await, 0);
    run(&world, "update wa.senders set way_changed_at = now()").await;
    while world.count(echoes).await == 0 {
        let heard_again = world.enqueue(a_text().to(BOB)).await;
        world.until_status(heard_again, "read").await;
    }
    silent_for(&world, lost, 86_400).await;
    until_it_waits_for(&world, lost, NOBODY_KNOWS).await;
    assert_eq!(requests_to(&world, carol), 1);
}
