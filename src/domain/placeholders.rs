//! Fills the `{{name}}` placeholders of a campaign's payload with a recipient's variables.
//!
//! The payload is read once ([`Template::parse`]) and cut into what is the same for everybody and what is not; filling it
//! ([`Template::fill`]) joins pieces. What stands between the placeholders reaches the result byte for byte: keys, their order,
//! numbers as they were written. A value is put in as JSON, so no quote, brace, line break or emoji of a recipient can end a
//! string or begin an object, and a value that itself holds `{{x}}` is text like any other: nothing is filled twice.
//!
//! - Placeholders stand in string *values*. Keys are never touched.
//! - A string that is nothing but `{{name}}` becomes the variable's JSON value as it is: a number, an object, a list.
//! - Inside a longer string the variable gives its text: of a string its content, of a number or a truth value its JSON text.
//!   An object or a list has no text, so there it is refused.
//! - `null` counts as missing: a column that was NULL must not greet anybody as "null".
//! - Blanks inside the braces do not matter. A name may have any character but braces and control characters.
//! - `{{{{` writes two literal braces. `}}` outside a placeholder stands for itself.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A payload whose placeholders are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    names: Vec<String>,
    /// What all fixed pieces together have, to make room for a result at once.
    fixed: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// JSON text, as it was written.
    Fixed(String),
    Place(Placeholder),
}

/// Where a variable is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// The variable's name.
    pub name: String,
    /// The string that wants it, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// Whether it is the whole string, and so takes any JSON value.
    pub whole: bool,
}

/// A payload that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not JSON.
    #[error("the payload is not valid JSON: line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A `{{` without its `}}`.
    #[error(
        "{pointer}: a placeholder is not closed; write {{{{name}}}}, or {{{{{{{{ for two braces"
    )]
    Unclosed {
        /// Where.
        pointer: String,
    },
    /// No name, or one with braces or control characters in it.
    #[error(
        "{pointer}: a placeholder has no proper name; write {{{{name}}}}, or {{{{{{{{ for two braces"
    )]
    BadName {
        /// Where.
        pointer: String,
    },
}

/// A placeholder that these variables cannot fill. It tells where, and never what: the value may be personal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The variable is not there, or is null.
    #[error("variable {name:?} is missing, wanted at {pointer}")]
    Missing {
        /// Which.
        name: String,
        /// The string that wants it, as a JSON pointer.
        pointer: String,
    },
    /// An object or a list where only text fits.
    #[error("variable {name:?} is {found}, and at {pointer} it stands inside a text")]
    NotText {
        /// Which.
        name: String,
        /// The string that wants it, as a JSON pointer.
        pointer: String,
        /// `an object` or `a list`.
        found: &'static str,
    },
}

/// Variables that are no JSON object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variables are {0}; write an object such as {{\"name\":\"Ada\"}}")]
pub struct NotVariables(&'static str);

/// The variables of one recipient, read as far as their values' borders. They are personal data, so `Debug` hides them.
pub struct Variables<'a> {
    members: Vec<(Cow<'a, str>, &'a str)>,
}

impl Template {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is no JSON, or a placeholder in it cannot be meant.
    pub fn parse(json: &str) -> Result<Self, TemplateError> {
        serde_json::from_str::<IgnoredAny>(json).map_err(|error| TemplateError::NotJson {
            line: error.line(),
            column: error.column(),
        })?;
        let mut builder = Builder::default();
        Scan::new(json).run(|found| builder.add(found))?;
        Ok(builder.finish())
    }

    /// The variables that it wants, each once, in the order of their first appearance.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Every place where a variable is wanted, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Place(place) => Some(place),
            Piece::Fixed(_) => None,
        })
    }

    /// The payload for one recipient, as JSON text.
    ///
    /// # Errors
    /// The first placeholder that the variables cannot fill.
    pub fn fill(&self, variables: &Variables<'_>) -> Result<String, FillError> {
        let mut filled = String::with_capacity(self.fixed + 24 * self.names.len());
        for piece in &self.pieces {
            match piece {
                Piece::Fixed(text) => filled.push_str(text),
                Piece::Place(place) => filled.push_str(place.value(variables)?),
            }
        }
        Ok(filled)
    }

    /// Everything that [`Template::fill`] would stumble over with these variables; each variable once.
    pub fn faults(&self, variables: &Variables<'_>) -> Vec<FillError> {
        let mut faults: Vec<FillError> = Vec::new();
        for place in self.placeholders() {
            if let Err(fault) = place.value(variables)
                && !faults.iter().any(|known| known.name() == fault.name())
            {
                faults.push(fault);
            }
        }
        faults
    }
}

impl Placeholder {
    /// The JSON text that takes its place: a value for a whole string, else the inside of a string.
    fn value<'a>(&self, variables: &Variables<'a>) -> Result<&'a str, FillError> {
        let (name, pointer) = (self.name.clone(), self.pointer.clone());
        let Some(raw) = variables.get(&self.name) else {
            return Err(FillError::Missing { name, pointer });
        };
        if self.whole {
            return Ok(raw);
        }
        let found = match raw.as_bytes().first() {
            // Escaped as it was escaped before: the inside of one JSON string is the inside of any other.
            Some(b'"') => return Ok(&raw[1..raw.len() - 1]),
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(_) | None => return Ok(raw),
        };
        Err(FillError::NotText {
            name,
            pointer,
            found,
        })
    }
}

impl FillError {
    /// The variable that is at fault.
    pub fn name(&self) -> &str {
        match self {
            Self::Missing { name, .. } | Self::NotText { name, .. } => name,
        }
    }
}

impl<'a> Variables<'a> {
    /// Reads an object of variables. Where a name stands twice, the last one counts, as it does in `jsonb`.
    ///
    /// # Errors
    /// When it is no JSON object, or a string in it is none that can be sent (half a surrogate pair).
    pub fn parse(json: &'a str) -> Result<Self, NotVariables> {
        serde_json::from_str(json).map_err(|error| {
            NotVariables(if error.is_data() {
                "no object"
            } else {
                "no JSON"
            })
        })
    }

    /// The JSON text of a variable; none for what is missing or null.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let mut from_the_end = self.members.iter().rev();
        let (_, raw) = from_the_end.find(|(known, _)| known == name)?;
        (*raw != "null").then_some(*raw)
    }

    /// A name that stands twice.
    pub fn doubled(&self) -> Option<&str> {
        let mut known = HashSet::with_capacity(self.members.len());
        let mut names = self.members.iter().map(|(name, _)| name.as_ref());
        names.find(|name| !known.insert(*name))
    }

    /// Names and JSON texts, as they stand.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.members.iter().map(|(name, raw)| (name.as_ref(), *raw))
    }
}

impl fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({})", self.members.len())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Variables<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Cow<'de, str>, &'de str)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    let raw = value.get();
                    if is_half_a_pair(raw) {
                        return Err(serde::de::Error::custom("half a surrogate pair"));
                    }
                    members.push((name.0, raw));
                }
                Ok(members)
            }
        }

        deserializer
            .deserialize_map(Members)
            .map(|members| Self { members })
    }
}

/// A key that is borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether a raw value has an escape that names no character. Skipping over a value does not look at that, and two halves,
/// one of a variable and one of the text beside it, would join.
fn is_half_a_pair(raw: &str) -> bool {
    raw.contains("\\u") && serde_json::from_str::<serde_json::Value>(raw).is_err()
}

// ── reading a template ──────────────────────────────────────────────────────────────────────────────────────────────

/// What [`Scan`] comes across.
enum Found<'a> {
    /// JSON text without placeholders.
    Text(&'a str),
    /// The inside of a string value that has two braces in a row, and where it is.
    Braced(&'a str, String),
}

/// Joins what is fixed, and remembers names.
#[derive(Default)]
struct Builder {
    pieces: Vec<Piece>,
    names: Vec<String>,
}

impl Builder {
    fn add(&mut self, found: Found<'_>) -> Result<(), TemplateError> {
        match found {
            Found::Text(text) => {
                self.fixed(text);
                Ok(())
            }
            Found::Braced(inside, pointer) => self.string(inside, &pointer),
        }
    }

    /// A string value, between its quotes.
    fn string(&mut self, inside: &str, pointer: &str) -> Result<(), TemplateError> {
        if let Some(name) = whole(inside) {
            self.place(&name_of(name, pointer)?, pointer, true);
            return Ok(());
        }
        self.fixed("\"");
        let mut rest = inside;
        while let Some(at) = rest.find("{{") {
            self.fixed(&rest[..at]);
            let braces = rest[at..].bytes().take_while(|byte| *byte == b'{').count();
            // Of three braces the first is one, of four the first two are an escape.
            if braces != 2 {
                let literal = braces.min(4) - 2;
                self.fixed(if literal == 1 { "{" } else { "{{" });
                rest = &rest[at + if literal == 1 { 1 } else { 4 }..];
                continue;
            }
            let Some(end) = rest[at..].find("}}") else {
                let pointer = pointer.to_owned();
                return Err(TemplateError::Unclosed { pointer });
            };
            let name = name_of(&rest[at + 2..at + end], pointer)?;
            self.place(&name, pointer, false);
            rest = &rest[at + end + 2..];
        }
        self.fixed(rest);
        self.fixed("\"");
        Ok(())
    }

    fn fixed(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Fixed(last)) => last.push_str(text),
            Some(Piece::Place(_)) | None => self.pieces.push(Piece::Fixed(text.to_owned())),
        }
    }

    fn place(&mut self, name: &str, pointer: &str, whole: bool) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        self.pieces.push(Piece::Place(Placeholder {
            name: name.to_owned(),
            pointer: pointer.to_owned(),
            whole,
        }));
    }

    fn finish(self) -> Template {
        let length = |piece: &Piece| match piece {
            Piece::Fixed(text) => text.len(),
            Piece::Place(_) => 0,
        };
        Template {
            fixed: self.pieces.iter().map(length).sum(),
            pieces: self.pieces,
            names: self.names,
        }
    }
}

/// The name in a string that is one placeholder and nothing else.
fn whole(inside: &str) -> Option<&str> {
    let name = inside.strip_prefix("{{")?.strip_suffix("}}")?;
    (!name.contains(['{', '}'])).then_some(name)
}

/// A name as it was written inside a JSON string, with its escapes.
fn name_of(written: &str, pointer: &str) -> Result<String, TemplateError> {
    let name: Option<String> = serde_json::from_str(&format!("\"{written}\"")).ok();
    let name = name.map(|name| name.trim().to_owned());
    name.filter(|name| {
        !name.is_empty() && !name.contains(|c: char| matches!(c, '{' | '}') || c.is_control())
    })
    .ok_or_else(|| TemplateError::BadName {
        pointer: pointer.to_owned(),
    })
}

/// Walks through JSON text that is known to be valid, and knows at each string whether it is a key, and where it is.
struct Scan<'a> {
    json: &'a str,
    levels: Vec<Level<'a>>,
}

enum Level<'a> {
    /// An object: the raw key of the member we are in, `None` before its colon.
    Object(Option<&'a str>),
    /// A list: the place of the element we are in.
    List(usize),
}

impl<'a> Scan<'a> {
    fn new(json: &'a str) -> Self {
        Self {
            json,
            levels: Vec::new(),
        }
    }

    fn run(
        mut self,
        mut tell: impl FnMut(Found<'a>) -> Result<(), TemplateError>,
    ) -> Result<(), TemplateError> {
        let bytes = self.json.as_bytes();
        let (mut told, mut at) = (0, 0);
        while at < bytes.len() {
            match bytes[at] {
                b'{' => self.levels.push(Level::Object(None)),
                b'[' => self.levels.push(Level::List(0)),
                b'}' | b']' => drop(self.levels.pop()),
                b',' => match self.levels.last_mut() {
                    Some(Level::Object(key)) => *key = None,
                    Some(Level::List(index)) => *index += 1,
                    None => {}
                },
                b'"' => {
                    let end = end_of_string(bytes, at);
                    let inside = &self.json[at + 1..end];
                    match self.levels.last_mut() {
                        Some(Level::Object(key @ None)) => *key = Some(inside),
                        _ if inside.contains("{{") => {
                            tell(Found::Text(&self.json[told..at]))?;
                            tell(Found::Braced(inside, self.pointer()))?;
                            told = end + 1;
                        }
                        _ => {}
                    }
                    at = end;
                }
                _ => {}
            }
            at += 1;
        }
        tell(Found::Text(&self.json[told..]))
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for level in &self.levels {
            pointer.push('/');
            match level {
                Level::List(index) => pointer.push_str(&index.to_string()),
                Level::Object(key) => {
                    let raw = key.unwrap_or_default();
                    let key = serde_json::from_str(&format!("\"{raw}\"")).ok();
                    let key = key.unwrap_or_else(|| raw.to_owned());
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                }
            }
        }
        pointer
    }
}

/// Where the string that begins at `start` ends: its closing quote.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

#[cfg(test)]
#[path = "placeholders_tests.rs"]
mod tests;
