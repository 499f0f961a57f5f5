//! How many connections there are, and whether that is nearly all there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The room that connections share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Crowd(Arc<Room>);

#[derive(Debug)]
struct Room {
    places: Arc<Semaphore>,
    max: usize,
    /// Remembered, so that it begins with seven eighths and is over at three quarters: else it would
    /// begin anew, and wake all who are there, with every connection that ends.
    is_crowded: AtomicBool,
    began: Notify,
}

/// A connection's place; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Crowd,
    permit: Option<OwnedSemaphorePermit>,
}

impl Crowd {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Room {
            places: Arc::new(Semaphore::new(max)),
            max,
            is_crowded: AtomicBool::new(false),
            began: Notify::new(),
        }))
    }

    /// Whether most of the room is taken, so that patience is short.
    pub fn is_crowded(&self) -> bool {
        self.0.is_crowded.load(Ordering::Relaxed)
    }

    /// Resolves when it becomes crowded next.
    pub(super) fn begins(&self) -> Notified<'_> {
        self.0.began.notified()
    }

    /// Waits for a place.
    pub(super) async fn enter(&self) -> Place {
        // The semaphore is never closed; without a permit there would only be one more than the bound.
        let permit = self.0.places.clone().acquire_owned().await.ok();
        if self.taken() >= self.0.max - self.0.max / 8 {
            self.press();
        }
        Place { crowd: self.clone(), permit }
    }

    /// Makes it crowded, until there is room again.
    pub(super) fn press(&self) {
        if !self.0.is_crowded.swap(true, Ordering::Relaxed) {
            self.0.began.notify_waiters();
        }
    }

    fn taken(&self) -> usize {
        self.0.max.saturating_sub(self.0.places.available_permits())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.permit.take());
        let Crowd(room) = &self.crowd;
        if self.crowd.taken() <= room.max - room.max / 4 {
            room.is_crowded.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_crowded_from_seven_eighths_down_to_three_quarters() {
        let crowd = Crowd::new(16);
        let mut places = Vec::new();
        for taken in 1..=14 {
            assert!(!crowd.is_crowded(), "{taken}");
            places.push(crowd.enter().await);
        }
        assert!(crowd.is_crowded());
        places.pop();
        assert!(crowd.is_crowded(), "13 are still more than three quarters");
        places.pop();
        assert!(!crowd.is_crowded());
    }

    #[tokio::test]
    async fn the_beginning_is_told_once() {
        let crowd = Crowd::new(16);
        let told = crowd.begins();
        crowd.press();
        told.await;
        let again = crowd.begins();
        crowd.press();
        assert!(futures_util::FutureExt::now_or_never(again).is_none());
    }
}
