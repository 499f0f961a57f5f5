//! The backoffs that the other sides asked for: until when each connection must not be called.
//!
//! A connection without a rate takes no slots, and the other side may ask for a backoff after a slot was
//! given out. So this process regularly reads the connection's row. A backoff that it received itself
//! applies at once.

use crate::store::{RateLimits, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old the known end of a backoff may be. Other replicas stop calling up to this much later than the
/// one that received it.
const FRESH_FOR: Duration = Duration::from_millis(250);

/// The backoffs by connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct RateLimitBackoff(Arc<Mutex<HashMap<String, Backoff>>>);

#[derive(Debug, Clone, Copy)]
struct Backoff {
    read_at: Instant,
    until: Instant,
}

impl RateLimitBackoff {
    /// How long the connection must not be called.
    ///
    /// If what is known is too old, one caller reads it again; meanwhile the others use what is known.
    pub(super) async fn remaining(
        &self,
        rate_limits: &RateLimits,
        connection: &str,
    ) -> Result<Duration, StoreError> {
        let now = Instant::now();
        if self.begin_read(connection, now) {
            let remaining = rate_limits.backoff(connection).await?;
            self.extend(connection, now + remaining);
        }
        Ok(self.until(connection).map_or(Duration::ZERO, |until| until.saturating_duration_since(now)))
    }

    /// The connection must not be called before `until`, or before the end that is known if that is later.
    pub(super) fn extend(&self, connection: &str, until: Instant) {
        self.with(|known| {
            if let Some(backoff) = known.get_mut(connection) {
                backoff.until = backoff.until.max(until);
            } else {
                known.insert(connection.to_owned(), Backoff { read_at: Instant::now(), until });
            }
        });
    }

    /// Whether the caller is to read the connection's row now.
    fn begin_read(&self, connection: &str, now: Instant) -> bool {
        self.with(|known| match known.get_mut(connection) {
            None => true,
            Some(backoff) if now.saturating_duration_since(backoff.read_at) < FRESH_FOR => false,
            Some(backoff) => {
                backoff.read_at = now;
                true
            }
        })
    }

    fn until(&self, connection: &str) -> Option<Instant> {
        self.with(|known| known.get(connection).map(|backoff| backoff.until))
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Backoff>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
