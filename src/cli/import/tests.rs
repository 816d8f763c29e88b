use serde_json::{Value, json};
use time::macros::datetime;

use super::columns::Messages;
use super::senders::Senders;
use super::*;
use crate::cli::rows::{Entry, Format, Reader};
use crate::message::{OnUncertain, Recipient, RowContent};
use crate::store::imports::KnownSender;

const ADA: &str = "+16505551234";

fn messages_with(ignored: &[&str], country: Option<&str>) -> Messages {
    let sender = |sender: &str, country: Option<&str>, is_default| KnownSender {
        sender: sender.to_owned(),
        default_country: country.map(str::to_owned),
        is_default,
    };
    let known = vec![
        sender("4711", None, true),
        sender("4712", Some("DE"), false),
    ];
    let country = country.map(|country| country.parse().expect("a country"));
    let ignored = ignored.iter().map(|&name| name.to_owned()).collect();
    let mut messages = Messages::new(ignored, country);
    messages.sent_by(Senders::new(Some(known), None));
    messages
}

fn messages() -> Messages {
    messages_with(&[], None)
}

fn entries_of(text: &str, format: Format, schema: Messages) -> Vec<Entry<Row>> {
    let mut reader = Reader::new(text.as_bytes(), format, schema).expect("a usable beginning");
    std::iter::from_fn(|| reader.next_entry().expect("can be read")).collect()
}

fn csv(text: &str) -> Vec<Entry<Row>> {
    entries_of(text, Format::Csv, messages())
}

fn message(entry: &Entry<Row>) -> &Outgoing {
    match entry {
        Entry::Row(row) => &row.message,
        Entry::Fault(fault) => panic!("{fault:?}"),
    }
}

fn fault(entry: &Entry<Row>) -> &Fault {
    match entry {
        Entry::Fault(fault) => fault,
        Entry::Row(row) => panic!("{row:?}"),
    }
}

fn body(message: &Outgoing) -> Value {
    match &message.content {
        RowContent::Written(payload) => serde_json::from_str(payload).expect("JSON"),
        RowContent::Payload(_) | RowContent::Campaign { .. } => panic!("{message:?}"),
    }
}

#[test]
fn every_column_that_an_application_may_set_is_read() {
    let rows = csv(
        "phone;text;sender;sequence;due_at;expires_at;priority;dedup_key;reference;on_uncertain\n\
         +1 650-555 1234;\"Hello; you\";4712;order-17;2026-03-01T12:00:00Z;2026-03-01 15:00:00+02;0;key;ref;hold\n\
         +16505551234;Hello;;;;;;;;\n",
    );
    let full = message(&rows[0]);
    assert_eq!(full.recipient, Recipient::Phone(ADA.into()));
    assert_eq!(
        body(full),
        json!({"type": "text", "text": {"body": "Hello; you"}})
    );
    assert_eq!(full.sender.as_deref(), Some("4712"));
    assert_eq!(full.sequence.as_deref(), Some("order-17"));
    assert_eq!(full.due_at, Some(datetime!(2026-03-01 12:00 UTC)));
    assert_eq!(full.expires_at, Some(datetime!(2026-03-01 13:00 UTC)));
    assert_eq!(full.priority, Some(0));
    assert_eq!(full.dedup_key.as_deref(), Some("key"));
    assert_eq!(full.reference.as_deref(), Some("ref"));
    assert_eq!(full.on_uncertain, Some(OnUncertain::Hold));
    let bare = message(&rows[1]);
    assert_eq!(bare.sender.as_deref(), Some("4711"), "the default one");
    assert_eq!(
        (bare.priority, bare.due_at, &bare.reference),
        (None, None, &None)
    );
}

#[test]
fn a_payload_is_kept_as_it_is_written() {
    let payload = r#"{"type":"image", "image":{"link":"https://example.com/1.jpg"}}"#;
    let rows = csv(&format!(
        "recipient,payload\n{ADA},\"{}\"\n",
        payload.replace('"', "\"\"")
    ));
    assert_eq!(
        message(&rows[0]).content,
        RowContent::Written(payload.into())
    );
    let line = format!("{{\"recipient\":\"{ADA}\",\"payload\":{payload},\"reference\":17}}\n");
    let rows = entries_of(&line, Format::Jsonl, messages());
    let message = message(&rows[0]);
    assert_eq!(message.content, RowContent::Written(payload.into()));
    assert_eq!(message.reference.as_deref(), Some("17"));
}

#[test]
fn numbers_without_a_plus_are_read_as_their_sender_dials_them() {
    let text = "phone,text,sender\n0151 12345678,a,4712\n0151 12345678,a,4711\n";
    let rows = csv(text);
    let reached = Recipient::Phone("+4915112345678".into());
    assert_eq!(message(&rows[0]).recipient, reached);
    assert_eq!(fault(&rows[1]).field, "phone");
    let rows = entries_of(text, Format::Csv, messages_with(&[], Some("DE")));
    assert_eq!(message(&rows[1]).recipient, reached);
}

#[test]
fn a_number_that_only_the_database_can_read_is_left_to_it_where_the_senders_may_not_be_looked_at() {
    let producers = || {
        let mut schema = messages_with(&[], None);
        schema.sent_by(Senders::new(None, None));
        schema
    };
    let of = |phone: &str| {
        let file = format!("phone,text\n{phone},Hello\n");
        entries_of(&file, Format::Csv, producers())
    };
    let recipient = |phone: &str| message(&of(phone)[0]).recipient.clone();
    assert_eq!(
        recipient("01512 3456789"),
        Recipient::Phone("01512 3456789".to_owned())
    );
    for bad in ["+4915", "nobody"] {
        assert_eq!(fault(&of(bad)[0]).field, "phone", "{bad}");
    }
}

#[test]
fn a_row_of_a_campaign_has_variables_and_other_ids_are_no_numbers() {
    let rows = entries_of(
        r#"{"recipient":"+16505551234","campaign_id":3,"variables":{"name":"Ada"}}
{"recipient":"US.1349","recipient_kind":"user","text":"Hello"}
{"recipient":"1349","recipient_kind":"group","text":"Hello","sender":null}"#,
        Format::Jsonl,
        messages(),
    );
    let RowContent::Campaign { id, variables } = &message(&rows[0]).content else {
        panic!("{rows:?}")
    };
    assert_eq!((*id, &variables["name"]), (3, &json!("Ada")));
    assert_eq!(
        message(&rows[1]).recipient,
        Recipient::User("US.1349".into())
    );
    assert_eq!(message(&rows[2]).recipient, Recipient::Group("1349".into()));
}

#[test]
fn a_bad_line_is_told_with_its_field_its_value_and_what_to_do() {
    let rows = csv(
        "phone,text,payload,sender,due_at,expires_at,priority,on_uncertain\n\
         16505551234,a,,,,,,\n\
         +16505551234,,,,,,,\n\
         +16505551234,a,{},,,,,\n\
         +16505551234,,[1],,,,,\n\
         +16505551234,,{,,,,,\n\
         +16505551234,a,,9999,,,,\n\
         +16505551234,a,,,2026-03-01 12:00,,,\n\
         +16505551234,a,,,2026-03-01T12:00:00Z,2026-03-01T12:00:00Z,,\n\
         +16505551234,a,,,,,10,\n\
         +16505551234,a,,,,,+16505551234,\n\
         +16505551234,a,,,,,,maybe\n",
    );
    let told: Vec<_> = rows
        .iter()
        .map(fault)
        .map(|fault| (fault.line, fault.field.as_str(), fault.reason.as_str()))
        .collect();
    let expected = [
        (2, "phone", "it does not start with +"),
        (3, "payload", "it is missing, and so is text"),
        (4, "text", "payload is given too"),
        (5, "payload", "it is no JSON object"),
        (6, "payload", "it is not valid JSON at its character"),
        (7, "sender", "there is no such sender 9999"),
        (
            8,
            "due_at",
            "it is \"2026-03-01 12:00\"; write a time with its offset",
        ),
        (9, "expires_at", "it is not after due_at"),
        (10, "priority", "it is \"10\"; write 0 (urgent) to 9 (bulk)"),
        (11, "priority", "it cannot be used; write 0"),
        (12, "on_uncertain", "it is \"maybe\"; write retry or hold"),
    ];
    assert_eq!(told.len(), expected.len());
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!((told.0, told.1), (expected.0, expected.1));
        assert!(told.2.starts_with(expected.2), "{told:?}");
    }
    assert!(
        told.iter()
            .all(|(.., reason)| !reason.contains("6505551234"))
    );
}

#[test]
fn a_column_that_is_none_of_a_messages_is_refused_unless_it_is_ignored() {
    let refused = |text: &str, ignored: &[&str]| {
        let schema = messages_with(ignored, None);
        Reader::new(text.as_bytes(), Format::Csv, schema)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        refused("phone,text,dedupkey\n", &[]).expect_err("strange"),
        "it has a column dedupkey, which is none of a message's"
    );
    assert!(refused("phone,text,dedupkey\n", &["dedupkey"]).is_ok());
    assert_eq!(
        refused("phone,reference\n", &[]).expect_err("no content"),
        "it has no column text, payload or campaign_id; it has: phone, reference"
    );
    assert_eq!(
        refused("text\n", &[]).expect_err("no recipient"),
        "it has no column recipient or phone; it has: text"
    );
    assert_eq!(
        refused("phone,text,ref\0\n", &["ref\0"]).expect_err("a NUL"),
        "its first line is no header: the name of column 3 has a NUL (\\u0000)"
    );
    let rows = entries_of(
        "{\"recipient\":\"+16505551234\",\"text\":\"a\",\"dedupkey\":\"k\"}",
        Format::Jsonl,
        messages(),
    );
    let fault = fault(&rows[0]);
    assert_eq!(fault.field, "dedupkey");
    assert!(fault.reason.contains("do you mean dedup_key?"), "{fault:?}");
    let upper = "{\"PHONE\":\"+16505551234\",\"text\":\"a\"}";
    let rows = entries_of(upper, Format::Jsonl, messages());
    let reason = &self::fault(&rows[0]).reason;
    assert!(reason.contains("do you mean phone?"), "{reason}");
}

#[test]
fn a_first_line_that_is_no_header_shows_nobodys_number() {
    let refused = |text: &str| {
        let opened = Reader::new(text.as_bytes(), Format::Csv, messages()).map(drop);
        opened.expect_err("no header").to_string()
    };
    assert_eq!(
        refused("4915112345678,Hallo Welt\n"),
        "its first line is no header: column 1 looks like a phone number"
    );
    assert_eq!(
        refused("phone,text,ref 1234567\n"),
        "it has a column (a number), which is none of a message's"
    );
    let rows = entries_of("{\"+16505551234\":\"Hello\"}", Format::Jsonl, messages());
    let Fault { field, reason, .. } = fault(&rows[0]);
    assert!(
        !format!("{field}{reason}").contains("6505551234"),
        "{reason}"
    );
}

#[test]
fn what_stands_in_an_ignored_column_costs_no_line() {
    let text = b"phone,text,name\n+16505551234,Hello,Zo\xeb\n";
    let read = |schema| {
        let mut reader = Reader::new(&text[..], Format::Csv, schema).expect("a usable beginning");
        reader.next_entry().expect("can be read").expect("is there")
    };
    message(&read(messages_with(&["name"], None)));
}

#[test]
fn two_columns_for_one_thing_are_refused_so_that_nobody_is_written_to_by_chance() {
    let read = |header: &str, ignored: &[&str]| {
        let schema = messages_with(ignored, None);
        let opened = Reader::new(header.as_bytes(), Format::Csv, schema).map(drop);
        opened.map_err(|error| error.to_string())
    };
    assert_eq!(
        read("phone,text,recipient\n", &[]).expect_err("two recipients"),
        "its first line is no header: \"phone\" and \"recipient\" mean the same; leave one of them out: --ignore recipient"
    );
    assert!(read("phone,text,Text\n", &[]).is_err());
    assert!(read("phone,text,recipient\n", &["phone"]).is_ok());
    let line = r#"{"recipient":"+16505551234","phone":"+4915112345678","text":"a"}"#;
    let rows = entries_of(line, Format::Jsonl, messages());
    assert_eq!(fault(&rows[0]).field, "phone");
}

#[test]
fn a_row_without_a_sender_is_a_fault_where_nobody_is_meant() {
    let known = |sender: &str| KnownSender {
        sender: sender.to_owned(),
        default_country: None,
        is_default: false,
    };
    let of =
        |known, usual: Option<&str>| Senders::new(known, usual.map(str::to_owned)).of_row(None, 2);
    let two = || Some(vec![known("1"), known("2")]);
    assert!(of(two(), None).is_err());
    assert!(of(Some(Vec::new()), None).is_err());
    assert!(of(two(), Some("3")).is_err());
    assert_eq!(of(two(), Some("2")), Ok(Some("2".into())));
    assert_eq!(of(Some(vec![known("1")]), None), Ok(Some("1".into())));
    assert_eq!(of(None, None), Ok(None), "the database decides");
}
