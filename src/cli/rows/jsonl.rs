//! JSON lines: an object in each.

use std::io::{self, BufRead};

use super::lines::Lines;
use super::{Entry, Fault, NO_UTF8, Schema, TOO_LONG, TWICE};
use crate::domain::placeholders::Variables;

pub(super) fn next<R: BufRead, S: Schema>(
    lines: &mut Lines<R>,
    schema: &S,
) -> io::Result<Option<Entry<S::Row>>> {
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
            return Ok(Some(Fault::new(number, "line", NO_UTF8).into()));
        };
        let row = object(text.trim(), number, S::OBJECT)
            .and_then(|object| schema.of_object(number, &object));
        return Ok(Some(row.into()));
    }
}

fn object<'a>(text: &'a str, line: u64, example: &str) -> Result<Variables<'a>, Fault> {
    let object = Variables::parse(text).map_err(|_| {
        let reason = match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => format!("it is no JSON object; write {example}"),
            // Inside a string it could not stand.
            Err(_) if text.contains('\r') => {
                "its lines end in CR alone, as old Macs wrote them; convert them: tr '\\r' '\\n'"
                    .to_owned()
            }
            Err(error) => format!("it is not valid JSON at its character {}", error.column()),
        };
        Fault::new(line, "line", reason)
    })?;
    match object.doubled() {
        Some(name) => Err(Fault::new(line, name, TWICE)),
        None => Ok(object),
    }
}
