//! The progress of a bulk operation.
//!
//! A retried or replayed execution carries the time of the statement, which is also the time of the audit
//! entry. So a bulk operation is identified by its audit entries, and its executions by their times.

use super::{AuditRow, Reports};
use crate::domain::audit::Action;
use crate::store::db::StoreError;

/// The most executions of a bulk operation that are counted.
pub const BULK_OPERATION_COUNTED_MAX: u32 = 20_000;

/// The most audit entries of one bulk operation.
const LINES_MAX: i64 = 100;

/// A bulk operation: one audit entry, or several in a row.
#[derive(Debug, Clone)]
pub struct BulkOperation {
    /// The first entry.
    pub first: AuditRow,
    /// The present states of its executions.
    pub states: Vec<BulkOperationState>,
    /// Whether there are more executions than were counted.
    pub is_more: bool,
}

/// The number of executions at one destination in one state.
#[derive(Debug, Clone)]
pub struct BulkOperationState {
    /// The destination instance.
    pub destination: String,
    /// The status.
    pub status: String,
    /// The number of executions.
    pub count: u64,
}

impl Reports {
    /// The bulk operation from one audit entry to another: the same action of the same person with the same
    /// filter. `None` if the first entry is not a bulk retry or replay. An execution that was retried again
    /// since belongs to the later operation only.
    pub async fn bulk_operation(&self, first: i64, last: i64) -> Result<Option<BulkOperation>, StoreError> {
        let actions =
            [Action::ExecutionsRetried, Action::EventsReplayed].map(|action| action.as_str().to_owned());
        let line = sqlx::query_as!(
            AuditRow,
            r#"
            select id, at, who, action, subject_kind, subject_id, detail
              from eventbridge.audit
             where id = $1 and action = any ($2)
            "#,
            first,
            &actions
        )
        .fetch_optional(&self.reading)
        .await?;
        let Some(first) = line else { return Ok(None) };
        let states = sqlx::query!(
            r#"
            with lines as (
                select at
                  from eventbridge.audit
                 where id between $1 and $2 and who = $3 and action = $4
                   and detail -> 'filter' is not distinct from $5::jsonb -> 'filter'
                 order by id
                 limit $6
            ), concerned as (
                select destination, status
                  from lines
                  join eventbridge.executions on retried_at = lines.at
                 limit $7
            )
            select destination, status, count(*) as "count!"
              from concerned
             group by destination, status
             order by destination, status
            "#,
            first.id,
            last,
            first.who,
            first.action,
            first.detail,
            LINES_MAX,
            i64::from(BULK_OPERATION_COUNTED_MAX)
        )
        .fetch_all(&self.reading)
        .await?;
        let states = states.into_iter().map(|row| BulkOperationState {
            destination: row.destination,
            status: row.status,
            count: u64::try_from(row.count).unwrap_or_default(),
        });
        let states: Vec<_> = states.collect();
        let all: u64 = states.iter().map(|state| state.count).sum();
        Ok(Some(BulkOperation { first, states, is_more: all >= u64::from(BULK_OPERATION_COUNTED_MAX) }))
    }
}
