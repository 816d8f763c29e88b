//! How far something long has come, on one line of a terminal that is written over. Nothing where nobody looks.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::clock::BootInstant;

/// Not more often than an eye can follow.
const SHOWN_EVERY: Duration = Duration::from_millis(200);
const BAR: usize = 24;

pub(in crate::cli) struct Progress {
    what: &'static str,
    /// All there is, in the unit that `show` is told.
    all: Option<u64>,
    begun: BootInstant,
    shown_at: Option<BootInstant>,
    is_looked_at: bool,
}

impl Progress {
    pub(in crate::cli) fn new(what: &'static str, all: Option<u64>, begun: BootInstant) -> Self {
        Self {
            what,
            all,
            begun,
            shown_at: None,
            is_looked_at: io::stderr().is_terminal(),
        }
    }

    /// `done` things, `come_to` of all, `faults` among them.
    pub(in crate::cli) fn show(&mut self, done: u64, come_to: u64, faults: u64, now: BootInstant) {
        let is_new = self
            .shown_at
            .is_none_or(|shown| shown.until(now) >= SHOWN_EVERY);
        if !self.is_looked_at || !is_new {
            return;
        }
        self.shown_at = Some(now);
        let line = self.line(done, come_to, faults, self.begun.until(now));
        // Who cannot read it misses nothing.
        let _ = write!(io::stderr(), "\r{line}\u{1b}[K");
    }

    fn line(&self, done: u64, come_to: u64, faults: u64, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64().max(0.001);
        let count = |number: u64| {
            crate::standing::facts::thousands(i64::try_from(number).unwrap_or(i64::MAX))
        };
        let share = self.all.filter(|all| *all > 0).map(|all| {
            #[expect(clippy::cast_precision_loss)]
            let share = come_to as f64 / all as f64;
            share.min(1.0)
        });
        let mut line = share.map_or_else(String::new, |share| {
            format!("{} {:3.0} %  ", bar(share, BAR), share * 100.0)
        });
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rate = (done as f64 / seconds) as u64;
        line += &format!("{} {}, {} a second", count(done), self.what, count(rate));
        if faults > 0 {
            line += &format!(", {} with faults", count(faults));
        }
        if let Some(share) = share.filter(|share| *share > 0.0) {
            let left = Duration::from_secs_f64(seconds * (1.0 - share) / share);
            let left = crate::standing::time::span(left.try_into().unwrap_or_default());
            line += &format!(", {left} left");
        }
        line
    }

    /// Takes the line away, so that what follows stands alone.
    pub(in crate::cli) fn clear(&mut self) {
        if self.shown_at.take().is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// A bar of so many characters, filled to `share` of it.
pub(in crate::cli) fn bar(share: f64, width: usize) -> String {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let filled = ((share.clamp(0.0, 1.0) * width as f64).round() as usize).min(width);
    // Something is not nothing, and not quite all is not all.
    let filled = match filled {
        0 if share > 0.0 => 1,
        all if all == width && share < 1.0 => width - 1,
        other => other,
    };
    "█".repeat(filled) + &"░".repeat(width - filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_when_all_is_done_and_empty_only_when_nothing_is() {
        for (share, expected) in [
            (0.0, "░░░░"),
            (0.001, "█░░░"),
            (0.5, "██░░"),
            (0.999, "███░"),
            (1.0, "████"),
            (2.0, "████"),
        ] {
            assert_eq!(bar(share, 4), expected, "{share}");
        }
    }

    #[test]
    fn a_line_tells_rate_and_what_is_left() {
        let progress = Progress::new("recipients", Some(400), BootInstant(Duration::ZERO));
        assert_eq!(
            progress.line(10_000, 100, 3, Duration::from_secs(10)),
            "██████░░░░░░░░░░░░░░░░░░  25 %  10,000 recipients, 1,000 a second, 3 with faults, 30 s left"
        );
        let unknown = Progress::new("recipients", None, BootInstant(Duration::ZERO));
        assert_eq!(
            unknown.line(5, 100, 0, Duration::from_secs(1)),
            "5 recipients, 5 a second"
        );
    }
}
