//! Until when each connection wants to be left alone.
//!
//! A connection without a rate asks nobody for a slot, and one with a rate may be told to wait when its
//! slot was given out already. So this process reads the connection's row now and then, and knows at
//! once what it was told itself.

use crate::store::{Store, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old what is known may be: so much later than the one who was told, other replicas stop.
const FRESH_FOR: Duration = Duration::from_millis(250);

/// What is known of the connections. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Pauses(Arc<Mutex<HashMap<String, Pause>>>);

#[derive(Debug, Clone, Copy)]
struct Pause {
    read_at: Instant,
    until: Instant,
}

impl Pauses {
    /// How long the connection wants to be left alone.
    ///
    /// Where what is known is too old, one caller reads it anew; the others go on with it meanwhile.
    pub(super) async fn left(&self, store: &Store, connection: &str) -> Result<Duration, StoreError> {
        let now = Instant::now();
        if self.is_to_be_read(connection, now) {
            let pause = store.rate_limits.pause(connection).await?;
            self.note(connection, now + pause);
        }
        Ok(self.until(connection).map_or(Duration::ZERO, |until| until.saturating_duration_since(now)))
    }

    /// Notes that the connection wants to be left alone until then, or longer where that is known.
    pub(super) fn note(&self, connection: &str, until: Instant) {
        self.with(|known| {
            if let Some(pause) = known.get_mut(connection) {
                pause.until = pause.until.max(until);
            } else {
                known.insert(connection.to_owned(), Pause { read_at: Instant::now(), until });
            }
        });
    }

    fn is_to_be_read(&self, connection: &str, now: Instant) -> bool {
        self.with(|known| match known.get_mut(connection) {
            None => true,
            Some(pause) if now.saturating_duration_since(pause.read_at) < FRESH_FOR => false,
            Some(pause) => {
                pause.read_at = now;
                true
            }
        })
    }

    fn until(&self, connection: &str) -> Option<Instant> {
        self.with(|known| known.get(connection).map(|pause| pause.until))
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Pause>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
