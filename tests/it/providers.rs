//! The three kinds of provider: each is spoken to as it wants, and its messages come as far as the Cloud API's.

mod marketing;
mod on_premises;
mod tls;
mod unsigned;

use serde_json::{Value, json};
use wa_outbox::simulator::Fault;
use wa_outbox::store::sender::SenderChange;

use crate::support::make::{ALICE, a_message, a_text};
use crate::support::provider::{Provided, bsp, on_premises};

/// The only request that was accepted, as it came.
fn the_request(world: &Provided) -> (String, String, Value) {
    let mut accepted = world.simulator.ledger().accepted();
    assert_eq!(accepted.len(), 1);
    let entry = accepted.remove(0);
    let body = serde_json::from_slice(&entry.body).expect("JSON");
    (entry.path.clone(), entry.number.to_string(), body)
}

#[tokio::test]
async fn a_message_comes_to_its_recipient_through_each_provider() {
    let key = SenderChange {
        auth_header: Some("D360-API-KEY".to_owned()),
        ..bsp("/messages")
    };
    let bare = SenderChange {
        auth_scheme: Some("none".to_owned()),
        ..bsp("/{sender}/messages")
    };
    let number = "106540352242922";
    let of_sender = format!("/{number}/messages");
    let providers = [
        (SenderChange::default(), format!("/v23.0{of_sender}")),
        (bsp("/{sender}/messages"), of_sender.clone()),
        (bare, of_sender),
        (key, "/messages".to_owned()),
        (bsp("/turn/v1/messages"), "/turn/v1/messages".to_owned()),
        (on_premises(), "/v1/messages".to_owned()),
    ];
    for (settings, path) in providers {
        let is_client = settings.provider.as_deref() == Some("on_premises");
        let credential = if is_client {
            "admin:practice"
        } else {
            "practice"
        };
        let world = Provided::start(settings, credential).await;
        let message = world.enqueue(a_text()).await;

        let message = world.until_status(message, "read").await;
        assert_eq!(
            (message.state.as_str(), message.attempts),
            ("accepted", 1),
            "{path}"
        );
        let (found, found_number, body) = the_request(&world);
        assert_eq!((found, found_number.as_str()), (path, number));
        assert_eq!(body["text"], json!({"body": "Your order has shipped"}));
        assert_eq!(body.get("messaging_product").is_none(), is_client);
        assert_eq!(body.get("biz_opaque_callback_data").is_none(), is_client);
    }
}

#[tokio::test]
async fn errors_in_a_200_without_an_id_are_a_verdict_like_any_other() {
    for settings in [bsp("/turn/v1/messages"), on_premises()] {
        let world = Provided::start(settings, "admin:practice").await;
        world
            .simulator
            .fault_next(ALICE, Fault::ErrorsWith200(1013));
        let rejected = world.enqueue(a_text()).await;
        let rejected = world.until_state(rejected, "failed").await;
        assert_eq!((rejected.error_code, rejected.attempts), (Some(1013), 1));

        world
            .simulator
            .fault_next(ALICE, Fault::ErrorsWith200(1015));
        let slowed = world.enqueue(a_text()).await;
        let slowed = world.until_state(slowed, "accepted").await;
        assert_eq!(slowed.attempts, 1, "to be told to slow down costs nothing");
        assert_eq!(world.requests(), 3);
    }
}

#[tokio::test]
async fn a_message_that_waits_for_its_quality_keeps_the_providers_words() {
    let world = Provided::on_premises().await;
    world.simulator.fault_next(ALICE, Fault::HeldForQuality);
    let template = json!({"type": "template", "template": {"namespace": "n", "name": "t",
        "language": {"policy": "deterministic", "code": "en"}}});
    let message = world.enqueue(a_message(template.clone())).await;
    world.until_status(message, "read").await;

    let words: Option<String> =
        sqlx::query_scalar("select message_status from wa.results where id = $1")
            .bind(message.0)
            .fetch_one(&world.database.pool)
            .await
            .expect("the result");
    assert!(words.is_some_and(|words| words.contains("quality assessment is pending")));
    let (_, _, body) = the_request(&world);
    assert_eq!(body["template"], template["template"]);
    assert_eq!(body["to"], ALICE.trim_start_matches('+'));
}
