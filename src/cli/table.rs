//! Tables in aligned columns.
//!
//! A column is as wide as its widest cell, numbers stand right, and nothing is cut off: a table may be read by people
//! and searched with `grep` alike.

use super::output::{bold, plain};
use crate::standing::facts::width;

/// A column: its title, and on which side its cells stand.
#[derive(Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    right: bool,
}

/// A column of words.
pub(super) fn words(title: &'static str) -> Column {
    Column {
        title,
        right: false,
    }
}

/// A column of numbers.
pub(super) fn numbers(title: &'static str) -> Column {
    Column { title, right: true }
}

/// Rows under titles.
pub(super) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(super) fn new(columns: [Column; N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row. An empty cell is shown as `-`, so that columns can be counted.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| match plain(&cell).trim() {
            "" => "-".to_owned(),
            text => text.to_owned(),
        }));
    }

    /// The titles and the rows, a line each.
    pub(super) fn render(&self, colours: bool) -> String {
        let titles = self.columns.map(|column| column.title.to_owned());
        let mut widths = titles.each_ref().map(|title| width(title));
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = width(cell).max(*widest);
            }
        }
        let mut text = bold(&self.line(&titles, &widths), colours) + "\n";
        for row in &self.rows {
            text += &self.line(row, &widths);
            text += "\n";
        }
        text
    }

    fn line(&self, cells: &[String; N], widths: &[usize; N]) -> String {
        let mut line = String::new();
        for (index, cell) in cells.iter().enumerate() {
            let padding = " ".repeat(widths[index] - width(cell));
            let gap = if index == 0 { "" } else { "  " };
            line += gap;
            line += &if self.columns[index].right {
                padding + cell
            } else {
                cell.clone() + &padding
            };
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn senders() -> Table<3> {
        let mut table = Table::new([words("SENDER"), numbers("QUEUED"), words("WHY")]);
        table.row(["4711".into(), "12".into(), "held: für später".into()]);
        table.row(["106540352242922".into(), "1204512".into(), String::new()]);
        table
    }

    #[test]
    fn words_stand_left_and_numbers_right() {
        assert_eq!(
            senders().render(false),
            "SENDER            QUEUED  WHY\n\
             4711                  12  held: für später\n\
             106540352242922  1204512  -\n"
        );
    }

    #[test]
    fn only_the_titles_are_bold_and_colours_move_no_column() {
        let coloured = senders().render(true);
        let (title, rows) = coloured.split_once('\n').expect("two lines");
        assert!(title.starts_with("\u{1b}[1m") && title.ends_with("\u{1b}[0m"));
        let plain = senders().render(false);
        assert_eq!(Some(rows), plain.split_once('\n').map(|(_, rows)| rows));
    }

    #[test]
    fn a_wide_character_moves_no_column() {
        let mut table = Table::new([words("A"), words("B")]);
        table.row(["你好".into(), "one".into()]);
        table.row(["abcd".into(), "two".into()]);
        assert_eq!(table.render(false), "A     B\n你好  one\nabcd  two\n");
    }

    #[test]
    fn a_cell_cannot_break_its_row() {
        let mut table = Table::new([words("A"), words("B")]);
        table.row(["one\ntwo".into(), "\u{1b}[31m".into()]);
        assert_eq!(table.render(false), "A        B\none two  \u{fffd}[31m\n");
    }
}
