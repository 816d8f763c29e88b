//! A rule, and what a look at a body finds.

use std::fmt;

/// How sure a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The API is sure to reject it.
    Refused,
    /// The documentation does not have it so, but the API may take it.
    Doubtful,
}

/// What a rule allows. It is what the look measures by, and what the documentation shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many characters, from and to.
    Characters(usize, usize),
    /// So many items, from and to.
    Items(usize, usize),
    /// A number, from and to.
    Number(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// What no number says.
    Words(&'static str),
}

/// Something that WhatsApp's documentation demands of a body.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// Its name, which does not change.
    pub id: &'static str,
    /// How sure it is.
    pub class: Class,
    /// What it demands.
    pub demand: &'static str,
    /// What it allows.
    pub limit: Limit,
    /// Where it is from: Meta's page by its name, its OpenAPI description, the code of an error, or a field report.
    pub source: &'static str,
    /// What to do where it is broken.
    pub fix: &'static str,
}

/// What was found in the place of what a rule demands. Never the text itself, which may be personal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// Nothing.
    Missing,
    /// A value of this JSON type.
    Type(&'static str),
    /// A text of so many characters.
    Characters(usize),
    /// So many items.
    Items(usize),
    /// What these words say.
    Words(&'static str),
}

/// A rule that a body breaks, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How sure it is; a strict look is surer than the rule by itself.
    pub class: Class,
    /// Where, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is there.
    pub found: Found,
}

impl Class {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Doubtful => "doubtful",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Characters(0, to) => write!(f, "at most {} characters", Thousands(to)),
            Self::Characters(from, to) => {
                write!(f, "{} to {} characters", Thousands(from), Thousands(to))
            }
            Self::Items(from, usize::MAX) => write!(f, "at least {}", Thousands(from)),
            Self::Items(0, to) => write!(f, "at most {}", Thousands(to)),
            Self::Items(from, to) => write!(f, "{} to {}", Thousands(from), Thousands(to)),
            Self::Number(from, f64::INFINITY) => write!(f, "at least {from}"),
            Self::Number(from, to) => write!(f, "{from} to {to}"),
            Self::OneOf(words) => f.write_str(&words.join(", ")),
            Self::Words(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Missing => f.write_str("is missing"),
            Self::Type(name) => write!(f, "is {name}"),
            Self::Characters(1) => f.write_str("has 1 character"),
            Self::Characters(count) => write!(f, "has {} characters", Thousands(count)),
            Self::Items(1) => f.write_str("has 1 item"),
            Self::Items(count) => write!(f, "has {} items", Thousands(count)),
            Self::Words(words) => f.write_str(words),
        }
    }
}

impl Finding {
    /// What to do. What is empty is not to be shortened.
    pub fn fix(&self) -> &'static str {
        match (self.rule.limit, self.found) {
            (Limit::Characters(1.., _), Found::Words("is empty")) => "write something there",
            _ => self.rule.fix,
        }
    }
}

/// One sentence for a person: where, what, what is allowed, what to do, and which rule says so.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { id, limit, .. } = self.rule;
        let place = match self.pointer.as_str() {
            "" => "the payload",
            pointer => pointer,
        };
        write!(
            f,
            "{place} {}; allowed: {limit}; {} (rule {id})",
            self.found,
            self.fix()
        )
    }
}

/// A number with its thousands apart.
struct Thousands(usize);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// Rules, each under a name of its own, and all of them in `RULES`: none can be left out of the list.
macro_rules! rules {
    ($($name:ident $id:literal $class:ident: $demand:literal, $limit:expr; $source:literal; $fix:literal.)*) => {
        $(static $name: $crate::message::rules::Rule = $crate::message::rules::Rule {
            id: $id,
            class: $crate::message::rules::Class::$class,
            demand: $demand,
            limit: $limit,
            source: $source,
            fix: $fix,
        };)*
        /// The rules of this part.
        pub(super) static RULES: &[&$crate::message::rules::Rule] = &[$(&$name),*];
    };
}
pub(super) use rules;
