//! Files of recipients: a number in each row, and variables that fill a campaign's placeholders.

mod columns;
mod objects;
#[cfg(test)]
mod tests;

use crate::cli::rows::{BadFile, Fault, Schema};
use crate::domain::numbering::Country;
use crate::domain::placeholders::Variables;

use columns::Columns;
pub(super) use columns::{no_recipient, recipient_column};

/// What a row of recipients looks like.
#[derive(Default)]
pub struct Recipients {
    /// The column or member with the number; none: `recipient` or `phone`.
    named: Option<String>,
    /// Numbers without + are read as they are dialled in this country; in none, they are faults.
    country: Option<Country>,
    columns: Columns,
}

/// A row that can be used.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it begins, from 1.
    pub line: u64,
    /// E.164, without separators.
    pub recipient: String,
    /// A JSON object, with the line as [`LINE`].
    pub variables: String,
}

/// The variable that keeps a row's line, so that a fault found later can still name it.
pub const LINE: &str = "_line";

impl Recipients {
    /// With the number in the column of that name.
    pub fn in_column(named: Option<&str>) -> Self {
        Self {
            named: named.map(str::to_owned),
            ..Self::default()
        }
    }

    /// Numbers without + are read as they are dialled in this country; in none, they are faults.
    pub fn dialled_in(&mut self, country: Option<Country>) {
        self.country = country;
    }

    /// The variables that every row of a CSV file has.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.columns.variables()
    }
}

impl Schema for Recipients {
    type Row = Row;
    const HELP: &'static str = "wa-outbox campaign import --help";
    const OBJECT: &'static str = "{\"recipient\":\"+…\",\"variables\":{…}}";

    fn take_header(&mut self, names: &[String]) -> Result<(), BadFile> {
        self.columns = Columns::new(names, self.named.as_deref())?;
        Ok(())
    }

    fn of_cells(&self, line: u64, cells: Vec<String>) -> Result<Row, Fault> {
        self.columns.row(line, cells, self.country)
    }

    fn of_object(&self, line: u64, object: &Variables<'_>) -> Result<Row, Fault> {
        objects::row(line, object, self.named.as_deref(), self.country)
    }

    fn line(row: &Row) -> u64 {
        row.line
    }

    fn bytes(row: &Row) -> usize {
        row.variables.len()
    }
}
