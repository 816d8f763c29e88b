//! Every kind of message, made by its builder: it is read as it was written, loses nothing, and WhatsApp takes it.

mod made;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wa_outbox::message::template::{Component, Parameter};
use wa_outbox::message::{Content, Interactive, Outgoing, Payload, Recipient};
use wa_outbox::{enqueue, message};

use crate::support::provider::Provided;
use crate::support::world::World;
use made::{GROUP, PERSON, every_kind};

fn value_of(payload: &Payload) -> Value {
    serde_json::to_value(payload).expect("a payload is JSON")
}

fn read(body: &Value) -> Payload {
    let text = body.to_string();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Every value inside of a value, by its place.
fn places(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Object(object) => object
            .iter()
            .for_each(|(key, value)| places(value, format!("{at}/{key}"), into)),
        Value::Array(array) => array
            .iter()
            .enumerate()
            .for_each(|(place, value)| places(value, format!("{at}/{place}"), into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    into.push(at);
}

/// The body with something unusual at each place: what is missing, what is null, what is of another type, what is new.
fn unusual(body: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    places(body, String::new(), &mut all);
    let mut bodies = Vec::new();
    for place in all {
        for strange in [json!(null), json!(7), json!("7"), json!([]), json!({})] {
            let mut changed = body.clone();
            *changed.pointer_mut(&place).expect("it is there") = strange;
            bodies.push(changed);
        }
        let mut changed = body.clone();
        if let Some(Value::Object(object)) = changed.pointer_mut(&place) {
            object.insert("brand_new".to_owned(), json!({"a": [1, null, 2.5]}));
            bodies.push(changed);
        }
        if let Some((parent, key)) = place.rsplit_once('/') {
            let mut changed = body.clone();
            if let Some(Value::Object(object)) = changed.pointer_mut(parent) {
                object.remove(key);
                bodies.push(changed);
            }
        }
    }
    bodies.retain(Value::is_object);
    bodies
}

#[test]
fn what_a_builder_writes_is_read_as_the_same_types() {
    for (name, message) in every_kind() {
        let payload = message.payload().expect("a payload");
        assert_eq!(&read(&value_of(payload)), payload, "{name}");
    }
}

#[test]
fn nothing_is_lost_of_a_body_that_is_read_and_written_again() {
    let mut tried = 0;
    for (name, message) in every_kind() {
        for body in unusual(&value_of(message.payload().expect("a payload"))) {
            assert_eq!(value_of(&read(&body)), body, "{name}");
            tried += 1;
        }
    }
    assert!(tried > 5_000, "only {tried} bodies were tried");
}

#[test]
fn a_property_that_is_new_does_not_hide_the_others() {
    let body = json!({
        "type": "interactive",
        "interactive": {
            "type": "button",
            "body": {"text": "Shall we?", "size": "large"},
            "action": {"buttons": [{"type": "reply", "reply": {"id": "yes", "title": "Yes", "icon": "tick"}, "color": "green"}]},
            "mood": "merry"
        },
        "product_policy": "STRICT"
    });
    let payload = read(&body);
    assert_eq!(payload.other["product_policy"], "STRICT");
    let Content::Interactive(interactive) = payload.content else {
        panic!("{:?}", payload.content);
    };
    let Interactive::Button(prompt) = *interactive else {
        panic!("{interactive:?}");
    };
    assert_eq!(prompt.other["mood"], "merry");
    assert_eq!(
        prompt.body.map(|body| body.text).as_deref(),
        Some("Shall we?")
    );
    assert_eq!(prompt.action.buttons[0].other["color"], "green");
    assert_eq!(prompt.action.buttons[0].reply.other["icon"], "tick");
    assert_eq!(prompt.action.buttons[0].reply.title, "Yes");
}

#[test]
fn a_kind_that_is_new_is_kept_where_it_stands() {
    let sparkle =
        json!({"type": "sparkle", "sparkle": {"glow": 7}, "context": {"message_id": "wamid.A"}});
    let payload = read(&sparkle);
    assert_eq!(payload.content.kind(), Some("sparkle"));
    assert_eq!(
        payload.context.map(|context| context.message_id).as_deref(),
        Some("wamid.A")
    );

    let payload =
        read(&json!({"type": "interactive", "interactive": {"type": "dance", "steps": 3}}));
    assert_eq!(
        payload.content,
        Content::Interactive(Box::new(Interactive::Other(
            json!({"type": "dance", "steps": 3})
        )))
    );

    let payload = read(
        &json!({"type": "template", "template": {"name": "a", "language": {"code": "en"}, "components": [
            {"type": "body", "parameters": [{"type": "hologram"}, {"type": "text", "text": "b"}]}, {"type": "smell"}
        ]}}),
    );
    let Content::Template(template) = payload.content else {
        panic!("{:?}", payload.content);
    };
    let components = template.components.expect("components");
    assert_eq!(components[1], Component::Other(json!({"type": "smell"})));
    let Component::Body(body) = &components[0] else {
        panic!("{components:?}");
    };
    assert_eq!(
        body.parameters.as_deref().expect("parameters"),
        [
            Parameter::Other(json!({"type": "hologram"})),
            Parameter::from("b")
        ]
    );
}

#[test]
fn what_a_struct_cannot_hold_is_kept_by_the_enum_next_to_it_and_the_rest_has_its_types() {
    let odd = json!({"type": "text", "text": "a", "parameter_name": null});
    let payload = read(
        &json!({"type": "template", "template": {"name": "a", "language": {"code": "en"}, "components": [
            {"type": "body", "parameters": [odd]}
        ]}}),
    );
    let Content::Template(template) = payload.content else {
        panic!("{:?}", payload.content);
    };
    let components = template.components.expect("components");
    let Component::Body(body) = &components[0] else {
        panic!("{components:?}");
    };
    let parameters = body.parameters.as_deref().expect("parameters");
    assert_eq!(parameters, [Parameter::Other(odd)]);
}

#[test]
fn what_is_set_anew_is_written_once() {
    let body = json!({"type": "text", "text": {"body": "a"}, "context": null, "biz_opaque_callback_data": 7});
    let payload = read(&body).reply_to("wamid.A").callback_data("b");
    let text = serde_json::to_string(&payload).expect("JSON");
    assert_eq!(
        text,
        r#"{"type":"text","text":{"body":"a"},"context":{"message_id":"wamid.A"},"biz_opaque_callback_data":"b"}"#
    );
}

#[test]
fn a_body_that_is_no_object_is_no_payload() {
    for body in ["7", "null", "[]", r#""text""#] {
        assert!(serde_json::from_str::<Payload>(body).is_err(), "{body}");
    }
}

#[test]
fn the_list_has_every_kind() {
    let mut kinds = BTreeSet::new();
    for (_, message) in every_kind() {
        let body = value_of(message.payload().expect("a payload"));
        let kind = body["type"].as_str().unwrap_or("read").to_owned();
        if let Some(inner) = body["interactive"]["type"].as_str() {
            kinds.insert(inner.to_owned());
        }
        for component in body["template"]["components"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let kind = &component[if component["type"] == "button" {
                "sub_type"
            } else {
                "type"
            }];
            kinds.insert(format!("template {}", kind.as_str().expect("a kind")));
        }
        kinds.insert(kind);
    }
    let expected = [
        "address_message",
        "audio",
        "button",
        "call_permission_request",
        "carousel",
        "catalog_message",
        "contacts",
        "cta_url",
        "document",
        "flow",
        "form_message",
        "image",
        "interactive",
        "list",
        "location",
        "location_request_message",
        "order_details",
        "order_status",
        "pin",
        "product",
        "product_list",
        "reaction",
        "read",
        "request_contact_info",
        "sticker",
        "template",
        "template body",
        "template carousel",
        "template catalog",
        "template copy_code",
        "template flow",
        "template header",
        "template limited_time_offer",
        "template mpm",
        "template quick_reply",
        "template url",
        "text",
        "video",
        "voice_call",
    ];
    assert_eq!(kinds, BTreeSet::from(expected.map(str::to_owned)));
}

#[tokio::test]
async fn every_kind_is_enqueued_in_a_transaction_and_taken_by_whatsapp_as_it_was_written() {
    let world = World::start().await;
    takes(&world, every_kind(), &around_cloud_bodies).await;
}

#[tokio::test]
async fn every_kind_passes_a_provider_in_front_of_the_cloud_api_as_it_was_written() {
    let world = Provided::bsp("/{sender}/messages").await;
    takes(&world, every_kind(), &around_cloud_bodies).await;
}

#[tokio::test]
async fn every_kind_that_the_on_premises_client_has_passes_it_as_it_was_written() {
    let world = Provided::on_premises().await;
    let has = |message: &Outgoing| {
        let body = value_of(message.payload().expect("a payload"));
        let is_phone = matches!(message.recipient, Recipient::Phone(_));
        // A mark-as-read names its message in the address there.
        is_phone && body["type"] != "pin" && body.get("status").is_none()
    };
    let kinds = every_kind().into_iter().filter(|(_, message)| has(message));
    takes(&world, kinds.collect(), &around_bodies_of_the_client).await;
}

/// What is around the content in a body for the Cloud API.
fn around_cloud_bodies(message: &Outgoing, body: &mut Value) {
    body["messaging_product"] = json!("whatsapp");
    if body.get("status").is_some() {
        return;
    }
    let (key, kind) = match &message.recipient {
        Recipient::Phone(_) => ("to", "individual"),
        Recipient::User(_) => ("recipient", "individual"),
        Recipient::Group(_) => ("to", "group"),
    };
    body[key] = json!(message.recipient.as_str());
    body["recipient_type"] = json!(kind);
}

/// The same for the On-Premises client.
fn around_bodies_of_the_client(message: &Outgoing, body: &mut Value) {
    body["to"] = json!(message.recipient.as_str().trim_start_matches('+'));
    body["recipient_type"] = json!("individual");
}

async fn takes(
    world: &World,
    kinds: Vec<(&'static str, Outgoing)>,
    around: &dyn Fn(&Outgoing, &mut Value),
) {
    let mut written = Vec::new();
    let mut transaction = world.database.pool.begin().await.expect("a transaction");
    for (name, message) in kinds {
        let id = enqueue(&mut transaction, &message).await;
        let id = id.unwrap_or_else(|error| panic!("{name}: {error}"));
        written.push((name, message, id));
    }
    transaction.commit().await.expect("it is committed");

    world.until_all_have_ended().await;
    let entries = world.simulator.ledger().all();
    let mut bodies: Vec<Value> = entries
        .iter()
        .map(|entry| serde_json::from_slice(&entry.body).expect("JSON"))
        .collect();
    for (name, message, id) in written {
        let state = world.message(id).await;
        assert_eq!(state.state, "accepted", "{name}: {:?}", state.error_message);
        let mut expected = value_of(message.payload().expect("a payload"));
        around(&message, &mut expected);
        let place = bodies.iter().position(|body| is_that(body, &expected));
        let place =
            place.unwrap_or_else(|| panic!("{name} did not leave as {expected}: {bodies:#?}"));
        bodies.swap_remove(place);
    }
    assert_eq!(bodies, Vec::<Value>::new(), "and nothing else left");
}

/// Whether a body that left is the expected one. The callback data carries our own token in front.
fn is_that(body: &Value, expected: &Value) -> bool {
    let key = "biz_opaque_callback_data";
    let mut body = body.clone();
    let data = body.as_object_mut().and_then(|body| body.remove(key));
    let mut expected = expected.clone();
    let own = expected.as_object_mut().and_then(|body| body.remove(key));
    let carries = match (&data, &own) {
        (Some(Value::String(data)), Some(Value::String(own))) => data.ends_with(own.as_str()),
        (_, None) => true,
        (_, Some(_)) => false,
    };
    carries && body == expected
}

#[test]
fn a_recipient_is_a_number_a_person_or_a_group() {
    let kinds = [
        "+16505551234".into(),
        Recipient::user(PERSON),
        Recipient::group(GROUP),
    ]
    .map(|recipient| message::text("a").to(recipient).recipient.kind());
    assert_eq!(kinds, ["phone", "user", "group"]);
}
