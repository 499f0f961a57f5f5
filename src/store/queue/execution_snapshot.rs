//! An execution as its next try would find it, read without a lease.

use super::Queue;
use crate::domain::delivery::Remote;
use crate::domain::event::StoredEvent;
use crate::domain::execution::{ExecutionId, Mode, Status, UnknownStatus};
use crate::store::db::{StoreError, of_milliseconds};
use crate::store::events::stored_event;
use std::time::Duration;

/// An execution with all that its next try would know of it.
#[derive(Debug, Clone)]
pub struct Prospect {
    /// The execution.
    pub id: ExecutionId,
    /// The state that it is in.
    pub status: Status,
    /// The destination instance.
    pub destination: String,
    /// What it delivers.
    pub mode: Mode,
    /// Its lane, in object mode.
    pub lane: Option<String>,
    /// What an earlier delivery wrote.
    pub remote: Option<Remote>,
    /// How long ago a write of unknown outcome began, where there was one: in a lane, the lane's last.
    pub in_doubt: Option<Duration>,
    /// The event.
    pub event: StoredEvent,
}

impl Queue {
    /// An execution in whatever state, as its next try would find it.
    pub async fn prospect(&self, id: ExecutionId) -> Result<Option<Prospect>, StoreError> {
        let row = sqlx::query!(
            r#"
            select executions.id, status, destination, mode, lane, remote_id, remote_url, remote_place,
                   -- In a lane a write in doubt concerns whoever is next, whichever execution made it.
                   (extract(epoch from now() - case
                       when lane is null then in_doubt_since
                       else (select max(of_lane.in_doubt_since) from eventbridge.executions as of_lane
                              where of_lane.lane = executions.lane and of_lane.in_doubt_since is not null)
                    end) * 1000)::bigint as unsettled_ms,
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
            let status = row
                .status
                .parse()
                .map_err(|error: UnknownStatus| StoreError::Unexpected(error.to_string()))?;
            Ok(Prospect {
                id: ExecutionId(row.id),
                status,
                destination: row.destination,
                mode: row.mode.parse().unwrap_or_default(),
                lane: row.lane,
                remote: row.remote_id.map(|id| Remote { id, url: row.remote_url, place: row.remote_place }),
                in_doubt: row.unsettled_ms.map(of_milliseconds),
                event: stored_event!(row),
            })
        })
        .transpose()
    }
}
