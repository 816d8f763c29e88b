//! How far a campaign is, beside its counts.

use super::{doubtful, refused, wamid_of};
use crate::support::callbacks::{a_delivery, a_status};
use crate::support::world::World;

#[tokio::test]
async fn progress_tells_rate_times_and_what_single_recipients_wait_for() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 6).await;
    let later = time::OffsetDateTime::from_unix_timestamp(4_000_000_000).expect("a time");
    world
        .store
        .put_off(&[
            (rows[4], later, "its pair limit"),
            (rows[5], later, "its pair limit"),
        ])
        .await
        .expect("they are put off");
    world.send(&hand, rows[0]).await;
    world.send(&hand, rows[1]).await;
    let refusal = world.begin(&hand, &rows[2..3]).await;
    world.record(&refusal[0], refused(131_026)).await;
    world.fold().await;
    let progress = world
        .store
        .campaign_progress(campaign)
        .await
        .expect("a look")
        .expect("a campaign");
    assert_eq!(progress.answered_last_minute, 3);
    assert_eq!(progress.put_off, [("its pair limit".to_owned(), 2)]);
    assert_eq!(
        (progress.next_due_at, progress.waiting_for),
        (Some(later), None)
    );
    assert!(
        progress.first_answer_at.is_some() && progress.first_answer_at <= progress.last_answer_at
    );
    assert_eq!(
        (
            progress.counts.taken(),
            progress.counts.failed,
            progress.counts.open()
        ),
        (2, 1, 3)
    );
}

#[tokio::test]
async fn an_answer_keeps_its_date_when_statuses_have_moved_every_row_on() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 2).await;
    let progress = async || {
        world.fold().await;
        let progress = world.store.campaign_progress(campaign).await;
        progress.expect("a look").expect("a campaign")
    };
    assert_eq!(progress().await.first_answer_at, None);
    world.send(&hand, rows[0]).await;
    world.send(&hand, rows[1]).await;
    let before = progress().await;
    assert!(before.last_answer_at.is_some() && before.last_status_at.is_none());

    let delivered =
        [rows[0], rows[1]].map(|row| a_status(&wamid_of(row), "delivered", 1_800_000_000));
    world.apply_deliveries(&[a_delivery(&delivered)]).await;

    let after = progress().await;
    assert_eq!((after.counts.accepted, after.counts.delivered), (0, 2));
    assert_eq!(
        (after.first_answer_at, after.last_answer_at),
        (before.first_answer_at, before.last_answer_at)
    );
    assert!(after.last_status_at > after.last_answer_at);

    // An answer whose status has come before both are added up.
    let late = world.add_recipients(campaign, 1).await;
    world.send(&hand, late[0]).await;
    let delivered = a_status(&wamid_of(late[0]), "delivered", 1_800_000_000);
    world.apply_deliveries(&[a_delivery(&[delivered])]).await;
    let latest = progress().await;
    assert!(latest.last_answer_at > after.last_status_at);
    assert!(latest.last_status_at > latest.last_answer_at);
}

#[tokio::test]
async fn a_campaign_of_which_nothing_can_leave_says_what_it_waits_for() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let row = world.add_recipients(campaign, 1).await[0];
    let waits_for = async || {
        let progress = world.store.campaign_progress(campaign).await;
        progress.expect("a look").expect("a campaign").waiting_for
    };
    let later = time::OffsetDateTime::from_unix_timestamp(4_000_000_000).expect("a time");
    world
        .store
        .put_off(&[(row, later, "its quiet hours")])
        .await
        .expect("it is put off");
    assert_eq!(waits_for().await.as_deref(), Some("its quiet hours"));

    world
        .run_sql("update wa.queue set due_at = now(), waiting_for = null")
        .await;
    assert_eq!(waits_for().await, None);
    let begun = world.begin(&hand, &[row]).await;
    assert_eq!(waits_for().await, None, "a request is out");
    world.record(&begun[0], doubtful()).await;
    assert_eq!(
        waits_for().await.as_deref(),
        Some("evidence of what became of requests whose answers were lost")
    );
    world
        .run_sql("update wa.uncertain set needs_person = true")
        .await;
    assert_eq!(
        waits_for().await.as_deref(),
        Some("a person, for what is uncertain of it; see: wa-outbox uncertain list")
    );
}
