//! Brings the settings together: file, short forms and environment, in rising order, on top of the defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::error::ConfigError;
use super::fields::{Section, sections};
use super::{ACCESS_TOKEN, APP_SECRET, Config};
use crate::secret::SecretRef;

/// The environment variables of the process, or a test's own. A variable that is empty counts as not set, as
/// container tools pass on what they do not have.
pub type Environment = BTreeMap<String, String>;

const FILE: &str = "WA_OUTBOX_CONFIG";
const PREFIX: &str = "WA_OUTBOX__";

/// Short forms that give a value, and the settings they stand for.
const VALUES: [(&str, &str, &str); 7] = [
    ("WHATSAPP_PHONE_NUMBER_ID", "sender", "sender"),
    ("WHATSAPP_API_BASE", "sender", "base_url"),
    ("WHATSAPP_API_VERSION", "sender", "api_version"),
    ("WA_OUTBOX_WEBHOOK_LISTEN", "webhook", "listen"),
    ("WA_OUTBOX_ADMIN_LISTEN", "admin", "listen"),
    (OTEL[0], "traces", "endpoint"),
    (OTEL[1], "traces", "sample_ratio"),
];

/// Variables that other programs read, too, and may have been set for them.
const OTEL: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER_ARG"];

/// Short forms that hold a secret: the setting then refers to the variable.
const SECRETS: [(&str, &str, &str); 4] = [
    ("DATABASE_URL", "database", "url"),
    (ACCESS_TOKEN, "sender", "credential"),
    ("WHATSAPP_VERIFY_TOKEN", "webhook", "verify_token"),
    ("WA_OUTBOX_ADMIN_TOKEN", "admin", "token"),
];

impl Config {
    /// The settings of this process: from the file that is given, or that `WA_OUTBOX_CONFIG` names, or none; and from
    /// the environment. They have passed [`Config::check`].
    ///
    /// # Errors
    /// When the file cannot be read, when something in it or in the environment is unknown or cannot be meant.
    pub fn load(path: Option<&Path>, env: &Environment) -> Result<Self, ConfigError> {
        let path = path
            .map(Path::to_owned)
            .or_else(|| given(env, FILE).map(PathBuf::from));
        let file = path
            .map(|path| read_file(&path))
            .transpose()?
            .unwrap_or_default();

        let mut settings = Settings::of_file(file)?;
        settings.put_short_forms(env)?;
        settings.put_environment(env)?;
        let config = settings.finish(env)?;
        config.check()?;
        Ok(config)
    }

    /// The same for who tells no traces: where the variables of OpenTelemetry do not fit, they are left out, and what is wrong with
    /// them is given beside.
    ///
    /// # Errors
    /// When anything else cannot be read, is unknown or cannot be meant.
    pub fn load_but_traces(
        path: Option<&Path>,
        env: &Environment,
    ) -> Result<(Self, Option<ConfigError>), ConfigError> {
        let error = match Self::load(path, env) {
            Ok(config) => return Ok((config, None)),
            Err(error) => error,
        };
        let mut ours = env.clone();
        ours.retain(|name, _| !OTEL.contains(&name.as_str()));
        // Where both fail, the first may be one that stops nobody.
        Ok((Self::load(path, &ours)?, Some(error)))
    }
}

/// Whether settings are read from this variable.
pub fn is_read_by_us(variable: &str) -> bool {
    let short_forms = VALUES.iter().chain(&SECRETS).map(|(name, _, _)| *name);
    let mut ours = short_forms.chain([FILE, APP_SECRET]);
    variable.starts_with(PREFIX) || ours.any(|name| name == variable)
}

fn given<'a>(env: &'a Environment, name: &str) -> Option<&'a str> {
    env.get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn read_file(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or("");
        ConfigError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            message: error.message().to_owned(),
        }
    })
}

/// Settings as they are written, each accepted by the section it stands in.
struct Settings {
    sections: [Section; 14],
    table: Table,
}

impl Settings {
    fn of_file(file: Table) -> Result<Self, ConfigError> {
        let mut settings = Self {
            sections: sections(),
            table: Table::new(),
        };
        for (section, keys) in file {
            let Value::Table(keys) = keys else {
                let hint = "every setting stands in a section, as in [worker]".to_owned();
                return Err(ConfigError::Unknown {
                    name: section,
                    hint,
                });
            };
            settings.known(&section, None, in_file)?;
            for (key, value) in keys {
                settings.known(&section, Some(&key), in_file)?;
                settings.put(&section, &key, value, None)?;
            }
        }
        Ok(settings)
    }

    fn put_short_forms(&mut self, env: &Environment) -> Result<(), ConfigError> {
        for (variable, section, key) in VALUES {
            if let Some(text) = given(env, variable) {
                let value = self.meant(section, key, variable, text);
                self.put(section, key, value, Some(variable))?;
            }
        }
        for (variable, section, key) in SECRETS {
            if given(env, variable).is_some() {
                self.put(section, key, reference_to(variable), Some(variable))?;
            }
        }
        self.add_app_secret(env)
    }

    /// Adds the app secret of the short form to those of the file. It does not replace them: a list is there to hold
    /// two while one is being replaced.
    fn add_app_secret(&mut self, env: &Environment) -> Result<(), ConfigError> {
        let listed = self
            .table
            .get("webhook")
            .and_then(|webhook| webhook.get("app_secrets"));
        let (Some(listed), Some(_)) = (listed, given(env, APP_SECRET)) else {
            return Ok(());
        };
        let mut secrets = listed
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![listed.clone()]);
        if !secrets.contains(&reference_to(APP_SECRET)) {
            secrets.push(reference_to(APP_SECRET));
        }
        self.put(
            "webhook",
            "app_secrets",
            Value::Array(secrets),
            Some(APP_SECRET),
        )
    }

    fn put_environment(&mut self, env: &Environment) -> Result<(), ConfigError> {
        for (variable, text) in env {
            let Some(name) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            let name = name.to_lowercase();
            let (section, key) = name.split_once("__").unwrap_or((&name, ""));
            self.known(section, Some(key), in_environment)?;
            if !text.is_empty() {
                let value = self.meant(section, key, variable, text);
                self.put(section, key, value, Some(variable))?;
            }
        }
        Ok(())
    }

    /// What a text in the environment means: a TOML value where the setting takes that, else the text as it is, so
    /// that `5` is a number for one setting and a name for another. A secret that is given by value is in a variable
    /// already, so it becomes a reference to that one.
    fn meant(&self, section: &str, key: &str, variable: &str, text: &str) -> Value {
        let as_toml = format!("value = {text}").parse::<Table>().ok();
        let as_toml = as_toml
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"));
        let as_text = Value::from(text);
        let as_reference = Some(reference_to(variable)).filter(|_| !is_reference(text));
        let candidates = [as_toml, Some(as_text.clone()), as_reference];
        let fits = |value: &Value| self.accepts(section, key, value).is_ok();
        candidates
            .into_iter()
            .flatten()
            .find(fits)
            .unwrap_or(as_text)
    }

    /// Sets a setting that is known to exist, if its section accepts the value.
    fn put(
        &mut self,
        section: &str,
        key: &str,
        value: Value,
        variable: Option<&str>,
    ) -> Result<(), ConfigError> {
        if let Err(reason) = self.accepts(section, key, &value) {
            let name = in_file(section, Some(key));
            let field = variable.map_or(name.clone(), |variable| format!("{name} ({variable})"));
            let shown = if holds_secret(section, key) {
                "(not shown)".to_owned()
            } else {
                value.to_string()
            };
            return Err(ConfigError::refused(
                field,
                shown,
                reason,
                "see wa-outbox.example.toml",
            ));
        }
        let section = self
            .table
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(keys) = section {
            keys.insert(key.to_owned(), value);
        }
        Ok(())
    }

    fn accepts(&self, section: &str, key: &str, value: &Value) -> Result<(), String> {
        let known = self.sections.iter().find(|known| known.name == section);
        known.map_or_else(
            || Err("is in no section".to_owned()),
            |known| known.accepts(key, value),
        )
    }

    /// Refuses a section or setting that does not exist, and says which was probably meant, written in the same way.
    fn known(&self, section: &str, key: Option<&str>, written: Written) -> Result<(), ConfigError> {
        let refused = |hint| {
            Err(ConfigError::Unknown {
                name: written(section, key),
                hint,
            })
        };
        let Some(found) = self.sections.iter().find(|known| known.name == section) else {
            let names: Vec<_> = self.sections.iter().map(|known| known.name).collect();
            return refused(match closest(section, &names) {
                Some(name) => format!("did you mean {}?", written(name, key)),
                None => format!("the sections are {}", names.join(", ")),
            });
        };
        match key {
            Some(key) if !found.keys.contains(&key) => refused(match closest(key, found.keys) {
                Some(name) => format!("did you mean {}?", written(section, Some(name))),
                None => format!("the settings of [{section}] are {}", found.keys.join(", ")),
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn finish(self, env: &Environment) -> Result<Config, ConfigError> {
        let read = Config::deserialize(Value::Table(self.table));
        // Each setting has been accepted by itself, so nothing is left to refuse.
        let mut config = read.map_err(|error| {
            ConfigError::refused(
                "settings",
                "…",
                error.message(),
                "see wa-outbox.example.toml",
            )
        })?;
        if given(env, APP_SECRET).is_none() {
            config
                .webhook
                .app_secrets
                .retain(|secret| *secret != SecretRef::Env(APP_SECRET.to_owned()));
        }
        Ok(config)
    }
}

/// How the name of a setting is written where it was found.
type Written = fn(&str, Option<&str>) -> String;

fn in_file(section: &str, key: Option<&str>) -> String {
    key.map_or_else(|| format!("[{section}]"), |key| format!("{section}.{key}"))
}

fn in_environment(section: &str, key: Option<&str>) -> String {
    format!("{PREFIX}{section}__{}", key.unwrap_or("")).to_uppercase()
}

fn reference_to(variable: &str) -> Value {
    Value::from(SecretRef::Env(variable.to_owned()).to_string())
}

/// Whether a text is, or tries to be, a reference; then it is not itself the secret.
fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

fn holds_secret(section: &str, key: &str) -> bool {
    let of_short_form = SECRETS
        .iter()
        .any(|(_, of, secret)| (*of, *secret) == (section, key));
    of_short_form
        || matches!(
            (section, key),
            ("webhook", "app_secrets" | "unsigned_secrets")
                | ("token", "key")
                | ("traces", "headers")
        )
}

/// The name that was probably meant.
fn closest<'a>(name: &str, among: &[&'a str]) -> Option<&'a str> {
    // The similarity from which clap, too, makes a suggestion.
    const ALIKE: f64 = 0.8;
    let likeness = |known: &str| strsim::jaro_winkler(name, known);
    let best = among
        .iter()
        .copied()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    best.filter(|best| likeness(best) > ALIKE)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
