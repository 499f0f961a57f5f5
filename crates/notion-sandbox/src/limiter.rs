//! The rate limit: a number of requests in each window of 60 seconds.

use std::time::{Duration, Instant};

/// Counts the accepted requests of the present window; rejected ones do not count. The first request begins
/// the first window, and the others follow it without a gap.
#[derive(Debug)]
pub struct Limiter {
    per_minute: Option<u32>,
    began: Option<Instant>,
    passed: u32,
}

const WINDOW: Duration = Duration::from_mins(1);

impl Limiter {
    /// Accepts this many requests per minute; `None` sets no limit.
    pub fn new(per_minute: Option<u32>) -> Self {
        Self { per_minute, began: None, passed: 0 }
    }

    /// Accepts a request, or returns the number of whole seconds after which to retry.
    pub fn take(&mut self, now: Instant) -> Result<(), u64> {
        let Some(per_minute) = self.per_minute else { return Ok(()) };
        let mut began = *self.began.get_or_insert(now);
        while now.saturating_duration_since(began) >= WINDOW {
            began += WINDOW;
            self.passed = 0;
        }
        self.began = Some(began);
        if self.passed < per_minute {
            self.passed += 1;
            return Ok(());
        }
        let wait = WINDOW.saturating_sub(now.saturating_duration_since(began));
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
    fn no_window_holds_more_than_the_limit() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut limiter = Limiter::new(Some(2));
        assert_eq!(limiter.take(at(0)), Ok(()));
        assert_eq!(limiter.take(at(50)), Ok(()));
        assert_eq!(limiter.take(at(51)), Err(9));
        assert_eq!(limiter.take(at(59) + Duration::from_millis(500)), Err(1));
        // The windows are fixed: both of the next one may follow at once.
        assert_eq!((limiter.take(at(60)), limiter.take(at(60))), (Ok(()), Ok(())));
        assert_eq!(limiter.take(at(61)), Err(59));
        assert_eq!(limiter.take(at(200)), Ok(()));
        assert_eq!((limiter.take(at(201)), limiter.take(at(201))), (Ok(()), Err(39)));
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
