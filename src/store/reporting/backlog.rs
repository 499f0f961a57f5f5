//! The backlog of each destination.

use super::Reports;
use crate::store::db::{StoreError, of_milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The most executions of one kind (fresh, retry, quarantined, bulk) that are counted for each destination,
/// so that a large backlog is read at little cost.
pub const BACKLOG_COUNTED_MAX: u32 = 20_000;

/// The backlog of one destination instance, across all replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The instance.
    pub destination: String,
    /// Pending executions, due or not; counted up to [`BACKLOG_COUNTED_MAX`] of each kind.
    pub pending: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// The counted execution that has waited longest; `None` if none waits. Executions of bulk operations
    /// wait for all others, and are left out.
    pub oldest: Option<OldestPending>,
    /// Since when the instance is paused, if it is.
    pub paused_since: Option<DateTime<Utc>>,
}

/// The pending execution that has waited longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestPending {
    /// The execution.
    pub execution: i64,
    /// The time since it was created or retried by an operator.
    pub waited: Duration,
}

impl Reports {
    /// The backlog of each of these instances.
    ///
    /// Each kind is counted along the index by which it is claimed. Executions that have been due longest
    /// come first, so the oldest is always counted.
    pub async fn backlog(&self, instances: &[String]) -> Result<Vec<Backlog>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select wanted.name as "destination!", paused_since, pending as "pending!", is_more as "is_more!",
                   (extract(epoch from now()) * 1000)::bigint - oldest[1] as oldest_ms,
                   oldest[2] as oldest_execution
              from unnest($1::text[]) as wanted (name)
              left join eventbridge.destinations on destinations.name = wanted.name
             cross join lateral (
                   select sum(of_class.pending)::bigint as pending,
                          min(of_class.oldest) filter (where class.name <> 'bulk') as oldest,
                          bool_or(of_class.pending = $2) as is_more
                     from (values ('fresh'), ('retry'), ('quarantined'), ('bulk')) as class (name)
                    cross join lateral (
                          select count(*) as pending,
                                 min(array[(extract(epoch from since) * 1000)::bigint, execution_id]) as oldest
                            from (select execution_id, since
                                    from eventbridge.queue
                                   where destination = wanted.name and queue.class = class.name
                                   order by run_at, execution_id
                                   limit $2) as waiting) as of_class) as counted
             order by wanted.name
            "#,
            instances,
            i64::from(BACKLOG_COUNTED_MAX)
        )
        .fetch_all(&self.reading)
        .await?;
        let backlog = rows.into_iter().map(|row| Backlog {
            destination: row.destination,
            pending: u64::try_from(row.pending).unwrap_or_default(),
            is_more: row.is_more,
            oldest: row
                .oldest_ms
                .zip(row.oldest_execution)
                .map(|(waited, execution)| OldestPending { execution, waited: of_milliseconds(waited) }),
            paused_since: row.paused_since,
        });
        Ok(backlog.collect())
    }
}
