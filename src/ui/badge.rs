//! The badge of the *Failures* tab: the number of unacknowledged failure groups.
//!
//! It is on every page. So it is read at most once every 2 s, and a page waits for it at most 300 ms.

use crate::single_flight::SingleFlight;
use crate::store::FailureGroups;
use std::time::Duration;
use tokio::time::timeout;
use tracing::debug;

/// Groups are counted up to this number.
pub(super) const COUNTED_MAX: u32 = 100;

/// The maximum age of the number.
const MAX_AGE: Duration = Duration::from_secs(2);

/// How long a page waits for the number.
const PATIENCE: Duration = Duration::from_millis(300);

/// The latest number. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Badge(SingleFlight<Option<i64>>);

impl Badge {
    /// The number; `None` if it cannot be read in time.
    pub async fn read(&self, failure_groups: &FailureGroups) -> Option<i64> {
        let failure_groups = failure_groups.clone();
        let load = async move {
            let count = failure_groups.open_failures(COUNTED_MAX).await;
            Ok(count.inspect_err(|error| debug!(%error, "counting open failures failed")).ok())
        };
        timeout(PATIENCE, self.0.get(MAX_AGE, load)).await.ok()?.ok()?
    }

    /// Makes the next page read the number again.
    pub fn invalidate(&self) {
        self.0.invalidate();
    }
}
