//! What the overview shows, read once for all who look: how things stand, and what happened.
//!
//! However many pages are open, each change is read once. A reading that is asked for while it is
//! being made is waited for, and made by one of those who ask.

use super::Ui;
use super::history::{History, Range};
use super::refusal::Refusal;
use crate::domain::verdict::Standing;
use crate::store::{Backlog, Watched};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// While changes are looked for a reading is good for so long, as times go on. Else it is good for
/// those alone who asked while it was made.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The numbers of the statistics are good for so long where they have not changed: time goes on.
const NUMBERS_FRESH_FOR: Duration = Duration::from_secs(30);

/// The readings. Cheap to clone: clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Readings {
    standing: Kept<Reading>,
    histories: [Kept<History>; Range::ALL.len()],
}

/// How things stand.
#[derive(Debug)]
pub(super) struct Reading {
    /// What the verdict is made of.
    pub standing: Standing,
    /// What waits.
    pub backlog: Vec<Backlog>,
}

impl Ui {
    /// How things stand.
    pub(super) async fn reading(&self) -> Result<Arc<Reading>, Refusal> {
        let changes = self.live.changes().all;
        let fresh_for = if self.live.is_looking() { FRESH_FOR } else { Duration::ZERO };
        self.readings.standing.get(changes, fresh_for, self.read()).await
    }

    /// What happened in a range of time up to now.
    pub(super) async fn history(&self, range: Range) -> Result<Arc<History>, Refusal> {
        let changes = self.live.changes().numbers;
        let fresh_for = if self.live.is_looking() { NUMBERS_FRESH_FOR } else { FRESH_FOR };
        let read = async {
            let now = self.store.reports.now().await?;
            let (from, to) = range.bounds(now);
            let bins = self.store.statistics.history(range.per(), from, to, range.step()).await?;
            Ok(History::of(range, from, &bins))
        };
        match self.readings.histories.get(range as usize) {
            Some(kept) => kept.get(changes, fresh_for, read).await,
            None => read.await.map(Arc::new),
        }
    }

    async fn read(&self) -> Result<Reading, Refusal> {
        let watched = Watched {
            instances: &self.instances,
            targets: &self.targets,
            secrets: &self.secrets,
            silence_factor: self.silence_factor,
        };
        let (standing, backlog) = self.store.standing(watched).await?;
        Ok(Reading { standing, backlog })
    }
}

/// Something that was read, and when.
#[derive(Debug)]
struct Kept<T>(Arc<Mutex<Option<Read<T>>>>);

#[derive(Debug)]
struct Read<T> {
    at: Instant,
    /// How many changes had been seen then.
    changes: u64,
    value: Arc<T>,
}

impl<T> Kept<T> {
    /// What was read last, where no change was seen since and it is fresh enough; else it is read anew.
    async fn get(
        &self,
        changes: u64,
        fresh_for: Duration,
        read: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<Arc<T>, Refusal> {
        let asked_at = Instant::now();
        let mut kept = self.0.lock().await;
        let is_good = |last: &&Read<T>| {
            last.changes >= changes && (last.at >= asked_at || last.at.elapsed() < fresh_for)
        };
        if let Some(last) = kept.as_ref().filter(is_good) {
            return Ok(last.value.clone());
        }
        let at = Instant::now();
        let value = Arc::new(read.await?);
        *kept = Some(Read { at, changes, value: value.clone() });
        Ok(value)
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn it_is_read_once_for_each_change_and_anew_when_it_is_old() {
        let (kept, reads) = (Kept::default(), AtomicU32::new(0));
        let read = || async { Ok(reads.fetch_add(1, Ordering::Relaxed)) };
        let get = async |changes, fresh_for| *kept.get(changes, fresh_for, read()).await.expect("a value");
        let long = Duration::from_mins(1);
        assert_eq!((get(0, long).await, get(0, long).await), (0, 0));
        assert_eq!((get(1, long).await, get(1, long).await), (1, 1));
        assert_eq!(get(0, long).await, 1, "what was read after a change is good for those who missed it");
        assert_eq!(get(1, Duration::ZERO).await, 2);
        let failed = kept.get(2, long, async { Err(Refusal::internal()) }).await;
        assert!(failed.is_err());
        assert_eq!(get(2, long).await, 3, "a failure is not kept");
    }
}
