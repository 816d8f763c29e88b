//! Secrets in the settings: they name the place and never hold the secret. Here they are read, each when it is needed.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::Config;
use super::error::ConfigError;
use super::load::Environment;
use crate::domain::token::TokenKey;
use crate::secret::{NotAReference, SecretError, SecretRef};

impl Config {
    /// The database to work on.
    ///
    /// # Errors
    /// When none is set, or the reference leads nowhere.
    pub fn database_url(&self, env: &Environment) -> Result<SecretString, ConfigError> {
        let missing = || ConfigError::Missing {
            field: "database.url",
            fix: "set DATABASE_URL, as in DATABASE_URL=postgres://user@localhost/app",
        };
        let url = self.database.url.as_ref().ok_or_else(missing)?;
        let url = url.read(env).map_err(|source| ConfigError::Secret {
            field: "database.url",
            source,
        })?;
        if is_of_another_program(url.expose_secret()) {
            // Not shown: a password may stand in it.
            return Err(ConfigError::refused(
                "database.url",
                "(not shown)",
                "names another program than Postgres",
                "write it as in postgres://user@localhost/app (DATABASE_URL)",
            ));
        }
        Ok(url)
    }

    /// The app secrets whose signatures are taken; none when none is set.
    ///
    /// # Errors
    /// When a reference leads nowhere.
    pub fn app_secrets(&self, env: &Environment) -> Result<Vec<SecretString>, ConfigError> {
        let read = |secret: &SecretRef| read_secret("webhook.app_secrets", secret, env);
        self.webhook.app_secrets.iter().map(read).collect()
    }

    /// The secrets shared with those who sign nothing.
    ///
    /// # Errors
    /// When a reference leads nowhere.
    pub fn unsigned_secrets(&self, env: &Environment) -> Result<Vec<SecretString>, ConfigError> {
        let read = |secret: &SecretRef| read_secret("webhook.unsigned_secrets", secret, env);
        self.webhook.unsigned_secrets.iter().map(read).collect()
    }

    /// What WhatsApp must say when a webhook is set up.
    ///
    /// # Errors
    /// When the reference leads nowhere.
    pub fn verify_token(&self, env: &Environment) -> Result<Option<SecretString>, ConfigError> {
        let read = |secret| read_secret("webhook.verify_token", secret, env);
        self.webhook.verify_token.as_ref().map(read).transpose()
    }

    /// What an operator must show.
    ///
    /// # Errors
    /// When the reference leads nowhere.
    pub fn admin_token(&self, env: &Environment) -> Result<Option<SecretString>, ConfigError> {
        self.admin
            .token
            .as_ref()
            .map(|secret| read_secret("admin.token", secret, env))
            .transpose()
    }

    /// What a viewer must show.
    ///
    /// # Errors
    /// When the reference leads nowhere.
    pub fn viewer_token(&self, env: &Environment) -> Result<Option<SecretString>, ConfigError> {
        let read = |secret| read_secret("admin.viewer_token", secret, env);
        self.admin.viewer_token.as_ref().map(read).transpose()
    }

    /// What lets a scraper read the metrics.
    ///
    /// # Errors
    /// When the reference leads nowhere.
    pub fn metrics_token(&self, env: &Environment) -> Result<Option<SecretString>, ConfigError> {
        let read = |secret| read_secret("admin.metrics_token", secret, env);
        self.admin.metrics_token.as_ref().map(read).transpose()
    }

    /// The headers that the collector of traces asks for.
    ///
    /// # Errors
    /// When a reference leads nowhere.
    pub fn trace_headers(
        &self,
        env: &Environment,
    ) -> Result<Vec<(String, SecretString)>, ConfigError> {
        let read = |(name, secret): (&String, &SecretRef)| {
            let value = read_secret("traces.headers", secret, env)?;
            Ok((name.clone(), value))
        };
        self.traces.headers.iter().map(read).collect()
    }

    /// The key of the callback token, where the settings override the one in the database.
    ///
    /// # Errors
    /// When the reference leads nowhere, or to something that is no key.
    pub fn token_key(&self, env: &Environment) -> Result<Option<TokenKey>, ConfigError> {
        let Some(reference) = &self.token.key else {
            return Ok(None);
        };
        let text = read_secret("token.key", reference, env)?;
        TokenKey::from_text(text.expose_secret())
            .map(Some)
            .map_err(|error| {
                ConfigError::refused(
                    "token.key",
                    reference,
                    error,
                    "make one with: openssl rand -hex 32",
                )
            })
    }
}

fn read_secret(
    field: &'static str,
    secret: &SecretRef,
    env: &Environment,
) -> Result<SecretString, ConfigError> {
    secret
        .read(env)
        .map_err(|source| ConfigError::Secret { field, source })
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_of(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The database's URL. It may stand in the settings as it is when it holds no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A URL without a password.
    Open(String),
    /// The place where the URL is kept.
    Kept(SecretRef),
}

impl DatabaseUrl {
    /// The URL itself.
    ///
    /// # Errors
    /// When it is a reference that leads nowhere.
    pub fn read(&self, env: &Environment) -> Result<SecretString, SecretError> {
        match self {
            Self::Open(url) => Ok(SecretString::from(url.as_str())),
            Self::Kept(reference) => reference.read(env),
        }
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text_of(deserializer)?;
        if let Ok(reference) = text.parse() {
            return Ok(Self::Kept(reference));
        }
        if is_open_url(&text) {
            return Ok(Self::Open(text));
        }
        Err(serde::de::Error::custom(
            "only a postgres:// URL without a password is written here, otherwise where it is kept: \
             env:NAME or file:PATH",
        ))
    }
}

/// A string, or an error that repeats nothing of what came instead.
fn text_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match toml::Value::deserialize(deserializer) {
        Ok(toml::Value::String(text)) => Ok(text),
        Ok(_) | Err(_) => Err(serde::de::Error::custom(NotAReference)),
    }
}

/// Whether this is a URL of something else than Postgres: the driver would speak to it all the same.
fn is_of_another_program(url: &str) -> bool {
    let scheme = url.trim_start().split_once("://").map(|(scheme, _)| scheme);
    let is_ours = |scheme: &str| {
        ["postgres", "postgresql"]
            .iter()
            .any(|ours| scheme.eq_ignore_ascii_case(ours))
    };
    scheme.is_some_and(|scheme| !is_ours(scheme))
}

/// Whether this is a URL of Postgres that certainly holds no password.
fn is_open_url(text: &str) -> bool {
    let scheme = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(rest) = scheme else { return false };
    // Anything before an `@` counts, also one that does not belong there: better too careful than a password shown.
    let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
    !user.contains(':') && !rest.to_ascii_lowercase().contains("password")
}

#[cfg(test)]
mod tests {
    use super::{is_of_another_program, is_open_url};

    #[test]
    fn only_a_url_of_postgres_is_spoken_to_as_postgres() {
        for other in ["mysql://app@db/app", "https://db/app", "mysql://a://b"] {
            assert!(is_of_another_program(other), "{other}");
        }
        for ours in ["postgres://db/app", "POSTGRESQL://db/app", "db/app"] {
            assert!(!is_of_another_program(ours), "{ours}");
        }
    }

    #[test]
    fn a_url_is_open_only_without_a_password() {
        for open in [
            "postgres://localhost/app",
            "postgresql://app@db:5432/app?sslmode=require",
            "postgres:///app",
        ] {
            assert!(is_open_url(open), "{open}");
        }
        for closed in [
            "postgres://app:hunter2@db/app",
            "postgres://app:hun/ter2@db/app",
            "postgres://db/app?user=app&password=hunter2",
            "postgres://db/app?PASSWORD=hunter2",
            "host=db password=hunter2",
            "mysql://db/app",
        ] {
            assert!(!is_open_url(closed), "{closed}");
        }
    }
}
