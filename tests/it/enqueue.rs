//! An application writes a row, with nothing but the rights of `wa_producer`.

mod content;
mod dialled;
mod from_rust;
mod names;
mod refused;

use sqlx::postgres::{PgConnection, PgDatabaseError};
use sqlx::{AssertSqlSafe, Connection, Row};
use wa_outbox::domain::id::MessageId;

use crate::support::database::TestDatabase;
use crate::support::make::ALICE;
use crate::support::world::{SENDER, World};

const TEXT: &str = r#"'{"type":"text","text":{"body":"Hello"}}'"#;

/// A connection that may do what a producer may, and nothing else.
async fn a_producer(database: &TestDatabase) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url)
        .await
        .expect("the database answers");
    sqlx::query("set role wa_producer")
        .execute(&mut connection)
        .await
        .expect("the role is there");
    connection
}

/// A database with one sender, which nobody works.
async fn a_database() -> TestDatabase {
    let database = TestDatabase::create().await;
    add_sender(&database, SENDER).await;
    database
}

async fn add_sender(database: &TestDatabase, sender: &str) {
    sqlx::query("insert into wa.senders (sender, credential) values ($1, 'env:TOKEN')")
        .bind(sender)
        .execute(&database.pool)
        .await
        .expect("a sender is added");
}

async fn ids(producer: &mut PgConnection, statement: &str) -> Vec<i64> {
    let rows = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .fetch_all(producer)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    rows.iter().map(|row| row.get(0)).collect()
}

async fn count(database: &TestDatabase) -> i64 {
    sqlx::query_scalar("select count(*) from wa.messages where state = 'queued'")
        .fetch_one(&database.pool)
        .await
        .expect("a count")
}

/// What Postgres says to a statement that it refuses.
struct Refusal {
    message: String,
    hint: String,
}

async fn refusal(producer: &mut PgConnection, statement: &str) -> Refusal {
    let result = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(producer)
        .await;
    match result {
        Err(sqlx::Error::Database(error)) => Refusal {
            message: error.message().to_owned(),
            hint: error
                .downcast_ref::<PgDatabaseError>()
                .hint()
                .unwrap_or_default()
                .to_owned(),
        },
        other => panic!("not refused but {other:?}: {statement}"),
    }
}

#[tokio::test]
async fn a_producer_writes_a_row_and_gets_its_id() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let statement = format!(
        "insert into wa.outbox (sender, recipient, payload) values ('{SENDER}', '{ALICE}', {TEXT}) returning id"
    );

    let written = ids(&mut producer, &statement).await;

    let (id, state, created): (i64, String, bool) =
        sqlx::query_as("select id, state, created_at <= now() from wa.messages")
            .fetch_one(&mut producer)
            .await
            .expect("a producer may read what became of it");
    assert_eq!(
        (vec![id], state.as_str(), created),
        (written, "queued", true)
    );
}

#[tokio::test]
async fn many_rows_of_one_statement_are_all_queued() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let statement = "insert into wa.outbox (recipient, payload)
        select '+1650555' || (1000 + n), json_build_object('type', 'text', 'text', json_build_object('body', n))
        from generate_series(1, 500) n returning id";

    let written = ids(&mut producer, statement).await;

    assert_eq!(written.len(), 500);
    assert!(written.is_sorted(), "ids rise in the order of the rows");
    assert_eq!(count(&database).await, 500);
}

#[tokio::test]
async fn rows_of_every_kind_may_be_written_by_one_statement() {
    let database = a_database().await;
    let offer = r#"{"type":"template","template":{"name":"offer","language":{"code":"en_US"}}}"#;
    let campaign = format!("select wa.create_campaign('spring', '{offer}', sender => '{SENDER}')");
    let campaign: i64 = sqlx::query_scalar(AssertSqlSafe(campaign))
        .fetch_one(&database.pool)
        .await
        .expect("a campaign is made");
    let mut producer = a_producer(&database).await;

    let written = ids(
        &mut producer,
        &format!(
            "insert into wa.outbox (recipient, payload, sequence, campaign_id) values
               ('{ALICE}', {TEXT}, null, null), ('{ALICE}', {TEXT}, 'order', null),
               ('{ALICE}', {TEXT}, 'order', null), ('{ALICE}', null, null, {campaign})
             returning id"
        ),
    )
    .await;

    let stand = async |query| {
        let stand = sqlx::query_scalar::<_, i64>(query).fetch_all(&database.pool);
        stand.await.expect("the rows")
    };
    let queued = stand("select id from wa.queue order by id").await;
    assert_eq!(queued, [written[0], written[1], written[3]]);
    assert_eq!(stand("select id from wa.waiting").await, [written[2]]);
    let counted = "select n from wa.campaign_counts_now(1) where kind = 'queued'";
    assert_eq!(stand(counted).await, [1]);
}

#[tokio::test]
async fn rows_that_are_copied_in_are_queued_and_checked_like_others() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let copy = "copy wa.outbox (recipient, payload, reference) from stdin";

    let mut into = producer.copy_in_raw(copy).await.expect("copy may begin");
    let row = "+1 (650) 555-1001\t{\"type\":\"text\",\"text\":{\"body\":\"Hello\"}}\t";
    into.send(format!("{row}one\n{row}two\n").into_bytes())
        .await
        .expect("rows are sent");
    assert_eq!(into.finish().await.expect("the rows are taken"), 2);

    let mut into = producer.copy_in_raw(copy).await.expect("copy may begin");
    into.send(format!("{row}three\n6505551001\t{{}}\tfour\n").into_bytes())
        .await
        .expect("rows are sent");
    let error = into.finish().await.expect_err("the last one is bad");
    assert!(
        error.to_string().contains("does not start with +"),
        "{error}"
    );

    let kept: Vec<(String, String)> = sqlx::query_as(
        "select recipient, reference from wa.messages where state = 'queued' order by id",
    )
    .fetch_all(&database.pool)
    .await
    .expect("the messages");
    let expected = ["one", "two"].map(|reference| (ALICE.to_owned(), reference.to_owned()));
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn a_dedup_key_is_taken_once_per_sender() {
    let database = a_database().await;
    add_sender(&database, "2").await;
    let mut producer = a_producer(&database).await;
    let row = |sender: &str, end: &str| {
        format!(
            "insert into wa.outbox (sender, recipient, payload, dedup_key) values ('{sender}', '{ALICE}', {TEXT}, 'order-7') {end}"
        )
    };

    assert_eq!(
        ids(&mut producer, &row(SENDER, "returning id")).await.len(),
        1
    );
    let again = refusal(&mut producer, &row(SENDER, "")).await;
    assert!(
        again.message.contains("dedup_key_is_used_once_per_sender"),
        "{}",
        again.message
    );
    let skipped = ids(
        &mut producer,
        &row(SENDER, "on conflict do nothing returning id"),
    )
    .await;
    assert!(skipped.is_empty());
    assert_eq!(ids(&mut producer, &row("2", "returning id")).await.len(), 1);
    assert_eq!(count(&database).await, 2);
}

#[tokio::test]
async fn a_row_without_a_sender_goes_to_the_only_or_the_default_one() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let row = format!(
        "insert into wa.outbox (recipient, payload) values ('{ALICE}', {TEXT}) returning id"
    );
    let sender_of = async |id: i64| -> String {
        sqlx::query_scalar("select sender from wa.messages where id = $1")
            .bind(id)
            .fetch_one(&database.pool)
            .await
            .expect("the message")
    };

    let to_the_only_one = ids(&mut producer, &row).await[0];
    assert_eq!(sender_of(to_the_only_one).await, SENDER);

    add_sender(&database, "2").await;
    let undecided = refusal(&mut producer, &row).await;
    assert!(
        undecided.message.contains("none of them the default"),
        "{}",
        undecided.message
    );
    assert!(
        undecided.hint.contains("wa-outbox sender set"),
        "{}",
        undecided.hint
    );

    sqlx::query("update wa.senders set is_default = true where sender = '2'")
        .execute(&database.pool)
        .await
        .expect("a default is chosen");
    let to_the_default = ids(&mut producer, &row).await[0];
    assert_eq!(sender_of(to_the_default).await, "2");
}

#[tokio::test]
async fn separators_in_a_recipient_are_taken_out() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    for written in [
        "+1 650 555 1001",
        "+1-650-555-1001",
        "+1.650.555.1001",
        "+1 (650) 555-1001",
        " +16505551001 ",
        "+1/650/5551001",
        "+1\u{a0}650\u{2011}555\u{2013}1001",
    ] {
        let statement = format!(
            "insert into wa.outbox (sender, recipient, payload) values ('{SENDER}', '{written}', {TEXT}) returning recipient"
        );
        let kept: String = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(&mut producer)
            .await
            .unwrap_or_else(|error| panic!("{written:?}: {error}"));
        assert_eq!(kept, ALICE, "{written:?}");
    }
    // As in a database that was made without a locale, where \s is ASCII.
    let written = "+1\u{202f}650\u{3000}555\u{2009}1001\u{a0}";
    let kept: String = sqlx::query_scalar("select wa.checked_recipient($1 collate \"C\", 'phone')")
        .bind(written)
        .fetch_one(&database.pool)
        .await
        .expect("a number");
    assert_eq!(kept, ALICE);
}

#[tokio::test]
async fn a_time_without_end_is_no_limit_and_no_trap_for_the_worker() {
    let world = World::start().await;
    let mut producer = a_producer(&world.database).await;
    let row = |columns: &str, values: &str| {
        format!(
            "insert into wa.outbox (sender, recipient, payload, {columns}) values ('{SENDER}', '{ALICE}', {TEXT}, {values}) returning id"
        )
    };

    let for_ever = ids(&mut producer, &row("expires_at", "'infinity'")).await[0];
    let since_ever = ids(&mut producer, &row("due_at", "'-infinity'")).await[0];
    let long_ago = ids(&mut producer, &row("due_at", "'1900-01-01'")).await[0];
    let never = refusal(&mut producer, &row("due_at", "'infinity'")).await;
    let far = refusal(&mut producer, &row("due_at", "'10000-01-01'")).await;
    let too_late = refusal(&mut producer, &row("expires_at", "'10000-01-01'")).await;

    for id in [for_ever, since_ever, long_ago] {
        world.until_state(MessageId(id), "accepted").await;
    }
    for (refused, field) in [(never, "due_at"), (far, "due_at"), (too_late, "expires_at")] {
        assert!(refused.message.contains(field), "{}", refused.message);
        assert!(refused.hint.contains("9999"), "{}", refused.hint);
    }
}

#[tokio::test]
async fn the_functions_write_what_they_say() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let text = ids(
        &mut producer,
        "select wa.enqueue_text('+1 650 555 1001', 'Hello', reference => 'a', priority => 0::smallint)",
    )
    .await[0];
    let template = ids(
        &mut producer,
        r#"select wa.enqueue_template('+16505551002', 'shipped', 'en_US', '[{"type":"body","parameters":[]}]')"#,
    )
    .await[0];

    for (statement, named) in [
        (
            "select wa.enqueue_text('+16505551001', null)",
            "payload.text.body is null",
        ),
        (
            "select wa.enqueue_template('+16505551001', null, 'en_US')",
            "payload.template.name is null",
        ),
        (
            "select wa.enqueue_template('+16505551001', 'shipped', null)",
            "payload.template.language.code is null",
        ),
    ] {
        let refused = refusal(&mut producer, statement).await;
        assert!(
            refused.message.contains(named),
            "{statement}: {}",
            refused.message
        );
    }

    let payload_of = async |id: i64| -> serde_json::Value {
        sqlx::query_scalar("select payload from wa.outbox where id = $1")
            .bind(id)
            .fetch_one(&database.pool)
            .await
            .expect("the payload")
    };
    assert_eq!(
        payload_of(text).await,
        serde_json::json!({"type": "text", "text": {"preview_url": false, "body": "Hello"}})
    );
    assert_eq!(
        payload_of(template).await,
        serde_json::json!({"type": "template", "template": {
            "name": "shipped", "language": {"code": "en_US"}, "components": [{"type": "body", "parameters": []}],
        }})
    );
    let (reference, priority): (String, i16) =
        sqlx::query_as("select reference, priority from wa.messages where id = $1")
            .bind(text)
            .fetch_one(&database.pool)
            .await
            .expect("the message");
    assert_eq!((reference.as_str(), priority), ("a", 0));
}

#[tokio::test]
async fn a_producer_cancels_what_has_not_been_begun_and_only_that() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    let id = ids(
        &mut producer,
        "select wa.enqueue_text('+16505551001', 'Hello')",
    )
    .await[0];

    let cancelled = ids(&mut producer, &format!("select wa.cancel({id})")).await;
    assert_eq!(cancelled, [id]);
    let state: String = sqlx::query_scalar("select state from wa.messages")
        .fetch_one(&mut producer)
        .await
        .expect("the message");
    assert_eq!(state, "cancelled");

    let again = refusal(&mut producer, &format!("select wa.cancel({id})")).await;
    assert!(
        again
            .message
            .contains(&format!("message {id} is cancelled")),
        "{}",
        again.message
    );
    let unknown = refusal(&mut producer, "select wa.cancel(4711)").await;
    assert!(
        unknown.message.contains("there is no message 4711"),
        "{}",
        unknown.message
    );

    let begun = ids(
        &mut producer,
        "select wa.enqueue_text('+16505551001', 'Hello')",
    )
    .await[0];
    sqlx::query(
        "update wa.queue set state = 'sending', epoch = 1, attempt = 1, attempts = 1, begun_at = now(), deadline = now()",
    )
    .execute(&database.pool)
    .await
    .expect("a worker begins it");
    let too_late = refusal(&mut producer, &format!("select wa.cancel({begun})")).await;
    assert!(
        too_late.message.contains("is sending"),
        "{}",
        too_late.message
    );
    assert!(
        too_late.hint.contains("may have reached WhatsApp"),
        "{}",
        too_late.hint
    );
}

#[tokio::test]
async fn a_producer_can_change_nothing_that_is_written() {
    let database = a_database().await;
    let mut producer = a_producer(&database).await;
    ids(
        &mut producer,
        "select wa.enqueue_text('+16505551001', 'Hello')",
    )
    .await;
    let row = format!("(recipient, payload) values ('{ALICE}', {TEXT})");
    for statement in [
        "update wa.outbox set payload = '{}'".to_owned(),
        "delete from wa.outbox".to_owned(),
        "truncate wa.outbox".to_owned(),
        format!("insert into wa.outbox (id, recipient, payload) overriding system value values (7, '{ALICE}', {TEXT})"),
        format!("insert into wa.outbox (created_at, recipient, payload) values (now(), '{ALICE}', {TEXT})"),
        format!("insert into wa.outbox {row} on conflict (sender, dedup_key) where dedup_key is not null do update set payload = '{{}}'"),
        "update wa.queue set attempts = 0".to_owned(),
        "delete from wa.queue".to_owned(),
        "insert into wa.queue (id, sender, priority, due_at) values (7, '1', 5, now())".to_owned(),
        "insert into wa.results (id, sender, state, attempts) values (1, '1', 'failed', 0)".to_owned(),
        "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('w', '1', 1, 1, 'operator')".to_owned(),
        "select wa.resend(array[1], array[1], 'mine')".to_owned(),
        "select wa.promote('1', '2', '3')".to_owned(),
        "select wa.settle_sequences(array[1])".to_owned(),
        "update wa.senders set rate_per_second = 1".to_owned(),
        "select key from wa.keys".to_owned(),
        "select credential from wa.senders".to_owned(),
        "select body from wa.webhook_inbox".to_owned(),
    ] {
        let refused = refusal(&mut producer, &statement).await;
        assert!(refused.message.contains("permission denied"), "{statement}: {}", refused.message);
    }
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn writers_at_the_same_time_do_not_lose_each_others_rows() {
    let database = a_database().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let mut producer = a_producer(&database).await;
        writers.spawn(async move {
            for row in 0..25 {
                let statement = format!(
                    "insert into wa.outbox (recipient, payload, reference, sequence)
                     values ('{ALICE}', {TEXT}, '{writer}-{row}', case when {row} % 5 = 0 then 'one' end)"
                );
                sqlx::query(AssertSqlSafe(statement))
                    .execute(&mut producer)
                    .await
                    .expect("the row is taken");
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("the writer ends well");
    }

    let (rows, references, queued, waiting): (i64, i64, i64, i64) = sqlx::query_as(
        "select count(*), count(distinct reference), count(*) filter (where state = 'queued'),
           count(*) filter (where state = 'waiting') from wa.messages",
    )
    .fetch_one(&database.pool)
    .await
    .expect("the counts");
    // Of the 40 rows of the sequence one is its head.
    assert_eq!((rows, references, queued, waiting), (200, 200, 161, 39));
}

#[tokio::test]
async fn odd_but_legal_content_reaches_the_wire_byte_for_byte() {
    let world = World::start().await;
    let mut producer = a_producer(&world.database).await;
    for (recipient, members) in [
        (
            "+16505552001",
            r#""type":"text","text":{"body":"one","body":"two"}"#,
        ),
        (
            "+16505552002",
            r#""type":"location","location":{"latitude":37.44216251868683,"longitude":-122.16153582049394,"name":"n","address":"a","extra":123456789012345678901234567890123456789.5e-7}"#,
        ),
        (
            "+16505552003",
            r#""type":"text","text":{"body":"👩‍👩‍👧‍👦 \ud83d\ude80 \u00e9 \"q\" \\ \/"}"#,
        ),
        (
            "+16505552004",
            "\"type\":\"text\",\"text\":{ \"body\" : \"spaced\",\n\t\"preview_url\" :false}",
        ),
    ] {
        let statement = format!(
            "insert into wa.outbox (sender, recipient, payload) values ('{SENDER}', '{recipient}', $json${{{members}}}$json$) returning id"
        );
        let id = ids(&mut producer, &statement).await[0];
        world.until_state(MessageId(id), "accepted").await;
        let entry = world.simulator.ledger().accepted_for(recipient).remove(0);
        let body = String::from_utf8(entry.body.to_vec()).expect("text");
        assert!(body.contains(members), "{body}");
    }
}

#[tokio::test]
async fn of_a_member_given_twice_the_one_that_was_checked_leaves() {
    let world = World::start().await;
    let mut producer = a_producer(&world.database).await;
    let payload = r#"{"type":"image","type":"text","text":5,"text":{"body":"two"}}"#;
    let statement = format!(
        "insert into wa.outbox (sender, recipient, payload) values ('{SENDER}', '{ALICE}', '{payload}') returning id"
    );

    let id = ids(&mut producer, &statement).await[0];

    world.until_state(MessageId(id), "accepted").await;
    let entry = world.simulator.ledger().accepted_for(ALICE).remove(0);
    assert_eq!(
        (entry.kind.as_str(), entry.text.as_deref()),
        ("text", Some("two"))
    );
    let body = String::from_utf8(entry.body.to_vec()).expect("text");
    assert!(!body.contains("image"), "{body}");
}
