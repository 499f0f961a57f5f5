//! What people and monitoring read: lists, statistics and summaries, over the connections for reading.

mod audit;
mod backlog;
mod bulk_progress;
mod change_token;
mod executions;
mod failures;
mod health_snapshot;
mod recent_failures;
mod replicas;
mod statistics;
mod stories;
mod time_series;

pub use audit::AuditRow;
pub use backlog::{BACKLOG_COUNTED_MAX, Backlog};
pub use bulk_progress::{ACT_COUNTED_MAX, Act, ActState};
pub use change_token::Tide;
pub use executions::{AttemptRow, ExecutionFilter, ExecutionRow};
pub use failures::{FAILURES_COUNTED_MAX, FAILURES_SUMMED_MAX, FailureFilter, FailureGroup};
pub use health_snapshot::Watched;
pub use recent_failures::{Failing, FailuresOfLate, GROUPS_MAX};
pub use replicas::Replica;
pub use statistics::{Addition, HOURS_KEPT, MINUTES_KEPT, Per, Statistic};
pub use time_series::{Bin, PENDING};

use super::db::{Connections, Db, StoreError};
use chrono::{DateTime, Utc};

/// What people and monitoring read about executions and workers, for the API, the dashboard, alerts and the
/// commands. It reads over the connections for reading alone, where a statement ends soon.
#[derive(Debug, Clone)]
pub struct Reports {
    reading: Connections,
}

impl Reports {
    pub(super) fn new(db: &Db) -> Self {
        Self { reading: db.reading.clone() }
    }

    /// The time by the database's clock.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&self.reading).await?)
    }
}

/// Failures that have the same cause, as groups: listed for people, acknowledged by them, and kept up to
/// date by the worker's indexer.
#[derive(Debug, Clone)]
pub struct FailureGroups {
    pool: Connections,
    reading: Connections,
}

impl FailureGroups {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}

/// Numbers over time: `statistics` adds them, and the API, the dashboard and alerts read them.
#[derive(Debug, Clone)]
pub struct Statistics {
    pool: Connections,
    reading: Connections,
}

impl Statistics {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}
