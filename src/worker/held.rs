//! Which leases this process knows to hold, from the claim's answer to the recorded verdict.
//!
//! A lease that the database has and this list has not belongs to a claim whose answer was lost.

use crate::store::Fence;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The list. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<HashSet<Fence>>>);

/// One lease on the list; dropped, it is taken off.
#[derive(Debug)]
pub(super) struct Holding {
    list: Held,
    fence: Fence,
}

impl Held {
    /// Puts a lease on the list.
    pub(super) fn hold(&self, fence: Fence) -> Holding {
        self.with(|fences| fences.insert(fence));
        Holding { list: self.clone(), fence }
    }

    /// What is on the list.
    pub(super) fn fences(&self) -> Vec<Fence> {
        self.with(|fences| fences.iter().copied().collect())
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashSet<Fence>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.list.with(|fences| fences.remove(&self.fence));
    }
}
