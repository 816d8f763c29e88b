//! A message is held to WhatsApp's documented rules before a request is spent on it.

use serde_json::json;
use wa_outbox::domain::id::MessageId;
use wa_outbox::store::sender::SenderChange;

use crate::support::make::{ALICE, a_message, a_text};
use crate::support::world::{SENDER, World};

fn validate(policy: &str, strict: bool) -> SenderChange {
    SenderChange {
        validate: Some(policy.to_owned()),
        strict: Some(strict),
        ..SenderChange::default()
    }
}

/// A list with a row whose title is too long: nothing that the INSERT looks for.
fn a_bad_list() -> serde_json::Value {
    let row = json!({"id": "1", "title": "A title of more than twenty-four characters"});
    json!({"type": "interactive", "interactive": {"type": "list", "body": {"text": "Choose"},
        "action": {"button": "Choose", "sections": [{"rows": [row]}]}}})
}

async fn errors(world: &World, id: MessageId) -> String {
    world.message(id).await.error_message.unwrap_or_default()
}

#[tokio::test]
async fn what_is_sure_to_be_rejected_fails_with_our_words_and_no_request_is_made() {
    let world = World::start().await;
    let bad = world.enqueue(a_message(a_bad_list())).await;
    let good = world.enqueue(a_text()).await;

    world.until_state(bad, "failed").await;
    world.until_state(good, "accepted").await;

    assert_eq!(
        errors(&world, bad).await,
        "/interactive/action/sections/0/rows/0/title has 43 characters; allowed: 1 to 24 characters; shorten it \
         (rule list_row_title_length)"
    );
    assert_eq!(world.requests(), 1, "only the good one was sent");
    let attempt = world.timeline(bad).await.attempts.remove(0);
    assert_eq!(
        (attempt.outcome.as_str(), attempt.http_status),
        ("rejected", None)
    );
}

#[tokio::test]
async fn what_a_variable_makes_of_a_campaign_is_looked_at_when_it_is_filled() {
    let mut world = World::at_rest().await;
    world
        .run_sql(&format!(
            r#"with spring as (insert into wa.campaigns (sender, name, payload) values ('{SENDER}', 'spring',
                 '{{"type":"template","template":{{"name":"sale","language":{{"code":"en"}},"components":[
                    {{"type":"body","parameters":[{{"type":"text","text":"{{{{name}}}}"}}]}}]}}}}') returning id)
               insert into wa.outbox (campaign_id, recipient, variables)
               select id, '{ALICE}', '{{"name":"two\nlines"}}'::jsonb from spring
               union all select id, '+16505551002', '{{"name":"Ada"}}'::jsonb from spring"#
        ))
        .await;
    world.says(&["campaign", "start", "spring"]).await;
    world.start_service().await;
    world.until_all_have_ended().await;

    let ended: Vec<(String, Option<String>)> =
        sqlx::query_as("select state, error_message from wa.messages order by id")
            .fetch_all(&world.database.pool)
            .await
            .expect("the messages");
    assert_eq!(ended[0].0, "failed");
    let why = ended[0].1.as_deref().unwrap_or_default();
    assert!(
        why.contains("/template/components/0/parameters/0/text has a line break"),
        "{why}"
    );
    assert_eq!((ended[1].0.as_str(), world.requests()), ("accepted", 1));
}

#[tokio::test]
async fn a_sender_that_only_warns_or_does_not_look_sends_it_all() {
    for policy in ["warn", "off"] {
        let world = World::start().await;
        world.change_sender(SENDER, validate(policy, true)).await;
        world
            .until_true("the worker has taken it up", async || {
                let id = world.enqueue(a_message(a_bad_list())).await;
                world
                    .until(id, "an end", |message| {
                        message.state == "failed" || message.state == "accepted"
                    })
                    .await;
                world.requests() > 0
            })
            .await;
    }
}

#[tokio::test]
async fn a_field_that_is_not_documented_leaves_unless_the_sender_is_strict() {
    let mut world = World::at_rest().await;
    let odd = || a_message(json!({"type": "text", "text": {"body": "x"}, "sparkle": true}));
    let says = world.says(&["sender", "show", SENDER]).await;
    assert!(
        says.contains("validate") && says.contains("refuse\n"),
        "{says}"
    );
    world.start_service().await;
    let id = world.enqueue(odd()).await;
    world
        .until(id, "an answer", |message| {
            message.attempts > 0 && message.state != "sending"
        })
        .await;
    let asked = world.requests();
    assert_eq!(asked, 1, "WhatsApp was asked");
    world.stop_service().await;

    world.says(&["sender", "set", SENDER, "--strict"]).await;
    let says = world.says(&["sender", "show", SENDER]).await;
    assert!(says.contains("refuse, strict"), "{says}");
    world.start_service().await;
    let id = world.enqueue(odd()).await;
    world.until_state(id, "failed").await;
    let why = errors(&world, id).await;
    assert!(
        why.contains("/sparkle is no field of the documentation"),
        "{why}"
    );
    assert_eq!(world.requests(), asked, "no further request");
}
