//! Decides what happens to an execution after an attempt. Pure.
//!
//! | outcome of the attempt | execution | counts as a failed attempt | a write |
//! |---|---|---|---|
//! | delivered | `success` | – | is settled |
//! | skipped | `skipped` | – | is settled |
//! | permanent, gone | `failed` | yes | as before |
//! | transient | `pending` after a wait that grows, at least as long as the destination asked for; `failed` when the attempts are used up | yes | as before |
//! | throttled | `pending` for as long as the destination asked | no | as before |
//! | ambiguous | `pending`: the first time due at once, to search for the page, then after a wait that grows; `failed` when the attempts and the searches are used up | yes | is in doubt |
//! | in doubt | `pending` until an earlier write can no longer land | no | as before |
//! | needs the operator | `pending`, due as soon as its instance is resumed | no | as before |
//! | blocked | `pending`: this delivery needs the operator, others continue | no | as before |
//! | interrupted by shutdown | `pending`, due at once | no | is in doubt |
//!
//! While a write is in doubt, an execution gets [`SEARCHES_MAX`] more attempts. These only search for what was
//! written, so that no delivered event ends as `failed`.

use super::backoff::wait_before;
use crate::config::RetrySettings;
use crate::domain::delivery::{Failure, Outcome};
use crate::domain::execution::AttemptOutcome;
use crate::store::{Claimed, CompletedExecution, Conclusion, EndedAttempt, Settlement};
use std::time::Duration;

/// Attempts after the last one that may write. They only search for what was written.
const SEARCHES_MAX: u32 = 3;

/// The word for an attempt that only the operator can help.
pub(super) const NEEDS_OPERATOR: &str = AttemptOutcome::NeedsOperator.as_str();

/// The shortest wait if a destination asks for fewer calls.
const THROTTLED_WAIT_MIN: Duration = Duration::from_millis(250);

/// Completes an execution after this outcome of an attempt. `jitter` is a random number from 0 to 1.
pub fn conclude(
    claimed: &Claimed,
    outcome: Outcome,
    duration: Duration,
    retry: &RetrySettings,
    jitter: f64,
) -> CompletedExecution {
    let policy = Policy { claimed, retry, jitter };
    let word = word(&outcome);
    let came_through =
        !matches!(outcome, Outcome::InDoubt { .. } | Outcome::Throttled { .. } | Outcome::Blocked { .. });
    let (conclusion, settlement, detail) = match outcome {
        Outcome::Delivered { remote, status, request_id, left_out, .. } => {
            let detail = Detail::answer(status, request_id, &left_out);
            (Conclusion::Success(remote), Settlement::Settled, detail)
        }
        Outcome::Skipped { reason } => (Conclusion::Skipped, Settlement::Settled, Detail::skipped(reason)),
        Outcome::Permanent(failure) | Outcome::Gone(failure) => {
            (Conclusion::Failed, Settlement::AsBefore, failure.into())
        }
        Outcome::Transient { failure, wait } => {
            (policy.retry_or_fail(wait.unwrap_or_default()), Settlement::AsBefore, failure.into())
        }
        Outcome::Throttled { failure, wait } => {
            let wait = wait.unwrap_or_default().max(THROTTLED_WAIT_MIN);
            (postpone(wait), Settlement::AsBefore, failure.into())
        }
        Outcome::Ambiguous { failure, since } => {
            (policy.search_or_fail(), Settlement::InDoubt { since }, failure.into())
        }
        Outcome::InDoubt { failure, wait } => (postpone(wait), Settlement::AsBefore, failure.into()),
        Outcome::NeedsOperator(failure) => (postpone(Duration::ZERO), Settlement::AsBefore, failure.into()),
        Outcome::Blocked { failure, wait } => {
            // No pause shows the remedy.
            let message = failure.to_string();
            (postpone(wait), Settlement::AsBefore, Failure { message, ..failure }.into())
        }
    };
    CompletedExecution { attempt: detail.of(claimed, word, duration), conclusion, settlement, came_through }
}

/// Completes an execution whose attempt a shutdown interrupted. This does not count as a failure.
pub(super) fn interrupted(claimed: &Claimed, duration: Duration) -> CompletedExecution {
    let detail = Detail {
        class: Some("interrupted".to_owned()),
        message: Some(
            "the worker was stopped during this attempt; the execution is due again at once".to_owned(),
        ),
        ..Detail::default()
    };
    CompletedExecution {
        attempt: detail.of(claimed, AttemptOutcome::Interrupted.as_str(), duration),
        conclusion: postpone(Duration::ZERO),
        settlement: Settlement::InDoubt { since: Duration::ZERO },
        came_through: false,
    }
}

/// An attempt that delivered the newest state of its lane's object, or found it delivered. If the
/// destination was called, there is a status and its id of the request.
pub(super) fn delivered_in_lane(
    claimed: &Claimed,
    status: Option<u16>,
    request_id: Option<String>,
    left_out: &[String],
    duration: Duration,
) -> EndedAttempt {
    Detail::answer(status, request_id, left_out).of(claimed, AttemptOutcome::Delivered.as_str(), duration)
}

/// An attempt in which the destination refused the newest state of its lane's object for good.
pub(super) fn refused_in_lane(claimed: &Claimed, failure: Failure, duration: Duration) -> EndedAttempt {
    Detail::from(failure).of(claimed, AttemptOutcome::Permanent.as_str(), duration)
}

/// Postpones an execution for a reason outside it: no attempt is counted.
fn postpone(wait: Duration) -> Conclusion {
    Conclusion::Postponed { wait, counts: false }
}

/// What decides whether a failed attempt is repeated.
struct Policy<'a> {
    claimed: &'a Claimed,
    retry: &'a RetrySettings,
    jitter: f64,
}

impl Policy<'_> {
    /// After a failure that wrote nothing: again after the wait of the retry schedule, or after the one that
    /// the destination asked for if that is longer.
    fn retry_or_fail(&self, asked: Duration) -> Conclusion {
        let searches = if self.is_in_doubt() { SEARCHES_MAX } else { 0 };
        if self.has_used_up(searches) {
            return Conclusion::Failed;
        }
        Conclusion::Postponed { wait: self.wait().max(asked), counts: true }
    }

    /// After a write of unknown outcome. The first time, the next attempt searches for it at once; only the
    /// search shows whether to wait.
    fn search_or_fail(&self) -> Conclusion {
        if self.has_used_up(SEARCHES_MAX) {
            return Conclusion::Failed;
        }
        let wait = if self.is_in_doubt() { self.wait() } else { Duration::ZERO };
        Conclusion::Postponed { wait, counts: true }
    }

    /// The number of failed attempts, including this one.
    fn failed(&self) -> u32 {
        self.claimed.attempts.saturating_add(1)
    }

    fn has_used_up(&self, searches: u32) -> bool {
        self.failed() >= self.retry.attempts_max.saturating_add(searches)
    }

    fn wait(&self) -> Duration {
        wait_before(self.retry, self.failed(), self.jitter)
    }

    fn is_in_doubt(&self) -> bool {
        self.claimed.in_doubt.is_some()
    }
}

/// The details of an outcome in the list of attempts.
#[derive(Default)]
struct Detail {
    class: Option<String>,
    message: Option<String>,
    remedy: Option<String>,
    status: Option<u16>,
    request_id: Option<String>,
}

impl Detail {
    fn answer(status: Option<u16>, request_id: Option<String>, left_out: &[String]) -> Self {
        Self { status, request_id, message: non_empty(left_out.join("; ")), ..Self::default() }
    }

    fn skipped(reason: String) -> Self {
        Self { class: Some("skipped".to_owned()), message: non_empty(reason), ..Self::default() }
    }

    fn of(self, claimed: &Claimed, outcome: &'static str, duration: Duration) -> EndedAttempt {
        EndedAttempt {
            execution: claimed.id,
            fence: claimed.fence,
            duration,
            outcome,
            response_code: self.status,
            error_class: self.class,
            message: self.message,
            remedy: self.remedy,
            request_id: self.request_id,
        }
    }
}

impl From<Failure> for Detail {
    fn from(failure: Failure) -> Self {
        Self {
            class: Some(failure.class),
            message: non_empty(failure.message),
            remedy: failure.remedy,
            status: failure.code,
            request_id: failure.request_id,
        }
    }
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The word for an outcome in the list of attempts, in metrics and in the log.
const fn word(outcome: &Outcome) -> &'static str {
    let outcome = match outcome {
        Outcome::Delivered { .. } => AttemptOutcome::Delivered,
        Outcome::Skipped { .. } => AttemptOutcome::Skipped,
        Outcome::Permanent(_) => AttemptOutcome::Permanent,
        Outcome::Gone(_) => AttemptOutcome::Gone,
        Outcome::Transient { .. } => AttemptOutcome::Transient,
        Outcome::Throttled { .. } => AttemptOutcome::Throttled,
        Outcome::Ambiguous { .. } => AttemptOutcome::Ambiguous,
        Outcome::InDoubt { .. } => AttemptOutcome::InDoubt,
        Outcome::NeedsOperator(_) => AttemptOutcome::NeedsOperator,
        Outcome::Blocked { .. } => AttemptOutcome::Blocked,
    };
    outcome.as_str()
}
