//! How campaigns end: rows of one that was cancelled or is over end slice by slice, and one of which nothing is left is done.

use std::time::Duration;

use wa_outbox::domain::id::MessageId;
use wa_outbox::store::campaign::{CampaignSettings, CampaignVerb};
use wa_outbox::store::campaign_work::{CampaignChange, EndingPlaces};
use wa_outbox::store::uncertain::{Settled, UncertainPolicy};

use super::{Hand, accepted, doubtful, put_back, the_sender};
use crate::support::world::World;

const AN_HOUR: Duration = Duration::from_secs(3_600);
/// What is said of a message that has ended and may have been accepted.
const LOST: &str = "; a request of it may have been accepted: its answer was lost";

impl World {
    /// Two recipients of a campaign; the answer of the first was lost.
    async fn one_lost_and_one_untouched(&self, hand: &Hand, campaign: i64) -> [MessageId; 2] {
        let rows = self.add_recipients(campaign, 2).await;
        let begun = self.begin(hand, &rows[..1]).await;
        self.record(&begun[0], doubtful()).await;
        [rows[0], rows[1]]
    }

    async fn said_of(&self, message: MessageId) -> (String, String) {
        let message = self.message(message).await;
        (message.state, message.error_message.unwrap_or_default())
    }

    /// Ends rows until there are none, and says how many each time.
    async fn end_rows(&self, at_most: i64) -> Vec<i64> {
        self.fold().await;
        let (mut places, mut ended) = (EndingPlaces::default(), Vec::new());
        loop {
            let rows = self
                .store
                .end_rows_of_ended_campaigns(&[the_sender()], &mut places, at_most)
                .await;
            match rows.expect("rows end") {
                0 => return ended,
                rows => ended.push(rows),
            }
            self.fold().await;
        }
    }

    async fn close(&self, quiet_for: Duration) -> Vec<CampaignChange> {
        self.fold().await;
        let closed = self.store.close_campaigns(&[the_sender()], quiet_for).await;
        closed.expect("campaigns are closed")
    }
}

#[tokio::test]
async fn rows_of_a_cancelled_campaign_end_in_slices_and_say_the_same_before_and_after() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let other = world.a_campaign("winter", 4).await;
    let rows = world.add_recipients(campaign, 12).await;
    let begun = world.begin(&hand, &rows[..3]).await;
    world.lead(campaign, CampaignVerb::Cancel).await;
    let before = (
        world.counts(campaign).await,
        world.message(rows[11]).await.error_message,
    );
    assert_eq!((before.0.cancelled, before.0.sending), (9, 3));

    assert_eq!(world.end_rows(4).await, [4, 4, 1]);
    let after = (
        world.counts(campaign).await,
        world.message(rows[11]).await.error_message,
    );
    assert_eq!(after, before);
    assert_eq!(world.count("wa.results where state = 'cancelled'").await, 9);
    assert_eq!(world.counts(other).await.queued, 4);

    // What is out has its answer; what comes back ends like the rest.
    world.record(&begun[0], accepted(rows[0])).await;
    world.record(&begun[1], put_back()).await;
    world.record(&begun[2], doubtful()).await;
    assert_eq!(world.end_rows(4).await, [1]);
    world
        .run_sql(&format!(
            "select wa.resend(array[{}]::bigint[], array[1], 'again')",
            rows[2]
        ))
        .await;
    assert_eq!(world.end_rows(4).await, [1]);
    let counts = world.counts(campaign).await;
    assert_eq!(
        (counts.accepted, counts.cancelled, counts.open()),
        (1, 11, 0)
    );
}

#[tokio::test]
async fn what_is_written_late_into_a_cancelled_campaign_ends_too() {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 0).await;
    let mut transaction = world.database.pool.begin().await.expect("a transaction");
    sqlx::query("insert into wa.outbox (campaign_id, recipient) values ($1, '+16505551001')")
        .bind(campaign)
        .execute(&mut *transaction)
        .await
        .expect("a recipient");
    world.lead(campaign, CampaignVerb::Cancel).await;
    assert!(world.end_rows(10).await.is_empty());
    transaction.commit().await.expect("it ends");
    assert_eq!(world.end_rows(10).await, [1]);
}

#[tokio::test]
async fn what_has_not_left_by_the_end_of_a_campaign_expires_and_then_it_is_done() {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 5).await;
    world
        .run_sql("update wa.campaigns set ends_at = now()")
        .await;
    assert!(world.close(AN_HOUR).await.is_empty(), "something is left");
    assert_eq!(world.end_rows(10).await, [5]);
    assert_eq!(world.count("wa.messages where state = 'expired'").await, 5);
    let closed = world.close(AN_HOUR).await;
    assert_eq!(
        closed[0].reason,
        "its end has come, and nothing of it is left"
    );
    assert_eq!(world.campaign_state(campaign).await, "done");
}

#[tokio::test]
async fn a_campaign_is_done_when_nothing_is_left_and_nothing_is_to_come() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    assert!(
        world.close(Duration::ZERO).await.is_empty(),
        "it never had a recipient"
    );
    let rows = world.add_recipients(campaign, 2).await;
    world.send(&hand, rows[0]).await;
    let complete = CampaignSettings {
        complete: Some(true),
        ..CampaignSettings::default()
    };
    world
        .store
        .set_campaign(campaign, &complete, "ada", None)
        .await
        .expect("it is set");
    assert!(world.close(AN_HOUR).await.is_empty(), "one is left");
    world.send(&hand, rows[1]).await;
    assert_eq!(
        world.close(AN_HOUR).await[0].reason,
        "nothing of it is left"
    );
    assert_eq!(world.campaign_state(campaign).await, "done");

    // Started again it takes recipients, and is done only when it is quiet for a while.
    world.lead(campaign, CampaignVerb::Start).await;
    let more = world.add_recipients(campaign, 1).await;
    world.send(&hand, more[0]).await;
    assert!(world.close(AN_HOUR).await.is_empty(), "more may come");
    assert_eq!(
        world.close(Duration::ZERO).await[0].reason,
        "nothing of it is left, and nothing was added for a while"
    );
}

#[tokio::test]
async fn a_campaign_is_opened_again_when_a_recipient_was_committed_after_its_end() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 1).await;
    let mut transaction = world.database.pool.begin().await.expect("a transaction");
    sqlx::query("insert into wa.outbox (campaign_id, recipient) values ($1, '+16505551001')")
        .bind(campaign)
        .execute(&mut *transaction)
        .await
        .expect("a recipient");
    world.send(&hand, rows[0]).await;
    assert_eq!(world.close(Duration::ZERO).await.len(), 1);
    transaction.commit().await.expect("it ends");
    let opened = world.close(Duration::ZERO).await;
    assert_eq!(
        (opened[0].state.as_str(), opened[0].reason.as_str()),
        ("running", "rows came when it was done")
    );
}

#[tokio::test]
async fn a_campaign_that_did_not_run_is_opened_again_as_what_it_was() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    for (name, verbs, state) in [
        ("draft", &[][..], "draft"),
        (
            "paused",
            &[CampaignVerb::Start, CampaignVerb::Pause],
            "paused",
        ),
        (
            "resumed",
            &[
                CampaignVerb::Start,
                CampaignVerb::Pause,
                CampaignVerb::Resume,
            ],
            "running",
        ),
    ] {
        let campaign = world.a_draft(name).await;
        for verb in verbs {
            world.lead(campaign, *verb).await;
        }
        // Twice: it is known of one that was opened again, too.
        for round in 0..2 {
            let ends =
                |at: &str| format!("update wa.campaigns set ends_at = {at} where name = '{name}'");
            let mut transaction = world.database.pool.begin().await.expect("a transaction");
            let row: i64 = sqlx::query_scalar(
                "insert into wa.outbox (campaign_id, recipient) values ($1, '+16505551001') returning id",
            )
            .bind(campaign)
            .fetch_one(&mut *transaction)
            .await
            .expect("a recipient");
            world.run_sql(&ends("now()")).await;
            assert_eq!(world.close(AN_HOUR).await[0].state, "done", "{name}");
            world.run_sql(&ends("null")).await;
            transaction.commit().await.expect("it ends");

            assert_eq!(
                world.close(AN_HOUR).await[0].state,
                state,
                "{name}, {round}"
            );
            let row = MessageId(row);
            let begun = world.begin(&hand, &[row]).await;
            assert_eq!(begun.len(), usize::from(state == "running"), "{name}");
            let end = format!(
                "insert into wa.results (id, sender, state, attempts, campaign) select id, sender, 'failed', 0, campaign from wa.queue where id = {row}"
            );
            world.run_sql(&end).await;
        }
    }
}

#[tokio::test]
async fn what_was_to_be_sent_again_says_that_it_may_have_been_accepted_however_it_ends() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    for (end, state, why) in [
        (
            "cancelled",
            "cancelled",
            "its campaign was cancelled by ada: wrong price",
        ),
        (
            "over",
            "expired",
            "its campaign ended before it could leave",
        ),
        (
            "overdue",
            "expired",
            "its time passed before it could leave",
        ),
        ("left out", "cancelled", "left out by ada"),
        (
            "suppressed",
            "cancelled",
            "its recipient must not be messaged: asked",
        ),
    ] {
        let campaign = world.a_campaign(end, 0).await;
        let rows = world.one_lost_and_one_untouched(&hand, campaign).await;
        world
            .run_sql(&format!(
                "select wa.resend(array[{}]::bigint[], array[1], 'again')",
                rows[0]
            ))
            .await;
        match end {
            "cancelled" => {
                world.lead(campaign, CampaignVerb::Cancel).await;
                assert_eq!(world.end_rows(10).await, [2]);
            }
            "over" => {
                world
                    .run_sql("update wa.campaigns set ends_at = now() where name = 'over'")
                    .await;
                assert_eq!(world.end_rows(10).await, [2]);
            }
            "overdue" => {
                world
                    .run_sql("update wa.queue set expires_at = now()")
                    .await;
                assert_eq!(world.store.expire_overdue().await.expect("a look"), 2);
            }
            "left out" => {
                let asked = rows.map(|row| (row, "left out by ada".to_owned()));
                let left_out = world.store.leave_out(campaign, &asked).await;
                assert_eq!(left_out.expect("a count"), 2);
            }
            _ => {
                world
                    .run_sql("insert into wa.suppressions (recipient, reason) select recipient, 'asked' from wa.outbox on conflict do nothing")
                    .await;
                let ended = world.store.end_suppressed(&rows).await;
                assert_eq!(ended.expect("a count"), 2);
            }
        }
        let said = [world.said_of(rows[0]).await, world.said_of(rows[1]).await];
        let [lost, untouched] =
            [format!("{why}{LOST}"), why.to_owned()].map(|why| (state.to_owned(), why));
        assert_eq!(said, [lost, untouched]);
    }
}

#[tokio::test]
async fn what_is_uncertain_is_not_sent_again_for_a_campaign_that_was_cancelled() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let policy = UncertainPolicy {
        window_s: 1,
        max_resends: 1,
        hold: false,
    };
    let mut lost = Vec::new();
    for name in ["spring", "summer"] {
        let campaign = world.a_campaign(name, 0).await;
        let [row, _] = world.one_lost_and_one_untouched(&hand, campaign).await;
        lost.push((campaign, row));
    }
    let [(cancelled, in_doubt), (_, to_be_resent)] = lost[..] else {
        panic!("two of them");
    };
    world.lead(cancelled, CampaignVerb::Cancel).await;
    let early = world.store.settle_silent(policy).await.expect("a look");
    assert_eq!(early, Settled::default(), "evidence may come");

    world
        .run_sql("update wa.uncertain set deadline = now() - interval '1 h'")
        .await;
    let settled = world.store.settle_silent(policy).await.expect("a look");

    assert_eq!((settled.expired, settled.resent), (1, 1));
    assert_eq!(world.state_of(to_be_resent).await, "queued");
    let why = format!("its campaign was cancelled by ada: wrong price{LOST}");
    assert_eq!(world.said_of(in_doubt).await, ("expired".to_owned(), why));
}
