//! The number on a tab: how many failure groups are not acknowledged.
//!
//! It is on every page, so it is read at most once in a few seconds, and a page waits for it only briefly.

use crate::single_flight::SingleFlight;
use crate::store::FailureGroups;
use std::time::Duration;
use tokio::time::timeout;
use tracing::debug;

/// How far groups are counted.
pub(super) const COUNTED_MAX: u32 = 100;

/// How long a number is shown without reading it again.
const MAX_AGE: Duration = Duration::from_secs(2);

/// How long a page waits for it.
const PATIENCE: Duration = Duration::from_millis(300);

/// The latest number. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Badge(SingleFlight<Option<i64>>);

impl Badge {
    /// The number; `None` if it cannot be read soon.
    pub async fn read(&self, failure_groups: &FailureGroups) -> Option<i64> {
        let failure_groups = failure_groups.clone();
        let load = async move {
            let count = failure_groups.open_failures(COUNTED_MAX).await;
            Ok(count.inspect_err(|error| debug!(%error, "counting open failures failed")).ok())
        };
        timeout(PATIENCE, self.0.get(MAX_AGE, load)).await.ok()?.ok()?
    }

    /// Makes the next page read it again, because it changed.
    pub fn invalidate(&self) {
        self.0.invalidate();
    }
}
