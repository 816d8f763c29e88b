use serde_json::{Value, json};

use super::*;
use crate::cli::rows::{Format, Reader};

type Entry = crate::cli::rows::Entry<Row>;

fn reader(text: &[u8], format: Format) -> Reader<&[u8], Recipients> {
    Reader::new(text, format, Recipients::default()).expect("has a usable beginning")
}

fn entries(text: &[u8], format: Format) -> Vec<Entry> {
    let mut reader = reader(text, format);
    std::iter::from_fn(|| reader.next_entry().expect("can be read")).collect()
}

fn csv(text: &str) -> Vec<Entry> {
    entries(text.as_bytes(), Format::Csv)
}

/// A row, as line, recipient and variables.
fn row(entry: &Entry) -> (u64, &str, Value) {
    match entry {
        Entry::Row(row) => (
            row.line,
            &row.recipient,
            serde_json::from_str(&row.variables).expect("is JSON"),
        ),
        Entry::Fault(fault) => panic!("{fault:?}"),
    }
}

/// A fault, as line and field.
fn fault(entry: &Entry) -> (u64, &str) {
    match entry {
        Entry::Fault(fault) => (fault.line, &fault.field),
        Entry::Row(row) => panic!("{row:?}"),
    }
}

const ADA: &str = "+16505551234";
const BOB: &str = "+4915112345678";

#[test]
fn a_row_has_the_recipient_and_every_other_column_as_a_variable() {
    let rows =
        csv("name,Phone,code\nAda,+1 (650) 555-1234,007\n\"O\"\"Hara, Bob\",+4915112345678,\n");
    assert_eq!(
        row(&rows[0]),
        (2, ADA, json!({"_line": 2, "name": "Ada", "code": "007"}))
    );
    let bob = json!({"_line": 3, "name": "O\"Hara, Bob", "code": ""});
    assert_eq!(row(&rows[1]), (3, BOB, bob));
    assert_eq!(rows.len(), 2);
}

#[test]
fn what_spreadsheets_write_is_read() {
    let excel =
        b"\xef\xbb\xbfphone;name\r\n+16505551234;\"two\r\nlines\"\r\n\r\n+4915112345678;\"\"\r\n";
    let rows = entries(excel, Format::Csv);
    assert_eq!(
        row(&rows[0]),
        (2, ADA, json!({"_line": 2, "name": "two\r\nlines"}))
    );
    assert_eq!(row(&rows[1]), (5, BOB, json!({"_line": 5, "name": ""})));
    let tabs = csv("recipient\tname, first\n+16505551234\tAda");
    assert_eq!(
        row(&tabs[0]),
        (2, ADA, json!({"_line": 2, "name, first": "Ada"}))
    );
}

#[test]
fn a_column_of_json_keeps_its_type() {
    let rows = csv(
        "phone,price:json,n:json,text\n+16505551234,\"{\"\"amount\"\":9.50}\",,\" 1 \"\n+16505551234,{,1,\n",
    );
    let Entry::Row(first) = &rows[0] else {
        panic!("{rows:?}")
    };
    assert_eq!(
        first.variables,
        r#"{"_line":2,"price":{"amount":9.50},"text":" 1 "}"#
    );
    assert_eq!(fault(&rows[1]), (3, "price"));
}

#[test]
fn a_bad_line_is_told_with_its_field_and_costs_no_other() {
    let text = b"phone,name\n\
        +16505551234,ok\n\
        16505551234,no plus\n\
        ,missing\n\
        4.9E+12,rounded\n\
        +1650555CALL,letters\n\
        +123,short\n\
        +16505551234,one,too many\n\
        +16505551234\n\
        +16505551234,\"behind\" it\n\
        +16505551234,bad \xff\n\
        +16505551234,nul \x00\n\
        +16505551234,\"open\n\
        +4915112345678,last\n";
    let entries = entries(text, Format::Csv);
    assert_eq!(row(&entries[0]).0, 2);
    let faults: Vec<_> = entries[1..12].iter().map(fault).collect();
    let phone = |line| (line, "phone");
    let expected = [
        phone(3),
        phone(4),
        phone(5),
        phone(6),
        phone(7),
        (8, "line"),
        (9, "line"),
        (10, "line"),
        (11, "name"),
        (12, "name"),
        (13, "line"),
    ];
    assert_eq!(faults, expected);
    let Entry::Fault(behind) = &entries[8] else {
        panic!("{entries:?}")
    };
    assert!(
        behind.reason.starts_with("something stands behind"),
        "{behind:?}"
    );
    assert_eq!(
        row(&entries[12]),
        (14, BOB, json!({"_line": 14, "name": "last"}))
    );
    assert_eq!(entries.len(), 13);
}

#[test]
fn a_quote_that_is_not_closed_swallows_no_line() {
    // The second stray quote closes the first one's field: taken as one record, three lines would be lost.
    let rows = csv(
        "phone,name\n+16505551234,\"stray\n+16505551234,a\n+4915112345678,\"b\n+16505551234,c\n",
    );
    assert_eq!(fault(&rows[0]), (2, "line"));
    assert_eq!(row(&rows[1]).0, 3);
    assert_eq!(fault(&rows[2]), (4, "line"));
    assert_eq!(row(&rows[3]).0, 5);
    let many = "+16505551234,\"x\n".repeat(300);
    let rows = csv(&format!("phone,name\n{many}+4915112345678,end"));
    assert_eq!(rows.len(), 301);
    assert_eq!(row(&rows[300]).0, 302);
}

#[test]
fn a_line_of_megabytes_is_a_fault_and_is_not_kept() {
    let long = "x".repeat(3 << 20);
    let rows = csv(&format!(
        "phone,name\n+16505551234,{long}\n+4915112345678,b\n"
    ));
    assert_eq!(fault(&rows[0]), (2, "line"));
    assert_eq!(row(&rows[1]).0, 3);
    let rows = csv(&format!(
        "phone,name\n+16505551234,\"a\n{long}\n+4915112345678,b\n"
    ));
    let lines: Vec<_> = rows[..2].iter().map(|entry| fault(entry).0).collect();
    assert_eq!(lines, [2, 3]);
    assert_eq!(row(&rows[2]).0, 4);
}

#[test]
fn json_lines_have_their_variables_inside_or_beside() {
    let rows = entries(
        br#"{"recipient":"+16505551234","variables":{"name":"Ada","price":{"amount":9.50}}}

{"phone":"+49 151 12345678","name":"\"B\"","n":1e5}
{"recipient":"+16505551234","phone":"x","variables":"text"}
{"recipient":"+16505551234"}"#,
        Format::Jsonl,
    );
    let Entry::Row(first) = &rows[0] else {
        panic!("{rows:?}")
    };
    assert_eq!(
        first.variables,
        r#"{"_line":1,"name":"Ada","price":{"amount":9.50}}"#
    );
    let Entry::Row(second) = &rows[1] else {
        panic!("{rows:?}")
    };
    assert_eq!((second.line, second.recipient.as_str()), (3, BOB));
    assert_eq!(second.variables, r#"{"_line":3,"name":"\"B\"","n":1e5}"#);
    assert_eq!(
        row(&rows[2]).2,
        json!({"_line": 4, "phone": "x", "variables": "text"})
    );
    assert_eq!(row(&rows[3]).2, json!({"_line": 5}));
}

#[test]
fn a_bad_json_line_is_told_with_its_field_and_costs_no_other() {
    let rows = entries(
        br#"{"recipient":"+16505551234"
[1]
{"name":"Ada"}
{"recipient":16505551234}
{"recipient":"16505551234"}
{"recipient":"+16505551234","variables":{},"name":"lost"}
{"recipient":"+16505551234","a":"\u0000"}
{"recipient":"+16505551234","_line":7}
{"recipient":"+16505551234","variables":{"a":"\ud83d"}}
{"recipient":"+16505551234"}"#,
        Format::Jsonl,
    );
    let faults: Vec<_> = rows[..9].iter().map(fault).collect();
    let expected = [
        (1, "line"),
        (2, "line"),
        (3, "recipient"),
        (4, "recipient"),
        (5, "recipient"),
        (6, "name"),
        (7, "a"),
        (8, "_line"),
        (9, "line"),
    ];
    assert_eq!(faults[..8], expected[..8]);
    assert_eq!(faults[8].0, 9);
    assert_eq!(row(&rows[9]).0, 10);
}

#[test]
fn a_file_without_a_usable_header_is_refused_as_a_whole() {
    let refusal = |text: &[u8]| {
        let refused = Reader::new(text, Format::Csv, Recipients::default()).map(drop);
        refused.expect_err("no header").to_string()
    };
    for (text, words) in [
        (&b""[..], "it is empty"),
        (b"\n\n", "it is empty"),
        (
            b"\xff\xfep\0h\0",
            "it is written in UTF-16; save it as UTF-8",
        ),
        (
            b"name,code\n",
            "it has no column recipient or phone; it has: name, code",
        ),
        (
            b"phone,,x\n",
            "its first line is no header: column 2 has no name",
        ),
        (
            b"phone,na\0me\n",
            "its first line is no header: the name of column 2 has a NUL (\\u0000)",
        ),
        (
            b"phone,_line:json\n",
            "its first line is no header: _line is kept for the line's number",
        ),
        (
            b"phone,x,x:json\n",
            "its first line is no header: \"x\" stands twice",
        ),
        (
            b"phone,x,x\n",
            "its first line is no header: \"x\" stands twice",
        ),
        (
            b"+16505551234,Ada\n",
            "its first line is no header: column 1 looks like a phone number",
        ),
    ] {
        assert_eq!(refusal(text), words);
    }
    let named = Reader::new(
        &b"phone,mobile\na,+16505551234\n"[..],
        Format::Csv,
        Recipients::in_column(Some("mobile")),
    );
    let mut named = named.expect("has the column");
    let first = named.next_entry().expect("can be read").expect("is there");
    assert_eq!(row(&first), (2, ADA, json!({"_line": 2, "phone": "a"})));
}

#[test]
fn a_first_line_that_is_no_header_shows_nobodys_number_and_no_long_name() {
    let refusal = |text: &[u8]| {
        let refused = Reader::new(text, Format::Csv, Recipients::default()).map(drop);
        refused.expect_err("no header").to_string()
    };
    assert_eq!(
        refusal(b"4915112345678,Hallo Welt\n"),
        "its first line is no header: column 1 looks like a phone number"
    );
    assert_eq!(
        refusal(b"0151 / 1234,Hallo Welt\n"),
        "it has no column recipient or phone; it has: (a number), Hallo Welt"
    );
    let long = "x".repeat(50);
    assert_eq!(
        refusal(format!("name,{long}\n").as_bytes()),
        format!(
            "it has no column recipient or phone; it has: name, {}…",
            "x".repeat(40)
        )
    );
    assert_eq!(
        refusal(format!("{long},{long}\n").as_bytes()),
        format!(
            "its first line is no header: \"{}…\" stands twice",
            "x".repeat(40)
        )
    );
    let many: Vec<String> = (0..30).map(|n| format!("c{n}")).collect();
    assert!(refusal(many.join(",").as_bytes()).ends_with("c18, c19 and 10 more"));
    let rows = csv(&format!("phone,{long}:json\n{ADA},{{\n"));
    assert_eq!(
        fault(&rows[0]),
        (2, format!("{}…", "x".repeat(40)).as_str())
    );
}

#[test]
fn a_header_of_megabytes_and_one_that_has_swallowed_the_file_are_refused() {
    let refusal = |text: &str| {
        let refused = Reader::new(text.as_bytes(), Format::Csv, Recipients::default()).map(drop);
        refused.expect_err("no header")
    };
    let long = refusal(&format!("phone,{}\n{ADA},a\n", "x".repeat(2 << 20)));
    assert_eq!(
        long.to_string(),
        "its first line is no header: it is longer than a megabyte"
    );
    for rows in [1, 100_000] {
        let old = refusal(&format!(
            "phone,name\r{}",
            "+16505551234,Ada\r".repeat(rows)
        ));
        assert!(matches!(old, BadFile::LineEnds), "{old:?}");
    }
    let entries = entries(
        b"{\"phone\":\"+16505551234\"}\r{\"phone\":\"+16505551234\"}\r",
        Format::Jsonl,
    );
    let Entry::Fault(fault) = &entries[0] else {
        panic!("{entries:?}")
    };
    assert!(fault.reason.starts_with("its lines end in CR alone"));
    // As Excel writes a name in two lines.
    let rows = csv("phone,\"first\rname\"\r\n+16505551234,Ada\r\n");
    assert_eq!(
        row(&rows[0]),
        (2, ADA, json!({"_line": 2, "first\rname": "Ada"}))
    );
}

#[test]
fn a_last_line_that_gets_its_line_break_later_is_still_the_same() {
    for end in ["\n", "\r\n"] {
        let text = format!("phone,name{end}{ADA},a{end}{ADA},b");
        let mut first = reader(text.as_bytes(), Format::Csv);
        while first.next_entry().expect("can be read").is_some() {}
        let place = first.place();
        let longer = format!("{text}{end}{BOB},c{end}");
        let mut second = reader(longer.as_bytes(), Format::Csv);
        second.go_to(&place).expect("is the same file");
        let entry = second.next_entry().expect("can be read").expect("is there");
        assert_eq!(row(&entry).0, 4);
        // Two who have read it to here say the same of it, however often they stopped.
        let mut once = reader(longer.as_bytes(), Format::Csv);
        while once.next_entry().expect("can be read").is_some() {}
        assert_eq!(once.place(), second.place());
        let other = format!("{text}c{end}{BOB},c{end}");
        let refused = reader(other.as_bytes(), Format::Csv).go_to(&place);
        assert!(matches!(refused, Err(BadFile::Changed(3))), "{refused:?}");
    }
}

#[test]
fn another_run_goes_on_where_the_first_has_come_to() {
    let text = b"\xef\xbb\xbfphone,name\n+16505551234,\"a\nb\"\n\nbad\n+4915112345678,c\n";
    let mut first = reader(text, Format::Csv);
    let mut read = Vec::new();
    for _ in 0..2 {
        read.push(first.next_entry().expect("can be read").expect("is there"));
        let mut second = reader(text, Format::Csv);
        second.go_to(&first.place()).expect("is the same file");
        let rest: Vec<_> =
            std::iter::from_fn(|| second.next_entry().expect("can be read")).collect();
        let all: Vec<_> = read
            .iter()
            .chain(&rest)
            .map(|entry| format!("{entry:?}"))
            .collect();
        let once: Vec<_> = entries(text, Format::Csv)
            .iter()
            .map(|e| format!("{e:?}"))
            .collect();
        assert_eq!(all, once);
    }
    let place = first.place();
    assert_eq!(place.lines, 5);
    let mut changed = text.to_vec();
    changed[20] = b'9';
    for other in [&changed[..], &text[..30]] {
        let refused = reader(other, Format::Csv)
            .go_to(&place)
            .expect_err("is another");
        assert!(matches!(refused, BadFile::Changed(5)), "{refused:?}");
    }
}

#[test]
fn an_object_says_each_thing_once() {
    for line in [
        r#"{"phone":"+16505551234","name":"Ada","name":"Bo"}"#,
        r#"{"phone":"+16505551234","variables":{"name":"Ada","name":"Bo"}}"#,
    ] {
        let rows = entries(line.as_bytes(), Format::Jsonl);
        let [Entry::Fault(fault)] = &rows[..] else {
            panic!("{rows:?}");
        };
        assert_eq!(fault.field, "name");
        assert_eq!(fault.reason, "it stands twice; leave one of them out");
    }
}

#[test]
fn what_a_program_has_packed_is_no_file_of_rows() {
    for (begins, by) in [
        (&b"\x1f\x8b\x08\0"[..], "gzip"),
        (b"PK\x03\x04\x14", "zip"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
    ] {
        for format in [Format::Csv, Format::Jsonl] {
            let opened = Reader::new(begins, format, Recipients::default());
            let refused = opened.map(drop).expect_err("is packed").to_string();
            assert_eq!(refused, format!("it is compressed ({by})"));
        }
    }
}

#[test]
fn no_bytes_make_the_reading_fall_over_and_every_line_is_used_up() {
    const PIECES: [&[u8]; 14] = [
        b"\"",
        b"\"\"",
        b",",
        b"\n",
        b"\r\n",
        b"+16505551234",
        b"x",
        b"{",
        b"}",
        b"\xff",
        b"\\",
        b":",
        b"\"phone\"",
        b"\0",
    ];
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..5_000 {
        let mut text = b"phone,a\n".to_vec();
        for _ in 0..random.usize(..40) {
            text.extend_from_slice(PIECES[random.usize(..PIECES.len())]);
        }
        let lines = text.split_inclusive(|byte| *byte == b'\n').count() as u64;
        for format in [Format::Csv, Format::Jsonl] {
            let mut reader = reader(&text, format);
            let mut last = 0;
            while let Some(entry) = reader.next_entry().expect("can be read") {
                let line = match &entry {
                    Entry::Row(row) => row.line,
                    Entry::Fault(fault) => fault.line,
                };
                assert!(line > last, "{}", String::from_utf8_lossy(&text));
                last = line;
            }
            assert_eq!(reader.place().lines, lines);
        }
    }
}
