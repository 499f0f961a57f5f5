//! A circuit breaker for each instance of this process. Pure: the time is passed in.
//!
//! | state | claims | becomes |
//! |---|---|---|
//! | closed | without a limit of its own | open, after [`FAILURES_MAX`] failures in a row |
//! | open | none | half-open, after a rest |
//! | half-open | one execution at a time, the trial | closed if the trial succeeds; open, for twice as long, if it fails |
//!
//! A trial may be a retry of what fails again and again. If one fails, new work is still tried: it need not wait
//! for what is wrong with an old execution. A trial of new work that fails makes both wait.
//!
//! Only temporary failures count, and only those of attempts that were claimed after the breaker opened last: slow
//! attempts of a burst make no rest longer. If a destination asks for fewer calls, the breaker is open until the time
//! that it names, and closed afterwards. Pauses apply to all replicas and are kept in the store.

use crate::domain::delivery::{Failure, Outcome};
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
    /// The breaker is open because retries failed: a trial of new work.
    OneFresh,
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
    /// Until when new work is not tried either.
    fresh_until: Option<Instant>,
    trial_runs: bool,
    /// When it opened last.
    opened_at: Option<Instant>,
    /// Since when it is not closed, and why it opened last.
    opened: Option<(Instant, String)>,
}

/// Why and for how long nothing is delivered, as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rest {
    /// The time until the next trial; none while it runs.
    pub(super) left: Duration,
    /// The time until new work is tried, which may be sooner.
    pub(super) fresh_left: Duration,
    /// The time since it opened.
    pub(super) lasts: Duration,
    /// What it rests after, such as `repeated 502`.
    pub(super) after: String,
}

impl CircuitBreaker {
    /// How much may be claimed now. The trial counts as taken once it is [begun](Self::begin_trial).
    pub(super) fn allowance(&self, now: Instant) -> Allowance {
        if self.trial_runs {
            Allowance::None
        } else if self.is_open(now) {
            let waits = self.rests == 0 || self.fresh_until.is_some_and(|until| now < until);
            if waits { Allowance::None } else { Allowance::OneFresh }
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

    /// The rest, if there is one. A half-open breaker without a trial has nothing to deliver, so it makes nothing wait.
    pub(super) fn rest(&self, now: Instant) -> Option<Rest> {
        let (since, after) = self.opened.as_ref()?;
        let left = |until: Option<Instant>| {
            until
                .filter(|_| !self.trial_runs)
                .map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
        };
        (self.trial_runs || self.is_open(now)).then(|| Rest {
            left: left(self.open_until),
            fresh_left: left(self.fresh_until),
            lasts: now.saturating_duration_since(*since),
            after: after.clone(),
        })
    }

    /// Takes the outcome of an attempt into account, which was claimed at `leased`.
    pub(super) fn record(&mut self, outcome: &Outcome, is_retry: bool, leased: Instant, now: Instant) {
        match outcome {
            Outcome::Transient { failure, .. } | Outcome::Ambiguous { failure, .. } => {
                if self.opened_at.is_none_or(|opened| leased > opened) {
                    self.record_failure(failure, is_retry, now);
                }
            }
            Outcome::Throttled { wait, .. } => {
                self.begin_rest("a request to slow down".to_owned(), now);
                self.open(now, now + wait.unwrap_or(REST));
                self.fresh_until = self.open_until;
            }
            // The destination was not asked to write, or the store pauses it on all replicas.
            Outcome::InDoubt { .. } | Outcome::NeedsOperator(_) | Outcome::Blocked { .. } => {}
            Outcome::Delivered { .. }
            | Outcome::Skipped { .. }
            | Outcome::Permanent(_)
            | Outcome::Gone(_) => {
                (self.failures, self.rests) = (0, 0);
                // A retry may have opened it, and new work has shown that the destination works.
                if self.fresh_until.is_none_or(|until| until <= now) {
                    self.open_until = None;
                }
            }
        }
    }

    fn record_failure(&mut self, failure: &Failure, is_retry: bool, now: Instant) {
        self.failures += 1;
        if self.rests > 0 || self.failures >= FAILURES_MAX {
            let rest = REST.saturating_mul(1 << self.rests.min(16)).min(REST_MAX);
            let is_trial_of_old = is_retry && self.rests > 0;
            let what = failure.code.map_or_else(|| failure.class.clone(), |code| code.to_string());
            self.begin_rest(format!("repeated {what}"), now);
            self.rests += 1;
            self.failures = 0;
            self.open(now, now + rest);
            self.fresh_until = if is_trial_of_old { Some(now + REST) } else { self.open_until };
        }
    }

    /// Notes why it opens, and since when it is not closed.
    fn begin_rest(&mut self, after: String, now: Instant) {
        let is_closed = self.rests == 0 && !self.is_open(now);
        let since = self.opened.as_ref().filter(|_| !is_closed).map_or(now, |(since, _)| *since);
        self.opened = Some((since, after));
    }

    fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    fn open(&mut self, now: Instant, until: Instant) {
        self.opened_at = Some(now);
        self.open_until = self.open_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Outcome {
        Outcome::Transient { failure: Failure::local("x", "x"), wait: None }
    }

    fn succeeded() -> Outcome {
        Outcome::Skipped { reason: String::new() }
    }

    fn record_failures(breaker: &mut CircuitBreaker, count: u32, now: Instant) {
        for _ in 0..count {
            breaker.record(&failed(), false, now, now);
        }
    }

    #[test]
    fn only_many_failures_in_a_row_open_it() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        record_failures(&mut breaker, FAILURES_MAX - 1, now);
        breaker.record(&succeeded(), false, now, now);
        record_failures(&mut breaker, FAILURES_MAX - 1, now);
        assert_eq!(breaker.allowance(now), Allowance::All);
        breaker.record(&failed(), false, now, now);
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
            breaker.record(&failed(), false, now, now);
            breaker.end_trial();
        }
        now += REST_MAX;
        breaker.begin_trial();
        breaker.record(&succeeded(), false, now, now);
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
        breaker.record(&waits, false, later, later);
        assert_eq!(breaker.allowance(later), Allowance::None);
        breaker.end_trial();
        assert_eq!(breaker.allowance(later), Allowance::One);
    }

    #[test]
    fn an_attempt_that_began_before_it_opened_does_not_prolong_the_rest() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        record_failures(&mut breaker, 2 * FAILURES_MAX, now);
        assert_eq!(breaker.allowance(now + REST), Allowance::One);
        let later = now + REST;
        breaker.begin_trial();
        for _ in 0..5 {
            breaker.record(&failed(), false, now, later);
        }
        assert!(!breaker.is_open(later), "only the trial counts");
        breaker.record(&failed(), false, later, later);
        breaker.end_trial();
        assert_eq!(breaker.open_until, Some(later + 2 * REST));
    }

    #[test]
    fn a_request_to_wait_opens_it_until_then_and_needs_no_trial() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        let wait = Duration::from_secs(30);
        breaker.record(
            &Outcome::Throttled { failure: Failure::local("x", "x"), wait: Some(wait) },
            false,
            now,
            now,
        );
        assert_eq!(breaker.allowance(now), Allowance::None);
        assert_eq!(breaker.allowance(now + wait), Allowance::All);
    }

    #[test]
    fn a_failed_trial_of_a_retry_does_not_keep_new_work_waiting() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        record_failures(&mut breaker, FAILURES_MAX, now);
        let mut now = now + REST;
        for _ in 0..6 {
            assert_eq!(breaker.allowance(now), Allowance::One);
            breaker.begin_trial();
            breaker.record(&failed(), true, now, now);
            breaker.end_trial();
            assert_eq!(breaker.allowance(now), Allowance::None, "not at once");
            now = breaker.open_until.expect("open");
        }
        breaker.begin_trial();
        breaker.record(&failed(), true, now, now);
        breaker.end_trial();
        now += REST;
        assert_eq!(breaker.allowance(now), Allowance::OneFresh);
        breaker.begin_trial();
        breaker.record(&failed(), false, now, now);
        breaker.end_trial();
        assert_eq!(breaker.allowance(now + REST), Allowance::None, "new work failed too");
        now = breaker.open_until.expect("open");
        breaker.begin_trial();
        breaker.record(&failed(), true, now, now);
        breaker.end_trial();
        now += REST;
        breaker.begin_trial();
        breaker.record(&succeeded(), false, now, now);
        breaker.end_trial();
        assert_eq!(breaker.allowance(now), Allowance::All, "new work shows that it works");
    }

    #[test]
    fn a_rest_says_how_long_it_lasts_and_what_it_comes_after() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        assert_eq!(breaker.rest(now), None);
        let failed = Failure { code: Some(502), ..Failure::local("bad_gateway", "x") };
        for _ in 0..FAILURES_MAX {
            breaker.record(&Outcome::Transient { failure: failed.clone(), wait: None }, false, now, now);
        }
        let rest = breaker.rest(now).expect("open");
        assert_eq!((rest.left, rest.lasts, rest.after.as_str()), (REST, Duration::ZERO, "repeated 502"));
        assert_eq!(breaker.rest(now + 2 * REST), None, "nothing waits for it");
        breaker.begin_trial();
        let half_open = breaker.rest(now + 2 * REST).expect("a trial");
        assert_eq!((half_open.left, half_open.lasts), (Duration::ZERO, 2 * REST));
        breaker.record(&succeeded(), false, now + 2 * REST, now + 2 * REST);
        breaker.end_trial();
        assert_eq!(breaker.rest(now + 2 * REST), None);
    }

    #[test]
    fn new_work_is_tried_sooner_than_retries_that_failed() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        record_failures(&mut breaker, FAILURES_MAX, now);
        let now = now + 4 * REST;
        breaker.begin_trial();
        breaker.record(&failed(), true, now, now);
        breaker.end_trial();
        let rest = breaker.rest(now).expect("open");
        assert_eq!((rest.left, rest.fresh_left), (2 * REST, REST));
    }
}
