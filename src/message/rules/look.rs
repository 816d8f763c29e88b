//! A look at a body: walks down its objects, and notes where a rule is broken.
//!
//! On the way of every message, so what is in order costs no memory: a place is a chain of steps on the stack, and becomes a JSON
//! pointer only where something is found.

use serde_json::{Map, Value};

use super::rule::{Class, Finding, Found, Limit, Rule, rules};

rules! {
    FIELD_MISSING "field_missing" Refused: "a field that the message cannot do without is there, and not null", Limit::Words("required");
        "Meta, Error codes (131008)"; "add it".
    FIELD_TYPE "field_type" Refused: "a field has the JSON type of the documentation", Limit::Words("the type of the documentation");
        "Meta, Error codes (100, 131009)"; "write it as its documentation has it".
    FIELD_SCALAR "field_scalar" Doubtful: "a text is a string, a number is a number and a switch is true or false", Limit::Words("the type of the documentation");
        "Meta, Messages reference; the Graph API converts some of them, and Meta's collections have both"; "write a text as a string, a number as a number, a switch as true or false".
    FIELD_ENCODED "field_encoded" Doubtful: "an object or a list is no text that holds one", Limit::Words("an object or a list");
        "Meta, Messages reference; the Graph API decodes some of them"; "write the object itself".
    FIELD_NULL "field_null" Doubtful: "a field that is not wanted is left out", Limit::Words("left out");
        "field reports: some fields are refused where they are null"; "leave it out".
    UNKNOWN_FIELD "unknown_field" Doubtful: "a field is one of the documentation", Limit::Words("the fields of the documentation");
        "Meta, Migrating from On-Premises API to Cloud API: Cloud API rejects unknown properties (100)"; "take it out, or check how it is spelt; with strict it is refused".
    NUL "nul" Refused: "no text holds a NUL character", Limit::Words("no \\u0000");
        "PostgreSQL cannot store it, and it cannot be shown"; "take it out".
}

/// Whether a field may be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Must {
    Be,
    MayBe,
}
pub(super) use Must::{Be, MayBe};

/// Where something stands: a step, and the place above it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Item(usize),
}

/// An object, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Object<'v, 'p> {
    pub(super) fields: &'v Map<String, Value>,
    pub(super) at: Place<'p>,
}

/// A list, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct List<'v, 'p> {
    pub(super) items: &'v [Value],
    pub(super) at: Place<'p>,
}

/// What was found so far.
pub(super) struct Look {
    strict: bool,
    pub(super) findings: Vec<Finding>,
}

/// The longest name of a field in a pointer: it is the application's, so it may be anything.
const SHOWN: usize = 60;

impl<'a> Place<'a> {
    pub(super) const ROOT: Place<'static> = Place {
        above: None,
        step: Step::Root,
    };

    pub(super) fn key(&'a self, key: &'a str) -> Place<'a> {
        let step = Step::Key(key);
        Place {
            above: Some(self),
            step,
        }
    }

    pub(super) fn item(&'a self, index: usize) -> Place<'a> {
        let step = Step::Item(index);
        Place {
            above: Some(self),
            step,
        }
    }

    /// As RFC 6901 writes it.
    pub(super) fn pointer(&self) -> String {
        let mut pointer = self.above.map(Place::pointer).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Key(key) => {
                let shown: String = key.chars().take(SHOWN).collect();
                pointer.push('/');
                pointer.push_str(&shown.replace('~', "~0").replace('/', "~1"));
            }
            Step::Item(index) => pointer.push_str(&format!("/{index}")),
        }
        pointer
    }
}

impl<'v> Object<'v, '_> {
    /// A field that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&'v Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// A field that is a string.
    pub(super) fn str(&self, key: &str) -> Option<&'v str> {
        self.get(key)?.as_str()
    }

    /// A field that is a number, or a string that holds one: Meta's pages show many in both forms.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        number(self.get(key)?)
    }
}

impl<'v, 'p> List<'v, 'p> {
    /// What stands at a place in it, where that is an object.
    pub(super) fn object(&'p self, look: &mut Look, index: usize) -> Option<Object<'v, 'p>> {
        let at = self.at.item(index);
        look.as_object(self.items.get(index)?, at)
    }
}

impl Look {
    pub(super) fn new(strict: bool) -> Self {
        let findings = Vec::new();
        Self { strict, findings }
    }

    pub(super) fn tell(&mut self, rule: &'static Rule, at: &Place<'_>, found: Found) {
        let is_unknown = self.strict && std::ptr::eq(rule, &UNKNOWN_FIELD);
        self.findings.push(Finding {
            rule,
            class: if is_unknown {
                Class::Refused
            } else {
                rule.class
            },
            pointer: at.pointer(),
            found,
        });
    }

    /// Notes fields that the documentation does not have.
    pub(super) fn known(&mut self, object: &Object<'_, '_>, fields: &[&str]) {
        for key in object.fields.keys() {
            if !fields.contains(&key.as_str()) {
                self.unknown(object, key);
            }
        }
    }

    pub(super) fn unknown(&mut self, object: &Object<'_, '_>, key: &str) {
        let found = Found::Words("is no field of the documentation");
        self.tell(&UNKNOWN_FIELD, &object.at.key(key), found);
    }

    /// A field's value, where it is there.
    pub(super) fn value<'a>(
        &mut self,
        object: &Object<'a, '_>,
        key: &str,
        must: Must,
    ) -> Option<&'a Value> {
        match (object.fields.get(key), must) {
            (Some(Value::Null), MayBe) => {
                self.tell(&FIELD_NULL, &object.at.key(key), Found::Type("null"));
                None
            }
            (Some(Value::Null) | None, Be) => {
                let found = match object.fields.contains_key(key) {
                    true => Found::Type("null"),
                    false => Found::Missing,
                };
                self.tell(&FIELD_MISSING, &object.at.key(key), found);
                None
            }
            (value, _) => value,
        }
    }

    pub(super) fn object<'v, 'p>(
        &mut self,
        parent: &'p Object<'v, 'p>,
        key: &'p str,
        must: Must,
    ) -> Option<Object<'v, 'p>> {
        let value = self.value(parent, key, must)?;
        self.as_object(value, parent.at.key(key))
    }

    pub(super) fn as_object<'v, 'p>(
        &mut self,
        value: &'v Value,
        at: Place<'p>,
    ) -> Option<Object<'v, 'p>> {
        let fields = value.as_object();
        if fields.is_none() {
            self.wrong_container(value, &at);
        }
        fields.map(|fields| Object { fields, at })
    }

    pub(super) fn list<'v, 'p>(
        &mut self,
        parent: &'p Object<'v, 'p>,
        key: &'p str,
        must: Must,
    ) -> Option<List<'v, 'p>> {
        let value = self.value(parent, key, must)?;
        let at = parent.at.key(key);
        let items = value.as_array();
        if items.is_none() {
            self.wrong_container(value, &at);
        }
        items.map(|items| List { items, at })
    }

    fn wrong_container(&mut self, value: &Value, at: &Place<'_>) {
        let text = value.as_str().map(str::trim_start);
        let rule = match text.is_some_and(|text| text.starts_with(['{', '['])) {
            true => &FIELD_ENCODED,
            false => &FIELD_TYPE,
        };
        self.tell(rule, at, Found::Type(type_of(value)));
    }

    /// A text within its length.
    pub(super) fn text<'a>(
        &mut self,
        object: &Object<'a, '_>,
        key: &str,
        must: Must,
        length: &'static Rule,
    ) -> Option<&'a str> {
        let value = self.value(object, key, must)?;
        self.as_text(value, &object.at.key(key), length)
    }

    pub(super) fn as_text<'a>(
        &mut self,
        value: &'a Value,
        at: &Place<'_>,
        length: &'static Rule,
    ) -> Option<&'a str> {
        let text = self.as_string(value, at)?;
        self.length(text, at, length);
        Some(text)
    }

    /// A text of any length.
    pub(super) fn string<'a>(
        &mut self,
        object: &Object<'a, '_>,
        key: &str,
        must: Must,
    ) -> Option<&'a str> {
        let value = self.value(object, key, must)?;
        self.as_string(value, &object.at.key(key))
    }

    fn as_string<'a>(&mut self, value: &'a Value, at: &Place<'_>) -> Option<&'a str> {
        let Value::String(text) = value else {
            self.no_text(value, at);
            return None;
        };
        if text.contains('\0') {
            self.tell(&NUL, at, Found::Words("holds a NUL"));
        }
        Some(text)
    }

    fn no_text(&mut self, value: &Value, at: &Place<'_>) {
        let rule = match value {
            Value::Bool(_) | Value::Number(_) => &FIELD_SCALAR,
            Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => &FIELD_TYPE,
        };
        self.tell(rule, at, Found::Type(type_of(value)));
    }

    /// Meta says "characters" and never which. Unicode scalar values are what it is measured in here: never more than UTF-16 units,
    /// so nothing is refused that either count allows.
    pub(super) fn length(&mut self, text: &str, at: &Place<'_>, rule: &'static Rule) {
        let Limit::Characters(from, to) = rule.limit else {
            return;
        };
        // A text has no more characters than bytes, and its bytes are counted already.
        if text.len() <= to && (from == 0 || from == 1 && !text.is_empty()) {
            return;
        }
        let count = text.chars().count();
        if !(from..=to).contains(&count) {
            let found = match count {
                0 => Found::Words("is empty"),
                count => Found::Characters(count),
            };
            self.tell(rule, at, found);
        }
    }

    /// Notes a number of items outside a rule's.
    pub(super) fn count(&mut self, count: usize, at: &Place<'_>, rule: &'static Rule) {
        if let Limit::Items(from, to) = rule.limit
            && !(from..=to).contains(&count)
        {
            self.tell(rule, at, Found::Items(count));
        }
    }

    /// One of a rule's words.
    pub(super) fn one_of<'a>(
        &mut self,
        object: &Object<'a, '_>,
        key: &str,
        must: Must,
        rule: &'static Rule,
    ) -> Option<&'a str> {
        let text = self.string(object, key, must)?;
        if let Limit::OneOf(words) = rule.limit
            && !words.contains(&text)
        {
            let found = unlike(text, "is none of them");
            self.tell(rule, &object.at.key(key), found);
        }
        Some(text)
    }

    /// A number within a rule's.
    pub(super) fn number(
        &mut self,
        object: &Object<'_, '_>,
        key: &str,
        must: Must,
        rule: &'static Rule,
    ) -> Option<f64> {
        let value = self.value(object, key, must)?;
        let at = object.at.key(key);
        let Some(number) = number(value) else {
            let found = match value {
                Value::String(text) => unlike(text, "is text that holds no number"),
                other => Found::Type(type_of(other)),
            };
            self.tell(rule, &at, found);
            return None;
        };
        if let Limit::Number(from, to) = rule.limit
            && !(from..=to).contains(&number)
        {
            self.tell(rule, &at, Found::Words("is out of range"));
        }
        Some(number)
    }

    /// True or false.
    pub(super) fn switch(&mut self, object: &Object<'_, '_>, key: &str) {
        let Some(value) = self.value(object, key, MayBe) else {
            return;
        };
        let at = object.at.key(key);
        match value {
            Value::Bool(_) => {}
            Value::String(_) | Value::Number(_) => {
                self.tell(&FIELD_SCALAR, &at, Found::Type(type_of(value)));
            }
            _ => self.tell(&FIELD_TYPE, &at, Found::Type(type_of(value))),
        }
    }

    /// An address on the web.
    pub(super) fn link(
        &mut self,
        object: &Object<'_, '_>,
        key: &str,
        must: Must,
        rule: &'static Rule,
    ) {
        let Some(link) = self.string(object, key, must) else {
            return;
        };
        let starts = |scheme: &str| {
            let start = link.as_bytes().get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        };
        if !starts("https://") && !starts("http://") {
            let found = unlike(link, "does not begin with http:// or https://");
            self.tell(rule, &object.at.key(key), found);
        }
    }
}

/// What is said of a text that is not as it should be: most often, that somebody forgot to fill it in.
pub(super) fn unlike(text: &str, otherwise: &'static str) -> Found {
    let is_left = text.contains("{{") || text.starts_with('<') && text.ends_with('>');
    Found::Words(match is_left {
        true => "is a placeholder that was not filled in",
        false => otherwise,
    })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        // Rust reads "NaN" and "inf" as numbers, and nobody else does.
        Value::String(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// A JSON type, with its article.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
