//! Texts that fit: into a column, into a line, into lines.
//!
//! Columns are counted and not characters: of what others write some take two.

use crate::cli::failure::Problem;
use crate::cli::output::plain;
use crate::standing::facts::width;

/// What a template is for, as it is typed.
pub(super) const CATEGORIES: [&str; 3] = ["marketing", "utility", "authentication"];

/// A message's id, as it is typed.
pub(super) fn message_id(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(|_| {
        "a message's id is a number; by your own id it is found with: wa-outbox message list --reference TEXT"
    })
}

/// Refuses what nobody could read or type as the name of something: nothing, spaces, what steers a terminal, a novel.
pub(super) fn must_be_name(
    field: &str,
    name: &str,
    at_most: usize,
    fix: &str,
) -> Result<(), Problem> {
    let length = name.chars().count();
    let wrong = match plain(name) {
        _ if name.trim().is_empty() => format!("{field} is {name:?}, which nobody can read"),
        shown if shown != name => format!("{field} is {name:?}, which has control characters"),
        _ if length > at_most => format!(
            "{field} is {:?}, which has {length} characters; at most it has {at_most}",
            fit(name, 40)
        ),
        _ => return Ok(()),
    };
    Err(Problem::usage(wrong, fix))
}

/// A span of time, in one number.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// A space that no line is broken at; it is shown as any other.
pub(super) const TIED: char = '\u{a0}';

/// A text in lines of at most `columns`, the first after `start`, the others after `indent`.
pub(super) fn wrapped(start: &str, indent: &str, text: &str, columns: usize) -> String {
    let mut lines = String::new();
    let mut line = start.to_owned();
    let mut is_empty = true;
    for word in plain(text).split(' ').filter(|word| !word.is_empty()) {
        if !is_empty && width(&line) + 1 + width(word) > columns {
            lines.push_str(&line);
            lines.push('\n');
            indent.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push_str(&line);
    lines.push('\n');
    lines.replace(TIED, " ")
}

/// At most so many columns of a text, on one line.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let text = plain(text);
    if width(&text) <= columns {
        return text.into_owned();
    }
    let mut cut = String::new();
    for one in text.chars() {
        cut.push(one);
        // One column is for the dots.
        if width(&cut) >= columns {
            cut.pop();
            break;
        }
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(fit("abcd", 4), "abcd");
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("你好吗", 6), "你好吗");
        assert_eq!(fit("你好吗", 5), "你好…");
        assert_eq!(fit("你好吗", 4), "你…");
        assert_eq!((fit("你", 1), fit("你", 0)), ("…".into(), String::new()));
    }

    #[test]
    fn a_name_can_be_read_and_typed() {
        for name in ["spring sale", "Frühling", "春", &"x".repeat(100)] {
            must_be_name("NAME", name, 100, "").expect("a name");
        }
        for (name, wrong) in [
            ("", "NAME is \"\", which nobody can read"),
            (" ", "NAME is \" \", which nobody can read"),
            ("a\nb", r#"NAME is "a\nb", which has control characters"#),
            (
                "a\u{1b}[2J",
                r#"NAME is "a\u{1b}[2J", which has control characters"#,
            ),
            (&"x".repeat(101), "which has 101 characters"),
        ] {
            let refused = must_be_name("NAME", name, 100, "").expect_err("no name");
            assert!(refused.to_string().contains(wrong), "{refused}");
        }
    }

    #[test]
    fn a_long_story_is_wrapped_between_words() {
        let text = wrapped("  #1 ", "     ", "one two three four", 14);
        assert_eq!(text, "  #1 one two\n     three\n     four\n");
    }

    #[test]
    fn what_is_tied_stays_on_one_line() {
        let text = wrapped("", "", &format!("one two{TIED}three"), 9);
        assert_eq!(text, "one\ntwo three\n");
    }

    #[test]
    fn a_word_that_fits_nowhere_is_left_whole() {
        assert_eq!(
            wrapped("> ", "  ", "abcdefghij k", 6),
            "> abcdefghij\n  k\n"
        );
    }
}
