//! The processes that work the queue: each registers, beats, and signs off.

use super::{Rescued, Watch};
use crate::store::Store;
use crate::store::db::{StoreError, of_milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;
use uuid::Uuid;

/// A process that works the queue. It gets a fresh id whenever it registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub Uuid);

/// A process that works the queue, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its id.
    pub id: Uuid,
    /// The version of its program.
    pub version: String,
    /// When it registered.
    pub started_at: DateTime<Utc>,
    /// How long ago it said that it lives.
    pub silent_for: Duration,
    /// How many executions it has in hand.
    pub leases: i64,
}

/// More processes than anybody runs.
const REPLICAS_MAX: i64 = 100;

impl Store {
    /// The processes that work the queue, the oldest first. One that died stands among them until
    /// another one has freed what it leased.
    pub async fn replicas(&self) -> Result<Vec<Replica>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select id, version, started_at, (extract(epoch from now() - beat_at) * 1000)::bigint as "silent_ms!",
                   (select count(*) from eventbridge.leases where worker_id = workers.id) as "leases!"
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
            leases: row.leases,
        });
        Ok(replicas.collect())
    }

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
        let done = sqlx::query!("update eventbridge.workers set beat_at = now() where id = $1", worker.0)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Signs a worker off at the end of an orderly stop: whatever it still leases is freed as in
    /// [`Store::rescue`], but without waiting. Returns what was freed.
    pub async fn retire(&self, worker: WorkerId) -> Result<Vec<Rescued>, StoreError> {
        sqlx::query!("delete from eventbridge.workers where id = $1", worker.0).execute(&self.pool).await?;
        self.rescue(Watch { silence: None, myself: None, held: &[] }).await
    }
}
