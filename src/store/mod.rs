//! The only user of the database.
//!
//! No method opens a transaction: each statement stands by itself, so no connection is held while
//! anything outside is waited for. Times are the database's; callers hand in and get durations.
//!
//! What people read goes over a few connections of its own, where a statement ends soon: however slow a
//! filter is, it keeps no event from being taken in and none from being delivered.

mod db;
mod events;
mod maintenance;
mod queue;
mod reporting;

pub use db::{
    Cursor, LIMIT_DEFAULT, LIMIT_MAX, ListError, MigrateError, Page, Schema, StoreError, UnknownCursor,
    Vitals, WINDOW_DAYS_MAX, Window,
};
pub use events::{
    EventFilter, EventRow, FoundEvent, Indexed, Intake, REJECTIONS_KEPT, SignedPayload, Unindexed,
};
pub use maintenance::{
    Answered, Cancelled, Condition, Counts, Cutoff, Forgotten, Named, Person, Removal, RemovedPayload,
    Replayed, Retried, SWEPT_AT_ONCE, Swept, ToTell, WrittenPage,
};
pub use queue::{
    Claimed, Conclusion, DestinationRow, DueProbe, Fate, Fence, Finished, HeldInstance, Hold, LaneState,
    LaneVerdict, LimiterRow, LookTurn, Prospect, RemoteObject, Replica, Rescued, Settlement, Slot, Trial,
    Wake, Wanted, Watch, WorkerId,
};
pub use reporting::{
    ACT_COUNTED_MAX, Act, ActState, Addition, AttemptRow, AuditRow, BACKLOG_COUNTED_MAX, Backlog, Bin,
    ExecutionFilter, ExecutionRow, FAILURES_COUNTED_MAX, FAILURES_SUMMED_MAX, Failing, FailureFilter,
    FailureGroup, FailuresOfLate, GROUPS_MAX, HOURS_KEPT, MINUTES_KEPT, PENDING, Per, PoolUse, Statistic,
    Tide, Watched,
};

use db::Connections;
use secrecy::SecretString;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
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
        let options = db::options(url)?;
        let direct = direct_url.map(db::options).transpose()?;
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
        self.migrate_until(db::newest_migration()).await
    }

    /// The numbers of the migrations, the oldest first.
    pub fn migrations() -> impl Iterator<Item = i64> {
        db::migration_versions()
    }

    /// As [`migrate`](Self::migrate), up to the migration of this number: as an earlier program left it.
    pub async fn migrate_until(&self, last: i64) -> Result<(), MigrateError> {
        let options = self.pool.direct_options();
        let mut connection =
            PgConnection::connect_with(&options).await.map_err(|error| MigrateError::of(&error, &options))?;
        let migrated = db::apply_migrations(&mut connection, last).await.map_err(|error| match error {
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
            Ok(applied) => Ok(applied.is_some_and(|version| version >= db::newest_migration())),
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
