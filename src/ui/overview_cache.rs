//! The cache of the overview: the health snapshot and the time series.
//!
//! All open pages share it, so each change is read once, however many pages are open.

use super::Ui;
use super::error_page::ErrorPage;
use super::time_series::{Range, TimeSeries};
use crate::health::Snapshot;
use crate::single_flight::SingleFlight;
use std::sync::Arc;
use std::time::Duration;

/// The maximum age of a snapshot while changes are watched. Otherwise each page reads a new one.
const SNAPSHOT_MAX_AGE: Duration = Duration::from_secs(1);

/// The maximum age of a time series while changes are watched, because it ends at the present.
const SERIES_MAX_AGE: Duration = Duration::from_secs(30);

/// The maximum age of a time series while no changes are watched.
const SERIES_MAX_AGE_UNWATCHED: Duration = Duration::from_secs(1);

/// The latest snapshot and time series. Cheap to clone: clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct OverviewCache {
    snapshot: SingleFlight<Arc<Snapshot>, ErrorPage>,
    series: [SingleFlight<Arc<TimeSeries>, ErrorPage>; Range::ALL.len()],
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

    /// The time series of a range up to now.
    pub(super) async fn time_series(&self, range: Range) -> Result<Arc<TimeSeries>, ErrorPage> {
        let changes = self.live.changes().numbers;
        let max_age = if self.live.is_polling() { SERIES_MAX_AGE } else { SERIES_MAX_AGE_UNWATCHED };
        let store = self.store.clone();
        let read = async move {
            let now = store.reports.now().await?;
            let (from, to) = range.bounds(now);
            let buckets = store.statistics.time_series(range.per(), from, to, range.step()).await?;
            Ok(Arc::new(TimeSeries::of(range, from, &buckets)))
        };
        match self.overview_cache.series.get(range as usize) {
            Some(cache) => cache.get_version(changes, max_age, read).await,
            None => read.await,
        }
    }
}
