//! When a request is sent again, by Stripe's rules.
//!
//! Stripe's header `Stripe-Should-Retry` decides if it is there. Otherwise an answer is worth another try if it
//! asks to slow down, if another request locked the object, or if the fault is Stripe's. So is a connection that
//! broke: every request of the client reads, or carries an idempotency key.

use std::time::Duration;

/// How often and how soon requests are sent again.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// How often after the first time.
    pub retries_max: u32,
    /// The first wait. It doubles with each further one.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
    /// If Stripe asks for a longer wait than this, the caller decides when to try again.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries_max: 2,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(8),
            patience: Duration::from_secs(10),
        }
    }
}

/// A try that failed, as far as it decides about the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FailedTry {
    /// The HTTP status; nothing if there was no complete answer.
    pub status: Option<u16>,
    /// Stripe's `Stripe-Should-Retry`.
    pub should_retry: Option<bool>,
    /// Whether another request locked the object.
    pub is_lock_timeout: bool,
    /// Stripe's `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl RetryPolicy {
    /// The wait before the retry of this number, from 0 on; `None` if there is none. `random` is from 0 to 1.
    pub(super) fn wait(&self, number: u32, failed: FailedTry, random: f64) -> Option<Duration> {
        let is_worth_it = failed.should_retry.unwrap_or(match failed.status {
            None | Some(429 | 500..) => true,
            Some(409) => failed.is_lock_timeout,
            Some(_) => false,
        });
        if !is_worth_it || number >= self.retries_max {
            return None;
        }
        let asked = failed.retry_after.unwrap_or_default();
        if asked > self.patience {
            return None;
        }
        let full = self.base.saturating_mul(2_u32.saturating_pow(number)).min(self.cap);
        // Between half of it and all of it, so that many clients do not come back together.
        Some(full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0).max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries_max: 3,
        base: Duration::from_millis(500),
        cap: Duration::from_secs(1),
        patience: Duration::from_secs(10),
    };

    fn of(status: u16) -> FailedTry {
        FailedTry { status: Some(status), ..FailedTry::default() }
    }

    #[test]
    fn stripe_decides_and_otherwise_the_status() {
        let is_retried = |failed| POLICY.wait(0, failed, 0.0).is_some();
        for status in [429, 500, 503, 599] {
            assert!(is_retried(of(status)), "{status}");
            assert!(!is_retried(FailedTry { should_retry: Some(false), ..of(status) }), "{status}");
        }
        for status in [301, 400, 401, 402, 403, 404, 409] {
            assert!(!is_retried(of(status)), "{status}");
            assert!(is_retried(FailedTry { should_retry: Some(true), ..of(status) }), "{status}");
        }
        assert!(is_retried(FailedTry { is_lock_timeout: true, ..of(409) }));
        assert!(is_retried(FailedTry::default()), "a broken connection");
    }

    #[test]
    fn waits_double_up_to_a_cap_and_retries_end() {
        let waits = |random| (0..4).map(|number| POLICY.wait(number, of(503), random)).collect::<Vec<_>>();
        let milliseconds = |all: [u64; 3]| {
            all.into_iter().map(|one| Some(Duration::from_millis(one))).chain([None]).collect::<Vec<_>>()
        };
        assert_eq!(waits(1.0), milliseconds([500, 1000, 1000]));
        assert_eq!(waits(0.0), milliseconds([250, 500, 500]));
    }

    #[test]
    fn the_wait_is_at_least_what_stripe_asks_for_unless_that_is_long() {
        let asked = |seconds| FailedTry { retry_after: Some(Duration::from_secs(seconds)), ..of(429) };
        assert_eq!(POLICY.wait(0, asked(4), 0.0), Some(Duration::from_secs(4)));
        assert_eq!(POLICY.wait(0, asked(0), 1.0), Some(Duration::from_millis(500)));
        assert_eq!(POLICY.wait(0, asked(11), 0.0), None);
    }
}
