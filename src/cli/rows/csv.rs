//! Comma-separated values (RFC 4180), as spreadsheets write them.
//!
//! Written out here because of what a broken line may cost. A quote that is never closed would swallow all lines up to the next
//! quote, and a forgiving reader takes them for one long name. So a record that goes over several lines and does not fit is a
//! fault of its first line only, and the others are read again for themselves.

use std::io::{self, BufRead};

use super::lines::{Line, Lines};
use super::{BadFile, Entry, Fault, NO_UTF8, NUL, Schema, TOO_LONG, name_of};

/// A record has lines at most. A text of WhatsApp's has 4,096 characters.
const LINES_A_RECORD: usize = 100;

/// A file's header, by which its rows are read.
pub(super) struct Csv {
    delimiter: u8,
    names: Vec<String>,
}

impl Csv {
    pub(super) fn with_header<R: BufRead>(lines: &mut Lines<R>) -> Result<Self, BadFile> {
        let first = loop {
            let line = lines.next()?.ok_or(BadFile::Empty)?;
            lines.used(&line);
            if !line.is_blank() {
                break line;
            }
        };
        if has_bare_cr(&first.bytes) {
            return Err(BadFile::LineEnds);
        }
        if first.too_long {
            return Err(BadFile::Header(TOO_LONG.into()));
        }
        let delimiter = delimiter(&first.bytes);
        let cells = split(&first.bytes, delimiter)
            .map_err(|broken| BadFile::Header(broken.reason().to_owned()))?;
        let names = cells
            .into_iter()
            .map(|cell| String::from_utf8(cell).map(|name| name.trim().to_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| BadFile::Header(NO_UTF8.into()))?;
        for (index, name) in names.iter().enumerate() {
            let number = index + 1;
            let wrong = match name.as_str() {
                "" => Some(format!("column {number} has no name")),
                name if name.contains('\0') => {
                    Some(format!("the name of column {number} has a NUL (\\u0000)"))
                }
                name if names[..index].iter().any(|other| other == name) => {
                    Some(format!("{:?} stands twice", name_of(name)))
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
        Ok(Self { delimiter, names })
    }

    /// The names of its columns.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn next<R: BufRead, S: Schema>(
        &self,
        lines: &mut Lines<R>,
        schema: &S,
    ) -> io::Result<Option<Entry<S::Row>>> {
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
            return Ok(Some(Fault::new(number, "line", TOO_LONG).into()));
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
            .and_then(|cells| self.texts(number, cells, schema))
            .and_then(|cells| schema.of_cells(number, cells));
        if row.is_err() {
            lines.hand_back(taken.drain(1..));
        }
        for line in &taken {
            lines.used(line);
        }
        Ok(Some(row.into()))
    }

    /// A text for each column; an empty one where the column is not read.
    fn texts<S: Schema>(
        &self,
        line: u64,
        cells: Vec<Vec<u8>>,
        schema: &S,
    ) -> Result<Vec<String>, Fault> {
        let (found, expected) = (cells.len(), self.names.len());
        if found != expected {
            let reason = format!(
                "it has {found} fields and the header {expected}; put quotes around a text that holds the separator"
            );
            return Err(Fault::new(line, "line", reason));
        }
        let text =
            |(place, (name, cell)): (usize, (&String, Vec<u8>))| match String::from_utf8(cell) {
                _ if !schema.reads(place) => Ok(String::new()),
                Ok(text) if text.contains('\0') => Err(Fault::new(line, name, NUL)),
                Ok(text) => Ok(text),
                Err(_) => Err(Fault::new(line, name, NO_UTF8)),
            };
        self.names.iter().zip(cells).enumerate().map(text).collect()
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

/// Whether a CR stands in it that is no part of its line's end, and not inside quotes.
fn has_bare_cr(header: &[u8]) -> bool {
    let mut is_quoted = false;
    header.trim_ascii_end().iter().any(|byte| {
        is_quoted ^= *byte == b'"';
        *byte == b'\r' && !is_quoted
    })
}

fn without_break(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}
