//! JSON lines: an object in each, `{"recipient": "+…", "variables": {…}}`, or the variables beside the recipient.

use std::borrow::Cow;
use std::io::{self, BufRead};

use super::lines::Lines;
use super::{Entry, Fault, LINE, NUL, Row, TOO_LONG, cannot_be_kept, recipient};
use crate::domain::numbering::Country;
use crate::domain::placeholders::Variables;

/// The members that hold the recipient where none is named.
const RECIPIENTS: [&str; 2] = ["recipient", "phone"];
const VARIABLES: &str = "variables";

pub(super) fn next<R: BufRead>(
    lines: &mut Lines<R>,
    wanted: Option<&str>,
    country: Option<Country>,
) -> io::Result<Option<Entry>> {
    loop {
        let Some(line) = lines.next()? else {
            return Ok(None);
        };
        lines.used(&line);
        let number = line.number;
        if line.too_long {
            return Ok(Some(Fault::new(number, "line", TOO_LONG).into()));
        }
        if line.is_blank() {
            continue;
        }
        let Ok(text) = std::str::from_utf8(&line.bytes) else {
            let reason = "it is not UTF-8; save the file as UTF-8";
            return Ok(Some(Fault::new(number, "line", reason).into()));
        };
        return Ok(Some(row(text.trim(), number, wanted, country).into()));
    }
}

fn row(
    text: &str,
    line: u64,
    wanted: Option<&str>,
    country: Option<Country>,
) -> Result<Row, Fault> {
    let object = Variables::parse(text).map_err(|_| {
        let reason = match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => "it is no JSON object; write {\"recipient\":\"+…\",\"variables\":{…}}".into(),
            Err(error) => format!("it is not valid JSON at its character {}", error.column()),
        };
        Fault::new(line, "line", reason)
    })?;
    let names = wanted
        .as_ref()
        .map_or(RECIPIENTS.as_slice(), std::slice::from_ref);
    let has = |wanted: &&&str| object.iter().any(|(name, _)| name == **wanted);
    let field = names.iter().find(has).copied();
    let Some(field) = field else {
        let field = names[0];
        return Err(Fault::new(
            line,
            field,
            "it is missing; write the phone number",
        ));
    };
    let number = object.get(field).unwrap_or_default();
    let number: Cow<'_, str> = serde_json::from_str::<String>(number)
        .map(Cow::Owned)
        .map_err(|_| {
            Fault::new(
                line,
                field,
                "it is no string; write it in quotes, with its +",
            )
        })?;
    let number = recipient(&number, country, line, field)?;
    Ok(Row {
        line,
        recipient: number,
        variables: variables(&object, field, line)?,
    })
}

/// The object under `variables`, else all members but the recipient.
fn variables(object: &Variables<'_>, field: &str, line: u64) -> Result<String, Fault> {
    let others = || object.iter().filter(|(name, _)| *name != field);
    let nested = object.get(VARIABLES).filter(|raw| raw.starts_with('{'));
    let Some(nested) = nested else {
        return written(others(), line);
    };
    if let Some((name, _)) = others().find(|(name, _)| *name != VARIABLES) {
        let reason = "it stands beside variables and would be lost; write it inside them";
        return Err(Fault::new(line, name, reason));
    }
    let nested = Variables::parse(nested).map_err(|_| Fault::new(line, VARIABLES, NUL))?;
    written(nested.iter(), line)
}

fn written<'a>(
    members: impl Iterator<Item = (&'a str, &'a str)>,
    line: u64,
) -> Result<String, Fault> {
    let mut text = format!("{{\"{LINE}\":{line}");
    for (name, raw) in members {
        if name == LINE {
            let reason = "it is kept for the line's number; use another name";
            return Err(Fault::new(line, name, reason));
        }
        if cannot_be_kept(raw) || name.contains('\0') {
            return Err(Fault::new(line, name, NUL));
        }
        text.push(',');
        text.push_str(&serde_json::Value::from(name).to_string());
        text.push(':');
        text.push_str(raw);
    }
    text.push('}');
    Ok(text)
}
