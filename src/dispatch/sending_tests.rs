use time::OffsetDateTime;

use super::*;
use crate::dispatch::departures::Departures;

const A_SECOND: Duration = Duration::from_secs(1);

/// The way out of a request, with these limits.
fn way_out(clock: &Clock, ours: bool, leave_by: BootInstant, trusted_until: BootInstant) -> WayOut {
    let trust = Trust::default();
    trust.extend_to(trusted_until);
    WayOut {
        clock: clock.clone(),
        trust: Arc::new(trust),
        leave_by,
        ours: Arc::new(AtomicBool::new(ours)),
        permits: Vec::new(),
        departure: Departures::default().announce(&SenderId::from("1")),
        metrics: Arc::default(),
        due_for: DueFor {
            waited: time::Duration::ZERO,
            by: Instant::now(),
        },
        left_at: Arc::default(),
    }
}

#[test]
fn a_request_leaves_only_in_time_and_while_its_sender_is_ours_under_a_lease_that_holds() {
    let (clock, _hands) = Clock::movable(OffsetDateTime::UNIX_EPOCH);
    let now = clock.boot();
    let soon = now + A_SECOND;
    for (ours, leave_by, trusted_until, is_open) in [
        (true, soon, soon, true),
        (false, soon, soon, false),
        (true, now, soon, false),
        (true, soon, now, false),
    ] {
        let way_out = way_out(&clock, ours, leave_by, trusted_until);
        assert_eq!(
            way_out.is_open(),
            is_open,
            "{ours} {leave_by:?} {trusted_until:?}"
        );
    }
}

#[test]
fn a_way_out_that_was_open_closes_when_its_time_is_over_and_when_the_sender_is_lost() {
    let (clock, hands) = Clock::movable(OffsetDateTime::UNIX_EPOCH);
    let (soon, later) = (clock.boot() + A_SECOND, clock.boot() + A_SECOND * 2);
    let in_time = way_out(&clock, true, soon, later);
    let trusted = way_out(&clock, true, later, soon);
    let ours = way_out(&clock, true, later, later);
    hands.advance(A_SECOND - Duration::from_millis(1));
    assert!([&in_time, &trusted, &ours].iter().all(|one| one.is_open()));
    hands.advance(Duration::from_millis(1));
    assert!(!in_time.is_open() && !trusted.is_open() && ours.is_open());
    ours.ours.store(false, Ordering::Release);
    assert!(!ours.is_open());
}
