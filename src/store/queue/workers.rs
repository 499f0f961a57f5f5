//! The processes that work the queue: each registers, beats, and signs off.

use super::{Queue, Rescued, Watch};
use crate::store::db::StoreError;
use uuid::Uuid;

/// A process that works the queue. It gets a fresh id whenever it registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub Uuid);

impl Queue {
    /// Registers this process under a fresh id.
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

    /// Says that a worker lives; `false` when it was taken for dead and must register anew.
    pub async fn beat(&self, worker: WorkerId) -> Result<bool, StoreError> {
        let done =
            sqlx::query!("update eventbridge.workers set heartbeat_at = now() where id = $1", worker.0)
                .execute(&self.pool)
                .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Signs a worker off at the end of an orderly stop: whatever it still leases is freed as in
    /// [`Queue::rescue`], but without waiting. Returns what was freed.
    pub async fn retire(&self, worker: WorkerId) -> Result<Vec<Rescued>, StoreError> {
        sqlx::query!("delete from eventbridge.workers where id = $1", worker.0).execute(&self.pool).await?;
        self.rescue(Watch { silence: None, myself: None, held: &[] }).await
    }
}
