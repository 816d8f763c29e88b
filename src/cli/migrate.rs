//! `migrate`: brings the database to the schema of this version.
//!
//! Safe to run at every start and from several places at once: what is there already is left alone.

use std::fmt::Write;

use anyhow::Context as _;

use super::failure::{Problem, READ_ONLY};
use super::{Context, DefaultSender, default_sender, output};
use crate::store::{MigrationState, Schema, Store, StoreError, migrator};

/// Bring the database to the schema of this version
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Change nothing; list what is missing, and exit with 1 if anything is
    #[arg(long, conflicts_with = "print")]
    check: bool,
    /// Print the SQL, to be read; needs no database
    #[arg(long)]
    print: bool,
}

const EXAMPLES: &str = "Applies what is missing and records it in wa.migrations. The role it connects as owns the \
schema wa and needs CREATEROLE, not superuser. With WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN set, that sender \
is added too.

Examples:
  wa-outbox migrate
  wa-outbox migrate --check && systemctl restart wa-outbox
  wa-outbox migrate --print | less";

impl Options {
    /// Applies, checks or prints the migrations.
    ///
    /// # Errors
    /// When a migration fails, or, with `--check`, when one is missing.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.print {
            return output::print(&sql());
        }
        let store = context.store().await?;
        if self.check {
            return check(&store.schema().await?);
        }
        apply(context, store).await
    }
}

/// The migrations as one script, each under its number and name.
fn sql() -> String {
    let mut script = String::new();
    for migration in migrator().iter() {
        let (version, name) = (migration.version, &migration.description);
        let _ = writeln!(script, "-- migration {version}: {name}\n");
        script.push_str(migration.sql.as_str());
        script.push('\n');
    }
    script
}

fn check(schema: &Schema) -> anyhow::Result<()> {
    let missing: Vec<&MigrationState> = schema.missing().collect();
    if missing.is_empty() {
        schema.check()?;
        let all = "The database has every migration of this version.";
        let newer = schema.newer_in_words();
        let newer = newer.map_or_else(String::new, |newer| format!("\n{newer}."));
        return output::print(&format!("{all}{newer}"));
    }
    output::print(&listed("missing", &missing))?;
    let count = missing.len();
    let what = format!("{count} of {} migrations are missing", schema.known.len());
    Err(Problem::failed(what, "apply them: wa-outbox migrate").into())
}

async fn apply(context: &Context, store: &Store) -> anyhow::Result<()> {
    let before = store.schema().await?;
    if let Err(error) = store.migrate().await {
        return Err(unable(store, error).await);
    }
    let applied: Vec<&MigrationState> = before.missing().collect();
    let mut text = if applied.is_empty() {
        "The database had every migration of this version already.\n".to_owned()
    } else {
        listed("applied", &applied)
    };
    if let Some(newer) = before.newer_in_words() {
        text.push_str(&format!("{newer}.\n"));
    }
    let sender = default_sender(context.config()?, store)
        .await
        .context("could not set up the sender that the settings name")?;
    text.push_str(&sender.as_ref().map(told).unwrap_or_default());
    output::print(&text)
}

/// Why it was not done, with what lets this role do it.
async fn unable(store: &Store, error: StoreError) -> anyhow::Error {
    let fix = if error.is_missing_right() {
        store.right_to_migrate().await.ok()
    } else if error.is_read_only() {
        Some(READ_ONLY.to_owned())
    } else {
        None
    };
    match fix {
        Some(fix) => Problem::failed("could not bring the database to this version", fix)
            .because(error)
            .into(),
        None => error.into(),
    }
}

fn listed(verb: &str, migrations: &[&MigrationState]) -> String {
    migrations
        .iter()
        .map(|one| format!("{verb}  {:04} {}\n", one.version, one.description))
        .collect()
}

fn told(sender: &DefaultSender) -> String {
    let id = &sender.sender;
    let done = match (sender.added, sender.changed.as_slice()) {
        (true, _) => "was added".to_owned(),
        (false, []) => "is there already".to_owned(),
        (false, changed) => format!(
            "was changed to what the settings say: {}",
            changed.join(", ")
        ),
    };
    let default = if sender.made_default {
        " and is the default now"
    } else {
        ""
    };
    format!("Sender {id} {done}{default}.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_holds_every_migration_in_order() {
        let script = sql();
        let places: Vec<usize> = [
            "-- migration 1: senders",
            "create table wa.senders",
            "-- migration 3: outbox",
            "create table wa.outbox",
            "create view wa.messages",
        ]
        .iter()
        .map(|part| script.find(part).expect(part))
        .collect();
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn a_missing_migration_fails_the_check() {
        let state = |(version, applied)| MigrationState {
            version,
            description: "outbox".to_owned(),
            applied,
        };
        let schema = |known: &[(i64, bool)]| Schema {
            known: known.iter().copied().map(state).collect(),
            newer: Vec::new(),
        };
        assert!(check(&schema(&[(1, true)])).is_ok());
        let error = check(&schema(&[(1, true), (2, false)])).expect_err("one is missing");
        assert_eq!(error.to_string(), "1 of 2 migrations are missing");
    }
}
