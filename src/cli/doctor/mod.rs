//! `doctor`: looks at everything a message needs on its way, and says in words what is wrong and what to do.
//!
//! It sends nothing, changes nothing and shows no secret. What it cannot find out it says, and goes on: one thing that is broken, or gives no
//! answer, must not hide the others.

mod care;
mod database;
mod permission;
mod senders;
mod webhooks;

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::failure::Problem;
use super::{Context, output};
use crate::dispatch::beside::alone;
use crate::domain::text::chain;
use crate::store::StoreError;

/// Check database, senders, providers and webhooks, and say what is wrong
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const HELP: &str = "Run it where the workers run, with their settings and environment: it reads what they read. It calls each \
provider once, by a call that sends nothing. Exits with 1 when something is broken; a note is no reason to.

With --json an object: broken (a number) and findings, an array of objects with about, check, standing (fine, note or broken), \
words and fix.

Example:
  wa-outbox doctor";

/// Files of settings are waited for no longer: the disk that one is on may have gone away.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    /// As it should be.
    Fine,
    /// Worth knowing; works.
    Note,
    /// Does not work.
    Broken,
}

/// What one check found.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    /// What it is about: `database`, `webhooks`, `messages`, `settings` or `sender …`.
    about: String,
    /// Which check; the same word each time.
    check: &'static str,
    standing: Standing,
    words: String,
    /// What to do, where something is to be done.
    fix: Option<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    broken: usize,
    findings: &'a [Finding],
}

/// All that was found so far. In words it is told as it comes, so that whoever waits sees for what.
struct Told {
    as_json: bool,
    findings: Vec<Finding>,
}

impl Told {
    fn tell(&mut self, found: Findings) -> anyhow::Result<()> {
        if !self.as_json && !found.findings.is_empty() {
            output::print(&in_words(&found.findings))?;
        }
        self.findings.extend(found.findings);
        Ok(())
    }
}

/// The findings about one thing, as they are made.
struct Findings {
    about: String,
    findings: Vec<Finding>,
}

impl Findings {
    fn about(about: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            findings: Vec::new(),
        }
    }

    fn fine(&mut self, check: &'static str, words: impl Into<String>) {
        self.add(check, Standing::Fine, words.into(), None);
    }

    /// Worth knowing, with what may be done about it.
    fn note(&mut self, check: &'static str, words: impl Into<String>, fix: impl Into<String>) {
        self.add(check, Standing::Note, words.into(), Some(fix.into()));
    }

    fn broken(&mut self, check: &'static str, words: impl Into<String>, fix: impl Into<String>) {
        self.add(check, Standing::Broken, words.into(), Some(fix.into()));
    }

    /// The database was asked and did not say.
    fn unanswered(&mut self, check: &'static str, error: &StoreError) {
        let fix = "connect as a member of wa_worker to a database of this version; see: wa-outbox migrate --check";
        self.broken(check, chain(error), fix);
    }

    fn add(&mut self, check: &'static str, standing: Standing, words: String, fix: Option<String>) {
        self.findings.push(Finding {
            about: self.about.clone(),
            check,
            standing,
            words,
            fix,
        });
    }
}

impl Options {
    /// Checks, and prints what was found.
    ///
    /// # Errors
    /// When something is broken, or the settings cannot be read.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        let config = context.config()?;
        let mut told = Told {
            as_json: self.json,
            findings: Vec::new(),
        };
        let store = database::check(context, &mut told).await?;
        if let Some(store) = store {
            senders::check(context, config, store, &mut told).await?;
        }
        webhooks::check(context, config, store, &mut told).await?;
        let mut found = Findings::about("settings");
        care::settings(config, &mut found);
        if let Some(store) = store {
            match store.pruning().await {
                Ok(pruning) => care::retention(&config.retention, pruning, &mut found),
                Err(error) => found.unanswered("retention", &error),
            }
        }
        told.tell(found)?;
        let findings = told.findings;
        let broken = findings
            .iter()
            .filter(|one| one.standing == Standing::Broken)
            .count();
        if self.json {
            output::print_json(&Report {
                broken,
                findings: &findings,
            })?;
        }
        if broken == 0 {
            return Ok(());
        }
        let what = match broken {
            1 => "one thing is broken".to_owned(),
            count => format!("{count} things are broken"),
        };
        Err(Problem::failed(
            what,
            "do what stands behind \"fix\" above, and run doctor again",
        )
        .into())
    }
}

/// What is read from files, if they answer in time. Not read by a thread of the runtime's: the end of the process would wait for it.
async fn read_within<T: Send + 'static>(
    limit: Duration,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    alone(Instant::now() + limit, read).await.ok()
}

/// The findings by what they are about, each with its mark.
fn in_words(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut about = "";
    for one in findings {
        if one.about != about {
            about = &one.about;
            text.push_str(&format!("{about}\n"));
        }
        let mark = match one.standing {
            Standing::Fine => "ok     ",
            Standing::Note => "note   ",
            Standing::Broken => "BROKEN ",
        };
        text.push_str(&format!(
            "  {mark} {}: {}\n",
            one.check,
            output::plain(&one.words)
        ));
        if let Some(fix) = &one.fix {
            text.push_str(&format!("            fix: {}\n", output::plain(fix)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_does_not_answer_is_not_waited_for() {
        let (answers, gate) = std::sync::mpsc::channel::<()>();
        let stands_still = move || gate.recv();
        assert!(read_within(Duration::ZERO, stands_still).await.is_none());
        drop(answers);

        assert_eq!(read_within(READ_WITHIN, || 7).await, Some(7));
    }

    #[test]
    fn findings_stand_under_what_they_are_about_with_their_fix() {
        let mut database = Findings::about("database");
        database.fine("version", "PostgreSQL 16");
        database.broken("schema", "2 migrations are missing", "apply them");
        let mut sender = Findings::about("sender 1");
        sender.note("rate", "fast", "slow down");
        let all: Vec<Finding> = database
            .findings
            .into_iter()
            .chain(sender.findings)
            .collect();
        let expected = "database\n  ok      version: PostgreSQL 16\n  BROKEN  schema: 2 migrations are missing\n            \
                        fix: apply them\nsender 1\n  note    rate: fast\n            fix: slow down\n";
        assert_eq!(in_words(&all), expected);
    }
}
