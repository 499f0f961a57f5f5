//! Execution snapshots: an execution as its next attempt would find it, read without a lease.

use super::Queue;
use crate::domain::delivery::Remote;
use crate::domain::event::StoredEvent;
use crate::domain::execution::{ExecutionId, Mode, Status, UnknownMode, UnknownStatus};
use crate::store::db::{StoreError, of_milliseconds};
use crate::store::events::stored_event;
use std::time::Duration;

/// An execution, with everything that its next attempt would know.
#[derive(Debug, Clone)]
pub struct ExecutionSnapshot {
    /// The execution.
    pub id: ExecutionId,
    /// Its status.
    pub status: Status,
    /// The destination instance.
    pub destination: String,
    /// The delivery mode.
    pub mode: Mode,
    /// Its lane, in object mode.
    pub lane: Option<String>,
    /// What an earlier delivery wrote, if any.
    pub remote: Option<Remote>,
    /// How long ago a write in doubt began, if there was one; in a lane, the last one of the lane.
    pub in_doubt: Option<Duration>,
    /// The event.
    pub event: StoredEvent,
}

impl Queue {
    /// Reads an execution in any state, as its next attempt would find it.
    pub async fn execution_snapshot(&self, id: ExecutionId) -> Result<Option<ExecutionSnapshot>, StoreError> {
        let row = sqlx::query!(
            r#"
            select executions.id, destination, mode, lane, remote_id, remote_url, remote_place,
                   case when exists (select from eventbridge.leases where execution_id = executions.id)
                        then 'running' else status end as "status!",
                   -- In a lane a write in doubt concerns the next execution, whichever one made it.
                   (extract(epoch from now() - case
                       when lane is null then in_doubt_since
                       else (select max(of_lane.in_doubt_since) from eventbridge.executions as of_lane
                              where of_lane.lane = executions.lane and of_lane.in_doubt_since is not null)
                    end) * 1000)::bigint as in_doubt_ms,
                   events.id as event_key, source, event_id, type as event_type, object_id,
                   object_type, account, livemode, api_version, created, carries_state, received_at, payload
              from eventbridge.executions
              join eventbridge.events on events.id = executions.event_key
             where executions.id = $1
            "#,
            id.0
        )
        .fetch_optional(&self.reading)
        .await?;
        row.map(|row| {
            let unknown = |error: &dyn std::error::Error| StoreError::Unexpected(error.to_string());
            let status = row.status.parse().map_err(|error: UnknownStatus| unknown(&error))?;
            let mode = row.mode.parse().map_err(|error: UnknownMode| unknown(&error))?;
            Ok(ExecutionSnapshot {
                id: ExecutionId(row.id),
                status,
                destination: row.destination,
                mode,
                lane: row.lane,
                remote: row.remote_id.map(|id| Remote { id, url: row.remote_url, place: row.remote_place }),
                in_doubt: row.in_doubt_ms.map(of_milliseconds),
                event: stored_event!(row),
            })
        })
        .transpose()
    }
}
