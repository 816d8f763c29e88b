//! Files of rows, read one by one and taken into the database: CSV or JSON lines, from a file or from standard input. What a row is
//! says a [`Schema`].
//!
//! A line that cannot be used becomes a [`Fault`] with its number, its field and the reason, and costs no other line: the next
//! one is read as if it stood first. Memory stays flat whatever the file: a line has at most a megabyte, a record at most a
//! hundred lines. What was read so far can be told by a [`Place`] and found again by another run, which sees by the checksum
//! whether the file up to there is still the same.

mod csv;
mod faults_file;
mod jsonl;
mod lines;
mod names;
mod open;
mod progress;
mod reading;
mod run;

use std::io::{self, BufRead};
use std::str::FromStr as _;

use time::OffsetDateTime;

pub(super) use faults_file::FaultsFile;
pub use lines::Place;
pub(super) use names::{list as names_of, shown as name_of, unless_no_header};
pub(super) use open::{Opened, is_stdin, open};
pub(super) use progress::{Progress, bar};
pub(super) use reading::Reading;
pub(super) use run::{CORRECT_IT, Ended, Run, must_have_used_some, parts};

use csv::Csv;
use lines::Lines;

use crate::domain::numbering::Country;
use crate::domain::phone;
use crate::domain::placeholders::Variables;

/// What the rows of a file are.
pub trait Schema: Send + 'static {
    /// A row that can be used.
    type Row: Send + 'static;
    /// The command that says what a file must look like.
    const HELP: &'static str;
    /// What a line of JSON looks like.
    const OBJECT: &'static str;

    /// Takes the names of the columns, each of which is there once.
    ///
    /// # Errors
    /// When they are none that could be used.
    fn take_header(&mut self, names: &[String]) -> Result<(), BadFile>;

    /// Whether anything is done with the cells of the column at this place. Others are not looked at, and come empty: what stands
    /// in them costs no line.
    fn reads(&self, _column: usize) -> bool {
        true
    }

    /// The row of a record that begins in this line, with a cell for each column.
    fn of_cells(&self, line: u64, cells: Vec<String>) -> Result<Self::Row, Fault>;

    /// The row of an object in this line.
    fn of_object(&self, line: u64, object: &Variables<'_>) -> Result<Self::Row, Fault>;

    /// Where a row begins, from 1.
    fn line(row: &Self::Row) -> u64;

    /// About how much memory a row takes.
    fn bytes(row: &Self::Row) -> usize;
}

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
pub enum Entry<T> {
    /// It can be used.
    Row(T),
    /// It cannot.
    Fault(Fault),
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A header row, then a row for each line; `,`, `;` or tabs between the fields
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
    /// By a program that packs files.
    #[error("it is compressed ({by})")]
    Compressed {
        /// How.
        by: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// Another encoding.
    #[error("it is written in UTF-16; save it as UTF-8")]
    Utf16,
    /// Line ends that are none to us: it would be one long line.
    #[error("its lines end in CR alone, as old Macs wrote them")]
    LineEnds,
    /// A first line that names no columns.
    #[error("its first line is no header: {0}")]
    Header(String),
    /// A column that must be there.
    #[error("it has no column {wanted}; it has: {columns}")]
    NoColumn {
        /// How it may be called.
        wanted: String,
        /// What there is.
        columns: String,
        /// What to do.
        fix: &'static str,
    },
    /// A column that means nothing.
    #[error("it has a column {name}, which is none of a message's")]
    StrangeColumn {
        /// How it is called.
        name: String,
        /// What to do.
        fix: String,
    },
    /// Another file than an earlier run has read.
    #[error(
        "it is not the file that was begun: something in its first {0} lines has changed since"
    )]
    Changed(u64),
}

/// A file of rows.
pub struct Reader<R, S> {
    lines: Lines<R>,
    rows: Rows,
    schema: S,
}

enum Rows {
    Csv(Csv),
    Jsonl,
}

impl<R: BufRead, S: Schema> Reader<R, S> {
    /// Begins to read.
    ///
    /// # Errors
    /// When it cannot be read, or has no header that could be used.
    pub fn new(source: R, format: Format, mut schema: S) -> Result<Self, BadFile> {
        let mut lines = Lines::new(source)?;
        let rows = match format {
            Format::Csv => {
                let csv = Csv::with_header(&mut lines)?;
                schema.take_header(csv.names())?;
                Rows::Csv(csv)
            }
            Format::Jsonl => Rows::Jsonl,
        };
        Ok(Self {
            lines,
            rows,
            schema,
        })
    }

    /// What its rows are.
    pub fn schema(&self) -> &S {
        &self.schema
    }

    /// The same, to be told more.
    pub fn schema_mut(&mut self) -> &mut S {
        &mut self.schema
    }

    /// The names of its columns; none where each row has its own.
    pub fn columns(&self) -> Option<&[String]> {
        match &self.rows {
            Rows::Csv(csv) => Some(csv.names()),
            Rows::Jsonl => None,
        }
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

    /// The next row or fault; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read on.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry<S::Row>>> {
        let schema = &self.schema;
        match &self.rows {
            Rows::Csv(csv) => csv.next(&mut self.lines, schema),
            Rows::Jsonl => jsonl::next(&mut self.lines, schema),
        }
    }
}

impl Fault {
    pub(super) fn new(line: u64, field: &str, reason: impl Into<String>) -> Self {
        Self {
            line,
            field: name_of(field).into_owned(),
            reason: reason.into(),
        }
    }
}

impl<T> From<Fault> for Entry<T> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<T> From<Result<T, Fault>> for Entry<T> {
    fn from(row: Result<T, Fault>) -> Self {
        row.map_or_else(Self::Fault, Self::Row)
    }
}

/// The names that the recipient's column may have where none is given.
pub(super) const RECIPIENTS: [&str; 2] = ["recipient", "phone"];

/// The recipient in a field of that name.
pub(super) fn recipient(
    text: &str,
    country: Option<Country>,
    line: u64,
    field: &str,
) -> Result<String, Fault> {
    phone::normalised(text, country).map_err(|error| Fault::new(line, field, error.to_string()))
}

/// A time with its offset, as RFC 3339 or Postgres writes it.
pub(super) fn moment(text: &str) -> Option<OffsetDateTime> {
    let at = jiff::Timestamp::from_str(text).ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(at.as_nanosecond()).ok()
}

/// How such a time is written.
pub(super) const TIME: &str = "write a time with its offset, such as 2026-03-01T12:00:00Z";

/// A JSON text that is a cell of that column, or why it is none.
pub(super) fn json(cell: &str, line: u64, field: &str) -> Result<(), Fault> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(cell) {
        let column = error.column();
        let reason = format!("it is not valid JSON at its character {column}; a text needs quotes");
        return Err(Fault::new(line, field, reason));
    }
    match cannot_be_kept(cell) {
        true => Err(Fault::new(line, field, NUL)),
        false => Ok(()),
    }
}

/// Whether a JSON text has a NUL in one of its strings, which Postgres cannot keep, or half a surrogate pair.
pub(super) fn cannot_be_kept(json: &str) -> bool {
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

pub(super) const NUL: &str =
    "it has a NUL (\\u0000) or half a surrogate pair, which cannot be kept or sent; take it out";
pub(super) const TWICE: &str = "it stands twice; leave one of them out";
const NO_UTF8: &str = "it is not UTF-8; save the file as UTF-8";
const TOO_LONG: &str = "it is longer than a megabyte";
