//! Where the applier looks for deliveries.
//!
//! Those that were applied stay in front of the others, dead, for as long as somebody holds a transaction open that might want to see
//! them, and each look from the front walks over all of them: after 120,000 that took 18 ms, and longer with each. So it goes on where it
//! was, and looks from the front from time to time: what another process was late to commit, or gave back, may lie behind.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::store::inbox::FRONT;

/// A delivery has its time when its row is written, and is seen when that is committed; others are seen in between.
const OVERLAP: time::Duration = time::Duration::milliseconds(250);
/// From one look from the front to the next, where those between them find something.
const FRONT_EVERY: Duration = Duration::from_secs(1);
/// A look from the front that takes longer is not for every occasion …
const DEAR: Duration = Duration::from_millis(25);
/// … but after so many times as long as it took …
const RESTS: u32 = 20;
/// … and after this at the latest: what lies behind is found by nothing else.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Where the next look begins.
#[derive(Debug)]
pub(super) struct Place {
    after: OffsetDateTime,
    /// When to look from the front, whatever is found elsewhere.
    front_at: Instant,
    front_took: Duration,
}

impl Place {
    /// At the front.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            after: FRONT,
            front_at: now,
            front_took: Duration::ZERO,
        }
    }

    /// What came after this is to be looked at.
    pub(super) fn after(&self, now: Instant) -> OffsetDateTime {
        match now >= self.front_at {
            true => FRONT,
            false => self.after,
        }
    }

    /// A look from there has ended, and found some of which the last came then. Says whether to look once more, from the front.
    pub(super) fn looked(
        &mut self,
        from: OffsetDateTime,
        last: Option<OffsetDateTime>,
        (since, now): (Instant, Instant),
    ) -> bool {
        if from == FRONT {
            self.front_took = now - since;
            let rest = (self.front_took * RESTS).min(LONGEST_REST);
            self.front_at = now + rest.max(FRONT_EVERY);
        }
        let is_dear = self.front_took >= DEAR;
        if let Some(last) = last {
            self.after = last - OVERLAP;
        } else if !is_dear {
            self.after = FRONT;
        }
        last.is_none() && from != FRONT && !is_dear
    }

    /// What was taken was given back.
    pub(super) fn go_back(&mut self, now: Instant) {
        self.after = FRONT;
        self.front_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).expect("a time")
    }

    /// A look that takes so long.
    fn look(
        place: &mut Place,
        now: &mut Instant,
        took: Duration,
        last: Option<OffsetDateTime>,
    ) -> bool {
        let (from, since) = (place.after(*now), *now);
        *now += took;
        place.looked(from, last, (since, *now))
    }

    #[test]
    fn it_goes_on_where_it_was_and_looks_from_the_front_each_second() {
        let mut now = Instant::now();
        let mut place = Place::new(now);
        assert!(!look(&mut place, &mut now, SOON, Some(at(5))));
        assert_eq!(place.after(now), at(5) - OVERLAP);
        assert!(!look(&mut place, &mut now, SOON, Some(at(6))));
        assert_eq!(place.after(now), at(6) - OVERLAP);
        assert_eq!(place.after(now + FRONT_EVERY), FRONT);
    }

    #[test]
    fn where_nothing_is_found_it_looks_from_the_front_at_once() {
        let mut now = Instant::now();
        let mut place = Place::new(now);
        look(&mut place, &mut now, SOON, Some(at(5)));
        assert!(look(&mut place, &mut now, SOON, None));
        assert_eq!(place.after(now), FRONT);
        assert!(!look(&mut place, &mut now, SOON, None), "and no third time");
    }

    #[test]
    fn a_dear_look_from_the_front_is_rested_from() {
        let mut now = Instant::now();
        let mut place = Place::new(now);
        look(&mut place, &mut now, 4 * DEAR, Some(at(5)));
        assert!(
            !look(&mut place, &mut now, SOON, None),
            "not for nothing found"
        );
        assert_eq!(place.after(now + FRONT_EVERY), at(5) - OVERLAP);
        assert_eq!(place.after(now + 4 * DEAR * RESTS), FRONT);
        look(&mut place, &mut now, LONGEST_REST, None);
        let now = now + LONGEST_REST;
        assert_eq!(place.after(now), FRONT, "never longer than that");
    }

    #[test]
    fn what_was_given_back_is_found_at_once() {
        let mut now = Instant::now();
        let mut place = Place::new(now);
        look(&mut place, &mut now, 4 * DEAR, Some(at(5)));
        place.go_back(now);
        assert_eq!(place.after(now), FRONT);
    }
}
