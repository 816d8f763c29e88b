//! Places for the requests of one sender that are out at once.
//!
//! A message is begun before it has a place, or every begin would wait for answers and every place for a begin. How many places come
//! free until it may leave is told by how fast they came free of late.

use std::time::Duration;

use tokio::time::Instant;

/// Over so long it is counted at least how many come free.
const COUNT_FOR: Duration = Duration::from_millis(10);

/// How many are taken, and how fast they come free.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) most: usize,
    taken: usize,
    freed: u32,
    since: Instant,
    freed_per_second: f64,
}

impl Places {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            most: 1,
            taken: 0,
            freed: 0,
            since: now,
            freed_per_second: 0.0,
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken >= self.most
    }

    pub(super) fn take(&mut self) {
        self.taken += 1;
    }

    pub(super) fn free(&mut self) {
        self.taken = self.taken.saturating_sub(1);
        self.freed += 1;
    }

    /// Places that are free, or come free within this time if they go on as they did.
    pub(super) fn free_within(&mut self, time: Duration, now: Instant) -> usize {
        let counted = now - self.since;
        if counted >= COUNT_FOR {
            self.freed_per_second = f64::from(self.freed) / counted.as_secs_f64();
            (self.freed, self.since) = (0, now);
        }
        let free = self.most.saturating_sub(self.taken);
        free + (self.freed_per_second * time.as_secs_f64()).round() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_free_is_told_by_what_came_free_of_late() {
        let (start, soon) = (Instant::now(), Duration::from_millis(20));
        let mut places = Places::new(start);
        places.most = 4;
        (0..4).for_each(|_| places.take());
        assert!(places.is_full());
        assert_eq!(places.free_within(soon, start), 0);

        // 300 a second.
        for _ in 0..3 {
            places.free();
            places.take();
        }
        let now = start + COUNT_FOR;
        assert_eq!(places.free_within(soon, now), 6);
        places.free();
        assert!(!places.is_full());
        assert_eq!(places.free_within(soon, now), 7);
        assert_eq!(places.free_within(soon, now + Duration::from_secs(10)), 1);
    }
}
