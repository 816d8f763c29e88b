//! Puts what several processes tell into one order.
//!
//! Each of them tells in its own order, a moment after it happened, so what happened earlier may come with the next look. What is
//! younger than all that the last look brought is kept back until the next one: a line is late by one look, and in order as far as
//! the clocks of the processes agree.

use time::OffsetDateTime;

/// Things with a time, on their way into one order.
pub(super) struct InOrder<T> {
    held: Vec<T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self { held: Vec::new() }
    }
}

impl<T> InOrder<T> {
    /// What may be told after a look has brought these.
    pub(super) fn next(&mut self, fresh: Vec<T>, at: impl Fn(&T) -> OffsetDateTime) -> Vec<T> {
        let youngest = self.held.iter().map(&at).max();
        let mut all = std::mem::take(&mut self.held);
        all.extend(fresh);
        // What is of one moment stays as it was told.
        all.sort_by_key(&at);
        let ready = match youngest {
            Some(youngest) => all.partition_point(|one| at(one) <= youngest),
            None => 0,
        };
        self.held = all.split_off(ready);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_a_look_late_is_put_into_its_place() {
        let mut order = InOrder::default();
        let at = |one: &(i64, char)| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(one.0);
        assert!(order.next(vec![(1, 'a'), (4, 'b')], at).is_empty());
        let ready = order.next(vec![(5, 'e'), (3, 'c'), (4, 'd')], at);
        assert_eq!(ready, [(1, 'a'), (3, 'c'), (4, 'b'), (4, 'd')]);
        assert_eq!(order.next(Vec::new(), at), [(5, 'e')]);
        assert!(order.next(Vec::new(), at).is_empty());
    }
}
