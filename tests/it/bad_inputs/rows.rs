//! Rows that applications write.

use sqlx::postgres::{PgConnection, PgDatabaseError};
use sqlx::{AssertSqlSafe, Connection as _};

use super::{Bad, Section};
use crate::support::make::ALICE;
use crate::support::world::{SENDER, World};

const TEXT: &str = r#"{"type":"text","text":{"body":"Hello"}}"#;

fn with(columns: &str, values: &str) -> String {
    format!(
        "insert into wa.outbox (recipient, payload, {columns}) values ('{ALICE}', '{TEXT}', {values})"
    )
}

fn to(recipient: &str) -> String {
    format!("insert into wa.outbox (recipient, payload) values ('{recipient}', '{TEXT}')")
}

fn saying(payload: &str) -> String {
    format!("insert into wa.outbox (recipient, payload) values ('{ALICE}', '{payload}')")
}

pub(super) async fn section() -> Section {
    let world = World::at_rest().await;
    for statement in [
        with("dedup_key", "'order-17'"),
        format!(
            r#"select wa.create_campaign('spring', '{{"type":"template","template":{{"name":"promo","language":{{"code":"en_US"}},"components":[{{"type":"body","parameters":[{{"type":"text","text":"{{{{name}}}}"}}]}}]}}}}', sender => '{SENDER}', author => 'ada')"#
        ),
    ] {
        world.run_sql(&statement).await;
    }
    let mut producer = PgConnection::connect(&world.database.url)
        .await
        .expect("it answers");
    sqlx::query("set role wa_producer")
        .execute(&mut producer)
        .await
        .expect("the role is there");
    let statements = [
        to("16505551001"),
        to("+1650CALLME"),
        to("+06505551001"),
        to("+123456"),
        to("+16505551001,+16505551002"),
        to(""),
        saying("[1]"),
        saying(r#"{"type":"txt","txt":{}}"#),
        saying(r#"{"type":"text","text":"Hello"}"#),
        saying(r#"{"type":"text","text":{"body":null}}"#),
        saying(r#"{"type":"text","text":{"body":""}}"#),
        saying(r#"{"type":"text","text":{"body":"a\u0000b"}}"#),
        saying(r#"{"type":"image","image":{}}"#),
        saying(r#"{"type":"template","template":{"name":"Order Shipped"}}"#),
        saying(r#"{"type":"reaction","reaction":{"emoji":"👍"}}"#),
        saying(r#"{"type":"interactive","interactive":{"body":{"text":"Choose"}}}"#),
        saying(r#"{"type":"text","text":{"body":"Hello"},"to":"+19998887777"}"#),
        saying(
            r#"{"type":"text","text":{"body":"Hello"},"biz_opaque_callback_data":{"order":17}}"#,
        ),
        saying(r#"{"type":"text","text":{"body":"Hello"}"#),
        with("sender", "'4711'"),
        with("priority", "10"),
        with("due_at, expires_at", "'2040-01-02', '2040-01-01'"),
        with("due_at", "'infinity'"),
        with("on_uncertain", "'maybe'"),
        with("sequence", "''"),
        with("dedup_key", "'order-17'"),
        with("recipient_kind", "'email'"),
        with("campaign_id", "4711"),
        format!(
            "insert into wa.outbox (campaign_id, recipient, variables) values (1, '{ALICE}', '[]')"
        ),
        format!(
            "insert into wa.outbox (recipient, payload, wamid) values ('{ALICE}', '{TEXT}', 'wamid.A')"
        ),
        "update wa.outbox set payload = null where id = 1".to_owned(),
        format!(
            "insert into wa.outbox (recipient, payload) values ('{ALICE}', json_build_object('type', 'text', 'text', json_build_object('body', repeat('x', 2000000))))"
        ),
        format!(
            "insert into wa.outbox (campaign_id, recipient, variables) values (1, '{ALICE}', jsonb_build_object('name', repeat('x', 2000000)))"
        ),
        "select wa.cancel(4711)".to_owned(),
        "select wa.enqueue_template('+16505551001', 'Order Shipped', 'en_US')".to_owned(),
    ];
    let mut bad = Vec::new();
    for statement in statements {
        let refused = sqlx::query(AssertSqlSafe(statement.clone()))
            .execute(&mut producer)
            .await;
        bad.push(Bad::new(statement, words(refused.err())));
    }
    (
        "Rows",
        "As `psql` shows them: the message, then its hint or detail.",
        bad,
    )
}

fn words(refused: Option<sqlx::Error>) -> String {
    let Some(sqlx::Error::Database(error)) = refused else {
        return format!("{refused:?}");
    };
    let error = error.downcast_ref::<PgDatabaseError>();
    let more = error.hint().or(error.detail());
    let more = more.map(|more| format!("\n{more}")).unwrap_or_default();
    format!("{}{more}", error.message())
}
