//! What WhatsApp's codes mean and what to do about them, in plain words.

use crate::provider::codes::{Dialect, explain};

/// What a code means, and what to do.
pub fn meaning(code: Option<i64>) -> (&'static str, &'static str) {
    let Some(code) = code else {
        return (
            "without a code",
            "See one: wa-outbox message list --state failed",
        );
    };
    explain(code, None, Dialect::OnPremises).map_or(
        (
            "a code that is not in our table",
            "See what WhatsApp said: wa-outbox message list --state failed",
        ),
        |entry| (entry.title, entry.remedy),
    )
}
