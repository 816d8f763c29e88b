//! Desks of senders that were given up, for as long as one may come back.
//!
//! A sender is given up before it is handed over, and the hand-over may not happen: its receiver has gone, or the database did not
//! answer. Then it comes back under the epoch it had, so nobody else has worked it, and only this process knows what its limits
//! have seen. A desk made anew would let all of that through once more.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::desk::{Desk, start};
use crate::domain::id::{Epoch, SenderId};
use crate::throttle::Start;

/// A desk is kept for so long: by then a pair has its burst back, as WhatsApp counts it. Where a sender comes back later, its limits
/// start empty, as after a change of owner.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);

/// What is left of senders that this process has worked and does not work now.
#[derive(Default)]
pub(super) struct GivenUp {
    desks: HashMap<SenderId, (Desk, Instant)>,
    /// Some bytes for each sender that was ever worked here.
    worked: HashSet<SenderId>,
}

impl GivenUp {
    /// Keeps a desk that was given up.
    pub(super) fn keep(&mut self, desk: Desk, now: Instant) {
        self.worked.insert(desk.sender.clone());
        self.desks.insert(desk.sender.clone(), (desk, now));
    }

    /// The desk of a sender that comes back, if it is the one of this epoch still.
    pub(super) fn take_back(&mut self, sender: &SenderId, epoch: Epoch) -> Option<Desk> {
        let (desk, _) = self.desks.remove(sender)?;
        (desk.epoch == epoch).then_some(desk)
    }

    /// What may have left for a sender whose desk is made anew. Whoever has worked it knows that something did, whatever its epoch
    /// says.
    pub(super) fn start_of(&self, sender: &SenderId, epoch: Epoch) -> Start {
        match self.worked.contains(sender) {
            true => Start::Empty,
            false => start(epoch),
        }
    }

    /// What comes back of its requests is learned still.
    pub(super) fn get_mut(&mut self, sender: &SenderId) -> Option<&mut Desk> {
        self.desks.get_mut(sender).map(|(desk, _)| desk)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Desk> {
        self.desks.values_mut().map(|(desk, _)| desk)
    }

    /// Forgets desks whose senders have not come back.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.desks
            .retain(|_, (_, since)| now.saturating_duration_since(*since) < KEPT_FOR);
    }
}

/// The desk of a sender that is worked, or was until a moment ago.
pub(super) fn either<'a>(
    desks: &'a mut HashMap<SenderId, Desk>,
    given_up: &'a mut GivenUp,
    sender: &SenderId,
) -> Option<&'a mut Desk> {
    match desks.get_mut(sender) {
        Some(desk) => Some(desk),
        None => given_up.get_mut(sender),
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::dispatch::desk::tests::{SETTINGS, desk, held};

    const RECIPIENT: &str = "+16505551001";

    #[test]
    fn a_sender_that_comes_back_under_its_epoch_has_spent_what_it_had_spent() {
        let now = Instant::now();
        let mut held = held();
        std::sync::Arc::make_mut(&mut held.held)
            .sender
            .pair_period_ms = 6_000;
        let (mut given_up, mut desk) = (GivenUp::default(), desk(now));
        desk.take_up(&held, SETTINGS, now, OffsetDateTime::UNIX_EPOCH);
        let (sender, epoch, before) = (desk.sender.clone(), desk.epoch, desk.ours());
        while desk.throttle.pair(RECIPIENT, now).is_ok() {}

        desk.give_up();
        given_up.keep(desk, now);
        let desk = given_up.take_back(&sender, epoch);

        let mut desk = desk.expect("it is the same desk");
        desk.come_back(&held, SETTINGS, now, OffsetDateTime::UNIX_EPOCH);
        assert!(desk.throttle.pair(RECIPIENT, now).is_err());
        assert!(desk.has_more(now), "what was at hand is read anew");
        let is_ours =
            |flag: &std::sync::atomic::AtomicBool| flag.load(std::sync::atomic::Ordering::Acquire);
        assert!(is_ours(&desk.ours()) && !is_ours(&before));
    }

    #[test]
    fn limits_of_a_sender_that_was_worked_here_start_empty_where_its_desk_is_gone() {
        let now = Instant::now();
        let mut given_up = GivenUp::default();
        let (sender, first) = (desk(now).sender, Epoch(1));
        assert_eq!(given_up.start_of(&sender, first), Start::Full);

        given_up.keep(desk(now), now);
        assert!(given_up.take_back(&sender, Epoch(2)).is_none());
        assert_eq!(given_up.start_of(&sender, first), Start::Empty);

        given_up.keep(desk(now), now);
        given_up.forget_old(now + KEPT_FOR);
        assert!(given_up.take_back(&sender, first).is_none());
        assert_eq!(given_up.start_of(&sender, first), Start::Empty);
    }
}
