//! What has been begun and has not left yet, by sender.
//!
//! Between its intent and its first byte a request waits for its permit, some milliseconds. A sender is handed over only when
//! none is left, so that two workers never send for it at once and together exceed its rate.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::id::SenderId;

/// Counts the requests that are about to leave. All clones count together.
#[derive(Clone, Debug, Default)]
pub struct Departures(Arc<watch::Sender<HashMap<SenderId, usize>>>);

/// One request that is about to leave. It has left, or never will, when this is dropped.
#[derive(Debug)]
pub struct Departure {
    sender: SenderId,
    all: Departures,
}

impl Departures {
    /// Says that a request of this sender is about to leave. To be said before its intent is written.
    pub fn announce(&self, sender: &SenderId) -> Departure {
        self.0
            .send_modify(|waiting| *waiting.entry(sender.clone()).or_default() += 1);
        Departure {
            sender: sender.clone(),
            all: self.clone(),
        }
    }

    /// Waits until none is about to leave for the senders in question, no longer than `within`. `true`: none is.
    pub async fn none_for(&self, concerns: impl Fn(&SenderId) -> bool, within: Duration) -> bool {
        let mut waiting = self.0.subscribe();
        let none = waiting.wait_for(|waiting| !waiting.keys().any(&concerns));
        matches!(tokio::time::timeout(within, none).await, Ok(Ok(_)))
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.all.0.send_modify(|waiting| {
            if let Some(count) = waiting.get_mut(&self.sender) {
                *count -= 1;
                if *count == 0 {
                    waiting.remove(&self.sender);
                }
            }
        });
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
}
