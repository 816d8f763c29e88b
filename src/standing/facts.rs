//! Facts about one thing, and texts of strangers among them.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Facts about one thing: a label and a value each.
#[derive(Default)]
pub struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// Adds a fact.
    pub fn add(&mut self, label: &'static str, value: impl AsRef<str>) {
        self.0.push((label, plain(value.as_ref()).into_owned()));
    }

    /// Adds a fact where there is one.
    pub fn add_some(&mut self, label: &'static str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.add(label, value);
        }
    }

    /// Label and value of each.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(label, value)| (*label, value.as_str()))
    }

    /// A line each, indented.
    pub fn render(&self) -> String {
        let widest = self.0.iter().map(|(label, _)| width(label)).max();
        let widest = widest.unwrap_or(0);
        self.0
            .iter()
            .map(|(label, value)| format!("  {label:widest$}  {value}\n"))
            .collect()
    }
}

/// The text on one line and without control characters: what strangers wrote (a reference, a profile name in an error of WhatsApp's)
/// must not steer the terminal of whoever looks at it, nor the order in which they read it.
pub fn plain(text: &str) -> Cow<'_, str> {
    without(text, steers)
}

/// The same in as many lines as it has.
pub fn plain_lines(text: &str) -> Cow<'_, str> {
    without(text, |one| one != '\n' && steers(one))
}

fn without(text: &str, unwanted: fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(unwanted) {
        return Cow::Borrowed(text);
    }
    let shown = |one: char| match one {
        one if !unwanted(one) => one,
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        _ => char::REPLACEMENT_CHARACTER,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Whether it is no letter but an order: to a terminal, or to whoever puts letters in line (Unicode, UAX #9: bidirectional text).
fn steers(one: char) -> bool {
    let turns = matches!(
        one,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns || one.is_control() || matches!(one, '\u{2028}' | '\u{2029}')
}

/// So many columns of a terminal the text takes. Terminals differ in what they draw as one picture (an emoji of several characters, a
/// heart that is made red); the wider reading stays within a line.
pub fn width(text: &str) -> usize {
    let apart = text.chars().filter_map(UnicodeWidthChar::width).sum();
    text.width().max(apart)
}

/// A count as people read it: 1,204,512.
pub fn thousands(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if count < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        assert_eq!(
            plain("order\n7\u{1b}[2J\u{9b}1m"),
            "order 7\u{fffd}[2J\u{fffd}1m"
        );
        assert_eq!(plain("Grüße"), "Grüße");
        assert_eq!(plain_lines("one\ntwo\r\u{7}"), "one\ntwo \u{fffd}");
    }

    #[test]
    fn a_text_cannot_turn_what_is_read_around() {
        for turns in "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}".chars() {
            assert_eq!(plain(&format!("order {turns}7")), "order \u{fffd}7");
        }
        assert_eq!(plain("one\u{2028}two\u{2029}"), "one two ");
        assert_eq!(plain("שלום مرحبا"), "שלום مرحبا");
    }

    #[test]
    fn a_wide_character_takes_two_columns() {
        for (text, columns) in [
            ("Grüße", 5),
            ("你好", 4),
            ("👍!", 3),
            ("e\u{301}", 1),
            ("❤\u{fe0f}", 2),
            ("", 0),
        ] {
            assert_eq!(width(text), columns, "{text}");
        }
    }

    #[test]
    fn facts_line_up_and_what_is_not_there_is_left_out() {
        let mut facts = Facts::default();
        facts.add("due", "now");
        facts.add_some("sequence", None::<&str>);
        facts.add_some("reference", Some("order-7"));
        assert_eq!(facts.render(), "  due        now\n  reference  order-7\n");
    }

    #[test]
    fn a_count_is_read_in_threes() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_204_512, "1,204,512"),
            (-1_000, "-1,000"),
        ] {
            assert_eq!(thousands(count), text);
        }
    }
}
