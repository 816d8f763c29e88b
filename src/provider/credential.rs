//! The token that a sender's requests carry, read from where its reference says.

use secrecy::{ExposeSecret, SecretString};

use crate::secret::{NotAReference, SecretError, SecretRef};

/// A token that is not to be had, or cannot be one. Says where it was looked for and never what was found there.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Neither `env:` nor `file:`.
    #[error(transparent)]
    NotAReference(#[from] NotAReference),
    /// Nothing is there.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Only blanks are there.
    #[error("{reference} is empty; put the token there")]
    Blank {
        /// `env:NAME` or `file:PATH`.
        reference: SecretRef,
    },
    /// The place holds a whole header.
    #[error("{reference} starts with \"Bearer \"; put the bare token there")]
    HasScheme {
        /// `env:NAME` or `file:PATH`.
        reference: SecretRef,
    },
    /// The secret has a byte that no header may have, such as a newline.
    #[error("the token contains a character that no header can carry; check for line breaks in it")]
    NotAHeader,
}

/// The token at a reference, `env:NAME` or `file:PATH`. Reads the file anew each time, so that a rotated one is taken up; blocks
/// for as long as that takes.
///
/// # Errors
/// When there is none, or what is there is no bare token.
pub fn token(reference: &str) -> Result<SecretString, CredentialError> {
    let reference: SecretRef = reference.trim().parse()?;
    let secret = reference.read_here()?;
    bare(secret.expose_secret(), reference)
}

fn bare(secret: &str, reference: SecretRef) -> Result<SecretString, CredentialError> {
    let token = secret.trim();
    if token.is_empty() {
        return Err(CredentialError::Blank { reference });
    }
    let scheme = token.split_once(' ').map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
        return Err(CredentialError::HasScheme { reference });
    }
    Ok(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(secret: &str) -> Result<String, String> {
        let reference = SecretRef::Env("TOKEN".to_owned());
        bare(secret, reference)
            .map(|token| token.expose_secret().to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_taken_without_the_space_around_it() {
        assert_eq!(found("EAAB\r\n").as_deref(), Ok("EAAB"));
    }

    #[test]
    fn an_error_names_the_reference_and_never_what_was_found() {
        let blank = found(" ").expect_err("is refused");
        assert!(blank.contains("env:TOKEN is empty"), "{blank}");
        let scheme = found("bearer EAAB").expect_err("is refused");
        assert!(scheme.contains("env:TOKEN") && !scheme.contains("EAAB"));
        let nowhere = token("file:/no/such/file").expect_err("is refused");
        assert!(nowhere.to_string().contains("/no/such/file"), "{nowhere}");
    }

    #[test]
    fn a_token_in_place_of_a_reference_is_refused_and_not_repeated() {
        for secret in ["EAABsecret", "vault:EAABsecret", "env:", "file:", ""] {
            let said = token(secret).expect_err("is refused").to_string();
            assert!(said.contains("env:NAME or file:PATH"), "{said}");
            assert!(!said.contains("EAABsecret"));
        }
    }
}
