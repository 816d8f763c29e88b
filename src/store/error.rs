//! What can go wrong with the database, in words for the one who runs it.

use std::borrow::Cow;

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not do it, or could not be reached.
    #[error("could not {doing}")]
    Database {
        /// What we were doing.
        doing: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// What should be the address of the database is none. It is not repeated: a password may stand in it.
    #[error(
        "database.url is no address of Postgres; write it as in postgres://user@localhost/app (DATABASE_URL)"
    )]
    Address(#[source] sqlx::Error),
    /// A migration could not be applied.
    #[error("could not migrate the database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A migration did not get its locks.
    #[error(
        "migration {version} ({description}) was tried for {tried_for:?} and did not get its locks, which {holder} has; let it end, or end it, \
         and migrate again. Each try was short: nobody else was kept waiting"
    )]
    InTheWay {
        /// Its number.
        version: i64,
        /// What it adds.
        description: String,
        /// For so long.
        tried_for: std::time::Duration,
        /// Who holds it, as far as that is told.
        holder: String,
        /// The last answer.
        #[source]
        source: Box<MigrateError>,
    },
    /// Only the owner of the schema may change it, or what it makes would belong to somebody else.
    #[error(
        "the schema wa belongs to the role {owner}, and {user} is no member of it; run wa-outbox migrate as {owner}, or: grant {owner} to {user}"
    )]
    NotTheOwner {
        /// Whose it is.
        owner: String,
        /// Who we are.
        user: String,
    },
    /// The schema is older than this program.
    #[error(
        "the database lacks migration {version} ({description}); apply it with: wa-outbox migrate"
    )]
    NotMigrated {
        /// Its number.
        version: i64,
        /// What it adds.
        description: String,
    },
    /// A newer version has taken away what this one needs.
    #[error(
        "the database has left this version behind: migration {version} ({description}) took away what it uses; run a newer version"
    )]
    TooOld {
        /// Its number.
        version: i64,
        /// What it took away.
        description: String,
    },
    /// The pooler runs statements of others for ours.
    #[error(
        "the pooler in front of the database does not keep prepared statements apart, so a wrong one may run; use its session \
         mode, or PgBouncer 1.21 or newer with max_prepared_statements > 0, or connect to Postgres directly"
    )]
    StatementsMixedUp,
    /// The pooler lets us wait for a server connection.
    #[error(
        "the pooler in front of the database gave no server connection for {waited:?}; in session mode it needs as many as all \
         processes together have connections (PgBouncer: default_pool_size; database.max_connections for each process)"
    )]
    PoolerFull {
        /// For so long.
        waited: std::time::Duration,
    },
    /// The database is set to undo what we promise, and the pooler does not let us set it otherwise for our connections.
    #[error(
        "connections to the database have {setting} = {found}, which a pooler in transaction mode does not let us change; set it to \
         {needed} for the role that wa-outbox connects with (alter role … set {setting} = '{needed}'), or connect to Postgres directly"
    )]
    UnfitSetting {
        /// Its name.
        setting: &'static str,
        /// Its value there.
        found: String,
        /// What it must be.
        needed: &'static str,
    },
    /// The database does not see to it that texts are UTF-8.
    #[error(
        "the database keeps its texts as {found}, in which a text may come that nobody can read as UTF-8, and stop all; make another, \
         and move there: create database … encoding 'UTF8' template template0"
    )]
    UnfitEncoding {
        /// Its encoding.
        found: String,
    },
    /// A migration needs a connection of its own.
    #[error(
        "the database cannot be migrated through a pooler in transaction mode; run wa-outbox migrate with a direct address"
    )]
    CannotMigrateHere,
    /// A row that should not be possible.
    #[error("the database holds what it should not: {what}")]
    Inconsistent {
        /// Table and fault.
        what: &'static str,
    },
}

impl StoreError {
    /// The SQLSTATE, where the server has answered with one.
    pub fn code(&self) -> Option<Cow<'_, str>> {
        self.server().and_then(DatabaseError::code)
    }

    fn server(&self) -> Option<&dyn DatabaseError> {
        let (Self::Database { source, .. }
        | Self::Migrate(
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _),
        )) = self
        else {
            return None;
        };
        source.as_database_error()
    }

    fn is_of(&self, codes: &[&str]) -> bool {
        let code = self.code();
        code.is_some_and(|code| codes.iter().any(|of| code.starts_with(of)))
    }

    /// Whether the database is there and refuses the data itself (classes 22 and 23, and 54: larger than a limit of its own), so that
    /// another try of the same would end the same. A lost connection, a deadlock or a time-out is no such thing.
    pub fn is_refusal_of_data(&self) -> bool {
        self.is_of(&["22", "23", "54"])
    }

    /// Whether the same may go better in smaller parts: the data is refused, or the server took longer over it than a statement
    /// may run (57014, from `statement_timeout`), had no memory for it (53200), or met something broken (class XX).
    pub fn may_go_in_parts(&self) -> bool {
        self.is_refusal_of_data() || self.is_of(&["57014", "53200", "XX"])
    }

    /// Whether somebody else was in the way at that moment (a deadlock, a conflict of snapshots, a lock that was not had in time), so
    /// that the same may well be done when it is tried again.
    pub fn may_be_tried_again(&self) -> bool {
        self.is_of(&["40P01", "40001", "55P03"])
    }

    /// Whether somebody else kept locked what was needed, for longer than is waited (55P03). He may keep it for hours.
    pub fn is_in_the_way(&self) -> bool {
        self.is_of(&["55P03"])
    }

    /// Whether a foreign key of somebody's own still names what was to be deleted (23503).
    pub fn is_still_referred_to(&self) -> bool {
        self.is_of(&["23503"])
    }

    /// Whether the role may not do that (42501).
    pub fn is_missing_right(&self) -> bool {
        matches!(self, Self::NotTheOwner { .. }) || self.is_of(&["42501"])
    }

    /// Whether nothing can be written there (25006): it is a standby, or set to be read only. A standby says it in other ways, too.
    pub fn is_read_only(&self) -> bool {
        let of_a_standby = ["during recovery", "recovery is in progress"];
        let message = self.server().map_or("", |error| error.message());
        self.is_of(&["25006"]) || of_a_standby.iter().any(|words| message.contains(words))
    }

    /// The refusal of a bad row, as the schema words it: message and hint. None when it is another error.
    pub fn refusal(&self) -> Option<(String, Option<String>)> {
        let Self::Database { source, .. } = self else {
            return None;
        };
        let refusal = Refusal::of(source)?;
        Some((refusal.message, refusal.hint))
    }

    /// What to do about a refusal, where the schema says so. Never what Postgres adds by itself: that may be the whole row.
    pub fn fix(&self) -> Option<&str> {
        let Self::Database { source, .. } = self else {
            return None;
        };
        let error = source.as_database_error()?;
        error.try_downcast_ref::<PgDatabaseError>()?.hint()
    }

    /// The column that the schema refused, where it named one.
    pub fn refused_column(&self) -> Option<&str> {
        let Self::Database { source, .. } = self else {
            return None;
        };
        column(source.as_database_error()?)
    }
}

/// The refusal of a bad row, as the schema words it.
pub(super) struct Refusal {
    pub(super) field: Option<String>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Refusal {
    /// None when it is another error: the database could not be reached, a deadlock, a right that is missing.
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        let error = error.as_database_error()?;
        let class = error.code()?;
        if !["23", "22", "55", "P0"]
            .iter()
            .any(|refusing| class.starts_with(refusing))
        {
            return None;
        }
        let postgres = error.try_downcast_ref::<PgDatabaseError>();
        let hint = postgres.and_then(|error| error.hint().or(error.detail()));
        Some(Self {
            field: column(error).map(str::to_owned),
            message: error.message().to_owned(),
            hint: hint.map(str::to_owned),
        })
    }
}

fn column(error: &dyn DatabaseError) -> Option<&str> {
    error.try_downcast_ref::<PgDatabaseError>()?.column()
}

/// Says what we were doing when the database failed.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database { doing, source })
    }
}
