use fastrand::Rng;

use super::*;

const META: (Duration, u32) = (Duration::from_secs(6), 45);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn pairs((period, burst): (Duration, u32), start: Start, now: Instant) -> Pairs {
    Pairs::new((period, burst), start, 1_000, now)
}

/// So many leave for a recipient at once.
fn at_once(pairs: &mut Pairs, recipient: &str, now: Instant) -> usize {
    (0..200).filter(|_| pairs.may(recipient, now)).count()
}

/// Whether any messages are closer than the limit allows, counted pair by pair.
fn too_close((period, burst): (Duration, u32), times: &[Instant]) -> Option<(usize, usize)> {
    let all = 0..times.len();
    all.clone()
        .flat_map(|first| (first..all.end).map(move |last| (first, last)))
        .find(|(first, last)| {
            let lent = (*last - *first + 1).saturating_sub(burst as usize) as u32;
            times[*last] - times[*first] < period * lent
        })
}

#[test]
fn a_recipient_gets_its_burst_and_then_waits_while_others_do_not() {
    let now = Instant::now();
    let mut pairs = pairs((s(6), 3), Start::Full, now);
    assert_eq!(at_once(&mut pairs, "+1", now), 3);
    assert!(!pairs.may("+1", now + ms(5_999)));
    assert!(pairs.may("+2", now));
    assert!(pairs.may("+1", now + s(6)));
    assert!(!pairs.may("+1", now + s(6)));
}

#[test]
fn of_metas_burst_one_is_kept_back_and_no_more() {
    let now = Instant::now();
    assert_eq!(at_once(&mut pairs(META, Start::Full, now), "+1", now), 44);
}

#[test]
fn a_period_of_zero_is_no_limit_and_remembers_nobody() {
    let now = Instant::now();
    let mut pairs = pairs((Duration::ZERO, 1), Start::Empty, now);
    assert!((0..1_000).all(|_| pairs.may("+1", now)));
    assert_eq!(pairs.remembered(), 0);
}

#[test]
fn owners_in_succession_never_let_more_through_than_the_limit() {
    let mut dice = Rng::with_seed(1);
    let begin = Instant::now();
    let mut closest = 0;
    for round in 0..300 {
        let burst = [1, 2, 10, 34, 45][round % 5];
        let limit = (ms(600), burst);
        let mut owner = pairs(limit, Start::Full, begin);
        let (mut now, mut times) = (begin, Vec::new());
        for _ in 0..4 {
            // No oftener than once in a period.
            let change = now + ms(600) + ms(dice.u64(0..20_000));
            while now < change {
                for _ in 0..dice.usize(0..60) {
                    if owner.may("+1", now) {
                        times.push(now);
                    }
                }
                now += ms(dice.u64(1..3_000));
            }
            now = now.max(change);
            owner = pairs(limit, Start::Empty, now);
        }
        assert_eq!(too_close(limit, &times), None, "{burst}, round {round}");
        closest += usize::from(too_close((limit.0, burst - 1), &times).is_some());
    }
    // With one less lent, many of these would have been too close: the rounds did go to the limit.
    assert!(closest > 100, "{closest}");
}

#[test]
fn a_new_owner_sends_one_to_each_at_once_and_starts_the_burst_empty() {
    let now = Instant::now();
    let mut pairs = pairs(META, Start::Empty, now);
    assert_eq!(at_once(&mut pairs, "+1", now), 1);
    assert_eq!(at_once(&mut pairs, "+2", now + s(3)), 1);
    // The one that was kept back has to come back first.
    assert!(!pairs.may("+1", now + ms(11_999)));
    assert!(pairs.may("+1", now + s(12)));
    assert_eq!(at_once(&mut pairs, "+3", now + s(60)), 10);
    assert_eq!(at_once(&mut pairs, "+4", now + s(44 * 6)), 44);
}

#[test]
fn after_a_change_of_owner_a_recipient_of_a_small_burst_waits_one_period() {
    let now = Instant::now();
    let mut pairs = pairs((s(6), 3), Start::Empty, now);
    assert!(!pairs.may("+1", now + ms(5_999)));
    assert_eq!(at_once(&mut pairs, "+1", now + s(6)), 1);
    assert_eq!(at_once(&mut pairs, "+2", now + s(18)), 3);
}

#[test]
fn a_thousand_messages_to_one_recipient_are_put_off_once_each() {
    let now = Instant::now();
    let mut pairs = pairs((s(6), 3), Start::Full, now);
    let mut waiting: Vec<(Instant, usize)> = (0..1_000).map(|nth| (now, nth)).collect();
    let (mut put_off, mut left) = (0, Vec::new());
    while !waiting.is_empty() {
        let (due, nth) = waiting.remove(0);
        if pairs.may("+1", due) {
            left.push((due, nth));
        } else {
            put_off += 1;
            waiting.push((pairs.book("+1", due), nth));
            waiting.sort_unstable();
        }
    }
    assert_eq!(put_off, 997);
    assert!(left.is_sorted(), "in order of time and of number");
    assert_eq!(left[999].0, now + s(6 * 997));
}

#[test]
fn who_comes_a_little_early_keeps_its_place() {
    let now = Instant::now();
    let mut pairs = pairs((s(6), 1), Start::Full, now);
    assert!(pairs.may("+1", now));
    let booked: Vec<Instant> = (0..10).map(|_| pairs.book("+1", now)).collect();
    assert_eq!(booked[0], now + s(6));
    let early = booked[0] - ms(300);
    assert!(!pairs.may("+1", early));
    assert_eq!(pairs.book("+1", early), booked[0]);
    assert!(pairs.may("+1", booked[0]));
    // Only one can be the one: the next goes behind all others.
    let early = booked[1] - ms(300);
    assert_eq!(pairs.book("+1", early), booked[1]);
    assert_eq!(pairs.book("+1", early), booked[9] + s(6));
}

#[test]
fn a_refused_recipient_waits_four_times_as_long_each_time_and_nobody_else_waits() {
    let mut now = Instant::now();
    let mut pairs = pairs(META, Start::Full, now);
    for wait in [1, 4, 16, 64, 256, 1_024, 1_024] {
        assert_eq!(pairs.refused("+1", None, now), now + s(wait));
        assert!(!pairs.may("+1", now + s(wait) - ms(1)));
        assert!(pairs.may("+2", now));
        // Our own limit, one in six seconds, goes on beside it.
        now += s(wait.max(6));
        assert_eq!(at_once(&mut pairs, "+1", now), 1, "one finds out");
    }
    pairs.accepted("+1", now);
    assert_eq!(pairs.refusals("+1"), 0);
    assert_eq!(pairs.refused("+1", None, now), now + s(1));
}

#[test]
fn refusals_of_what_left_together_count_once() {
    let now = Instant::now();
    let mut pairs = pairs(META, Start::Full, now);
    assert_eq!(at_once(&mut pairs, "+1", now), 44);
    for nth in 0..44 {
        assert_eq!(pairs.refused("+1", None, now + ms(nth)), now + s(1));
    }
    assert_eq!(pairs.refusals("+1"), 1);
    // Nor does an acceptance of what left with them open the recipient again.
    pairs.accepted("+1", now + ms(50));
    assert_eq!(pairs.refusals("+1"), 1);
    assert!(!pairs.may("+1", now + ms(50)));
}

#[test]
fn a_refused_recipient_is_left_alone_even_where_there_is_no_limit_of_ours() {
    let now = Instant::now();
    let mut pairs = pairs((Duration::ZERO, 1), Start::Full, now);
    pairs.refused("+1", Some(s(3)), now);
    assert!(!pairs.may("+1", now + ms(2_999)));
    assert_eq!(pairs.book("+1", now), now + s(3));
    assert!(pairs.may("+1", now + s(3)));
}

#[test]
fn a_message_put_off_while_its_recipient_is_refused_is_booked_after_that() {
    let now = Instant::now();
    let mut pairs = pairs((s(6), 3), Start::Full, now);
    let until = pairs.refused("+1", Some(s(20)), now);
    assert_eq!(pairs.book("+1", now), until);
    assert_eq!(pairs.book("+1", now), until + s(6));
}

#[test]
fn what_did_not_leave_is_free_again() {
    let now = Instant::now();
    let mut pairs = pairs((s(6), 3), Start::Full, now);
    assert_eq!(at_once(&mut pairs, "+1", now), 3);
    pairs.unused("+1", now);
    pairs.unused("+1", now);
    assert_eq!(at_once(&mut pairs, "+1", now), 2);
    // A bucket that was full since has forgotten it.
    let later = now + s(60);
    assert_eq!(at_once(&mut pairs, "+1", later), 3);
    pairs.unused("+1", now);
    assert!(!pairs.may("+1", later));
}

#[test]
fn a_changed_limit_counts_what_was_spent_before() {
    let now = Instant::now();
    let mut pairs = pairs((s(6), 3), Start::Full, now);
    assert_eq!(at_once(&mut pairs, "+1", now), 3);
    assert!(pairs.may("+2", now));
    pairs.set_limit((s(1), 10), now);
    assert_eq!(at_once(&mut pairs, "+1", now), 0);
    assert_eq!(at_once(&mut pairs, "+2", now), 2);
    assert_eq!(at_once(&mut pairs, "+1", now + s(1)), 1);
    pairs.set_limit((Duration::ZERO, 10), now);
    assert!(pairs.may("+1", now));
    pairs.set_limit((s(6), 2), now);
    assert_eq!(at_once(&mut pairs, "+1", now), 2);
}

#[test]
fn a_time_that_was_promised_under_another_limit_keeps_nobody_waiting() {
    let now = Instant::now();
    let mut pairs = pairs((s(20), 1), Start::Full, now);
    assert!(pairs.may("+1", now));
    let last = (0..100).map(|_| pairs.book("+1", now)).last();
    assert_eq!(last, Some(now + s(2_000)));
    pairs.set_limit((s(1), 1), now);
    let again = pairs.book("+1", now);
    assert!(again <= now + s(20), "in {:?}", again - now);
}

#[test]
fn recipients_that_are_free_again_are_forgotten_and_no_others() {
    let now = Instant::now();
    let mut pairs = pairs((s(6), 3), Start::Full, now);
    for recipient in ["+1", "+2", "+3"] {
        assert!(pairs.may(recipient, now));
    }
    assert!(pairs.may("+2", now));
    pairs.refused("+3", None, now);
    pairs.forget_free(now + s(6));
    assert_eq!(pairs.remembered(), 2);
    pairs.forget_free(now + s(12));
    assert_eq!(
        pairs.remembered(),
        1,
        "how often it was refused still matters"
    );
    pairs.forget_free(now + s(1) + LONGEST_PAIR_DELAY);
    assert_eq!(pairs.remembered(), 0);
}

#[test]
fn forgetting_changes_nothing_that_is_allowed() {
    let mut dice = Rng::with_seed(2);
    let begin = Instant::now();
    for round in 0..200 {
        let limit = (ms(600), [1, 3, 45][round % 3]);
        let start = [Start::Full, Start::Empty][dice.usize(0..2)];
        let (mut kept, mut forgetful) = (pairs(limit, start, begin), pairs(limit, start, begin));
        let mut now = begin;
        for _ in 0..300 {
            now += ms(dice.u64(0..2_000));
            let recipient = ["+1", "+2", "+3", "+4"][dice.usize(0..4)];
            forgetful.forget_free(now);
            if dice.u8(0..40) == 0 {
                let until = kept.refused(recipient, None, now);
                assert_eq!(forgetful.refused(recipient, None, now), until);
            } else if kept.may(recipient, now) {
                assert!(forgetful.may(recipient, now));
            } else {
                assert!(!forgetful.may(recipient, now));
                assert_eq!(kept.book(recipient, now), forgetful.book(recipient, now));
            }
        }
    }
}

#[test]
fn no_more_recipients_are_remembered_than_there_is_room_for() {
    let now = Instant::now();
    let mut pairs = Pairs::new((s(6), 3), Start::Full, 100, now);
    assert_eq!(at_once(&mut pairs, "busy", now), 3);
    for nth in 0..1_000 {
        assert!(pairs.may(&format!("+{nth}"), now));
        assert!(pairs.remembered() <= 100);
    }
    assert!(
        !pairs.may("busy", now),
        "those with the most to remember stay"
    );
}
