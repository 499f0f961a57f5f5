//! Lines of the log that strangers can cause, written seldom.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The shortest time between two such lines.
const GAP: Duration = Duration::from_secs(1);

/// Lets one line a second pass, and counts what it keeps back. Nobody waits for it.
#[derive(Debug)]
pub struct Seldom {
    began: Instant,
    /// When the next line may be written, in milliseconds after `began`.
    next_ms: AtomicU64,
    unsaid: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self { began: Instant::now(), next_ms: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }
}

impl Seldom {
    /// Whether this is to be said, and then how often it was not since the last time.
    pub fn turn(&self) -> Option<u64> {
        self.turn_at(self.began.elapsed())
    }

    fn turn_at(&self, now: Duration) -> Option<u64> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let due = self.next_ms.load(Ordering::Relaxed);
        let is_ours = ms(now) >= due
            && self
                .next_ms
                .compare_exchange(due, ms(now + GAP), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_ours {
            return Some(self.unsaid.swap(0, Ordering::Relaxed));
        }
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_said_with_how_many_were_not() {
        let seldom = Seldom::default();
        let at = |ms| seldom.turn_at(Duration::from_millis(ms));
        assert_eq!(
            [at(5), at(6), at(900), at(1_005), at(1_006), at(3_000)],
            [Some(0), None, None, Some(2), None, Some(1)]
        );
    }
}
