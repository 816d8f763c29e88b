//! Secrets that we share with those who come to us: operators and scrapers, and whoever delivers webhooks without a signature.
//!
//! They are shown in `Authorization`, or, where a client cannot send that, in the address; there they stand in the logs of every
//! proxy on the way. Only a digest is kept. A failed proof tells nothing, and comparing takes the same time whatever is compared.

use data_encoding::BASE64;
use secrecy::{ExposeSecret, SecretString};

/// A shorter secret might be guessed.
const SHORTEST: usize = 16;

/// The secrets that are taken: several while one is being replaced by another.
#[derive(Clone, Default)]
pub struct SharedSecrets(Vec<[u8; 32]>);

/// A secret that is no protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret has under {SHORTEST} characters and could be guessed; make one with: openssl rand -hex 24"
)]
pub struct ShortSecret;

impl SharedSecrets {
    /// The secrets to take. Of none at all, nothing is proved.
    ///
    /// # Errors
    /// When one of them is short.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Result<Self, ShortSecret> {
        let kept = |secret: SecretString| match secret.expose_secret() {
            short if short.chars().count() < SHORTEST => Err(ShortSecret),
            secret => Ok(digest(secret)),
        };
        secrets
            .into_iter()
            .map(kept)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them.
    pub fn knows(&self, given: &str) -> bool {
        let given = digest(given);
        // All are tried, also after a match: the time taken then tells nothing about which one it was.
        let alike = |known: &&[u8; 32]| {
            aws_lc_rs::constant_time::verify_slices_are_equal(*known, &given).is_ok()
        };
        self.0.iter().filter(alike).count() > 0
    }

    /// Whether the value of an `Authorization` header carries one of them as `Bearer`.
    pub fn let_bearer_in(&self, authorization: &str) -> bool {
        authorization.split_once(' ').is_some_and(|(scheme, rest)| {
            scheme.eq_ignore_ascii_case("bearer") && self.knows(rest.trim())
        })
    }

    /// Whether the value of an `Authorization` header carries one of them, as `Bearer` or as the password of `Basic`.
    pub fn let_in(&self, authorization: &str) -> bool {
        let Some((scheme, rest)) = authorization.split_once(' ') else {
            return false;
        };
        let rest = rest.trim();
        let plain = scheme
            .eq_ignore_ascii_case("basic")
            .then(|| BASE64.decode(rest.as_bytes()).ok())
            .flatten()
            .and_then(|plain| String::from_utf8(plain).ok());
        plain
            .as_deref()
            .and_then(|plain| plain.split_once(':'))
            .is_some_and(|(_, password)| self.knows(password))
            || self.let_bearer_in(authorization)
    }
}

impl std::fmt::Debug for SharedSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedSecrets({} of them)", self.0.len())
    }
}

/// Of equal length whatever the length of the secret, so that comparing tells nothing about it.
pub(crate) fn digest(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref(),
    );
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn secrets(secrets: &[&str]) -> Result<SharedSecrets, ShortSecret> {
        SharedSecrets::new(secrets.iter().map(|secret| SecretString::from(*secret)))
    }

    #[test]
    fn one_of_the_secrets_proves_a_delivery_and_nothing_else_does() {
        let known = secrets(&["another-long-secret", SECRET]).expect("long enough");
        assert!(known.knows(SECRET));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789abcdef ",
            "0123456789ABCDEF",
        ] {
            assert!(!known.knows(wrong), "{wrong}");
        }
        assert!(!SharedSecrets::default().knows(""));
    }

    #[test]
    fn a_header_carries_it_as_a_token_or_as_a_password() {
        let known = secrets(&[SECRET]).expect("long enough");
        let basic = |plain: &str| format!("Basic {}", BASE64.encode(plain.as_bytes()));
        for right in [
            format!("Bearer {SECRET}"),
            format!("bearer  {SECRET}"),
            basic(&format!("any:{SECRET}")),
        ] {
            assert!(known.let_in(&right), "{right}");
        }
        let wrong = [
            SECRET.to_owned(),
            format!("Token {SECRET}"),
            basic(SECRET),
            basic(&format!("{SECRET}:")),
            "Basic %".to_owned(),
        ];
        for wrong in wrong {
            assert!(!known.let_in(&wrong), "{wrong}");
        }
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        assert_eq!(
            secrets(&["0123456789abcde"]).expect_err("short"),
            ShortSecret
        );
        let shown = format!("{:?}", secrets(&[SECRET]).expect("long enough"));
        assert!(!shown.contains(SECRET), "{shown}");
    }
}
