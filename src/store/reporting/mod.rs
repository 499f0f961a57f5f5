//! Reports for people and monitoring: lists, statistics and summaries.

mod audit;
mod backing_off;
mod backlog;
mod change_token;
mod crashing;
mod executions;
mod failures;
mod place;
mod recent_failures;
mod replicas;
mod snapshot_holders;
mod statistics;
mod stories;
mod time_series;

pub use audit::AuditRow;
pub(super) use backlog::LastCount;
pub use backlog::{BACKLOG_COUNTED_MAX, Backlog, OldestPending};
pub use change_token::ChangeToken;
pub use crashing::Crashing;
pub use executions::{AttemptRow, ExecutionFilter, ExecutionRow};
pub use failures::{FAILURES_COUNTED_MAX, FAILURES_SUMMED_MAX, FailureFilter, FailureGroup};
pub use place::Place;
pub use recent_failures::{GROUPS_MAX, RecentFailureGroup, RecentFailures};
pub use replicas::Replica;
pub use statistics::{Addition, BusyHour, HOURS_KEPT, MINUTES_KEPT, Per, Statistic};
pub use time_series::{Bucket, PENDING};

use super::db::{Connections, Db, StoreError};
use chrono::{DateTime, Utc};

/// Reads executions, attempts, backlogs, workers and the audit, for the API, the dashboard, health and the
/// commands. It uses the reading connections, where a statement ends soon; only a backlog that takes long to
/// count is counted over one for work.
#[derive(Debug, Clone)]
pub struct Reports {
    reading: Connections,
    unhurried: Connections,
    pub(super) last_count: LastCount,
}

impl Reports {
    pub(super) fn new(db: &Db, last_count: LastCount) -> Self {
        Self { reading: db.reading.clone(), unhurried: db.pool.clone(), last_count }
    }

    /// Asks over a connection for work, which no person's slow filter holds, whether the database answers.
    pub async fn reach(&self) -> Result<(), StoreError> {
        sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&self.unhurried).await?;
        Ok(())
    }

    /// The time by the database's clock.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&self.reading).await?)
    }
}

/// Failure groups: API and dashboard list and acknowledge them, and the indexer keeps them up to date.
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

/// Counts by minute and hour: `statistics` adds them; API, dashboard and health read them.
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
