//! Canaries: the execution that shows whether a paused instance works again.

use super::claim::{Position, UnknownClass};
use super::{Queue, WorkClass};
use crate::domain::execution::ExecutionId;
use crate::store::db::StoreError;

/// What there is to try at a paused instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// This execution, which failed when the instance was paused.
    Failed {
        /// The execution.
        execution: ExecutionId,
        /// The class in which it waits.
        class: WorkClass,
        /// Its place in that class.
        position: Position,
    },
    /// Whichever is first.
    Any,
    /// No execution of the instance is due.
    NothingWaits,
    /// Try none now: the last canary still runs, or the instance is no longer paused.
    NotNow,
}

impl Queue {
    /// What shows whether a paused instance works again: the execution that failed when the instance was
    /// paused, otherwise any that is due. None is tried while an operator paused the instance.
    pub async fn canary(&self, instance: &str) -> Result<Canary, StoreError> {
        let row = sqlx::query!(
            r#"
            select failed.execution_id as "execution?", failed.class as "class?", failed.run_at as "run_at?",
                   exists (select from eventbridge.leases where leases.execution_id = paused_execution) as "is_running!",
                   exists (select from eventbridge.queue
                            where queue.destination = name and queue.class in ('fresh', 'retry', 'bulk')
                              and queue.run_at <= now()) as "is_any_due!"
              from eventbridge.destinations
              left join eventbridge.queue as failed
                     on failed.execution_id = paused_execution and failed.destination = name
                    and failed.class <> 'quarantined' and failed.run_at <= now()
             where name = $1 and paused_since is not null and paused_class <> 'manual'
            "#,
            instance
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row.filter(|row| !row.is_running) else { return Ok(Canary::NotNow) };
        Ok(match (row.execution, row.class, row.run_at) {
            (Some(execution), Some(class), Some(run_at)) => Canary::Failed {
                execution: ExecutionId(execution),
                class: class
                    .parse()
                    .map_err(|error: UnknownClass| StoreError::Unexpected(error.to_string()))?,
                position: Position::of(run_at, execution),
            },
            _ if row.is_any_due => Canary::Any,
            _ => Canary::NothingWaits,
        })
    }

    /// Records that this execution is the canary of the instance while it is paused.
    pub async fn record_canary(&self, instance: &str, execution: ExecutionId) -> Result<(), StoreError> {
        sqlx::query!(
            "update eventbridge.destinations set paused_execution = $2 where name = $1 and paused_since is not null",
            instance,
            execution.0
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
