//! What the INSERT sees of the content, and for which senders.

use super::{a_database, a_producer, ids, refusal};
use crate::support::make::ALICE;
use crate::support::world::SENDER;

/// A payload that is refused, what the message must name, and one that is just taken.
fn bad_and_good() -> Vec<(String, &'static str, String)> {
    let text = |count: usize| {
        format!(
            r#"{{"type":"text","text":{{"body":"{}"}}}}"#,
            "é".repeat(count)
        )
    };
    let case = |bad: &str, named, good: &str| (bad.to_owned(), named, good.to_owned());
    let contacts = |count: usize| {
        let one = r#"{"name":{"formatted_name":"A","first_name":"A"}}"#;
        format!(
            r#"{{"type":"contacts","contacts":[{}]}}"#,
            vec![one; count].join(",")
        )
    };
    vec![
        (
            text(4_097),
            "payload.text.body has 4097 characters",
            text(4_096),
        ),
        (text(0), "payload.text.body has 0 characters", text(1)),
        case(
            r#"{"text":{}}"#,
            "payload.text.body is missing",
            r#"{"text":{"body":"x"}}"#,
        ),
        case(
            r#"{"type":"text","text":{"body":["x"]}}"#,
            "payload.text.body is array",
            r#"{"type":"text","text":{"body":7}}"#,
        ),
        case(
            r#"{"type":"reaction","reaction":{"emoji":"👍"}}"#,
            "payload.reaction lacks a message_id",
            r#"{"type":"reaction","reaction":{"message_id":"wamid.A","emoji":""}}"#,
        ),
        case(
            r#"{"type":"reaction","reaction":{"message_id":"wamid.A"}}"#,
            "payload.reaction lacks an emoji",
            r#"{"type":"reaction","reaction":{"message_id":"wamid.A","emoji":"👍"}}"#,
        ),
        case(
            r#"{"type":"image","image":{"caption":"x"}}"#,
            "payload.image has neither id nor link",
            r#"{"type":"image","image":{"id":"1"}}"#,
        ),
        case(
            r#"{"type":"video","video":{"id":"1","link":"https://a"}}"#,
            "payload.video has both id and link",
            r#"{"type":"video","video":{"link":"https://a"}}"#,
        ),
        case(
            r#"{"type":"sticker","sticker":{"id":""}}"#,
            "payload.sticker has neither",
            r#"{"type":"sticker","sticker":{"id":"1","link":""}}"#,
        ),
        case(
            r#"{"type":"location","location":{"latitude":1}}"#,
            "payload.location lacks",
            r#"{"type":"location","location":{"latitude":1,"longitude":"2"}}"#,
        ),
        (contacts(0), "payload.contacts has 0 contacts", contacts(1)),
        (
            contacts(258),
            "payload.contacts has 258 contacts",
            contacts(257),
        ),
        case(
            r#"{"type":"interactive","interactive":{"body":{"text":"x"}}}"#,
            "payload.interactive.type is missing",
            r#"{"type":"interactive","interactive":{"type":"hologram"}}"#,
        ),
        case(
            r#"{"type":"template","template":{"name":"Spring Sale","language":{"code":"en"}}}"#,
            "payload.template.name is \"Spring Sale\"",
            r#"{"type":"template","template":{"name":"spring_sale_2","language":{"code":"en"}}}"#,
        ),
        case(
            r#"{"type":"template","template":{"name":""}}"#,
            "payload.template.name is \"\"",
            r#"{"type":"template","template":{"name":"a"}}"#,
        ),
    ]
}

fn insert(payload: &str) -> String {
    format!(
        "insert into wa.outbox (sender, recipient, payload) values ('{SENDER}', '{ALICE}', $json${payload}$json$) returning id"
    )
}

#[tokio::test]
async fn content_that_is_sure_to_be_rejected_is_refused_where_it_is_written() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    for (bad, named, good) in bad_and_good() {
        let refused = refusal(&mut producer, &insert(&bad)).await;
        assert!(
            refused.message.contains(named),
            "{named}: {}",
            refused.message
        );
        assert!(!refused.hint.is_empty(), "{named}");
        assert_eq!(ids(&mut producer, &insert(&good)).await.len(), 1, "{good}");
    }
}

#[tokio::test]
async fn a_sender_that_does_not_refuse_gets_its_rows_in_and_newer_types_too() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let newer = insert(r#"{"type":"hologram","hologram":{"shape":"cube"}}"#);
    let empty = insert(r#"{"type":"hologram"}"#);
    let refused = refusal(&mut producer, &newer).await;
    assert!(
        refused.message.contains("no message type"),
        "{}",
        refused.message
    );
    for validate in ["warn", "off"] {
        sqlx::query("update wa.senders set validate = $1")
            .bind(validate)
            .execute(&database.pool)
            .await
            .expect("the sender is changed");
        for (bad, ..) in bad_and_good() {
            assert_eq!(ids(&mut producer, &insert(&bad)).await.len(), 1, "{bad}");
        }
        assert_eq!(ids(&mut producer, &newer).await.len(), 1);
        let refused = refusal(&mut producer, &empty).await;
        assert!(
            refused.message.contains("no message type"),
            "{}",
            refused.message
        );
    }
}
