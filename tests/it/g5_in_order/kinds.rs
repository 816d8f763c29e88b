//! What releases a kind of message, and how long it may take: the program and the database know the same.

use std::time::Duration;

use serde_json::{Value, json};
use wa_outbox::domain::kind::{
    AUTHENTICATION_TIME_TO_LIVE, KINDS, MessageKind, TIME_TO_LIVE, TIME_TO_LIVE_MARGIN, releases,
};
use wa_outbox::domain::status::Status as Told;
use wa_outbox::simulator::{Fault, Status};

use super::{a_silent_world, part};
use crate::support::make::{ALICE, a_message};
use crate::support::world::World;

#[tokio::test]
async fn the_database_and_the_program_agree_on_what_releases_which_kind() {
    let world = World::at_rest().await;
    let pool = &world.database.pool;
    for facts in &KINDS {
        let last: Option<String> = sqlx::query_scalar("select wa.last_status($1)")
            .bind(facts.name)
            .fetch_one(pool)
            .await
            .expect("a status");
        assert_eq!(last.as_deref(), facts.last_status.map(Told::as_str));
        for status in [
            Told::Sent,
            Told::Delivered,
            Told::Read,
            Told::Played,
            Told::Failed,
        ] {
            let opens: Option<bool> = sqlx::query_scalar("select wa.opens_gate($1, $2)")
                .bind(facts.name)
                .bind(status.as_str())
                .fetch_one(pool)
                .await
                .expect("an answer");
            let expected = releases(facts.kind, status);
            assert_eq!(opens.unwrap_or(false), expected, "{} {status}", facts.name);
        }
    }
}

#[tokio::test]
async fn the_database_knows_the_kind_of_every_message_that_it_takes() {
    let world = World::at_rest().await;
    let kind_of = async |payload: Value| {
        let name: String = sqlx::query_scalar("select wa.message_kind($1::text::json)")
            .bind(payload.to_string())
            .fetch_one(&world.database.pool)
            .await
            .expect("a kind");
        MessageKind::parse(&name).expect("a kind of ours")
    };
    let types: Vec<String> = sqlx::query_scalar("select unnest(wa.message_types())")
        .fetch_all(&world.database.pool)
        .await
        .expect("the types");
    for name in &types {
        let expected = match name.as_str() {
            "reaction" => MessageKind::Reaction,
            _ => MessageKind::Ordinary,
        };
        assert_eq!(kind_of(json!({"type": name})).await, expected, "{name}");
    }
    let voice = json!({"type": "audio", "audio": {"id": "1", "voice": true}});
    assert_eq!(kind_of(voice).await, MessageKind::VoiceNote);
    let no_voice = json!({"type": "audio", "audio": {"id": "1", "voice": false}});
    assert_eq!(kind_of(no_voice).await, MessageKind::Ordinary);
    let mark =
        json!({"status": "read", "message_id": "wamid.A", "typing_indicator": {"type": "text"}});
    assert_eq!(kind_of(mark).await, MessageKind::MarkAsRead);
    let untyped = json!({"text": {"body": "hello"}});
    assert_eq!(kind_of(untyped).await, MessageKind::Ordinary);
}

#[tokio::test]
async fn a_delivery_is_waited_for_as_long_as_the_message_lives_and_a_little_longer() {
    let world = World::at_rest().await;
    let lives = async |payload: Value| {
        let seconds: f64 = sqlx::query_scalar(
            "select extract(epoch from wa.time_to_live($1::text::json) + wa.time_to_live_margin())::float8",
        )
        .bind(payload.to_string())
        .fetch_one(&world.database.pool)
        .await
        .expect("a span");
        Duration::from_secs_f64(seconds) - TIME_TO_LIVE_MARGIN
    };
    let template = |more: Value| {
        let mut payload = json!({"type": "template", "template": {"name": "code"}});
        for (key, value) in more.as_object().expect("an object") {
            payload["template"][key] = value.clone();
        }
        payload
    };
    assert_eq!(lives(json!({"type": "text"})).await, TIME_TO_LIVE);
    assert_eq!(lives(template(json!({}))).await, TIME_TO_LIVE);
    let authentication = template(json!({"category": "AUTHENTICATION"}));
    assert_eq!(lives(authentication).await, AUTHENTICATION_TIME_TO_LIVE);
    let marketing = template(json!({"category": "MARKETING"}));
    assert_eq!(lives(marketing).await, TIME_TO_LIVE);
    let told = template(json!({"category": "AUTHENTICATION", "message_send_ttl_seconds": 60}));
    assert_eq!(lives(told).await, Duration::from_secs(60));
    let without_end = template(json!({"message_send_ttl_seconds": -1}));
    assert_eq!(lives(without_end).await, TIME_TO_LIVE);
}

#[tokio::test]
async fn a_template_held_for_quality_assessment_is_no_delivery() {
    let world = a_silent_world().await;
    world.simulator.fault_next(ALICE, Fault::HeldForQuality);
    let template =
        json!({"type": "template", "template": {"name": "sale", "language": {"code": "en_US"}}});
    let first = world
        .enqueue(a_message(template).in_sequence("story"))
        .await;
    let second = world.enqueue(part(2)).await;

    let first = world.until_state(first, "accepted").await;
    let held = world
        .count("wa.results where message_status = 'held_for_quality_assessment'")
        .await;
    assert_eq!((held, world.state_of(second).await), (1, "waiting".into()));

    world.hear(&first, Status::Delivered).await;
    world.until_state(second, "accepted").await;
}
