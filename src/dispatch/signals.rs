//! What the dispatcher and its surroundings tell each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock::BootInstant;
use crate::store::claim::Claim;
use crate::store::lease::Suspect;

/// Shared by all of them.
#[derive(Default)]
pub struct Signals {
    /// There may be new messages: look now.
    pub woken: Notify,
    /// Whether whoever calls for new messages is heard, as far as is known.
    pub hears_calls: AtomicBool,
    /// Messages of begins whose answer was lost.
    suspects: Mutex<Vec<Suspect>>,
    /// Everything that is due and may leave has left, and every outcome is written.
    pub nothing_due: watch::Sender<bool>,
    /// When the loop last turned, in microseconds since this machine was started; 0 before the first turn.
    pub last_turn: AtomicU64,
}

impl Signals {
    /// These may come to stand in `sending` without anybody who sends them.
    pub(super) fn suspect(&self, claims: &[Claim]) {
        let suspects = claims.iter().map(|claim| Suspect {
            id: claim.id,
            sender: claim.sender.clone(),
        });
        self.suspects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(suspects);
    }

    /// The suspects that have come up since this was asked last.
    pub fn new_suspects(&self) -> Vec<Suspect> {
        std::mem::take(&mut *self.suspects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long the loop has not turned; none before its first turn.
    pub fn stalled_for(&self, now: BootInstant) -> Option<Duration> {
        match self.last_turn.load(Ordering::Acquire) {
            0 => None,
            turned => Some(BootInstant(Duration::from_micros(turned)).until(now)),
        }
    }
}
