//! Webhooks: proved, kept before they are acknowledged, applied however they come.

use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Connection};
use wa_outbox::config::{Environment, SecretRef};
use wa_outbox::domain::id::MessageId;
use wa_outbox::simulator::{Fault, Statuses, WebhookFault};
use wa_outbox::store::Store;

use crate::support::callbacks::{Answer, a_delivery, a_status, get, signed_with, with_data};
use crate::support::make::{ALICE, a_message, a_text};
use crate::support::world::{APP_SECRET, World};

const AT: i64 = 1_800_000_000;
/// Meta, "Webhooks": payloads can be up to 3 MB.
const LARGEST: usize = 3 * 1024 * 1024;

fn nothing(status: u16) -> Answer {
    Answer {
        status,
        body: String::new(),
    }
}

/// A world in which no status comes by itself.
async fn a_quiet_world() -> World {
    let world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    world
}

/// A message that WhatsApp has taken, and the id it gave.
async fn an_accepted_message(world: &World) -> (MessageId, String) {
    let id = world.enqueue(a_text()).await;
    let message = world.until_state(id, "accepted").await;
    (id, message.wamid.expect("a wamid"))
}

async fn inbox(world: &World) -> Vec<(String, Vec<u8>, Option<Value>)> {
    sqlx::query_as("select state, body, bad_entries from wa.webhook_inbox order by id")
        .fetch_all(&world.database.pool)
        .await
        .expect("the inbox")
}

async fn run(world: &World, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&world.database.pool)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

#[tokio::test]
async fn the_handshake_is_answered_to_who_knows_the_verify_token() {
    let mut world = World::at_rest().await;
    world.config.webhook.verify_token = Some(SecretRef::Env("VERIFY".to_owned()));
    world.env = Environment::from([
        ("WHATSAPP_APP_SECRET".to_owned(), APP_SECRET.to_owned()),
        ("VERIFY".to_owned(), "open sesame".to_owned()),
    ]);
    world.start_service().await;
    let ask = async |query: &str| get(format!("{}?{query}", world.webhook_url())).await;

    let right =
        ask("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=open%20sesame").await;
    let expected = Answer {
        status: 200,
        body: "1158201444".to_owned(),
    };
    assert_eq!(right, expected);
    for query in [
        "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=open%20sesam",
        "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=",
        "hub.mode=subscribe&hub.challenge=1158201444",
        "hub.mode=unsubscribe&hub.challenge=1158201444&hub.verify_token=open%20sesame",
        "hub.mode=subscribe&hub.verify_token=open%20sesame",
        "",
    ] {
        assert_eq!(ask(query).await, nothing(403), "{query}");
    }
}

#[tokio::test]
async fn without_a_verify_token_no_handshake_is_answered() {
    let world = World::start().await;
    for token in ["", "null", "None"] {
        let query = format!("hub.mode=subscribe&hub.challenge=1&hub.verify_token={token}");
        assert_eq!(
            get(format!("{}?{query}", world.webhook_url())).await,
            nothing(403)
        );
    }
}

#[tokio::test]
async fn a_delivery_that_is_not_proved_is_refused_without_a_word_and_not_kept() {
    let world = a_quiet_world().await;
    let (id, wamid) = an_accepted_message(&world).await;
    let body = a_delivery(&[a_status(&wamid, "delivered", AT)]).into_bytes();
    let other_body = signed_with(APP_SECRET, b"{}");
    let right = signed_with(APP_SECRET, &body);
    let upper = right.replace("sha256=", "SHA256=");

    for signature in [
        None,
        Some(""),
        Some("sha256="),
        Some(&right[7..]),
        Some(upper.as_str()),
        Some(&right[..70]),
        Some(other_body.as_str()),
        Some(signed_with("another secret", &body).as_str()),
        Some(signed_with("", &body).as_str()),
    ] {
        assert_eq!(
            world.post_webhook(body.clone(), signature).await,
            nothing(401),
            "{signature:?}"
        );
    }
    assert!(inbox(&world).await.is_empty());
    assert_eq!(world.message(id).await.status, None);

    assert_eq!(world.post_webhook(body, Some(&right)).await, nothing(200));
    world.until_status(id, "delivered").await;
}

#[tokio::test]
async fn while_a_secret_is_replaced_both_are_taken() {
    let mut world = World::at_rest().await;
    world.config.webhook.app_secrets = ["OLD", "NEW"]
        .map(|name| SecretRef::Env(name.to_owned()))
        .to_vec();
    world.env = Environment::from([
        ("OLD".to_owned(), "the old one".to_owned()),
        ("NEW".to_owned(), "the new one".to_owned()),
    ]);
    world.start_service().await;
    let body = a_delivery(&[]).into_bytes();
    for (secret, status) in [
        ("the old one", 200),
        ("the new one", 200),
        (APP_SECRET, 401),
    ] {
        let signature = signed_with(secret, &body);
        assert_eq!(
            world.post_webhook(body.clone(), Some(&signature)).await,
            nothing(status),
            "{secret}"
        );
    }
    assert_eq!(inbox(&world).await.len(), 2);
}

#[tokio::test]
async fn the_largest_delivery_is_taken_and_a_larger_one_is_not() {
    let world = World::start().await;
    let of_length = |length: usize| {
        let mut body = b"{\"padding\":\"".to_vec();
        body.resize(length - 2, b'x');
        body.extend_from_slice(b"\"}");
        body
    };
    for (length, status) in [(LARGEST, 200), (LARGEST + 1, 413)] {
        let body = of_length(length);
        let signature = signed_with(APP_SECRET, &body);
        assert_eq!(
            world.post_webhook(body, Some(&signature)).await,
            nothing(status),
            "{length}"
        );
    }
    let kept = inbox(&world).await;
    assert_eq!((kept.len(), kept[0].1.len()), (1, LARGEST));
}

#[tokio::test]
async fn a_delivery_is_kept_as_it_came_before_it_is_acknowledged() {
    let world = World::start().await;
    for n in 0..20 {
        // As Meta writes: escapes that another writer would write otherwise.
        let body = format!(r#"{{"object":"x","n":{n},"text":"caf\u00e9 \/ \ud83d\ude80"}}"#);
        assert_eq!(
            world
                .simulator
                .send_raw_webhook(body.clone())
                .await
                .expect("an answer"),
            200
        );

        let kept = inbox(&world).await;
        assert_eq!(kept.len(), n + 1);
        assert_eq!(kept[n].1, body.into_bytes());
    }
}

#[tokio::test]
async fn while_the_database_is_away_deliveries_are_told_to_come_again() {
    let world = a_quiet_world().await;
    let (id, wamid) = an_accepted_message(&world).await;
    let body = a_delivery(&[a_status(&wamid, "delivered", AT)]).into_bytes();
    let signature = signed_with(APP_SECRET, &body);
    let options = world.database.pool.connect_options();
    let name = options.get_database().expect("it has a name").to_owned();
    let mut outside =
        PgConnection::connect_with(&PgConnectOptions::clone(&options).database("postgres"))
            .await
            .expect("the server answers");
    let mut from_outside = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut outside)
            .await
            .expect("the server does it");
    };

    from_outside(format!("alter database {name} allow_connections false")).await;
    from_outside(format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
    ))
    .await;
    assert_eq!(
        world.post_webhook(body.clone(), Some(&signature)).await,
        nothing(503)
    );
    from_outside(format!("alter database {name} allow_connections true")).await;

    world
        .until_true("it is taken", async || {
            world.post_webhook(body.clone(), Some(&signature)).await == nothing(200)
        })
        .await;
    let inside = PgPool::connect_with(PgConnectOptions::clone(&options))
        .await
        .expect("it answers");
    let store = Store::over(inside);
    world
        .until_true("it is applied", async || {
            let timeline = store
                .timeline(id)
                .await
                .expect("it can be read")
                .expect("the message");
            timeline.message.status.as_deref() == Some("delivered")
        })
        .await;
    store.close().await;
}

#[tokio::test]
async fn what_is_no_json_is_kept_and_shown_and_stops_nothing() {
    let world = a_quiet_world().await;
    let (id, wamid) = an_accepted_message(&world).await;
    for body in ["", "not json", "[]", "17", "{\"entry\":", "\u{feff}{}"] {
        let signature = signed_with(APP_SECRET, body.as_bytes());
        let answer = world
            .post_webhook(body.as_bytes().to_vec(), Some(&signature))
            .await;
        assert_eq!(answer, nothing(200), "{body:?}");
    }
    let bytes = vec![0xff, 0x00, 0xfe];
    let signature = signed_with(APP_SECRET, &bytes);
    assert_eq!(
        world.post_webhook(bytes, Some(&signature)).await,
        nothing(200)
    );

    world.tell(&[a_status(&wamid, "delivered", AT)]).await;

    assert_eq!(world.message(id).await.status.as_deref(), Some("delivered"));
    let kept = inbox(&world).await;
    assert_eq!(kept.len(), 8);
    assert!(
        kept[..7].iter().all(|(state, ..)| state == "bad"),
        "{kept:?}"
    );
    assert_eq!(kept[1].1, b"not json");
    assert_eq!(
        world.store.inbox_summary().await.expect("the counts").bad,
        7
    );
}

#[tokio::test]
async fn a_bad_entry_is_shown_by_its_place_and_the_rest_is_applied() {
    let world = a_quiet_world().await;
    let (one, first) = an_accepted_message(&world).await;
    let (other, last) = an_accepted_message(&world).await;

    world
        .tell(&[
            a_status(&first, "delivered", AT),
            json!({"status": "delivered", "timestamp": "1800000000"}),
            json!("a text"),
            a_status(&"w".repeat(10_000), "read", AT),
            json!({"id": "wamid.X", "status": "pondered"}),
            a_status(&last, "read", AT),
        ])
        .await;

    assert_eq!(
        world.message(one).await.status.as_deref(),
        Some("delivered")
    );
    assert_eq!(world.message(other).await.status.as_deref(), Some("read"));
    let (state, _, bad) = inbox(&world).await.remove(0);
    assert_eq!(state, "applied");
    let expected = json!([
        {"place": "/entry/1/changes/0/value/statuses/0", "reason": "has no id"},
        {"place": "/entry/2/changes/0/value/statuses/0", "reason": "is not an object"},
        {"place": "/entry/3/changes/0/value/statuses/0", "reason": "has an id that is too long"},
    ]);
    assert_eq!(bad, Some(expected));
}

#[tokio::test]
async fn a_status_that_cannot_be_stored_does_not_keep_back_the_others() {
    let world = a_quiet_world().await;
    let (id, wamid) = an_accepted_message(&world).await;
    let strange = [
        json!({"id": "wamid.A\u{0}B", "status": "read", "timestamp": "1"}),
        json!({"id": "wamid.C", "status": "failed", "timestamp": "253402300799", "errors": [{"code": i64::MAX, "title": "a\u{0}b", "error_data": {"details": "x".repeat(100_000)}}]}),
        json!({"id": "wamid.D", "status": "sent", "timestamp": "99999999999999999999", "biz_opaque_callback_data": "\u{0}"}),
        json!({"id": "wamid.E", "status": "sent", "timestamp": -5}),
    ];
    world.tell(&strange).await;
    world.tell(&[a_status(&wamid, "read", AT)]).await;
    assert_eq!(world.message(id).await.status.as_deref(), Some("read"));
    let events: Vec<String> =
        sqlx::query_scalar("select wamid from wa.status_events where id is null order by event")
            .fetch_all(&world.database.pool)
            .await
            .expect("the events");
    assert_eq!(events, ["wamid.C", "wamid.D", "wamid.E"]);
}

#[tokio::test]
async fn statuses_that_come_twice_and_in_any_order_come_to_the_same() {
    for fault in [
        WebhookFault::Doubled,
        WebhookFault::Reordered,
        WebhookFault::ReadOnly,
    ] {
        let world = World::start().await;
        world.simulator.webhook_fault_next(ALICE, fault);
        let id = world.enqueue(a_text()).await;
        world.until_state(id, "accepted").await;
        world.until_webhooks_are_applied().await;

        let timeline = world.timeline(id).await;
        assert_eq!(timeline.message.status.as_deref(), Some("read"), "{fault}");
        let alone = fault == WebhookFault::ReadOnly;
        assert_eq!(timeline.message.delivered_at.is_none(), alone, "{fault}");
        let expected = match fault {
            WebhookFault::Doubled => 6,
            WebhookFault::Reordered => 3,
            _ => 1,
        };
        assert_eq!(
            timeline.statuses.len(),
            expected,
            "each is kept as it came: {fault}"
        );
        assert!(!timeline.message.status_conflict, "{fault}");
    }
}

#[tokio::test]
async fn a_status_never_goes_back_and_a_time_once_known_stays() {
    let world = a_quiet_world().await;
    let (id, wamid) = an_accepted_message(&world).await;
    world.tell(&[a_status(&wamid, "read", AT + 30)]).await;
    let read_at = world.message(id).await.read_at;

    world
        .tell(&[
            a_status(&wamid, "sent", AT),
            a_status(&wamid, "delivered", AT + 10),
        ])
        .await;
    world.tell(&[a_status(&wamid, "read", AT + 99)]).await;

    let message = world.message(id).await;
    assert_eq!(message.status.as_deref(), Some("read"));
    assert_eq!(message.read_at, read_at);
    let seconds =
        |time: Option<time::OffsetDateTime>| time.map(time::OffsetDateTime::unix_timestamp);
    assert_eq!(
        (
            seconds(message.sent_at),
            seconds(message.delivered_at),
            seconds(message.read_at)
        ),
        (Some(AT), Some(AT + 10), Some(AT + 30))
    );
}

#[tokio::test]
async fn a_voice_message_that_was_heard_is_played() {
    let world = World::start().await;
    let voice = json!({"type": "audio", "audio": {"id": "1013859600285441", "voice": true}});
    let id = world.enqueue(a_message(voice)).await;
    let message = world.until_status(id, "played").await;
    assert!(message.read_at.is_some());
}

#[tokio::test]
async fn of_delivered_and_failed_the_delivery_counts_and_the_conflict_shows() {
    for fault in [
        WebhookFault::DeliveredThenFailed(131026),
        WebhookFault::FailedThenDelivered(131026),
    ] {
        let world = World::start().await;
        world.simulator.webhook_fault_next(ALICE, fault);
        let id = world.enqueue(a_text()).await;
        world.until_state(id, "accepted").await;
        world.until_webhooks_are_applied().await;

        let message = world.message(id).await;
        assert_eq!(
            (message.state.as_str(), message.status.as_deref()),
            ("accepted", Some("delivered")),
            "{fault}"
        );
        assert!(message.status_conflict, "{fault}");
        assert!(
            message.failed_at.is_some() && message.delivered_at.is_some(),
            "{fault}"
        );
        assert_eq!(
            world.simulator.ledger().requests_for(ALICE).len(),
            1,
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_message_that_failed_after_its_acceptance_stays_accepted_and_says_why() {
    let world = World::start().await;
    world
        .simulator
        .webhook_fault_next(ALICE, WebhookFault::Failed(131049));
    let id = world.enqueue(a_text()).await;

    let message = world.until_status(id, "failed").await;

    assert_eq!(
        (message.state.as_str(), message.error_code),
        ("accepted", Some(131049))
    );
    let why = message.error_message.unwrap_or_default();
    assert!(why.contains("healthy ecosystem engagement"), "{why}");
    assert!(message.failed_at.is_some() && message.accepted_at.is_some());
    assert!(!message.status_conflict);
    world.until_webhooks_are_applied().await;
    let status = world.timeline(id).await.statuses.pop().expect("a status");
    assert_eq!(
        (status.status.as_str(), status.error_code),
        ("failed", Some(131049))
    );
    assert!(status.error_title.is_some() && status.error_details.is_some());
    assert_eq!(
        world.simulator.ledger().requests_for(ALICE).len(),
        1,
        "a failed status is no reason to send again"
    );
}

#[tokio::test]
async fn a_status_that_comes_before_its_wamid_is_known_is_kept_until_it_is() {
    let world = a_quiet_world().await;
    world
        .simulator
        .fault_next(ALICE, Fault::AcceptThenDropAnswer);
    let id = world.enqueue(a_text()).await;
    world.until_state(id, "uncertain").await;
    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    let wamid = entry.wamid().expect("a wamid");

    // Without our token, as some providers deliver it: nobody can tell whose it is.
    world
        .tell(&[
            a_status(wamid, "delivered", AT),
            a_status("wamid.of-nobody", "read", AT),
        ])
        .await;
    assert_eq!(world.state_of(id).await, "uncertain");
    assert_eq!(
        world
            .store
            .inbox_summary()
            .await
            .expect("the counts")
            .unmatched,
        2
    );

    let token = world.token(id, 1).await;
    world
        .tell(&[with_data(a_status(wamid, "sent", AT), &token)])
        .await;

    world.until_status(id, "delivered").await;
    let left: Vec<String> =
        sqlx::query_scalar("select wamid from wa.status_events where id is null")
            .fetch_all(&world.database.pool)
            .await
            .expect("the events");
    assert_eq!(left, ["wamid.of-nobody"]);
}

#[tokio::test]
async fn the_applications_own_callback_data_is_sent_along_and_handed_back() {
    let world = World::start().await;
    let own = "order-77:é \"quoted\" 🚀 wo1-1-1-x";
    let payload =
        json!({"type": "text", "text": {"body": "Hello"}, "biz_opaque_callback_data": own});
    let id = world.enqueue(a_message(payload)).await;
    let longest = "x".repeat(448);
    let payload =
        json!({"type": "text", "text": {"body": "Hello"}, "biz_opaque_callback_data": longest});
    let long = world.enqueue(a_message(payload)).await;
    let plain = world.enqueue(a_text()).await;

    for id in [id, long, plain] {
        world.until_status(id, "read").await;
    }
    world.until_webhooks_are_applied().await;

    let handed_back = async |id: MessageId| -> Vec<Option<String>> {
        sqlx::query_scalar("select distinct callback_data from wa.status_events where id = $1")
            .bind(id.0)
            .fetch_all(&world.database.pool)
            .await
            .expect("the events")
    };
    assert_eq!(handed_back(id).await, [Some(own.to_owned())]);
    assert_eq!(handed_back(long).await, [Some(longest)]);
    assert_eq!(handed_back(plain).await, [None]);
    for entry in world.simulator.ledger().accepted() {
        let data = entry.callback_data.clone().expect("a token");
        assert!(
            data.chars().count() <= 512,
            "{} characters",
            data.chars().count()
        );
        assert!(
            data.starts_with("wo1-") && !data.contains("1650555"),
            "{data}"
        );
    }
}

#[tokio::test]
async fn a_delivery_of_a_thousand_statuses_is_applied_at_once() {
    let world = a_quiet_world().await;
    run(
        &world,
        "insert into wa.outbox (recipient, payload)
         select '+1650' || 5550000 + n, '{\"type\":\"text\",\"text\":{\"body\":\"Hello\"}}' from generate_series(1, 250) n",
    )
    .await;
    world.until_all_have_ended().await;
    let wamids: Vec<String> = sqlx::query_scalar("select wamid from wa.messages order by id")
        .fetch_all(&world.database.pool)
        .await
        .expect("the wamids");
    let statuses: Vec<Value> = wamids
        .iter()
        .flat_map(|wamid| {
            ["sent", "delivered", "read", "read"].map(|status| a_status(wamid, status, AT))
        })
        .collect();

    world.tell(&statuses).await;

    let counts = world.store.counts().await.expect("the counts");
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert_eq!(
        (counts[0].status.as_deref(), counts[0].messages),
        (Some("read"), 250)
    );
}
