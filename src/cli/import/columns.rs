//! The columns of `wa.outbox` that an application may set, as they stand in a file.

use super::senders::Senders;
use crate::cli::rows::{
    BadFile, Fault, NUL, RECIPIENTS, Schema, TIME, cannot_be_kept, json, moment, name_of, names_of,
    recipient, unless_no_header,
};
use crate::domain::numbering::Country;
use crate::domain::placeholders::Variables;
use crate::message::{OnUncertain, Outgoing, Recipient, RowContent};
use crate::standing::shell;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Recipient,
    RecipientKind,
    Text,
    Payload,
    Sender,
    Sequence,
    DueAt,
    ExpiresAt,
    Priority,
    DedupKey,
    Reference,
    OnUncertain,
    CampaignId,
    Variables,
}

impl Column {
    const ALL: [(Self, &'static str); 14] = [
        (Self::Recipient, RECIPIENTS[0]),
        (Self::RecipientKind, "recipient_kind"),
        (Self::Text, "text"),
        (Self::Payload, "payload"),
        (Self::Sender, "sender"),
        (Self::Sequence, "sequence"),
        (Self::DueAt, "due_at"),
        (Self::ExpiresAt, "expires_at"),
        (Self::Priority, "priority"),
        (Self::DedupKey, "dedup_key"),
        (Self::Reference, "reference"),
        (Self::OnUncertain, "on_uncertain"),
        (Self::CampaignId, "campaign_id"),
        (Self::Variables, "variables"),
    ];

    fn named(name: &str) -> Option<Self> {
        if RECIPIENTS.contains(&name) {
            return Some(Self::Recipient);
        }
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(column, _)| *column)
    }

    fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(column, _)| *column == self);
        found.map_or("line", |(_, name)| name)
    }

    /// The name that is most like that one.
    fn nearest(name: &str) -> &'static str {
        let name = name.to_lowercase();
        let alike = |known: &&str| strsim::damerau_levenshtein(known, &name);
        let names = Self::ALL.iter().map(|(_, known)| *known).chain(RECIPIENTS);
        names.min_by_key(alike).unwrap_or(RECIPIENTS[0])
    }
}

/// What a row of messages looks like.
pub(super) struct Messages {
    ignored: Vec<String>,
    country: Option<Country>,
    senders: Senders,
    /// What the columns of a CSV file are; none for one that is ignored.
    columns: Vec<Option<(Column, String)>>,
}

/// A row that can be used.
#[derive(Debug)]
pub(super) struct Row {
    line: u64,
    bytes: usize,
    pub(super) message: Outgoing,
}

/// What a row says, before it is known what it means.
#[derive(Default)]
struct Values {
    texts: [Option<String>; Column::ALL.len()],
    /// What the column of the recipient is called.
    recipient: Option<String>,
}

impl Values {
    fn put(&mut self, column: Column, name: &str, text: String) {
        if column == Column::Recipient {
            self.recipient = Some(name.to_owned());
        }
        self.texts[column as usize] = Some(text);
    }

    fn take(&mut self, column: Column) -> Option<String> {
        self.texts[column as usize].take()
    }

    /// A value that can be read only in one way.
    fn read<T>(
        &mut self,
        line: u64,
        column: Column,
        read: impl Fn(&str) -> Option<T>,
        fix: &str,
    ) -> Result<Option<T>, Fault> {
        let Some(text) = self.take(column) else {
            return Ok(None);
        };
        match read(text.trim()) {
            Some(value) => Ok(Some(value)),
            None => Err(Fault::new(
                line,
                column.name(),
                shown(column, text.trim(), fix),
            )),
        }
    }
}

/// What stands there and what to do; but for what may be a number that has slipped into a wrong column.
fn shown(column: Column, text: &str, fix: &str) -> String {
    let is_time = matches!(column, Column::DueAt | Column::ExpiresAt);
    let digits = text.chars().filter(char::is_ascii_digit).count();
    match text.chars().count() <= 40 && (is_time || digits < 7) {
        true => format!("it is {text:?}; {fix}"),
        false => format!("it cannot be used; {fix}"),
    }
}

impl Messages {
    /// Without the columns and members of these names. Numbers without + are read as they are dialled in this country; in none, in
    /// the sender's.
    pub(super) fn new(ignored: Vec<String>, country: Option<Country>) -> Self {
        Self {
            ignored,
            country,
            senders: Senders::default(),
            columns: Vec::new(),
        }
    }

    /// Who sends what names no sender, and who may.
    pub(super) fn sent_by(&mut self, senders: Senders) {
        self.senders = senders;
    }

    fn row(&self, line: u64, mut values: Values) -> Result<Row, Fault> {
        let bytes = values.texts.iter().flatten().map(String::len).sum();
        let named = values.take(Column::Sender);
        let sender = self.senders.of_row(named, line)?;
        let content = content(line, &mut values)?;
        let recipient = self.recipient(line, sender.as_deref(), &mut values)?;
        let priority = |text: &str| text.parse().ok().filter(|number| (0..=9).contains(number));
        let priority = values.read(
            line,
            Column::Priority,
            priority,
            "write 0 (urgent) to 9 (bulk)",
        )?;
        let due_at = values.read(line, Column::DueAt, moment, TIME)?;
        let expires_at = values.read(line, Column::ExpiresAt, moment, TIME)?;
        if let (Some(due_at), Some(expires_at)) = (due_at, expires_at)
            && expires_at <= due_at
        {
            let reason = "it is not after due_at; leave it out, or write a later time";
            return Err(Fault::new(line, Column::ExpiresAt.name(), reason));
        }
        let policy = |text: &str| match text {
            "retry" => Some(OnUncertain::Retry),
            "hold" => Some(OnUncertain::Hold),
            _ => None,
        };
        let on_uncertain = values.read(
            line,
            Column::OnUncertain,
            policy,
            "write retry or hold, or leave it out",
        )?;
        let message = Outgoing {
            recipient,
            content,
            sender,
            priority,
            due_at,
            expires_at,
            sequence: values.take(Column::Sequence),
            dedup_key: values.take(Column::DedupKey),
            on_uncertain,
            reference: values.take(Column::Reference),
        };
        Ok(Row {
            line,
            bytes,
            message,
        })
    }

    fn recipient(
        &self,
        line: u64,
        sender: Option<&str>,
        values: &mut Values,
    ) -> Result<Recipient, Fault> {
        let kind = |text: &str| match text {
            "phone" => Some(Recipient::Phone as fn(String) -> Recipient),
            "user" => Some(Recipient::User as fn(String) -> Recipient),
            "group" => Some(Recipient::Group as fn(String) -> Recipient),
            _ => None,
        };
        let fix = "write phone, user or group, or leave it out";
        let kind = values.read(line, Column::RecipientKind, kind, fix)?;
        let field = values.recipient.clone();
        let field = field.as_deref().unwrap_or(RECIPIENTS[0]);
        let text = values.take(Column::Recipient).unwrap_or_default();
        match kind {
            Some(kind) if kind(String::new()).kind() != "phone" => match text.trim() {
                "" => Err(Fault::new(line, field, "it is missing; write the id")),
                id => Ok(kind(id.to_owned())),
            },
            Some(_) | None => {
                let country = self.country.or_else(|| self.senders.country_of(sender));
                let found = recipient(&text, country, line, field);
                let may_be_dialled = text.contains(|one: char| one.is_ascii_digit())
                    && !text.trim_start().starts_with('+');
                if found.is_err()
                    && country.is_none()
                    && self.senders.are_unknown()
                    && may_be_dialled
                {
                    // The sender may have a country in which it is a number; the database knows, and refuses what is none.
                    return Ok(Recipient::Phone(text.trim().to_owned()));
                }
                found.map(Recipient::Phone)
            }
        }
    }
}

/// What a row says: exactly one of a text, a payload, and a campaign's.
fn content(line: u64, values: &mut Values) -> Result<RowContent, Fault> {
    let fix = "write the campaign's number, or leave it out";
    let campaign = values.read(line, Column::CampaignId, |text| text.parse().ok(), fix)?;
    let (text, payload, variables) = (
        values.take(Column::Text),
        values.take(Column::Payload),
        values.take(Column::Variables),
    );
    let refused = |column: Column, reason: &str| Err(Fault::new(line, column.name(), reason));
    match (campaign, text, payload, variables) {
        (Some(id), None, None, variables) => {
            let variables = variables.unwrap_or_else(|| "{}".to_owned());
            let fix = "it is no JSON object; write {\"name\":\"Ada\"}";
            json(&variables, line, Column::Variables.name())?;
            match serde_json::from_str(&variables) {
                Ok(variables) => Ok(RowContent::Campaign { id, variables }),
                Err(_) => refused(Column::Variables, fix),
            }
        }
        (Some(_), ..) => refused(
            Column::CampaignId,
            "its campaign says what is sent; leave text and payload out, or campaign_id",
        ),
        (None, _, _, Some(_)) => refused(
            Column::Variables,
            "it is given without campaign_id; name the campaign whose placeholders they fill",
        ),
        (None, Some(_), Some(_), None) => {
            refused(Column::Text, "payload is given too; leave one of them out")
        }
        (None, None, None, None) => refused(
            Column::Payload,
            "it is missing, and so is text; write what is to be sent into one of them",
        ),
        (None, Some(text), None, None) => {
            let body = serde_json::Value::from(text);
            let payload = format!(r#"{{"type":"text","text":{{"body":{body}}}}}"#);
            Ok(RowContent::Written(payload))
        }
        (None, None, Some(payload), None) => {
            json(&payload, line, Column::Payload.name())?;
            if !payload.trim_start().starts_with('{') {
                return refused(
                    Column::Payload,
                    "it is no JSON object; write the message body, such as {\"type\":\"text\",\"text\":{\"body\":\"Hello\"}}",
                );
            }
            Ok(RowContent::Written(payload))
        }
    }
}

impl Schema for Messages {
    type Row = Row;
    const HELP: &'static str = "wa-outbox import --help";
    const OBJECT: &'static str = "{\"recipient\":\"+…\",\"text\":\"…\"}";

    fn take_header(&mut self, names: &[String]) -> Result<(), BadFile> {
        for name in names {
            let found = Column::named(&name.to_lowercase());
            if found.is_none() && !self.ignored.contains(name) {
                let strange = BadFile::StrangeColumn {
                    name: name_of(name).into_owned(),
                    fix: format!(
                        "do you mean {}? If it is not to be read: --ignore {}",
                        Column::nearest(name),
                        shell::word(&name_of(name))
                    ),
                };
                return Err(unless_no_header(names, strange));
            }
            let column = found.filter(|_| !self.ignored.contains(name));
            let mut before = self.columns.iter().flatten();
            if let Some((_, other)) = before.find(|(other, _)| Some(*other) == column) {
                let wrong = format!(
                    "{other:?} and {name:?} mean the same; leave one of them out: --ignore {name}"
                );
                return Err(BadFile::Header(wrong));
            }
            self.columns
                .push(column.map(|column| (column, name.clone())));
        }
        let has = |wanted: &[Column]| {
            let mut there = self.columns.iter().flatten();
            there.any(|(column, _)| wanted.contains(column))
        };
        let missing = [
            (&[Column::Recipient][..], "recipient or phone"),
            (
                &[Column::Text, Column::Payload, Column::CampaignId][..],
                "text, payload or campaign_id",
            ),
        ];
        match missing.into_iter().find(|(wanted, _)| !has(wanted)) {
            None => Ok(()),
            Some((_, wanted)) => Err(unless_no_header(
                names,
                BadFile::NoColumn {
                    wanted: wanted.to_owned(),
                    columns: names_of(names),
                    fix: "name the columns as in wa.outbox; see: wa-outbox import --help",
                },
            )),
        }
    }

    fn reads(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(Option::is_some)
    }

    fn of_cells(&self, line: u64, cells: Vec<String>) -> Result<Row, Fault> {
        let mut values = Values::default();
        for (column, cell) in self.columns.iter().zip(cells) {
            // What is empty is not there.
            if let (Some((column, name)), false) = (column, cell.trim().is_empty()) {
                values.put(*column, name, cell);
            }
        }
        self.row(line, values)
    }

    fn of_object(&self, line: u64, object: &Variables<'_>) -> Result<Row, Fault> {
        let mut values = Values::default();
        for (name, raw) in object.iter() {
            if raw == "null" || self.ignored.iter().any(|ignored| ignored == name) {
                continue;
            }
            let Some(column) = Column::named(name) else {
                let reason = format!(
                    "it is none of a message's; do you mean {}? If it is not to be read: --ignore {}",
                    Column::nearest(name),
                    name_of(name)
                );
                return Err(Fault::new(line, name, reason));
            };
            if cannot_be_kept(raw) {
                return Err(Fault::new(line, name, NUL));
            }
            if values.texts[column as usize].is_some() {
                let reason = "it stands twice, by two names; leave one of them out";
                return Err(Fault::new(line, name, reason));
            }
            let text = match column {
                Column::Payload | Column::Variables => raw.to_owned(),
                _ => member(line, column, name, raw)?,
            };
            values.put(column, name, text);
        }
        self.row(line, values)
    }

    fn line(row: &Row) -> u64 {
        row.line
    }

    fn bytes(row: &Row) -> usize {
        row.bytes
    }
}

/// A member that is a text. An id may be a number.
fn member(line: u64, column: Column, name: &str, raw: &str) -> Result<String, Fault> {
    let is_number = raw.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    let may_be_number = !matches!(column, Column::Recipient | Column::Text);
    if is_number && may_be_number {
        return Ok(raw.to_owned());
    }
    serde_json::from_str(raw)
        .map_err(|_| Fault::new(line, name, "it is no string; write it in quotes"))
}
