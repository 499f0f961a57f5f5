//! Which leases this process knows to hold, from the claim's answer to the recorded verdict, and
//! until when it may take them to hold.
//!
//! A lease that the database has and this list has not belongs to a claim whose answer was lost. A
//! process that stood still may have been taken for dead meanwhile: what it has not sent by then, it
//! must not send any more.

use crate::store::Fence;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The list. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    fences: HashSet<Fence>,
    valid_until: Option<Instant>,
}

/// One lease on the list; dropped, it is taken off.
#[derive(Debug)]
pub(super) struct Holding {
    list: Held,
    fence: Fence,
}

impl Held {
    /// Puts a lease on the list.
    pub(super) fn hold(&self, fence: Fence) -> Holding {
        self.with(|known| known.fences.insert(fence));
        Holding { list: self.clone(), fence }
    }

    /// What is on the list.
    pub(super) fn fences(&self) -> Vec<Fence> {
        self.with(|known| known.fences.iter().copied().collect())
    }

    /// Says that nobody takes this process for dead before then.
    pub(super) fn renew_until(&self, until: Instant) {
        self.with(|known| known.valid_until = Some(until));
    }

    /// Says that this process was taken for dead, and all its leases with it.
    pub(super) fn lose_all(&self) {
        self.with(|known| known.fences.clear());
    }

    /// Whether a lease holds for certain.
    pub(super) fn is_valid(&self, fence: Fence) -> bool {
        self.with(|known| {
            known.fences.contains(&fence) && known.valid_until.is_some_and(|until| Instant::now() < until)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.list.with(|known| known.fences.remove(&self.fence));
    }
}
