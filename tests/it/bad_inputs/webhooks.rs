//! Requests to the two listeners.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Bad, Section};
use crate::support::callbacks::{a_delivery, a_status, signed_with};
use crate::support::world::{APP_SECRET, World};

const TOKEN: &str = "token-of-the-operators";

pub(super) async fn section() -> Section {
    let mut world = World::at_rest().await;
    world.config.admin.token = Some("env:ADMIN".parse().expect("a reference"));
    world.env.insert("ADMIN".to_owned(), TOKEN.to_owned());
    world.start_service().await;
    let right = a_delivery(&[a_status("wamid.A", "sent", 1_800_000_000)]);
    let signature = |body: &str| Some(signed_with(APP_SECRET, body.as_bytes()));
    let mut bad = Vec::new();
    let webhook = world.webhook_url();
    for (input, method, path, body, signature) in [
        (
            "POST /webhook, without a signature",
            Method::POST,
            "",
            right.clone(),
            None,
        ),
        (
            "POST /webhook, signed with another app secret",
            Method::POST,
            "",
            right.clone(),
            Some(signed_with("another", right.as_bytes())),
        ),
        (
            "POST /webhook, signed for another body",
            Method::POST,
            "",
            right.clone(),
            signature("{}"),
        ),
        (
            "POST /webhook with more than 3 MB",
            Method::POST,
            "",
            "x".repeat(3 * 1024 * 1024 + 1),
            signature(&"x".repeat(3 * 1024 * 1024 + 1)),
        ),
        (
            "POST /webhook/unsigned, where webhook.unsigned_secrets is not set",
            Method::POST,
            "/unsigned",
            right.clone(),
            None,
        ),
        ("PUT /webhook", Method::PUT, "", right.clone(), None),
        (
            "GET /webhook without hub.verify_token",
            Method::GET,
            "?hub.mode=subscribe&hub.challenge=1",
            String::new(),
            None,
        ),
    ] {
        let status = ask(
            method,
            format!("{webhook}{path}"),
            body,
            signature.as_deref(),
        )
        .await;
        bad.push(Bad::new(input, status));
    }
    for body in [
        "Hello".to_owned(),
        "[]".to_owned(),
        json!({"entry": {"id": "1"}}).to_string(),
        json!({"entry": [{"changes": {}}]}).to_string(),
        a_delivery(&[json!({"status": "sent"})]),
        a_delivery(&[json!({"id": "wamid.A"})]),
        a_delivery(&[json!({"id": "", "status": "sent"})]),
        a_delivery(&[json!({"id": "x".repeat(513), "status": "sent"})]),
        a_delivery(&[json!({"id": 5, "status": "sent"})]),
        json!({"entry": [{"changes": [{"field": "user_preferences", "value": {"metadata": {"phone_number_id": "1"}, "user_preferences": [{"value": "stop"}]}}]}]}).to_string(),
    ] {
        let status = ask(Method::POST, webhook.clone(), body.clone(), signature(&body).as_deref()).await;
        let shown = body.replace(&"x".repeat(513), "xxx… (513 of them)");
        bad.push(Bad::new(format!("signed: {shown}"), format!("{status}, and in wa.webhook_inbox:\n{}", kept(&world).await)));
    }
    for (input, path) in [
        ("GET /metrics, without the admin token", "/metrics"),
        ("GET / of the dashboard, without the admin token", "/"),
    ] {
        bad.push(Bad::new(
            input,
            ask(Method::GET, world.admin_url(path), String::new(), None).await,
        ));
    }
    let large = format!("token={}", "x".repeat(70_000));
    let login = world.admin_url("/login");
    bad.push(Bad::new(
        "POST /login with more than 64 kB",
        ask(Method::POST, login, large, None).await,
    ));
    (
        "Webhooks, and other requests",
        "What is not proved gets no word of explanation: it may come from whoever wants to know. It is logged and counted.",
        bad,
    )
}

async fn ask(method: Method, url: String, body: String, signature: Option<&str>) -> String {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let form = "application/x-www-form-urlencoded";
    let mut request = client
        .request(method, url)
        .header("Content-Type", form)
        .body(body);
    if let Some(signature) = signature {
        request = request.header("X-Hub-Signature-256", signature);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let body = answer.text().await.expect("a body");
    format!("{status}{}{body}", if body.is_empty() { "" } else { "\n" })
}

/// What is kept of the last delivery once it was looked at.
async fn kept(world: &World) -> String {
    world.until_webhooks_are_applied().await;
    let (state, bad): (String, Option<Value>) =
        sqlx::query_as("select state, bad_entries from wa.webhook_inbox order by id desc limit 1")
            .fetch_one(&world.database.pool)
            .await
            .expect("it is there");
    match bad {
        Some(bad) => format!("{state}, {bad}"),
        None => state,
    }
}
