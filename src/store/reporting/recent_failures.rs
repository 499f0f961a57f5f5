//! Recent failures, for alerts.

use super::Reports;
use crate::store::db::{StoreError, milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The most failed executions of a group that are counted.
const COUNTED_MAX: i64 = 1_000;

/// The most groups that are returned one by one.
pub const GROUPS_MAX: u32 = 20;

/// What failed recently and is not acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentFailures {
    /// At most [`GROUPS_MAX`] groups; those of which an alert was sent come first.
    pub groups: Vec<RecentFailureGroup>,
    /// The number of further groups.
    pub more: u64,
}

/// Executions of one destination that failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentFailureGroup {
    /// The destination instance.
    pub destination: String,
    /// The class of the failures.
    pub class: String,
    /// The key of the failure group; `None` for executions that are in no group yet.
    pub group: Option<String>,
    /// The number of executions, counted up to 1,000.
    pub count: i64,
    /// When the first of them failed.
    pub first_at: DateTime<Utc>,
    /// One of them.
    pub sample: i64,
}

impl Reports {
    /// The unacknowledged failure groups in which an execution failed within `time`, and those of which an
    /// alert was sent, as long as any of their executions is failed.
    pub async fn recent_failures(&self, time: Duration) -> Result<RecentFailures, StoreError> {
        let rows = sqlx::query!(
            r#"
            with failing as (
                select failure_groups.*, is_notified
                  from eventbridge.failure_groups
                 cross join lateral (
                       select finished_at
                         from eventbridge.executions
                        where status = 'failed' and failure_group = failure_groups.key
                        order by finished_at desc
                        limit 1) as last
                 cross join lateral (
                       select exists (select from eventbridge.alerts
                                       where resolved_at is null and kind = 'failures'
                                         and alerts.failure_group = failure_groups.key) as is_notified) as alerted
                 where (acknowledged_through is null or last.finished_at > acknowledged_through)
                   and (is_notified or last.finished_at > now() - $1::bigint * interval '1 millisecond')
            ), grouped as (
                select failing.destination, failing.error_class as class, failing.key, failing.is_notified,
                       of_late.count, of_late.first_at, of_late.sample
                  from failing
                 cross join lateral (
                       select count(*) as count, min(finished_at) as first_at, max(id) as sample
                         from (select id, finished_at from eventbridge.executions
                                where status = 'failed' and failure_group = failing.key
                                  and (acknowledged_through is null or finished_at > acknowledged_through)
                                order by finished_at desc
                                limit $2) as newest) as of_late
            ), others as (
                select destination, error_class as class, null::text as key, false as is_notified,
                       count(*) as count, min(finished_at) as first_at, max(id) as sample
                  from (select id, destination, error_class, finished_at
                          from eventbridge.executions
                         where status = 'failed' and failure_group is null
                           and finished_at > now() - $1::bigint * interval '1 millisecond'
                         limit $2) as ungrouped
                 group by destination, error_class
            )
            select destination as "destination!", class as "class!", key as "group",
                   count as "count!", first_at as "first_at!", sample as "sample!",
                   count(*) over () as "all!"
              from (select * from grouped union all select * from others) as found
             order by is_notified desc, first_at desc, destination, class, key
             limit $3
            "#,
            milliseconds(time),
            COUNTED_MAX,
            i64::from(GROUPS_MAX)
        )
        .fetch_all(&self.reading)
        .await?;
        let all = rows.first().map_or(0, |row| row.all);
        let groups: Vec<_> = rows
            .into_iter()
            .map(|row| RecentFailureGroup {
                destination: row.destination,
                class: row.class,
                group: row.group,
                count: row.count,
                first_at: row.first_at,
                sample: row.sample,
            })
            .collect();
        let more = u64::try_from(all).unwrap_or_default().saturating_sub(groups.len() as u64);
        Ok(RecentFailures { groups, more })
    }
}
