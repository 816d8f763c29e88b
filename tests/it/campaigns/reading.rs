//! Lanes: rows of a campaign are read apart from all others, and whatever writes the queue leaves them there.

use std::time::Duration;

use time::OffsetDateTime;
use wa_outbox::domain::id::{AttemptNumber, MessageId};
use wa_outbox::store::campaign::CampaignVerb;
use wa_outbox::store::claim::{Ask, Claim};
use wa_outbox::store::sweep::{BegunBefore, Place};

use super::{claim, doubtful, put_back, the_sender};
use crate::support::make::a_text;
use crate::support::world::World;

fn ids(read: &[wa_outbox::store::claim::Due]) -> Vec<MessageId> {
    read.iter().map(|due| due.id).collect()
}

#[tokio::test]
async fn a_lane_is_read_apart_with_what_fills_its_placeholders() {
    let world = World::at_rest().await;
    let ordinary = world.enqueue(a_text().with_priority(7)).await;
    let (spring, winter) = (world.a_draft("spring").await, world.a_draft("winter").await);
    let of_spring = world.add_recipients(spring, 3).await;
    let of_winter = world.add_recipients(winter, 2).await;
    assert_eq!(ids(&world.read_lane(0, 7, 10).await), [ordinary]);
    let read = world.read_lane(spring, 7, 10).await;
    assert_eq!(ids(&read), of_spring);
    assert!(
        read.iter()
            .all(|due| due.campaign == spring && due.payload.is_empty())
    );
    assert_eq!(
        read[0].variables.as_deref(),
        Some("{\"first_name\": \"Ada\"}")
    );
    assert_eq!(ids(&world.read_lane(winter, 7, 10).await), of_winter);
}

#[tokio::test]
async fn what_is_known_is_left_out_and_others_are_read_in_its_place() {
    let world = World::at_rest().await;
    let campaign = world.a_draft("spring").await;
    let rows = world.add_recipients(campaign, 4).await;
    let ask = Ask {
        sender: the_sender(),
        campaign,
        priority: 7,
        after: (OffsetDateTime::UNIX_EPOCH, 0),
        limit: 1,
        known: 2,
    };
    let known = [rows[0].0, rows[1].0];
    let read = world.store.read_ahead(&[ask], &known).await;
    assert_eq!(ids(&read.expect("a look ahead")), [rows[2]]);
}

/// A hundred thousand bytes that cannot be compressed much, for all but the first.
const LARGE: &str =
    "(select string_agg(md5(n::text || i), '') from generate_series(1, 3000) i where n % 10 <> 1)";

impl World {
    /// Ten messages, or rows of a campaign, of which all but the first are large.
    async fn enqueues_large_ones(&self, campaign: i64) {
        let content = match campaign {
            0 => format!(
                "json_build_object('type', 'image', 'image', json_build_object('link', 'https://example.com/' || coalesce({LARGE}, '')))"
            ),
            _ => "null".to_owned(),
        };
        let variables = match campaign {
            0 => "null".to_owned(),
            _ => format!("jsonb_build_object('first_name', coalesce({LARGE}, 'Ada'))"),
        };
        self.run_sql(&format!(
            "insert into wa.outbox (recipient, payload, variables, campaign_id)
             select '+1650555' || 1000 + n, {content}, {variables}, nullif({campaign}, 0) from generate_series(1, 10) n order by n"
        ))
        .await;
    }
}

#[tokio::test]
async fn a_large_message_takes_the_place_of_many_and_is_read_whole() {
    let world = World::at_rest().await;
    let campaign = world.a_draft("spring").await;
    for (lane, priority) in [(0, 5), (campaign, 7)] {
        world.enqueues_large_ones(lane).await;
        let read = world.read_lane(lane, priority, 10).await;
        assert_eq!(
            read.len(),
            2,
            "a small one, and a large one that fills the rest"
        );
        for due in read {
            let content = due.variables.unwrap_or(due.payload);
            let whole =
                "select coalesce(variables::text, payload::text) from wa.outbox where id = $1";
            let whole: String = sqlx::query_scalar(whole)
                .bind(due.id.0)
                .fetch_one(&world.database.pool)
                .await
                .expect("it is there");
            assert_eq!(content, whole);
        }
        let more = world.read_lane(lane, priority, 50).await.len();
        assert!((3..10).contains(&more), "{more}");
    }
}

#[tokio::test]
async fn large_messages_are_sent_one_after_the_other() {
    let mut world = World::at_rest().await;
    world.enqueues_large_ones(0).await;
    world.enqueues_large_ones(0).await;
    world.start_service().await;
    world.until_all_have_ended().await;
    assert_eq!(world.count("wa.results").await, 20);
}

#[tokio::test]
async fn only_lanes_of_campaigns_that_run_are_open() {
    let world = World::at_rest().await;
    let open = async || {
        let (lanes, _) = world.store.lanes(&[the_sender()]).await.expect("the lanes");
        lanes.into_iter().map(|lane| lane.name).collect::<Vec<_>>()
    };
    let campaign = world.a_draft("spring").await;
    assert!(open().await.is_empty());
    world.lead(campaign, CampaignVerb::Start).await;
    assert_eq!(open().await, ["spring"]);
    for closed in [
        "starts_at = now() + interval '1 hour'",
        "starts_at = null, ends_at = now()",
    ] {
        world
            .run_sql(&format!("update wa.campaigns set {closed}"))
            .await;
        assert!(open().await.is_empty(), "{closed}");
    }
    world
        .run_sql("update wa.campaigns set ends_at = null")
        .await;
    world.lead(campaign, CampaignVerb::Pause).await;
    assert!(open().await.is_empty());
}

#[tokio::test]
async fn whatever_writes_the_queue_leaves_a_row_in_its_lane() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 5).await;
    let mut begun = world.begin(&hand, &rows).await;
    begun.sort_by_key(|begun| begun.id);
    world
        .store
        .take_back(&[claim(&hand, rows[0], 1)])
        .await
        .expect("it is taken back");
    world.record(&begun[1], put_back()).await;
    world.record(&begun[2], doubtful()).await;
    let swept = BegunBefore {
        id: rows[3],
        sender: the_sender(),
        attempt: AttemptNumber(1),
    };
    world
        .run_sql(&format!(
            "update wa.queue set deadline = now() - interval '1 s' where id = {}",
            rows[3]
        ))
        .await;
    assert_eq!(
        world
            .store
            .sweep([&swept])
            .await
            .expect("a sweep")
            .uncertain
            .len(),
        1
    );
    // The answer of the one that was swept comes after all: it did not leave.
    world.record(&begun[3], put_back()).await;
    world
        .run_sql(&format!(
            "select wa.resend(array[{}]::bigint[], array[1], 'again')",
            rows[2]
        ))
        .await;
    let returned: Vec<Claim> = vec![claim(&hand, rows[4], 1)];
    world
        .store
        .take_back(&returned)
        .await
        .expect("it is taken back");
    world
        .store
        .put_off(&[(
            rows[4],
            OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1),
            "its pair",
        )])
        .await
        .expect("it is put off");
    let mut read = ids(&world.read_lane(campaign, 7, 10).await);
    read.sort();
    assert_eq!(read, rows);
    let counts = world.counts(campaign).await;
    assert_eq!((counts.queued, counts.total()), (5, 5));
}

#[tokio::test]
async fn what_an_earlier_holder_had_begun_is_found_in_every_lane() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let ordinary = world.enqueue(a_text()).await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 3).await;
    world.begin(&hand, &[ordinary, rows[2]]).await;
    let (mut place, mut found) = (Some(Place::FRONT), Vec::new());
    while let Some(after) = place {
        let slice = world
            .store
            .find_begun(&the_sender(), hand.epoch, after, 2)
            .await
            .expect("a slice");
        found.extend(slice.begun.into_iter().map(|begun| begun.id));
        place = slice.next;
    }
    assert_eq!(found, [ordinary, rows[2]]);
}

#[tokio::test]
async fn nothing_is_begun_once_a_pause_is_written() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 2).await;
    let ordinary = world.enqueue(a_text()).await;
    world.read_lane(campaign, 7, 10).await;
    assert_eq!(world.begin(&hand, &rows[..1]).await.len(), 1);
    world.lead(campaign, CampaignVerb::Pause).await;
    let begun = world.begin(&hand, &[rows[1], ordinary]).await;
    assert_eq!(
        begun.iter().map(|begun| begun.id).collect::<Vec<_>>(),
        [ordinary]
    );
    let counts = world.counts(campaign).await;
    assert_eq!((counts.queued, counts.sending), (1, 1));
}
