//! Pruning beside those who insert, send and apply; and what comes about a message that was pruned.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use time::OffsetDateTime;
use wa_outbox::domain::id::{AttemptNumber, Era, MessageId, SenderId, Wamid};
use wa_outbox::domain::outcome::{Acceptance, ApiError};
use wa_outbox::domain::transition::Transition;
use wa_outbox::simulator::Statuses;
use wa_outbox::store::record::{Account, Record};

use super::{NINETY_DAYS, pruned_by};
use crate::support::callbacks::{a_status, with_data};
use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

const A_SLICE: &str = "select * from wa.prune_messages(now() - interval '90 days', 0, 500, false)";

async fn somebody(world: &World) -> PgConnection {
    PgConnection::connect(&world.database.url)
        .await
        .expect("the database answers")
}

async fn says(connection: &mut PgConnection, statements: &str) {
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statements.to_owned())))
        .await
        .unwrap_or_else(|error| panic!("`{statements}`: {error}"));
}

async fn somebody_waits(world: &World) {
    world
        .until_true("somebody waits for a lock", async || {
            world
                .count("pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
                .await
                == 1
        })
        .await;
}

fn another_acceptance(id: MessageId) -> String {
    format!(
        "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('wamid.again', '{SENDER}', {id}, 2, 'webhook')"
    )
}

#[tokio::test]
async fn what_is_told_of_a_pruned_message_does_no_harm() {
    let mut world = World::at_rest().await;
    world.simulator.set_statuses(Statuses::none());
    world.start_service().await;
    let id = world.enqueue(a_text()).await;
    let wamid = world
        .until_state(id, "accepted")
        .await
        .wamid
        .expect("a wamid");
    world.deliver(&[a_status(&wamid, "delivered", 1)]).await;
    let token = world.token(id, 1).await;
    world.ages(id, 100).await;
    assert_eq!(world.prunes(NINETY_DAYS).await.messages, 1);

    let other = world.enqueue(a_text()).await;
    let others = world.until_state(other, "accepted").await.wamid;
    world
        .deliver(&[
            a_status(&wamid, "read", 2),
            with_data(a_status("wamid.second", "sent", 2), &token),
            a_status(&others.expect("a wamid"), "read", 2),
        ])
        .await;
    world.until_status(other, "read").await;
    assert_eq!(
        world.count("wa.status_events where id is null").await,
        2,
        "they are kept as of no message"
    );
    assert_eq!(world.count("wa.known_wamids").await, 1);
    world.assert_nothing_is_left_over().await;
    // It was not taken for one that this database has never begun.
    assert_eq!(world.count("wa.eras").await, 1);
    assert!(world.stop_service().await);
}

#[tokio::test]
async fn an_answer_about_a_pruned_message_leaves_nothing() {
    let world = World::at_rest().await;
    let id = world.delivered_long_ago(a_text()).await;
    world.prunes(NINETY_DAYS).await;
    let other = world.accepted(a_text()).await;
    let record = |id, attempt, transition| Record {
        id,
        sender: SenderId::from(SENDER),
        attempt: AttemptNumber(attempt),
        begun_at: OffsetDateTime::UNIX_EPOCH,
        era: Era::FIRST,
        transition,
        account: Some(Account {
            outcome: "accepted",
            error: ApiError::default(),
            note: None,
        }),
    };
    let accepted = |wamid: Option<&str>| {
        Transition::Accept(Acceptance {
            wamid: wamid.map(Wamid::from),
            ..Acceptance::default()
        })
    };
    let refused = Transition::Fail {
        code: Some(131_050),
        message: "has stopped".to_owned(),
    };
    let told = [
        record(id, 1, accepted(Some("wamid.late"))),
        record(id, 2, accepted(None)),
        record(id, 3, refused),
        // One that is there, in the same batch.
        record(other, 2, accepted(Some("wamid.double"))),
    ];
    world.store.record(&told).await.expect("it is written");
    world.assert_nothing_is_left_over().await;
    assert_eq!(world.count("wa.suppressions").await, 0);
    assert_eq!(
        world
            .count(&format!(
                "wa.results where id = {other} and duplicate = 'resend'"
            ))
            .await,
        1
    );
    assert_eq!(world.count("wa.known_wamids").await, 2);
    assert_eq!(world.count("wa.attempts").await, 1);
}

#[tokio::test]
async fn of_an_acceptance_and_a_slice_that_meet_the_later_one_sees_the_other() {
    let world = World::at_rest().await;
    let id = world.delivered_long_ago(a_text()).await;

    // The acceptance first: the slice leaves the message, and waits for nobody.
    let mut applier = somebody(&world).await;
    says(&mut applier, &format!("begin; {}", another_acceptance(id))).await;
    assert_eq!(world.prunes(NINETY_DAYS).await.messages, 0);
    says(&mut applier, "rollback").await;

    // The slice first: the acceptance waits for it, and then there is no message.
    let mut pruner = somebody(&world).await;
    says(&mut pruner, &format!("begin; {A_SLICE}")).await;
    let accepting = tokio::spawn(async move {
        says(&mut applier, &another_acceptance(id)).await;
    });
    somebody_waits(&world).await;
    says(&mut pruner, "commit").await;
    accepting.await.expect("it is done");
    assert!(!world.is_there(id).await);
    assert_eq!(world.count("wa.known_wamids").await, 0);
    world.assert_nothing_is_left_over().await;
}

#[tokio::test]
async fn what_is_told_of_a_message_while_a_slice_looks_at_it_keeps_it() {
    let world = World::at_rest().await;
    let id = world.delivered_long_ago(a_text()).await;
    // It has found the message, and waits before it locks anything; as long as the test likes.
    world
        .run_sql("alter function wa.prune_messages set lock_timeout = 0")
        .await;
    let mut applier = somebody(&world).await;
    says(
        &mut applier,
        "begin; lock table wa.sequences in exclusive mode",
    )
    .await;
    let mut pruner = somebody(&world).await;
    let pruning = tokio::spawn(async move { says(&mut pruner, A_SLICE).await });
    somebody_waits(&world).await;

    let read = format!("update wa.results set read_at = now() where id = {id}; commit");
    says(&mut applier, &read).await;
    pruning.await.expect("it is done");
    assert!(world.is_there(id).await);
}

#[tokio::test]
async fn a_slice_leaves_what_somebody_has_locked_and_waits_for_nobody() {
    let world = World::at_rest().await;
    let member = world.delivered_long_ago(a_text().in_sequence("busy")).await;
    let looked_at = world.delivered_long_ago(a_text()).await;
    let free = world.delivered_long_ago(a_text()).await;

    let mut application = somebody(&world).await;
    says(
        &mut application,
        &format!(
            "begin;
             insert into wa.outbox (sender, recipient, payload, sequence)
             select sender, recipient, payload, sequence from wa.outbox where id = {member};
             select from wa.results where id = {looked_at} for update"
        ),
    )
    .await;
    assert_eq!(world.prunes(NINETY_DAYS).await.messages, 1);
    assert!(!world.is_there(free).await);
    says(&mut application, "commit").await;
    assert_eq!(world.prunes(NINETY_DAYS).await.messages, 2);
    assert_eq!(
        world.count("wa.sequences where sequence = 'busy'").await,
        1,
        "another message is in it"
    );
}

#[tokio::test]
async fn a_slice_keeps_nobody_who_inserts_or_begins_waiting() {
    let world = World::at_rest().await;
    world.delivered_long_ago(a_text().in_sequence("old")).await;
    let queued = world.enqueue(a_text()).await;
    let mut pruner = somebody(&world).await;
    says(&mut pruner, &format!("begin; {A_SLICE}")).await;

    // With everything locked that a slice locks: who had to wait would be told so at once.
    let mut application = somebody(&world).await;
    says(
        &mut application,
        &format!(
            "set lock_timeout = '1ms';
             insert into wa.outbox (sender, recipient, payload, sequence) values
               ('{SENDER}', '+16505551234', '{{\"type\":\"text\",\"text\":{{\"body\":\"a\"}}}}', null),
               ('{SENDER}', '+16505551234', '{{\"type\":\"text\",\"text\":{{\"body\":\"b\"}}}}', 'new');
             update wa.queue set state = 'sending', attempt = 1, epoch = 1, begun_at = now(), deadline = now() where id = {queued};
             insert into wa.acceptances (wamid, sender, id, attempt, learned_from)
             values ('wamid.new', '{SENDER}', {queued}, 1, 'response');
             update wa.results set delivered_at = now() where id = {queued};
             insert into wa.webhook_inbox (body) values ('')"
        ),
    )
    .await;
    says(&mut pruner, "commit").await;
    assert_eq!(world.count("wa.outbox").await, 3);
}

#[tokio::test]
async fn two_walks_beside_a_fleet_that_sends_and_applies_lose_nothing_and_take_only_what_is_old() {
    let mut world = World::at_rest().await;
    let mut old = Vec::new();
    for number in 0..60 {
        let draft = match number % 3 {
            0 => a_text().in_sequence(&format!("line {number}")),
            _ => a_text(),
        };
        old.push(world.enqueue(draft).await);
    }
    world.start_service().await;
    world.until_all_have_ended().await;
    for id in &old {
        world.until_status(*id, "read").await;
    }
    world.until_webhooks_are_applied().await;
    let (aged, grown) = old.split_at(40);
    for id in aged {
        world.ages(*id, 100).await;
    }

    // They go on walking until everything new was told.
    let over = tokio_util::sync::CancellationToken::new();
    let walkers: Vec<_> = (0..2)
        .map(|_| {
            let (store, over) = (world.store.clone(), over.clone());
            tokio::spawn(async move {
                let mut messages = 0;
                while !over.is_cancelled() {
                    messages += pruned_by(&store, NINETY_DAYS)
                        .await
                        .expect("a walk")
                        .messages;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                messages
            })
        })
        .collect();
    let mut new = Vec::new();
    for number in 0..200 {
        let draft = match number % 4 {
            0 => a_text().in_sequence(&format!("line {}", number % 60)),
            _ => a_text(),
        };
        new.push(world.enqueue(draft).await);
    }
    world.until_all_have_ended().await;
    for id in &new {
        world.until_status(*id, "read").await;
    }
    world
        .until_true("what is old has gone", async || {
            let aged: Vec<String> = aged.iter().map(ToString::to_string).collect();
            world
                .count(&format!("wa.outbox where id in ({})", aged.join(", ")))
                .await
                == 0
        })
        .await;
    over.cancel();
    let mut gone = 0;
    for walker in walkers {
        gone += walker.await.expect("it walked");
    }
    assert_eq!(gone, aged.len() as i64, "each goes once");
    world.assert_nothing_is_left_over().await;
    for id in grown.iter().chain(&new) {
        assert!(world.is_there(*id).await, "message {id} went too early");
    }
    let taken = world.simulator.ledger().accepted().len();
    assert_eq!(taken, old.len() + new.len());
    assert!(world.stop_service().await);
}
