use super::*;
use crate::dispatch::resting;

const LATER: Duration = Duration::from_secs(3_600);
const SETTINGS: DeskSettings = DeskSettings {
    read_ahead: 100,
    max_in_flight: 10,
    urgent_share: 0.1,
};

fn desk(now: Instant) -> Desk {
    let mut held = resting::tests::held(None, Vec::new());
    let endpoint = Endpoint::for_tests("http://127.0.0.1/v23.0/1/messages");
    held.endpoint = Some(Arc::new(endpoint));
    Desk::new(
        &held,
        SETTINGS,
        Arc::default(),
        now,
        OffsetDateTime::UNIX_EPOCH,
    )
}

/// What the desk reads now; it finds nothing of it.
fn asks(desk: &mut Desk, now: Instant) -> Vec<Ask> {
    desk.asks(now, LATER).0
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
fn a_call_that_comes_while_a_read_is_under_way_is_answered_by_another_read() {
    let now = Instant::now();
    let mut desk = desk(now);
    let under_way = asks(&mut desk, now);
    desk.look_soon();
    finds_nothing(&mut desk, &under_way, now);

    assert!(!asks(&mut desk, now).is_empty());
}
