//! What is logged, how it looks and where it goes: to standard error, for people on a terminal and as JSON otherwise.
//!
//! Standard output is kept for what a command was asked for. Nothing here hides anything: secrets, wamids and keys
//! are types whose `Debug` shows nothing, so there is no line to forget to clean.

mod json;

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Environment, Log, LogFormat};

/// Logging that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error(
        "{field} = {filter:?} is no log filter; write a level, or levels by module: info,wa_outbox=debug"
    )]
    Filter {
        /// Where it was set: `log.filter` or `RUST_LOG`.
        field: &'static str,
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// This process logs already.
    #[error("logging was set up already")]
    SetUpAlready(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How the lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Human { colours: bool },
    Json,
}

/// Starts logging for the whole process. `RUST_LOG`, where it is set, counts before the filter of the settings.
///
/// # Errors
/// When the filter is none, or the process logs already.
pub fn start(log: &Log, env: &Environment) -> Result<(), TelemetryError> {
    let look = look(log.format, std::io::stderr().is_terminal(), env);
    let subscriber = subscriber(look, filter(log, env)?, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| TelemetryError::SetUpAlready(Box::new(error)))
}

fn look(format: LogFormat, terminal: bool, env: &Environment) -> Look {
    // https://no-color.org: present and not empty, whatever its value.
    let colours = terminal && env.get("NO_COLOR").is_none_or(String::is_empty);
    match format {
        LogFormat::Human => Look::Human { colours },
        LogFormat::Auto if terminal => Look::Human { colours },
        LogFormat::Auto | LogFormat::Json => Look::Json,
    }
}

fn filter(log: &Log, env: &Environment) -> Result<EnvFilter, TelemetryError> {
    let (field, filter) = match env.get("RUST_LOG") {
        Some(filter) if !filter.is_empty() => ("RUST_LOG", filter),
        Some(_) | None => ("log.filter", &log.filter),
    };
    EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter {
        field,
        filter: filter.clone(),
        source,
    })
}

fn subscriber<W>(look: Look, filter: EnvFilter, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    match look {
        Look::Human { colours } => Box::new(lines.with_ansi(colours).finish()),
        Look::Json => Box::new(lines.with_ansi(false).event_format(json::Lines).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use secrecy::SecretString;

    use super::*;
    use crate::domain::id::Wamid;
    use crate::domain::token::TokenKey;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `speak` runs.
    fn written(look: Look, env: &[(&str, &str)], speak: impl FnOnce()) -> String {
        let paper = Paper::default();
        let writer = paper.clone();
        let filter = filter(&Log::default(), &environment(env)).expect("a filter");
        tracing::subscriber::with_default(subscriber(look, filter, move || writer.clone()), speak);
        let bytes = paper.0.lock().expect("whole").clone();
        String::from_utf8(bytes).expect("text")
    }

    fn environment(env: &[(&str, &str)]) -> Environment {
        env.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn people_get_lines_and_machines_get_json() {
        let speak = || tracing::info!(sender.id = "4711", "Sender 4711 held: its token expired");
        let line = written(Look::Human { colours: false }, &[], speak);
        assert!(
            line.contains("INFO") && line.contains("Sender 4711 held: its token expired"),
            "{line}"
        );
        assert!(!line.contains('\u{1b}'), "{line:?}");

        let line = written(Look::Json, &[], speak);
        let object: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!(object["level"], "INFO");
        assert_eq!(object["message"], "Sender 4711 held: its token expired");
        assert_eq!(object["sender.id"], "4711");
    }

    #[test]
    fn an_error_is_told_with_all_its_causes() {
        use crate::store::StoreError;
        let refused = std::io::Error::new(std::io::ErrorKind::TimedOut, "nobody is there");
        let error = StoreError::Database {
            doing: "record outcomes",
            source: sqlx::Error::Tls(Box::new(refused)),
        };
        let speak = || {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Could not; trying again"
            )
        };
        let line = written(Look::Json, &[], speak);
        let object: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!(object["error"], "could not record outcomes");
        let sources = object["error.sources"].as_array().expect("its causes");
        assert_eq!(sources.last().expect("one"), "nobody is there");

        let line = written(Look::Human { colours: false }, &[], speak);
        assert!(
            line.contains("could not record outcomes") && line.contains("nobody is there"),
            "{line}"
        );
    }

    #[test]
    fn a_terminal_decides_only_where_the_settings_do_not() {
        let none = environment(&[]);
        assert_eq!(
            look(LogFormat::Auto, true, &none),
            Look::Human { colours: true }
        );
        assert_eq!(look(LogFormat::Auto, false, &none), Look::Json);
        assert_eq!(
            look(LogFormat::Human, false, &none),
            Look::Human { colours: false }
        );
        assert_eq!(look(LogFormat::Json, true, &none), Look::Json);
        let plain = environment(&[("NO_COLOR", "1")]);
        assert_eq!(
            look(LogFormat::Auto, true, &plain),
            Look::Human { colours: false }
        );
    }

    #[test]
    fn rust_log_counts_before_the_settings() {
        let speak = || tracing::debug!("a detail");
        assert_eq!(written(Look::Json, &[], speak), "");
        assert_eq!(written(Look::Json, &[("RUST_LOG", "")], speak), "");
        assert!(written(Look::Json, &[("RUST_LOG", "debug")], speak).contains("a detail"));
    }

    #[test]
    fn a_bad_filter_is_named_with_its_place() {
        let bad = Log {
            filter: "wa_outbox=loud".to_owned(),
            ..Log::default()
        };
        let message = filter(&bad, &environment(&[]))
            .expect_err("bad")
            .to_string();
        assert!(
            message.contains("log.filter") && message.contains("wa_outbox=loud"),
            "{message}"
        );
        let message = filter(&Log::default(), &environment(&[("RUST_LOG", "a=b=c")]))
            .expect_err("bad")
            .to_string();
        assert!(message.contains("RUST_LOG"), "{message}");
    }

    #[test]
    fn no_secret_wamid_or_key_can_be_logged() {
        let secret = SecretString::from("hunter2");
        let wamid = Wamid::from("wamid.HBgLMTY1MDU1NTEyMzQ=");
        let key = TokenKey::from_text(&"a1".repeat(32)).expect("a key");
        for look in [Look::Human { colours: false }, Look::Json] {
            let line = written(look, &[], || {
                tracing::info!(?secret, ?wamid, ?key, "shown: {secret:?} {wamid:?} {key:?}")
            });
            assert!(line.contains("shown"), "{line}");
            for hidden in ["hunter2", "HBgL", "a1a1", "161, 161"] {
                assert!(!line.contains(hidden), "{line}");
            }
        }
    }
}
