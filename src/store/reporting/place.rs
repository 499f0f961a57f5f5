//! The place of an execution among those that wait for a worker.

use super::{BACKLOG_COUNTED_MAX, Reports};
use crate::domain::execution::ExecutionId;
use crate::store::db::StoreError;

/// How many executions go before one that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Their number, counted up to [`BACKLOG_COUNTED_MAX`] of each kind.
    pub ahead: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
}

impl Reports {
    /// The place of an execution; `None` if it is not waiting, or not due. It counts along the queue, over what
    /// was claimed before too, so only a command asks for it.
    pub async fn place(&self, id: ExecutionId) -> Result<Option<Place>, StoreError> {
        let row = sqlx::query!(
            r#"
            select sum(of_class.ahead)::bigint as "ahead!", bool_or(of_class.ahead = $2) as "is_more!"
              from eventbridge.queue as own
             cross join (values ('fresh'), ('retry'), ('bulk')) as class (name)
             cross join lateral (
                   select count(*) as ahead
                     from (select from eventbridge.queue as other
                            where other.destination = own.destination and other.class = class.name
                              and other.run_at <= now()
                              -- All else goes before what was queued in bulk.
                              and (other.class <> own.class
                                   or (other.run_at, other.execution_id) < (own.run_at, own.execution_id))
                            limit $2) as earlier
                    where class.name = own.class or own.class = 'bulk') as of_class
             where own.execution_id = $1 and own.run_at <= now()
             group by own.execution_id
            "#,
            id.0,
            i64::from(BACKLOG_COUNTED_MAX)
        )
        .fetch_optional(&self.reading)
        .await?;
        Ok(row.map(|row| Place { ahead: row.ahead.unsigned_abs(), is_more: row.is_more }))
    }
}
