//! The running workers.

use super::Reports;
use crate::store::db::{StoreError, milliseconds, of_milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;
use uuid::Uuid;

/// A running worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its id.
    pub id: Uuid,
    /// The version of its program.
    pub version: String,
    /// When it registered.
    pub started_at: DateTime<Utc>,
    /// The age of its last heartbeat.
    pub silent_for: Duration,
    /// The executions that ran in it at its last heartbeat.
    pub running: i32,
}

/// More workers than any installation runs.
const REPLICAS_MAX: i64 = 100;

impl Reports {
    /// The workers, the oldest first. A dead one is listed until another one has released its leases.
    pub async fn replicas(&self) -> Result<Vec<Replica>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select id, version, started_at, (extract(epoch from now() - heartbeat_at) * 1000)::bigint as "silent_ms!",
                   running
              from eventbridge.workers
             order by started_at, id
             limit $1
            "#,
            REPLICAS_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        let replicas = rows.into_iter().map(|row| Replica {
            id: row.id,
            version: row.version,
            started_at: row.started_at,
            silent_for: of_milliseconds(row.silent_ms),
            running: row.running,
        });
        Ok(replicas.collect())
    }

    /// Whether at least one worker, in any process, has sent a heartbeat within `time`.
    pub async fn is_worker_running(&self, time: Duration) -> Result<bool, StoreError> {
        let is_running = sqlx::query_scalar!(
            r#"
            select exists (select from eventbridge.workers
                            where heartbeat_at > now() - $1::bigint * interval '1 millisecond') as "is_running!"
            "#,
            milliseconds(time)
        )
        .fetch_one(&self.reading)
        .await?;
        Ok(is_running)
    }
}
