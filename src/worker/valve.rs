//! How much of one instance's work this process takes on. Pure: it is told the time.
//!
//! A destination that fails again and again for passing reasons is left alone for a while, longer
//! each time, and then tried with a single execution: a circuit with half-open probes. One that asks
//! for less is left alone until then. Holds, which concern all replicas, are the store's.

use crate::domain::delivery::Outcome;
use std::time::{Duration, Instant};

/// Failures in a row after which the destination is left alone.
const FAILURES_MAX: u32 = 5;

/// The first rest; it doubles with each probe that fails.
const REST: Duration = Duration::from_secs(1);

/// The longest rest.
const REST_MAX: Duration = Duration::from_mins(1);

/// How much may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// As much as there is room for.
    All,
    /// A single execution, to see how it fares.
    One,
    /// Nothing.
    None,
}

/// One instance's valve.
#[derive(Debug, Default)]
pub(super) struct Valve {
    failures: u32,
    rests: u32,
    closed_until: Option<Instant>,
    /// The probe that is under way.
    probing: bool,
}

impl Valve {
    /// How much may be claimed now; a single one counts as taken once it is [begun](Self::begin_probe).
    pub(super) fn allowance(&self, now: Instant) -> Allowance {
        if self.closed_until.is_some_and(|until| now < until) || self.probing {
            Allowance::None
        } else if self.rests > 0 {
            Allowance::One
        } else {
            Allowance::All
        }
    }

    /// Says that the single one is being claimed.
    pub(super) fn begin_probe(&mut self) {
        self.probing = true;
    }

    /// Says that it came to its end, or that there was none.
    pub(super) fn end_probe(&mut self) {
        self.probing = false;
    }

    /// Learns from an outcome.
    pub(super) fn learn(&mut self, outcome: &Outcome, now: Instant) {
        match outcome {
            Outcome::Transient { .. } | Outcome::Ambiguous { .. } => self.fail(now),
            Outcome::Throttled { wait, .. } => self.close(now + wait.unwrap_or(REST)),
            // Nothing was asked of the destination, or it is the store that keeps others away.
            Outcome::InDoubt { .. } | Outcome::NeedsOperator(_) => {}
            Outcome::Delivered { .. }
            | Outcome::Skipped { .. }
            | Outcome::Permanent(_)
            | Outcome::Gone(_) => {
                (self.failures, self.rests) = (0, 0);
            }
        }
    }

    fn fail(&mut self, now: Instant) {
        if self.closed_until.is_some_and(|until| now < until) {
            // It had begun before the valve closed, and tells nothing new.
            return;
        }
        self.failures += 1;
        if self.rests > 0 || self.failures >= FAILURES_MAX {
            let rest = REST.saturating_mul(1 << self.rests.min(16)).min(REST_MAX);
            self.rests += 1;
            self.failures = 0;
            self.close(now + rest);
        }
    }

    fn close(&mut self, until: Instant) {
        self.closed_until = self.closed_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Failure;

    fn failed() -> Outcome {
        Outcome::Transient { failure: Failure::local("x", "x"), wait: None }
    }

    fn delivered() -> Outcome {
        Outcome::Skipped { reason: String::new() }
    }

    #[test]
    fn a_few_failures_close_nothing_and_many_in_a_row_do() {
        let (mut valve, now) = (Valve::default(), Instant::now());
        for _ in 0..FAILURES_MAX - 1 {
            valve.learn(&failed(), now);
        }
        valve.learn(&delivered(), now);
        for _ in 0..FAILURES_MAX - 1 {
            valve.learn(&failed(), now);
        }
        assert_eq!(valve.allowance(now), Allowance::All);
        valve.learn(&failed(), now);
        assert_eq!(valve.allowance(now), Allowance::None);
        assert_eq!(valve.allowance(now + REST), Allowance::One);
    }

    #[test]
    fn a_probe_goes_alone_and_its_failure_doubles_the_rest() {
        let (mut valve, mut now) = (Valve::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            valve.learn(&failed(), now);
        }
        for rests in 1..10 {
            let rest = REST.saturating_mul(1 << (rests - 1)).min(REST_MAX);
            assert_eq!(valve.allowance(now + rest.saturating_sub(Duration::from_millis(1))), Allowance::None);
            now += rest;
            assert_eq!(valve.allowance(now), Allowance::One);
            valve.begin_probe();
            assert_eq!(valve.allowance(now), Allowance::None);
            valve.learn(&failed(), now);
            valve.end_probe();
        }
        now += REST_MAX;
        valve.begin_probe();
        valve.learn(&delivered(), now);
        valve.end_probe();
        assert_eq!(valve.allowance(now), Allowance::All);
    }

    #[test]
    fn a_probe_that_told_nothing_is_followed_by_another_one() {
        let (mut valve, now) = (Valve::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            valve.learn(&failed(), now);
        }
        let later = now + REST;
        valve.begin_probe();
        // One that had begun before the valve closed is no word of the probe.
        let waits = Outcome::InDoubt { failure: Failure::local("x", "x"), wait: Duration::ZERO };
        valve.learn(&waits, later);
        assert_eq!(valve.allowance(later), Allowance::None);
        valve.end_probe();
        assert_eq!(valve.allowance(later), Allowance::One);
    }

    #[test]
    fn being_asked_to_wait_closes_until_then() {
        let (mut valve, now) = (Valve::default(), Instant::now());
        let wait = Duration::from_secs(30);
        valve.learn(&Outcome::Throttled { failure: Failure::local("x", "x"), wait: Some(wait) }, now);
        assert_eq!(valve.allowance(now), Allowance::None);
        assert_eq!(valve.allowance(now + wait), Allowance::All);
    }
}
