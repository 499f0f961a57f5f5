//! The number on a tab: in how many groups something failed that nobody knows of.
//!
//! It stands on every page, so it is read once in a few seconds, and a page waits for it but briefly.

use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::debug;

/// How far groups are counted.
pub(super) const COUNTED_MAX: u32 = 100;

/// How long a number is good for.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// How long a page waits for it.
const PATIENCE: Duration = Duration::from_millis(300);

/// The number as it was read last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Badge {
    known: Arc<Mutex<Option<(Instant, i64)>>>,
}

impl Badge {
    /// The number; nothing where it cannot be read soon.
    pub async fn read(&self, store: &Store) -> Option<i64> {
        let reading = async {
            let mut known = self.known.lock().await;
            if let Some((at, count)) = *known
                && at.elapsed() < GOOD_FOR
            {
                return Some(count);
            }
            match store.failure_groups.open_failures(COUNTED_MAX).await {
                Ok(count) => {
                    *known = Some((Instant::now(), count));
                    Some(count)
                }
                Err(error) => {
                    debug!(%error, "the open failures could not be counted");
                    None
                }
            }
        };
        timeout(PATIENCE, reading).await.ok().flatten()
    }

    /// Has it read anew for the next page, because a person changed it.
    pub async fn forget(&self) {
        *self.known.lock().await = None;
    }
}
