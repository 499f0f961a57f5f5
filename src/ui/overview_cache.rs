//! What the overview shows, read once for all open pages: how things stand, and what happened.
//!
//! However many pages are open, each change is read once.

use super::Ui;
use super::history::{History, Range};
use super::refusal::Refusal;
use crate::domain::verdict::Standing;
use crate::single_flight::SingleFlight;
use crate::store::{Backlog, Watched};
use std::sync::Arc;
use std::time::Duration;

/// The age of a reading at most, while changes are watched. Otherwise each page reads anew.
const READING_MAX_AGE: Duration = Duration::from_secs(1);

/// The age of a time series at most, while changes are watched: it ends at the present.
const HISTORY_MAX_AGE: Duration = Duration::from_secs(30);

/// The age of a time series at most, while no changes are watched.
const HISTORY_MAX_AGE_UNWATCHED: Duration = Duration::from_secs(1);

/// The latest reading and time series. Cheap to clone: clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct OverviewCache {
    reading: SingleFlight<Arc<Reading>, Refusal>,
    histories: [SingleFlight<Arc<History>, Refusal>; Range::ALL.len()],
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
        let max_age = if self.live.is_looking() { READING_MAX_AGE } else { Duration::ZERO };
        let ui = self.clone();
        let read = async move { ui.read().await.map(Arc::new) };
        self.overview_cache.reading.get_version(changes, max_age, read).await
    }

    /// What happened in a range of time up to now.
    pub(super) async fn history(&self, range: Range) -> Result<Arc<History>, Refusal> {
        let changes = self.live.changes().numbers;
        let max_age = if self.live.is_looking() { HISTORY_MAX_AGE } else { HISTORY_MAX_AGE_UNWATCHED };
        let store = self.store.clone();
        let read = async move {
            let now = store.reports.now().await?;
            let (from, to) = range.bounds(now);
            let bins = store.statistics.time_series(range.per(), from, to, range.step()).await?;
            Ok(Arc::new(History::of(range, from, &bins)))
        };
        match self.overview_cache.histories.get(range as usize) {
            Some(cache) => cache.get_version(changes, max_age, read).await,
            None => read.await,
        }
    }

    async fn read(&self) -> Result<Reading, Refusal> {
        let watched = Watched {
            instances: &self.instances,
            destinations: &self.destinations,
            sources: self.sources.as_ref(),
            silence_factor: self.silence_factor,
        };
        let (standing, backlog) = self.store.standing(watched).await?;
        Ok(Reading { standing, backlog })
    }
}
