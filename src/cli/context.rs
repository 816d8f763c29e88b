//! What commands share: settings and database, each fetched when a command first asks for it.
//!
//! A command that needs no database works without one, and one that needs no settings is not stopped by bad ones.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use super::failure::Problem;
use super::output;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Environment, is_read_by_us};
use crate::store::{ConnectSettings, Store, StoreError};

/// Settings, database, environment and clock of one run of the program.
#[derive(Debug)]
pub struct Context {
    path: Option<PathBuf>,
    env: Environment,
    /// A variable of ours whose value is no text.
    not_text: Option<String>,
    clock: Clock,
    config: OnceLock<Config>,
    /// What is wrong with the variables of OpenTelemetry, which are not ours alone.
    unfit_traces: OnceLock<ConfigError>,
    store: OnceCell<Connected>,
}

/// A store, whose connections there is no point in showing.
struct Connected(Store);

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connected")
    }
}

impl Context {
    /// The context of this process: its environment, the machine's clock, and the settings file that was named.
    pub fn of_process(path: Option<&Path>) -> Self {
        Self::with_variables(path, std::env::vars_os())
    }

    fn with_variables(
        path: Option<&Path>,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Self {
        let (mut env, mut not_text) = (Environment::new(), None);
        for (name, value) in variables {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => drop(env.insert(name, value)),
                (Ok(name), Err(_)) if is_read_by_us(&name) => not_text = Some(name),
                // What others have there is nothing to us.
                (Ok(_) | Err(_), _) => {}
            }
        }
        Self {
            not_text,
            ..Self::new(path, env, Clock::system())
        }
    }

    /// A context of its own.
    pub fn new(path: Option<&Path>, env: Environment, clock: Clock) -> Self {
        Self {
            path: path.map(Path::to_owned),
            env,
            not_text: None,
            clock,
            config: OnceLock::new(),
            unfit_traces: OnceLock::new(),
            store: OnceCell::new(),
        }
    }

    /// The environment variables.
    pub fn env(&self) -> &Environment {
        &self.env
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The settings.
    ///
    /// # Errors
    /// When they cannot be read, or cannot be meant.
    pub fn config(&self) -> Result<&Config, ConfigError> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        if let Some(variable) = &self.not_text {
            let variable = variable.clone();
            return Err(ConfigError::NotText { variable });
        }
        let (config, unfit) = Config::load_but_traces(self.path.as_deref(), &self.env)?;
        if let Some(unfit) = unfit {
            let _ = self.unfit_traces.set(unfit);
        }
        Ok(self.config.get_or_init(|| config))
    }

    /// What a command that tells no traces leaves aside.
    pub fn unfit_traces(&self) -> Option<&ConfigError> {
        self.unfit_traces.get()
    }

    /// The settings of a process that tells traces: they must be fit for it, too.
    ///
    /// # Errors
    /// When they cannot be read, or cannot be meant.
    pub fn config_with_traces(&self) -> Result<&Config, ConfigError> {
        Config::load(self.path.as_deref(), &self.env)?;
        self.config()
    }

    /// The database, connected to at the first call.
    ///
    /// # Errors
    /// When the settings name none, or it cannot be reached.
    pub async fn store(&self) -> anyhow::Result<&Store> {
        let connected = self.store.get_or_try_init(|| self.connect()).await?;
        Ok(&connected.0)
    }

    async fn connect(&self) -> anyhow::Result<Connected> {
        let config = self.config()?;
        let url = config.database_url(&self.env)?;
        let settings = ConnectSettings {
            max_connections: config.database.max_connections,
            statement_timeout: config.database.statement_timeout,
            lock_timeout: config.database.lock_timeout,
            ..ConnectSettings::new(url.expose_secret())
        };
        let store = Store::connect(&settings).await.map_err(unreachable)?;
        Ok(Connected(store))
    }

    /// Ends the connections in good order, where there are any.
    pub async fn close(&self) {
        if let Some(connected) = self.store.get() {
            connected.0.close().await;
        }
    }

    /// Whether standard output takes colours.
    pub(super) fn colours(&self) -> bool {
        output::colours(&self.env)
    }

    /// Who does this: the name that was given, else `user@host` as the environment tells it.
    pub(super) fn author(&self, given: Option<String>) -> Result<String, Problem> {
        let variable = |name| self.env.get(name).filter(|value| !value.is_empty());
        let user = || variable("USER").or_else(|| variable("LOGNAME"));
        match (given, user(), variable("HOSTNAME")) {
            (Some(given), ..) => Ok(given),
            (None, Some(user), Some(host)) => Ok(format!("{user}@{host}")),
            (None, Some(user), None) => Ok(user.clone()),
            (None, None, _) => Err(Problem::usage(
                "it is not known who does this: USER is not set",
                "say who you are: --by NAME",
            )),
        }
    }
}

/// The database cannot be reached.
pub(super) fn unreachable(error: StoreError) -> Problem {
    let fix = match &error {
        StoreError::PoolerFull { .. } => {
            "give the pooler more server connections, or this process fewer (database.max_connections)"
        }
        _ => "see that DATABASE_URL (or database.url) is right and that Postgres runs there",
    };
    Problem::failed("could not connect to the database", fix).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(env: &[(&str, &str)]) -> Context {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Context::new(None, env, Clock::system())
    }

    #[test]
    fn the_author_is_who_was_named_or_the_user_at_the_host() {
        let author = |env: &[(&str, &str)], given: Option<&str>| {
            context(env).author(given.map(str::to_owned)).ok()
        };
        let both = [("USER", "ada"), ("HOSTNAME", "ops1")];
        assert_eq!(author(&both, None).as_deref(), Some("ada@ops1"));
        assert_eq!(author(&both, Some("eve")).as_deref(), Some("eve"));
        assert_eq!(author(&both[..1], None).as_deref(), Some("ada"));
        assert_eq!(author(&[("USER", "")], None), None);
    }

    #[test]
    fn a_variable_of_ours_that_is_no_text_is_refused_and_one_of_others_is_not() {
        use std::os::unix::ffi::OsStringExt as _;
        let with = |name: &str| {
            let value = OsString::from_vec(b"postgres://caf\xe9/app".to_vec());
            let context = Context::with_variables(None, [(name.into(), value)].into_iter());
            context.config().map(drop)
        };
        for ours in [
            "DATABASE_URL",
            "WA_OUTBOX__WORKER__NAME",
            "WHATSAPP_ACCESS_TOKEN",
        ] {
            let said = with(ours).expect_err("is refused").to_string();
            assert!(said.starts_with(ours) && !said.contains("caf"), "{said}");
        }
        assert!(with("OLDPWD").is_ok());
    }

    #[test]
    fn variables_of_opentelemetry_that_do_not_fit_stop_only_who_tells_traces() {
        for unfit in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_TRACES_SAMPLER_ARG", "endpoint=http://x"),
        ] {
            let context = context(&[unfit, ("WA_OUTBOX__WORKER__TICK_MS", "7")]);
            let config = context.config().expect("they are left aside");
            assert_eq!(config.worker.tick.as_millis(), 7);
            let said = context.unfit_traces().expect("and told").to_string();
            assert!(
                said.contains(unfit.0) || said.contains("traces.endpoint"),
                "{said}"
            );
            assert!(context.config_with_traces().is_err());
        }
        let context = context(&[("WA_OUTBOX__TRACES__ENDPOINT", "collector:4317")]);
        assert!(context.config().is_err(), "that is ours");
    }

    #[tokio::test]
    async fn without_a_database_url_the_settings_are_at_fault() {
        let error = context(&[]).store().await.map(drop).expect_err("none set");
        assert!(error.is::<ConfigError>(), "{error:?}");
    }

    #[test]
    fn a_misspelt_setting_is_refused_when_the_settings_are_asked_for() {
        let error = context(&[("WA_OUTBOX__WORKER__TIK_MS", "1")])
            .config()
            .map(drop);
        assert!(matches!(error, Err(ConfigError::Unknown { .. })));
    }
}
