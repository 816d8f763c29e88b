//! A Rust application writes its rows by [`enqueue`] and [`enqueue_all`], in its own transaction.

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use wa_outbox::domain::id::MessageId;
use wa_outbox::message::{self, OnUncertain, Outgoing, Recipient};
use wa_outbox::{EnqueueError, enqueue, enqueue_all};

use super::{a_database, a_producer, add_sender};
use crate::support::make::{ALICE, BOB};
use crate::support::world::SENDER;

fn a_text(body: &str) -> Outgoing {
    message::text(body).to(ALICE)
}

/// Texts in the outbox, in the order of their ids.
async fn texts(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar("select payload -> 'text' ->> 'body' from wa.outbox order by id")
        .fetch_all(connection)
        .await
        .expect("a producer may read what it wrote")
}

#[tokio::test]
async fn a_message_is_owed_exactly_when_its_transaction_is_committed() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    for (body, commits) in [("kept", true), ("dropped", false)] {
        let mut transaction = producer.begin().await.expect("a transaction");
        let written = enqueue(&mut transaction, &a_text(body)).await;
        written.expect("it is taken");
        if commits {
            transaction.commit().await.expect("it is committed");
        } else {
            transaction.rollback().await.expect("it is rolled back");
        }
    }
    assert_eq!(texts(&mut producer).await, ["kept"]);
}

#[tokio::test]
async fn every_column_that_an_application_may_set_is_written() {
    let database = a_database().await;
    add_sender(&database, "2").await;
    let mut producer = a_producer(&database).await;
    let (due, end) = (
        datetime!(2030-01-01 0:00 UTC),
        datetime!(2030-01-02 0:00 UTC),
    );
    let message = message::text("all")
        .to(Recipient::user("US.1349"))
        .from_sender("2")
        .priority(0)
        .due_at(due)
        .expires_at(end)
        .in_sequence("welcome")
        .dedup_key("key")
        .on_uncertain(OnUncertain::Hold)
        .reference("order-17");
    let MessageId(id) = enqueue(&mut producer, &message).await.expect("it is taken");

    let row: Value = sqlx::query_scalar(
        "select to_jsonb(o) - array['id', 'created_at', 'payload', 'due_at', 'expires_at']
           || jsonb_build_object('due_at', extract(epoch from due_at)::bigint, 'expires_at', extract(epoch from expires_at)::bigint)
         from wa.outbox o where id = $1",
    )
    .bind(id)
    .fetch_one(&mut producer)
    .await
    .expect("the row is there");
    assert_eq!(
        row,
        json!({
            "sender": "2", "recipient": "US.1349", "recipient_kind": "user", "variables": null, "campaign_id": null, "priority": 0,
            "due_at": due.unix_timestamp(), "expires_at": end.unix_timestamp(), "sequence": "welcome", "dedup_key": "key",
            "on_uncertain": "hold", "reference": "order-17"
        })
    );
}

#[tokio::test]
async fn what_is_left_out_takes_the_tables_default() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    enqueue(&mut producer, &a_text("bare"))
        .await
        .expect("it is taken");
    let by_hand = "insert into wa.outbox (recipient, payload) values ($1, $2::json)";
    sqlx::query(by_hand)
        .bind(ALICE)
        .bind(r#"{"type":"text","text":{"body":"bare"}}"#)
        .execute(&mut producer)
        .await
        .expect("it is taken");

    let rows: Vec<Value> = sqlx::query_scalar(
        "select to_jsonb(o) - array['id', 'due_at', 'created_at'] || jsonb_build_object('due', due_at = created_at)
         from wa.outbox o order by id",
    )
    .fetch_all(&mut producer)
    .await
    .expect("two rows");
    assert_eq!(rows[0], rows[1]);
    assert_eq!(rows[0]["sender"], SENDER);
}

#[tokio::test]
async fn a_payload_is_stored_as_it_was_written() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let odd = r#"{ "text":{"body":"caf\u00e9 \"x\" 🎉"},  "type":"text" }"#;
    let typed = message::text("a \"b\" 🎉\n").reply_to("wamid.A").to(ALICE);
    let serialised = serde_json::to_string(typed.payload().expect("a payload")).expect("JSON");
    for message in [Outgoing::written(odd, ALICE), typed] {
        enqueue(&mut producer, &message).await.expect("it is taken");
    }
    let stored: Vec<String> = sqlx::query_scalar("select payload::text from wa.outbox order by id")
        .fetch_all(&mut producer)
        .await
        .expect("two rows");
    assert_eq!(stored, [odd.to_owned(), serialised]);
}

#[tokio::test]
async fn a_refusal_keeps_field_message_and_hint() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let long = "x".repeat(449);
    let refused = [
        (
            message::text("a").to("16505551001"),
            "recipient",
            "does not start with +",
            "country code",
        ),
        (
            a_text("a").priority(12),
            "priority",
            "priority is 12",
            "0 (urgent) to 9 (bulk)",
        ),
        (
            a_text("a").from_sender("7"),
            "sender",
            "\"7\" does not exist",
            "sender add",
        ),
        (
            message::text("a").callback_data(&*long).to(ALICE),
            "payload",
            "has 449 characters",
            "shorten",
        ),
        (
            message::text("a\0b").to(ALICE),
            "payload",
            "cannot be stored",
            "take it out",
        ),
        (
            Outgoing::written("{}", ALICE),
            "payload",
            "type is missing",
            "set \"type\"",
        ),
    ];
    for (bad, column, words, fix) in refused {
        let error = enqueue(&mut producer, &bad).await.expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
        let EnqueueError::Refused {
            field,
            message,
            hint,
            ..
        } = error
        else {
            panic!("not refused: {error:?}");
        };
        assert_eq!(field.as_deref(), Some(column), "{message}");
        assert!(message.contains(words), "{message}");
        let hint = hint.unwrap_or_default();
        assert!(hint.contains(fix), "{hint}");
    }
    let error = enqueue(&mut producer, &Outgoing::written("{", ALICE)).await;
    assert!(
        matches!(error, Err(EnqueueError::Refused { .. })),
        "{error:?}"
    );
    assert_eq!(texts(&mut producer).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_dedup_key_that_is_taken_leaves_the_transaction_as_it_was() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let mut transaction = producer.begin().await.expect("a transaction");
    for (body, is_taken) in [("first", false), ("again", true), ("again", true)] {
        let written = enqueue(&mut transaction, &a_text(body).dedup_key("order-17")).await;
        assert_eq!(
            matches!(written, Err(EnqueueError::Duplicate)),
            is_taken,
            "{written:?}"
        );
    }
    let many = [a_text("third"), a_text("again").dedup_key("order-17")];
    let written = enqueue_all(&mut transaction, &many).await;
    assert!(
        matches!(written, Err(EnqueueError::Duplicate)),
        "{written:?}"
    );
    enqueue(&mut transaction, &a_text("other"))
        .await
        .expect("the transaction goes on");
    transaction.commit().await.expect("it is committed");

    assert_eq!(texts(&mut producer).await, ["first", "other"]);
}

#[tokio::test]
async fn many_messages_get_their_ids_in_their_order() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let many: Vec<Outgoing> = (0..300)
        .map(|number| {
            let text =
                message::text(number.to_string()).to(if number % 2 == 0 { ALICE } else { BOB });
            match number % 3 {
                0 => text.in_sequence(format!("s{}", number % 7)),
                _ => text,
            }
        })
        .collect();
    let ids = enqueue_all(&mut producer, &many)
        .await
        .expect("they are taken");

    assert_eq!(ids.len(), 300);
    for (number, MessageId(id)) in ids.into_iter().enumerate() {
        let text: String =
            sqlx::query_scalar("select payload -> 'text' ->> 'body' from wa.outbox where id = $1")
                .bind(id)
                .fetch_one(&mut producer)
                .await
                .expect("the row is there");
        assert_eq!(text, number.to_string());
    }
    assert_eq!(enqueue_all(&mut producer, &[]).await.expect("nothing"), []);
}

#[tokio::test]
async fn many_messages_go_into_their_sequences_in_one_order_whatever_theirs() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let part = |body: &str, recipient: &str, sequence: &str| {
        message::text(body).to(recipient).in_sequence(sequence)
    };
    let many = [
        part("bob's", BOB, "a"),
        part("alice's second sequence", ALICE, "b"),
        part("alice's first", ALICE, "a"),
        a_text("of no sequence"),
        part("alice's next", ALICE, "a"),
    ];
    enqueue_all(&mut producer, &many)
        .await
        .expect("they are taken");
    assert_eq!(
        texts(&mut producer).await,
        [
            "of no sequence",
            "alice's first",
            "alice's next",
            "alice's second sequence",
            "bob's"
        ]
    );
}

#[tokio::test]
async fn one_bad_message_among_many_keeps_all_out_and_the_transaction_goes_on() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let mut transaction = producer.begin().await.expect("a transaction");
    let many = [a_text("good"), a_text("bad").priority(12), a_text("good")];
    let error = enqueue_all(&mut transaction, &many)
        .await
        .expect_err("one is bad");
    let EnqueueError::Refused { field, .. } = error else {
        panic!("not refused: {error:?}");
    };
    assert_eq!(field.as_deref(), Some("priority"));
    enqueue(&mut transaction, &a_text("after"))
        .await
        .expect("the transaction goes on");
    transaction.commit().await.expect("it is committed");

    assert_eq!(texts(&mut producer).await, ["after"]);
}

#[tokio::test]
async fn a_row_of_a_campaign_has_variables_and_no_payload() {
    let database = a_database().await;
    let campaign: i64 = sqlx::query_scalar("select wa.create_campaign('spring', $1::json)")
        .bind(r#"{"type":"template","template":{"name":"spring","language":{"code":"en_US"},"components":[
            {"type":"body","parameters":[{"type":"text","text":"{{name}}"}]}]}}"#)
        .fetch_one(&database.pool)
        .await
        .expect("a campaign");
    let mut producer = a_producer(&database).await;
    let row = |name: &str| Outgoing::of_campaign(campaign, ALICE, [("name", name)]);
    enqueue_all(&mut producer, &[row("Ada"), row("Bob \"B\"")])
        .await
        .expect("they are taken");

    let rows: Vec<(i64, bool, Value)> =
        sqlx::query_as("select campaign_id, payload is null, variables from wa.outbox order by id")
            .fetch_all(&mut producer)
            .await
            .expect("two rows");
    assert_eq!(
        rows,
        [
            (campaign, true, json!({"name": "Ada"})),
            (campaign, true, json!({"name": "Bob \"B\""}))
        ]
    );
}

#[tokio::test]
async fn a_connection_without_a_transaction_will_do() {
    let database = a_database().await;
    let mut pooled = database.pool.acquire().await.expect("a connection");
    let soon = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    enqueue(&mut pooled, &a_text("one").due_at(soon))
        .await
        .expect("it is taken");
    enqueue_all(&mut pooled, &[a_text("two")])
        .await
        .expect("it is taken");

    let mut other = PgConnection::connect(&database.url)
        .await
        .expect("another connection");
    assert_eq!(
        texts(&mut other).await,
        ["one", "two"],
        "they are committed"
    );
    drop(pooled.begin().await.expect("no transaction was left open"));
}

#[tokio::test]
async fn messages_of_one_sequence_keep_their_order_however_sender_and_recipient_are_written() {
    let database = a_database().await;
    sqlx::query("update wa.senders set default_country = 'US'")
        .execute(&database.pool)
        .await
        .expect("a country");
    let mut producer = a_producer(&database).await;
    for spellings in [
        ["+16505558801", "+1 650 555 8801", "+1(650)555-8801"],
        ["+16505558802", "(650) 555-8802", "+1-650-555-8802"],
    ] {
        for senders in [
            [None; 3],
            [Some(SENDER), None, Some(SENDER)],
            [None, Some(SENDER), None],
        ] {
            let message = |(recipient, sender): (&&str, &Option<&str>)| {
                let message = message::text("Hello").to(*recipient).in_sequence("story");
                match sender {
                    Some(sender) => message.from_sender(*sender),
                    None => message,
                }
            };
            let story: Vec<Outgoing> = spellings.iter().zip(&senders).map(message).collect();
            let ids = enqueue_all(&mut producer, &story).await.expect("taken");
            assert!(ids.is_sorted(), "{spellings:?} {senders:?}: {ids:?}");
        }
    }
    let lines: i64 = sqlx::query_scalar("select count(*) from wa.sequences")
        .fetch_one(&database.pool)
        .await
        .expect("a count");
    assert_eq!(lines, 2);
}
