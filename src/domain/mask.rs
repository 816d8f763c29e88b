//! Shows enough of a recipient or a wamid to recognise it, and too little to write to it.
//!
//! A wamid holds the recipient's number in base64, so it is hidden as the number is.

mod text;

use std::borrow::Cow;

const FIRST: usize = 3;
const LAST: usize = 2;

/// How personal data is shown: masked, unless the operator asked to see it.
#[derive(Clone, Copy, Debug)]
pub struct Eyes {
    /// Whether they may see all.
    pub reveal: bool,
}

impl Eyes {
    /// Of those who were not asked, or not allowed, to see it.
    pub const CLOSED: Self = Self { reveal: false };

    /// A recipient, as `+165…34`.
    pub fn recipient<'a>(&self, recipient: &'a str) -> Cow<'a, str> {
        self.show(recipient, "+")
    }

    /// A wamid, as `wamid.HBg…0A`.
    pub fn wamid<'a>(&self, wamid: &'a str) -> Cow<'a, str> {
        self.show(wamid, "wamid.")
    }

    /// A text of WhatsApp's, which may name the recipient: by number, however that is written, or by wamid.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.reveal {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text::veiled(text))
    }

    fn show<'a>(&self, text: &'a str, prefix: &str) -> Cow<'a, str> {
        if self.reveal {
            return Cow::Borrowed(text);
        }
        let (prefix, hidden) = match text.strip_prefix(prefix) {
            Some(hidden) => (prefix, hidden),
            None => ("", text),
        };
        Cow::Owned(format!("{prefix}{}", masked(hidden)))
    }
}

fn masked(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    // Of a short one the two ends would be nearly all of it.
    if characters.len() < FIRST + LAST + 3 {
        return "…".to_owned();
    }
    let first: String = characters[..FIRST].iter().collect();
    let last: String = characters[characters.len() - LAST..].iter().collect();
    format!("{first}…{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ends_of_a_number_or_a_wamid_are_shown() {
        assert_eq!(Eyes::CLOSED.recipient("+16505551234"), "+165…34");
        assert_eq!(Eyes::CLOSED.recipient("US.13491208655302741918"), "US.…18");
        assert_eq!(
            Eyes::CLOSED.wamid("wamid.HBgLMTY1MDU1NTEyMzQVAg0A"),
            "wamid.HBg…0A"
        );
    }

    #[test]
    fn of_a_short_one_nothing_is_shown() {
        assert_eq!(Eyes::CLOSED.recipient("+1234567"), "+…");
        assert_eq!(Eyes::CLOSED.wamid("wamid.ab"), "wamid.…");
        assert_eq!(Eyes::CLOSED.wamid(""), "…");
    }

    #[test]
    fn in_a_text_of_whatsapps_numbers_are_hidden_and_codes_are_not() {
        let text = "(131026) Message to +1 650-555-1234 undeliverable.";
        let shown = "(131026) Message to +165…34 undeliverable.";
        assert_eq!(Eyes::CLOSED.text(text), shown);
        assert_eq!(Eyes { reveal: true }.text(text), text);
    }

    #[test]
    fn who_asks_to_see_all_sees_all() {
        let open = Eyes { reveal: true };
        assert_eq!(open.recipient("+16505551234"), "+16505551234");
        assert_eq!(open.wamid("wamid.HBgL"), "wamid.HBgL");
    }
}
