//! The only user of the database.
//!
//! No method opens a transaction: each statement stands by itself, so no connection is held while
//! anything outside is waited for. Times are the database's; callers hand in and get durations.
//!
//! What people read goes over a few connections of its own, where a statement ends soon: however slow a
//! filter is, it keeps no event from being taken in and none from being delivered.

mod acts;
mod address;
mod alerts;
mod audit;
mod backlog;
mod bulk;
mod chores;
mod connections;
mod destinations;
mod events;
mod executions;
mod failures;
mod forgetting;
mod hand;
mod history;
mod indexing;
mod interventions;
mod lanes;
mod limits;
mod looks;
mod migrations;
mod page;
mod prospect;
mod queue;
mod rejections;
mod retention;
mod search;
mod signs;
mod standing;
mod statistics;
mod stories;
mod tide;
mod vitals;
mod wake;
mod window;

pub use acts::{ACT_COUNTED_MAX, Act, ActState};
pub use alerts::{Condition, ToTell};
pub use audit::AuditRow;
pub use backlog::{BACKLOG_COUNTED_MAX, Backlog, PoolUse};
pub use bulk::{Counts, Replayed, Retried};
pub use destinations::{DestinationRow, DueProbe, HeldInstance, Hold};
pub use events::{EventFilter, EventRow, Intake, SignedPayload};
pub use executions::{AttemptRow, ExecutionFilter, ExecutionRow};
pub use failures::{FAILURES_COUNTED_MAX, FAILURES_SUMMED_MAX, FailureFilter, FailureGroup};
pub use forgetting::{Forgotten, Named, Person, WrittenPage};
pub use history::{Bin, PENDING};
pub use indexing::{Indexed, Unindexed};
pub use interventions::{Answered, Cancelled};
pub use lanes::{Fate, LaneState, LaneVerdict, RemoteObject};
pub use limits::{LimiterRow, Slot};
pub use looks::LookTurn;
pub use page::{Cursor, LIMIT_DEFAULT, LIMIT_MAX, Page, UnknownCursor};
pub use prospect::Prospect;
pub use queue::{
    Claimed, Conclusion, Fence, Finished, Replica, Rescued, Settlement, Trial, Wanted, Watch, WorkerId,
};
pub use rejections::REJECTIONS_KEPT;
pub use retention::{Cutoff, Removal, RemovedPayload, SWEPT_AT_ONCE, Swept};
pub use search::FoundEvent;
pub use signs::{Failing, FailuresOfLate, GROUPS_MAX};
pub use standing::Watched;
pub use statistics::{Addition, HOURS_KEPT, MINUTES_KEPT, Per, Statistic};
pub use tide::Tide;
pub use vitals::{Schema, Vitals};
pub use wake::Wake;
pub use window::{ListError, WINDOW_DAYS_MAX, Window};

use connections::Connections;
use secrecy::SecretString;
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The database, by way of two pools of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    /// For taking events in and delivering them.
    pool: Connections,
    /// For what people read.
    reading: Connections,
}

/// Why the database did not do what was asked. The cause is part of the message.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or does not take writes now; the same call may work later.
    #[error("the database is not available: {0}")]
    Unavailable(sqlx::Error),
    /// It did not answer in time; what was asked may have been done.
    #[error("the database did not answer in time")]
    TimedOut,
    /// It refuses the data; the same call will never work.
    #[error("the database refuses the data: {0}")]
    Refused(sqlx::Error),
    /// A row is not as it should be, which is a fault of ours.
    #[error("the database holds something unexpected: {0}")]
    Unexpected(String),
}

impl StoreError {
    /// Whether the connection broke before the answer came: over another one it may work at once.
    pub fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Unavailable(error) if connections::is_broken(error))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // A statement that the server broke off because it took too long.
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

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The server is not there or not ready; it may be in a moment.
    #[error("the database is not available: {0}")]
    Away(String),
    /// Others use what is to be changed, and went first.
    #[error("others use the database's tables, and go first: {0}")]
    Busy(String),
    /// The database refuses to let us in or to be changed.
    #[error("the database cannot be brought up to date: {0}")]
    Refused(String),
}

impl MigrateError {
    fn of(error: &sqlx::Error, options: &PgConnectOptions) -> Self {
        let cause = match error {
            sqlx::Error::Database(database) => database.message().to_owned(),
            unproven if address::is_unproven(unproven) => format!(
                "{error}; a server elsewhere is to show a certificate for its name: name its CA in the address \
                 (sslrootcert=/path/to/ca.pem), or say there what will do (sslmode=require takes any certificate)"
            ),
            other => other.to_string(),
        };
        let text = format!("{cause} (at {}, port {})", options.get_host(), options.get_port());
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

impl Store {
    /// Prepares at most so many connections; they are made when they are needed.
    pub fn connect_lazily(url: &SecretString, connections: u32) -> Result<Self, StoreError> {
        Self::connect_lazily_past(url, None, connections)
    }

    /// As [`connect_lazily`](Self::connect_lazily); where `direct_url` is given, `url` leads to a pooler
    /// in transaction mode, and `direct_url` past it.
    pub fn connect_lazily_past(
        url: &SecretString,
        direct_url: Option<&SecretString>,
        connections: u32,
    ) -> Result<Self, StoreError> {
        let options = address::options(url)?;
        let direct = direct_url.map(address::options).transpose()?;
        let (pool, reading) = Connections::prepare(&options, direct.as_ref(), connections);
        Ok(Self { pool, reading })
    }

    /// The same database for those who watch over it: they read over the connections for work, where no
    /// person's slow filter is before them and a statement may take its time.
    #[must_use]
    pub fn unhurried(&self) -> Self {
        Self { pool: self.pool.clone(), reading: self.pool.clone() }
    }

    /// Brings the schema up to date; two processes doing so at once wait for one another.
    ///
    /// It works on a connection of its own, which may take its time, and which tells at once why it
    /// cannot be made. A schema that a newer program has brought further is left as it is, so that
    /// one can go back to this program.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        self.migrate_until(migrations::newest()).await
    }

    /// The numbers of the migrations, the oldest first.
    pub fn migrations() -> impl Iterator<Item = i64> {
        migrations::versions()
    }

    /// As [`migrate`](Self::migrate), up to the migration of this number: as an earlier program left it.
    pub async fn migrate_until(&self, last: i64) -> Result<(), MigrateError> {
        let options = self.pool.direct_options();
        let mut connection =
            PgConnection::connect_with(&options).await.map_err(|error| MigrateError::of(&error, &options))?;
        let migrated = migrations::apply(&mut connection, last).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => MigrateError::of(&error, &options),
            other => MigrateError::Refused(other.to_string()),
        });
        // The work is done or not, whatever becomes of the connection.
        let _closed = connection.close().await;
        migrated
    }

    /// As [`migrate`](Self::migrate), but waits for a server that is not there yet, until `stop`.
    pub async fn migrate_when_there(&self, stop: &CancellationToken) -> Result<(), MigrateError> {
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        loop {
            match self.migrate().await {
                Err(error @ (MigrateError::Away(_) | MigrateError::Busy(_))) => {
                    warn!(%error, "waiting for the database");
                }
                done => return done,
            }
            if stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether the schema is as new as this program; a database without any has not been migrated either.
    ///
    /// It is asked over the connections for work: the answer vouches for these, and readers who hold all
    /// of theirs must take no process out of service.
    pub async fn is_migrated(&self) -> Result<bool, StoreError> {
        const UNDEFINED_TABLE: &str = "42P01";
        let applied = sqlx::query_scalar!(
            r#"select max(version) as "version" from eventbridge._sqlx_migrations where success"#
        )
        .fetch_one(&self.pool)
        .await;
        match applied {
            Ok(applied) => Ok(applied.is_some_and(|version| version >= migrations::newest())),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Closes the connections; calls that still wait for one fail.
    pub async fn close(&self) {
        self.reading.close().await;
        self.pool.close().await;
    }
}

/// A duration as statements take it.
fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A duration as statements tell it.
fn of_milliseconds(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or_default())
}

/// A duration as columns hold it.
fn whole_milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Texts of a destination's answer can hold anything; Postgres takes all but NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}

/// The value with no NUL in its texts and names: `jsonb` takes none.
fn value_without_nul(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(text)),
        Value::Array(items) => items.iter().map(value_without_nul).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (without_nul(name), value_without_nul(value))).collect()
        }
        other => other.clone(),
    }
}
