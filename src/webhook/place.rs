//! Where the applier looks for deliveries: on from where it was, and from time to time [from the front](crate::store::front).

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::store::front::{DEAR, rest_after};
use crate::store::inbox::FRONT;

/// A delivery has its time when its row is written, and is seen when that is committed; others are seen in between.
const OVERLAP: time::Duration = time::Duration::milliseconds(250);
/// From one look from the front to the next, where those between them find something.
const FRONT_EVERY: Duration = Duration::from_secs(1);
/// What cannot be applied now is passed over for so long, twice as long each time …
const LEFT_FOR: Duration = Duration::from_secs(1);
/// … up to this …
const LEFT_AT_MOST: Duration = Duration::from_secs(60);
/// … and so many at most: where more fail it is the database, and nothing is gained by looking further.
const MOST_LEFT: usize = 100;

/// Where the next look begins.
#[derive(Debug)]
pub(super) struct Place {
    after: OffsetDateTime,
    /// When to look from the front, whatever is found elsewhere.
    front_at: Instant,
    front_is_dear: bool,
    left: Vec<Left>,
}

/// A group that could not be applied.
#[derive(Debug)]
struct Left {
    group: i64,
    /// It is passed over until then.
    until: Instant,
    again_in: Duration,
}

impl Place {
    /// At the front.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            after: FRONT,
            front_at: now,
            front_is_dear: false,
            left: Vec::new(),
        }
    }

    /// A group is left where it is for a while, so that what came after it is applied. `false`: too many are.
    pub(super) fn leave(&mut self, group: i64, now: Instant) -> bool {
        if let Some(one) = self.left.iter_mut().find(|one| one.group == group) {
            one.again_in = (one.again_in * 2).min(LEFT_AT_MOST);
            one.until = now + one.again_in;
            return true;
        }
        // What somebody else has applied meanwhile.
        self.left.retain(|one| now < one.until + LEFT_AT_MOST);
        let there_is_room = self.left.len() < MOST_LEFT;
        if there_is_room {
            self.left.push(Left {
                group,
                until: now + LEFT_FOR,
                again_in: LEFT_FOR,
            });
        }
        there_is_room
    }

    /// The groups that are passed over at this time.
    pub(super) fn left(&self, now: Instant) -> Vec<i64> {
        let left = self.left.iter().filter(|one| now < one.until);
        left.map(|one| one.group).collect()
    }

    /// These were applied. What stood in the way of one that was left may have stood in the way of all.
    pub(super) fn applied(&mut self, groups: &[i64]) {
        let before = self.left.len();
        self.left.retain(|one| !groups.contains(&one.group));
        if self.left.len() < before {
            self.left.clear();
        }
    }

    /// What came after this is to be looked at.
    pub(super) fn after(&self, now: Instant) -> OffsetDateTime {
        match now >= self.front_at {
            true => FRONT,
            false => self.after,
        }
    }

    /// A look from the front has ended.
    pub(super) fn looked_from_the_front(&mut self, since: Instant, now: Instant) {
        let took = now - since;
        self.front_at = now + rest_after(took).max(FRONT_EVERY);
        self.front_is_dear = took >= DEAR;
    }

    /// A look from there has found nothing. Says whether to look from the front before anything is waited for.
    pub(super) fn found_nothing(&mut self, from: OffsetDateTime) -> bool {
        if self.front_is_dear {
            return false;
        }
        self.after = FRONT;
        from != FRONT
    }

    /// All that was found was applied; the last of it came then.
    pub(super) fn passed(&mut self, last: OffsetDateTime) {
        self.after = last - OVERLAP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).expect("a time")
    }

    /// A place behind deliveries, after a look from the front that took so long.
    fn place(now: Instant, took: Duration) -> Place {
        let mut place = Place::new(now - took);
        assert_eq!(place.after(now - took), FRONT);
        place.looked_from_the_front(now - took, now);
        place.passed(at(5));
        place
    }

    #[test]
    fn it_goes_on_where_it_was_and_looks_from_the_front_each_second() {
        let now = Instant::now();
        let mut place = place(now, Duration::ZERO);
        assert_eq!(place.after(now), at(5) - OVERLAP);
        place.passed(at(6));
        assert_eq!(place.after(now), at(6) - OVERLAP);
        assert_eq!(place.after(now + FRONT_EVERY), FRONT);
    }

    #[test]
    fn where_nothing_is_found_it_looks_from_the_front_at_once_and_no_third_time() {
        let now = Instant::now();
        let mut place = place(now, Duration::ZERO);
        assert!(place.found_nothing(place.after(now)));
        assert_eq!(place.after(now), FRONT);
        assert!(!place.found_nothing(FRONT));
    }

    #[test]
    fn a_dear_look_from_the_front_is_rested_from() {
        let now = Instant::now();
        let mut place = place(now, 4 * DEAR);
        assert!(!place.found_nothing(place.after(now)));
        assert_eq!(place.after(now + FRONT_EVERY), at(5) - OVERLAP);
        assert_eq!(place.after(now + rest_after(4 * DEAR)), FRONT);
    }

    #[test]
    fn what_is_left_is_passed_over_for_ever_longer_and_not_too_much_of_it() {
        let now = Instant::now();
        let mut place = Place::new(now);
        assert!((0..100).all(|group| place.leave(group, now)));
        assert!(!place.leave(100, now));
        assert_eq!(place.left(now), (0..100).collect::<Vec<_>>());
        assert!(place.left(now + LEFT_FOR).is_empty());
        assert!((0..10).all(|_| place.leave(7, now)));
        assert_eq!(place.left(now + LEFT_AT_MOST - LEFT_FOR), [7]);
        assert!(place.left(now + LEFT_AT_MOST).is_empty());
        assert!(place.leave(100, now + 2 * LEFT_AT_MOST));
    }

    #[test]
    fn where_one_that_was_left_is_applied_all_are_looked_at_again() {
        let now = Instant::now();
        let mut place = Place::new(now);
        assert!(place.leave(1, now) && place.leave(2, now));
        place.applied(&[3]);
        assert_eq!(place.left(now), [1, 2]);
        place.applied(&[2, 3]);
        assert!(place.left(now).is_empty());
    }
}
