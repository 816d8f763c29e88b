//! Where a secret is kept: a reference such as `env:WHATSAPP_ACCESS_TOKEN` or `file:/run/secrets/token`.
//!
//! Settings and the database hold the reference only, never the secret. An error names the reference and never
//! what was found there; a reference that looks like a secret is not repeated either.

use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;

/// A place to read a secret from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `env:NAME`: an environment variable of this process.
    Env(String),
    /// `file:PATH`: the content of a file, without the newline at its end.
    File(PathBuf),
}

/// A secret that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Neither `env:` nor `file:`. The text is not repeated, for it may be the secret itself.
    #[error(
        "the credential is no reference; write env:NAME or file:PATH and keep the token itself there"
    )]
    NotAReference,
    /// The environment variable is not set.
    #[error("env:{name} is not set in the environment of this process; set it, then restart")]
    NotSet {
        /// The variable's name.
        name: String,
    },
    /// The file cannot be read.
    #[error("could not read file:{path}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The place is there, with nothing in it.
    #[error("{reference} is empty; put the token there")]
    Empty {
        /// `env:NAME` or `file:PATH`.
        reference: String,
    },
    /// The place holds a whole header.
    #[error("{reference} starts with \"Bearer \"; put the bare token there")]
    HasScheme {
        /// `env:NAME` or `file:PATH`.
        reference: String,
    },
    /// The secret has a byte that no header may have, such as a newline.
    #[error("the token contains a character that no header can carry; check for line breaks in it")]
    NotAHeader,
}

impl FromStr for Credential {
    type Err = CredentialError;

    fn from_str(reference: &str) -> Result<Self, CredentialError> {
        match reference.trim().split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(_) | None => Err(CredentialError::NotAReference),
        }
    }
}

impl Credential {
    /// The secret. Reads the file anew each time, so that a rotated one is taken up; blocks for as long as that
    /// takes.
    pub fn read(&self) -> Result<SecretString, CredentialError> {
        self.read_with(|name| std::env::var(name).ok())
    }

    fn read_with(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<SecretString, CredentialError> {
        let secret = match self {
            Self::Env(name) => {
                variable(name).ok_or_else(|| CredentialError::NotSet { name: name.clone() })?
            }
            Self::File(path) => {
                std::fs::read_to_string(path).map_err(|source| CredentialError::Unreadable {
                    path: path.display().to_string(),
                    source,
                })?
            }
        };
        let secret = secret.trim();
        let reference = self.reference();
        if secret.is_empty() {
            return Err(CredentialError::Empty { reference });
        }
        let scheme = secret.split_once(' ').map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
            return Err(CredentialError::HasScheme { reference });
        }
        Ok(secret.into())
    }

    fn reference(&self) -> String {
        match self {
            Self::Env(name) => format!("env:{name}"),
            Self::File(path) => format!("file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(reference: &str, found: Option<&str>) -> Result<String, CredentialError> {
        let secret = reference
            .parse::<Credential>()?
            .read_with(|_| found.map(str::to_owned))?;
        Ok(secret.expose_secret().to_owned())
    }

    #[test]
    fn a_token_is_read_from_the_environment_without_the_space_around_it() {
        assert_eq!(read("env:TOKEN", Some("EAAB\n")).expect("is set"), "EAAB");
    }

    #[test]
    fn a_token_is_read_from_a_file_without_its_last_newline() {
        let path = std::env::temp_dir().join(format!("wa-outbox-token-{}", std::process::id()));
        std::fs::write(&path, "EAAB\r\n").expect("the temporary folder is writable");
        let token = read(&format!("file:{}", path.display()), None);
        std::fs::remove_file(&path).expect("it was just written");
        assert_eq!(token.expect("is there"), "EAAB");
    }

    #[test]
    fn an_error_names_the_reference_and_never_what_was_found() {
        let said = |reference, found| read(reference, found).expect_err("is refused").to_string();
        assert!(said("env:TOKEN", None).contains("env:TOKEN is not set"));
        assert!(said("env:TOKEN", Some(" ")).contains("env:TOKEN is empty"));
        let scheme = said("env:TOKEN", Some("Bearer EAAB"));
        assert!(scheme.contains("env:TOKEN") && !scheme.contains("EAAB"));
        assert!(said("file:/no/such/file", None).contains("file:/no/such/file"));
    }

    #[test]
    fn a_token_in_place_of_a_reference_is_refused_and_not_repeated() {
        for secret in ["EAABsecret", "vault:EAABsecret", "env:", "file:", ""] {
            let said = read(secret, Some("x")).expect_err("is refused").to_string();
            assert!(said.contains("env:NAME or file:PATH"));
            assert!(!said.contains("EAABsecret"));
        }
    }
}
