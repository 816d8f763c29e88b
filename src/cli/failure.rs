//! How a command fails: what could not be done, why, what to do, and an exit code for scripts.
//!
//! ```text
//! error: could not write the message into the outbox
//!   because: recipient "16505551234" does not start with +
//!   fix: write + and the country code: …
//! ```
//!
//! Each line says something the one above does not. What the database refuses is told in the schema's own words.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::service::ServiceError;
use crate::store::StoreError;
use crate::store::outbox::EnqueueError;
use crate::telemetry::TelemetryError;

use crate::standing::facts::plain_lines;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// `EX_USAGE` of sysexits.h is what many programs answer to settings they cannot use.
const BAD_SETTINGS: u8 = 64;

/// Something that cannot be done as it was asked, and what to do instead.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Problem {
    what: String,
    fix: String,
    exit: u8,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// It could not be done: exit code 1.
    pub fn failed(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
            exit: FAILED,
            source: None,
        }
    }

    /// It was asked for in a way that cannot be meant: exit code 2.
    pub fn usage(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            exit: USAGE,
            ..Self::failed(what, fix)
        }
    }

    /// The error that it comes from.
    pub fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

/// Says on standard error what went wrong, and gives the exit code for it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        // Who reads our output has had enough of it, as `head` has; nothing went wrong.
        return ExitCode::SUCCESS;
    }
    say(error);
    ExitCode::from(exit_code(error))
}

/// Says on standard error what went wrong.
pub(super) fn say(error: &anyhow::Error) {
    // Where nobody listens there, the exit code has to do.
    let _ = io::stderr().write_all(words(error).as_bytes());
}

/// What went wrong, in lines: `error:`, `because:`, `fix:`.
pub(super) fn words(error: &anyhow::Error) -> String {
    let mut lines = vec![error.to_string()];
    let mut fix = None;
    for cause in error.chain() {
        let text = cause.to_string();
        if !lines.iter().any(|line| line.contains(&text)) {
            lines.push(text);
        }
        if let Some(problem) = cause.downcast_ref::<Problem>() {
            fix = Some(problem.fix.clone());
        }
        if let Some(EnqueueError::Refused { hint, .. }) = cause.downcast_ref() {
            fix = hint.clone().or(fix);
            // What follows is the same refusal in the driver's words.
            break;
        }
        if let Some((reason, hint)) = of_store(cause).and_then(told) {
            lines.push(reason);
            fix = hint.or(fix);
            break;
        }
    }
    let mut words = said("error: ", &lines[0]);
    for reason in &lines[1..] {
        words += &said("  because: ", reason);
    }
    if let Some(fix) = fix {
        words += &said("  fix: ", &fix);
    }
    words
}

/// A text of one line or of several. What follows the first stands further in than our own words, so that it is not taken for them.
fn said(start: &str, text: &str) -> String {
    let text = plain_lines(text.trim_end());
    let mut lines = text.lines();
    let mut said = format!("{start}{}\n", lines.next().unwrap_or_default());
    for line in lines {
        said += format!("    {line}").trim_end();
        said.push('\n');
    }
    said
}

// It is read by members of any of them, so it says of each what it is for. A producer sees single messages, sequences and campaigns, and
// not how senders and workers go.
const ROLES: &str = "connect as a member of the role that may: wa_viewer or wa_worker to look at everything (top, summary, tail, campaign show), \
wa_producer or wa_worker to send and to cancel; to migrate, as the owner of the schema";

/// What to do where nothing can be written.
pub(super) const READ_ONLY: &str = "nothing can be written there: connect to the primary, or set default_transaction_read_only = off for \
this role and database";

/// The database's reason and what to do, where it gave one that people can use.
fn told(error: &StoreError) -> Option<(String, Option<String>)> {
    if is_without_our_schema(error) {
        let reason = "the database lacks a table, column or function of this version";
        return Some((reason.into(), Some("apply it: wa-outbox migrate".into())));
    }
    if error.is_read_only() {
        return in_the_servers_words(error).map(|message| (message, Some(READ_ONLY.to_owned())));
    }
    let Some((message, hint)) = error.refusal() else {
        let fix = (code(error).as_deref() == Some("42501")).then(|| ROLES.to_owned());
        return in_the_servers_words(error).map(|message| (message, fix));
    };
    if let Some(told) = missing_sender(&message, hint.as_deref()) {
        return Some(told);
    }
    let Some((rule, fix)) = broken_rule(&message) else {
        return Some((message, hint));
    };
    // A unique index adds which value is taken. A check adds the whole row: too much to read, and none of it a fix.
    let taken = hint.filter(|detail| detail.starts_with("Key ("));
    let taken = taken.map_or_else(String::new, |detail| format!("; {detail}"));
    Some((format!("the rule is: {rule}{taken}"), fix))
}

/// What the server said of any other error; the driver would add lines of the server's own source.
fn in_the_servers_words(error: &StoreError) -> Option<String> {
    let StoreError::Database { source, .. } = error else {
        return None;
    };
    let error = source.as_database_error()?;
    Some(error.message().to_owned())
}

/// An error of the store, also one that a service hands on as its own.
fn of_store<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a StoreError> {
    if let Some(ServiceError::Store(error)) = cause.downcast_ref() {
        return Some(error);
    }
    cause.downcast_ref()
}

/// Our constraints are named as the sentence they enforce, and some sentences have a fix.
fn broken_rule(message: &str) -> Option<(String, Option<String>)> {
    let kinds = [
        "violates check constraint \"",
        "violates unique constraint \"",
    ];
    let (_, name) = kinds.iter().find_map(|kind| message.split_once(kind))?;
    let name = name.trim_end_matches('"');
    // Where the sentence has what a name cannot have, or a fix.
    let (rule, fix) = match name {
        "a_language_is_written_like_en_us" | "a_language_has_a_code" => {
            ("a language is written like en_US", None)
        }
        "quiet_hours_are_written_like_21_00_08_00" => {
            ("quiet hours are written like 21:00-08:00", None)
        }
        "api_version_looks_like_v23_0" => ("api version looks like v23.0", None),
        "base_url_is_http_without_a_trailing_slash" => (
            "base url begins with http:// or https:// and has no space and no / at its end",
            Some("write it like https://graph.facebook.com"),
        ),
        // As the database counts them, of twelve months of thirty days.
        "delivery_timeout_is_above_zero_and_at_most_ten_years" => {
            ("delivery timeout is above zero and at most 3600 days", None)
        }
        "a_campaign_ends_after_it_starts" => (
            "a campaign ends after it starts",
            Some("set both, --starts-at TIME and --ends-at TIME, or take one away with none"),
        ),
        "the_name_of_a_campaign_is_no_number" => (
            "the name of a campaign is no number",
            Some("write a name with a letter in it, such as spring"),
        ),
        _ => return Some((name.replace('_', " "), None)),
    };
    Some((rule.to_owned(), fix.map(str::to_owned)))
}

/// A row that names a sender which does not exist, whatever table it is of.
fn missing_sender(message: &str, detail: Option<&str>) -> Option<(String, Option<String>)> {
    message
        .contains("violates foreign key constraint")
        .then_some(())?;
    let (_, named) = detail?.split_once("Key (sender)=(")?;
    let sender = named.strip_suffix(") is not present in table \"senders\".")?;
    let fix = "see which there are: wa-outbox sender list; add it: wa-outbox sender add --help";
    Some((format!("there is no sender {sender}"), Some(fix.to_owned())))
}

/// Whether a schema, table, column or function is unknown there.
fn is_without_our_schema(error: &StoreError) -> bool {
    matches!(
        code(error).as_deref(),
        Some("3F000" | "42P01" | "42703" | "42883")
    )
}

/// The server's code for the error (PostgreSQL, Appendix A).
fn code(error: &StoreError) -> Option<String> {
    let StoreError::Database { source, .. } = error else {
        return None;
    };
    let code = source.as_database_error()?.code()?;
    Some(code.into_owned())
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let of_settings = |cause: &(dyn Error + 'static)| {
        cause.is::<ConfigError>()
            || matches!(cause.downcast_ref(), Some(TelemetryError::Filter { .. }))
            || (cause.downcast_ref()).is_some_and(ServiceError::is_of_settings)
    };
    if error.chain().any(of_settings) {
        return BAD_SETTINGS;
    }
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Problem>())
        .map_or(FAILED, |problem| problem.exit)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_failure_names_each_reason_once_and_then_the_fix() {
        let error = anyhow::Error::new(Problem::failed(
            "message 7 has ended",
            "see: message show 7",
        ))
        .context("could not cancel")
        .context("could not cancel");
        assert_eq!(
            words(&error),
            "error: could not cancel\n  because: message 7 has ended\n  fix: see: message show 7\n"
        );
    }

    #[test]
    fn the_exit_code_tells_settings_usage_and_failure_apart() {
        let missing = ConfigError::Missing {
            field: "database.url",
            fix: "set it",
        };
        let settings: anyhow::Error = Err::<(), _>(missing).context("at start").expect_err("bad");
        assert_eq!(exit_code(&settings), 64);
        let missing = ConfigError::Missing {
            field: "database.url",
            fix: "set it",
        };
        assert_eq!(exit_code(&ServiceError::from(missing).into()), 64);
        assert_eq!(exit_code(&Problem::usage("a", "b").into()), 2);
        assert_eq!(exit_code(&Problem::failed("a", "b").into()), 1);
        assert_eq!(exit_code(&anyhow::anyhow!("a")), 1);
    }

    #[test]
    fn a_problem_tells_what_it_comes_from() {
        let source = io::Error::other("no route to host");
        let problem = Problem::failed("could not connect", "check the address").because(source);
        assert_eq!(
            words(&problem.into()),
            "error: could not connect\n  because: no route to host\n  fix: check the address\n"
        );
    }

    #[test]
    fn what_is_laid_out_in_lines_is_told_in_lines_and_looks_like_nothing_of_ours() {
        let source = io::Error::other("initdb said:\n  no room\u{1b}[2J\n\nfix: nothing\n");
        let problem = Problem::failed("could not start", "make room").because(source);
        assert_eq!(
            words(&problem.into()),
            "error: could not start\n  because: initdb said:\n      no room\u{fffd}[2J\n\n    fix: nothing\n  fix: make room\n"
        );
    }

    #[test]
    fn a_reader_that_has_had_enough_is_no_failure() {
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_closed_pipe(&closed.context("could not print")));
        let full = anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(!is_closed_pipe(&full));
    }

    #[test]
    fn a_broken_rule_is_told_as_the_sentence_it_is_named_by() {
        let message = r#"new row for relation "senders" violates check constraint "path_starts_with_a_slash""#;
        let rule = |message| broken_rule(message).map(|(rule, _)| rule);
        assert_eq!(rule(message).as_deref(), Some("path starts with a slash"));
        let message =
            r#"duplicate key value violates unique constraint "dedup_key_is_used_once_per_sender""#;
        assert_eq!(
            rule(message).as_deref(),
            Some("dedup key is used once per sender")
        );
        let message = r#"new row for relation "template_holds" violates check constraint "a_language_is_written_like_en_us""#;
        assert_eq!(
            rule(message).as_deref(),
            Some("a language is written like en_US")
        );
        assert_eq!(broken_rule("priority is 12"), None);
    }

    #[test]
    fn a_sender_that_is_missing_is_told_by_its_name() {
        let message = r#"insert or update on table "suppressions" violates foreign key constraint "suppressions_sender_fkey""#;
        let detail = r#"Key (sender)=(999) is not present in table "senders"."#;
        let (reason, fix) = missing_sender(message, Some(detail)).expect("is told");
        assert_eq!(reason, "there is no sender 999");
        assert!(fix.expect("a fix").contains("wa-outbox sender list"));
        assert_eq!(missing_sender(message, None), None);
        let other = r#"Key (region)=(XX) is not present in table "countries"."#;
        assert_eq!(missing_sender(message, Some(other)), None);
    }
}
