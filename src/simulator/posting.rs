//! What is set, counted and kept of posting webhooks.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::status::Status;

/// Where webhooks go.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The receiver's address.
    pub url: String,
    /// What they are signed with.
    pub app_secret: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// How webhooks are posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Most statuses in one delivery; Meta sends up to 1,000.
    pub batch: usize,
    /// Most deliveries under way at once.
    pub concurrent: usize,
    /// How long one may take to be answered.
    pub timeout: Duration,
    /// How often one is tried before it is given up; Meta goes on for seven days.
    pub tries: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Posting {
    fn default() -> Self {
        Self {
            batch: 100,
            concurrent: 16,
            timeout: Duration::from_secs(10),
            tries: 20,
            pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// What has become of the webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PostCounts {
    /// Deliveries answered with 200.
    pub answered: u64,
    /// Tries that were not.
    pub failed_tries: u64,
    /// Deliveries given up.
    pub given_up: u64,
    /// Messages that still have statuses to come, and deliveries to be tried again.
    pub pending: u64,
}

impl PostCounts {
    pub(super) fn to_json(self) -> Value {
        json!({
            "answered": self.answered,
            "failed_tries": self.failed_tries,
            "given_up": self.given_up,
            "pending": self.pending,
        })
    }
}

/// A status was told: from this moment its receiver may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Of this message.
    pub wamid: String,
    /// What was told.
    pub status: Status,
    /// When its first post began, on the ledger's clock.
    pub at: Duration,
}

/// Why a webhook could not be posted.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// There is nowhere to post to.
    #[error("no webhook address is set")]
    NoReceiver,
    /// The receiver did not answer.
    #[error("could not post the webhook")]
    NoAnswer(#[source] reqwest::Error),
}
