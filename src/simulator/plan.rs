//! Which faults to bring about, and when.
//!
//! A fault is set for the next requests to one recipient, for all of them, or by a probability. Dice are cast from
//! the seed, the recipient and how many requests went to it before, so the same seed gives each recipient the
//! same fate, however the requests of a run are interleaved.

use std::collections::{HashMap, VecDeque};

use super::dice::{dice, hash, mix};
use super::fault::{Fault, WebhookFault};
use super::message::recipient_key;

/// Which faults to bring about.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    /// What the dice are cast from.
    pub seed: u64,
    /// Each fault with its share of requests, 0 to 1; together at most 1.
    pub probabilities: Vec<(Fault, f64)>,
    /// Each webhook fault with its share of accepted messages, 0 to 1; together at most 1.
    pub webhook_probabilities: Vec<(WebhookFault, f64)>,
    /// Faults for one recipient; they go before the dice.
    pub per_recipient: HashMap<String, RecipientFaults>,
}

/// The faults of one recipient.
#[derive(Clone, Debug, Default)]
pub struct RecipientFaults {
    /// For the next requests, one each.
    pub next: VecDeque<Fault>,
    /// For every request once `next` is used up.
    pub always: Option<Fault>,
    /// For the next accepted messages, one each.
    pub webhook_next: VecDeque<WebhookFault>,
    /// For every accepted message once `webhook_next` is used up.
    pub webhook_always: Option<WebhookFault>,
}

/// The plan as it is worked off.
#[derive(Debug, Default)]
pub(super) struct Faults {
    plan: FaultPlan,
    connections_to_close: u64,
    connections: u64,
    casts: HashMap<u64, u64>,
}

impl Faults {
    pub(super) fn new(plan: FaultPlan) -> Self {
        let per_recipient = plan
            .per_recipient
            .into_iter()
            .map(|(who, faults)| (recipient_key(&who), faults))
            .collect();
        Self {
            plan: FaultPlan {
                per_recipient,
                ..plan
            },
            ..Self::default()
        }
    }

    pub(super) fn of(&mut self, recipient: &str) -> &mut RecipientFaults {
        self.plan
            .per_recipient
            .entry(recipient_key(recipient))
            .or_default()
    }

    pub(super) fn set_probabilities(&mut self, probabilities: Vec<(Fault, f64)>) {
        self.plan.probabilities = probabilities;
    }

    pub(super) fn set_webhook_probabilities(&mut self, probabilities: Vec<(WebhookFault, f64)>) {
        self.plan.webhook_probabilities = probabilities;
    }

    /// The next `count` connections (or requests on an open one) are closed before anything is read.
    pub(super) fn close_connections(&mut self, count: u64) {
        self.connections_to_close = count;
    }

    /// Ends all faults; the seed stays.
    pub(super) fn clear(&mut self) {
        *self = Self {
            plan: FaultPlan {
                seed: self.plan.seed,
                ..FaultPlan::default()
            },
            ..Self::default()
        };
    }

    /// Whether a connection may have to be closed before it is read; lets the server skip the look.
    pub(super) fn may_close_before_reading(&self) -> bool {
        self.connections_to_close > 0 || self.share_closed_before_reading() > 0.0
    }

    pub(super) fn closes_before_reading(&mut self) -> bool {
        if self.connections_to_close > 0 {
            self.connections_to_close -= 1;
            return true;
        }
        self.connections += 1;
        dice(self.plan.seed, "connection", self.connections) < self.share_closed_before_reading()
    }

    fn share_closed_before_reading(&self) -> f64 {
        let closing = self
            .plan
            .probabilities
            .iter()
            .filter(|(fault, _)| *fault == Fault::CloseBeforeReading);
        closing.map(|(_, share)| share).sum()
    }

    /// The fault of a request, taken off the plan. `key` is a recipient as [`recipient_key`] writes it.
    pub(super) fn take(&mut self, key: &str) -> Option<Fault> {
        if let Some(faults) = self.plan.per_recipient.get_mut(key)
            && let Some(fault) = faults.next.pop_front().or(faults.always)
        {
            return Some(fault);
        }
        if self.plan.probabilities.is_empty() {
            return None;
        }
        let cast = self.cast(key, 0);
        // Closing before reading has had its dice when the connection was looked at.
        let others = self
            .plan
            .probabilities
            .iter()
            .filter(|(fault, _)| *fault != Fault::CloseBeforeReading);
        pick(others, cast)
    }

    /// The webhook fault of an accepted message, taken off the plan.
    pub(super) fn take_webhook(&mut self, key: &str) -> Option<WebhookFault> {
        if let Some(faults) = self.plan.per_recipient.get_mut(key)
            && let Some(fault) = faults.webhook_next.pop_front().or(faults.webhook_always)
        {
            return Some(fault);
        }
        if self.plan.webhook_probabilities.is_empty() {
            return None;
        }
        let cast = self.cast(key, 1);
        pick(self.plan.webhook_probabilities.iter(), cast)
    }

    fn cast(&mut self, key: &str, kind: u64) -> f64 {
        let seed = mix(self.plan.seed ^ kind);
        let count = self.casts.entry(hash(seed, key)).or_default();
        *count += 1;
        dice(seed, key, *count)
    }
}

fn pick<'a, F: Copy + 'a>(shares: impl Iterator<Item = &'a (F, f64)>, cast: f64) -> Option<F> {
    let mut upto = 0.0;
    for (fault, share) in shares {
        upto += share;
        if cast < upto {
            return Some(*fault);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_for_a_recipient_goes_before_the_dice_and_next_before_always() {
        let mut faults = Faults::new(FaultPlan {
            probabilities: vec![(Fault::Hang, 1.0)],
            ..FaultPlan::default()
        });
        let alice = faults.of("+1 (650) 555-1234");
        alice.next.push_back(Fault::ServerError);
        alice.always = Some(Fault::GatewayPage);

        assert_eq!(faults.take("16505551234"), Some(Fault::ServerError));
        assert_eq!(faults.take("16505551234"), Some(Fault::GatewayPage));
        assert_eq!(faults.take("16505559999"), Some(Fault::Hang));
    }

    #[test]
    fn the_same_seed_gives_each_recipient_the_same_fate_in_any_order() {
        let fates = |seed: u64, order: [&str; 4]| {
            let probabilities = vec![(Fault::Hang, 0.3), (Fault::ServerError, 0.3)];
            let mut faults = Faults::new(FaultPlan {
                seed,
                probabilities,
                ..FaultPlan::default()
            });
            let mut fates = HashMap::<String, Vec<_>>::new();
            for _ in 0..32 {
                for key in order {
                    fates
                        .entry(key.to_owned())
                        .or_default()
                        .push(faults.take(key));
                }
            }
            fates
        };
        assert_eq!(
            fates(7, ["1", "2", "3", "4"]),
            fates(7, ["4", "2", "1", "3"])
        );
        assert_ne!(
            fates(7, ["1", "2", "3", "4"]),
            fates(8, ["1", "2", "3", "4"])
        );
    }

    #[test]
    fn a_probability_is_met_within_a_tenth() {
        let probabilities = vec![(Fault::Hang, 0.25)];
        let mut faults = Faults::new(FaultPlan {
            seed: 1,
            probabilities,
            ..FaultPlan::default()
        });
        let hit = (0..10_000)
            .filter(|n| faults.take(&format!("1650{n:07}")).is_some())
            .count();
        assert!((2_250..2_750).contains(&hit), "{hit} of 10,000");
    }
}
