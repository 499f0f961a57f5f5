//! The leases that this process knows it holds, from the claim's answer until the completion is recorded,
//! and until when it may trust them.
//!
//! A lease that the database has and the registry lacks belongs to a claim whose answer was lost. A process
//! that stood still may have been declared dead meanwhile. It must then send no further write.

use crate::store::Fence;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The registry. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct LeaseRegistry(Arc<Mutex<Leases>>);

#[derive(Debug, Default)]
struct Leases {
    fences: HashSet<Fence>,
    valid_until: Option<Instant>,
}

/// A registered lease; dropping it removes it from the registry.
#[derive(Debug)]
pub(super) struct RegisteredLease {
    registry: LeaseRegistry,
    fence: Fence,
}

impl LeaseRegistry {
    /// Registers a lease.
    pub(super) fn register(&self, fence: Fence) -> RegisteredLease {
        self.with(|leases| leases.fences.insert(fence));
        RegisteredLease { registry: self.clone(), fence }
    }

    /// The registered leases.
    pub(super) fn fences(&self) -> Vec<Fence> {
        self.with(|leases| leases.fences.iter().copied().collect())
    }

    /// No other process declares this one dead before `until`.
    pub(super) fn trust_until(&self, until: Instant) {
        self.with(|leases| leases.valid_until = Some(until));
    }

    /// This process was declared dead: all its leases are lost.
    pub(super) fn clear(&self) {
        self.with(|leases| leases.fences.clear());
    }

    /// Whether a lease is certainly valid now.
    pub(super) fn is_valid(&self, fence: Fence) -> bool {
        self.with(|leases| {
            leases.fences.contains(&fence) && leases.valid_until.is_some_and(|until| Instant::now() < until)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Leases) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for RegisteredLease {
    fn drop(&mut self) {
        self.registry.with(|leases| leases.fences.remove(&self.fence));
    }
}
