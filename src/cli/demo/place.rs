//! The database of the demo: a PostgreSQL server of our own, and in it a new database for each run.
//!
//! Older databases of the demo are dropped, so that a second run starts clean and the folder does not grow; one that
//! somebody is still connected to is left alone. `DATABASE_URL` is not asked: in a shell that has it, it mostly names a database that
//! somebody needs, and nothing may be made or dropped beside that.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sqlx::{Connection, PgConnection};

use crate::embedded::{Purpose, Server};
use crate::store::{ConnectSettings, Store};

/// How the databases of the demo begin.
const PREFIX: &str = "demo_";
/// The database that every server has.
const MAINTENANCE: &str = "postgres";
/// Connections of the demo itself; the worker has its own.
const CONNECTIONS: u32 = 3;

/// A running server and the database of this run.
pub(super) struct Place {
    server: Server,
    folder: PathBuf,
    pub(super) database: String,
}

impl Place {
    /// Starts the server in `folder`, or joins it, and makes a new database.
    pub(super) async fn open(folder: &Path, with_tcp: bool) -> anyhow::Result<Self> {
        let purpose = Purpose::Durable {
            folder: folder.to_owned(),
            tcp_port: with_tcp.then_some(0),
        };
        let server = tokio::task::spawn_blocking(move || Server::start(purpose))
            .await
            .context("the start of PostgreSQL broke off")??;
        let mut place = Self {
            server,
            folder: folder.to_owned(),
            database: String::new(),
        };
        match new_database(&place.server.url(MAINTENANCE)).await {
            Ok(database) => place.database = database,
            Err(error) => {
                // What went wrong first is what a person must hear.
                let _ = place.close(false).await;
                return Err(error.context("could not make a database for the demo"));
            }
        }
        Ok(place)
    }

    /// The way to the database, for programs of this user.
    pub(super) fn url(&self) -> String {
        self.server.url(&self.database)
    }

    /// The way to it for any program on this machine, if it was asked for.
    pub(super) fn tcp_url(&self) -> Option<String> {
        self.server.tcp_url(&self.database)
    }

    /// What a person types to look into it.
    pub(super) fn psql_line(&self) -> String {
        self.server.psql_line(&self.database)
    }

    /// PostgreSQL's major version.
    pub(super) fn version(&self) -> u32 {
        self.server.version()
    }

    /// Where its data is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Connects and applies every migration. Gives their number too.
    pub(super) async fn store(&self) -> anyhow::Result<(Store, usize)> {
        let store = Store::connect(&ConnectSettings {
            max_connections: CONNECTIONS,
            ..ConnectSettings::new(self.url())
        })
        .await?;
        store.migrate().await?;
        let migrations = store.schema().await?.known.len();
        Ok((store, migrations))
    }

    /// Stops the server, unless another process uses it; `remove` also deletes all that was made for it.
    pub(super) async fn close(self, remove: bool) -> anyhow::Result<()> {
        let server = self.server;
        let end = move || match remove {
            true => server.remove(),
            false => server.stop(),
        };
        let ended = tokio::task::spawn_blocking(end).await;
        Ok(ended.context("the end of PostgreSQL broke off")??)
    }
}

/// Drops the databases of earlier runs and makes the next one.
async fn new_database(url: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(url).await?;
    let old: Vec<String> =
        sqlx::query_scalar("select datname::text from pg_database where datname ~ '^demo_[0-9]+$'")
            .fetch_all(&mut connection)
            .await?;
    let mut number = 1 + old
        .iter()
        .filter_map(|name| number_of(name))
        .max()
        .unwrap_or(0);
    for name in &old {
        // Refused while somebody is connected: another demo, or a person who looks at what it left.
        let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop database {name}")))
            .execute(&mut connection)
            .await;
    }
    loop {
        let name = format!("{PREFIX}{number}");
        let made = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {name}")))
            .execute(&mut connection)
            .await;
        match made {
            Ok(_) => break Ok(name),
            Err(sqlx::Error::Database(error)) if is_taken(error.code().as_deref()) => {
                number += 1;
            }
            Err(error) => break Err(error.into()),
        }
    }
}

/// Whether another demo was faster: its database is there (42P04), or is being made at this moment (23505).
fn is_taken(code: Option<&str>) -> bool {
    matches!(code, Some("42P04" | "23505"))
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_another_demo_takes_or_is_just_taking_is_passed_over() {
        for (code, taken) in [("42P04", true), ("23505", true), ("42501", false)] {
            assert_eq!(is_taken(Some(code)), taken, "{code}");
        }
    }

    #[test]
    fn only_databases_of_the_demo_have_a_number() {
        assert_eq!(number_of("demo_12"), Some(12));
        assert_eq!(number_of("demo_12x"), None);
        assert_eq!(number_of("postgres"), None);
    }
}
