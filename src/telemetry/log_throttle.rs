//! Limits the rate of log messages that anyone can cause.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The shortest time between two messages.
const INTERVAL: Duration = Duration::from_secs(1);

/// Admits one message per second and counts the suppressed ones. It never blocks.
#[derive(Debug)]
pub struct LogThrottle {
    started: Instant,
    /// When the next message may be logged, in milliseconds after `started`.
    next_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self { started: Instant::now(), next_ms: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }
}

impl LogThrottle {
    /// Whether to log now. `Some` holds the number of messages suppressed since the last one.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(self.started.elapsed())
    }

    fn admit_at(&self, now: Duration) -> Option<u64> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let due = self.next_ms.load(Ordering::Relaxed);
        let is_admitted = ms(now) >= due
            && self
                .next_ms
                .compare_exchange(due, ms(now + INTERVAL), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_admitted {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_per_second_is_admitted_with_the_number_of_suppressed_ones() {
        let throttle = LogThrottle::default();
        let at = |ms| throttle.admit_at(Duration::from_millis(ms));
        assert_eq!(
            [at(5), at(6), at(900), at(1_005), at(1_006), at(3_000)],
            [Some(0), None, None, Some(2), None, Some(1)]
        );
    }
}
