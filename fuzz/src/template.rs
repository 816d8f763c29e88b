//! A campaign's payload with placeholders, and a recipient's variables: a line with the variables, then the payload.
//!
//! What is filled in is compared with another way to do it: on the values that the JSON stands for, where ours works on its text.

use serde_json::{Map, Value};
use wa_outbox::domain::placeholders::{Template, Variables};

use super::line;

pub(crate) fn check(input: &[u8]) {
    let (variables, payload) = line(input);
    let (Ok(variables), Ok(payload)) =
        (std::str::from_utf8(variables), std::str::from_utf8(payload))
    else {
        return;
    };
    let (Ok(template), Ok(read)) = (Template::parse(payload), Variables::parse(variables)) else {
        return;
    };
    for place in template.placeholders() {
        assert!(template.names().contains(&place.name));
        assert!(!place.name.is_empty() && !place.name.contains(['{', '}']));
    }
    let filled = template.fill(&read);
    let faults = template.faults(&read);
    assert_eq!(filled.is_ok(), faults.is_empty());
    if !payload.contains("{{") {
        assert_eq!(filled.as_deref(), Ok(payload), "fixed text has changed");
    }
    let (Ok(fixed), Ok(given)) = (
        serde_json::from_str::<Value>(payload),
        serde_json::from_str::<Map<String, Value>>(variables),
    ) else {
        return;
    };
    // An escaped brace is a brace to JSON and none to us; a key that stands twice is two places to us.
    if payload.contains("\\u")
        || variables.contains("\\u")
        || serde_json::to_string(&fixed).map(|text| text.len()).ok() < Some(payload.len() / 4)
    {
        is_json(filled.ok().as_deref());
        return;
    }
    match (
        filled,
        by_value(
            &fixed,
            &Given {
                values: &given,
                texts: &read,
            },
        ),
    ) {
        (Ok(filled), Ok(expected)) => {
            let filled: Value = serde_json::from_str(&filled).expect("JSON");
            assert_eq!(filled, expected);
        }
        (Err(_), Err(_)) => {}
        // What is fixed may hold a key twice; then a placeholder of the first stands nowhere in the value.
        (filled, expected) => assert!(has_twins(payload, &fixed), "{filled:?} and {expected:?}"),
    }
}

fn is_json(filled: Option<&str>) {
    if let Some(filled) = filled {
        serde_json::from_str::<serde::de::IgnoredAny>(filled).expect("JSON");
    }
}

/// Whether the text says more than its value: a key that stands twice.
fn has_twins(text: &str, value: &Value) -> bool {
    let strings = |text: &str| text.matches('"').count();
    strings(text) > strings(&value.to_string())
}

/// The variables, as values and as they were written.
struct Given<'a> {
    values: &'a Map<String, Value>,
    texts: &'a Variables<'a>,
}

#[derive(Debug)]
struct CannotFill;

fn by_value(fixed: &Value, given: &Given<'_>) -> Result<Value, CannotFill> {
    Ok(match fixed {
        Value::String(text) => by_text(text, given)?,
        Value::Array(list) => Value::Array(
            list.iter()
                .map(|one| by_value(one, given))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(members) => {
            let filled = members
                .iter()
                .map(|(key, value)| Ok((key.clone(), by_value(value, given)?)));
            Value::Object(filled.collect::<Result<_, _>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => fixed.clone(),
    })
}

fn by_text(text: &str, given: &Given<'_>) -> Result<Value, CannotFill> {
    let whole = text
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"));
    if let Some(name) = whole.filter(|name| !name.contains(['{', '}'])) {
        return variable(name, given).cloned();
    }
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("{{") {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(behind) = rest.strip_prefix("{{{{") {
            filled.push_str("{{");
            rest = behind;
        } else if rest.starts_with("{{{") {
            filled.push('{');
            rest = &rest[1..];
        } else {
            let (name, behind) = rest[2..].split_once("}}").ok_or(CannotFill)?;
            match variable(name, given)? {
                Value::String(text) => filled.push_str(text),
                Value::Object(_) | Value::Array(_) => return Err(CannotFill),
                // As it was written: 1.50 is a price.
                Value::Null | Value::Bool(_) | Value::Number(_) => {
                    filled.push_str(given.texts.get(name.trim()).expect("it was found"));
                }
            }
            rest = behind;
        }
    }
    filled.push_str(rest);
    Ok(Value::String(filled))
}

fn variable<'a>(name: &str, given: &Given<'a>) -> Result<&'a Value, CannotFill> {
    given
        .values
        .get(name.trim())
        .filter(|value| !value.is_null())
        .ok_or(CannotFill)
}
