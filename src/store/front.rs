//! Looks from the front of an index.
//!
//! What was deleted, or does not wait any more, stays in front of what waits, dead, for as long as somebody holds a transaction open that
//! might want to see it, and a look from the front walks over all of it: over 120,000 in 18 ms, and there is no end to how many they can
//! be. So who reads goes on where it was, and looks from the front from time to time, for what was late to be committed or came back lies
//! behind; and seldom where that takes long.

use std::time::Duration;

/// A look from the front that takes longer is not for every occasion.
pub const DEAR: Duration = Duration::from_millis(25);
/// So many times as long as it took there is none …
const RESTS: u32 = 20;
/// … but not for longer than this: what lies behind is found by nothing else.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How long nothing is read from the front, after that took so long.
pub fn rest_after(took: Duration) -> Duration {
    (took * RESTS).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_many_times_as_long_and_never_too_long() {
        assert_eq!(rest_after(DEAR), Duration::from_millis(500));
        assert_eq!(rest_after(Duration::from_secs(3_600)), LONGEST_REST);
    }
}
