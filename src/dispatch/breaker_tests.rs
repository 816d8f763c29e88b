use super::*;

const FREE: Verdict = Verdict::Closed { at_most: None };

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many failures in a row up to now, the first of them long enough ago.
fn fail(breaker: &mut Breaker, times: u32, now: Instant) {
    for _ in 0..times {
        let first = breaker.failing_since.is_none();
        let at = if first { now - FAILING_FOR } else { now };
        breaker.learned(Learned::NoConnection, at);
    }
}

fn opened(breaker: &mut Breaker, now: Instant) -> Instant {
    match breaker.may_begin(now) {
        Verdict::Open { until } => until,
        other => panic!("not open but {other:?}"),
    }
}

/// The leave for the one that finds out.
fn probe(breaker: &mut Breaker, now: Instant) -> Probe {
    match breaker.may_begin(now) {
        Verdict::Probe(probe) => probe,
        other => panic!("nobody finds out: {other:?}"),
    }
}

/// A breaker that opened at the time given, and when it lets one find out.
fn open(now: Instant) -> (Breaker, Instant) {
    let mut breaker = Breaker::new(now);
    fail(&mut breaker, FAILURES, now);
    let until = opened(&mut breaker, now);
    (breaker, until)
}

#[test]
fn five_in_a_row_without_a_connection_open_it() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    fail(&mut breaker, 4, now);
    assert_eq!(breaker.may_begin(now), FREE);
    fail(&mut breaker, 1, now);
    assert!(matches!(breaker.may_begin(now), Verdict::Open { .. }));
}

#[test]
fn all_that_are_out_at_one_bad_moment_do_not_open_it() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    (0..64).for_each(|_| breaker.learned(Learned::NoConnection, now));
    assert_eq!(breaker.may_begin(now), FREE);
    breaker.learned(Learned::NoConnection, now + FAILING_FOR);
    assert!(matches!(
        breaker.may_begin(now + FAILING_FOR),
        Verdict::Open { .. }
    ));
}

#[test]
fn a_connection_that_worked_meanwhile_begins_the_count_anew() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    fail(&mut breaker, 4, now);
    breaker.learned(Learned::Connected, now);
    fail(&mut breaker, 4, now);
    breaker.learned(Learned::Nothing, now);
    assert_eq!(breaker.may_begin(now), FREE);
    fail(&mut breaker, 1, now);
    assert!(matches!(breaker.may_begin(now), Verdict::Open { .. }));
}

#[test]
fn exactly_one_finds_out() {
    let (mut breaker, until) = open(Instant::now());
    let just_before = until - Duration::from_nanos(1);
    assert_eq!(breaker.may_begin(just_before), Verdict::Open { until });
    let _probe = probe(&mut breaker, until);
    for later in 0..59 {
        let verdict = breaker.may_begin(until + s(later));
        assert!(matches!(verdict, Verdict::Open { .. }), "{later}");
    }
}

#[test]
fn a_probe_that_gets_through_lets_the_others_follow_slowly() {
    let (mut breaker, until) = open(Instant::now());
    let _probe = probe(&mut breaker, until);
    breaker.learned(Learned::Connected, until);
    let permitted: Vec<Verdict> = (0..5).map(|n| breaker.may_begin(until + s(n))).collect();
    let expected = [1, 2, 4, 8, 16].map(|n| Verdict::Closed { at_most: Some(n) });
    assert_eq!(permitted, expected);
    assert_eq!(breaker.may_begin(until + RECOVERY), FREE);
}

#[test]
fn a_probe_that_fails_opens_it_again_for_longer_up_to_half_a_minute() {
    let mut now = Instant::now();
    let (mut breaker, mut until) = open(now);
    for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0] {
        let wait = (until - now).as_secs_f64();
        assert!(wait >= expected * 0.7 - 1e-6 && wait <= (expected * 1.3_f64).min(30.0) + 1e-6);
        now = until;
        let _probe = probe(&mut breaker, now);
        breaker.learned(Learned::NoConnection, now);
        until = opened(&mut breaker, now);
    }
}

#[test]
fn breakers_that_opened_together_do_not_try_again_together() {
    let now = Instant::now();
    let times: std::collections::HashSet<Instant> = (0..20).map(|_| open(now).1).collect();
    assert!(times.len() > 10);
}

#[test]
fn a_recovery_that_fails_waits_longer_than_the_outage_before_it() {
    let (mut breaker, until) = open(Instant::now());
    let _probe = probe(&mut breaker, until);
    breaker.learned(Learned::Connected, until);
    breaker.learned(Learned::Connected, until + s(2));
    fail(&mut breaker, FAILURES, until + s(3));
    let again = opened(&mut breaker, until + s(3));
    assert!(again >= until + s(3) + Duration::from_millis(1_400));
}

#[test]
fn a_recovery_that_lasts_makes_the_next_outage_a_new_one() {
    let (mut breaker, until) = open(Instant::now());
    let _probe = probe(&mut breaker, until);
    breaker.learned(Learned::Connected, until);
    let later = until + RECOVERY;
    breaker.learned(Learned::Connected, later);
    fail(&mut breaker, FAILURES, later);
    assert!(opened(&mut breaker, later) <= later + Duration::from_millis(1_300));
}

#[test]
fn a_probe_that_did_not_leave_is_replaced_at_once() {
    let (mut breaker, until) = open(Instant::now());
    let first = probe(&mut breaker, until);
    // Of another, which left before it opened.
    breaker.learned(Learned::Nothing, until);
    assert!(matches!(breaker.may_begin(until), Verdict::Open { .. }));
    drop(first);
    let _second = probe(&mut breaker, until);
    assert!(matches!(breaker.may_begin(until), Verdict::Open { .. }));
}

#[test]
fn a_probe_of_which_nothing_is_heard_is_replaced_in_the_end() {
    let (mut breaker, until) = open(Instant::now());
    let _lost = probe(&mut breaker, until);
    let _another = probe(&mut breaker, until + PROBE_LOST_AFTER);
}

#[test]
fn what_left_before_it_opened_neither_closes_it_nor_keeps_it_open_longer() {
    let now = Instant::now();
    let (mut breaker, until) = open(now);
    fail(&mut breaker, 100, now);
    breaker.learned(Learned::Connected, now);
    assert_eq!(breaker.may_begin(now), Verdict::Open { until });
}

#[test]
fn in_an_outage_of_an_hour_few_attempts_are_spent() {
    let start = Instant::now();
    let mut breaker = Breaker::new(start);
    let mut spent = 0;
    for tick in 0..360_000 {
        let now = start + Duration::from_millis(tick * 10);
        match breaker.may_begin(now) {
            Verdict::Open { .. } => {}
            Verdict::Probe(_) | Verdict::Closed { .. } => {
                spent += 1;
                breaker.learned(Learned::NoConnection, now);
            }
        }
    }
    assert!((100..250).contains(&spent), "{spent}");
}

#[test]
fn only_what_could_not_connect_counts_against_a_way() {
    use crate::domain::outcome::{Acceptance, ApiError};
    let connected = [
        Outcome::Accepted(Acceptance::default()),
        Outcome::Rejected(ApiError::default()),
        Outcome::NotSent(NotSent::ConnectionLost),
        Outcome::Uncertain(Doubt::AnswerLost(LostAnswer::TimedOut)),
        Outcome::Uncertain(Doubt::ServerFailed(ApiError::default())),
    ];
    for outcome in &connected {
        assert_eq!(Learned::from(outcome), Learned::Connected, "{outcome:?}");
    }
    let learned = |cause| Learned::from(&Outcome::NotSent(cause));
    assert_eq!(learned(NotSent::NoConnection), Learned::NoConnection);
    assert_eq!(learned(NotSent::TooLate), Learned::Nothing);
}

#[test]
fn a_way_in_trouble_stops_nobody_elses() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    for nth in 0..FAILURES {
        let at = now - FAILING_FOR * (FAILURES - 1 - nth);
        breakers.learned("https://one", Learned::NoConnection, at);
        breakers.learned("https://other", Learned::Connected, now);
    }
    assert!(matches!(
        breakers.may_begin("https://one", now),
        Verdict::Open { .. }
    ));
    assert_eq!(breakers.may_begin("https://other", now), FREE);
    let in_trouble: Vec<&str> = breakers.in_trouble(now).map(|(name, _)| name).collect();
    assert_eq!(in_trouble, ["https://one"]);
}

#[test]
fn a_way_that_has_recovered_is_forgotten() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    breakers.learned("https://one", Learned::NoConnection, now);
    breakers.learned("https://one", Learned::Connected, now);
    assert_eq!(breakers.in_trouble(now).count(), 0);
}

#[test]
fn no_more_ways_are_remembered_than_there_is_room_for() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    for nth in 0..MOST_WAYS as u32 + 50 {
        let now = now + Duration::from_millis(u64::from(nth));
        breakers.learned(&format!("https://{nth}"), Learned::NoConnection, now);
        assert!(breakers.in_trouble(now).count() <= MOST_WAYS);
    }
    assert!(
        breakers
            .in_trouble(now)
            .all(|(name, _)| name != "https://0")
    );
}

#[test]
fn its_states_are_told_in_words() {
    let start = Instant::now();
    let mut breaker = Breaker::new(start);
    assert_eq!(breaker.in_words(start), "closed: connections can be made");
    fail(&mut breaker, 2, start);
    assert_eq!(
        breaker.in_words(start),
        "closed: no connection could be made 2 times in a row"
    );
    let (mut breaker, until) = open(start);
    assert_eq!(
        breaker.in_words(until - s(1)),
        "open: no connection can be made; one message tries again in 1 s"
    );
    let _probe = probe(&mut breaker, until);
    assert!(breaker.in_words(until).starts_with("half open"));
    breaker.learned(Learned::Connected, until);
    assert_eq!(
        breaker.in_words(until + s(2)),
        "closed: recovering, at most 4 requests at once"
    );
}
