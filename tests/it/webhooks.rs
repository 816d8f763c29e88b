//! Webhooks: proved, kept before they are acknowledged, applied however they come.

mod flat;
mod statuses;
mod waiting;
mod whose;

use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Connection};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wa_outbox::config::{Environment, SecretRef};
use wa_outbox::domain::id::MessageId;
use wa_outbox::simulator::Statuses;
use wa_outbox::store::Store;

use crate::support::callbacks::{Answer, a_delivery, a_status, get, signed_with};
use crate::support::make::a_text;
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

/// What is bounded is bytes and not deliveries.
#[tokio::test]
async fn many_small_deliveries_are_taken_at_once() {
    let world = a_quiet_world().await;
    let url = world.webhook_url();
    let address = url
        .trim_start_matches("http://")
        .trim_end_matches("/webhook")
        .to_owned();
    let mut clients = tokio::task::JoinSet::new();
    // All but the last byte comes.
    let mut open = |length: usize| {
        let address = address.clone();
        clients.spawn(async move {
            let mut client = TcpStream::connect(address).await.expect("a connection");
            let unproved = "0".repeat(64);
            let head = format!(
                "POST /webhook HTTP/1.1\r\nHost: a\r\nX-Hub-Signature-256: sha256={unproved}\r\nContent-Length: {length}\r\n\r\n"
            );
            let come = [head.into_bytes(), vec![b' '; length - 1]].concat();
            // Who finds no room is sent away.
            let _ = client.write_all(&come).await;
            std::future::pending::<()>().await;
        });
    };
    for _ in 0..200 {
        open(100);
    }
    let signature = signed_with(APP_SECRET, b"{}");
    let answer = world.post_webhook(b"{}".to_vec(), Some(&signature)).await;
    assert_eq!(answer.status, 200);
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
            let message = store
                .message(id)
                .await
                .expect("it can be read")
                .expect("the message");
            message.status.as_deref() == Some("delivered")
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

    world.deliver(&[a_status(&wamid, "delivered", AT)]).await;

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
        .deliver(&[
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
    assert_eq!(state, "stored");
    let expected = json!([
        {"place": "/entry/1/changes/0/value/statuses/0", "reason": "has no id"},
        {"place": "/entry/2/changes/0/value/statuses/0", "reason": "is not an object"},
        {"place": "/entry/3/changes/0/value/statuses/0", "reason": "has an id that is too long"},
    ]);
    assert_eq!(bad, Some(expected));
}
