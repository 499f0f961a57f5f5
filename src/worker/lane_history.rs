//! Removes the rows of lane runs that are over, in the background.
//!
//! Each run of a lane adds a row, and the claim only needs the newest one. One process of all replicas removes
//! the others, under a named lease. It walks along the runs in the order in which they began and removes the
//! predecessor of each, so it reads no row twice, and no lane that is quiet.

use crate::store::{BackgroundJobs, NamedLeases, Queue, StoreError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

/// The named lease and the name of the job.
const NAME: &str = "remove old lane runs";

/// The time between two rounds.
const ROUND_EVERY: Duration = Duration::from_mins(1);

/// How long the lease lasts if its holder dies.
const LEASE_DURATION: Duration = Duration::from_mins(2);

/// The rest between two batches.
const REST: Duration = Duration::from_millis(100);

/// The parts of the store that the job uses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LaneHistoryStore {
    /// Removes a batch.
    pub queue: Queue,
    /// One process at a time removes rows.
    pub leases: NamedLeases,
    /// How far it has come.
    pub jobs: BackgroundJobs,
}

/// Removes rows until `stop` is cancelled.
pub async fn remove_old_lane_runs(store: LaneHistoryStore, stop: CancellationToken) {
    let process = Uuid::new_v4();
    while stop.run_until_cancelled(tokio::time::sleep(ROUND_EVERY)).await.is_some() {
        if let Some(Err(error)) = stop.run_until_cancelled(round(&store, process)).await {
            warn!(%error, job = NAME, "removing lane runs failed; it will be retried");
        }
        if let Err(error) = store.leases.release(NAME, process).await {
            warn!(%error, job = NAME, "releasing the lease failed; it expires");
        }
    }
}

async fn round(store: &LaneHistoryStore, process: Uuid) -> Result<(), StoreError> {
    while store.leases.acquire(NAME, process, LEASE_DURATION).await? {
        let Some(position) = store.jobs.due(NAME).await? else { return Ok(()) };
        let Some(next) = store.queue.remove_old_lane_runs(position).await? else {
            return store.jobs.record(NAME, position, ROUND_EVERY / 2).await;
        };
        store.jobs.record(NAME, next, Duration::ZERO).await?;
        tokio::time::sleep(REST).await;
    }
    Ok(())
}
