//! The rate limits: a number of requests of the connection in each window of 60 seconds, and one of all
//! connections of the workspace in a window of its own.

use std::time::{Duration, Instant};

/// Counts the accepted requests of the present window; rejected ones do not count. The first request begins
/// the first window, and the others follow it without a gap.
#[derive(Debug)]
pub struct Limiter {
    most: Option<u32>,
    window: Duration,
    began: Option<Instant>,
    passed: u32,
}

/// Both limits. A request must keep to each.
#[derive(Debug)]
pub struct Limits {
    /// The connection's own.
    pub connection: Limiter,
    /// That of the workspace.
    pub workspace: Limiter,
}

/// The limit that a request exceeds, with the number of whole seconds after which to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// The connection's own.
    Connection(u64),
    /// That of the workspace.
    Workspace(u64),
}

/// The window of a connection's limit.
pub const WINDOW: Duration = Duration::from_mins(1);

impl Limits {
    /// The connection's limit, and none of the workspace.
    pub fn new(per_minute: Option<u32>) -> Self {
        Self { connection: Limiter::new(per_minute, WINDOW), workspace: Limiter::new(None, WINDOW) }
    }

    /// Accepts a request, unless it exceeds a limit.
    pub fn take(&mut self, now: Instant) -> Result<(), Exceeded> {
        self.connection.check(now).map_err(Exceeded::Connection)?;
        self.workspace.check(now).map_err(Exceeded::Workspace)?;
        self.connection.count(1);
        self.workspace.count(1);
        Ok(())
    }
}

impl Limiter {
    /// Accepts this many requests in each window; `None` sets no limit.
    pub fn new(most: Option<u32>, window: Duration) -> Self {
        Self { most, window: window.max(Duration::from_secs(1)), began: None, passed: 0 }
    }

    /// Whether a request can be accepted; if not, the number of whole seconds after which to retry.
    fn check(&mut self, now: Instant) -> Result<(), u64> {
        let Some(most) = self.most else { return Ok(()) };
        let mut began = *self.began.get_or_insert(now);
        while now.saturating_duration_since(began) >= self.window {
            began += self.window;
            self.passed = 0;
        }
        self.began = Some(began);
        if self.passed < most {
            return Ok(());
        }
        let wait = self.window.saturating_sub(now.saturating_duration_since(began));
        Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// Counts requests in the present window.
    pub fn count(&mut self, requests: u32) {
        self.passed = self.passed.saturating_add(requests);
    }

    /// The limit.
    pub fn most(&self) -> Option<u32> {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(limiter: &mut Limiter, now: Instant) -> Result<(), u64> {
        limiter.check(now)?;
        limiter.count(1);
        Ok(())
    }

    #[test]
    fn no_window_holds_more_than_the_limit() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut limiter = Limiter::new(Some(2), WINDOW);
        assert_eq!(take(&mut limiter, at(0)), Ok(()));
        assert_eq!(take(&mut limiter, at(50)), Ok(()));
        assert_eq!(take(&mut limiter, at(51)), Err(9));
        assert_eq!(take(&mut limiter, at(59) + Duration::from_millis(500)), Err(1));
        // The windows are fixed: both of the next one may follow at once.
        assert_eq!((take(&mut limiter, at(60)), take(&mut limiter, at(60))), (Ok(()), Ok(())));
        assert_eq!(take(&mut limiter, at(61)), Err(59));
        assert_eq!(take(&mut limiter, at(200)), Ok(()));
        assert_eq!((take(&mut limiter, at(201)), take(&mut limiter, at(201))), (Ok(()), Err(39)));
    }

    #[test]
    fn without_a_limit_all_pass() {
        let mut limiter = Limiter::new(None, WINDOW);
        let now = Instant::now();
        assert!((0..1000).all(|_| take(&mut limiter, now).is_ok()));
        assert_eq!(take(&mut Limiter::new(Some(0), WINDOW), now), Err(60));
    }

    #[test]
    fn a_request_beyond_the_workspaces_limit_does_not_count_for_the_connection() {
        let start = Instant::now();
        let mut limits = Limits::new(Some(2));
        limits.workspace = Limiter::new(Some(3), 2 * WINDOW);
        assert_eq!(limits.take(start), Ok(()));
        // Another connection.
        limits.workspace.count(2);
        assert_eq!(limits.take(start), Err(Exceeded::Workspace(120)));
        limits.workspace = Limiter::new(None, WINDOW);
        assert_eq!((limits.take(start), limits.take(start)), (Ok(()), Err(Exceeded::Connection(60))));
    }
}
