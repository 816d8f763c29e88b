//! Files of suppressions: a recipient in each row, and beside it what `suppress export` writes of one.
//!
//! A column that is none of these is not looked at, so nothing that stands there keeps anybody from being suppressed.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::cli::recipients::{no_recipient, recipient_column};
use crate::cli::rows::{
    BadFile, Fault, NUL, RECIPIENTS, Schema, TIME, cannot_be_kept, moment, recipient,
};
use crate::cli::text::CATEGORIES;
use crate::domain::id::is_id_of_somebody;
use crate::domain::placeholders::Variables;
use crate::store::imports::KnownSender;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Recipient,
    RecipientKind,
    Sender,
    Category,
    Reason,
    ExpiresAt,
}

impl Column {
    /// Those beside the recipient's, which may have another name.
    const OTHERS: [(Self, &'static str); 5] = [
        (Self::RecipientKind, "recipient_kind"),
        (Self::Sender, "sender"),
        (Self::Category, "category"),
        (Self::Reason, "reason"),
        (Self::ExpiresAt, "expires_at"),
    ];

    fn named(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let found = Self::OTHERS.iter().find(|(_, known)| *known == name);
        found.map(|(column, _)| *column)
    }

    fn name(self) -> &'static str {
        let found = Self::OTHERS.iter().find(|(column, _)| *column == self);
        found.map_or(RECIPIENTS[0], |(_, name)| name)
    }
}

/// What a row of suppressions looks like.
#[derive(Default)]
pub(super) struct Suppressions {
    /// The column or member with the recipient; none: `recipient` or `phone`.
    named: Option<String>,
    /// The senders there are, as far as they may be known.
    senders: Option<BTreeSet<String>>,
    /// What the recipient's column is called.
    recipient: String,
    /// What the columns of a CSV file are; none for one that is not looked at.
    columns: Vec<Option<Column>>,
}

/// A row that can be used. What it does not say is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    line: u64,
    pub(super) recipient: String,
    pub(super) sender: Option<String>,
    pub(super) category: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) expires_at: Option<OffsetDateTime>,
}

/// The cells or members of a row.
#[derive(Default)]
struct Values([Option<String>; 6]);

impl Values {
    fn put(&mut self, column: Column, text: String) {
        self.0[column as usize] = Some(text);
    }

    /// What is empty is not there.
    fn take(&mut self, column: Column) -> Option<String> {
        let text = self.0[column as usize].take();
        text.filter(|text| !text.trim().is_empty())
    }
}

impl Suppressions {
    /// With the recipient in the column of that name; `senders`: those there are, as far as they may be known.
    pub(super) fn new(named: Option<&str>, senders: Option<&[KnownSender]>) -> Self {
        let id = |known: &KnownSender| known.sender.clone();
        Self {
            named: named.map(str::to_owned),
            senders: senders.map(|senders| senders.iter().map(id).collect()),
            ..Self::default()
        }
    }

    fn row(&self, line: u64, field: &str, mut values: Values) -> Result<Row, Fault> {
        let refused = |column: Column, reason: &str| Err(Fault::new(line, column.name(), reason));
        let kind = values.take(Column::RecipientKind);
        let text = values.take(Column::Recipient).unwrap_or_default();
        let id = text.trim();
        let (is_id, may_be_id) = match kind.as_deref().map(str::trim) {
            _ if has_no_letters(id) => (false, false),
            None => (looks_like_an_id(id), false),
            Some("phone") => (false, false),
            Some("user" | "group") => (is_id_of_somebody(id), true),
            Some(_) => {
                let reason = "it is no kind; write phone, user or group, or leave it empty";
                return refused(Column::RecipientKind, reason);
            }
        };
        let recipient = match is_id {
            true => id.to_owned(),
            false if may_be_id && id.is_empty() => {
                return Err(Fault::new(line, field, "it is missing; write the id"));
            }
            false if may_be_id => {
                let reason =
                    "it is no id; write the phone number with its +, or the id as WhatsApp gave it";
                return Err(Fault::new(line, field, reason));
            }
            false => recipient(&text, None, line, field)?,
        };
        let sender = values.take(Column::Sender);
        let sender = sender.map(|sender| sender.trim().to_owned());
        if let (Some(known), Some(sender)) = (&self.senders, &sender)
            && !known.contains(sender)
        {
            let reason = "there is no such sender; see which there are: wa-outbox sender list";
            return refused(Column::Sender, reason);
        }
        let category = values.take(Column::Category);
        let category = category.map(|category| category.trim().to_lowercase());
        if (category.as_deref()).is_some_and(|category| !CATEGORIES.contains(&category)) {
            let reason =
                "it is none; write marketing, utility or authentication, or leave it empty";
            return refused(Column::Category, reason);
        }
        let expires_at = match values.take(Column::ExpiresAt) {
            None => None,
            Some(text) => match moment(text.trim()) {
                None => return refused(Column::ExpiresAt, &format!("it is no time; {TIME}")),
                at => at,
            },
        };
        Ok(Row {
            line,
            recipient,
            sender,
            category,
            reason: values.take(Column::Reason),
            expires_at,
        })
    }
}

/// Every id has a letter: what has none is read as a number, whatever kind stands beside it.
fn has_no_letters(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_alphabetic)
}

/// Whether it is an id as WhatsApp gives them, such as `US.13491208655302741918`, rather than a word or a number with letters.
fn looks_like_an_id(text: &str) -> bool {
    is_id_of_somebody(text)
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.contains(|c: char| c == '.' || c.is_ascii_digit())
}

/// What kind of recipient it is, for the column `recipient_kind` of an export.
pub(super) fn kind_of(recipient: &str) -> &'static str {
    match recipient.starts_with('+') {
        true => "phone",
        false => "user",
    }
}

impl Schema for Suppressions {
    type Row = Row;
    const HELP: &'static str = "wa-outbox suppress import --help";
    const OBJECT: &'static str = "{\"recipient\":\"+…\"}";

    fn take_header(&mut self, names: &[String]) -> Result<(), BadFile> {
        let wanted = self.named.as_deref();
        let Some(recipient) = recipient_column(names, wanted) else {
            return Err(no_recipient(names, wanted));
        };
        self.recipient.clone_from(&names[recipient]);
        for (index, name) in names.iter().enumerate() {
            let column = match index == recipient {
                true => Some(Column::Recipient),
                false => Column::named(name),
            };
            if column.is_some() && self.columns.contains(&column) {
                let wrong = format!("there are two columns for {name:?}; leave one of them out");
                return Err(BadFile::Header(wrong));
            }
            self.columns.push(column);
        }
        Ok(())
    }

    fn reads(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(Option::is_some)
    }

    fn of_cells(&self, line: u64, cells: Vec<String>) -> Result<Row, Fault> {
        let mut values = Values::default();
        for (column, cell) in self.columns.iter().zip(cells) {
            if let Some(column) = column {
                values.put(*column, cell);
            }
        }
        self.row(line, &self.recipient, values)
    }

    fn of_object(&self, line: u64, object: &Variables<'_>) -> Result<Row, Fault> {
        let wanted = self.named.as_ref();
        let named = wanted.map_or(&RECIPIENTS[..], |_| &[]);
        let mut names = wanted
            .map(String::as_str)
            .into_iter()
            .chain(named.iter().copied());
        let field = names.find(|name| object.get(name).is_some());
        let field = field.or(self.named.as_deref()).unwrap_or(RECIPIENTS[0]);
        let mut values = Values::default();
        for (name, raw) in object.iter() {
            let column = match name == field {
                true => Some(Column::Recipient),
                false => Column::named(name),
            };
            let Some(column) = column.filter(|_| raw != "null") else {
                continue;
            };
            if cannot_be_kept(raw) {
                return Err(Fault::new(line, name, NUL));
            }
            let text = serde_json::from_str(raw)
                .map_err(|_| Fault::new(line, name, "it is no string; write it in quotes"))?;
            values.put(column, text);
        }
        self.row(line, field, values)
    }

    fn line(row: &Row) -> u64 {
        row.line
    }

    fn bytes(row: &Row) -> usize {
        row.recipient.len() + row.reason.as_ref().map_or(0, String::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rows::{Entry, Format, Reader};

    fn entries(text: &[u8], format: Format) -> Vec<Entry<Row>> {
        let mut reader =
            Reader::new(text, format, Suppressions::default()).expect("a usable beginning");
        std::iter::from_fn(|| reader.next_entry().expect("can be read")).collect()
    }

    fn recipients(entries: &[Entry<Row>]) -> Vec<Result<&str, &str>> {
        let all = entries.iter().map(|entry| match entry {
            Entry::Row(row) => Ok(row.recipient.as_str()),
            Entry::Fault(fault) => Err(fault.field.as_str()),
        });
        all.collect()
    }

    #[test]
    fn only_what_is_read_of_a_line_can_refuse_it() {
        let rows = entries(
            b"Phone,Name,Category\n+16505551234,Zo\xeb,\n+16505551235,nul \x00,marketing\n+16505551236,Ada,\xff\n",
            Format::Csv,
        );
        assert_eq!(
            recipients(&rows),
            [Ok("+16505551234"), Ok("+16505551235"), Err("Category")]
        );
    }

    #[test]
    fn ids_are_taken_as_they_are_and_words_are_not_taken_for_ids() {
        let rows = entries(
            b"recipient\nUS.13491208655302741918\nuser.id-x\nbad\nunknown\nn/a\ntel:+16505551234\nada@example.com\n1650CALLME\n",
            Format::Csv,
        );
        let refused = || Err("recipient");
        assert_eq!(
            recipients(&rows),
            [
                Ok("US.13491208655302741918"),
                Ok("user.id-x"),
                refused(),
                refused(),
                refused(),
                refused(),
                refused(),
                refused()
            ]
        );
        let rows = entries(
            b"recipient,recipient_kind\nada,user\n16505551234,user\n,user\n+16505551234,phone\nada,phone\nada,person\n",
            Format::Csv,
        );
        assert_eq!(
            recipients(&rows),
            [
                Ok("ada"),
                refused(),
                refused(),
                Ok("+16505551234"),
                refused(),
                Err("recipient_kind")
            ]
        );
    }

    #[test]
    fn what_names_nobody_is_refused_whatever_kind_stands_beside_it() {
        let rows = entries(
            "recipient,recipient_kind
\u{a0}+16505551234,user
\u{202f}+16505551234,
\u{2010}+16505551234,customer
whatsapp:+16505551234,user
\u{200e}+16505551234,user
\u{202f}16505551234,user
16505551234@c.us,user
4.91512E+12,user
4.91512E12,user
Y2FwaV9ncm91cDoxNzA1,group
Y2FwaV9ncm91cDoxNzA1OQ==,
12ab-C_d=,group
"
            .as_bytes(),
            Format::Csv,
        );
        let refused = || Err("recipient");
        assert_eq!(
            recipients(&rows),
            [
                Ok("+16505551234"),
                Ok("+16505551234"),
                Ok("+16505551234"),
                refused(),
                refused(),
                refused(),
                refused(),
                refused(),
                refused(),
                Ok("Y2FwaV9ncm91cDoxNzA1"),
                Ok("Y2FwaV9ncm91cDoxNzA1OQ=="),
                Ok("12ab-C_d=")
            ]
        );
        let kinds = ["+16505551234", "US.1349", "12ab-C_d="].map(kind_of);
        assert_eq!(kinds, ["phone", "user", "user"]);
        assert!(!is_id_of_somebody(&"a".repeat(257)));
    }

    #[test]
    fn what_an_object_says_is_read_as_a_row_is() {
        let rows = entries(
            br#"{"phone":"+16505551234","category":"marketing","sender":null,"expires_at":"2026-03-01T12:00:00Z","suppression":7}
{"recipient":"+16505551234","category":"all"}
{"recipient":"+16505551234","expires_at":"soon"}
{"name":"Ada"}"#,
            Format::Jsonl,
        );
        let Entry::Row(first) = &rows[0] else {
            panic!("{rows:?}")
        };
        assert_eq!(first.category.as_deref(), Some("marketing"));
        assert_eq!((&first.sender, &first.reason), (&None, &None));
        assert_eq!(first.expires_at, moment("2026-03-01T12:00:00Z"));
        assert_eq!(
            recipients(&rows[1..]),
            [Err("category"), Err("expires_at"), Err("recipient")]
        );
    }
}
