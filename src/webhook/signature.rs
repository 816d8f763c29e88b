//! Proves that a delivery comes from WhatsApp.
//!
//! Meta signs the bytes it sends with the app secret (Meta, "Create a webhook endpoint", `X-Hub-Signature-256`). We
//! check the bytes as they came: Meta escapes non-ASCII characters and `/`, so a body that was parsed and written
//! again no longer matches its signature.
//!
//! A failed check says nothing but that it failed. Whoever can learn the right signature of a body of his own can
//! post it, and a forged status would make us never send a message; so the error carries nothing, not even which of
//! its reasons it was, and comparisons take constant time.

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::{ExposeSecret, SecretString};

/// The HTTP header that carries the signature (in lower case, as HTTP libraries look it up).
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

const PREFIX: &[u8] = b"sha256=";
const MAC_BYTES: usize = 32;

/// The app secrets whose signatures are taken: several while one is being replaced by another.
#[derive(Clone)]
pub struct AppSecrets(Vec<hmac::Key>);

/// An app secret without a character in it; everybody can sign with that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an app secret is empty")]
pub struct EmptyAppSecret;

/// The delivery is not proved to be WhatsApp's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the delivery's signature does not match")]
pub struct BadSignature;

impl AppSecrets {
    /// The secrets to take. Of none at all, no signature is right.
    ///
    /// # Errors
    /// When one of them is empty.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Result<Self, EmptyAppSecret> {
        let key = |secret: SecretString| match secret.expose_secret() {
            "" => Err(EmptyAppSecret),
            secret => Ok(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())),
        };
        secrets
            .into_iter()
            .map(key)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether there is none, so that every delivery is refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the signature header, where there is one, against the body as it came.
    ///
    /// # Errors
    /// When the header is missing or malformed, or none of the secrets made the signature.
    pub fn verify(&self, header: Option<&[u8]>, body: &[u8]) -> Result<(), BadSignature> {
        let signature = header.and_then(decode).ok_or(BadSignature)?;
        // All secrets are tried, also after a match: the time taken then tells nothing about which one it was.
        let matches = self
            .0
            .iter()
            .filter(|key| hmac::verify(key, body, &signature).is_ok())
            .count();
        if matches > 0 {
            Ok(())
        } else {
            Err(BadSignature)
        }
    }
}

impl fmt::Debug for AppSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppSecrets({} of them)", self.0.len())
    }
}

/// Whether the header looks like a signature at all; whoever sends none need not be listened to.
pub(super) fn is_signature(header: Option<&[u8]>) -> bool {
    header.and_then(decode).is_some()
}

fn decode(header: &[u8]) -> Option<[u8; MAC_BYTES]> {
    let hex = header.strip_prefix(PREFIX)?;
    // The length first: nobody makes us decode a header of any size he likes.
    if hex.len() != MAC_BYTES * 2 {
        return None;
    }
    HEXLOWER_PERMISSIVE.decode(hex).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(secrets: &[&str]) -> AppSecrets {
        AppSecrets::new(secrets.iter().map(|secret| SecretString::from(*secret)))
            .expect("none is empty")
    }

    fn signed(secret: &str, body: &[u8]) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
        format!("sha256={}", data_encoding::HEXLOWER.encode(tag.as_ref()))
    }

    /// RFC 4231 §4.3, test case 2.
    const RFC_SECRET: &str = "Jefe";
    const RFC_BODY: &[u8] = b"what do ya want for nothing?";
    const RFC_HEADER: &str =
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    #[test]
    fn the_published_test_vector_is_taken() {
        assert_eq!(
            secrets(&[RFC_SECRET]).verify(Some(RFC_HEADER.as_bytes()), RFC_BODY),
            Ok(())
        );
    }

    #[test]
    fn hex_digits_may_be_upper_case() {
        let header = RFC_HEADER.to_uppercase().replace("SHA256=", "sha256=");
        assert_eq!(
            secrets(&[RFC_SECRET]).verify(Some(header.as_bytes()), RFC_BODY),
            Ok(())
        );
    }

    #[test]
    fn while_a_secret_is_replaced_both_are_taken() {
        let both = secrets(&["new", "old"]);
        for secret in ["new", "old"] {
            assert_eq!(
                both.verify(Some(signed(secret, b"{}").as_bytes()), b"{}"),
                Ok(())
            );
        }
        assert_eq!(
            both.verify(Some(signed("older", b"{}").as_bytes()), b"{}"),
            Err(BadSignature)
        );
    }

    #[test]
    fn a_body_changed_by_one_bit_is_refused() {
        let mut body = RFC_BODY.to_vec();
        body[0] ^= 1;
        assert_eq!(
            secrets(&[RFC_SECRET]).verify(Some(RFC_HEADER.as_bytes()), &body),
            Err(BadSignature)
        );
    }

    #[test]
    fn a_signature_changed_in_any_one_digit_is_refused() {
        let secrets = secrets(&[RFC_SECRET]);
        for place in "sha256=".len()..RFC_HEADER.len() {
            let mut header = RFC_HEADER.as_bytes().to_vec();
            header[place] = if header[place] == b'0' { b'1' } else { b'0' };
            let judged = secrets.verify(Some(&header), RFC_BODY);
            assert_eq!(judged, Err(BadSignature), "{place}");
        }
    }

    #[test]
    fn the_bytes_are_signed_and_not_what_they_mean() {
        let escaped = r#"{"text":"\ud83d\ude00 https:\/\/example.com\/ \u0040"}"#.as_bytes();
        let plain = r#"{"text":"😀 https://example.com/ @"}"#.as_bytes();
        let same = |body| serde_json::from_slice::<serde_json::Value>(body).expect("JSON");
        assert_eq!(same(escaped), same(plain));

        let header = signed("secret", escaped);
        assert_eq!(
            secrets(&["secret"]).verify(Some(header.as_bytes()), escaped),
            Ok(())
        );
        assert_eq!(
            secrets(&["secret"]).verify(Some(header.as_bytes()), plain),
            Err(BadSignature)
        );
        let header = signed("secret", plain);
        assert_eq!(
            secrets(&["secret"]).verify(Some(header.as_bytes()), plain),
            Ok(())
        );
    }

    #[test]
    fn a_malformed_header_is_refused_like_a_wrong_one() {
        let hex = &RFC_HEADER["sha256=".len()..];
        for header in [
            "".to_owned(),
            "sha256=".to_owned(),
            hex.to_owned(),
            format!("sha1={hex}"),
            format!("SHA256={hex}"),
            format!("sha256= {hex}"),
            format!("sha256={}", &hex[..62]),
            format!("sha256={}", &hex[..63]),
            format!("sha256={hex}00"),
            format!("sha256={}", hex.replace('5', "g")),
            format!("sha256={}", "é".repeat(32)),
            format!("sha256={}", "0".repeat(64)),
        ] {
            assert_eq!(
                secrets(&[RFC_SECRET]).verify(Some(header.as_bytes()), RFC_BODY),
                Err(BadSignature),
                "{header}"
            );
            // Of the last one only the digits are wrong.
            let is_last = header.ends_with(&"0".repeat(64));
            assert_eq!(is_signature(Some(header.as_bytes())), is_last, "{header}");
        }
        assert!(!is_signature(None) && is_signature(Some(RFC_HEADER.as_bytes())));
        assert_eq!(
            secrets(&[RFC_SECRET]).verify(None, RFC_BODY),
            Err(BadSignature)
        );
        assert_eq!(
            secrets(&[RFC_SECRET]).verify(Some(&[0xFF; 71]), RFC_BODY),
            Err(BadSignature)
        );
    }

    #[test]
    fn without_a_secret_nothing_is_taken() {
        assert!(secrets(&[]).is_empty());
        assert_eq!(
            secrets(&[]).verify(Some(signed("", b"{}").as_bytes()), b"{}"),
            Err(BadSignature)
        );
    }

    #[test]
    fn an_empty_secret_is_refused() {
        let refused = AppSecrets::new(["right".into(), "".into()]);
        assert_eq!(refused.err(), Some(EmptyAppSecret));
    }

    #[test]
    fn neither_secrets_nor_the_error_tell_anything() {
        assert_eq!(
            format!("{:?}", secrets(&["hunter2", "hunter3"])),
            "AppSecrets(2 of them)"
        );
        assert_eq!(size_of::<BadSignature>(), 0);
    }
}
