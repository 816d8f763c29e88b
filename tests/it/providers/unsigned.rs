//! Deliveries that nobody has signed are taken from those who know a secret of ours, and from nobody else.

use data_encoding::BASE64;
use serde_json::json;
use wa_outbox::simulator::Statuses;

use crate::support::make::a_text;
use crate::support::provider::{Provided, SHARED_SECRET};
use crate::support::world::World;

/// Posts a body and gives the HTTP status of the answer.
async fn post(url: &str, authorization: Option<&str>, body: &str) -> u16 {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .expect("a client");
    let mut request = client.post(url).body(body.to_owned());
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_bare_status_is_taken_with_the_secret_in_address_or_header_and_not_without() {
    let world = Provided::on_premises().await;
    world.simulator.set_statuses(Statuses::none());
    let message = world.enqueue(a_text()).await;
    let message = world.until_state(message, "accepted").await;
    let wamid = message.wamid.clone().expect("an id");
    let of = |status: &str, at: u32| {
        let status = json!({"id": wamid, "recipient_id": "16505551001", "status": status,
            "timestamp": at.to_string(), "type": "message"});
        json!({"statuses": [status]}).to_string()
    };
    let webhook = world.webhooks();
    let unsigned = format!("{webhook}/unsigned");
    let bearer = format!("Bearer {SHARED_SECRET}");
    let basic = format!(
        "Basic {}",
        BASE64.encode(format!("client:{SHARED_SECRET}").as_bytes())
    );

    let forged = of("read", 1_800_000_000);
    for (url, authorization) in [
        (webhook.clone(), None),
        (webhook.clone(), Some(bearer.as_str())),
        (unsigned.clone(), None),
        (unsigned.clone(), Some("Bearer shared-secret-of-others")),
        (format!("{unsigned}/shared-secret-of-others"), None),
        (
            format!("{unsigned}/shared-secret-of-others"),
            Some(bearer.as_str()),
        ),
    ] {
        assert_eq!(
            post(&url, authorization, &forged).await,
            401,
            "{url} {authorization:?}"
        );
    }
    let address = format!("{unsigned}/{SHARED_SECRET}");
    for (url, authorization, status) in [
        (address.as_str(), None, "sent"),
        (unsigned.as_str(), Some(bearer.as_str()), "delivered"),
        (unsigned.as_str(), Some(basic.as_str()), "played"),
    ] {
        let body = of(status, 1_800_000_000);
        assert_eq!(post(url, authorization, &body).await, 200, "{url}");
        world.until_status(message_id(&message), status).await;
    }
}

fn message_id(message: &wa_outbox::store::message::Message) -> wa_outbox::domain::id::MessageId {
    wa_outbox::domain::id::MessageId(message.id)
}

#[tokio::test]
async fn without_a_shared_secret_in_the_settings_there_is_no_such_address() {
    let world = World::start().await;
    let service = world.service.as_ref().expect("it runs");
    let address = service.webhook_address.expect("it receives webhooks");
    for path in [
        "/webhook/unsigned",
        "/webhook/unsigned/",
        "/webhook/unsigned/x",
    ] {
        let answer = post(&format!("http://{address}{path}"), Some("Bearer "), "{}").await;
        assert_eq!(answer, 404, "{path}");
    }
}
