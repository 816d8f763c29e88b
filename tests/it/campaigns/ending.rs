//! How campaigns end: rows of one that was cancelled or is over end slice by slice, and one of which nothing is left is done.

use std::time::Duration;

use wa_outbox::domain::id::MessageId;
use wa_outbox::store::campaign::{CampaignSettings, CampaignVerb};
use wa_outbox::store::campaign_work::{CampaignChange, EndingPlaces};

use super::{accepted, doubtful, put_back, the_sender};
use crate::support::world::World;

const AN_HOUR: Duration = Duration::from_secs(3_600);

impl World {
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
