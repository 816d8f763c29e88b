//! What others have written, made fit to be kept, logged and shown.
//!
//! An answer of WhatsApp's may repeat the token that it refuses ("Malformed access token EAAB…"), and any answer may hold what moves a
//! cursor or begins a line. Whoever reads an answer takes that out before anybody else sees the text: nothing behind it has to think of it.

use std::error::Error;

use secrecy::{ExposeSecret, SecretString};

use super::mask::Eyes;

/// Stands in place of a credential.
pub const TOKEN: &str = "[token]";

/// Meta's tokens begin like this …
const FIRST_OF_A_TOKEN: &str = "EA";
/// … and have at least so many letters and digits in all. Real ones have some two hundred.
const SHORTEST_TOKEN: usize = 22;
/// So many first characters of a secret are one: what repeats it may cut it short.
const TELLING: usize = 8;
/// A shorter secret than this could stand in any word.
const SHORTEST_SECRET: usize = 4;
/// Characters of an answer that nobody understood.
const EXCERPT: usize = 200;

/// The text on one line and without anything that looks like a token of Meta's.
pub fn fit(text: &str) -> String {
    without_tokens(&on_one_line(text))
}

/// With a blank in place of every control character: none may begin a line of a log, or move a cursor.
fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn without_tokens(text: &str) -> String {
    let mut fit = String::with_capacity(text.len());
    for part in text.split_inclusive(|one: char| !one.is_ascii_alphanumeric()) {
        let end = part.find(|one: char| !one.is_ascii_alphanumeric());
        let (word, after) = part.split_at(end.unwrap_or(part.len()));
        let is_token = word.starts_with(FIRST_OF_A_TOKEN) && word.len() >= SHORTEST_TOKEN;
        fit += if is_token { TOKEN } else { word };
        fit += after;
    }
    fit
}

/// What let a request in, and no text of its answer may tell.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<SecretString>);

impl<T: Into<String>> FromIterator<T> for Secrets {
    fn from_iter<I: IntoIterator<Item = T>>(secrets: I) -> Self {
        let secrets = secrets.into_iter().map(|secret| secret.into().into());
        Self(secrets.collect())
    }
}

impl Secrets {
    /// These, and this one.
    #[must_use]
    pub fn and(mut self, secret: impl Into<String>) -> Self {
        self.0.push(secret.into().into());
        self
    }

    /// The text without any of them.
    pub fn taken_out(&self, text: &str) -> String {
        (self.0.iter()).fold(text.to_owned(), |text, secret| {
            without(&text, secret.expose_secret())
        })
    }

    /// How an answer began that nobody understood: enough to recognise who spoke, with numbers masked.
    pub fn excerpt(&self, body: &[u8]) -> Option<String> {
        // Of what is taken out some is longer than what takes its place.
        let beginning = &body[..body.len().min(8 * EXCERPT)];
        // First of all, for a secret that a mask or a cut has gone through is not found any more.
        let text = self.taken_out(&String::from_utf8_lossy(beginning));
        let short: String = Eyes::CLOSED
            .text(fit(&text).trim())
            .chars()
            .take(EXCERPT)
            .collect();
        (!short.is_empty()).then_some(short)
    }
}

/// The text without this secret, nor so much of its beginning as tells it. What follows a beginning is taken for its rest, written
/// in another way, up to the end of the word.
fn without(text: &str, secret: &str) -> String {
    let telling: String = secret.chars().take(TELLING).collect();
    if telling.len() < SHORTEST_SECRET {
        return text.to_owned();
    }
    let (mut fit, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(&telling) {
        let (before, found) = rest.split_at(at);
        fit += before;
        fit += TOKEN;
        rest =
            (found.strip_prefix(secret)).unwrap_or_else(|| after_a_word(&found[telling.len()..]));
    }
    fit + rest
}

fn after_a_word(text: &str) -> &str {
    let ends = |one: char| one.is_whitespace() || "\"'<>,;".contains(one);
    &text[text.find(ends).unwrap_or(text.len())..]
}

/// JSON with U+FFFD in place of every half of a surrogate pair: who cuts a text in the middle of a character leaves one.
pub fn without_halves(json: &str) -> String {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let (mut mended, mut at) = (String::with_capacity(json.len()), 0);
    while let Some(found) = json[at..].find('\\') {
        let escape = at + found;
        mended.push_str(&json[at..escape]);
        let is_pair = |first| {
            (0xD800..0xDC00).contains(&first)
                && unit(escape + 6).is_some_and(|second| (0xDC00..0xE000).contains(&second))
        };
        let (length, is_half) = match unit(escape) {
            Some(first) if is_pair(first) => (12, false),
            Some(first) => (6, (0xD800..0xE000).contains(&first)),
            None => (2, false),
        };
        let end = (escape + length..=json.len()).find(|end| json.is_char_boundary(*end));
        let end = end.unwrap_or(json.len());
        mended.push_str(if is_half {
            "\\ufffd"
        } else {
            &json[escape..end]
        });
        at = end;
    }
    mended + &json[at..]
}

/// An error and its causes on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_token_of_metas_is_taken_out_wherever_it_stands() {
        let token = format!("EAAB{}", "x7".repeat(90));
        for (text, fitted) in [
            (
                format!("Malformed access token {token}"),
                "Malformed access token [token]",
            ),
            (
                format!("{token}: expired, \"{token}\"."),
                "[token]: expired, \"[token]\".",
            ),
            (
                format!("é access_token={token}&x"),
                "é access_token=[token]&x",
            ),
            (
                "EACH of 22 words; EA, EAABshort".to_owned(),
                "EACH of 22 words; EA, EAABshort",
            ),
            (String::new(), ""),
        ] {
            assert_eq!(fit(&text), fitted);
        }
    }

    #[test]
    fn a_text_has_no_control_characters() {
        assert_eq!(fit("a\nb\r\u{1b}[31mc\0\u{85}d\u{7f}"), "a b  [31mc  d ");
    }

    #[test]
    fn a_secret_is_taken_out_even_where_it_was_cut_short() {
        let secret = "d360-häß-secret-key";
        for (text, fitted) in [
            ("key d360-häß-secret-key!", "key [token]!"),
            ("d360-häß-secret-keyd360-häß-secret-key", "[token][token]"),
            ("key d360-häß-sec", "key [token]"),
            (r"<p>d360-häß-\u0073ecret-key</p>", "<p>[token]</p>"),
            ("key d360-h", "key d360-h"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without(text, secret), fitted);
        }
        assert_eq!(without("is EAAB known", "EAAB"), "is [token] known");
        assert_eq!(without("a b", "a"), "a b");
        assert_eq!(without("a b", ""), "a b");
    }

    #[test]
    fn halves_of_surrogate_pairs_are_mended_and_nothing_else() {
        for (json, mended) in [
            (r#""Hi \ud83d""#, r#""Hi \ufffd""#),
            (r#""\ude00\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud83d \n é\""#, r#""\\ud83d \n é\""#),
            (r#""\ud83dé\u12"#, r#""\ufffdé\u12"#),
            ("\\", "\\"),
        ] {
            assert_eq!(without_halves(json), mended);
        }
    }

    #[test]
    fn an_excerpt_is_short_and_names_nobody() {
        let page = format!(
            "<html>\n+16505551234 wamid.HBgLMTY1MDU1NTEyMzQ= who w 131026{}",
            " é".repeat(900)
        );
        let excerpt = |body| Secrets::default().excerpt(body);
        let found = excerpt(page.as_bytes()).expect("a text");
        assert!(
            found.starts_with("<html> +165…34 wamid.HBg…Q= who w 131026 é"),
            "{found}"
        );
        assert_eq!(found.chars().count(), EXCERPT);
        assert_eq!(excerpt(b" \n"), None);
        assert_eq!(excerpt(&[0xff]).as_deref(), Some("\u{FFFD}"));
    }

    #[test]
    fn an_excerpt_tells_no_secret_whatever_else_is_hidden_in_it() {
        let key = "4815162342abcdefSECRETPARTxyz";
        let token = format!("EAAB{}|SECRETPART", "x7".repeat(30));
        let page = format!(
            "{}D360-API-KEY: {key} of 16505551234; {token}",
            " ".repeat(9)
        );
        let secrets: Secrets = [key, &token].into_iter().collect();
        let excerpt = secrets.excerpt(page.as_bytes());
        let fitted = "D360-API-KEY: [token] of 165…34; [token]";
        assert_eq!(excerpt.as_deref(), Some(fitted));
        assert!(!format!("{secrets:?}").contains("SECRET"));
    }
}
