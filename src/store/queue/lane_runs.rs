//! The rows of lane runs that no claim needs any more.

use super::Queue;
use crate::store::db::{StoreError, milliseconds};
use std::time::Duration;

/// A run is kept until its successor is this old. A claim may still rely on what it read before the successor
/// began, and no statement runs for so long.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// The most runs of a batch, beside those that began in the same moment as the last one.
const BATCH_MAX: i64 = 5_000;

impl Queue {
    /// Removes the predecessors of the next lane runs that began at `position` or later, in microseconds since
    /// 1970. Returns the position after them; `None` if there is nothing to do yet.
    pub async fn remove_old_lane_runs(&self, position: i64) -> Result<Option<i64>, StoreError> {
        let next = sqlx::query_scalar!(
            r#"
            with successors as (
                select lane, run, began_at
                  from eventbridge.lane_runs
                 where began_at >= to_timestamp(0) + $1::bigint * interval '1 microsecond'
                   and began_at < now() - $2::bigint * interval '1 millisecond'
                 order by began_at
                 fetch first $3 rows with ties
            ), removed as (
                delete from eventbridge.lane_runs
                 using successors
                 where lane_runs.lane = successors.lane and lane_runs.run = successors.run - 1
            )
            select (extract(epoch from max(began_at)) * 1000000)::bigint + 1 from successors
            "#,
            position,
            milliseconds(KEPT_FOR),
            BATCH_MAX
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(next)
    }
}
