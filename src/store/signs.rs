//! What alerts are judged by, besides backlogs, holds and rejections.

use super::{Store, StoreError, milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// Failed executions are counted no further than this for each group.
const COUNTED_MAX: i64 = 1_000;

/// The most groups that are told of.
const GROUPS_MAX: i64 = 20;

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

impl Store {
    /// What failed within `time`, by group, the newest ones; without what somebody has acknowledged.
    pub async fn failures_of_late(&self, time: Duration) -> Result<Vec<FailuresOfLate>, StoreError> {
        let rows = sqlx::query_as!(
            FailuresOfLate,
            r#"
            with grouped as (
                select failure_groups.destination, failure_groups.error_class as class,
                       failure_groups.key, of_late.count, of_late.first_at, of_late.sample
                  from eventbridge.failure_groups
                 cross join lateral (
                       select count(*) as count, min(finished_at) as first_at, max(id) as sample
                         from (select id, finished_at from eventbridge.executions
                                where status = 'failed' and failure_group = failure_groups.key
                                  and finished_at > greatest(now() - $1::bigint * interval '1 millisecond',
                                                             acknowledged_through)
                                order by finished_at desc
                                limit $2) as newest) as of_late
                 where of_late.count > 0
            ), others as (
                select destination, coalesce(error_class, '') as class, null::text as key,
                       count(*) as count, min(finished_at) as first_at, max(id) as sample
                  from (select id, destination, error_class, finished_at
                          from eventbridge.executions
                         where status = 'failed' and failure_group is null
                           and finished_at > now() - $1::bigint * interval '1 millisecond'
                         limit $2) as ungrouped
                 group by destination, error_class
            )
            select destination as "destination!", class as "class!", key as "group",
                   count as "count!", first_at as "first_at!", sample as "sample!"
              from (select * from grouped union all select * from others) as found
             order by first_at desc, destination, class, key
             limit $3
            "#,
            milliseconds(time),
            COUNTED_MAX,
            GROUPS_MAX
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Whether some worker, of whichever process, has beaten within `time`.
    pub async fn a_worker_beats(&self, time: Duration) -> Result<bool, StoreError> {
        let beats = sqlx::query_scalar!(
            r#"
            select exists (select from eventbridge.workers
                            where beat_at > now() - $1::bigint * interval '1 millisecond') as "beats!"
            "#,
            milliseconds(time)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(beats)
    }
}
