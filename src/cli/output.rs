//! What a command says on standard output, for people or as JSON.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;

use crate::config::Environment;
pub(super) use crate::standing::facts::plain;

/// Prints what was asked for, and ends it with a line break.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| {
            if text.ends_with('\n') {
                Ok(())
            } else {
                out.write_all(b"\n")
            }
        })
        .and_then(|()| out.flush())
        .context("could not write to standard output")
}

/// Prints one JSON document.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value).context("could not write JSON")?)
}

/// Whether colours are wanted there: a terminal, and no `NO_COLOR` (<https://no-color.org>: present and not empty).
pub(super) fn colours(env: &Environment) -> bool {
    io::stdout().is_terminal() && env.get("NO_COLOR").is_none_or(String::is_empty)
}

/// The text in bold, where colours are wanted.
pub(super) fn bold(text: &str, colours: bool) -> String {
    painted(Some("1"), text, colours)
}

/// The text with an attribute, as a terminal knows it by number, where colours are wanted.
pub(super) fn painted(code: Option<&str>, text: &str, colours: bool) -> String {
    match code {
        Some(code) if colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        Some(_) | None => text.to_owned(),
    }
}

/// A text as a field of a CSV file (RFC 4180).
pub(super) fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bold_is_bold_only_where_colours_are_wanted() {
        assert_eq!(bold("ID", true), "\u{1b}[1mID\u{1b}[0m");
        assert_eq!(bold("ID", false), "ID");
    }
}
