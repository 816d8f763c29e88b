//! Charts, drawn here as SVG: a page needs no library for them, and they are there without a script.
//!
//! What is drawn is also told in words, for whoever cannot see it: the last and the highest value of each line.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::layout::ours;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// One line of a chart. Its class is its colour, its dash tells it apart where colours do not.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    /// Oldest first; none where nobody knows.
    pub(super) values: Vec<Option<f64>>,
}

/// A chart of lines that share a scale.
pub(super) fn chart(title: &str, unit: &str, reaches: &str, lines: &[Line]) -> Markup {
    let highest = lines
        .iter()
        .flat_map(|line| line.values.iter().flatten())
        .fold(0.0_f64, |highest, value| highest.max(*value));
    let top = nice_top(highest);
    html! {
        figure.chart {
            figcaption {
                strong { (title) } " "
                @for line in lines {
                    span class={ "key " (line.class) } { (line.name) " " b { (last(line, unit)) } }
                }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT + 4.0) } role="img" aria-label=(in_words(title, unit, lines)) preserveAspectRatio="none" {
                (ours(grid()))
                @for line in lines {
                    path class={ "line " (line.class) } d=(path(&line.values, top)) vector-effect="non-scaling-stroke" {}
                }
            }
            div.scale aria-hidden="true" {
                span { (reaches) " ago" } span { "at the top: " (figure(top)) " " (unit) } span { "now" }
            }
        }
    }
}

fn last(line: &Line, unit: &str) -> String {
    match line.values.iter().rev().flatten().next() {
        Some(value) => format!("{} {unit}", figure(*value)),
        None => "unknown".to_owned(),
    }
}

fn in_words(title: &str, unit: &str, lines: &[Line]) -> String {
    let told = lines.iter().map(|line| {
        let highest = line
            .values
            .iter()
            .flatten()
            .fold(0.0_f64, |most, value| most.max(*value));
        format!(
            "{} {}, at most {}",
            line.name,
            last(line, unit),
            figure(highest)
        )
    });
    format!("{title}: {}", told.collect::<Vec<_>>().join("; "))
}

fn grid() -> String {
    let mut lines = String::new();
    for quarter in 0..=4 {
        let y = 2.0 + HEIGHT * f64::from(quarter) / 4.0;
        // A string takes everything.
        let _ = write!(
            lines,
            "<path class=\"grid\" d=\"M0 {y}H{WIDTH}\" vector-effect=\"non-scaling-stroke\"/>"
        );
    }
    lines
}

/// A line, broken where nothing is known.
fn path(values: &[Option<f64>], top: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred points")]
    let step = WIDTH / (values.len().max(2) - 1) as f64;
    let mut path = String::new();
    let mut is_down = false;
    for (place, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_down = false;
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "a few hundred points")]
        let x = step * place as f64;
        let y = 2.0 + HEIGHT * (1.0 - (value / top).clamp(0.0, 1.0));
        let _ = write!(path, "{}{x:.1} {y:.1}", if is_down { 'L' } else { 'M' });
        is_down = true;
    }
    path
}

/// The next round number: 1, 2 or 5 times a power of ten.
fn nice_top(highest: f64) -> f64 {
    if highest <= 1.0 {
        return 1.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    round
        .into_iter()
        .find(|top| *top >= highest)
        .unwrap_or(highest)
}

/// A figure without needless digits.
pub(super) fn figure(value: f64) -> String {
    if value >= 10.0 || value == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "a figure of a chart")]
        crate::standing::facts::thousands(value.round() as i64)
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_at_the_next_round_number() {
        for (highest, top) in [
            (0.0, 1.0),
            (0.4, 1.0),
            (1.1, 2.0),
            (4.2, 5.0),
            (80.0, 100.0),
            (100.0, 100.0),
            (1_200.0, 2_000.0),
        ] {
            assert!((nice_top(highest) - top).abs() < 1e-9, "{highest}");
        }
    }

    #[test]
    fn a_line_breaks_where_nothing_is_known() {
        let values = [Some(0.0), Some(10.0), None, Some(5.0)];
        assert_eq!(path(&values, 10.0), "M0.0 122.0L200.0 2.0M600.0 62.0");
        assert_eq!(path(&[], 1.0), "");
    }

    #[test]
    fn what_is_drawn_is_told_in_words() {
        let line = Line {
            name: "accepted",
            class: "one",
            values: vec![Some(3.0), Some(80.25), None],
        };
        let words = in_words("Messages", "a second", &[line]);
        assert_eq!(words, "Messages: accepted 80 a second, at most 80");
    }
}
