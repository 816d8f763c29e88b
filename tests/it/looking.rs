//! What people look at is complete, and costs the same whatever stands in the tables.

mod commands;
mod decisions;
mod plans;

use sqlx::AssertSqlSafe;
use wa_outbox::domain::id::MessageId;
use wa_outbox::store::message::Message;
use wa_outbox::store::messages::{LOOKED_AT, MessageFilter};

use crate::support::world::{SENDER, World};

/// Sends little.
const OTHER: &str = "200000000000001";

/// Some of everything, from two senders: each message is number `n` of the outbox, and what became of it depends on `n` alone.
async fn some_of_everything() -> World {
    let world = World::at_rest().await;
    world.add_sender(OTHER).await;
    for statement in [
        format!("select wa.create_campaign('spring', '{{\"type\":\"template\",\"template\":{{\"name\":\"promo\",\"language\":{{\"code\":\"en_US\"}}}}}}', sender => '{SENDER}', author => 'ada')"),
        format!(
            r#"insert into wa.outbox (sender, recipient, payload, reference, sequence)
               select case when n % 11 = 0 then '{OTHER}' else '{SENDER}' end, '+1650555' || (1000 + n % 17),
                 '{{"type":"text","text":{{"body":"Hello"}}}}', 'order-' || n % 13, case when n % 20 = 0 then 'story' end
               from generate_series(1, 400) as n order by n"#
        ),
        format!(
            "insert into wa.outbox (sender, recipient, campaign_id, variables)
             select '{SENDER}', '+1650555' || (1000 + n % 17), (select id from wa.campaigns), '{{}}' from generate_series(1, 60) as n"
        ),
        // By the last digits: most are accepted, and of each other end there are some.
        "update wa.queue set state = 'sending', attempt = 1, epoch = 1, begun_at = now(), deadline = now() where id % 10 < 8".to_owned(),
        "insert into wa.acceptances (wamid, sender, id, attempt, learned_from)
         select 'wamid.' || id, sender, id, 1, 'response' from wa.queue where id % 10 < 4".to_owned(),
        "insert into wa.acceptances (wamid, sender, id, attempt, learned_from)
         select 'wamid.again.' || id, sender, id, 2, 'webhook' from wa.results where id % 30 = 1".to_owned(),
        "update wa.results set sent_at = now(), delivered_at = case when id % 3 = 0 then now() end, read_at = case when id % 9 = 0 then now() end
         where id % 10 in (0, 1, 2)".to_owned(),
        "update wa.results set failed_at = now(), error_code = 131026, error_message = 'undeliverable' where id % 10 = 3".to_owned(),
        "insert into wa.results (id, sender, state, attempts, campaign, in_sequence, error_code, error_message)
         select id, sender, 'failed', 1, campaign, in_sequence, case when id % 10 = 4 then 131026 else 132000 end, 'rejected'
         from wa.queue where id % 10 in (4, 5)".to_owned(),
        "insert into wa.uncertain (id, sender, priority, campaign, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
         select id, sender, priority, campaign, in_sequence, 1, 1, 0, begun_at, deadline, true, 'no answer came', 'evidence'
         from wa.queue where id % 10 = 6".to_owned(),
        "insert into wa.results (id, sender, state, attempts, campaign, in_sequence, error_message)
         select id, sender, case when id % 20 = 8 then 'expired' else 'cancelled' end, 0, campaign, in_sequence, 'too late'
         from wa.queue where id % 10 = 8".to_owned(),
    ] {
        world.run_sql(&statement).await;
    }
    world
}

/// What `wa.messages` says, newest first.
async fn ids_where(world: &World, condition: &str) -> Vec<i64> {
    let statement = format!("select id from wa.messages where {condition} order by id desc");
    sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_all(&world.database.pool)
        .await
        .expect("the messages")
}

/// All pages, one after the other.
async fn ids_of_pages(world: &World, filter: &MessageFilter, limit: usize) -> Vec<i64> {
    let mut filter = filter.clone();
    let mut ids = Vec::new();
    loop {
        let page = world.store.messages(&filter, limit).await.expect("a page");
        assert!(page.messages.len() <= limit);
        ids.extend(page.messages.iter().map(|message: &Message| message.id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn whoever_follows_the_pages_meets_each_message_exactly_once() {
    let world = some_of_everything().await;
    let campaign: i64 = sqlx::query_scalar("select id from wa.campaigns")
        .fetch_one(&world.database.pool)
        .await
        .expect("the campaign");
    let any = MessageFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let mut cases = vec![
        (any(), "true".to_owned()),
        (
            MessageFilter {
                sender: text(OTHER),
                ..any()
            },
            format!("sender = '{OTHER}'"),
        ),
        (
            MessageFilter {
                recipient: text("+16505551003"),
                ..any()
            },
            "recipient = '+16505551003'".to_owned(),
        ),
        (
            MessageFilter {
                reference: text("order-5"),
                state: text("failed"),
                ..any()
            },
            "reference = 'order-5' and state = 'failed'".to_owned(),
        ),
        (
            MessageFilter {
                wamid: text("wamid.again.31"),
                ..any()
            },
            "id = 31".to_owned(),
        ),
        (
            MessageFilter {
                campaign: Some(campaign),
                ..any()
            },
            "campaign_id is not null".to_owned(),
        ),
        (
            MessageFilter {
                campaign: Some(campaign),
                state: text("queued"),
                ..any()
            },
            "campaign_id is not null and state = 'queued'".to_owned(),
        ),
        (
            MessageFilter {
                sequence: text("story"),
                ..any()
            },
            "sequence = 'story'".to_owned(),
        ),
        (
            MessageFilter {
                code: Some(131026),
                ..any()
            },
            "error_code = 131026".to_owned(),
        ),
        (
            MessageFilter {
                code: Some(131026),
                state: text("failed"),
                sender: text(SENDER),
                ..any()
            },
            format!("error_code = 131026 and state = 'failed' and sender = '{SENDER}'"),
        ),
        (
            MessageFilter {
                duplicates_only: true,
                ..any()
            },
            "duplicate is not null".to_owned(),
        ),
    ];
    for state in [
        "queued",
        "waiting",
        "sending",
        "uncertain",
        "accepted",
        "failed",
        "expired",
        "cancelled",
    ] {
        let filter = MessageFilter {
            state: text(state),
            ..any()
        };
        cases.push((filter, format!("state = '{state}'")));
    }
    for status in ["sent", "delivered", "read", "failed"] {
        let filter = MessageFilter {
            status: text(status),
            ..any()
        };
        cases.push((filter, format!("status = '{status}'")));
    }
    for (filter, condition) in cases {
        let expected = ids_where(&world, &condition).await;
        assert!(!expected.is_empty(), "there is something {condition}");
        for limit in [3, 1_000] {
            assert_eq!(
                ids_of_pages(&world, &filter, limit).await,
                expected,
                "{condition}"
            );
        }
    }
}

#[tokio::test]
async fn a_look_that_ends_early_says_how_far_it_came_and_the_next_one_goes_on_from_there() {
    let world = World::at_rest().await;
    let rows = LOOKED_AT + 100;
    let fill = format!(
        r#"insert into wa.outbox (recipient, payload, sequence)
           select '+16505551234', '{{"type":"text","text":{{"body":"Hello"}}}}', case when n <= 2 then 'rare' end
           from generate_series(1, {rows}) as n order by n"#
    );
    world.run_sql(&fill).await;
    let mut filter = MessageFilter {
        sequence: Some("rare".into()),
        ..MessageFilter::default()
    };

    let first = world.store.messages(&filter, 20).await.expect("a page");
    assert!(first.messages.is_empty());
    assert!(!first.is_whole());
    assert!(first.looked_back_to.is_some());
    assert_eq!(first.next, first.looked_back_to);

    filter.before = first.next;
    let second = world.store.messages(&filter, 20).await.expect("a page");
    assert_eq!(second.messages.len(), 2);
    assert!(second.is_whole());
    assert_eq!(second.looked_back_to, None);
}

#[tokio::test]
async fn a_recipient_is_found_however_the_number_is_written() {
    let world = World::at_rest().await;
    let id = world
        .enqueue(crate::support::make::a_text().to("+16505551234"))
        .await;
    for written in [
        "+16505551234",
        "+1 650-555 1234",
        " +1 (650) 555.1234 ",
        "16505551234",
        "001 650 555 1234",
    ] {
        let filter = MessageFilter {
            recipient: Some(written.into()),
            ..MessageFilter::default()
        };
        let page = world.store.messages(&filter, 20).await.expect("a page");
        let found: Vec<_> = page.messages.iter().map(|one| MessageId(one.id)).collect();
        assert_eq!(found, [id], "{written}");
    }
    let filter = MessageFilter {
        recipient: Some("+16505559999".into()),
        ..MessageFilter::default()
    };
    let page = world.store.messages(&filter, 20).await.expect("a page");
    assert!(page.messages.is_empty() && page.is_whole());
}

#[tokio::test]
async fn a_census_of_a_small_outbox_counts_what_the_books_count() {
    let world = some_of_everything().await;
    let census = world.store.census().await.expect("a census");
    let mut counted = census.ended.clone();
    counted.sort_by_key(|one| (one.state.clone(), one.status.clone()));
    for (state, messages) in [
        ("queued", census.queued),
        ("sending", census.sending),
        ("waiting", census.waiting),
        ("uncertain", census.uncertain),
    ] {
        let expected = ids_where(&world, &format!("state = '{state}'")).await.len();
        assert_eq!(messages, expected as i64, "{state}");
    }
    let mut expected = world.store.counts().await.expect("the counts");
    expected
        .retain(|one| ["accepted", "failed", "expired", "cancelled"].contains(&one.state.as_str()));
    expected.sort_by_key(|one| (one.state.clone(), one.status.clone()));
    assert_eq!(counted, expected);
    assert_eq!(census.total, 460);
    assert!(!census.total_is_estimate && census.ended_is_whole());
}

#[tokio::test]
async fn a_census_counts_so_far_and_estimates_the_rest() {
    let world = World::at_rest().await;
    world
        .run_sql(
            r#"insert into wa.outbox (recipient, payload)
               select '+16505551234', '{"type":"text","text":{"body":"Hello"}}' from generate_series(1, 30000)"#,
        )
        .await;
    world.run_sql("analyze wa.outbox").await;
    let census = world.store.census().await.expect("a census");
    assert!(census.total_is_estimate);
    assert!((29_000..31_000).contains(&census.total), "{}", census.total);
    assert_eq!(census.queued, 10_001);
}
