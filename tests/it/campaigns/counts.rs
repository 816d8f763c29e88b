//! Counts: sums of what the books tell, equal to a count of every row at any moment.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use wa_outbox::domain::id::MessageId;
use wa_outbox::store::campaign_progress::{CampaignCounts, FailureCount};
use wa_outbox::store::claim::Begun;
use wa_outbox::store::uncertain::Finding;

use super::{Hand, accepted, claim, doubtful, put_back, refused, wamid_of};
use crate::support::callbacks::{a_delivery, a_status};
use crate::support::make::a_text;
use crate::support::world::World;

/// What [`CampaignCounts`] says, by the names of its fields and the codes of failures.
fn by_kind(counts: &CampaignCounts) -> BTreeMap<String, i64> {
    let kinds = [
        ("queued", counts.queued),
        ("sending", counts.sending),
        ("uncertain", counts.uncertain),
        ("accepted", counts.accepted),
        ("sent", counts.sent),
        ("delivered", counts.delivered),
        ("read", counts.read),
        ("undelivered", counts.undelivered),
        ("failed", counts.failed),
        ("expired", counts.expired),
        ("cancelled", counts.cancelled),
    ];
    let codes = counts
        .failures
        .iter()
        .map(|one| (format!("code {:?}", one.code), one.count));
    let all = kinds
        .into_iter()
        .map(|(kind, n)| (kind.to_owned(), n))
        .chain(codes);
    all.filter(|(_, n)| *n != 0).collect()
}

impl World {
    /// The same by looking at every message.
    async fn full_count(&self, campaign: i64) -> BTreeMap<String, i64> {
        let rows: Vec<(String, Option<String>, Option<i64>, i64)> = sqlx::query_as(
            "select state, status, error_code, count(*) from wa.messages where campaign_id = $1 group by 1, 2, 3",
        )
        .bind(campaign)
        .fetch_all(&self.database.pool)
        .await
        .expect("every message");
        let mut counted = BTreeMap::new();
        for (state, status, code, n) in rows {
            let kind = match (state.as_str(), status.as_deref()) {
                ("accepted", Some("played")) => "read",
                ("accepted", Some("failed")) => "undelivered",
                ("accepted", Some(status)) => status,
                (state, _) => state,
            };
            *counted.entry(kind.to_owned()).or_default() += n;
            if matches!(kind, "failed" | "undelivered") {
                *counted.entry(format!("code {code:?}")).or_default() += n;
            }
        }
        counted
    }
}

/// What a random walk remembers beside the database.
struct Walk<'a> {
    world: &'a World,
    hand: &'a Hand,
    dice: fastrand::Rng,
    rows: Vec<MessageId>,
    begun: Vec<Begun>,
    last: Option<Begun>,
    heard: Vec<String>,
}

impl Walk<'_> {
    fn a_row(&mut self) -> MessageId {
        self.rows[self.dice.usize(..self.rows.len())]
    }

    /// A request; every other time the same as the last time, for what is told of one twice is what may go wrong.
    fn a_request(&mut self) -> Option<Begun> {
        if self.last.is_none() || self.dice.bool() {
            self.last = self.dice.choice(&self.begun).copied();
        }
        self.last
    }

    fn a_delivery(&mut self) -> String {
        let status = |walk: &mut Self| -> Value {
            let wamid = wamid_of(walk.a_row());
            let names = ["sent", "delivered", "read", "played", "failed"];
            let name = names[walk.dice.usize(..names.len())];
            let mut status = a_status(&wamid, name, 1_800_000_000 + walk.dice.i64(0..1_000));
            if name == "failed" {
                status["errors"] = json!([{"code": 131_026 + walk.dice.i64(0..3), "title": "no"}]);
            }
            status
        };
        let statuses: Vec<Value> = (0..self.dice.usize(1..6)).map(|_| status(self)).collect();
        a_delivery(&statuses)
    }

    /// One statement of any kind; many of them come too late, twice, or to the wrong message.
    async fn step(&mut self) {
        let world = self.world;
        let some: Vec<MessageId> = (0..self.dice.usize(1..8)).map(|_| self.a_row()).collect();
        match self.dice.u8(..12) {
            0..=2 => {
                let begun = world.begin(self.hand, &some).await;
                self.begun.extend(begun);
            }
            3..=6 => {
                // Requests are recorded again and again, also those of which something else is known by now.
                let Some(request) = self.a_request() else {
                    return;
                };
                let transition = match self.dice.u8(..5) {
                    0 => refused(131_026 + self.dice.i64(0..3)),
                    1 => doubtful(),
                    2 => put_back(),
                    _ => accepted(request.id),
                };
                world.record(&request, transition).await;
            }
            7 => {
                let Some(request) = self.a_request() else {
                    return;
                };
                let claims = [claim(self.hand, request.id, request.attempt.0)];
                // Only what has not left is ever taken back.
                let is_out = world
                    .count(&format!("wa.known_wamids where id = {}", request.id))
                    .await
                    > 0;
                if !is_out {
                    world
                        .store
                        .take_back(&claims)
                        .await
                        .expect("it is taken back");
                }
            }
            8 | 9 => {
                let delivery = self.a_delivery();
                self.heard.push(delivery.clone());
                let again = self.heard[self.dice.usize(..self.heard.len())].clone();
                world.apply_deliveries(&[delivery, again]).await;
            }
            10 => {
                let finding = if self.dice.bool() {
                    Finding::SendAgain
                } else {
                    Finding::NotSent
                };
                let id = some[0];
                world
                    .store
                    .resolve(id, &finding, "ada", "she looked")
                    .await
                    .expect("a person's word");
            }
            _ => {
                // Refused for what is out or has ended.
                let _ = world.store.cancel(some[0]).await;
                world
                    .run_sql(&format!(
                        "update wa.queue set expires_at = now() where id = {} and state = 'queued'",
                        some[1 % some.len()]
                    ))
                    .await;
                world.store.expire_overdue().await.expect("they expire");
            }
        }
    }
}

#[tokio::test]
async fn counts_equal_a_count_of_every_row_whatever_happens() {
    // Few, so that much happens to each.
    const ROWS: i64 = 8;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaigns = [
        world.a_campaign("spring", 0).await,
        world.a_campaign("winter", 0).await,
    ];
    let mut rows = Vec::new();
    for campaign in campaigns {
        rows.extend(world.add_recipients(campaign, ROWS).await);
    }
    for _ in 0..2 {
        rows.push(world.enqueue(a_text()).await);
    }
    let mut walk = Walk {
        world: &world,
        hand: &hand,
        dice: fastrand::Rng::with_seed(seed),
        rows,
        begun: Vec::new(),
        last: None,
        heard: Vec::new(),
    };
    for step in 0..120 {
        walk.step().await;
        if walk.dice.u8(..4) == 0 {
            world
                .store
                .fold_campaign_counts(walk.dice.i32(1..20))
                .await
                .expect("they are added up");
        }
        for campaign in campaigns {
            let counts = world.counts(campaign).await;
            assert_eq!(
                by_kind(&counts),
                world.full_count(campaign).await,
                "after step {step}"
            );
            assert_eq!(counts.total(), ROWS);
        }
    }
}

#[tokio::test]
async fn each_row_is_counted_where_it_stands() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 11).await;
    let begun = world.begin(&hand, &rows[..8]).await;
    for begun in &begun[..5] {
        world.record(begun, accepted(begun.id)).await;
    }
    world.record(&begun[5], refused(131_026)).await;
    world.record(&begun[6], doubtful()).await;
    world.store.cancel(rows[8]).await.expect("it is cancelled");
    world
        .run_sql(&format!(
            "update wa.queue set expires_at = now() where id = {}",
            rows[9]
        ))
        .await;
    world.store.expire_overdue().await.expect("it expires");
    let statuses: Vec<Value> = ["sent", "delivered", "read", "failed"]
        .into_iter()
        .enumerate()
        .map(|(at, status)| {
            let mut status = a_status(&wamid_of(begun[at].id), status, 1_800_000_000);
            status["errors"] = json!([{"code": 131_049, "title": "no"}]);
            status
        })
        .collect();
    world.apply_deliveries(&[a_delivery(&statuses)]).await;
    let counts = world.counts(campaign).await;
    let failure = |code, count| FailureCount {
        code: Some(code),
        count,
    };
    let expected = CampaignCounts {
        queued: 1,
        sending: 1,
        uncertain: 1,
        accepted: 1,
        sent: 1,
        delivered: 1,
        read: 1,
        undelivered: 1,
        failed: 1,
        expired: 1,
        cancelled: 1,
        suppressed: 0,
        failures: vec![failure(131_026, 1), failure(131_049, 1)],
    };
    assert_eq!(counts, expected);
    assert_eq!(by_kind(&counts), world.full_count(campaign).await);
}

#[tokio::test]
async fn ordinary_messages_leave_no_trace_in_the_counts() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let mut messages = Vec::new();
    for _ in 0..6 {
        messages.push(world.enqueue(a_text()).await);
    }
    let begun = world.begin(&hand, &messages[..5]).await;
    for (begun, transition) in begun.iter().zip([
        accepted(messages[0]),
        refused(131_026),
        doubtful(),
        put_back(),
    ]) {
        world.record(begun, transition).await;
    }
    world
        .store
        .resolve(messages[2], &Finding::SendAgain, "ada", "she looked")
        .await
        .expect("a person's word");
    world
        .store
        .cancel(messages[5])
        .await
        .expect("it is cancelled");
    world
        .apply_deliveries(&[a_delivery(&[a_status(
            &wamid_of(messages[0]),
            "delivered",
            1_800_000_000,
        )])])
        .await;
    assert_eq!(
        world.message(messages[0]).await.status.as_deref(),
        Some("delivered")
    );
    assert_eq!(world.count("wa.campaign_deltas").await, 0);
    assert_eq!(world.count("wa.campaign_counts").await, 0);
}

#[tokio::test]
async fn a_statement_about_a_thousand_recipients_leaves_one_row_for_each_kind() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 1_000).await;
    assert_eq!(world.count("wa.campaign_deltas").await, 1);
    world.begin(&hand, &rows).await;
    assert_eq!(world.count("wa.campaign_deltas").await, 3);
}

#[tokio::test]
async fn nothing_is_lost_when_many_add_up_while_many_write() {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 0).await;
    let written = async |n: i64| {
        let mut connection = PgConnection::connect(&world.database.url)
            .await
            .expect("a connection");
        for _ in 0..40 {
            sqlx::query("insert into wa.outbox (campaign_id, recipient) select $1, '+16505551001' from generate_series(1, $2)")
                .bind(campaign)
                .bind(n)
                .execute(&mut connection)
                .await
                .expect("recipients are written");
        }
    };
    let folded = async || {
        for _ in 0..60 {
            world
                .store
                .fold_campaign_counts(7)
                .await
                .expect("they are added up");
            assert_eq!(
                world.counts(campaign).await.queued,
                world.full_count(campaign).await["queued"]
            );
        }
    };
    // One look at both in one snapshot is not possible from here, so those that write come before those that compare.
    tokio::join!(
        written(1),
        written(2),
        written(3),
        async {
            for _ in 0..60 {
                world
                    .store
                    .fold_campaign_counts(7)
                    .await
                    .expect("they are added up");
            }
        },
        async {
            for _ in 0..60 {
                world
                    .store
                    .fold_campaign_counts(5)
                    .await
                    .expect("they are added up");
            }
        }
    );
    tokio::join!(folded(), folded());
    assert_eq!(world.counts(campaign).await.queued, 40 * 6);
    while world.fold().await > 0 {}
    assert_eq!(world.count("wa.campaign_deltas").await, 0);
    assert_eq!(world.counts(campaign).await.queued, 40 * 6);
}

#[tokio::test]
async fn who_finds_another_adding_up_leaves_it_to_that_one() {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 3).await;
    let fold = "select wa.fold_campaign_deltas(100)";
    let mut first = world.database.pool.begin().await.expect("a transaction");
    let folded: i64 = sqlx::query_scalar(fold)
        .fetch_one(&mut *first)
        .await
        .expect("the first");
    let mut second = world.database.pool.begin().await.expect("a transaction");
    sqlx::query("set local lock_timeout = '1s'")
        .execute(&mut *second)
        .await
        .expect("it is set");
    let left: i64 = sqlx::query_scalar(fold)
        .fetch_one(&mut *second)
        .await
        .expect("it does not wait");
    assert_eq!((folded, left), (1, 0));
    second.commit().await.expect("it ends");
    first.rollback().await.expect("it breaks off");
    assert_eq!(world.fold().await, 1);
    assert_eq!(world.counts(campaign).await.queued, 3);
}

#[tokio::test]
async fn a_count_whose_transaction_ends_late_is_added_up_then() {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 0).await;
    let mut slow = PgConnection::connect(&world.database.url)
        .await
        .expect("a connection");
    let mut transaction = slow.begin().await.expect("a transaction");
    sqlx::query("insert into wa.outbox (campaign_id, recipient) values ($1, '+16505551001')")
        .bind(campaign)
        .execute(&mut *transaction)
        .await
        .expect("a recipient");
    world.add_recipients(campaign, 3).await;
    while world.fold().await > 0 {}
    world.add_recipients(campaign, 3).await;
    while world.fold().await > 0 {}
    assert_eq!(world.counts(campaign).await.queued, 6);
    transaction.commit().await.expect("it ends");
    assert_eq!(world.counts(campaign).await.queued, 7);
    while world.fold().await > 0 {}
    assert_eq!(world.count("wa.campaign_deltas").await, 0);
    assert_eq!(world.counts(campaign).await.queued, 7);
}

#[tokio::test]
async fn counts_go_on_after_the_database_was_restored_into_another_cluster() {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 3).await;
    world
        .run_sql("update wa.campaign_fold set front = '9000000000000000000'")
        .await;
    assert_eq!(world.counts(campaign).await.queued, 3);
    while world.fold().await > 0 {}
    world.add_recipients(campaign, 2).await;
    assert_eq!(world.counts(campaign).await.queued, 5);
}
