//! Why a statement or a migration failed.

use super::migrations::ApplyError;
use super::{address, liveness};
use sqlx::postgres::PgConnectOptions;
use std::sync::atomic::{AtomicBool, Ordering};

/// What to do if the database is not available, in every command and page alike. Public.
const UNAVAILABLE_REMEDY: &str = "check whether the database runs at the address in DATABASE_URL (or POSTGRES_HOST and POSTGRES_PORT), accepts connections and writes, and has disk space";

/// The same for the database that `dev` runs itself: no setting has its address.
const PRIVATE_UNAVAILABLE_REMEDY: &str = "dev runs this database itself: stop dev with Ctrl-C and start it again. If that fails, the messages of dev have the cause, such as a full disk";

/// Whether this process uses the private database of `dev`.
static IS_PRIVATE: AtomicBool = AtomicBool::new(false);

/// From now on, remedies name `dev`, which runs the database of this process, and not the settings of an address.
pub fn database_is_private() {
    IS_PRIVATE.store(true, Ordering::Relaxed);
}

/// What to do if the database is unavailable.
pub fn unavailable_remedy() -> &'static str {
    if IS_PRIVATE.load(Ordering::Relaxed) { PRIVATE_UNAVAILABLE_REMEDY } else { UNAVAILABLE_REMEDY }
}

/// The setting whose address leads past a pooler.
const DIRECT_URL: &str = "DATABASE_DIRECT_URL";

/// The SQLSTATE of a statement that the server cancelled at its time limit.
const CANCELLED: &str = "57014";

/// Why a statement failed. The message contains the cause.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or accepts no writes now; the same call may work later.
    #[error("the database is not available: {}", words(.0))]
    Unavailable(sqlx::Error),
    /// The database did not answer in time; the statement may have been executed.
    #[error("the database did not answer in time")]
    TimedOut,
    /// The database cancelled the statement at its time limit; nothing was changed.
    #[error("the database took too long for this statement and cancelled it")]
    TookTooLong,
    /// The database refuses the data; the same call will never work.
    #[error("the database refuses the data: {0}")]
    Refused(sqlx::Error),
    /// A row is not as expected, which is a bug of this program.
    #[error("unexpected data in the database: {0}")]
    Unexpected(String),
}

/// The driver's words, except for those that only name its own parts.
fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => {
            "within the time limit it accepted no connection, or all connections were in use".to_owned()
        }
        sqlx::Error::PoolClosed => "this process has closed its connections".to_owned(),
        other => other.to_string(),
    }
}

impl StoreError {
    /// Whether no connection became free in time, so that nothing is known about the database itself.
    pub const fn is_without_connection(&self) -> bool {
        matches!(self, Self::Unavailable(sqlx::Error::PoolTimedOut))
    }

    /// Whether the connection broke before the answer arrived: over another one the call may work at once.
    pub fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Unavailable(error) if liveness::is_broken(error))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) if database.code().as_deref() == Some(CANCELLED) => {
                Self::TookTooLong
            }
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
    /// The database refuses the connection or the change. Waiting would not help.
    #[error("the database refuses: {cause}. {remedy}")]
    Refused {
        /// The database's own message, and where it is.
        cause: String,
        /// What to do, as a sentence.
        remedy: String,
    },
    /// A pooler in transaction mode is in front of it, and no address leads past the pooler.
    #[error(
        "{setting} leads to a pooler in transaction mode ({at}). Set {DIRECT_URL} to the address of the server \
         itself: some connections need a session of their own"
    )]
    Pooler {
        /// The pooler's host and port.
        at: String,
        /// The setting that names it.
        setting: &'static str,
    },
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
    /// What a start waits for, without names and addresses: anyone may read it.
    pub const fn public_reason(&self) -> &'static str {
        match self {
            Self::Away(_) => "its database cannot be reached or does not accept writes yet",
            Self::Busy(_) => "another process changes the schema of its database or holds locks on it",
            Self::Pooler { .. } => {
                "there is a pooler in transaction mode in front of its database: set DATABASE_DIRECT_URL"
            }
            Self::Refused { .. } | Self::Encoding { .. } | Self::BeforeRelease { .. } => {
                "its database cannot be used; the log has the reason"
            }
        }
    }

    /// What was found and what to do, in every command alike.
    pub fn parts(&self) -> (String, String) {
        match self {
            Self::Away(_) => (self.to_string(), unavailable_remedy().to_owned()),
            Self::Busy(_) => (self.to_string(), "wait until they end, or end them".to_owned()),
            Self::Pooler { at, setting } => {
                let what = format!("{setting} leads to a pooler in transaction mode ({at})");
                let and = if *setting == DIRECT_URL { "" } else { ", and leave DATABASE_URL as it is" };
                (what, format!("set {DIRECT_URL} to the address of the server itself{and}"))
            }
            Self::Encoding { .. } => {
                (self.to_string(), "use a database in UTF-8; nothing was stored in this one".to_owned())
            }
            Self::BeforeRelease { .. } => {
                (self.to_string(), "use another database, or drop the schema with its data".to_owned())
            }
            Self::Refused { cause, remedy } => (cause.clone(), remedy.clone()),
        }
    }

    /// `is_direct` if the address is the one that should lead past the pooler.
    pub(super) fn pooler(options: &PgConnectOptions, is_direct: bool) -> Self {
        Self::Pooler { at: place(options), setting: if is_direct { DIRECT_URL } else { "DATABASE_URL" } }
    }

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
            ApplyError::Sqlx(other) => {
                let remedy = "Use the version of the program that made this schema, or a newer one.";
                Self::Refused { cause: format!("{other} ({})", place(options)), remedy: remedy.to_owned() }
            }
        }
    }

    /// The server accepts connections and does not answer.
    pub(super) fn silent(options: &PgConnectOptions) -> Self {
        Self::Away(format!("it accepts connections and does not answer ({})", place(options)))
    }

    pub(in crate::store) fn of(error: &sqlx::Error, options: &PgConnectOptions) -> Self {
        let at = place(options);
        match error {
            unproven if address::is_unproven(unproven) => Self::Refused {
                cause: format!("{error} ({at})"),
                remedy: "A server elsewhere is to show a certificate for its name: name its authority in the \
                         address (sslrootcert=/path/to/ca.pem), or say there what will do (sslmode=require takes \
                         any certificate)."
                    .to_owned(),
            },
            sqlx::Error::Database(database) => {
                let (code, message) = (database.code().unwrap_or_default(), database.message());
                match &*code {
                    "40P01" | "55P03" => Self::Busy(format!("{message} ({at})")),
                    // A connection that broke, a server that takes no writes (yet), too many connections, a
                    // server that starts or stops.
                    code if ["08", "25006", "53", "57P"].iter().any(|class| code.starts_with(class)) => {
                        Self::Away(format!("{message} ({at})"))
                    }
                    code => Self::Refused {
                        cause: format!("{message} ({at})"),
                        remedy: remedy(code, message, options),
                    },
                }
            }
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Self::Away(format!("{error} ({at})")),
            other => {
                Self::Refused { cause: format!("{other} ({at})"), remedy: "Correct DATABASE_URL.".to_owned() }
            }
        }
    }
}

/// What to do if the server answers with this SQLSTATE.
fn remedy(code: &str, message: &str, options: &PgConnectOptions) -> String {
    let user = identifier(options.get_username());
    let database = identifier(options.get_database().unwrap_or(options.get_username()));
    match code {
        "28P01" => format!(
            "Correct the password in DATABASE_URL, with special characters percent-encoded, or in \
             POSTGRES_PASSWORD; or set it at the server: alter role {user} password '…'."
        ),
        "28000" if message.contains("pg_hba.conf") => format!(
            "Allow the role {user} from this machine in the server's pg_hba.conf. If the message says that there \
             was no encryption, add sslmode=require to DATABASE_URL."
        ),
        "28000" if message.contains("authentication failed") => format!(
            "The server compares the role {user} with the system's user (peer or ident in pg_hba.conf). Run the \
             service as that user, or connect over TCP with a password."
        ),
        "28000" => format!(
            "Correct the user in DATABASE_URL or POSTGRES_USER, or create the role: create role {user} login \
             password '…'."
        ),
        "3D000" => format!(
            "Correct the database in DATABASE_URL or POSTGRES_DB, or create it: create database {database} owner \
             {user} encoding 'UTF8' template template0."
        ),
        "42501" if message.contains("for database") => format!(
            "The role may not create the schema. Grant it the right: grant create on database {database} to \
             {user}. Or run eventbridge migrate as a role that may."
        ),
        "42501" => format!(
            "The schema eventbridge belongs to another role. Run eventbridge migrate as that role, or give the \
             schema and its tables to {user}."
        ),
        _ => "Check what the database reports; its log has more.".to_owned(),
    }
}

/// A name as SQL writes it.
fn identifier(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The server's host and port.
fn place(options: &PgConnectOptions) -> String {
    format!("at {}, port {}", options.get_host(), options.get_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_remedy_with_the_names_from_the_address() {
        let options: PgConnectOptions = "postgres://ada@db/Shop%20events".parse().expect("an address");
        for (code, message, expected) in [
            ("28P01", "password authentication failed for user \"ada\"", "alter role ada password"),
            ("28000", "role \"ada\" does not exist", "create role ada login"),
            ("28000", "no pg_hba.conf entry for host \"::1\", no encryption", "sslmode=require"),
            ("28000", "Peer authentication failed for user \"ada\"", "the system's user"),
            ("3D000", "database \"Shop events\" does not exist", "create database \"Shop events\" owner ada"),
            (
                "42501",
                "permission denied for database Shop events",
                "grant create on database \"Shop events\" to ada",
            ),
            ("42501", "permission denied for schema eventbridge", "belongs to another role"),
            ("42501", "must be owner of table events", "belongs to another role"),
        ] {
            let remedy = remedy(code, message, &options);
            assert!(remedy.contains(expected), "{code} {message}: {remedy}");
        }
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }
}
