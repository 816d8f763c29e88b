//! Names of columns, as far as they may be shown: where a file has no header, somebody's number stands in their place.

use std::borrow::Cow;

use super::BadFile;

/// Of a name so many characters are shown, and so many names.
const LONGEST: usize = 40;
const MOST: usize = 20;

/// A name as it may be shown: none that may be a number, and of a long one the beginning.
pub(in crate::cli) fn shown(name: &str) -> Cow<'_, str> {
    // No phone number has fewer digits (E.164).
    if digits(name) >= 7 {
        return Cow::Borrowed("(a number)");
    }
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

/// Names as they may be shown, one after the other.
pub(in crate::cli) fn list(names: &[impl AsRef<str>]) -> String {
    let first = names.iter().take(MOST).map(|name| shown(name.as_ref()));
    let first = first.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Says that a column is missing or means nothing, unless the first line is no header at all: then none of it is shown.
pub(in crate::cli) fn unless_no_header(names: &[String], error: BadFile) -> BadFile {
    let is_number = |name: &String| digits(name) >= 10 && !name.contains(char::is_alphabetic);
    match names.iter().position(is_number) {
        Some(index) => BadFile::Header(format!("column {} looks like a phone number", index + 1)),
        None => error,
    }
}

fn digits(name: &str) -> usize {
    name.chars()
        .filter(|character| character.is_numeric())
        .count()
}
