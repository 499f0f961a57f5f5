//! What alerts are judged by, besides backlogs, holds and rejections.

use super::{Store, StoreError, milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The newest failed executions that are looked at.
const FAILURES_LOOKED_AT: i64 = 1_000;

/// Executions of one destination that failed of late for one class of reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailuresOfLate {
    /// The destination instance.
    pub destination: String,
    /// The class; empty where none was told.
    pub class: String,
    /// How many of those looked at.
    pub count: i64,
    /// When the first of them failed.
    pub first_at: DateTime<Utc>,
}

impl Store {
    /// What failed within `time`, by destination and class; among the newest thousand.
    pub async fn failures_of_late(&self, time: Duration) -> Result<Vec<FailuresOfLate>, StoreError> {
        let rows = sqlx::query_as!(
            FailuresOfLate,
            r#"
            select destination, coalesce(error_class, '') as "class!", count(*) as "count!",
                   min(finished_at) as "first_at!"
              from (select destination, error_class, finished_at
                      from eventbridge.executions
                     where status = 'failed'
                     order by id desc
                     limit $2) as newest
             where finished_at > now() - $1::bigint * interval '1 millisecond'
             group by destination, error_class
             order by destination, error_class
            "#,
            milliseconds(time),
            FAILURES_LOOKED_AT
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
