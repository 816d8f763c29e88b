//! Where secrets are kept, and the one way to read them.
//!
//! Settings and the database name the place and never hold the secret, so they can be shown, logged and checked in. An error
//! names the place and never what was found there; a text that is no reference may be the secret itself and is not repeated.
//!
//! A file is read only if it is one, and a small one ([`file`]): a pipe would be waited for, and a device may never end.

pub mod file;
pub mod shared;
pub mod tries;

use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;

/// No token, key or password is longer; a file that is was meant for something else.
const AT_MOST: u64 = 64 * 1024;

/// A reference to a secret: `env:NAME` or `file:PATH`. What it shows is the place, never the secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// The environment variable of this name.
    Env(String),
    /// The content of this file, without the line break at its end: an ordinary file of 64 kB at most.
    File(PathBuf),
}

/// A text that does not refer to a secret. It may be one, so it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is not written here, only where it is kept: env:NAME or file:PATH")]
pub struct NotAReference;

/// A reference that leads to no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set, or empty.
    #[error("the environment variable {name} is not set, or empty")]
    Unset {
        /// The variable.
        name: String,
    },
    /// The environment variable is no text. What is in it is not repeated.
    #[error("the environment variable {name} is not UTF-8")]
    NotText {
        /// The variable.
        name: String,
    },
    /// The file cannot be read.
    #[error("could not read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is empty.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl SecretRef {
    /// The secret itself.
    ///
    /// # Errors
    /// When there is none at the place that is named.
    pub fn read(&self, env: &BTreeMap<String, String>) -> Result<SecretString, SecretError> {
        self.read_with(|name| Ok(env.get(name).cloned()))
    }

    /// The same, from the environment of this process as it is now.
    ///
    /// # Errors
    /// When there is none at the place that is named.
    pub fn read_here(&self) -> Result<SecretString, SecretError> {
        self.read_with(|name| match std::env::var(name) {
            Ok(secret) => Ok(Some(secret)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(SecretError::NotText {
                name: name.to_owned(),
            }),
        })
    }

    fn read_with(
        &self,
        variable: impl Fn(&str) -> Result<Option<String>, SecretError>,
    ) -> Result<SecretString, SecretError> {
        match self {
            Self::Env(name) => match variable(name)? {
                Some(secret) if !secret.is_empty() => Ok(SecretString::from(secret)),
                Some(_) | None => Err(SecretError::Unset { name: name.clone() }),
            },
            Self::File(path) => {
                let content =
                    file::text(path, AT_MOST).map_err(|source| SecretError::Unreadable {
                        path: path.clone(),
                        source,
                    })?;
                // Editors and `echo` end a file with a line break; it is no part of the secret.
                match content.trim_end_matches(['\r', '\n']) {
                    "" => Err(SecretError::Empty { path: path.clone() }),
                    secret => Ok(SecretString::from(secret)),
                }
            }
        }
    }
}

impl FromStr for SecretRef {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        match text.split_once(':') {
            Some(("env", name)) if is_variable(name) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            _ => Err(NotAReference),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn env() -> BTreeMap<String, String> {
        [("TOKEN", "hunter2"), ("EMPTY", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn scratch(name: &str, content: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("wa-outbox-{name}-{}", std::process::id()));
        std::fs::write(&path, content).expect("a scratch file");
        path
    }

    #[test]
    fn a_reference_is_written_as_it_is_shown() {
        for text in [
            "env:TOKEN",
            "env:_a1",
            "file:/run/secrets/token",
            "file:a:b",
        ] {
            assert_eq!(
                text.parse::<SecretRef>().expect("a reference").to_string(),
                text
            );
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_and_not_repeated() {
        for text in [
            "",
            "hunter2",
            "env:",
            "env:a b",
            "env:1A",
            "env:EAAG-secret",
            "file:",
            "ENV:TOKEN",
            "vault:x",
        ] {
            let refused = text.parse::<SecretRef>();
            assert_eq!(refused, Err(NotAReference), "{text}");
        }
        assert!(!NotAReference.to_string().contains("hunter2"));
    }

    #[test]
    fn a_secret_is_read_from_its_place() {
        let path = scratch("secret", "hunter2\r\n");
        for reference in [
            SecretRef::Env("TOKEN".to_owned()),
            SecretRef::File(path.clone()),
        ] {
            assert_eq!(
                reference.read(&env()).expect("a secret").expose_secret(),
                "hunter2"
            );
        }
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn a_place_without_a_secret_is_named() {
        let empty = scratch("empty", "\n");
        for (reference, named) in [
            (SecretRef::Env("EMPTY".to_owned()), "EMPTY"),
            (SecretRef::Env("MISSING".to_owned()), "MISSING"),
            (SecretRef::File(empty.clone()), "wa-outbox-empty"),
            (SecretRef::File("/nowhere/at/all".into()), "/nowhere/at/all"),
        ] {
            let error = reference.read(&env()).expect_err("no secret").to_string();
            assert!(error.contains(named), "{error}");
        }
        std::fs::remove_file(empty).expect("removed");
    }
}
