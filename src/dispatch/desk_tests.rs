use super::*;
use crate::dispatch::campaign::Campaign;
use crate::dispatch::departures::Departures;
use crate::dispatch::lanes::tests::{campaign, due};
use crate::dispatch::resting;
use crate::domain::id::{AttemptNumber, Era};

const LATER: Duration = Duration::from_secs(3_600);
pub(in crate::dispatch) const SETTINGS: DeskSettings = DeskSettings {
    read_ahead: 100,
    max_in_flight: 10,
    urgent_share: 0.1,
};

pub(in crate::dispatch) fn held() -> Held {
    let mut held = resting::tests::held(None, Vec::new());
    let endpoint = Endpoint::for_tests("http://127.0.0.1/v23.0/1/messages");
    held.endpoint = Some(Arc::new(endpoint));
    held
}

pub(in crate::dispatch) fn desk(now: Instant) -> Desk {
    let wall = OffsetDateTime::UNIX_EPOCH;
    Desk::new(&held(), SETTINGS, Start::Full, Arc::default(), (now, wall))
}

/// What the desk reads now; it finds nothing of it.
fn asks(desk: &mut Desk, now: Instant) -> Vec<Ask> {
    desk.asks(now, LATER, false).0
}

fn finds_nothing(desk: &mut Desk, asks: &[Ask], now: Instant) {
    for ask in asks {
        desk.take_in(ask, Vec::new(), now, LATER);
    }
}

#[test]
fn a_desk_that_found_nothing_reads_again_when_it_is_time_or_when_it_is_called() {
    let now = Instant::now();
    let mut desk = desk(now);
    let first = asks(&mut desk, now);
    assert!(!first.is_empty());
    finds_nothing(&mut desk, &first, now);

    assert!(asks(&mut desk, now).is_empty());
    desk.look_soon();
    let second = asks(&mut desk, now);
    assert!(!second.is_empty());
    finds_nothing(&mut desk, &second, now);
    assert!(asks(&mut desk, now).is_empty());
    assert!(!asks(&mut desk, now + LATER).is_empty());
}

#[test]
fn an_idle_desk_that_is_scouted_for_reads_when_it_is_called_and_not_by_time() {
    let now = Instant::now();
    let mut desk = desk(now);
    let first = asks(&mut desk, now);
    finds_nothing(&mut desk, &first, now);
    assert!(desk.is_idle());

    let later = now + LATER;
    desk.has_nothing_open();
    assert!(desk.asks(later, LATER, true).0.is_empty());
    desk.look_soon();
    let called = desk.asks(later, LATER, true).0;
    finds_nothing(&mut desk, &called, later);

    // What is not due yet is read by time, so that it leaves at its time.
    desk.look_soon();
    let found = desk.asks(later, LATER, true).0;
    finds_nothing(&mut desk, &found, later);
    assert!(!found.is_empty());
    let by_time = desk.asks(later + LATER, LATER, true).0;
    finds_nothing(&mut desk, &by_time, later + LATER);
    assert!(!by_time.is_empty());

    // Nor is what was put off, or came back.
    desk.has_nothing_open();
    assert!(desk.asks(later + LATER * 2, LATER, true).0.is_empty());
    desk.forget(MessageId(1));
    assert!(!desk.asks(later + LATER * 2, LATER, true).0.is_empty());
}

#[test]
fn a_desk_has_more_until_a_look_finds_less_than_it_asked_for_and_none_while_nothing_may_leave() {
    let (now, wall) = (Instant::now(), OffsetDateTime::UNIX_EPOCH);
    let mut desk = desk(now);
    let first = asks(&mut desk, now);
    for ask in &first {
        let found = match ask.priority {
            5 => (1..=ask.limit).map(|id| due(id, 0, 5)).collect(),
            _ => Vec::new(),
        };
        desk.take_in(ask, found, now, LATER);
    }
    assert!(desk.has_more(now));

    let mut held = held();
    Arc::make_mut(&mut held.held).sender.held_reason = Some("a person says so".to_owned());
    desk.take_up(&held, SETTINGS, now, wall);
    assert!(!desk.has_more(now));
    Arc::make_mut(&mut held.held).sender.held_reason = None;
    desk.take_up(&held, SETTINGS, now, wall);
    assert!(desk.has_more(now));

    while desk.lanes.next(now).is_some() {}
    desk.look_soon();
    let second = asks(&mut desk, now);
    finds_nothing(&mut desk, &second, now);
    assert!(!desk.has_more(now));
}

#[test]
fn what_may_leave_first_is_looked_for_several_times_while_what_is_at_hand_leaves() {
    const TICK: Duration = Duration::from_millis(5);
    const FOUR_PERMITS: Duration = Duration::from_millis(40);
    let now = Instant::now();
    let mut held = held();
    Arc::make_mut(&mut held.held).sender.rate_per_second = 100.0;
    for (at_hand, pause) in [
        (0, TICK),
        (1, TICK),
        (4, FOUR_PERMITS / 4),
        (80, LOOK_BESIDE_WORK),
    ] {
        let mut desk = desk(now);
        desk.take_up(&held, SETTINGS, now, OffsetDateTime::UNIX_EPOCH);
        let asks = asks(&mut desk, now);
        let own = asks.iter().find(|ask| ask.priority == 5).expect("an ask");
        let found = (1..=at_hand).map(|id| due(id, 0, 5)).collect();
        desk.take_in(own, found, now, TICK);
        assert_eq!(desk.next_read - now, pause, "with {at_hand} at hand");
        // A worker that sleeps does not look more often for it.
        desk.take_in(own, Vec::new(), now, LATER);
        assert_eq!(desk.next_read - now, LATER);
    }
}

#[test]
fn a_desk_reads_from_the_front_less_often_where_that_takes_long() {
    let now = Instant::now();
    let mut desk = desk(now);
    let first = desk.asks(now, Duration::ZERO, false).0;
    let took = front::DEAR * 2;
    let read_at = now + took;
    for ask in &first {
        let found = (ask.priority == 5).then(|| due(1, 0, 5));
        desk.take_in(ask, found.into_iter().collect(), read_at, LATER);
    }
    let goes_on_at = |desk: &mut Desk, now| {
        desk.look_soon();
        let asks = desk.asks(now, Duration::ZERO, false).0;
        let ask = asks.iter().find(|ask| ask.priority == 5);
        ask.map(|ask| ask.after.1)
    };
    assert_eq!(goes_on_at(&mut desk, read_at), Some(1));
    let rested = read_at + front::rest_after(took);
    assert_eq!(goes_on_at(&mut desk, rested), Some(0));
}

#[test]
fn a_look_that_failed_says_nothing_of_what_reading_takes() {
    let now = Instant::now();
    let mut desk = desk(now);
    desk.asks(now, Duration::ZERO, false);
    desk.look_failed();
    assert_eq!(desk.rescans_since, None);
}

#[test]
fn a_call_that_comes_while_a_read_is_under_way_is_answered_by_another_read() {
    let now = Instant::now();
    let mut desk = desk(now);
    let under_way = asks(&mut desk, now);
    desk.look_soon();
    finds_nothing(&mut desk, &under_way, now);

    assert!(!asks(&mut desk, now).is_empty());
}

#[test]
fn who_owns_a_sender_after_others_finds_its_limits_spent_and_the_first_there_ever_was_does_not() {
    let now = Instant::now();
    for (epoch, has_room) in [(1, true), (2, false)] {
        let mut held = held();
        Arc::make_mut(&mut held.held).epoch = Epoch(epoch);
        held.campaigns = vec![Arc::new(Campaign::of(campaign(7, 5, 1.0)))];
        let (start, wall) = (start(Epoch(epoch)), OffsetDateTime::UNIX_EPOCH);
        let mut desk = Desk::new(&held, SETTINGS, start, Arc::default(), (now, wall));
        let asks = asks(&mut desk, now);
        let ask = asks.iter().find(|ask| ask.campaign == 7);
        desk.take_in(ask.expect("it is read"), vec![due(1, 7, 5)], now, LATER);

        assert_eq!(desk.throttle.how_many(now, Duration::ZERO) > 0, has_room);
        assert_eq!(desk.lanes.next(now).is_some(), has_room);
    }
}

#[test]
fn what_is_on_its_way_is_not_asked_for_and_not_taken_in_again() {
    let now = Instant::now();
    let mut desk = desk(now);
    let first = asks(&mut desk, now);
    let ask = first
        .iter()
        .find(|ask| ask.priority == 5)
        .expect("it is read");
    desk.take_in(ask, vec![due(1, 0, 5), due(2, 0, 5)], now, LATER);
    let leaving = desk.lanes.next(now).expect("one is there");

    desk.look_soon();
    let (again, mut known) = desk.asks(now, LATER, false);
    known.sort_unstable();
    assert_eq!(known, [1, 2]);
    assert!(again.iter().all(|ask| ask.known == 2));
    // What was read before it was known.
    desk.take_in(&again[5], vec![leaving.clone()], now, LATER);
    assert_eq!(desk.at_hand(), 1);

    desk.forget(leaving.id);
    desk.take_in(&again[5], vec![leaving], now, LATER);
    assert_eq!(desk.at_hand(), 2);
}

fn begun(due: Due) -> Ready {
    let departure = Departures::default().announce(&due.sender);
    Ready {
        begun: Begun {
            id: due.id,
            attempt: due.next_attempt(),
            attempts: 1,
            begun_at: OffsetDateTime::UNIX_EPOCH,
            era: Era::FIRST,
        },
        chosen: Chosen {
            due,
            shares: Vec::new(),
            content: None,
            keeper: "http://127.0.0.1/".into(),
            picked_at: Instant::now(),
            probe: None,
        },
        leave_by: BootInstant(LATER),
        departure,
        trace: None,
    }
}

#[test]
fn a_message_that_is_begun_leaves_only_when_it_has_a_place() {
    let now = Instant::now();
    let mut desk = desk(now);
    desk.places.most = 1;
    (1..=2).for_each(|id| desk.make_ready(begun(due(id, 0, 5))));
    let leaves = |desk: &mut Desk, at| {
        let leaving = desk.next_to_leave(at)?;
        Some(leaving.0.begun.id)
    };
    assert_eq!(leaves(&mut desk, now), Some(MessageId(1)));
    // Its rate would permit the next one long since.
    assert_eq!(leaves(&mut desk, now + LATER), None);
    assert!(desk.waits_for_a_place());
    desk.places.free();
    assert_eq!(leaves(&mut desk, now + LATER), Some(MessageId(2)));
}

#[test]
fn what_was_begun_is_taken_back_when_its_campaign_stops_and_when_its_sender_is_held() {
    let (now, wall) = (Instant::now(), OffsetDateTime::UNIX_EPOCH);
    let mut held = held();
    held.campaigns = vec![Arc::new(Campaign::of(campaign(7, 5, 1.0)))];
    let mut desk = Desk::new(&held, SETTINGS, Start::Full, Arc::default(), (now, wall));
    desk.make_ready(begun(due(1, 7, 5)));
    desk.make_ready(begun(due(2, 0, 5)));
    let mut recalled = |held: &Held| {
        desk.take_up(held, SETTINGS, now, wall);
        let claims = desk.recalled(now).into_iter();
        let claims: Vec<_> = claims.map(|one| (one.id, one.attempt)).collect();
        claims
    };
    assert_eq!(recalled(&held), []);
    held.campaigns.clear();
    assert_eq!(recalled(&held), [(MessageId(1), AttemptNumber(1))]);
    Arc::make_mut(&mut held.held).sender.held_reason = Some("a person says so".to_owned());
    assert_eq!(recalled(&held), [(MessageId(2), AttemptNumber(1))]);
    assert_eq!(recalled(&held), []);
}

#[test]
fn a_desk_that_is_given_up_keeps_back_what_it_has_begun_and_what_is_on_its_way() {
    let now = Instant::now();
    let mut desk = desk(now);
    let ours = desk.ours();
    desk.make_ready(begun(due(1, 0, 5)));
    assert!(ours.load(Ordering::Acquire));
    assert_eq!(desk.give_up().len(), 1);
    assert!(!ours.load(Ordering::Acquire));
}

#[test]
fn a_message_that_was_begun_and_does_not_leave_has_spent_nothing_of_its_recipient_s_limit() {
    let now = Instant::now();
    let mut held = held();
    let sender = &mut Arc::make_mut(&mut held.held).sender;
    (sender.pair_period_ms, sender.pair_burst) = (6_000, 1);
    let wall = OffsetDateTime::UNIX_EPOCH;
    let mut desk = Desk::new(&held, SETTINGS, Start::Full, Arc::default(), (now, wall));
    let mut ready = begun(due(1, 0, 5));
    ready.chosen.picked_at = now;
    let recipient = ready.chosen.due.recipient.clone();
    assert!(desk.throttle.pair(&recipient, now).is_ok());
    desk.make_ready(ready);

    // Its sender is held.
    Arc::make_mut(&mut held.held).sender.held_reason = Some("a person says so".to_owned());
    desk.take_up(&held, SETTINGS, now, wall);
    assert_eq!(desk.recalled(now).len(), 1);

    assert!(desk.throttle.pair(&recipient, now).is_ok());
    assert!(desk.throttle.pair(&recipient, now).is_err());
}
