//! What can be wrong with settings: each refusal names field, value and fix, and none shows a secret.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::secret::SecretError;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file could not be read.
    #[error("could not read the settings file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The settings file is not TOML. The line itself is not shown: it may hold a secret.
    #[error("the settings file {} is not TOML, see its line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A section or key that does not exist.
    #[error("there is no setting {name}; {hint}")]
    Unknown {
        /// As it was written: `worker.tik_ms`, `[workr]` or `WA_OUTBOX__WORKER__TIK_MS`.
        name: String,
        /// The name that was probably meant, or those there are.
        hint: String,
    },
    /// A value that cannot be meant.
    #[error("{field} = {value}: {reason}; {fix}")]
    Refused {
        /// The setting.
        field: String,
        /// Its value; for a secret, at most where it is kept.
        value: String,
        /// Why it is refused.
        reason: String,
        /// What to write instead.
        fix: String,
    },
    /// A variable whose value is no text. It is not shown: it may be a secret.
    #[error("{variable} is not UTF-8, so it cannot be read; write it anew")]
    NotText {
        /// The environment variable.
        variable: String,
    },
    /// A setting that is needed for what was asked, and not there.
    #[error("{field} is not set; {fix}")]
    Missing {
        /// The setting.
        field: &'static str,
        /// How to set it.
        fix: &'static str,
    },
    /// A secret that is not where the settings say.
    #[error("could not read the secret that {field} names")]
    Secret {
        /// The setting.
        field: &'static str,
        /// Why.
        source: SecretError,
    },
}

impl ConfigError {
    pub(crate) fn refused(
        field: impl fmt::Display,
        value: impl fmt::Display,
        reason: impl fmt::Display,
        fix: impl fmt::Display,
    ) -> Self {
        Self::Refused {
            field: field.to_string(),
            value: value.to_string(),
            reason: reason.to_string(),
            fix: fix.to_string(),
        }
    }
}
