//! Comma-separated values (RFC 4180), as spreadsheets write them.
//!
//! Written out here because of what a broken line may cost. A quote that is never closed would swallow all lines up to the next
//! quote, and a forgiving reader takes them for one long name. So a record that goes over several lines and does not fit is a
//! fault of its first line only, and the others are read again for themselves.

use std::io::{self, BufRead};

use super::lines::{Line, Lines};
use super::{BadFile, Entry, Fault, LINE, NUL, Row, cannot_be_kept, recipient};
use crate::domain::numbering::Country;

/// A record has lines at most. A text of WhatsApp's has 4,096 characters.
const LINES_A_RECORD: usize = 100;

/// A file's header, by which its rows are read.
pub(super) struct Csv {
    delimiter: u8,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    kind: Kind,
    /// `"name":`, as it is written into the variables.
    key: String,
}

enum Kind {
    Recipient,
    Text,
    /// Its cells are JSON; an empty one leaves the variable out.
    Json,
}

/// What a column's name ends in whose cells are JSON.
const JSON: &str = ":json";

/// The names that a recipient's column may have where none is given.
const RECIPIENTS: [&str; 2] = ["recipient", "phone"];

impl Csv {
    pub(super) fn with_header<R: BufRead>(
        lines: &mut Lines<R>,
        recipient: Option<&str>,
    ) -> Result<Self, BadFile> {
        let first = loop {
            let line = lines.next()?.ok_or(BadFile::Empty)?;
            lines.used(&line);
            if !line.is_blank() {
                break line;
            }
        };
        let delimiter = delimiter(&first.bytes);
        let cells = split(&first.bytes, delimiter)
            .map_err(|broken| BadFile::Header(broken.reason().to_owned()))?;
        let names = cells
            .into_iter()
            .map(|cell| String::from_utf8(cell).map(|name| name.trim().to_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| BadFile::Header("it is not UTF-8; save the file as UTF-8".into()))?;
        Self::new(delimiter, names, recipient)
    }

    fn new(delimiter: u8, names: Vec<String>, wanted: Option<&str>) -> Result<Self, BadFile> {
        let place = |wanted: &str| names.iter().position(|name| name.to_lowercase() == wanted);
        let recipient = match wanted {
            Some(wanted) => names.iter().position(|name| name == wanted),
            None => RECIPIENTS.into_iter().find_map(place),
        };
        let column = |(index, name): (usize, &String)| Column::new(name, Some(index) == recipient);
        let columns: Vec<Column> = names.iter().enumerate().map(column).collect();
        for (index, Column { name, .. }) in columns.iter().enumerate() {
            let number = index + 1;
            let wrong = match name.as_str() {
                "" => Some(format!("column {number} has no name")),
                LINE => Some(format!("{LINE} is kept for the line's number")),
                name if name.contains('\0') => {
                    Some(format!("the name of column {number} has a NUL (\\u0000)"))
                }
                name if columns[..index].iter().any(|other| other.name == name) => {
                    Some(format!("{name:?} stands twice"))
                }
                name if name.starts_with('+') && name.len() > 6 => {
                    // Not shown: it is most likely a number.
                    Some(format!("column {number} looks like a phone number"))
                }
                _ => None,
            };
            if let Some(wrong) = wrong {
                return Err(BadFile::Header(wrong));
            }
        }
        if recipient.is_none() {
            return Err(BadFile::NoRecipient {
                wanted: wanted.map_or_else(|| RECIPIENTS.join(" or "), str::to_owned),
                columns: names.join(", "),
            });
        }
        Ok(Self { delimiter, columns })
    }

    /// The variables that its rows have.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let others = self
            .columns
            .iter()
            .filter(|column| !matches!(column.kind, Kind::Recipient));
        others.map(|column| column.name.as_str())
    }

    pub(super) fn next<R: BufRead>(
        &self,
        lines: &mut Lines<R>,
        country: Option<Country>,
    ) -> io::Result<Option<Entry>> {
        let first = loop {
            let Some(line) = lines.next()? else {
                return Ok(None);
            };
            if !line.is_blank() {
                break line;
            }
            lines.used(&line);
        };
        let number = first.number;
        if first.too_long {
            lines.used(&first);
            return Ok(Some(Fault::new(number, "line", super::TOO_LONG).into()));
        }
        let mut taken = vec![first];
        let row = loop {
            let row = self.record(&taken);
            let is_open = matches!(row, Err(Broken::Open));
            if !is_open || taken.len() == LINES_A_RECORD {
                break row;
            }
            match lines.next()? {
                Some(line) if line.too_long => {
                    lines.hand_back(std::iter::once(line));
                    break row;
                }
                Some(line) => taken.push(line),
                None => break row,
            }
        };
        let row = row
            .map_err(|broken| Fault::new(number, "line", broken.reason()))
            .and_then(|cells| self.row(number, cells, country));
        if row.is_err() {
            lines.hand_back(taken.drain(1..));
        }
        for line in &taken {
            lines.used(line);
        }
        Ok(Some(row.into()))
    }

    fn record(&self, lines: &[Line]) -> Result<Vec<Vec<u8>>, Broken> {
        if let [line] = lines {
            return split(&line.bytes, self.delimiter);
        }
        // Only where its end can be: joining all for each line would take as long as the square of them.
        if lines.last().is_some_and(|line| !line.bytes.contains(&b'"'))
            && lines.len() < LINES_A_RECORD
        {
            return Err(Broken::Open);
        }
        let all: Vec<u8> = lines
            .iter()
            .flat_map(|line| line.bytes.iter().copied())
            .collect();
        split(&all, self.delimiter)
    }

    fn row(&self, line: u64, cells: Vec<Vec<u8>>, country: Option<Country>) -> Result<Row, Fault> {
        let (found, expected) = (cells.len(), self.columns.len());
        if found != expected {
            let reason = format!(
                "it has {found} fields and the header {expected}; put quotes around a text that holds the separator"
            );
            return Err(Fault::new(line, "line", reason));
        }
        let mut number = String::new();
        let mut variables = format!("{{\"{LINE}\":{line}");
        for (column, cell) in self.columns.iter().zip(cells) {
            let cell = String::from_utf8(cell).map_err(|_| {
                Fault::new(
                    line,
                    &column.name,
                    "it is not UTF-8; save the file as UTF-8",
                )
            })?;
            match column.kind {
                Kind::Recipient => number = recipient(&cell, country, line, &column.name)?,
                Kind::Text if cell.contains('\0') => {
                    return Err(Fault::new(line, &column.name, NUL));
                }
                Kind::Text => {
                    variables.push(',');
                    variables.push_str(&column.key);
                    variables.push_str(&quoted(&cell));
                }
                Kind::Json => column.json(&cell, line, &mut variables)?,
            }
        }
        variables.push('}');
        Ok(Row {
            line,
            recipient: number,
            variables,
        })
    }
}

impl Column {
    fn new(name: &str, is_recipient: bool) -> Self {
        let (name, kind) = match name.strip_suffix(JSON).map(str::trim_end) {
            _ if is_recipient => (name, Kind::Recipient),
            Some(before) if !before.is_empty() => (before, Kind::Json),
            Some(_) | None => (name, Kind::Text),
        };
        Self {
            key: format!("{}:", quoted(name)),
            name: name.to_owned(),
            kind,
        }
    }

    fn json(&self, cell: &str, line: u64, variables: &mut String) -> Result<(), Fault> {
        let cell = cell.trim();
        if cell.is_empty() {
            return Ok(());
        }
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(cell) {
            let column = error.column();
            let reason =
                format!("it is not valid JSON at its character {column}; a text needs quotes");
            return Err(Fault::new(line, &self.name, reason));
        }
        if cannot_be_kept(cell) {
            return Err(Fault::new(line, &self.name, NUL));
        }
        variables.push(',');
        variables.push_str(&self.key);
        variables.push_str(cell);
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Which of the usual separators stands most often in the header.
fn delimiter(header: &[u8]) -> u8 {
    let count = |separator: &u8| header.iter().filter(|byte| *byte == separator).count();
    // Of equally many the last is taken: a comma may stand in a name, a tab hardly.
    [b',', b';', b'\t']
        .into_iter()
        .max_by_key(count)
        .unwrap_or(b',')
}

/// Why a text is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// It ends inside quotes: its next line may belong to it.
    Open,
    /// Something stands between a closing quote and the separator.
    BehindAQuote,
}

impl Broken {
    fn reason(self) -> &'static str {
        match self {
            Self::Open => "a quote is opened and not closed; write a quote inside a text twice",
            Self::BehindAQuote => {
                "something stands behind a closing quote; write a quote inside a text twice"
            }
        }
    }
}

/// The fields of one record. A quote that does not begin a field stands for itself.
fn split(record: &[u8], delimiter: u8) -> Result<Vec<Vec<u8>>, Broken> {
    let mut rest = without_break(record);
    let mut cells = Vec::new();
    loop {
        let cell;
        (cell, rest) = match rest.strip_prefix(b"\"") {
            // Inside quotes a line break belongs to the field, so what was taken off is looked at again.
            Some(inside) => unquoted(inside)?,
            None => {
                let end = rest.iter().position(|byte| *byte == delimiter);
                let (cell, rest) = rest.split_at(end.unwrap_or(rest.len()));
                (cell.to_vec(), rest)
            }
        };
        cells.push(cell);
        match rest.split_first() {
            None => return Ok(cells),
            Some((byte, behind)) if *byte == delimiter => rest = behind,
            Some(_) => return Err(Broken::BehindAQuote),
        }
    }
}

/// The text up to the closing quote, and what stands behind it.
fn unquoted(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), Broken> {
    let mut cell = Vec::new();
    loop {
        let end = rest
            .iter()
            .position(|byte| *byte == b'"')
            .ok_or(Broken::Open)?;
        cell.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"\"") {
            Some(behind) => {
                cell.push(b'"');
                rest = behind;
            }
            None => return Ok((cell, rest)),
        }
    }
}

fn without_break(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}
