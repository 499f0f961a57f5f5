//! What alerts are judged by, besides backlogs, holds and rejections.

use super::Reports;
use crate::store::db::{StoreError, milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The most failed executions of a group that are counted.
const COUNTED_MAX: i64 = 1_000;

/// The most groups that are told of one by one.
pub const GROUPS_MAX: u32 = 20;

/// What failed of late.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failing {
    /// By group: [`GROUPS_MAX`] of them, those that an alert has told of first.
    pub groups: Vec<FailuresOfLate>,
    /// How many groups there are besides.
    pub more: u64,
}

/// Executions of one destination that failed of late for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailuresOfLate {
    /// The destination instance.
    pub destination: String,
    /// The class of the reason; empty where none was told.
    pub class: String,
    /// The group of failures that are alike; nothing for those in no group yet.
    pub group: Option<String>,
    /// How many, counted up to a thousand.
    pub count: i64,
    /// When the first of them failed.
    pub first_at: DateTime<Utc>,
    /// One of those executions.
    pub sample: i64,
}

impl Reports {
    /// What failed, by group, without what somebody has acknowledged: groups in which something failed
    /// within `time`, and those that an alert has told of, for as long as anything in them is failed.
    pub async fn failures_of_late(&self, time: Duration) -> Result<Failing, StoreError> {
        let rows = sqlx::query!(
            r#"
            with failing as (
                select failure_groups.*, is_told
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
                                         and alerts.failure_group = failure_groups.key) as is_told) as told
                 where (acknowledged_through is null or last.finished_at > acknowledged_through)
                   and (is_told or last.finished_at > now() - $1::bigint * interval '1 millisecond')
            ), grouped as (
                select failing.destination, failing.error_class as class, failing.key, failing.is_told,
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
                select destination, coalesce(error_class, '') as class, null::text as key, false as is_told,
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
             order by is_told desc, first_at desc, destination, class, key
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
            .map(|row| FailuresOfLate {
                destination: row.destination,
                class: row.class,
                group: row.group,
                count: row.count,
                first_at: row.first_at,
                sample: row.sample,
            })
            .collect();
        let more = u64::try_from(all).unwrap_or_default().saturating_sub(groups.len() as u64);
        Ok(Failing { groups, more })
    }

    /// Whether some worker, of whichever process, has beaten within `time`.
    pub async fn a_worker_beats(&self, time: Duration) -> Result<bool, StoreError> {
        let beats = sqlx::query_scalar!(
            r#"
            select exists (select from eventbridge.workers
                            where heartbeat_at > now() - $1::bigint * interval '1 millisecond') as "beats!"
            "#,
            milliseconds(time)
        )
        .fetch_one(&self.reading)
        .await?;
        Ok(beats)
    }
}
