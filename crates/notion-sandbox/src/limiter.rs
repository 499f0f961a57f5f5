//! The rate limit: a number of requests in any 60 seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A sliding window over the accepted requests; rejected ones do not count.
#[derive(Debug)]
pub struct Limiter {
    per_minute: Option<u32>,
    passed: VecDeque<Instant>,
}

const WINDOW: Duration = Duration::from_mins(1);

impl Limiter {
    /// Accepts this many requests per minute; `None` sets no limit.
    pub fn new(per_minute: Option<u32>) -> Self {
        Self { per_minute, passed: VecDeque::new() }
    }

    /// Accepts a request, or returns the number of whole seconds after which to retry.
    pub fn take(&mut self, now: Instant) -> Result<(), u64> {
        let Some(per_minute) = self.per_minute else { return Ok(()) };
        while self.passed.front().is_some_and(|first| now.duration_since(*first) >= WINDOW) {
            self.passed.pop_front();
        }
        let room = usize::try_from(per_minute).unwrap_or(usize::MAX);
        if self.passed.len() < room {
            self.passed.push_back(now);
            return Ok(());
        }
        let excess = self.passed.len() - room;
        let wait =
            self.passed.get(excess).map_or(WINDOW, |frees| WINDOW.saturating_sub(now.duration_since(*frees)));
        Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// Changes the limit and starts with an empty window.
    pub fn set(&mut self, per_minute: Option<u32>) {
        *self = Self::new(per_minute);
    }

    /// The limit.
    pub fn per_minute(&self) -> Option<u32> {
        self.per_minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sixty_seconds_hold_more_than_the_limit() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut limiter = Limiter::new(Some(2));
        assert_eq!(limiter.take(at(0)), Ok(()));
        assert_eq!(limiter.take(at(10)), Ok(()));
        assert_eq!(limiter.take(at(20)), Err(40));
        assert_eq!(limiter.take(at(59) + Duration::from_millis(500)), Err(1));
        assert_eq!(limiter.take(at(60)), Ok(()));
        assert_eq!(limiter.take(at(61)), Err(9));
    }

    #[test]
    fn without_a_limit_all_pass() {
        let mut limiter = Limiter::new(None);
        let now = Instant::now();
        assert!((0..1000).all(|_| limiter.take(now).is_ok()));
        limiter.set(Some(0));
        assert_eq!(limiter.take(now), Err(60));
    }
}
