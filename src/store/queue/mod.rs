//! The queue: a worker claims executions under a lease and completes them under its fence; executions of
//! dead workers are rescued.
//!
//! A lease lives as long as its worker sends heartbeats. A completion must hold the lease that the claim
//! returned, which the fence distinguishes from every later one. So a worker that counts as dead changes
//! nothing, however late it resumes.
//!
//! What a crash leaves behind, beside the cases in ARCHITECTURE.md:
//!
//! | when | in the database | next |
//! |---|---|---|
//! | before the claim commits | `pending` | another claim takes it |
//! | before the claim's answer arrives | a lease that its process does not know | see below |
//! | Postgres refuses a completion, even without the destination's texts | a lease | see below |
//!
//! In the last two cases the process frees its own lease once it is 60 s old: pending, quarantined, in
//! doubt. A process whose heartbeat failed declares no other one dead until it has beaten for 7 s again.

mod canary;
mod claim;
mod complete;
mod complete_lanes;
mod execution_snapshot;
mod key_lock;
mod lane_runs;
mod lanes;
mod notifier;
mod pauses;
mod rate_limits;
mod related_events;
mod rescue;
mod row_requests;
mod workers;

pub use canary::Canary;
pub use claim::{Ask, ClaimRequest, Claimed, Position, WorkClass};
pub use complete::{CompletedExecution, Conclusion, EndedAttempt, Recorded, Settlement};
pub use complete_lanes::{CompletedLane, RefusedState};
pub use execution_snapshot::ExecutionSnapshot;
pub use lanes::{LaneState, RemoteObject};
pub use notifier::Notifier;
pub use pauses::{DestinationRow, DueProbe, Pause, PausedInstance};
pub use rate_limits::{Limiter, Slot};
pub use rescue::{RescueScope, Rescued};
pub use workers::{Activity, Resting, WORKER_DEAD_AFTER};

use super::db::{Connections, Db};
use crate::domain::execution::ExecutionId;
use uuid::Uuid;

/// The queue of executions, for the worker: claim, complete, rescue, and the state of lanes. A worker that
/// lost its lease changes nothing. It writes over the connections for work; only a preview's snapshot is read
/// over those for reading.
#[derive(Debug, Clone)]
pub struct Queue {
    pool: Connections,
    reading: Connections,
}

impl Queue {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}

/// The state of destination instances across all replicas: pauses, probes, and what an instance remembers.
/// For the worker, and for operators who pause and resume.
#[derive(Debug, Clone)]
pub struct Destinations {
    pool: Connections,
    reading: Connections,
}

impl Destinations {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}

/// The rate limits of connections to receivers, shared by all replicas. For the worker and for commands that
/// call a receiver.
#[derive(Debug, Clone)]
pub struct RateLimits {
    pool: Connections,
    reading: Connections,
}

impl RateLimits {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}

/// The id of a worker. A process gets a new one each time it registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub Uuid);

/// Distinguishes a lease from every other one that was ever granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence(i64);

/// The lease of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The execution.
    pub execution: ExecutionId,
    /// The fence.
    pub fence: Fence,
}
