//! The callback token: what ties a status webhook to the request that caused it.
//!
//! WhatsApp has no idempotency key and no look-up by an id of ours. What it does is hand a request's callback data
//! back in the status webhooks (Meta, "Send messages", `biz_opaque_callback_data`: a string of at most 512
//! characters). So each request carries a token there that names message and attempt, and a token seen in a webhook
//! proves that this very request was accepted, also when its answer was lost.
//!
//! Because such a proof makes us never send again, it must not be forgeable: the token ends in a MAC under a key
//! that only we hold. Every app that is subscribed to the account sees the token, so it says nothing about people.
//!
//! ```text
//! wo1-4711-2-q83vEjRWeJCrze8S:order-77
//! │   │    │ │                └ the application's own value, when it gave one
//! │   │    │ └ HMAC-SHA256 of what stands before it, the first 96 bits, base64url
//! │   │    └ attempt
//! │   └ message
//! └ format version
//! ```
//!
//! The MAC also says of which era of the database the request was (see [`Era`]), without taking a character for it: each era has a
//! key of its own, made from the one. So a token of a message that was lost in a restore cannot be taken for one of the message
//! that bears its id since.
//!
//! 96 bits are enough: a guess can only be tried by a delivery that WhatsApp itself has signed, and is right once in
//! 2^96 times. The MAC does not cover the application's value: a go-between that mangles that value costs the
//! application its value, never us our evidence.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use data_encoding::{
    BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE,
};

use super::id::{AttemptNumber, Era, MessageId};

/// The longest callback data that WhatsApp takes, in characters (Meta, "Messages" reference; 512 since January 2024).
pub const MAX_CALLBACK_CHARS: usize = 512;

/// The longest callback data that an application may give, in characters, so that it fits behind the longest token.
pub const MAX_APP_CALLBACK_CHARS: usize = MAX_CALLBACK_CHARS - LONGEST_TOKEN - 1;

const VERSION: &str = "wo1-";
const SEPARATOR: char = ':';
const MAC_BYTES: usize = 12;
const MAC_CHARS: usize = MAC_BYTES / 3 * 4;
const LONGEST_TOKEN: usize =
    VERSION.len() + "-9223372036854775808".len() + 1 + "-2147483648".len() + 1 + MAC_CHARS;

/// The key that tokens are made and checked with. Never shown.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

/// What a piece of callback data turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callback {
    /// Ours: this attempt of this message was accepted by WhatsApp.
    Verified {
        /// The message it was sent for.
        message: MessageId,
        /// The request that it was sent in.
        attempt: AttemptNumber,
        /// The application's own callback data, not covered by the MAC.
        app: Option<String>,
    },
    /// Not a token: somebody else sends from the same number, or a token was cut short on its way.
    Foreign,
    /// Shaped like a token, but not made with this key. Proves nothing; worth counting.
    Forged,
}

/// The application's callback data leaves no room for the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the callback data has {chars} characters; at most {MAX_APP_CALLBACK_CHARS} fit behind the token"
)]
pub struct TokenTooLong {
    /// Its length in characters.
    pub chars: usize,
}

/// A text that is no token key. It does not repeat the text, which may be a mistyped secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token key is 32 bytes, written as 64 hex digits or in base64")]
pub struct BadTokenKey;

impl TokenKey {
    /// A key from its 32 bytes.
    pub fn from_bytes(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A key from 64 hex digits, or from base64 in either alphabet, padded or not.
    ///
    /// # Errors
    /// When the text is none of these, or not of 32 bytes.
    pub fn from_text(text: &str) -> Result<Self, BadTokenKey> {
        [
            HEXLOWER_PERMISSIVE,
            BASE64,
            BASE64_NOPAD,
            BASE64URL,
            BASE64URL_NOPAD,
        ]
        .iter()
        .filter_map(|encoding| encoding.decode(text.trim().as_bytes()).ok())
        .find_map(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .map(|bytes| Self::from_bytes(&bytes))
        .ok_or(BadTokenKey)
    }

    /// What tells this key from others, and does not tell it: the first 48 bits of an HMAC-SHA256, in hex.
    pub fn fingerprint(&self) -> String {
        // No claim begins so.
        let tag = hmac::sign(&self.0, b"fingerprint of the key of callback tokens");
        HEXLOWER.encode(&tag.as_ref()[..6])
    }

    /// The key for the requests of an era.
    pub fn in_era(&self, era: Era) -> Self {
        if era == Era::FIRST {
            return self.clone();
        }
        let context = format!("callback token of era {}", era.0);
        let tag = hmac::sign(&self.0, context.as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref()))
    }

    /// The callback data for one request: its token, and behind it the application's own value.
    ///
    /// # Errors
    /// When the application's value is longer than [`MAX_APP_CALLBACK_CHARS`].
    pub fn issue(
        &self,
        message: MessageId,
        attempt: AttemptNumber,
        app: Option<&str>,
    ) -> Result<String, TokenTooLong> {
        let mut token = claim(message, attempt);
        let mac = self.mac(&token);
        token.push('-');
        token.push_str(&BASE64URL_NOPAD.encode(&mac));
        if let Some(app) = app {
            let chars = app.chars().count();
            // Refused by the one limit, also where a short message id would leave room for more: whether a row can
            // be sent must not depend on its id.
            if chars > MAX_APP_CALLBACK_CHARS {
                return Err(TokenTooLong { chars });
            }
            token.push(SEPARATOR);
            token.push_str(app);
        }
        Ok(token)
    }

    /// Tells whose callback data this is. Takes any text; the MAC is compared in constant time.
    pub fn verify(&self, callback_data: &str) -> Callback {
        let Some(shape) = Shape::read(callback_data) else {
            return Callback::Foreign;
        };
        let expected = self.mac(&claim(shape.message, shape.attempt));
        match constant_time::verify_slices_are_equal(&expected, &shape.mac) {
            Ok(()) => Callback::Verified {
                message: shape.message,
                attempt: shape.attempt,
                app: shape.app,
            },
            Err(_) => Callback::Forged,
        }
    }

    fn mac(&self, claim: &str) -> [u8; MAC_BYTES] {
        let tag = hmac::sign(&self.0, claim.as_bytes());
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(&tag.as_ref()[..MAC_BYTES]);
        mac
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

/// What the MAC vouches for.
fn claim(message: MessageId, attempt: AttemptNumber) -> String {
    format!("{VERSION}{}-{}", message.0, attempt.0)
}

/// Callback data that has the form of a token, before its MAC is checked.
struct Shape {
    message: MessageId,
    attempt: AttemptNumber,
    mac: [u8; MAC_BYTES],
    app: Option<String>,
}

impl Shape {
    fn read(callback_data: &str) -> Option<Self> {
        let (token, app) = match callback_data.split_once(SEPARATOR) {
            Some((token, app)) => (token, Some(app)),
            None => (callback_data, None),
        };
        let numbers_and_mac = token.strip_prefix(VERSION)?;
        let (message, attempt_and_mac) = number(numbers_and_mac)?;
        let (attempt, mac) = number(attempt_and_mac)?;
        let mac = BASE64URL_NOPAD.decode(mac.as_bytes()).ok()?;
        Some(Self {
            message: MessageId(message),
            attempt: AttemptNumber(i32::try_from(attempt).ok()?),
            mac: mac.try_into().ok()?,
            app: app.map(str::to_owned),
        })
    }
}

/// The number that a text begins with, and what follows its dash. Only the one way that `issue` writes a number is
/// taken, so that no two texts stand for the same claim.
fn number(text: &str) -> Option<(i64, &str)> {
    let sign = usize::from(text.starts_with('-'));
    let dash = sign + text.get(sign..)?.find('-')?;
    let (digits, rest) = (text.get(..dash)?, text.get(dash + 1..)?);
    let number: i64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TokenKey {
        TokenKey::from_bytes(&[7; 32])
    }

    fn issue(message: i64, attempt: i32, app: Option<&str>) -> String {
        key()
            .issue(MessageId(message), AttemptNumber(attempt), app)
            .expect("short enough")
    }

    fn verified(message: i64, attempt: i32, app: Option<&str>) -> Callback {
        Callback::Verified {
            message: MessageId(message),
            attempt: AttemptNumber(attempt),
            app: app.map(str::to_owned),
        }
    }

    #[test]
    fn a_token_of_ours_names_its_message_and_attempt() {
        let token = issue(4711, 2, None);
        assert!(token.starts_with("wo1-4711-2-"), "{token}");
        assert_eq!(token.len(), "wo1-4711-2-".len() + 16);
        assert!(
            token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        );
        assert_eq!(key().verify(&token), verified(4711, 2, None));
    }

    #[test]
    fn the_application_s_own_value_comes_back_as_it_was() {
        for app in [
            "",
            "order-77",
            "a:b:c",
            "wo1-1-1-AAAAAAAAAAAAAAAA",
            "żółw 🐢",
        ] {
            assert_eq!(
                key().verify(&issue(1, 1, Some(app))),
                verified(1, 1, Some(app)),
                "{app:?}"
            );
        }
    }

    #[test]
    fn the_longest_token_and_the_longest_value_fill_the_limit_exactly() {
        let app = "ż".repeat(MAX_APP_CALLBACK_CHARS);
        let longest = issue(i64::MIN, i32::MIN, Some(&app));
        assert_eq!(longest.chars().count(), MAX_CALLBACK_CHARS);
        assert_eq!(
            key().verify(&longest),
            verified(i64::MIN, i32::MIN, Some(&app))
        );
        assert_eq!(
            key().verify(&issue(i64::MAX, i32::MAX, None)),
            verified(i64::MAX, i32::MAX, None)
        );
    }

    #[test]
    fn a_value_too_long_is_refused_whatever_the_message_id() {
        let app = "x".repeat(MAX_APP_CALLBACK_CHARS + 1);
        let refused = key().issue(MessageId(1), AttemptNumber(1), Some(&app));
        assert_eq!(
            refused,
            Err(TokenTooLong {
                chars: MAX_APP_CALLBACK_CHARS + 1
            })
        );
    }

    #[test]
    fn a_token_of_another_key_is_forged() {
        let other = TokenKey::from_bytes(&[8; 32]);
        assert_eq!(
            other.verify(&issue(4711, 2, Some("order-77"))),
            Callback::Forged
        );
    }

    #[test]
    fn a_fingerprint_tells_keys_apart_and_is_short() {
        let other = TokenKey::from_bytes(&[8; 32]);
        assert_eq!(key().fingerprint(), key().fingerprint());
        assert_ne!(key().fingerprint(), other.fingerprint());
        assert_eq!(key().fingerprint().len(), 12);
    }

    #[test]
    fn a_token_of_another_era_is_forged_in_this_one() {
        let later = key().in_era(Era(1_795_922_082_748));
        let token = later
            .issue(MessageId(5), AttemptNumber(1), None)
            .expect("short");
        assert_eq!(later.verify(&token), verified(5, 1, None));
        assert_eq!(key().verify(&token), Callback::Forged);
        assert_eq!(key().in_era(Era(1)).verify(&token), Callback::Forged);
        assert_eq!(later.verify(&issue(5, 1, None)), Callback::Forged);
    }

    #[test]
    fn the_first_era_has_the_key_itself() {
        let token = issue(5, 1, None);
        assert_eq!(
            key().in_era(Era::FIRST).verify(&token),
            verified(5, 1, None)
        );
    }

    #[test]
    fn a_token_moved_to_another_message_or_attempt_is_forged() {
        let token = issue(4711, 2, None);
        assert_eq!(
            key().verify(&token.replace("4711", "4712")),
            Callback::Forged
        );
        assert_eq!(key().verify(&token.replace("-2-", "-3-")), Callback::Forged);
    }

    #[test]
    fn what_is_not_shaped_like_a_token_is_foreign() {
        let token = issue(4711, 2, None);
        let mac = &token["wo1-4711-2-".len()..];
        for text in [
            "",
            "order-77",
            "wo1",
            "wo1-",
            "wo1---",
            "wo1-4711-2-",
            "wo1-4711-2",
            &token[..token.len() - 1],
            &format!("{token}A"),
            &format!(" {token}"),
            &token.replace("wo1", "wo2"),
            &token.replace("wo1", "WO1"),
            &format!("wo1-04711-2-{mac}"),
            &format!("wo1-+4711-2-{mac}"),
            &format!("wo1-4711-2147483648-{mac}"),
            &format!("wo1-99999999999999999999-2-{mac}"),
            &format!("wo1-٤٧١١-2-{mac}"),
        ] {
            assert_eq!(key().verify(text), Callback::Foreign, "{text:?}");
        }
    }

    #[test]
    fn no_text_at_all_makes_it_panic_or_is_taken_for_ours() {
        let mut random = fastrand::Rng::with_seed(4711);
        let alphabet: Vec<char> = "wo1-:0123456789AZaz_-é🐢\0 ".chars().collect();
        for _ in 0..5_000 {
            let length = random.usize(..60);
            let text: String = (0..length)
                .filter_map(|_| random.choice(&alphabet))
                .collect();
            let shaped = format!("wo1-{text}");
            assert!(
                !matches!(key().verify(&text), Callback::Verified { .. }),
                "{text:?}"
            );
            assert!(
                !matches!(key().verify(&shaped), Callback::Verified { .. }),
                "{shaped:?}"
            );
        }
    }

    #[test]
    fn no_change_of_a_single_character_of_a_token_survives() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..5_000 {
            let token = issue(random.i64(1..), random.i32(1..), None);
            let mut changed: Vec<char> = token.chars().collect();
            let place = random.usize(..changed.len());
            changed[place] = random.char(..);
            let changed: String = changed.into_iter().collect();
            if changed != token {
                assert!(
                    !matches!(key().verify(&changed), Callback::Verified { .. }),
                    "{token} {changed:?}"
                );
            }
        }
    }

    #[test]
    fn a_key_may_be_written_in_hex_or_base64() {
        let bytes: [u8; 32] =
            std::array::from_fn(|index| 0xE0 | u8::try_from(index).expect("small"));
        let token = TokenKey::from_bytes(&bytes)
            .issue(MessageId(5), AttemptNumber(1), None)
            .expect("short");
        for text in [
            data_encoding::HEXLOWER.encode(&bytes),
            data_encoding::HEXUPPER.encode(&bytes),
            BASE64.encode(&bytes),
            BASE64_NOPAD.encode(&bytes),
            BASE64URL.encode(&bytes),
            format!("{}\n", BASE64URL_NOPAD.encode(&bytes)),
        ] {
            let key = TokenKey::from_text(&text).expect("a key");
            assert_eq!(key.verify(&token), verified(5, 1, None), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_key_is_refused_without_repeating_it() {
        for text in [
            "",
            "abc",
            "hunter2hunter2hunter2",
            &"0".repeat(62),
            &"0".repeat(66),
        ] {
            let error = TokenKey::from_text(text).expect_err("no key");
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
    }
}
