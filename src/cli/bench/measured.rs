//! Figures beside their targets and beside what the machine can do at best.
//!
//! A busy machine gives other figures from minute to minute. So a figure is measured in several rounds, its limit in the same
//! rounds and by turns with it, and both are told with how far their rounds lay apart. A target that is missed is told and is no
//! failure of the run: on another machine, or an hour later, it may be met.

use std::time::Duration;

use serde::Serialize;

use crate::cli::table::{Table, numbers, words};

/// A figure over the rounds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// Of one figure a round. Without a round there is none: NaN, which JSON tells as null.
    pub(super) fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = rounds.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or(f64::NAN);
        Self {
            median: at(figures.len() / 2),
            least: at(0),
            most: at(figures.len().saturating_sub(1)),
        }
    }

    pub(super) fn in_words(self) -> String {
        let Self { least, most, .. } = self;
        format!("{} to {}", short(least), short(most))
    }
}

/// What a figure is to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {}", short(least)),
            Self::AtMost(most) => format!("<= {}", short(most)),
        }
    }
}

/// What the figure is to be read against, measured in the same rounds.
#[derive(Debug, Serialize)]
pub(super) struct Limit {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) figure: Spread,
}

/// One figure with its target, its limits, and what they say together.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    what: String,
    unit: &'static str,
    figure: Spread,
    target: Target,
    met: bool,
    limits: Vec<Limit>,
    reading: String,
}

impl Measured {
    pub(super) fn new(
        what: impl Into<String>,
        unit: &'static str,
        figure: Spread,
        target: Target,
        limits: Vec<Limit>,
        reading: String,
    ) -> Self {
        Self {
            what: what.into(),
            unit,
            met: target.is_met_by(figure.median),
            figure,
            target,
            limits,
            reading,
        }
    }
}

/// The table of all figures, and a line for each on how to read it.
pub(super) fn print(measured: &[Measured]) {
    let mut table = Table::new([
        words("WHAT"),
        numbers("FIGURE"),
        words("UNIT"),
        words("ROUNDS"),
        words("TARGET"),
        words("MET"),
        words("LIMIT OF THIS MACHINE"),
    ]);
    for one in measured {
        let limits = one.limits.iter().map(|limit| {
            let Limit { what, unit, figure } = limit;
            format!("{} {unit} ({what})", short(figure.median))
        });
        table.row([
            one.what.clone(),
            short(one.figure.median),
            one.unit.to_owned(),
            one.figure.in_words(),
            one.target.in_words(),
            match one.met {
                true => "yes".to_owned(),
                false => "no".to_owned(),
            },
            limits.collect::<Vec<_>>().join(", "),
        ]);
    }
    println!("{}", table.render(false));
    for one in measured {
        println!("{}: {}", one.what, one.reading);
    }
}

/// With as many digits as tell something.
pub(super) fn short(figure: f64) -> String {
    match figure.abs() {
        large if large >= 100.0 => format!("{figure:.0}"),
        middling if middling >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// Times in order.
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// So many in a hundred took no longer, in milliseconds (nearest rank); NaN where there is none.
    pub(super) fn percentile_ms(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        let at = self.0.get(rank.max(1) - 1);
        at.map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(times.percentile_ms(50.0), 100.0);
        assert_eq!(times.percentile_ms(99.0), 198.0);
        assert_eq!(times.percentile_ms(100.0), 200.0);
        let one = Times::of(vec![Duration::from_millis(7)]);
        assert_eq!(one.percentile_ms(1.0), 7.0);
        assert!(Times::of(Vec::new()).percentile_ms(50.0).is_nan());
    }

    #[test]
    fn a_spread_is_the_middle_round_and_the_outermost() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.median, spread.least, spread.most), (2.0, 1.0, 3.0));
    }

    #[test]
    fn a_figure_that_was_not_measured_meets_no_target() {
        let nothing = Spread::of([]).median;
        assert!(!Target::AtLeast(1.0).is_met_by(nothing));
        assert!(!Target::AtMost(1.0).is_met_by(nothing));
        assert!(Target::AtMost(1.0).is_met_by(1.0));
    }
}
