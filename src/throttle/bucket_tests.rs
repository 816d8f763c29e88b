use fastrand::Rng;

use super::*;

const RATES: [f64; 5] = [1.0, 20.0, 80.0, 200.0, 1_000.0];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The most of these times, in order, that lie in one half-open second, and in the little more that is kept.
fn most_in_a_second(times: &[Instant]) -> usize {
    most_within(times, Duration::from_nanos(WINDOW))
}

fn most_within(times: &[Instant], window: Duration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, time) in times.iter().enumerate() {
        while *time - times[first] >= window {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// A request that leaves and is answered at once.
fn goes(permit: &Permit, now: Instant) {
    permit.leaves(now);
    permit.receipt().answered(now);
}

/// How a sender is asked for permits.
#[derive(Clone, Copy, Debug)]
enum Demand {
    /// Always for more, at the very moment there may be one.
    Greedy,
    /// For all there are, every few milliseconds.
    Polling,
    /// For a few, with pauses of any length.
    Fitful,
    /// Nothing for long, then all there are.
    Sudden,
}

const DEMANDS: [Demand; 4] = [
    Demand::Greedy,
    Demand::Polling,
    Demand::Fitful,
    Demand::Sudden,
];

/// Asks a bucket from `from` until `until` and adds the times of its permits.
fn ask(
    bucket: &mut Bucket,
    demand: Demand,
    (from, until): (Instant, Instant),
    dice: &mut Rng,
    times: &mut Vec<Instant>,
) {
    let mut now = from;
    while now <= until {
        let wanted = match demand {
            Demand::Fitful => dice.usize(0..5),
            _ => usize::MAX,
        };
        let mut free_at = now;
        for _ in 0..wanted {
            match bucket.take(now) {
                Ok(permit) => {
                    goes(&permit, now);
                    times.push(now);
                }
                Err(when) => {
                    assert!(when > now, "told to come back at once");
                    free_at = when;
                    break;
                }
            }
        }
        now = match demand {
            Demand::Greedy => free_at.max(now + Duration::from_nanos(1)),
            Demand::Polling => now + ms(5) + Duration::from_micros(dice.u64(0..15_000)),
            Demand::Fitful => now + Duration::from_micros(dice.u64(0..60_000)),
            Demand::Sudden => now + Duration::from_micros(dice.u64(0..900_000)),
        };
    }
}

#[test]
fn no_second_holds_more_than_the_rate_whatever_the_demand() {
    let mut dice = Rng::with_seed(1);
    let start = Instant::now();
    for rate in RATES {
        for demand in DEMANDS {
            let mut bucket = Bucket::new(rate, Start::Full, start);
            let mut times = Vec::new();
            let span = (start, start + Duration::from_secs(6));
            ask(&mut bucket, demand, span, &mut dice, &mut times);
            assert!(
                most_in_a_second(&times) <= rate as usize,
                "{rate} {demand:?}"
            );
        }
    }
}

#[test]
fn no_second_around_a_change_of_owner_holds_more_than_the_rate() {
    let mut dice = Rng::with_seed(2);
    let start = Instant::now();
    let mut fullest = 0.0_f64;
    for round in 0..400 {
        let rate = RATES[round % RATES.len()];
        let (before, after) = (DEMANDS[dice.usize(0..4)], DEMANDS[dice.usize(0..4)]);
        let change = start + Duration::from_micros(dice.u64(0..3_000_000));
        let end = change + ms(1_500);
        let mut times = Vec::new();
        let mut old = Bucket::new(rate, Start::Full, start);
        ask(&mut old, before, (start, change), &mut dice, &mut times);
        let handed_over = times.len();
        let mut new = Bucket::new(rate, Start::Empty, change);
        ask(&mut new, after, (change, end), &mut dice, &mut times);
        assert!(
            most_in_a_second(&times) <= rate as usize,
            "{rate}, {before:?} then {after:?}, round {round}"
        );
        let from = times.partition_point(|time| *time <= change - ms(500).min(change - start));
        if (20.0..=200.0).contains(&rate) && handed_over > from {
            fullest = fullest.max(most_in_a_second(&times[from..]) as f64 / rate);
        }
    }
    // The rounds did put weight on both sides of the change.
    assert!(fullest > 0.9, "{fullest}");
}

#[test]
fn a_new_owner_waits_no_longer_than_it_must() {
    let start = Instant::now();
    for (rate, longest) in [(20.0, 105), (80.0, 40), (200.0, 35), (1_000.0, 30)] {
        let mut bucket = Bucket::new(rate, Start::Empty, start);
        let first = bucket.take(start).unwrap_err();
        assert!(first <= start + ms(longest), "{rate}: {:?}", first - start);
        assert!(bucket.take(first).is_ok());
    }
}

#[test]
fn an_owner_that_was_slowed_down_meanwhile_leaves_its_successor_no_more_than_the_rate() {
    let mut dice = Rng::with_seed(3);
    let start = Instant::now();
    for round in 0..200 {
        let rate = RATES[round % RATES.len()];
        let mut times = Vec::new();
        let mut old = Bucket::new(rate, Start::Full, start);
        let mut now = start;
        for _ in 0..dice.usize(1..12) {
            let next = now + Duration::from_micros(dice.u64(0..400_000));
            let demand = DEMANDS[dice.usize(0..4)];
            ask(&mut old, demand, (now, next), &mut dice, &mut times);
            old.set_rate(rate * dice.f64(), next);
            if dice.bool() {
                old.set_rate(rate, next);
            }
            now = next;
        }
        let mut new = Bucket::new(rate, Start::Empty, now);
        let span = (now, now + ms(1_500));
        ask(&mut new, Demand::Greedy, span, &mut dice, &mut times);
        assert!(most_in_a_second(&times) <= rate as usize, "{rate} {round}");
    }
}

#[test]
fn nearly_all_of_the_rate_is_used_when_asked_every_few_milliseconds() {
    let mut dice = Rng::with_seed(4);
    let start = Instant::now();
    for rate in RATES {
        let mut bucket = Bucket::new(rate, Start::Full, start);
        let mut times = Vec::new();
        let span = (start, start + Duration::from_secs(60));
        ask(&mut bucket, Demand::Polling, span, &mut dice, &mut times);
        let used = times.len() as f64 / 60.0 / rate;
        assert!(used >= 0.97, "{rate}: {used}");
    }
}

#[test]
fn the_permits_of_a_second_are_spread_over_it() {
    let mut dice = Rng::with_seed(5);
    let start = Instant::now();
    for rate in [80.0, 200.0, 1_000.0] {
        let mut bucket = Bucket::new(rate, Start::Full, start);
        let mut times = Vec::new();
        let span = (start, start + Duration::from_secs(10));
        ask(&mut bucket, Demand::Sudden, span, &mut dice, &mut times);
        let at_once = times
            .chunk_by(|one, next| one == next)
            .map(<[Instant]>::len)
            .max();
        assert!(
            at_once <= Some((rate / 20.0) as usize),
            "{rate}: {at_once:?}"
        );
    }
}

#[test]
fn a_raised_rate_lets_nothing_through_that_was_not_saved_up() {
    let start = Instant::now();
    let mut bucket = Bucket::new(20.0, Start::Full, start);
    while let Ok(permit) = bucket.take(start) {
        goes(&permit, start);
    }
    bucket.set_rate(1_000.0, start);
    let next = bucket.take(start).unwrap_err();
    assert!(next > start && next <= start + ms(2), "{:?}", next - start);
}

#[test]
fn a_lowered_rate_counts_what_was_given_before() {
    let mut dice = Rng::with_seed(6);
    let start = Instant::now();
    let mut bucket = Bucket::new(1_000.0, Start::Full, start);
    let mut times = Vec::new();
    let lowered = start + ms(500);
    ask(
        &mut bucket,
        Demand::Greedy,
        (start, lowered),
        &mut dice,
        &mut times,
    );
    assert!(times.len() > 450);
    bucket.set_rate(20.0, lowered);
    let next = bucket.take(lowered).unwrap_err();
    // The twentieth last permit has to be a window old.
    assert_eq!(next, times[times.len() - 20] + Duration::from_nanos(WINDOW));
}

#[test]
fn no_second_that_ends_after_a_change_holds_more_than_the_new_rate() {
    let mut dice = Rng::with_seed(7);
    let start = Instant::now();
    for _ in 0..200 {
        let mut bucket = Bucket::new(RATES[dice.usize(0..5)], Start::Full, start);
        let (mut times, mut now) = (Vec::new(), start);
        for _ in 0..8 {
            let rate = RATES[dice.usize(0..5)];
            bucket.set_rate(rate, now);
            let (next, given) = (now + ms(dice.u64(0..900)), times.len());
            let demand = DEMANDS[dice.usize(0..4)];
            ask(&mut bucket, demand, (now, next), &mut dice, &mut times);
            for last in given..times.len() {
                let first = times
                    .partition_point(|time| *time + Duration::from_nanos(WINDOW) <= times[last]);
                assert!(last - first < rate as usize, "{rate}");
            }
            now = next;
        }
    }
}

#[test]
fn how_many_is_what_would_be_given() {
    let mut dice = Rng::with_seed(8);
    let start = Instant::now();
    for round in 0..300 {
        let rate = RATES[round % RATES.len()];
        let begin = if dice.bool() {
            Start::Full
        } else {
            Start::Empty
        };
        let mut bucket = Bucket::new(rate, begin, start);
        let now = start + ms(dice.u64(0..2_000));
        let demand = DEMANDS[dice.usize(0..4)];
        ask(
            &mut bucket,
            demand,
            (start, now),
            &mut dice,
            &mut Vec::new(),
        );
        let until = now + ms(dice.u64(0..2_500));
        let told = bucket.how_many(now, until);
        let mut times = Vec::new();
        ask(
            &mut bucket,
            Demand::Greedy,
            (now, until),
            &mut dice,
            &mut times,
        );
        assert_eq!(told, times.len(), "{rate} {demand:?} {round}");
    }
}

#[test]
fn what_would_be_given_leaves_room_for_requests_that_have_not_left() {
    let mut now = Instant::now();
    let mut bucket = Bucket::new(20.0, Start::Full, now);
    let mut waiting = Vec::new();
    while waiting.len() < 20 {
        match bucket.take(now) {
            Ok(permit) => waiting.push(permit),
            Err(when) => now = when,
        }
    }
    assert_eq!(bucket.how_many(now, now + ms(500)), 0);
    drop(waiting);
    assert!(bucket.how_many(now, now + ms(500)) >= 9);
}

#[test]
fn a_permit_whose_request_never_left_frees_its_place_in_the_window() {
    let start = Instant::now();
    let mut bucket = Bucket::new(20.0, Start::Full, start);
    let mut permits = Vec::new();
    let mut now = start;
    while permits.len() < 20 {
        match bucket.take(now) {
            Ok(permit) => permits.push(permit),
            Err(when) => now = when,
        }
    }
    let (full, later) = (now, now + ms(100));
    assert!(bucket.take(later).is_err());
    permits.iter().skip(1).for_each(|permit| goes(permit, full));
    assert!(bucket.take(later).is_err());
    drop(permits);
    assert!(bucket.take(later).is_ok());
    assert!(bucket.take(later).is_err());
}

#[test]
fn no_second_holds_more_than_the_rate_however_late_each_request_leaves() {
    let mut dice = Rng::with_seed(9);
    let start = Instant::now();
    for round in 0..200 {
        let rate = RATES[round % RATES.len()];
        let slowest = [2_000, 50_000, 700_000][round % 3];
        let mut bucket = Bucket::new(rate, Start::Full, start);
        let mut leaving: Vec<(Instant, Permit)> = Vec::new();
        let mut times = Vec::new();
        let (mut now, end) = (start, start + ms(3_000));
        while now <= end {
            for (at, permit) in leaving.extract_if(.., |(at, _)| *at <= now) {
                goes(&permit, at);
                times.push(at);
            }
            while let Ok(permit) = bucket.take(now) {
                // One in eight never leaves.
                if dice.u8(0..8) > 0 {
                    let late = Duration::from_micros(dice.u64(0..slowest));
                    leaving.push((now + late, permit));
                }
            }
            now += Duration::from_micros(dice.u64(1..5_000));
        }
        times.sort_unstable();
        assert!(most_in_a_second(&times) <= rate as usize, "{rate} {round}");
        assert!(
            rate < 2.0 || times.len() as f64 > rate * 1.5,
            "{rate} {round}: {} requests",
            times.len()
        );
    }
}

#[test]
fn a_request_says_how_late_it_leaves() {
    let start = Instant::now();
    let mut bucket = Bucket::new(1.0, Start::Full, start);
    let permit = bucket.take(start + ms(5)).expect("nothing has left");
    assert_eq!(permit.leaves(start + ms(12)), ms(7));
}

#[test]
fn while_as_many_as_the_rate_have_not_left_there_is_none_and_it_is_asked_again() {
    let start = Instant::now();
    let mut bucket = Bucket::new(1.0, Start::Full, start);
    let permit = bucket.take(start).expect("nothing has left");
    let later = start + Duration::from_secs(60);
    let again = bucket.take(later).unwrap_err();
    assert!(again > later && again < later + ms(10));
    assert_eq!(bucket.left_lately(later), 1);
    goes(&permit, later);
    assert!(bucket.take(later).unwrap_err() > later + ms(999));
    assert!(bucket.take(later + Duration::from_secs(2)).is_ok());
}

#[test]
fn no_second_around_a_change_that_was_put_off_by_the_latest_request_holds_more_than_the_rate() {
    let mut dice = Rng::with_seed(11);
    let start = Instant::now();
    for round in 0..300 {
        let rate = RATES[round % RATES.len()];
        let slowest = [2_000, 50_000, 400_000][round % 3];
        let mut bucket = Bucket::new(rate, Start::Full, start);
        let (mut times, mut latest) = (Vec::new(), Duration::ZERO);
        let (mut now, until) = (start, start + ms(dice.u64(100..2_000)));
        let mut leaving = Vec::new();
        while now <= until {
            while let Ok(permit) = bucket.take(now) {
                leaving.push(permit);
            }
            now += Duration::from_micros(dice.u64(1..slowest));
            for permit in leaving.drain(..) {
                latest = latest.max(permit.leaves(now));
                permit.receipt().answered(now);
                times.push(now);
            }
        }
        let change = now + latest;
        let mut new = Bucket::new(rate, Start::Empty, change);
        let span = (change, change + ms(1_500));
        ask(&mut new, Demand::Greedy, span, &mut dice, &mut times);
        assert!(most_in_a_second(&times) <= rate as usize, "{rate} {round}");
    }
}

#[test]
fn of_a_rate_that_is_no_whole_number_no_second_holds_more_than_the_whole() {
    let mut dice = Rng::with_seed(10);
    let start = Instant::now();
    for (rate, most) in [(79.5, 79), (1.9, 1), (0.5, 1)] {
        let mut bucket = Bucket::new(rate, Start::Full, start);
        let mut times = Vec::new();
        let span = (start, start + Duration::from_secs(20));
        ask(&mut bucket, Demand::Greedy, span, &mut dice, &mut times);
        assert!(most_in_a_second(&times) <= most, "{rate}");
        assert!(
            times.len() as f64 >= 20.0 * rate.min(most as f64) * 0.97,
            "{rate}"
        );
    }
}

#[test]
fn rates_without_sense_are_very_slow_or_very_fast() {
    let start = Instant::now();
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut bucket = Bucket::new(rate, Start::Full, start);
        assert!(bucket.take(start).is_ok());
        assert!(bucket.take(start + Duration::from_secs(60)).is_err());
    }
    assert!(Bucket::new(1e300, Start::Full, start).how_many(start, start) > 1_000);
}

/// Times on the way to the other end and back, in order of leaving.
fn journeys(dice: &mut Rng, there: u64, back: u64) -> (Duration, Duration) {
    let late = if dice.u8(0..20) == 0 {
        dice.u64(0..20_000)
    } else {
        dice.u64(0..300)
    };
    (
        Duration::from_micros(there + late),
        Duration::from_micros(back),
    )
}

#[test]
fn no_second_at_the_other_end_holds_more_than_the_rate_where_some_are_longer_on_the_way() {
    let mut dice = Rng::with_seed(12);
    let start = Instant::now();
    for round in 0..60 {
        let rate = RATES[round % RATES.len()];
        let (there, back) = (dice.u64(100..40_000), dice.u64(100..200_000));
        let mut bucket = Bucket::new(rate, Start::Full, start);
        let mut out: Vec<(Instant, Permit)> = Vec::new();
        let mut times = Vec::new();
        let (mut now, end) = (start, start + Duration::from_secs(4));
        while now <= end {
            for (at, permit) in out.extract_if(.., |(at, _)| *at <= now) {
                permit.receipt().answered(at);
            }
            while let Ok(permit) = bucket.take(now) {
                permit.leaves(now);
                let (there, back) = journeys(&mut dice, there, back);
                times.push(now + there);
                out.push((now + there + back, permit));
            }
            now += Duration::from_micros(dice.u64(1..3_000));
        }
        times.sort_unstable();
        // Until the first answers have come, nobody knows what is fast.
        let times = &times[times.partition_point(|at| *at < start + ms(300))..];
        let most = most_within(times, Duration::from_secs(1));
        assert!(most <= rate as usize, "{rate} {round}: {most}");
        let used = times.len() as f64 / 3.7 / rate;
        assert!(rate < 2.0 || used > 0.97, "{rate} {round}: {used}");
    }
}

#[test]
fn slow_answers_cost_little_of_the_rate() {
    let mut dice = Rng::with_seed(13);
    let start = Instant::now();
    for rate in [20.0, 80.0, 200.0, 1_000.0] {
        let mut bucket = Bucket::new(rate, Start::Full, start);
        let mut out: Vec<(Instant, Permit)> = Vec::new();
        let (mut now, mut count) = (start, 0);
        let end = start + Duration::from_secs(20);
        while now <= end {
            for (at, permit) in out.extract_if(.., |(at, _)| *at <= now) {
                permit.receipt().answered(at);
            }
            assert!(bucket.how_many(now, now + ms(100)) <= rate as usize);
            while let Ok(permit) = bucket.take(now) {
                permit.leaves(now);
                count += 1;
                // Some never are.
                let answer = [ms(dice.u64(50..3_000)), Duration::from_secs(60)];
                out.push((now + answer[usize::from(dice.u8(0..10) == 0)], permit));
            }
            now += Duration::from_micros(dice.u64(1..5_000));
        }
        let used = f64::from(count) / 20.0 / rate;
        assert!(used >= 0.965, "{rate}: {used}");
    }
}

#[test]
fn what_left_in_the_last_second_is_counted() {
    let start = Instant::now();
    let mut bucket = Bucket::new(1_000.0, Start::Full, start);
    for at in [start, start + ms(400)] {
        goes(&bucket.take(at).expect("there are many"), at);
    }
    assert_eq!(bucket.left_lately(start + ms(999)), 2);
    assert_eq!(bucket.left_lately(start + ms(1_000)), 1);
    assert_eq!(bucket.left_lately(start + ms(1_400)), 0);
}
