use super::*;
use crate::domain::id::{AttemptNumber, MessageId};
use crate::store::campaign_work::Lane as Settings;

const RATE: f64 = 1_000.0;
const URGENT_SHARE: f64 = 0.1;

fn sender() -> SenderId {
    SenderId::from("1")
}

pub(in crate::dispatch) fn campaign(id: i64, priority: i16, rate_share: f64) -> Settings {
    Settings {
        campaign: id,
        name: format!("campaign {id}"),
        sender: sender(),
        priority,
        payload: "{}".to_owned(),
        category: None,
        rate_share,
        max_per_second: None,
        ramp: None,
        began_at: OffsetDateTime::UNIX_EPOCH,
        ends_at: None,
        quiet: None,
    }
}

pub(in crate::dispatch) fn due(id: i64, campaign: i64, priority: i16) -> Due {
    Due {
        id: MessageId(id),
        sender: sender(),
        campaign,
        priority,
        due_at: OffsetDateTime::UNIX_EPOCH,
        recipient: "+1".to_owned(),
        recipient_kind: "phone".to_owned(),
        payload: String::new(),
        variables: None,
        expires_at: None,
        last_attempt: AttemptNumber(0),
    }
}

/// Lanes of these campaigns, with `count` messages in each and in each of these priorities of the sender's own.
fn lanes(campaigns: &[Settings], own: &[i16], count: i64, now: Instant) -> Lanes {
    let mut lanes = Lanes::new(Start::Full, now);
    run(&mut lanes, campaigns, now);
    let shelves = own.iter().map(|priority| (0, *priority));
    let shelves = shelves.chain(campaigns.iter().map(|one| (one.campaign, one.priority)));
    for (nth, (campaign, priority)) in (0..).zip(shelves) {
        let ask = Ask {
            sender: sender(),
            campaign,
            priority,
            after: FRONT,
            limit: count + 1,
            known: 0,
        };
        let found = (1..=count).map(|id| due(nth * 1_000_000 + id, campaign, priority));
        assert!(lanes.take_in(&ask, found.collect()).is_empty());
    }
    lanes
}

fn run(lanes: &mut Lanes, campaigns: &[Settings], now: Instant) -> Vec<Due> {
    let campaigns: Vec<_> = campaigns
        .iter()
        .map(|lane| Arc::new(Campaign::of(lane.clone())))
        .collect();
    lanes.take_up(
        &campaigns,
        RATE,
        URGENT_SHARE,
        (now, OffsetDateTime::UNIX_EPOCH),
    )
}

/// Who leaves from `from` on for so long, when it is asked every millisecond and each leaves at once.
fn leave(lanes: &mut Lanes, from: Instant, ms: u64, at_most: usize) -> Vec<(Duration, LaneOf)> {
    let mut left = Vec::new();
    for ms in 0..ms {
        let after = Duration::from_millis(ms);
        let now = from + after;
        while left.len() < at_most {
            let Some(due) = lanes.next(now) else { break };
            let (permits, _) = lanes.charge(&due, now);
            for permit in permits {
                permit.leaves(now);
                permit.receipt().answered(now);
            }
            left.push((after, LaneOf::of(&due)));
        }
    }
    left
}

fn count(left: &[(Duration, LaneOf)], lane: LaneOf) -> usize {
    left.iter().filter(|(_, of)| *of == lane).count()
}

#[test]
fn a_lower_priority_number_leaves_first_whoever_it_belongs_to() {
    let now = Instant::now();
    let mut lanes = lanes(&[campaign(1, 3, 1.0), campaign(2, 7, 1.0)], &[0, 5], 3, now);
    let left: Vec<LaneOf> = leave(&mut lanes, now, 1_000, 12)
        .into_iter()
        .map(|(_, lane)| lane)
        .collect();
    let order = [
        LaneOf::Own(0),
        LaneOf::Campaign(1),
        LaneOf::Own(5),
        LaneOf::Campaign(2),
    ];
    let expected: Vec<LaneOf> = order.iter().flat_map(|lane| [*lane; 3]).collect();
    assert_eq!(left, expected);
    assert!(lanes.is_empty());
}

#[test]
fn campaigns_of_one_priority_take_turns_by_their_shares() {
    let now = Instant::now();
    // Their own limits are far off: 900/s at most between them.
    let both = [campaign(1, 7, 0.6), campaign(2, 7, 0.3)];
    let mut lanes = lanes(&both, &[], 10_000, now);
    let left = leave(&mut lanes, now, 100, 60);
    let (first, second) = (
        count(&left, LaneOf::Campaign(1)),
        count(&left, LaneOf::Campaign(2)),
    );
    assert!(first.abs_diff(2 * second) <= 2, "{first} and {second}");
}

#[test]
fn a_lane_that_had_nothing_catches_nothing_up() {
    let now = Instant::now();
    let both = [campaign(1, 4, 1.0), campaign(2, 4, 1.0)];
    let mut lanes = lanes(&both[..1], &[], 10_000, now);
    leave(&mut lanes, now, 1_000, 500);
    run(&mut lanes, &both, now);
    let ask = lanes
        .asks(&sender(), 1_000, None, now)
        .into_iter()
        .find(|ask| ask.campaign == 2)
        .expect("it is low");
    let found = (1..=600).map(|id| due(5_000_000 + id, 2, 4)).collect();
    lanes.take_in(&ask, found);
    let left = leave(&mut lanes, now, 1_000, 100);
    assert!(count(&left, LaneOf::Campaign(1)).abs_diff(50) <= 1);
}

#[test]
fn a_campaign_keeps_its_share_its_limit_and_its_ramp() {
    let now = Instant::now();
    let slow = Settings {
        max_per_second: Some(5.0),
        ..campaign(1, 7, 1.0)
    };
    let ramped = Settings {
        ramp: Some("36000/h".parse().expect("a ramp")),
        ..campaign(1, 7, 1.0)
    };
    for (settings, most) in [(slow, 5), (campaign(1, 7, 0.05), 50), (ramped, 10)] {
        let mut lanes = lanes(&[settings], &[], 10_000, now);
        let left = leave(&mut lanes, now, 4_000, usize::MAX);
        let second = Duration::from_secs(1);
        let fullest = left
            .iter()
            .map(|(at, _)| {
                left.iter()
                    .filter(|(other, _)| *other >= *at && *other < *at + second)
                    .count()
            })
            .max();
        assert_eq!(fullest, Some(most));
        assert!(
            left.len() as f64 >= most as f64 * 4.0 * 0.9,
            "{}",
            left.len()
        );
    }
}

#[test]
fn bulk_campaigns_leave_a_part_of_the_rate_free_and_urgent_ones_need_not() {
    let now = Instant::now();
    for (priority, most) in [(7, 900), (4, usize::MAX)] {
        let mut lanes = lanes(&[campaign(1, priority, 1.0)], &[], 3_000, now);
        let left = leave(&mut lanes, now, 1_000, 3_000);
        assert!(left.len() <= most.min(3_000), "{}", left.len());
        assert!(left.len() >= most.min(3_000) * 9 / 10, "{}", left.len());
    }
}

#[test]
fn what_is_at_hand_for_a_campaign_that_stops_is_given_back() {
    let now = Instant::now();
    let both = [campaign(1, 7, 1.0), campaign(2, 7, 1.0)];
    let mut lanes = lanes(&both, &[5], 2, now);
    let dropped = run(&mut lanes, &both[1..], now);
    assert_eq!(dropped.len(), 2);
    assert!(
        dropped
            .iter()
            .all(|due| due.campaign == 1 && !lanes.let_leave(due))
    );
    assert_eq!(lanes.len(), 4);
    assert!(lanes.let_leave(&due(1, 2, 7)) && lanes.let_leave(&due(1, 0, 5)));
}

#[test]
fn a_message_put_back_is_the_first_of_its_lane_again() {
    let now = Instant::now();
    let mut lanes = lanes(&[campaign(1, 7, 1.0)], &[5], 2, now);
    for _ in 0..2 {
        let first = lanes.next(now).expect("one is there");
        assert_eq!((first.campaign, first.id), (0, MessageId(1)));
        lanes.put_back(first);
    }
    assert_eq!(lanes.len(), 4);
}

#[test]
fn while_large_messages_are_at_hand_no_more_are_read() {
    let now = Instant::now();
    let mut lanes = lanes(&[], &[5], 1, now);
    assert!(lanes.are_low(100, now));
    let small = lanes.next(now).expect("it is there");
    lanes.put_back(Due {
        payload: "x".repeat(1_000_000),
        ..small
    });
    assert_eq!(lanes.len(), 1);
    assert!(!lanes.are_low(100, now));
    let asks = lanes.asks(&sender(), 100, None, now);
    assert!(asks.iter().all(|ask| ask.priority < 5));
    lanes.next(now).expect("it is there");
    assert!(lanes.are_low(100, now));
}

#[test]
fn a_campaign_that_is_paused_and_resumed_has_spent_what_it_has_spent() {
    let now = Instant::now();
    let slow = Settings {
        max_per_second: Some(5.0),
        ..campaign(1, 7, 1.0)
    };
    let mut lanes = lanes(std::slice::from_ref(&slow), &[], 100, now);
    let before = leave(&mut lanes, now, 900, usize::MAX).len();
    assert_eq!(before, 5);
    let later = now + Duration::from_millis(900);
    run(&mut lanes, &[], later);
    run(&mut lanes, &[slow], later);
    let ask = lanes
        .asks(&sender(), 100, None, later)
        .into_iter()
        .find(|ask| ask.campaign == 1);
    let found = (1..=50).map(|id| due(id, 1, 7)).collect();
    lanes.take_in(&ask.expect("it is low"), found);
    assert!(leave(&mut lanes, later, 50, usize::MAX).is_empty());
    assert!(!leave(&mut lanes, later, 1_000, usize::MAX).is_empty());
}
