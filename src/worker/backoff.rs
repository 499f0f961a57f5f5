//! The wait before the next attempt. Pure.

use crate::config::RetrySettings;
use std::time::Duration;

/// The wait after the `failed`th failed attempt: the base, doubled with each further failure up to the cap.
/// `jitter` (0 to 1) makes it up to a quarter longer, so that many failures are not retried at once. Jitter
/// never shortens it, so the schedule spans at least its nominal time.
pub fn wait_before(retry: &RetrySettings, failed: u32, jitter: f64) -> Duration {
    let doublings = failed.saturating_sub(1).min(31);
    let wait = retry.base.saturating_mul(1 << doublings).min(retry.cap);
    wait.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let retry = RetrySettings::default();
        let seconds: Vec<_> =
            [1, 2, 3, 11, 12, 23].map(|failed| wait_before(&retry, failed, 0.0).as_secs()).into();
        assert_eq!(seconds, [5, 10, 20, 5120, 7200, 7200]);
        assert_eq!(wait_before(&retry, u32::MAX, 0.0), retry.cap);
    }

    #[test]
    fn the_default_schedule_spans_more_than_a_day() {
        let retry = RetrySettings::default();
        let total: Duration = (1..retry.attempts_max).map(|failed| wait_before(&retry, failed, 0.0)).sum();
        assert!(total >= Duration::from_hours(24), "{total:?}");
    }

    #[test]
    fn jitter_only_lengthens_and_by_a_quarter_at_most() {
        let retry = RetrySettings::default();
        assert_eq!(wait_before(&retry, 1, 1.0), Duration::from_millis(6250));
        assert_eq!(wait_before(&retry, 1, 9.0), Duration::from_millis(6250));
    }
}
