//! Marketing templates that are marked as such have an address of their own.

use serde_json::{Value, json};

use crate::support::make::{a_message, a_text};
use crate::support::provider::Provided;
use crate::support::world::World;

fn a_sale() -> Value {
    json!({"type": "template", "template": {"name": "sale", "language": {"code": "en_US"}}})
}

fn marked(key: &str, value: Value) -> Value {
    let mut sale = a_sale();
    sale[key] = value;
    sale
}

fn paths(world: &World) -> Vec<String> {
    let entries = world.simulator.ledger().all();
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    entries.iter().map(|entry| last(&entry.path)).collect()
}

#[tokio::test]
async fn a_template_that_is_marked_as_marketing_goes_to_the_address_for_marketing() {
    let world = World::start().await;
    for (payload, path) in [
        (
            marked("product_policy", "CLOUD_API_FALLBACK".into()),
            "marketing_messages",
        ),
        (
            marked("message_activity_sharing", true.into()),
            "marketing_messages",
        ),
        (
            marked("bid_spec", json!({"per_message_bid_multiplier": 1.1})),
            "marketing_messages",
        ),
        (a_sale(), "messages"),
    ] {
        let message = world.enqueue(a_message(payload.clone())).await;
        world.until_status(message, "read").await;
        assert_eq!(
            paths(&world).last().map(String::as_str),
            Some(path),
            "{payload}"
        );
    }
    let text = world.enqueue(a_text()).await;
    world.until_status(text, "read").await;
    assert_eq!(paths(&world).last().map(String::as_str), Some("messages"));
}

#[tokio::test]
async fn a_provider_without_such_an_address_gets_it_with_the_others() {
    let world = Provided::bsp("/turn/v1/messages").await;
    let message = marked("product_policy", "STRICT".into());
    let message = world.enqueue(a_message(message)).await;
    world.until_status(message, "read").await;
    assert_eq!(paths(&world), ["messages"]);
}
