//! The schema of a database, and which versions of the program can work with it.
//!
//! Old and new programs run side by side while a fleet is brought up to date. So a migration only adds what an older program does
//! not see (*expand*), and what nobody uses any more is taken away later by another (*contract*), which says which migration a
//! program must know for it: `0025_contract_after_0020_old_names.sql`. A program works with any schema but two kinds: one that lacks
//! a migration of its own, and one from which a contraction has taken what it needs.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::migrate::{Migration, Migrator};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::Instant;
use tracing::{info, warn};

use super::error::Doing;
use super::pooler::Pooling;
use super::{Store, StoreError, country};
use crate::crash::crash_point;

/// So often it is asked whether another process still migrates.
const TURN_EVERY: Duration = Duration::from_millis(100);
/// So often it is said who is waited for.
const SAID_EVERY: Duration = Duration::from_secs(5);
/// A migration waits no longer for a lock, for whoever comes after it waits for both.
const LOCKED_WITHIN: &str = "250ms";
/// Then everybody else goes on, before it is tried again.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// So long it is tried.
const TRIED_FOR: Duration = Duration::from_secs(60);
/// The one encoding in which Postgres sees to it that a text can be read.
pub const UTF8: &str = "UTF8";

/// A migration and whether this database has it.
#[derive(Debug)]
pub struct MigrationState {
    /// Its number.
    pub version: i64,
    /// What it adds.
    pub description: String,
    /// Whether it has been applied.
    pub applied: bool,
}

/// What a database has, as this version of the program sees it.
#[derive(Debug)]
pub struct Schema {
    /// The migrations of this version.
    pub known: Vec<MigrationState>,
    /// Those that a newer version has applied, by number.
    pub newer: Vec<Newer>,
}

/// A migration that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newer {
    /// Its number.
    pub version: i64,
    /// What it does.
    pub description: String,
}

/// The migrations of this version, recorded in `wa.migrations`.
pub fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.table_name = "wa.migrations".into();
    migrator.create_schemas = vec!["wa".into()].into();
    // A newer version may have been here; whether its schema can be worked with is another question.
    migrator.ignore_missing = true;
    migrator
}

impl Newer {
    /// The migration that a program must know to work after this one; none where it takes nothing away.
    fn needs(&self) -> Option<i64> {
        let after = self.description.strip_prefix("contract after ")?;
        let number = after.split(' ').next().unwrap_or(after);
        // What is not written as it should be is known to nobody.
        Some(number.parse().unwrap_or(i64::MAX))
    }
}

impl Schema {
    /// The migrations of this version that it lacks.
    pub fn missing(&self) -> impl Iterator<Item = &MigrationState> {
        self.known.iter().filter(|one| !one.applied)
    }

    /// Refuses a schema that this version cannot work with.
    ///
    /// # Errors
    /// The first migration that it lacks; else the first that took away what this version needs.
    pub fn check(&self) -> Result<(), StoreError> {
        if let Some(missing) = self.missing().next() {
            return Err(StoreError::NotMigrated {
                version: missing.version,
                description: missing.description.clone(),
            });
        }
        let knows = |number| self.known.iter().any(|one| one.version == number);
        let contracted = self
            .newer
            .iter()
            .find(|newer| newer.needs().is_some_and(|number| !knows(number)));
        match contracted {
            None => Ok(()),
            Some(newer) => Err(StoreError::TooOld {
                version: newer.version,
                description: newer.description.clone(),
            }),
        }
    }

    /// What a program says once that works with a newer schema; nothing where it is its own.
    pub fn newer_in_words(&self) -> Option<String> {
        let last = self.newer.last()?;
        let (version, description) = (last.version, &last.description);
        let count = match self.newer.len() {
            1 => "a migration".to_owned(),
            count => format!("{count} migrations"),
        };
        Some(format!(
            "The database has {count} of a newer version, up to {version} ({description}). They take nothing away that this version uses"
        ))
    }
}

impl Store {
    /// What this database has.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn schema(&self) -> Result<Schema, StoreError> {
        let exists: bool =
            sqlx::query_scalar!(r#"select to_regclass('wa.migrations') is not null as "exists!""#)
                .fetch_one(&self.pool)
                .await
                .doing("look for the migrations table")?;
        let mut applied = Vec::new();
        if exists {
            let list =
                "select version, description from wa.migrations where success order by version";
            let rows = sqlx::query(list).fetch_all(&self.pool).await;
            for row in rows.doing("list the migrations")? {
                applied.push(Newer {
                    version: row.get("version"),
                    description: row.get("description"),
                });
            }
        }
        let known = migrator();
        let known: Vec<MigrationState> = known
            .iter()
            .map(|migration| MigrationState {
                version: migration.version,
                description: migration.description.to_string(),
                applied: applied.iter().any(|one| one.version == migration.version),
            })
            .collect();
        applied.retain(|one| known.iter().all(|known| known.version != one.version));
        Ok(Schema {
            known,
            newer: applied,
        })
    }

    /// Applies what is missing. Safe to call from several processes at once.
    ///
    /// # Errors
    /// When one cannot be applied. What a newer version has applied is left alone.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        if self.pooling == Pooling::Transaction {
            // The lock that keeps two migrations apart lives in a server connection that we would not find again.
            return Err(StoreError::CannotMigrateHere);
        }
        self.must_keep_text().await?;
        let doing = "connect to migrate the database";
        let mut connection = self.pool.connect().await.doing(doing)?;
        // A table with millions of rows takes its time to be changed. What is waited for too long is a lock.
        connection
            .execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
            .await
            .doing(doing)?;
        // Whoever finds all there need not wait: any login can take the lock, and keep it.
        if self.schema().await?.missing().next().is_some() {
            await_turn(&mut connection).await.doing(doing)?;
            as_the_owner(&mut connection).await?;
            self.apply(&mut connection).await?;
        }
        crash_point!("migrate.applied");
        if self.schema().await?.newer.is_empty() {
            // A newer version knows the countries better.
            country::bring_up_to_date(&mut connection).await?;
        }
        crash_point!("migrate.countries");
        // Nothing is lost if the server does not hear our goodbye.
        let _ = connection.close().await;
        Ok(())
    }

    async fn apply(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        for index in self.indexes_to_come().await? {
            let half_made = format!("drop index concurrently if exists wa.{index}");
            let half_made = sqlx::raw_sql(sqlx::AssertSqlSafe(half_made));
            let dropped = half_made.execute(&mut *connection).await;
            dropped.doing("clear away an index that was not made to its end")?;
        }
        for migration in self.schema().await?.missing() {
            self.apply_one(&mut *connection, migration).await?;
        }
        connection
            .execute("reset lock_timeout")
            .await
            .doing("go back to the usual patience")
            .map(drop)
    }

    /// Applies one. A lock that it does not get in a moment is tried for again and again, with pauses.
    async fn apply_one(
        &self,
        connection: &mut PgConnection,
        migration: &MigrationState,
    ) -> Result<(), StoreError> {
        let migrator = migrator();
        let MigrationState {
            version,
            description,
            ..
        } = migration;
        // An index that is made beside all others waits for transactions, and keeps nobody waiting.
        let is_beside = |one: &Migration| one.version == *version && one.no_tx;
        let patience = match migrator.iter().any(is_beside) {
            true => "reset lock_timeout".to_owned(),
            false => format!("set lock_timeout = '{LOCKED_WITHIN}'"),
        };
        let doing = "say how long a migration waits for locks";
        let patience = sqlx::raw_sql(sqlx::AssertSqlSafe(patience));
        patience.execute(&mut *connection).await.doing(doing)?;
        let (since, mut said_at) = (Instant::now(), None::<Instant>);
        loop {
            let tried = migrator.run_to(*version, &mut *connection).await;
            let error = match tried.map_err(StoreError::Migrate) {
                Err(error) if error.may_be_tried_again() => error,
                done => return done,
            };
            let holder = self.holder_of_locks(connection).await;
            if since.elapsed() >= TRIED_FOR {
                let StoreError::Migrate(source) = error else {
                    return Err(error);
                };
                return Err(StoreError::InTheWay {
                    version: *version,
                    description: description.clone(),
                    tried_for: TRIED_FOR,
                    holder,
                    source: Box::new(source),
                });
            }
            if said_at.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
                warn!("Migration {version} ({description}) waits for {holder}; trying again");
                said_at = Some(Instant::now());
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }

    /// Whose transaction has held something of ours for longest, in words.
    async fn holder_of_locks(&self, ours: &mut PgConnection) -> String {
        type Found = (Option<i32>, Option<String>, Option<String>, Option<f64>);
        let found: Result<Option<Found>, sqlx::Error> = async {
            let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
                .fetch_one(ours)
                .await?;
            sqlx::query_as(
                "select l.pid, a.application_name, a.usename::text, extract(epoch from clock_timestamp() - a.xact_start)::float8
                 from pg_locks l left join pg_stat_activity a using (pid)
                 where l.locktype = 'relation' and l.granted and l.pid is distinct from $1 and l.pid is distinct from pg_backend_pid()
                   and l.database = (select d.oid from pg_database d where d.datname = current_database())
                   and l.relation in (select c.oid from pg_class c where c.relnamespace = 'wa'::regnamespace)
                 order by l.pid is not null, a.xact_start nulls last limit 1",
            )
            .bind(pid)
            .fetch_optional(&self.pool)
            .await
        }
        .await;
        match found {
            Ok(Some((Some(pid), program, user, open_s))) => {
                let since = open_s.map_or_else(String::new, |seconds| {
                    format!(", in a transaction for {seconds:.0} s")
                });
                let who = who(pid, program, user);
                format!("{who}{since}; to end it: select pg_terminate_backend({pid})")
            }
            Ok(Some((None, ..))) => {
                "a prepared transaction; see: select * from pg_prepared_xacts".to_owned()
            }
            Ok(None) => "somebody who has just ended".to_owned(),
            Err(_) => "somebody who is not told".to_owned(),
        }
    }

    /// How the database keeps texts.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn encoding(&self) -> Result<String, StoreError> {
        sqlx::query_scalar("select current_setting('server_encoding')")
            .fetch_one(&self.pool)
            .await
            .doing("ask for the encoding of the database")
    }

    /// Refuses a database in which a text may come that cannot be read: one such byte, and nothing is read any more.
    ///
    /// # Errors
    /// When it is one, or cannot be asked.
    pub async fn must_keep_text(&self) -> Result<(), StoreError> {
        match self.encoding().await? {
            found if found == UTF8 => Ok(()),
            found => Err(StoreError::UnfitEncoding { found }),
        }
    }

    /// What lets this role migrate, where it may not.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn right_to_migrate(&self) -> Result<String, StoreError> {
        let asked: (String, String, bool, bool, bool) =
            sqlx::query_as(
                "select quote_ident(current_user), quote_ident(current_database()),
                   has_database_privilege(current_database(), 'create'), coalesce(r.rolcreaterole or r.rolsuper, false),
                   to_regclass('wa.senders') is not null
                 from (select) one left join pg_roles r on r.rolname = current_user",
            )
            .fetch_one(&self.pool)
            .await
            .doing("ask what this role may do")?;
        let (user, database, may_create, may_make_roles, has_schema) = asked;
        Ok(match (has_schema, may_create, may_make_roles) {
            (true, ..) => "run it once as the owner of the schema wa".to_owned(),
            (false, false, _) => format!(
                "grant create on database {database} to {user}, or run it as the owner of the database"
            ),
            (false, true, false) => format!(
                "alter role {user} createrole: the first migration makes wa_producer, wa_worker and wa_viewer, and asks for that right \
                 even where they are there already; it may be taken back afterwards"
            ),
            (false, true, true) => format!("see that {user} may do what the server names"),
        })
    }

    /// The indexes that migrations make outside of a transaction which this database does not have yet: one that was interrupted has left
    /// an index that is not valid and whose name is taken.
    async fn indexes_to_come(&self) -> Result<Vec<String>, StoreError> {
        let schema = self.schema().await?;
        let missing = |version| {
            let mut known = schema.known.iter();
            known.any(|one| one.version == version && !one.applied)
        };
        Ok(migrator()
            .iter()
            .filter(|migration| migration.no_tx && missing(migration.version))
            .filter_map(|migration| index_made_by(migration.sql.as_str()))
            .map(str::to_owned)
            .collect())
    }
}

/// Waits until no other process migrates, and keeps others waiting until the connection is closed.
///
/// Not in the database, as the migrator would: an index that is made concurrently waits for every statement that runs, and so for one that
/// waits for who makes it.
async fn await_turn(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let (mut waited, mut say_at) = (Duration::ZERO, Duration::ZERO);
    loop {
        let mine = sqlx::query_scalar!(
            r#"select pg_try_advisory_lock(hashtextextended('wa.migrations', 0)) as "mine!""#
        );
        if mine.fetch_one(&mut *connection).await? {
            return Ok(());
        }
        if waited.is_zero() {
            info!("Another process migrates the database; waiting for it");
            say_at = SAID_EVERY;
        } else if waited >= say_at {
            let who = who_has_the_turn(connection).await?;
            warn!("Still waiting for the process that migrates the database: {who}");
            say_at += SAID_EVERY;
        }
        tokio::time::sleep(TURN_EVERY).await;
        waited += TURN_EVERY;
    }
}

/// Who keeps others waiting: nobody but a migration should.
async fn who_has_the_turn(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let found: Option<(i32, Option<String>, Option<String>)> = sqlx::query_as(
        "select l.pid, a.application_name, a.usename::text
         from pg_locks l left join pg_stat_activity a using (pid),
           (select hashtextextended('wa.migrations', 0) as key) k
         where l.locktype = 'advisory' and l.granted and l.objsubid = 1
           and l.database = (select oid from pg_database where datname = current_database())
           and l.classid::bigint = (k.key >> 32) & 4294967295 and l.objid::bigint = k.key & 4294967295",
    )
    .fetch_optional(connection)
    .await?;
    Ok(match found {
        Some((pid, program, user)) => format!(
            "{}; if it does not migrate, end it: select pg_terminate_backend({pid})",
            who(pid, program, user)
        ),
        None => "it has just ended".to_owned(),
    })
}

fn who(pid: i32, program: Option<String>, user: Option<String>) -> String {
    format!(
        "server process {pid}, {} as {}",
        program
            .filter(|name| !name.is_empty())
            .as_deref()
            .unwrap_or("a program without a name"),
        user.as_deref().unwrap_or("a user who is not told")
    )
}

/// Works as the owner of the schema from here on, where we are another who may: what another makes is his, and functions of the owner's may
/// not use it.
async fn as_the_owner(connection: &mut PgConnection) -> Result<(), StoreError> {
    let doing = "see whose schema it is";
    let found: Option<(String, String, bool, bool)> = sqlx::query_as(
        "select r.rolname::text, current_user::text, r.rolname = current_user, pg_has_role(current_user, r.oid, 'member')
         from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'wa'",
    )
    .fetch_optional(&mut *connection)
    .await
    .doing(doing)?;
    match found {
        None | Some((.., true, _)) => Ok(()),
        Some((owner, user, _, false)) => Err(StoreError::NotTheOwner { owner, user }),
        Some((owner, ..)) => sqlx::query("select set_config('role', $1, false)")
            .bind(owner)
            .execute(connection)
            .await
            .doing(doing)
            .map(drop),
    }
}

fn index_made_by(sql: &str) -> Option<&str> {
    let statements = [
        "create index concurrently ",
        "create unique index concurrently ",
    ];
    let mut made = (statements.iter()).filter_map(|statement| sql.split_once(statement));
    made.next()?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_outside_of_a_transaction_can_be_done_again_where_it_was_interrupted() {
        let migrator = migrator();
        let outside = migrator.iter().filter(|migration| migration.no_tx);
        let mut made = Vec::new();
        for migration in outside {
            let sql = migration.sql.as_str();
            match index_made_by(sql) {
                Some(index) => made.push(index),
                None => assert!(sql.contains("drop index concurrently if exists"), "{sql}"),
            }
        }
        assert_eq!(
            made,
            [
                "wamid_is_of_one_message",
                "queue_in_turn",
                "outbox_to_recipient",
                "queue_of_resent"
            ]
        );
    }

    fn schema(known: &[(i64, bool)], newer: &[(i64, &str)]) -> Schema {
        let known = known.iter().map(|(version, applied)| MigrationState {
            version: *version,
            description: "outbox".to_owned(),
            applied: *applied,
        });
        let newer = newer.iter().map(|(version, description)| Newer {
            version: *version,
            description: (*description).to_owned(),
        });
        Schema {
            known: known.collect(),
            newer: newer.collect(),
        }
    }

    #[test]
    fn a_schema_that_lacks_a_migration_is_refused_and_one_that_has_more_is_not() {
        assert!(schema(&[(1, true), (2, true)], &[]).check().is_ok());
        let refused = schema(&[(1, true), (2, false)], &[(3, "more")]).check();
        assert!(matches!(
            refused,
            Err(StoreError::NotMigrated { version: 2, .. })
        ));
        let more = schema(&[(1, true)], &[(2, "more"), (3, "still more")]);
        assert!(more.check().is_ok());
        let words = more.newer_in_words().expect("it has more");
        assert!(
            words.contains("2 migrations of a newer version, up to 3 (still more)"),
            "{words}"
        );
    }

    #[test]
    fn what_was_contracted_is_refused_by_who_does_not_know_what_it_was_contracted_for() {
        let contracted =
            |description| schema(&[(19, true), (20, true)], &[(25, description)]).check();
        assert!(contracted("contract after 0020 old names").is_ok());
        for description in [
            "contract after 0021 old names",
            "contract after all",
            "contract after ",
        ] {
            let refused = contracted(description);
            assert!(
                matches!(refused, Err(StoreError::TooOld { version: 25, .. })),
                "{description}"
            );
        }
        assert!(contracted("contracts").is_ok(), "a table of that name");
    }
}
