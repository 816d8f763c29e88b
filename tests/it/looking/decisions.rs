//! What a person decides about a group is done to all of it, and to none of it twice.

use sqlx::AssertSqlSafe;
use wa_outbox::store::failures::{Again, Decider, FailureFilter, FailureGroup, SuppressFrom};
use wa_outbox::store::groups::{GroupFinding, GroupSettled, UncertainFilter};

use super::{OTHER, ids_where, some_of_everything};
use crate::support::world::{SENDER, World};

const ADA: Decider<'_> = Decider {
    by: "ada",
    reason: "the template is mended",
};

async fn number(world: &World, statement: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(statement.to_owned()))
        .fetch_one(&world.database.pool)
        .await
        .expect("a number")
}

fn of_code(code: i64) -> FailureGroup {
    FailureGroup {
        code: Some(code),
        filter: FailureFilter::default(),
    }
}

#[tokio::test]
async fn failures_are_grouped_by_code_and_sender_with_those_that_were_accepted_first_apart() {
    let world = some_of_everything().await;
    let failures = world
        .store
        .failures(&FailureFilter::default())
        .await
        .expect("the failures");
    assert!(failures.is_whole());
    for group in &failures.groups {
        let code = group.code.expect("a code");
        let alike = format!("sender = '{}' and error_code = {code}", group.sender);
        let rejected = ids_where(&world, &format!("{alike} and state = 'failed'"))
            .await
            .len();
        let told = ids_where(&world, &format!("{alike} and status = 'failed'"))
            .await
            .len();
        assert_eq!(group.messages as usize, rejected + told, "{code}");
        assert_eq!(group.rejected as usize, rejected, "{code}");
        let sample = ids_where(&world, &format!("{alike} and id = {}", group.sample)).await;
        assert_eq!(sample.len(), 1);
    }
    let all: i64 = failures.groups.iter().map(|group| group.messages).sum();
    let expected = ids_where(&world, "state = 'failed' or status = 'failed'").await;
    assert_eq!(all as usize, expected.len());
    assert!(failures.groups.iter().any(|group| group.sender == OTHER));
}

#[tokio::test]
async fn failures_are_sent_again_once_however_often_it_is_asked_for() {
    let world = some_of_everything().await;
    let group = of_code(131026);
    let failed = ids_where(
        &world,
        "error_code = 131026 and (state = 'failed' or status = 'failed')",
    )
    .await;
    let counted = world.store.count_failures(&group).await.expect("a count");
    assert_eq!(
        (counted.messages as usize, counted.is_whole),
        (failed.len(), true)
    );
    let before = number(&world, "select count(*) from wa.outbox").await;

    let first = world
        .store
        .send_failures_again(&group, ADA)
        .await
        .expect("they are sent again");
    let second = world
        .store
        .send_failures_again(&group, ADA)
        .await
        .expect("nothing is left");

    let all = failed.len() as u64;
    assert_eq!(
        first,
        Again {
            written: all,
            ..Again::default()
        }
    );
    assert_eq!(
        second,
        Again {
            already: all,
            ..Again::default()
        }
    );
    assert_eq!(
        number(&world, "select count(*) from wa.outbox").await - before,
        all as i64
    );
    // Each is the copy of one that has failed, and waits for its turn; the old one stays what it is.
    let copies = "select count(*) from wa.outbox a join wa.messages n on n.id = a.id
                  join wa.outbox o on a.dedup_key = 'again:' || o.id
                  where (a.sender, a.recipient, a.payload::text, a.variables, a.reference, a.campaign_id)
                    is not distinct from (o.sender, o.recipient, o.payload::text, o.variables, o.reference, o.campaign_id)
                    and n.state in ('queued', 'waiting')";
    assert_eq!(number(&world, copies).await, all as i64);
    let still = ids_where(
        &world,
        "error_code = 131026 and (state = 'failed' or status = 'failed')",
    )
    .await;
    assert_eq!(still, failed);
    let decided: Vec<(String, String, i64)> =
        sqlx::query_as("select what, author, messages from wa.group_decisions order by decision")
            .fetch_all(&world.database.pool)
            .await
            .expect("the decisions");
    assert_eq!(
        decided,
        [
            ("again".into(), "ada".into(), all as i64),
            ("again".into(), "ada".into(), 0)
        ]
    );
}

#[tokio::test]
async fn what_arrived_all_the_same_is_not_sent_again() {
    let world = some_of_everything().await;
    let arrived = ids_where(&world, "status = 'failed'").await;
    world
        .run_sql("update wa.results set delivered_at = now() where failed_at is not null")
        .await;
    let again = world
        .store
        .send_failures_again(&of_code(131026), ADA)
        .await
        .expect("they are sent again");
    assert!(!arrived.is_empty() && again.written > 0);
    for id in arrived {
        let copies = number(
            &world,
            &format!("select count(*) from wa.outbox where dedup_key = 'again:{id}'"),
        )
        .await;
        assert_eq!(copies, 0);
    }
}

#[tokio::test]
async fn rows_of_a_campaign_that_has_ended_are_not_sent_again() {
    let world = some_of_everything().await;
    let of_campaign = ids_where(&world, "error_code = 131026 and campaign_id is not null").await;
    world
        .run_sql("update wa.campaigns set state = 'cancelled'")
        .await;
    let (counted, would) = (world.store.count_again(&of_code(131026)).await).expect("a count");
    let again = world
        .store
        .send_failures_again(&of_code(131026), ADA)
        .await
        .expect("the others are sent again");
    assert_eq!(again, would);
    assert_eq!(counted.messages, again.written as i64);
    let (_, would) = (world.store.count_again(&of_code(131026)).await).expect("a count");
    assert_eq!((would.written, would.already), (0, again.written));
    assert_eq!(again.of_ended_campaigns as usize, of_campaign.len());
    assert!(again.of_ended_campaigns > 0 && again.written > 0);
}

#[tokio::test]
async fn a_group_is_of_its_sender_and_its_time() {
    let world = some_of_everything().await;
    let mut group = of_code(132000);
    group.filter.sender = Some(OTHER.into());
    let expected = ids_where(
        &world,
        &format!("error_code = 132000 and sender = '{OTHER}'"),
    )
    .await;
    let counted = world.store.count_failures(&group).await.expect("a count");
    assert_eq!(counted.messages as usize, expected.len());
    assert!(!expected.is_empty());
    group.filter.since = Some(wa_outbox::clock::Clock::system().now() + time::Duration::hours(1));
    let again = world
        .store
        .send_failures_again(&group, ADA)
        .await
        .expect("nothing is meant");
    assert_eq!(again, Again::default());
}

#[tokio::test]
async fn recipients_of_failures_are_suppressed_once_and_for_good() {
    let world = some_of_everything().await;
    world
        .run_sql(
            "insert into wa.suppressions (recipient, reason, expires_at)
             select recipient, 'for a while', now() - interval '1 day' from wa.messages where error_code = 131026 limit 1",
        )
        .await;
    let recipients = number(
        &world,
        "select count(distinct recipient) from wa.messages where error_code = 131026 and (state = 'failed' or status = 'failed')",
    )
    .await;
    let group = of_code(131026);
    let from = SuppressFrom::default();
    let first = world
        .store
        .suppress_failures(&group, &from, ADA)
        .await
        .expect("they are suppressed");
    let second = world
        .store
        .suppress_failures(&group, &from, ADA)
        .await
        .expect("nobody is left");
    assert_eq!((first as i64, second), (recipients, 0));
    let standing = number(
        &world,
        "select count(*) from wa.suppressions where expires_at is null and created_by = 'ada' and reason = 'the template is mended'",
    )
    .await;
    assert_eq!(standing, recipients);
}

#[tokio::test]
async fn a_group_of_uncertain_messages_is_settled_by_one_word() {
    let world = some_of_everything().await;
    let uncertain = ids_where(&world, "state = 'uncertain'").await;
    let groups = world.store.uncertain_groups().await.expect("the groups");
    let all: i64 = groups.iter().map(|group| group.messages).sum();
    assert_eq!(all as usize, uncertain.len());

    let of_other = UncertainFilter {
        sender: Some(OTHER.into()),
        ..UncertainFilter::default()
    };
    let theirs = ids_where(
        &world,
        &format!("state = 'uncertain' and sender = '{OTHER}'"),
    )
    .await;
    let counted = world
        .store
        .count_uncertain(&of_other)
        .await
        .expect("a count");
    assert_eq!(counted.messages as usize, theirs.len());
    let settled = world
        .store
        .resolve_group(&of_other, GroupFinding::SendAgain, ADA)
        .await
        .expect("they are settled");
    assert_eq!(
        settled,
        GroupSettled {
            settled: theirs.len() as u64,
            passed: 0
        }
    );
    for id in &theirs {
        assert_eq!(
            ids_where(&world, &format!("id = {id} and state = 'queued'")).await,
            [*id]
        );
    }

    let rest = UncertainFilter {
        doubt: Some("no answer came".into()),
        ..UncertainFilter::default()
    };
    let settled = world
        .store
        .resolve_group(&rest, GroupFinding::NotSent, ADA)
        .await
        .expect("they are settled");
    assert_eq!(settled.settled as usize, uncertain.len() - theirs.len());
    let why = "state = 'failed' and error_message = 'not sent, says ada: the template is mended'";
    let ended = ids_where(&world, why).await;
    assert_eq!(ended.len() as u64, settled.settled);
    assert!(ids_where(&world, "state = 'uncertain'").await.is_empty());
    let again = world
        .store
        .resolve_group(&rest, GroupFinding::NotSent, ADA)
        .await
        .expect("nothing is left");
    assert_eq!(again, GroupSettled::default());
}

#[tokio::test]
async fn duplicates_are_listed_with_their_cause_and_number_of_ids() {
    let world = some_of_everything().await;
    let expected = ids_where(&world, "duplicate is not null").await;
    let first = world.store.duplicates(3, None).await.expect("a page");
    let rest = world
        .store
        .duplicates(1_000, Some(first[2].id))
        .await
        .expect("a page");
    let listed: Vec<i64> = first.iter().chain(&rest).map(|one| one.id).collect();
    assert_eq!(listed, expected);
    assert!(
        first
            .iter()
            .all(|one| one.cause == "resend" && one.wamids == 2)
    );
}

#[tokio::test]
async fn webhooks_tell_what_waits_what_was_bad_and_whom_nobody_knows() {
    let world = World::at_rest().await;
    world.deliveries_wait(&["{}"], "0 s").await;
    world.older_deliveries_wait(&["{}"], "0 s").await;
    for statement in [
        r#"insert into wa.webhook_inbox (body, state, bad_entries) values
             ('\x00', 'bad', '[{"place":"","reason":"no JSON"}]'),
             ('\x00', 'stored', '[{"place":"entry 1","reason":"no id"},{"place":"entry 2","reason":"no id"}]')"#
            .to_owned(),
        "insert into wa.status_events (wamid, status, occurred_at, received_at) select 'wamid.' || n, 'sent', now(), now() from generate_series(1, 5) n".to_owned(),
        format!("insert into wa.webhook_flow (sender, last_status_at) values ('{SENDER}', now())"),
    ] {
        world.run_sql(&statement).await;
    }
    let health = world
        .store
        .webhook_health()
        .await
        .expect("how webhooks flow");
    assert_eq!((health.pending, health.bad, health.unmatched), (2, 2, 5));
    assert!(health.oldest_pending_at.is_some() && health.last_status_at.is_some());
    let bad = world
        .store
        .bad_deliveries(10, None)
        .await
        .expect("the bad ones");
    let told: Vec<_> = bad
        .iter()
        .map(|one| (one.is_unreadable, one.entries, one.reason.as_deref()))
        .collect();
    assert_eq!(
        told,
        [(false, 2, Some("no id")), (true, 1, Some("no JSON"))]
    );
    assert_eq!(
        world
            .store
            .bad_deliveries(10, Some(bad[0].id))
            .await
            .expect("the next")
            .len(),
        1
    );

    let mut events = Vec::new();
    let mut before = None;
    loop {
        let page = world
            .store
            .unmatched_statuses(2, before)
            .await
            .expect("a page");
        let Some(last) = page.last() else { break };
        before = Some(last.cursor());
        events.extend(page.iter().map(|one| one.event));
    }
    assert_eq!(events.len(), 5);
    assert!(events.is_sorted_by(|a, b| a > b), "{events:?}");
    let flows = world.store.sender_flows().await.expect("the flows");
    assert!(flows[0].last_status_at.is_some() && !flows[0].echoes);
}
