//! Words of a command that is told, as a shell reads them.
//!
//! What is told to be run is copied and pasted. A name with a space would break there, and one with `;` or `$(…)` would run what
//! somebody else has written into it. So whatever is data in a command passes here.

use std::borrow::Cow;

/// One word of a command: as it is where no shell sees more in it, else in quotes.
pub fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |one: char| one.is_alphanumeric() || "_-./:@%+=,".contains(one);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_see_more_in_it() {
        for plain in [
            "spring",
            "spring-2026_b",
            "a/b.csv",
            "+16505551234",
            "Frühling",
        ] {
            assert_eq!(word(plain), plain);
        }
        for (text, quoted) in [
            ("", "''"),
            ("spring sale", "'spring sale'"),
            ("x; rm -r .", "'x; rm -r .'"),
            ("$(id) `id` \\", "'$(id) `id` \\'"),
            ("it's", r"'it'\''s'"),
            ("~", "'~'"),
            ("*", "'*'"),
            ("a\nb", "'a\nb'"),
        ] {
            assert_eq!(word(text), quoted);
        }
    }

    #[test]
    fn a_shell_reads_a_word_as_it_was() {
        for text in [
            "spring",
            "",
            "it's",
            "$(echo a) `echo b` \\ \"c\" ; & | > # !",
            "a\nb",
            "~/*",
        ] {
            let printed = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", word(text))])
                .output()
                .expect("a shell");
            assert_eq!(String::from_utf8_lossy(&printed.stdout), text);
        }
    }
}
