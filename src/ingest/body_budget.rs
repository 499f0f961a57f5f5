//! The memory budget for request bodies.
//!
//! Memory is reserved while a body arrives, not for its declared length. When the budget is used up, the
//! largest incomplete body is shed in favour of a smaller request. So a few large and slow senders cannot
//! block the others, and a complete body is never shed. Small bodies are never shed either; all connections
//! together hold at most half of the budget in those.
//! A request of any size gets 503 itself if the budget is used up and no larger body is incomplete.

use super::reply::WriteError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The memory of an event besides its body, in bytes.
const EVENT_BYTES: usize = 1024;

/// From this size an incomplete body may be shed. Most events are smaller.
const LARGE_BYTES: usize = 32 * 1024;

/// How long to wait for the memory of a body that is being shed.
const SHED_WAIT_MAX: Duration = Duration::from_secs(1);

/// A number of bytes for all bodies. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct BodyBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: Arc<Semaphore>,
    incomplete: Mutex<Incomplete>,
}

/// The large bodies that are incomplete, the largest last.
#[derive(Debug, Default)]
struct Incomplete {
    next_id: u64,
    by_size: BTreeMap<(usize, u64), Arc<Notify>>,
}

/// The memory of one event; dropping it releases the memory.
#[derive(Debug)]
pub(super) struct BodyReservation {
    budget: BodyBudget,
    permit: OwnedSemaphorePermit,
    /// Its key among the large incomplete bodies.
    key: Option<(usize, u64)>,
    shed: Arc<Notify>,
}

impl BodyBudget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared { bytes: Arc::new(Semaphore::new(bytes)), incomplete: Mutex::default() }))
    }

    /// Reserves memory for an event without a body.
    pub(super) async fn reserve(&self) -> Result<BodyReservation, WriteError> {
        let permit = match self.try_acquire(EVENT_BYTES) {
            Ok(permit) => permit,
            Err(_) if self.shed_largest(EVENT_BYTES) => self.acquire(EVENT_BYTES).await?,
            Err(full) => return Err(full),
        };
        Ok(BodyReservation { budget: self.clone(), permit, key: None, shed: Arc::default() })
    }

    fn try_acquire(&self, bytes: usize) -> Result<OwnedSemaphorePermit, WriteError> {
        let bytes = u32::try_from(bytes).map_err(|_| WriteError::Full)?;
        self.0.bytes.clone().try_acquire_many_owned(bytes).map_err(|_| WriteError::Full)
    }

    /// Sheds the largest incomplete body if it is larger than this. Returns whether there was one.
    fn shed_largest(&self, larger_than: usize) -> bool {
        let mut incomplete = self.incomplete();
        let Some(largest) = incomplete.by_size.last_entry().filter(|largest| largest.key().0 > larger_than)
        else {
            return false;
        };
        // The notification is stored if the body's task is not waiting for it.
        largest.remove().notify_one();
        true
    }

    /// Waits for the memory of a body that is being shed.
    async fn acquire(&self, bytes: usize) -> Result<OwnedSemaphorePermit, WriteError> {
        let bytes = u32::try_from(bytes).map_err(|_| WriteError::Full)?;
        let freed = tokio::time::timeout(SHED_WAIT_MAX, self.0.bytes.clone().acquire_many_owned(bytes)).await;
        match freed {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(WriteError::Full),
        }
    }

    fn incomplete(&self) -> MutexGuard<'_, Incomplete> {
        self.0.incomplete.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BodyReservation {
    /// Extends the reservation to this many bytes of the body.
    pub(super) async fn extend_to(&mut self, body_bytes: usize) -> Result<(), WriteError> {
        let wanted = body_bytes + EVENT_BYTES;
        let missing = wanted.saturating_sub(self.permit.num_permits());
        if missing == 0 {
            return Ok(());
        }
        let more = match self.budget.try_acquire(missing) {
            Ok(more) => more,
            Err(_) if self.budget.shed_largest(wanted) => tokio::select! {
                freed = self.budget.acquire(missing) => freed?,
                () = self.shed() => return Err(WriteError::Full),
            },
            Err(full) => return Err(full),
        };
        self.permit.merge(more);
        if wanted < LARGE_BYTES { Ok(()) } else { self.register(wanted) }
    }

    /// Registers it among the large incomplete bodies. Fails if it has been shed meanwhile.
    fn register(&mut self, bytes: usize) -> Result<(), WriteError> {
        let mut incomplete = self.budget.incomplete();
        let id = match self.key.take() {
            None => {
                incomplete.next_id += 1;
                incomplete.next_id
            }
            Some(before) => {
                incomplete.by_size.remove(&before).ok_or(WriteError::Full)?;
                before.1
            }
        };
        incomplete.by_size.insert((bytes, id), self.shed.clone());
        drop(incomplete);
        self.key = Some((bytes, id));
        Ok(())
    }

    /// Resolves when the body is shed.
    pub(super) async fn shed(&self) {
        self.shed.notified().await;
    }

    /// The body is complete and will not be shed. Fails if it has just been shed.
    pub(super) fn complete(&mut self) -> Result<(), WriteError> {
        let Some(key) = self.key.take() else { return Ok(()) };
        self.budget.incomplete().by_size.remove(&key).map(drop).ok_or(WriteError::Full)
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.budget.incomplete().by_size.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const KIB: usize = 1024;

    fn reserved(budget: &BodyBudget) -> BodyReservation {
        budget.reserve().now_or_never().expect("no wait").expect("memory for an event")
    }

    fn extended(budget: &BodyBudget, bytes: usize) -> BodyReservation {
        let mut reservation = reserved(budget);
        reservation.extend_to(bytes).now_or_never().expect("no wait").expect("memory for its body");
        reservation
    }

    #[tokio::test]
    async fn the_largest_incomplete_body_is_shed_for_a_smaller_one() {
        let budget = BodyBudget::new(300 * KIB);
        let (large, larger) = (extended(&budget, 100 * KIB), extended(&budget, 150 * KIB));
        let mut next = extended(&budget, 40 * KIB);
        let mut wanting = Box::pin(next.extend_to(60 * KIB));
        assert!(futures_util::poll!(&mut wanting).is_pending());
        assert!(large.shed().now_or_never().is_none());
        larger.shed().await;
        drop(larger);
        assert_eq!(wanting.await, Ok(()));
    }

    #[tokio::test]
    async fn an_event_gets_memory_though_all_is_in_use() {
        let budget = BodyBudget::new(300 * KIB);
        let large = extended(&budget, 299 * KIB);
        let mut wanting = Box::pin(budget.reserve());
        assert!(futures_util::poll!(&mut wanting).is_pending());
        large.shed().await;
        drop(large);
        assert!(wanting.await.is_ok());
    }

    #[tokio::test]
    async fn a_shed_body_gets_no_more_memory_and_cannot_complete() {
        let budget = BodyBudget::new(300 * KIB);
        let mut larger = extended(&budget, 250 * KIB);
        assert!(budget.shed_largest(KIB));
        assert_eq!(larger.extend_to(260 * KIB).await, Err(WriteError::Full));
        let mut other = extended(&budget, 20 * KIB);
        assert_eq!(other.complete(), Ok(()));
    }

    #[tokio::test]
    async fn complete_and_small_bodies_are_not_shed() {
        let budget = BodyBudget::new(300 * KIB);
        let mut complete = extended(&budget, 200 * KIB);
        complete.complete().expect("complete");
        let _small = extended(&budget, 20 * KIB);
        let incomplete = extended(&budget, 40 * KIB);
        let mut next = reserved(&budget);
        assert_eq!(next.extend_to(45 * KIB).now_or_never(), Some(Err(WriteError::Full)));
        drop(incomplete);
        assert_eq!(next.extend_to(45 * KIB).now_or_never(), Some(Ok(())));
    }

    #[test]
    fn a_dropped_reservation_releases_its_memory_and_its_entry() {
        let budget = BodyBudget::new(300 * KIB);
        drop(extended(&budget, 290 * KIB));
        assert!(budget.incomplete().by_size.is_empty());
        drop(extended(&budget, 290 * KIB));
    }
}
