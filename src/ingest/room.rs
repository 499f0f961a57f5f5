//! The memory that events share on their way in.
//!
//! It is set aside as a body comes, not as it is announced. When it is used up, whoever holds the
//! most of it and has not sent all yet makes room for one who needs less: so a few who send much and
//! slowly keep nobody out, and what is complete is never given up. Those who hold little are never
//! asked; all connections together hold no more of that than half of the room.

use super::writer::WriteError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// What an event takes in memory besides its body.
const EVENT_BYTES: usize = 1024;

/// From this size on a body that is still coming may have to make room. Most events are smaller.
const LARGE_BYTES: usize = 32 * 1024;

/// How long to wait for the room that another was asked to make.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// So many bytes for all. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: Arc<Semaphore>,
    coming: Mutex<Coming>,
}

/// The large bodies that are not complete yet, the largest last.
#[derive(Debug, Default)]
struct Coming {
    next_id: u64,
    by_size: BTreeMap<(usize, u64), Arc<Notify>>,
}

/// What one event holds; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Share {
    room: Room,
    permit: OwnedSemaphorePermit,
    /// Its place among the large ones that are coming.
    place: Option<(usize, u64)>,
    asked: Arc<Notify>,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared { bytes: Arc::new(Semaphore::new(bytes)), coming: Mutex::default() }))
    }

    /// Memory for an event, as yet without a body.
    pub(super) async fn share(&self) -> Result<Share, WriteError> {
        let permit = match self.take(EVENT_BYTES) {
            Ok(permit) => permit,
            Err(_) if self.ask_the_largest(EVENT_BYTES) => self.wait_for(EVENT_BYTES).await?,
            Err(full) => return Err(full),
        };
        Ok(Share { room: self.clone(), permit, place: None, asked: Arc::default() })
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, WriteError> {
        let bytes = u32::try_from(bytes).map_err(|_| WriteError::Full)?;
        self.0.bytes.clone().try_acquire_many_owned(bytes).map_err(|_| WriteError::Full)
    }

    /// Asks the largest that is still coming to make room, where it is larger than this.
    fn ask_the_largest(&self, larger_than: usize) -> bool {
        let mut coming = self.coming();
        let Some(largest) = coming.by_size.last_entry().filter(|largest| largest.key().0 > larger_than)
        else {
            return false;
        };
        // It is waited for until it wakes up, also where it does not listen just now.
        largest.remove().notify_one();
        true
    }

    /// Waits for what another was asked to free.
    async fn wait_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, WriteError> {
        let bytes = u32::try_from(bytes).map_err(|_| WriteError::Full)?;
        let freed = tokio::time::timeout(ROOM_WITHIN, self.0.bytes.clone().acquire_many_owned(bytes)).await;
        match freed {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(WriteError::Full),
        }
    }

    fn coming(&self) -> MutexGuard<'_, Coming> {
        self.0.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Sets memory aside for so much of the body.
    pub(super) async fn cover(&mut self, body_bytes: usize) -> Result<(), WriteError> {
        let wanted = body_bytes + EVENT_BYTES;
        let missing = wanted.saturating_sub(self.permit.num_permits());
        if missing == 0 {
            return Ok(());
        }
        let more = match self.room.take(missing) {
            Ok(more) => more,
            Err(_) if self.room.ask_the_largest(wanted) => tokio::select! {
                freed = self.room.wait_for(missing) => freed?,
                () = self.asked() => return Err(WriteError::Full),
            },
            Err(full) => return Err(full),
        };
        self.permit.merge(more);
        if wanted < LARGE_BYTES { Ok(()) } else { self.stand_at(wanted) }
    }

    /// Takes its place among the large ones; fails where it was asked to make room meanwhile.
    fn stand_at(&mut self, bytes: usize) -> Result<(), WriteError> {
        let mut coming = self.room.coming();
        let id = match self.place.take() {
            None => {
                coming.next_id += 1;
                coming.next_id
            }
            Some(before) => {
                coming.by_size.remove(&before).ok_or(WriteError::Full)?;
                before.1
            }
        };
        coming.by_size.insert((bytes, id), self.asked.clone());
        drop(coming);
        self.place = Some((bytes, id));
        Ok(())
    }

    /// Resolves when it is to make room for another.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// All of the body is there: it makes room for nobody any more. Fails where it was asked just now.
    pub(super) fn complete(&mut self) -> Result<(), WriteError> {
        let Some(place) = self.place.take() else { return Ok(()) };
        self.room.coming().by_size.remove(&place).map(drop).ok_or(WriteError::Full)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.room.coming().by_size.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const KIB: usize = 1024;

    fn share(room: &Room) -> Share {
        room.share().now_or_never().expect("no wait").expect("room for an event")
    }

    fn covered(room: &Room, bytes: usize) -> Share {
        let mut share = share(room);
        share.cover(bytes).now_or_never().expect("no wait").expect("room for its body");
        share
    }

    #[tokio::test]
    async fn the_largest_that_is_still_coming_makes_room_for_one_who_needs_less() {
        let room = Room::new(300 * KIB);
        let (large, larger) = (covered(&room, 100 * KIB), covered(&room, 150 * KIB));
        let mut next = covered(&room, 40 * KIB);
        let mut wanting = Box::pin(next.cover(60 * KIB));
        assert!(futures_util::poll!(&mut wanting).is_pending());
        assert!(large.asked().now_or_never().is_none());
        larger.asked().await;
        drop(larger);
        assert_eq!(wanting.await, Ok(()));
    }

    #[tokio::test]
    async fn an_event_finds_its_place_though_all_is_taken() {
        let room = Room::new(300 * KIB);
        let large = covered(&room, 299 * KIB);
        let mut wanting = Box::pin(room.share());
        assert!(futures_util::poll!(&mut wanting).is_pending());
        large.asked().await;
        drop(large);
        assert!(wanting.await.is_ok());
    }

    #[tokio::test]
    async fn one_that_was_asked_takes_no_more_and_is_not_complete() {
        let room = Room::new(300 * KIB);
        let mut larger = covered(&room, 250 * KIB);
        assert!(room.ask_the_largest(KIB));
        assert_eq!(larger.cover(260 * KIB).await, Err(WriteError::Full));
        let mut other = covered(&room, 20 * KIB);
        assert_eq!(other.complete(), Ok(()));
    }

    #[tokio::test]
    async fn what_is_complete_or_small_or_needs_less_makes_room_for_nobody() {
        let room = Room::new(300 * KIB);
        let mut complete = covered(&room, 200 * KIB);
        complete.complete().expect("complete");
        let _small = covered(&room, 20 * KIB);
        let coming = covered(&room, 40 * KIB);
        let mut next = share(&room);
        assert_eq!(next.cover(45 * KIB).now_or_never(), Some(Err(WriteError::Full)));
        drop(coming);
        assert_eq!(next.cover(45 * KIB).now_or_never(), Some(Ok(())));
    }

    #[test]
    fn what_is_dropped_is_free_and_stands_in_no_list() {
        let room = Room::new(300 * KIB);
        drop(covered(&room, 290 * KIB));
        assert!(room.coming().by_size.is_empty());
        drop(covered(&room, 290 * KIB));
    }
}
