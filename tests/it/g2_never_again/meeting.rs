//! Those who learn the same at the same moment do not stand in each other's way.

use sqlx::PgConnection;
use time::OffsetDateTime;
use wa_outbox::domain::id::{AttemptNumber, Era, MessageId, SenderId, Wamid};
use wa_outbox::domain::status::Status;
use wa_outbox::domain::transition::Transition;
use wa_outbox::store::claim::Begun;
use wa_outbox::store::inbox::FRONT;
use wa_outbox::store::record::{Account, Record};
use wa_outbox::store::status::StatusSeen;
use wa_outbox::store::sweep::BegunBefore;

use super::{Hand, a_worker, accepted_as, by_hand, lost, run};
use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

/// What an answer tells.
fn answered(id: MessageId, wamid: &str) -> Record {
    Record {
        id,
        sender: SenderId::from(SENDER),
        attempt: AttemptNumber(1),
        begun_at: OffsetDateTime::UNIX_EPOCH,
        era: Era::FIRST,
        transition: accepted_as(wamid),
        account: None,
    }
}

/// What a webhook tells of the same.
fn seen(id: MessageId, wamid: &str) -> StatusSeen {
    StatusSeen {
        inbox_id: 1,
        received_at: OffsetDateTime::UNIX_EPOCH,
        sender: None,
        wamid: Wamid::from(wamid),
        status: Status::Sent,
        occurred_at: OffsetDateTime::UNIX_EPOCH,
        named: Some((id, AttemptNumber(1))),
        callback_data: None,
        error: None,
    }
}

/// A transaction that has learned of this acceptance and not committed it.
async fn knows_already(world: &World, id: MessageId, wamid: &str) -> PgConnection {
    let mut worker = a_worker(world).await;
    let learned = format!(
        "begin; insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('{wamid}', '{SENDER}', {id}, 1, 'webhook')"
    );
    by_hand(&mut worker, &learned).await.expect("a fact");
    worker
}

async fn until_so_many_wait(world: &World, count: i64) {
    world
        .until_true("they wait for each other", async || {
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&world.database.pool)
            .await
            .expect("the activity");
            waiting == count
        })
        .await;
}

async fn deadlocks(world: &World) -> i64 {
    sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
        .fetch_one(&world.database.pool)
        .await
        .expect("the statistics")
}

#[tokio::test]
async fn answers_and_webhooks_that_tell_of_the_same_messages_never_deadlock() {
    for are_out in [true, false] {
        meet_on_three_messages(are_out).await;
    }
}

/// Whose requests are out as far as is known, or who were put back meanwhile.
async fn meet_on_three_messages(are_out: bool) {
    let world = World::at_rest().await;
    // Enough messages that each is found by its key: nothing is in order by chance.
    let others = "insert into wa.outbox (recipient, payload)
                  select '+16505551003', '{\"type\":\"text\",\"text\":{\"body\":\"Hello\"}}' from generate_series(1, 2000); analyze wa.outbox";
    run(&world, others).await;
    let (first, middle, last) = (
        world.enqueue(a_text()).await,
        world.enqueue(a_text()).await,
        world.enqueue(a_text()).await,
    );
    if are_out {
        let hand = Hand::takes_the_sender(&world).await;
        for id in [first, middle, last] {
            hand.begins(id).await.expect("begun");
        }
    }
    // Their wamids come in the other order than they do; and both meet on the one in the middle, after their own first one.
    let told = [(first, "wamid.C"), (middle, "wamid.B"), (last, "wamid.A")];
    let mut answers = told.map(|(id, wamid)| answered(id, wamid));
    answers.reverse();
    let webhooks = told.map(|(id, wamid)| seen(id, wamid));
    let mut third = knows_already(&world, middle, "wamid.B").await;

    let store = world.store.clone();
    let recorder = tokio::spawn(async move { store.record(&answers).await.map(drop) });
    let store = world.store.clone();
    let applier = tokio::spawn(async move {
        store.store_deliveries(&[b"{}".to_vec()]).await?;
        let mut batch = store
            .take_deliveries((1, 1), FRONT, &[])
            .await?
            .expect("a delivery");
        batch.apply(&webhooks).await?;
        batch.commit(&[]).await
    });
    until_so_many_wait(&world, 2).await;
    by_hand(&mut third, "rollback").await.expect("undone");

    for done in [recorder.await, applier.await] {
        done.expect("it does not panic").expect("no deadlock");
    }
    assert_eq!(deadlocks(&world).await, 0);
    assert_eq!(world.count("wa.known_wamids").await, 3);
    for (id, wamid) in told {
        let message = world.message(id).await;
        assert_eq!(message.wamid.as_deref(), Some(wamid));
        assert_eq!(message.status.as_deref(), Some("sent"));
        assert_eq!(message.duplicate, None);
    }
}

#[tokio::test]
async fn an_answer_that_is_recorded_while_a_webhook_tells_the_same_is_no_news_and_holds_up_no_other()
 {
    let world = World::at_rest().await;
    let (known, other) = (world.enqueue(a_text()).await, world.enqueue(a_text()).await);
    let hand = Hand::takes_the_sender(&world).await;
    hand.begins(known).await.expect("begun");
    hand.begins(other).await.expect("begun");
    let mut applier = knows_already(&world, known, "wamid.A").await;

    let answers = [answered(known, "wamid.A"), answered(other, "wamid.B")];
    let store = world.store.clone();
    let recorder = tokio::spawn(async move { store.record(&answers).await });
    until_so_many_wait(&world, 1).await;
    by_hand(&mut applier, "commit").await.expect("known");

    let recorded = recorder.await.expect("it does not panic");
    assert_eq!(recorded.expect("it is written").accepted_ids, [other]);
    assert_eq!(world.count("wa.known_wamids").await, 2);
    for (id, wamid) in [(known, "wamid.A"), (other, "wamid.B")] {
        let message = world.message(id).await;
        assert_eq!(message.wamid.as_deref(), Some(wamid));
        assert_eq!(message.duplicate, None);
    }
}

#[tokio::test]
async fn a_wamid_that_an_answer_has_told_is_of_that_message_alone() {
    let world = World::at_rest().await;
    let (id, other) = (world.enqueue(a_text()).await, world.enqueue(a_text()).await);
    let hand = Hand::takes_the_sender(&world).await;
    hand.begins(id).await.expect("begun");
    let answer = [answered(id, "wamid.A")];
    let recorded = world.store.record(&answer).await.expect("it is written");
    assert_eq!(recorded.accepted_ids, [id]);

    let mut worker = a_worker(&world).await;
    for told_of in [id, other] {
        let again = format!(
            "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('wamid.A', '{SENDER}', {told_of}, 1, 'webhook')"
        );
        by_hand(&mut worker, &again).await.expect("it is no news");
    }
    let stolen = format!(
        "insert into wa.results (id, sender, state, wamid, attempts) values ({other}, '{SENDER}', 'accepted', 'wamid.A', 1)"
    );
    by_hand(&mut worker, &stolen).await.expect_err("refused");
    let strangers = format!(
        "insert into wa.results (id, sender, state, attempts) values ({other}, 'somebody else', 'failed', 1)"
    );
    // Whatever becomes of that row: it is about another message.
    let _ = by_hand(&mut worker, &strangers).await;

    assert_eq!(world.count("wa.known_wamids").await, 1);
    assert_eq!(world.message(id).await.duplicate, None);
    assert_eq!(world.state_of(other).await, "queued");
}

#[tokio::test]
async fn a_doubt_about_an_earlier_request_leaves_the_one_that_is_out_alone() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(&world).await;
    hand.begins(id).await.expect("begun");
    run(&world, "update wa.queue set attempt = 2, attempts = 2").await;

    let mut worker = a_worker(&world).await;
    let doubt = format!(
        "insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt,
           waiting_for)
         values ({id}, '{SENDER}', 5, false, 1, 1, 0, now(), now(), true, 'no answer came', 'evidence')"
    );
    by_hand(&mut worker, &doubt).await.expect("it is dropped");

    assert_eq!(world.state_of(id).await, "sending");
    assert_eq!(world.count("wa.uncertain").await, 0);
}

/// How the doubt of the first request was settled.
async fn settled_by(world: &World, id: MessageId) -> Option<String> {
    let timeline = world.timeline(id).await;
    assert_eq!(timeline.message.state, "accepted");
    assert_eq!(timeline.attempts[0].outcome, "uncertain");
    timeline.attempts[0].settled_by.clone()
}

#[tokio::test]
async fn a_doubt_that_is_recorded_while_a_webhook_settles_it_is_settled() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(&world).await;
    let begun = hand.begins(id).await.expect("begun");
    let mut applier = knows_already(&world, id, "wamid.A").await;

    let (store, doubt) = (world.store.clone(), doubted(id, &begun));
    let recorder = tokio::spawn(async move { store.record(&[doubt]).await });
    until_so_many_wait(&world, 1).await;
    by_hand(&mut applier, "commit").await.expect("known");

    recorder
        .await
        .expect("it does not panic")
        .expect("it is written");
    assert_eq!(settled_by(&world, id).await.as_deref(), Some("webhook"));
}

/// The record of a request whose answer was lost.
fn doubted(id: MessageId, begun: &Begun) -> Record {
    Record {
        transition: lost(),
        begun_at: begun.begun_at,
        account: Some(Account {
            outcome: "uncertain",
            ..Account::default()
        }),
        ..answered(id, "wamid.A")
    }
}

#[tokio::test]
async fn a_doubt_that_a_webhook_settles_while_its_record_waits_for_another_message_is_settled() {
    let world = World::at_rest().await;
    let (id, other) = (world.enqueue(a_text()).await, world.enqueue(a_text()).await);
    let hand = Hand::takes_the_sender(&world).await;
    let begun = hand.begins(id).await.expect("begun");
    hand.begins(other).await.expect("begun");
    let mut in_the_way = a_worker(&world).await;
    let lock = format!("begin; select from wa.queue where id = {other} for update");
    by_hand(&mut in_the_way, &lock).await.expect("it is locked");

    let refusal = Record {
        transition: Transition::Fail {
            code: None,
            message: "no".to_owned(),
        },
        ..answered(other, "wamid.B")
    };
    let (store, doubt) = (world.store.clone(), doubted(id, &begun));
    let recorder = tokio::spawn(async move { store.record(&[doubt, refusal]).await });
    until_so_many_wait(&world, 1).await;
    let mut applier = knows_already(&world, id, "wamid.A").await;
    by_hand(&mut applier, "commit").await.expect("known");
    by_hand(&mut in_the_way, "rollback").await.expect("undone");

    recorder
        .await
        .expect("it does not panic")
        .expect("it is written");
    assert_eq!(settled_by(&world, id).await.as_deref(), Some("webhook"));
}

#[tokio::test]
async fn a_request_that_is_swept_while_a_webhook_settles_it_is_settled() {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(&world).await;
    let begun = hand.begins(id).await.expect("begun");
    run(
        &world,
        "update wa.queue set deadline = now() - interval '1 s'",
    )
    .await;
    let mut applier = knows_already(&world, id, "wamid.A").await;

    let (store, lost) = (
        world.store.clone(),
        BegunBefore {
            id,
            sender: SenderId::from(SENDER),
            attempt: begun.attempt,
        },
    );
    let sweep = tokio::spawn(async move { store.sweep([&lost]).await });
    until_so_many_wait(&world, 1).await;
    by_hand(&mut applier, "commit").await.expect("known");

    sweep
        .await
        .expect("it does not panic")
        .expect("it is swept");
    assert_eq!(settled_by(&world, id).await.as_deref(), Some("webhook"));
}
