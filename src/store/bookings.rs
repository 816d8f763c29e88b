//! Times that were given to messages which may not leave yet, and how they are given back when what was in their way is gone.
//!
//! A message is put off once, to a time of its own, so that many to one recipient, or a campaign at night, cost no look after look.
//! So when that limit, or those quiet hours, are loosened, somebody has to look for them: the database keeps a mark of the change
//! (`wa.loosened_settings`), and each look of a worker does a slice of the work.

use super::error::Doing;
use super::{Store, StoreError};

/// Why a message is put off: WhatsApp allows only so many to one recipient.
pub const PAIR_LIMIT: &str = "this recipient's limit: too many messages in a short time";
/// Why a message is put off: it is night where its recipient is.
pub const QUIET: &str = "the quiet hours of its campaign";

impl Store {
    /// Makes due again what was put off for settings that were loosened, looking at `at_most` so many messages. `false`: nothing was
    /// left to be done. Safe to run in every process at once.
    pub async fn give_times_back(&self, at_most: i32) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"select wa.give_times_back($1, $2, $3) as "was_left!""#,
            at_most,
            PAIR_LIMIT,
            QUIET
        )
        .fetch_one(&self.pool)
        .await
        .doing("give back the times of messages that were put off")
    }
}
