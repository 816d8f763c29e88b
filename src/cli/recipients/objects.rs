//! Objects of recipients: `{"recipient": "+…", "variables": {…}}`, or the variables beside the recipient.

use super::{LINE, Row};
use crate::cli::rows::{Fault, NUL, RECIPIENTS, TWICE, cannot_be_kept, recipient};
use crate::domain::numbering::Country;
use crate::domain::placeholders::Variables;

const VARIABLES: &str = "variables";

pub(super) fn row(
    line: u64,
    object: &Variables<'_>,
    wanted: Option<&str>,
    country: Option<Country>,
) -> Result<Row, Fault> {
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
    let number: String =
        serde_json::from_str(object.get(field).unwrap_or_default()).map_err(|_| {
            let reason = "it is no string; write it in quotes, with its +";
            Fault::new(line, field, reason)
        })?;
    let number = recipient(&number, country, line, field)?;
    Ok(Row {
        line,
        recipient: number,
        variables: variables(object, field, line)?,
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
    if let Some(name) = nested.doubled() {
        return Err(Fault::new(line, name, TWICE));
    }
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
