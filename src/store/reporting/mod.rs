//! What people and monitoring read: lists, statistics and summaries, over the connections for reading.

mod audit;
mod backlog;
mod bulk_progress;
mod change_token;
mod executions;
mod failures;
mod health_snapshot;
mod recent_failures;
mod statistics;
mod stories;
mod time_series;

pub use audit::AuditRow;
pub use backlog::{BACKLOG_COUNTED_MAX, Backlog, PoolUse};
pub use bulk_progress::{ACT_COUNTED_MAX, Act, ActState};
pub use change_token::Tide;
pub use executions::{AttemptRow, ExecutionFilter, ExecutionRow};
pub use failures::{FAILURES_COUNTED_MAX, FAILURES_SUMMED_MAX, FailureFilter, FailureGroup};
pub use health_snapshot::Watched;
pub use recent_failures::{Failing, FailuresOfLate, GROUPS_MAX};
pub use statistics::{Addition, HOURS_KEPT, MINUTES_KEPT, Per, Statistic};
pub use time_series::{Bin, PENDING};
