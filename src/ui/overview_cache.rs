//! What the overview shows, read once for all open pages: the health snapshot, and what happened.
//!
//! However many pages are open, each change is read once.

use super::Ui;
use super::error_page::ErrorPage;
use super::time_series::{Range, TimeSeries};
use crate::health::Snapshot;
use crate::single_flight::SingleFlight;
use std::sync::Arc;
use std::time::Duration;

/// The age of a snapshot at most, while changes are watched. Otherwise each page reads a new one.
const SNAPSHOT_MAX_AGE: Duration = Duration::from_secs(1);

/// The age of a time series at most, while changes are watched: it ends at the present.
const HISTORY_MAX_AGE: Duration = Duration::from_secs(30);

/// The age of a time series at most, while no changes are watched.
const HISTORY_MAX_AGE_UNWATCHED: Duration = Duration::from_secs(1);

/// The latest snapshot and time series. Cheap to clone: clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct OverviewCache {
    snapshot: SingleFlight<Arc<Snapshot>, ErrorPage>,
    histories: [SingleFlight<Arc<TimeSeries>, ErrorPage>; Range::ALL.len()],
}

impl Ui {
    /// The health snapshot.
    pub(super) async fn snapshot(&self) -> Result<Arc<Snapshot>, ErrorPage> {
        let changes = self.live.changes().all;
        let max_age = if self.live.is_polling() { SNAPSHOT_MAX_AGE } else { Duration::ZERO };
        let (store, scope) = (self.store.clone(), self.scope.clone());
        let read = async move { Ok(Arc::new(Snapshot::load(&store.health, &scope).await?)) };
        self.overview_cache.snapshot.get_version(changes, max_age, read).await
    }

    /// What happened in a range of time up to now.
    pub(super) async fn history(&self, range: Range) -> Result<Arc<TimeSeries>, ErrorPage> {
        let changes = self.live.changes().numbers;
        let max_age = if self.live.is_polling() { HISTORY_MAX_AGE } else { HISTORY_MAX_AGE_UNWATCHED };
        let store = self.store.clone();
        let read = async move {
            let now = store.reports.now().await?;
            let (from, to) = range.bounds(now);
            let buckets = store.statistics.time_series(range.per(), from, to, range.step()).await?;
            Ok(Arc::new(TimeSeries::of(range, from, &buckets)))
        };
        match self.overview_cache.histories.get(range as usize) {
            Some(cache) => cache.get_version(changes, max_age, read).await,
            None => read.await,
        }
    }
}
