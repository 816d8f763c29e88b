//! How long what has ended is kept at least, whatever anybody asks for.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Days that a message is kept after its end: webhooks are repeated for up to seven (Meta, "Webhooks"), and must find it.
pub const MESSAGES_AT_LEAST_DAYS: u32 = 8;
/// Days that a webhook delivery is kept after it came.
pub const WEBHOOKS_AT_LEAST_DAYS: u32 = 1;
/// Nothing is kept for longer by a setting: that would be a slip.
pub const AT_MOST_DAYS: u32 = 3_650;

/// So many days.
pub fn days(number: u32) -> Duration {
    DAY * number
}

/// What is deleted once it is so old; none: nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Messages that have ended, with all that belongs to them.
    pub messages: Option<Duration>,
    /// Webhook deliveries that were applied, and statuses that belong to no message.
    pub webhooks: Option<Duration>,
}

impl Retention {
    /// Everything is kept.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}
