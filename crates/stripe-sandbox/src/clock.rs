//! The stand-in's clock: it starts at any time, may run fast or stand still, and can be set forward.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that can run fast.
#[derive(Debug, Clone)]
pub struct Clock {
    /// What it showed at `since`, in seconds since 1970.
    shown: f64,
    since: Instant,
    speed: f64,
    /// Seconds by which the times that clients see are off.
    pub skew: i64,
}

impl Clock {
    /// A clock that starts at that second, or at this machine's time.
    pub fn new(now: Option<i64>, speed: f64) -> Self {
        let shown =
            now.map_or_else(machine_seconds, |seconds| Duration::from_secs(unsigned(seconds)).as_secs_f64());
        Self { shown, since: Instant::now(), speed: checked(speed), skew: 0 }
    }

    /// What it shows, in seconds since 1970.
    pub fn now(&self) -> i64 {
        whole(self.shown + self.since.elapsed().as_secs_f64() * self.speed)
    }

    /// From now on it runs so many times as fast as this machine's clock; 0 stops it.
    pub fn set_speed(&mut self, speed: f64) {
        self.shown += self.since.elapsed().as_secs_f64() * self.speed;
        self.since = Instant::now();
        self.speed = checked(speed);
    }

    /// Sets it forward.
    pub fn advance(&mut self, by: Duration) {
        self.shown += by.as_secs_f64();
    }

    /// How fast it runs.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// How long it takes until it shows that second; `None` if it stands still.
    pub fn until(&self, second: i64) -> Option<Duration> {
        let left = second.saturating_sub(self.now());
        if left <= 0 {
            return Some(Duration::ZERO);
        }
        let seconds = Duration::from_secs(unsigned(left)).as_secs_f64() / self.speed;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// This machine's time, which receivers compare signatures with.
pub fn machine_now() -> i64 {
    whole(machine_seconds())
}

fn machine_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A speed that makes sense: not backwards, and at most a day in a second.
fn checked(speed: f64) -> f64 {
    if speed.is_finite() { speed.clamp(0.0, 86_400.0) } else { 1.0 }
}

fn unsigned(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0)
}

fn whole(seconds: f64) -> i64 {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    i64::try_from(whole).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_still_moves_only_when_it_is_set_forward() {
        let mut clock = Clock::new(Some(1_700_000_000), 0.0);
        assert_eq!((clock.now(), clock.until(1_700_000_001)), (1_700_000_000, None));
        clock.advance(Duration::from_secs(90));
        assert_eq!((clock.now(), clock.until(5)), (1_700_000_090, Some(Duration::ZERO)));
    }

    #[test]
    fn a_fast_clock_needs_less_time() {
        let clock = Clock::new(Some(1_700_000_000), 3600.0);
        let wait = clock.until(clock.now() + 7200).unwrap();
        assert!(wait > Duration::from_millis(1900) && wait <= Duration::from_secs(2), "{wait:?}");
        assert!(Clock::new(None, f64::NAN).speed() > 0.0);
    }
}
