//! The eras of a database, and what a word of an earlier one is worth.
//!
//! When a database goes back in time it loses messages, and their ids may come into use again. So a word about a message (a token in
//! a webhook, a late answer) counts with the era it comes from: of what was there already when its era ended it is evidence, of
//! what was lost with it it is none, whatever else bears that id now.

use super::id::{Era, MessageId};

/// The eras that a database remembers, each with the largest id of a message that it knew when that era began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eras(Vec<(Era, MessageId)>);

impl Eras {
    /// In any order. The first era is always among them.
    pub fn new(eras: impl IntoIterator<Item = (Era, MessageId)>) -> Self {
        let mut eras: Vec<_> = eras.into_iter().collect();
        if !eras.iter().any(|(era, _)| *era == Era::FIRST) {
            eras.push((Era::FIRST, MessageId(0)));
        }
        eras.sort_unstable();
        Self(eras)
    }

    /// The one that lasts.
    pub fn current(&self) -> Era {
        self.0.last().map_or(Era::FIRST, |(era, _)| *era)
    }

    /// All of them, the latest first.
    pub fn latest_first(&self) -> impl Iterator<Item = Era> {
        self.0.iter().rev().map(|(era, _)| *era)
    }

    /// Whether the message that a word of that era names is the one which bears this id today. Of an era that this database does
    /// not know nothing is certain.
    pub fn remember(&self, message: MessageId, of: Era) -> bool {
        let is_known = self.0.iter().any(|(era, _)| *era == of);
        let mut later = self.0.iter().filter(|(era, _)| *era > of);
        is_known && later.all(|(_, known)| message <= *known)
    }
}

impl Default for Eras {
    fn default() -> Self {
        Self::new([])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_an_earlier_era_is_about_what_was_there_when_it_ended() {
        let eras = Eras::new([(Era(200), MessageId(3_000)), (Era(100), MessageId(50))]);
        assert_eq!(eras.current(), Era(200));
        let of = |era, message| eras.remember(MessageId(message), Era(era));
        assert!(of(0, 50) && !of(0, 51) && !of(0, 4_000));
        assert!(of(100, 50) && of(100, 3_000) && !of(100, 3_001));
        assert!(of(200, 3_001) && of(200, 1));
    }

    #[test]
    fn a_second_restore_to_before_the_first_forgets_more() {
        let eras = Eras::new([(Era(100), MessageId(50)), (Era(200), MessageId(20))]);
        assert!(!eras.remember(MessageId(21), Era::FIRST));
        assert!(eras.remember(MessageId(20), Era::FIRST));
    }

    #[test]
    fn of_an_era_that_the_database_has_forgotten_nothing_is_certain() {
        let eras = Eras::new([(Era(100), MessageId(50))]);
        assert!(!eras.remember(MessageId(1), Era(70)));
    }

    #[test]
    fn without_any_restore_every_word_counts() {
        let eras = Eras::default();
        assert_eq!(eras.latest_first().collect::<Vec<_>>(), [Era::FIRST]);
        assert!(eras.remember(MessageId(i64::MAX), Era::FIRST));
    }
}
