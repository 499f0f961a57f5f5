//! Executions whose worker died while it ran only them.

use super::Reports;
use crate::store::db::StoreError;

/// The most of them that are counted; each is delivered alone, so there are few.
const COUNTED_MAX: i64 = 100;

/// Unfinished executions that ended their worker while it ran nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashing {
    /// Their number.
    pub count: u64,
    /// The oldest of them.
    pub execution: i64,
}

impl Reports {
    /// Those of these instances that wait or run; `None` if there are none.
    pub async fn crashing(&self, instances: &[String]) -> Result<Option<Crashing>, StoreError> {
        let row = sqlx::query!(
            r#"
            with suspects as (
                (select execution_id from eventbridge.leases limit 10000)
                union all
                (select execution_id
                   from eventbridge.queue
                  where destination = any ($1) and class = 'quarantined'
                  limit 10000)
            ), crashing as (
                select id
                  from suspects
                  join eventbridge.executions on executions.id = suspects.execution_id
                 where crashes_alone > 0 and destination = any ($1)
                 limit $2
            )
            select count(*) as "count!", min(id) as execution from crashing
            "#,
            instances,
            COUNTED_MAX
        )
        .fetch_one(&self.reading)
        .await?;
        let count = u64::try_from(row.count).unwrap_or_default();
        Ok(row.execution.map(|execution| Crashing { count, execution }))
    }
}
