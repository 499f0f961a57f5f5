//! A circuit breaker for each instance of this process. Pure: the time is passed in.
//!
//! | state | claims | becomes |
//! |---|---|---|
//! | closed | without a limit of its own | open, after [`FAILURES_MAX`] failures in a row |
//! | open | none | half-open, after a rest |
//! | half-open | one execution at a time, the trial | closed if the trial succeeds; open, for twice as long, if it fails |
//!
//! Only temporary failures count. If a destination asks for fewer calls, the breaker is open until the time
//! that it names, and closed afterwards. Pauses apply to all replicas and are kept in the store.

use crate::domain::delivery::Outcome;
use std::time::{Duration, Instant};

/// Failures in a row after which the breaker opens.
const FAILURES_MAX: u32 = 5;

/// The first rest; it doubles with each trial that fails.
const REST: Duration = Duration::from_secs(1);

/// The longest rest.
const REST_MAX: Duration = Duration::from_mins(1);

/// How much may be claimed for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// The breaker is closed: as much as there are slots.
    All,
    /// The breaker is half-open: the trial.
    One,
    /// The breaker is open, or half-open with its trial under way.
    None,
}

/// The circuit breaker of one instance.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    /// Failures in a row since the last success or rest.
    failures: u32,
    /// Rests in a row; more than none means half-open once the last one is over.
    rests: u32,
    open_until: Option<Instant>,
    trial_runs: bool,
}

impl CircuitBreaker {
    /// How much may be claimed now. The trial counts as taken once it is [begun](Self::begin_trial).
    pub(super) fn allowance(&self, now: Instant) -> Allowance {
        if self.is_open(now) || self.trial_runs {
            Allowance::None
        } else if self.rests > 0 {
            Allowance::One
        } else {
            Allowance::All
        }
    }

    /// Call this before the trial is claimed.
    pub(super) fn begin_trial(&mut self) {
        self.trial_runs = true;
    }

    /// Call this when the trial has ended, or if there was nothing to claim for it.
    pub(super) fn end_trial(&mut self) {
        self.trial_runs = false;
    }

    /// Takes the outcome of an attempt into account.
    pub(super) fn record(&mut self, outcome: &Outcome, now: Instant) {
        match outcome {
            Outcome::Transient { .. } | Outcome::Ambiguous { .. } => self.record_failure(now),
            Outcome::Throttled { wait, .. } => self.open(now + wait.unwrap_or(REST)),
            // The destination was not asked to write, or the store pauses it on all replicas.
            Outcome::InDoubt { .. } | Outcome::NeedsOperator(_) | Outcome::Blocked { .. } => {}
            Outcome::Delivered { .. }
            | Outcome::Skipped { .. }
            | Outcome::Permanent(_)
            | Outcome::Gone(_) => (self.failures, self.rests) = (0, 0),
        }
    }

    fn record_failure(&mut self, now: Instant) {
        if self.is_open(now) {
            // This attempt began before the breaker opened and shows nothing new.
            return;
        }
        self.failures += 1;
        if self.rests > 0 || self.failures >= FAILURES_MAX {
            let rest = REST.saturating_mul(1 << self.rests.min(16)).min(REST_MAX);
            self.rests += 1;
            self.failures = 0;
            self.open(now + rest);
        }
    }

    fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    fn open(&mut self, until: Instant) {
        self.open_until = self.open_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Failure;

    fn failed() -> Outcome {
        Outcome::Transient { failure: Failure::local("x", "x"), wait: None }
    }

    fn succeeded() -> Outcome {
        Outcome::Skipped { reason: String::new() }
    }

    fn record_failures(breaker: &mut CircuitBreaker, count: u32, now: Instant) {
        for _ in 0..count {
            breaker.record(&failed(), now);
        }
    }

    #[test]
    fn only_many_failures_in_a_row_open_it() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        record_failures(&mut breaker, FAILURES_MAX - 1, now);
        breaker.record(&succeeded(), now);
        record_failures(&mut breaker, FAILURES_MAX - 1, now);
        assert_eq!(breaker.allowance(now), Allowance::All);
        breaker.record(&failed(), now);
        assert_eq!(breaker.allowance(now), Allowance::None);
        assert_eq!(breaker.allowance(now + REST), Allowance::One);
    }

    #[test]
    fn a_trial_runs_alone_and_its_failure_doubles_the_rest() {
        let (mut breaker, mut now) = (CircuitBreaker::default(), Instant::now());
        record_failures(&mut breaker, FAILURES_MAX, now);
        for rests in 1..10 {
            let rest = REST.saturating_mul(1 << (rests - 1)).min(REST_MAX);
            let just_before = now + rest.saturating_sub(Duration::from_millis(1));
            assert_eq!(breaker.allowance(just_before), Allowance::None);
            now += rest;
            assert_eq!(breaker.allowance(now), Allowance::One);
            breaker.begin_trial();
            assert_eq!(breaker.allowance(now), Allowance::None);
            breaker.record(&failed(), now);
            breaker.end_trial();
        }
        now += REST_MAX;
        breaker.begin_trial();
        breaker.record(&succeeded(), now);
        breaker.end_trial();
        assert_eq!(breaker.allowance(now), Allowance::All);
    }

    #[test]
    fn a_trial_that_tells_nothing_is_followed_by_another() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        record_failures(&mut breaker, FAILURES_MAX, now);
        let later = now + REST;
        breaker.begin_trial();
        let waits = Outcome::InDoubt { failure: Failure::local("x", "x"), wait: Duration::ZERO };
        breaker.record(&waits, later);
        assert_eq!(breaker.allowance(later), Allowance::None);
        breaker.end_trial();
        assert_eq!(breaker.allowance(later), Allowance::One);
    }

    #[test]
    fn an_attempt_that_began_before_it_opened_does_not_prolong_the_rest() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        record_failures(&mut breaker, 2 * FAILURES_MAX, now);
        assert_eq!(breaker.allowance(now + REST), Allowance::One);
    }

    #[test]
    fn a_request_to_wait_opens_it_until_then_and_needs_no_trial() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        let wait = Duration::from_secs(30);
        breaker.record(&Outcome::Throttled { failure: Failure::local("x", "x"), wait: Some(wait) }, now);
        assert_eq!(breaker.allowance(now), Allowance::None);
        assert_eq!(breaker.allowance(now + wait), Allowance::All);
    }
}
