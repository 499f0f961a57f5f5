//! Workers: each registers, sends heartbeats and retires.

use super::{Queue, RescueScope, Rescued, WorkerId};
use crate::store::db::{StoreError, milliseconds};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use std::time::Duration;
use uuid::Uuid;

/// A worker counts as dead when its last heartbeat is older than this. Including the time between two checks,
/// the leases of a dead worker are released within 20 s.
pub const WORKER_DEAD_AFTER: Duration = Duration::from_secs(12);

/// What a process does, for those who look at all processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// The executions that run in it.
    pub running: usize,
    /// The attempts that ended in it.
    pub ended: u64,
}

/// A destination to which a process delivers nothing for a while, after repeated failures. Its times count from
/// the heartbeat that reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    /// The destination instance.
    pub destination: String,
    /// The milliseconds until the next attempt.
    pub left_ms: i64,
    /// The milliseconds until new work is tried.
    pub fresh_left_ms: i64,
    /// The milliseconds since it began.
    pub lasts_ms: i64,
    /// What it rests after, such as `repeated 502`.
    pub after: String,
}

impl Resting {
    /// One that lasts for so long already, and `left` longer; for new work `fresh_left`.
    pub fn new(destination: String, [left, fresh_left, lasts]: [Duration; 3], after: String) -> Self {
        let [left_ms, fresh_left_ms, lasts_ms] = [left, fresh_left, lasts].map(milliseconds);
        Self { destination, left_ms, fresh_left_ms, lasts_ms, after }
    }
}

impl Queue {
    /// Registers this process under a new id.
    pub async fn register_worker(&self) -> Result<WorkerId, StoreError> {
        let id = Uuid::new_v4();
        sqlx::query!(
            "insert into eventbridge.workers (id, version) values ($1, $2)",
            id,
            env!("CARGO_PKG_VERSION")
        )
        .execute(&self.pool)
        .await?;
        Ok(WorkerId(id))
    }

    /// Records a worker's heartbeat. Returns `false` if the worker counted as dead and must register again.
    pub async fn beat(
        &self,
        worker: WorkerId,
        activity: Activity,
        resting: &[Resting],
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "update eventbridge.workers set heartbeat_at = now(), running = $2, ended = $3, resting = $4 where id = $1",
            worker.0,
            i32::try_from(activity.running).unwrap_or(i32::MAX),
            i64::try_from(activity.ended).unwrap_or(i64::MAX),
            (!resting.is_empty()).then_some(Json(resting)) as _
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Removes a worker at the end of an orderly shutdown and releases its leases as [`Queue::rescue`] does,
    /// but without waiting. Returns the released executions.
    pub async fn retire(&self, worker: WorkerId) -> Result<Vec<Rescued>, StoreError> {
        sqlx::query!("delete from eventbridge.workers where id = $1", worker.0).execute(&self.pool).await?;
        self.rescue(RescueScope { silence: None, myself: None, held: &[], thorough: true }).await
    }
}
