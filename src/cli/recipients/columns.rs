//! The columns of a CSV file of recipients: one is the number, each other one a variable.

use super::{LINE, Row};
use crate::cli::rows::{
    BadFile, Fault, RECIPIENTS, json, name_of, names_of, recipient, unless_no_header,
};
use crate::domain::numbering::Country;

#[derive(Default)]
pub(super) struct Columns(Vec<Column>);

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

impl Columns {
    pub(super) fn new(names: &[String], wanted: Option<&str>) -> Result<Self, BadFile> {
        let recipient = recipient_column(names, wanted);
        let column = |(index, name): (usize, &String)| Column::new(name, Some(index) == recipient);
        let columns: Vec<Column> = names.iter().enumerate().map(column).collect();
        for (index, Column { name, .. }) in columns.iter().enumerate() {
            // What stands in front of :json is the name.
            let wrong = match name.as_str() {
                LINE => format!("{LINE} is kept for the line's number"),
                name if columns[..index].iter().any(|other| other.name == name) => {
                    format!("{:?} stands twice", name_of(name))
                }
                _ => continue,
            };
            return Err(BadFile::Header(wrong));
        }
        if recipient.is_none() {
            return Err(no_recipient(names, wanted));
        }
        Ok(Self(columns))
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let others = self
            .0
            .iter()
            .filter(|column| !matches!(column.kind, Kind::Recipient));
        others.map(|column| column.name.as_str())
    }

    pub(super) fn row(
        &self,
        line: u64,
        cells: Vec<String>,
        country: Option<Country>,
    ) -> Result<Row, Fault> {
        let mut number = String::new();
        let mut variables = format!("{{\"{LINE}\":{line}");
        for (column, cell) in self.0.iter().zip(cells) {
            match column.kind {
                Kind::Recipient => number = recipient(&cell, country, line, &column.name)?,
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

/// Which column is the recipient's.
pub(in crate::cli) fn recipient_column(names: &[String], wanted: Option<&str>) -> Option<usize> {
    let place = |wanted: &str| names.iter().position(|name| name.to_lowercase() == wanted);
    match wanted {
        Some(wanted) => names.iter().position(|name| name == wanted),
        None => RECIPIENTS.into_iter().find_map(place),
    }
}

/// There is no column for the recipient, called as is wanted.
pub(in crate::cli) fn no_recipient(names: &[String], wanted: Option<&str>) -> BadFile {
    let missing = BadFile::NoColumn {
        wanted: wanted.map_or_else(|| RECIPIENTS.join(" or "), str::to_owned),
        columns: names_of(names),
        fix: "name the column: --recipient-column NAME",
    };
    unless_no_header(names, missing)
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
        json(cell, line, &self.name)?;
        variables.push(',');
        variables.push_str(&self.key);
        variables.push_str(cell);
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
