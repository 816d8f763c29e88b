//! What has been begun and has not left yet, by sender.
//!
//! Between its intent and its first byte a request waits for its permit and its connection, some milliseconds. A sender is
//! handed over only when none is left, so that two workers never send for it at once and together exceed its rate. And where
//! some have left late, it is handed over later by as much: the new owner's limits start as if everything had left in time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::id::SenderId;

/// So late is in time: the window of the rate has room for it.
const IN_TIME: Duration = Duration::from_millis(2);
/// What has left is on its way for some time, and not all for the same: so much later is a sender handed over at least.
const ON_THE_WAY: Duration = Duration::from_millis(60);
/// Longer ago, it does not matter that a request left late: no window of the rate is so long.
const MATTERS_FOR: Duration = Duration::from_secs(2);

/// Counts the requests that are about to leave. All clones count together.
#[derive(Clone, Debug, Default)]
pub struct Departures(Arc<watch::Sender<HashMap<SenderId, Traffic>>>);

/// The departures of one sender.
#[derive(Debug, Default)]
struct Traffic {
    about_to_leave: usize,
    /// The latest that one has left lately, and until when that matters.
    late: Option<(Duration, Instant)>,
}

/// One request that is about to leave. It never will when this is dropped.
#[derive(Debug)]
pub struct Departure {
    sender: SenderId,
    all: Departures,
    over: AtomicBool,
}

impl Departures {
    /// Says that a request of this sender is about to leave. To be said before its intent is written.
    pub fn announce(&self, sender: &SenderId) -> Departure {
        self.0
            .send_modify(|all| all.entry(sender.clone()).or_default().about_to_leave += 1);
        Departure {
            sender: sender.clone(),
            all: self.clone(),
            over: AtomicBool::new(false),
        }
    }

    /// Waits until none is about to leave for the senders in question, and as long again as the latest was late and more; no
    /// longer than `within`. `true`: it waited for all that.
    pub async fn none_for(&self, concerns: impl Fn(&SenderId) -> bool, within: Duration) -> bool {
        tokio::time::timeout(within, async {
            let mut all = self.0.subscribe();
            let none = |all: &HashMap<SenderId, Traffic>| {
                !all.iter()
                    .any(|(sender, traffic)| traffic.about_to_leave > 0 && concerns(sender))
            };
            // The channel lives as long as we do.
            let _ = all.wait_for(none).await;
            tokio::time::sleep(self.latest_of(&concerns) + ON_THE_WAY).await;
        })
        .await
        .is_ok()
    }

    fn latest_of(&self, concerns: impl Fn(&SenderId) -> bool) -> Duration {
        let (all, now) = (self.0.borrow(), Instant::now());
        all.iter()
            .filter(|(sender, _)| concerns(sender))
            .filter_map(|(_, traffic)| traffic.late_at(now))
            .max()
            .unwrap_or_default()
    }

    fn over(&self, departure: &Departure, late_by: Duration) {
        if departure.over.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = Instant::now();
        self.0.send_modify(|all| {
            let Some(traffic) = all.get_mut(&departure.sender) else {
                return;
            };
            traffic.about_to_leave -= 1;
            if late_by > IN_TIME {
                let latest = traffic.late_at(now).unwrap_or_default().max(late_by);
                traffic.late = Some((latest, now + MATTERS_FOR));
            }
            if traffic.about_to_leave == 0 && traffic.late_at(now).is_none() {
                all.remove(&departure.sender);
            }
        });
    }
}

impl Traffic {
    fn late_at(&self, now: Instant) -> Option<Duration> {
        let (late_by, until) = self.late?;
        (now < until).then_some(late_by)
    }
}

impl Departure {
    /// It leaves now, so long after its permit was given.
    pub fn left(&self, late_by: Duration) {
        self.all.over(self, late_by);
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.all.over(self, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_sender_has_none_left_when_each_has_left_or_never_will() {
        let (busy, other) = (SenderId::from("busy"), SenderId::from("other"));
        let departures = Departures::default();
        let of_another = departures.announce(&other);
        let (first, second) = (departures.announce(&busy), departures.announce(&busy));
        drop(first);
        assert!(
            !departures
                .none_for(|sender| *sender == busy, Duration::ZERO)
                .await
        );

        let leaving = tokio::spawn(async move { drop(second) });

        assert!(
            departures
                .none_for(|sender| *sender == busy, PATIENCE)
                .await
        );
        assert!(!departures.none_for(|_| true, Duration::ZERO).await);
        drop(of_another);
        assert!(departures.none_for(|_| true, PATIENCE).await);
        leaving.await.expect("it leaves");
    }

    #[tokio::test]
    async fn what_has_just_left_has_time_to_arrive() {
        let (departures, asked_at) = (Departures::default(), Instant::now());
        assert!(departures.none_for(|_| true, PATIENCE).await);
        assert!(asked_at.elapsed() >= ON_THE_WAY);
    }

    #[tokio::test]
    async fn a_request_that_left_late_counts_for_as_long_as_it_was_late() {
        let sender = SenderId::from("busy");
        let departures = Departures::default();
        for late_by in [IN_TIME, IN_TIME * 2] {
            departures.announce(&sender).left(late_by);
            assert!(departures.none_for(|_| true, PATIENCE).await);
        }
        departures.announce(&sender).left(PATIENCE * 60);
        assert!(!departures.none_for(|_| true, ON_THE_WAY * 4).await);
    }
}
