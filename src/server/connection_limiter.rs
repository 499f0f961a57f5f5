//! Limits the number of connections, and reports pressure when most of them are in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Limits the number of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConnectionLimiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    permits: Arc<Semaphore>,
    max: usize,
    /// Pressure starts at seven eighths and ends at three quarters. With one threshold it could start
    /// again, and wake all connections, with every connection that ends.
    is_under_pressure: AtomicBool,
    pressure_started: Notify,
}

/// The permit of one connection; dropping it releases the slot.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: ConnectionLimiter,
    permit: Option<OwnedSemaphorePermit>,
}

impl ConnectionLimiter {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Inner {
            permits: Arc::new(Semaphore::new(max)),
            max,
            is_under_pressure: AtomicBool::new(false),
            pressure_started: Notify::new(),
        }))
    }

    /// Whether most connections are in use, so that timeouts are short.
    pub fn is_under_pressure(&self) -> bool {
        self.0.is_under_pressure.load(Ordering::Relaxed)
    }

    /// Resolves when pressure starts the next time.
    pub(super) fn pressure_started(&self) -> Notified<'_> {
        self.0.pressure_started.notified()
    }

    /// Waits for a permit.
    pub(super) async fn acquire(&self) -> ConnectionPermit {
        // The semaphore is never closed; without a permit there would only be one connection too many.
        let permit = self.0.permits.clone().acquire_owned().await.ok();
        if self.in_use() >= self.0.max - self.0.max / 8 {
            self.start_pressure();
        }
        ConnectionPermit { limiter: self.clone(), permit }
    }

    /// Starts pressure, which ends when enough connections have ended.
    pub(super) fn start_pressure(&self) {
        if !self.0.is_under_pressure.swap(true, Ordering::Relaxed) {
            self.0.pressure_started.notify_waiters();
        }
    }

    fn in_use(&self) -> usize {
        self.0.max.saturating_sub(self.0.permits.available_permits())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        drop(self.permit.take());
        let ConnectionLimiter(inner) = &self.limiter;
        if self.limiter.in_use() <= inner.max - inner.max / 4 {
            inner.is_under_pressure.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pressure_lasts_from_seven_eighths_down_to_three_quarters() {
        let limiter = ConnectionLimiter::new(16);
        let mut permits = Vec::new();
        for in_use in 1..=14 {
            assert!(!limiter.is_under_pressure(), "{in_use}");
            permits.push(limiter.acquire().await);
        }
        assert!(limiter.is_under_pressure());
        permits.pop();
        assert!(limiter.is_under_pressure(), "13 are still more than three quarters");
        permits.pop();
        assert!(!limiter.is_under_pressure());
    }

    #[tokio::test]
    async fn the_start_of_pressure_is_notified_once() {
        let limiter = ConnectionLimiter::new(16);
        let first = limiter.pressure_started();
        limiter.start_pressure();
        first.await;
        let second = limiter.pressure_started();
        limiter.start_pressure();
        assert!(futures_util::FutureExt::now_or_never(second).is_none());
    }
}
