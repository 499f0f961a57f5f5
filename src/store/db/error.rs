//! Why a statement or a migration failed.

use super::migrations::ApplyError;
use super::{address, liveness};
use sqlx::postgres::PgConnectOptions;

/// Why a statement failed. The message contains the cause.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or accepts no writes now; the same call may work later.
    #[error("the database is not available: {0}")]
    Unavailable(sqlx::Error),
    /// The database did not answer in time; the statement may have been executed.
    #[error("the database did not answer in time")]
    TimedOut,
    /// The database refuses the data; the same call will never work.
    #[error("the database refuses the data: {0}")]
    Refused(sqlx::Error),
    /// A row is not as expected, which is a bug of this program.
    #[error("unexpected data in the database: {0}")]
    Unexpected(String),
}

impl StoreError {
    /// Whether the connection broke before the answer arrived: over another one the call may work at once.
    pub fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Unavailable(error) if liveness::is_broken(error))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // The server cancelled the statement because it took too long.
            sqlx::Error::Database(database) if database.code().as_deref() == Some("57014") => Self::TimedOut,
            sqlx::Error::Database(database) => match database.code().as_deref().map(|code| code.get(..2)) {
                // Data exception, integrity, cardinality, and a limit that the data exceeds.
                Some(Some("21" | "22" | "23" | "54")) => Self::Refused(error),
                _ => Self::Unavailable(error),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::Unexpected(error.to_string())
            }
            sqlx::Error::Encode(_) => Self::Refused(error),
            sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Unavailable(error),
        }
    }
}

/// Why the schema could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The server is unreachable or not ready; a retry may work.
    #[error("the database is not available: {0}")]
    Away(String),
    /// Other sessions hold locks on the tables to change.
    #[error("other sessions hold locks on the database's tables: {0}")]
    Busy(String),
    /// The database refuses the connection or the change.
    #[error("the database cannot be migrated: {0}")]
    Refused(String),
    /// It stores text in an encoding in which some characters do not exist.
    #[error(
        "{database} stores text in the encoding {found}, in which not all texts can be stored. Create one with \
         UTF-8: create database … encoding 'UTF8' template template0"
    )]
    Encoding {
        /// The encoding.
        found: String,
        /// The database's name and its server.
        database: String,
    },
    /// Its schema is from before the first release. No migration leads from there to this version, and
    /// nothing was changed.
    #[error(
        "the schema eventbridge in {database} is from before the first release and cannot be migrated; nothing \
         was changed. To start over without its data: drop schema eventbridge cascade. To keep the data: use \
         another database"
    )]
    BeforeRelease {
        /// The database's name and its server.
        database: String,
    },
}

impl MigrateError {
    pub(super) fn of_migration(error: ApplyError, options: &PgConnectOptions) -> Self {
        let name = options.get_database().unwrap_or(options.get_username());
        let database = format!("database {name} ({})", place(options));
        match error {
            ApplyError::BeforeRelease => Self::BeforeRelease { database },
            ApplyError::Encoding(found) => Self::Encoding { found, database },
            ApplyError::Locked(holder) => {
                let holder = holder.unwrap_or_else(|| "unknown".to_owned());
                Self::Busy(format!("another one applies migrations ({holder}) ({})", place(options)))
            }
            ApplyError::Sqlx(
                sqlx::migrate::MigrateError::Execute(error)
                | sqlx::migrate::MigrateError::ExecuteMigration(error, _),
            ) => Self::of(&error, options),
            ApplyError::Sqlx(other) => Self::Refused(other.to_string()),
        }
    }

    /// The server accepts connections and does not answer.
    pub(super) fn silent(options: &PgConnectOptions) -> Self {
        Self::Away(format!("it accepts connections and does not answer ({})", place(options)))
    }

    pub(in crate::store) fn of(error: &sqlx::Error, options: &PgConnectOptions) -> Self {
        let cause = match error {
            sqlx::Error::Database(database) => database.message().to_owned(),
            unproven if address::is_unproven(unproven) => format!(
                "{error}; a server elsewhere is to show a certificate for its name: name its CA in the address \
                 (sslrootcert=/path/to/ca.pem), or say there what will do (sslmode=require takes any certificate)"
            ),
            other => other.to_string(),
        };
        let text = format!("{cause} ({})", place(options));
        match error {
            unproven if address::is_unproven(unproven) => Self::Refused(text),
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Self::Away(text),
            // A connection that broke, a server that takes no writes (yet), too many connections, a server
            // that starts or stops.
            sqlx::Error::Database(database) => match database.code().as_deref() {
                Some("40P01" | "55P03") => Self::Busy(text),
                Some(code) if ["08", "25006", "53", "57P"].iter().any(|class| code.starts_with(class)) => {
                    Self::Away(text)
                }
                _ => Self::Refused(text),
            },
            _ => Self::Refused(text),
        }
    }
}

/// The server's host and port.
fn place(options: &PgConnectOptions) -> String {
    format!("at {}, port {}", options.get_host(), options.get_port())
}
