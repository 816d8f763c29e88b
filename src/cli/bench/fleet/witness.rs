//! Reads the ledger: how fast each sender was, and how long it was silent when something happened.

use std::collections::BTreeMap;
use std::time::Duration;

use super::journal::Change;
use crate::cli::bench::scene::Scene;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Killed,
    Stopped,
    Joined,
    Frozen,
    Woken,
    DatabaseKilled,
    DatabaseCut,
}

impl Kind {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Killed => "worker killed (SIGKILL)",
            Self::Stopped => "worker stopped (SIGTERM)",
            Self::Joined => "worker joined",
            Self::Frozen => "worker frozen (SIGSTOP)",
            Self::Woken => "worker woken (SIGCONT)",
            Self::DatabaseKilled => "Postgres killed and restarted",
            Self::DatabaseCut => "database out of reach",
        }
    }

    /// Whether nobody could have the sender from then until it was taken.
    fn orphans(self) -> bool {
        matches!(self, Self::Killed | Self::Frozen)
    }

    /// Whether nobody could send until it was over.
    fn stops_all(self) -> bool {
        matches!(self, Self::DatabaseKilled | Self::DatabaseCut)
    }
}

/// Something that happened to some senders.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) kind: Kind,
    /// Since the start of the ledger.
    pub(super) at: Duration,
    /// When its cause was gone.
    pub(super) over_at: Option<Duration>,
    pub(super) senders: Vec<String>,
    /// So many messages were uncertain before.
    pub(super) uncertain: i64,
}

impl Event {
    /// How long this left a sender without anybody who could work it.
    pub(super) fn unowned(&self, sender: &str, changes: &[Change]) -> Duration {
        if !self.senders.iter().any(|of| of == sender) {
            return Duration::ZERO;
        }
        let until = if self.kind.stops_all() {
            self.over_at
        } else if self.kind.orphans() {
            changes
                .iter()
                .find(|change| change.taken && change.sender == sender && change.at > self.at)
                .map(|change| change.at)
        } else {
            None
        };
        until.map_or(Duration::ZERO, |until| until.saturating_sub(self.at))
    }
}

/// When the requests of each sender came, in order.
pub(super) struct Witness(BTreeMap<String, Vec<Duration>>);

impl Witness {
    pub(super) fn of(scene: &Scene) -> Self {
        Self(scene.request_times())
    }

    fn of_sender(&self, sender: &str) -> &[Duration] {
        self.0.get(sender).map_or(&[], Vec::as_slice)
    }

    /// The shortest time in which `count` requests and one more came, and when it began.
    pub(super) fn closest(&self, sender: &str, count: usize) -> Option<(Duration, Duration)> {
        let times = self.of_sender(sender);
        let spans = times.iter().zip(times.iter().skip(count));
        spans.map(|(first, last)| (*last - *first, *first)).min()
    }

    pub(super) fn requests(&self, sender: &str, from: Duration, until: Duration) -> usize {
        let inside = |at: &&Duration| (from..until).contains(*at);
        self.of_sender(sender).iter().filter(inside).count()
    }

    /// The longest time without a request in this part of the run; one that began before it counts from its beginning, one
    /// that goes on after it counts to the part's end.
    pub(super) fn longest_gap(&self, sender: &str, from: Duration, until: Duration) -> Duration {
        let times = self.of_sender(sender);
        let first = times.partition_point(|at| *at <= from);
        let last = times.partition_point(|at| *at < until).max(first);
        let mut previous = first.checked_sub(1).map_or(from, |before| times[before]);
        let mut longest = Duration::ZERO;
        for at in times[first..last].iter().chain([&until]) {
            longest = longest.max(at.saturating_sub(previous));
            previous = *at;
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(seconds: &[u64]) -> Witness {
        let times = seconds.iter().map(|at| Duration::from_secs(*at)).collect();
        Witness(BTreeMap::from([("1".to_owned(), times)]))
    }

    fn gap(witness: &Witness, from: u64, until: u64) -> u64 {
        let (from, until) = (Duration::from_secs(from), Duration::from_secs(until));
        witness.longest_gap("1", from, until).as_secs()
    }

    #[test]
    fn a_gap_counts_from_the_request_before_it_and_within_its_part_of_the_run() {
        let witness = witness(&[1, 2, 7, 8, 9, 13]);
        assert_eq!(gap(&witness, 3, 8), 5);
        assert_eq!(gap(&witness, 3, 5), 3);
        assert_eq!(gap(&witness, 7, 9), 1);
        assert_eq!(gap(&witness, 8, 14), 4);
    }

    #[test]
    fn a_sender_that_never_sends_again_is_silent_to_the_end() {
        let witness = witness(&[1, 2]);
        assert_eq!(gap(&witness, 3, 10), 8);
        assert_eq!(gap(&Witness(BTreeMap::new()), 3, 10), 7);
    }

    #[test]
    fn the_closest_requests_are_those_in_the_shortest_time() {
        let witness = witness(&[1, 4, 6, 8, 20]);
        let seconds = |span, at| Some((Duration::from_secs(span), Duration::from_secs(at)));
        assert_eq!(witness.closest("1", 1), seconds(2, 4));
        assert_eq!(witness.closest("1", 2), seconds(4, 4));
        assert_eq!(witness.closest("1", 5), None);
    }
}
