//! Files of recipients, read row by row: CSV or JSON lines, from a file or from standard input.
//!
//! A line that cannot be used becomes a [`Fault`] with its number, its field and the reason, and costs no other line: the next
//! one is read as if it stood first. Memory stays flat whatever the file: a line has at most a megabyte, a record at most a
//! hundred lines. What was read so far can be told by a [`Place`] and found again by another run, which sees by the checksum
//! whether the file up to there is still the same.

mod csv;
mod jsonl;
mod lines;
mod open;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead};

pub use lines::Place;
pub(super) use open::{Opened, is_stdin, open};

use csv::Csv;
use lines::Lines;

use crate::domain::numbering::Country;
use crate::domain::phone;

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

/// A line that cannot be used. Its reason shows no value: it may be personal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it begins, from 1.
    pub line: u64,
    /// Which of its fields; `line` for all of it.
    pub field: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// What a line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// It can be used.
    Row(Row),
    /// It cannot.
    Fault(Fault),
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A header row, then a row for each recipient; `,`, `;` or tabs between the fields
    Csv,
    /// A JSON object in each line
    Jsonl,
}

/// A file of which nothing can be used.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// By the system.
    #[error("it could not be read")]
    Read(#[from] io::Error),
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Another encoding.
    #[error("it is written in UTF-16; save it as UTF-8")]
    Utf16,
    /// A first line that names no columns.
    #[error("its first line is no header: {0}")]
    Header(String),
    /// No column for the number.
    #[error("it has no column {wanted}; it has: {columns}")]
    NoRecipient {
        /// How it may be called.
        wanted: String,
        /// What there is.
        columns: String,
    },
    /// Another file than an earlier run has read.
    #[error(
        "it is not the file that was begun: something in its first {0} lines has changed since"
    )]
    Changed(u64),
}

/// A file of recipients.
pub struct Reader<R> {
    lines: Lines<R>,
    rows: Rows,
    country: Option<Country>,
}

enum Rows {
    Csv(Csv),
    Jsonl { recipient: Option<String> },
}

impl<R: BufRead> Reader<R> {
    /// Begins to read. `recipient` names the column with the number [default: `recipient` or `phone`].
    ///
    /// # Errors
    /// When it cannot be read, or has no header that could be used.
    pub fn new(source: R, format: Format, recipient: Option<&str>) -> Result<Self, BadFile> {
        let mut lines = Lines::new(source)?;
        let rows = match format {
            Format::Csv => Rows::Csv(Csv::with_header(&mut lines, recipient)?),
            Format::Jsonl => Rows::Jsonl {
                recipient: recipient.map(str::to_owned),
            },
        };
        Ok(Self {
            lines,
            rows,
            country: None,
        })
    }

    /// Numbers without + are read as they are dialled in this country; in none, they are faults.
    pub fn dialled_in(&mut self, country: Option<Country>) {
        self.country = country;
    }

    /// Goes on where an earlier run has come to.
    ///
    /// # Errors
    /// When it cannot be read, or is another file up to there.
    pub fn go_to(&mut self, place: &Place) -> Result<(), BadFile> {
        if self.lines.go_to(place)? {
            Ok(())
        } else {
            Err(BadFile::Changed(place.lines))
        }
    }

    /// Where it stands: behind the last entry.
    pub fn place(&self) -> Place {
        self.lines.place()
    }

    /// The variables that every row has; none where each row has its own.
    pub fn columns(&self) -> Option<Vec<&str>> {
        match &self.rows {
            Rows::Csv(csv) => Some(csv.variables().collect()),
            Rows::Jsonl { .. } => None,
        }
    }

    /// The next row or fault; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read on.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        match &mut self.rows {
            Rows::Csv(csv) => csv.next(&mut self.lines, self.country),
            Rows::Jsonl { recipient } => {
                jsonl::next(&mut self.lines, recipient.as_deref(), self.country)
            }
        }
    }
}

impl Fault {
    fn new(line: u64, field: &str, reason: impl Into<String>) -> Self {
        Self {
            line,
            field: field.to_owned(),
            reason: reason.into(),
        }
    }
}

impl From<Fault> for Entry {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Result<Row, Fault>> for Entry {
    fn from(row: Result<Row, Fault>) -> Self {
        row.map_or_else(Self::Fault, Self::Row)
    }
}

/// The recipient in a field of that name.
fn recipient(
    text: &str,
    country: Option<Country>,
    line: u64,
    field: &str,
) -> Result<String, Fault> {
    phone::normalised(text, country).map_err(|error| Fault::new(line, field, error.to_string()))
}

/// Whether a JSON text has a NUL in one of its strings, which Postgres cannot keep, or half a surrogate pair.
fn cannot_be_kept(json: &str) -> bool {
    json.contains("\\u")
        && serde_json::from_str::<serde_json::Value>(json).map_or(true, |value| has_nul(&value))
}

fn has_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(list) => list.iter().any(has_nul),
        serde_json::Value::Object(members) => members
            .iter()
            .any(|(key, value)| key.contains('\0') || has_nul(value)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            false
        }
    }
}

const NUL: &str =
    "it has a NUL (\\u0000) or half a surrogate pair, which cannot be kept or sent; take it out";
const TOO_LONG: &str = "it is longer than a megabyte";
