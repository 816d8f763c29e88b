//! The columns of a CSV file of recipients: one is the number, each other one a variable.

use super::{LINE, Row};
use crate::cli::rows::{BadFile, Fault, RECIPIENTS, json, recipient};
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
        if names.iter().any(|name| name == LINE) {
            let wrong = format!("{LINE} is kept for the line's number");
            return Err(BadFile::Header(wrong));
        }
        let place = |wanted: &str| names.iter().position(|name| name.to_lowercase() == wanted);
        let recipient = match wanted {
            Some(wanted) => names.iter().position(|name| name == wanted),
            None => RECIPIENTS.into_iter().find_map(place),
        };
        let Some(recipient) = recipient else {
            return Err(BadFile::NoColumn {
                wanted: wanted.map_or_else(|| RECIPIENTS.join(" or "), str::to_owned),
                columns: names.join(", "),
                fix: "name the column: --recipient-column NAME",
            });
        };
        let column = |(index, name): (usize, &String)| Column::new(name, index == recipient);
        Ok(Self(names.iter().enumerate().map(column).collect()))
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
