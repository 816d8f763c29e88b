//! A file of recipients: a line with `csv` or `jsonl`, a country's letters and a column's name; the file.

use serde_json::Value;
use wa_outbox::cli::recipients::{LINE, Recipients, Row};
use wa_outbox::cli::rows::{Format, Reader};
use wa_outbox::domain::numbering::Country;

use super::{is_e164, is_storable, line};

type Entry = wa_outbox::cli::rows::Entry<Row>;

pub(crate) fn check(input: &[u8]) {
    let (how, file) = line(input);
    let Ok(how) = std::str::from_utf8(how) else {
        return;
    };
    let mut how = how.split(' ');
    let format = match how.next() {
        Some("jsonl") => Format::Jsonl,
        Some(_) | None => Format::Csv,
    };
    let asked = Asked {
        format,
        country: how.next().and_then(|text| text.parse().ok()),
        column: how.next(),
    };
    a_bad_line_costs_no_other(file, format);
    let Some(entries) = asked.read(file) else {
        return;
    };
    let lines = file.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let mut last = 0;
    for entry in &entries {
        let line = match entry {
            Entry::Row(row) => {
                assert!(is_e164(&row.recipient), "{} was taken", row.recipient);
                is_object_with_line(&row.variables, row.line);
                row.line
            }
            Entry::Fault(fault) => {
                // JSON may have a member without a name.
                assert!(!fault.reason.is_empty());
                fault.line
            }
        };
        assert!(
            line > last && line <= lines,
            "line {line} of {lines} after {last}"
        );
        last = line;
    }
    goes_on_where_it_was(&asked, file, &entries);
}

struct Asked<'a> {
    format: Format,
    country: Option<Country>,
    column: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn open<'f>(&self, file: &'f [u8]) -> Option<Reader<&'f [u8], Recipients>> {
        let mut schema = Recipients::in_column(self.column);
        schema.dialled_in(self.country);
        Reader::new(file, self.format, schema).ok()
    }

    fn read(&self, file: &[u8]) -> Option<Vec<Entry>> {
        self.open(file).map(rest_of)
    }
}

fn rest_of(mut reader: Reader<&[u8], Recipients>) -> Vec<Entry> {
    std::iter::from_fn(|| reader.next_entry().expect("bytes can be read")).collect()
}

fn is_object_with_line(variables: &str, line: u64) {
    assert!(is_storable(variables));
    if let Ok(value) = serde_json::from_str::<Value>(variables) {
        assert_eq!(value[LINE], line, "the line's number was overwritten");
        assert!(!has_nul(&value), "Postgres would refuse the row");
    } else {
        // A number that no float can be is JSON all the same.
        serde_json::from_str::<serde::de::IgnoredAny>(variables).expect("JSON");
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => !is_storable(text),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| !is_storable(key) || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A run that was cut off anywhere is taken up behind its last entry, and sees when the file is another.
fn goes_on_where_it_was(asked: &Asked<'_>, file: &[u8], entries: &[Entry]) {
    let cut = entries.len() / 2;
    let mut first = asked.open(file).expect("it was opened before");
    for _ in 0..cut {
        first.next_entry().expect("bytes can be read");
    }
    let place = first.place();
    let mut second = asked.open(file).expect("it was opened before");
    second.go_to(&place).expect("the file is the same");
    assert_eq!(rest_of(second), entries[cut..]);

    let used: usize = file
        .split_inclusive(|byte| *byte == b'\n')
        .take(place.lines as usize)
        .map(<[u8]>::len)
        .sum();
    if used > 0 {
        let mut other = file.to_vec();
        other[used / 2] ^= 1;
        if let Some(mut reader) = asked.open(&other) {
            assert!(
                reader.go_to(&place).is_err(),
                "another file was taken for this one"
            );
        }
    }
}

fn a_bad_line_costs_no_other(middle: &[u8], format: Format) {
    let (head, good): (&[u8], &[u8]) = match format {
        Format::Csv => (b"phone,name\n", b"\n+16505551234,Ada"),
        Format::Jsonl => (b"", b"\n{\"phone\":\"+16505551234\",\"name\":\"Ada\"}"),
    };
    // The mark of UTF-16 in front makes it a file of which nothing is read.
    let file = [head, middle, good].concat();
    let Ok(reader) = Reader::new(file.as_slice(), format, Recipients::default()) else {
        return;
    };
    let entries = rest_of(reader);
    let Some(Entry::Row(row)) = entries.last() else {
        panic!("the last line is lost: {:?}", entries.last());
    };
    assert_eq!(row.recipient, "+16505551234");
    assert!(
        row.variables.ends_with(r#""name":"Ada"}"#),
        "{}",
        row.variables
    );
}
