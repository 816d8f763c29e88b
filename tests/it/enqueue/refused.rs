//! Bad rows: each is refused by the INSERT itself, in words that name field, value and fix.

use super::{TEXT, a_database, a_producer, count, refusal};
use crate::support::database::TestDatabase;
use crate::support::make::{ALICE, BOB};
use crate::support::world::SENDER;

/// A row that is refused: its columns, its values, what the message must name, what the hint must offer.
type BadRow = (&'static str, String, &'static [&'static str], &'static str);

fn bad_payload(payload: &str, named: &'static [&'static str], fix: &'static str) -> BadRow {
    let values = format!("'{ALICE}', $json${payload}$json$");
    ("recipient, payload", values, named, fix)
}

fn bad_recipient(recipient: &str, named: &'static [&'static str], fix: &'static str) -> BadRow {
    let recipient = match recipient {
        "null" => "null".to_owned(),
        text => format!("'{text}'"),
    };
    let values = format!("{recipient}, {TEXT}");
    ("recipient, payload", values, named, fix)
}

fn bad_column(
    column: &'static str,
    value: &str,
    named: &'static [&'static str],
    fix: &'static str,
) -> BadRow {
    (column, value.to_owned(), named, fix)
}

fn bad_rows() -> Vec<BadRow> {
    let filler = "x".repeat(449);
    let example = r#"{"type":"text","text":{"body":"Hello"}}"#;
    vec![
        bad_payload("[1]", &["payload", "array"], example),
        bad_payload("\"text\"", &["payload", "string"], example),
        bad_payload("17", &["payload", "number"], example),
        bad_payload("null", &["payload", "null"], example),
        bad_payload("{}", &["payload.type", "missing"], "text, image, audio"),
        bad_payload(
            r#"{"type":"txt","txt":{}}"#,
            &["payload.type", "\"txt\""],
            "text, image, audio",
        ),
        bad_payload(
            r#"{"type":"Text","Text":{}}"#,
            &["payload.type", "\"Text\""],
            "text, image, audio",
        ),
        bad_payload(
            r#"{"type":5,"5":{}}"#,
            &["payload.type", "\"5\""],
            "text, image, audio",
        ),
        bad_payload(
            r#"{"type":"hsm","hsm":{}}"#,
            &["payload.type", "\"hsm\""],
            "template",
        ),
        bad_payload(
            r#"{"type":"text"}"#,
            &["payload.text", "missing", "object"],
            "under the key 'text'",
        ),
        bad_payload(
            r#"{"type":"image","text":{}}"#,
            &["payload.image", "missing"],
            "under the key 'image'",
        ),
        bad_payload(
            r#"{"type":"text","text":"hi"}"#,
            &["payload.text", "string", "object"],
            "under the key 'text'",
        ),
        bad_payload(
            r#"{"type":"text","text":null}"#,
            &["payload.text", "null"],
            "under the key 'text'",
        ),
        bad_payload(
            r#"{"type":"text","text":{"body":"a"},"text":5}"#,
            &["payload.text", "number"],
            "under the key 'text'",
        ),
        bad_payload(
            r#"{"type":"contacts","contacts":{}}"#,
            &["payload.contacts", "object", "array"],
            "under the key 'contacts'",
        ),
        bad_payload(
            r#"{"status":"read"}"#,
            &["payload.message_id", "missing"],
            "wamid",
        ),
        bad_payload(
            r#"{"status":"read","message_id":123}"#,
            &["payload.message_id", "number, not a string"],
            "wamid",
        ),
        bad_payload(
            r#"{"status":"read","message_id":""}"#,
            &["payload.message_id", "empty"],
            "wamid",
        ),
        bad_payload(
            r#"{"type":null,"text":{"body":"Hello"}}"#,
            &["payload.type", "null"],
            "text, image, audio",
        ),
        bad_payload(
            r#"{"type":"text","text":{"body" : null}}"#,
            &["payload.text.body is null"],
            example,
        ),
        bad_payload(
            r#"{"text":{"b\u006fdy":null}}"#,
            &["payload.text.body is null"],
            example,
        ),
        bad_payload(
            r#"{"type":"template","template":{"name":null,"language":{"code":"en_US"}}}"#,
            &["payload.template.name is null"],
            "as it was approved",
        ),
        bad_payload(
            r#"{"type":"template","template":{"name":"promo","language":{"code":null}}}"#,
            &["payload.template.language.code is null"],
            "\"en_US\"",
        ),
        bad_payload(
            r#"{"messaging_product":"sms","type":"text","text":{"body":"a"}}"#,
            &["messaging_product", "\"sms\""],
            "leave it out",
        ),
        bad_payload(
            r#"{"to":"+19998887777","type":"text","text":{"body":"a"}}"#,
            &["payload", "another recipient"],
            "leave \"to\"",
        ),
        bad_payload(
            r#"{"t\u006f":"+19998887777","type":"text","text":{"body":"a"}}"#,
            &["payload", "another recipient"],
            "leave \"to\"",
        ),
        bad_payload(
            r#"{"recipient":"US.1","type":"text","text":{"body":"a"}}"#,
            &["payload", "another recipient"],
            "\"recipient\" out",
        ),
        bad_payload(
            r#"{"type":"text","text":{"body":"a\u0000b"}}"#,
            &["payload"],
            "NUL",
        ),
        bad_payload(
            r#"{"type":"text","text":{"body":"a\ud83db"}}"#,
            &["payload"],
            "surrogate",
        ),
        bad_payload(
            r#"{"type":"text","text":{"body":"a\ude80b"}}"#,
            &["payload"],
            "surrogate",
        ),
        bad_payload(
            &format!(
                r#"{{"type":"text","text":{{"body":"a"}},"biz_opaque_callback_data":"{filler}"}}"#
            ),
            &["biz_opaque_callback_data", "449", "448"],
            "shorten",
        ),
        bad_payload(
            r#"{"type":"text","text":{"body":"a"},"biz_opaque_callback_data":{"a":1}}"#,
            &["biz_opaque_callback_data", "object"],
            "as a string",
        ),
        (
            "recipient, payload",
            format!("'{ALICE}', null"),
            &["payload", "missing"],
            example,
        ),
        bad_recipient("null", &["recipient", "missing"], "country code"),
        bad_recipient("", &["recipient", "missing"], "country code"),
        bad_recipient(
            "16505551001",
            &["recipient", "\"16505551001\"", "+"],
            "country code",
        ),
        bad_recipient(
            "0016505551001",
            &["recipient", "\"0016505551001\"", "+"],
            "country code",
        ),
        bad_recipient(
            "+1650CALLME",
            &["recipient", "\"+1650CALLME\"", "letters"],
            "recipient_kind",
        ),
        bad_recipient("+06505551001", &["recipient", "\"+06505551001\""], "E.164"),
        bad_recipient("+123456", &["recipient", "\"+123456\""], "7 to 15 digits"),
        bad_recipient(
            "+1234567890123456",
            &["recipient", "\"+1234567890123456\""],
            "7 to 15 digits",
        ),
        bad_recipient(
            "+1650+5551001",
            &["recipient", "\"+1650+5551001\""],
            "E.164",
        ),
        bad_recipient(
            "+16505551001,+16505551002",
            &["recipient", "\"+16505551001,+16505551002\""],
            "E.164",
        ),
        bad_column(
            "recipient_kind",
            "'email'",
            &["recipient_kind", "\"email\""],
            "phone (the default), user or group",
        ),
        bad_column(
            "priority",
            "10",
            &["priority", "10"],
            "0 (urgent) to 9 (bulk)",
        ),
        bad_column(
            "priority",
            "-1",
            &["priority", "-1"],
            "0 (urgent) to 9 (bulk)",
        ),
        bad_column(
            "expires_at",
            "'2001-01-01'",
            &["expires_at", "2001-01-01", "due_at"],
            "later than due_at",
        ),
        bad_column(
            "due_at, expires_at",
            "'2040-01-02', '2040-01-02'",
            &["expires_at", "2040-01-02", "due_at"],
            "later than due_at",
        ),
        bad_column("due_at", "'infinity'", &["due_at", "infinity"], "9999"),
        bad_column(
            "on_uncertain",
            "'maybe'",
            &["on_uncertain", "\"maybe\""],
            "retry or hold",
        ),
        bad_column(
            "dedup_key",
            "''",
            &["dedup_key", "0 characters"],
            "1 to 200",
        ),
        bad_column(
            "dedup_key",
            "repeat('x', 201)",
            &["dedup_key", "201 characters"],
            "1 to 200",
        ),
        bad_column(
            "reference",
            "repeat('x', 201)",
            &["reference", "201 characters"],
            "200",
        ),
        bad_column("sequence", "''", &["sequence", "0 characters"], "1 to 100"),
        bad_column(
            "sequence",
            "repeat('x', 101)",
            &["sequence", "101 characters"],
            "1 to 100",
        ),
    ]
}

#[tokio::test]
async fn a_bad_row_is_refused_in_words_that_name_field_value_and_fix() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    for (columns, values, named, fix) in bad_rows() {
        // With and without its sender: the two ways through the checks must not differ.
        for (sender_column, sender) in [("", String::new()), ("sender, ", format!("'{SENDER}', "))]
        {
            let statement = if columns.starts_with("recipient, ") {
                format!(
                    "insert into wa.outbox ({sender_column}{columns}) values ({sender}{values})"
                )
            } else {
                format!(
                    "insert into wa.outbox ({sender_column}recipient, payload, {columns}) values ({sender}'{ALICE}', {TEXT}, {values})"
                )
            };
            let refused = refusal(&mut producer, &statement).await;
            for name in named {
                assert!(
                    refused.message.contains(name),
                    "{name}: {statement}: {}",
                    refused.message
                );
            }
            assert!(refused.hint.contains(fix), "{statement}: {}", refused.hint);
        }
    }
    assert_eq!(count(&database).await, 0);
}

#[tokio::test]
async fn a_sender_that_does_not_exist_is_refused_by_name() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    for sequence in ["null", "'orders'"] {
        let statement = format!(
            "insert into wa.outbox (sender, recipient, payload, sequence) values ('4711', '{ALICE}', {TEXT}, {sequence})"
        );
        let refused = refusal(&mut producer, &statement).await;
        assert!(
            refused.message.contains("sender \"4711\" does not exist"),
            "{}",
            refused.message
        );
        assert!(
            refused.hint.contains("wa-outbox sender add"),
            "{}",
            refused.hint
        );
        assert!(refused.hint.contains(SENDER), "{}", refused.hint);
    }
    let empty = TestDatabase::create().await;
    let mut producer = a_producer(&empty).await;
    let statement =
        format!("insert into wa.outbox (recipient, payload) values ('{ALICE}', {TEXT})");
    let refused = refusal(&mut producer, &statement).await;
    assert!(
        refused
            .message
            .contains("sender is missing and there is none"),
        "{}",
        refused.message
    );
    assert!(
        refused.hint.contains("wa-outbox sender add"),
        "{}",
        refused.hint
    );
}

#[tokio::test]
async fn nothing_of_a_statement_with_one_bad_row_is_kept() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    for bad in [
        format!("('{SENDER}', '+1650', {TEXT})"),
        format!("('nobody', '{BOB}', {TEXT})"),
        format!("('{SENDER}', '{BOB}', '{{}}')"),
    ] {
        let statement = format!(
            "insert into wa.outbox (sender, recipient, payload) values ('{SENDER}', '{ALICE}', {TEXT}), {bad}"
        );
        refusal(&mut producer, &statement).await;
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from wa.outbox")
        .fetch_one(&database.pool)
        .await
        .expect("a count");
    assert_eq!((rows, count(&database).await), (0, 0));
}
