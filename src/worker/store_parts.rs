//! The parts of the store that a worker uses.

use crate::store::{Destinations, Queue, RateLimits};

/// The parts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerStore {
    /// To claim and complete executions.
    pub queue: Queue,
    /// To pause, probe and resume destination instances.
    pub destinations: Destinations,
    /// To keep to the rate limits that all replicas share.
    pub rate_limits: RateLimits,
}
