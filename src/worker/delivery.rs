//! One execution from its claim to its verdict.

use super::backoff::wait_before;
use super::memory::StoredMemory;
use crate::config::RetrySettings;
use crate::destinations::{Delivery, Instance};
use crate::domain::delivery::{Failure, Outcome};
use crate::store::{Claimed, Conclusion, Finished, Settlement, Store};
use futures_util::FutureExt;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

/// The longest a try may take, whatever the destination does: it may call more than once.
const TRY_MAX: Duration = Duration::from_secs(150);

/// How soon to try again what only the operator can mend.
const OPERATOR_WAIT: Duration = Duration::from_secs(30);

/// How long to wait where a destination asks for less without saying for how long.
const THROTTLE_WAIT: Duration = Duration::from_secs(10);

/// Hands executions to their destinations.
pub(super) struct Deliverer {
    instances: HashMap<String, Instance>,
    retry: RetrySettings,
    store: Store,
}

impl Deliverer {
    pub(super) fn new(instances: Vec<Instance>, retry: RetrySettings, store: Store) -> Self {
        let instances = instances
            .into_iter()
            .map(|instance| (instance.subscription.destination.clone(), instance))
            .collect();
        Self { instances, retry, store }
    }

    /// Tries once and says what becomes of the execution. The lease was asked for at `leased`. Neither a panic nor a destination that
    /// never answers gets any further than here.
    ///
    /// When `cut` is cancelled the try is broken off: what it may have written is looked for later.
    pub(super) async fn deliver(
        &self,
        claimed: Claimed,
        leased: Instant,
        cut: &CancellationToken,
    ) -> Finished {
        let span = info_span!(
            "delivery",
            execution_id = claimed.id.0,
            event_id = claimed.event.event_id,
            destination = claimed.destination
        );
        async {
            let began = Instant::now();
            let finished = tokio::select! {
                outcome = self.outcome(&claimed, leased) => {
                    conclude(&claimed, outcome, began.elapsed(), &self.retry, rand::random())
                }
                () = cut.cancelled() => broken_off(&claimed, began.elapsed()),
            };
            log(&finished, began.elapsed());
            finished
        }
        .instrument(span)
        .await
    }

    async fn outcome(&self, claimed: &Claimed, leased: Instant) -> Outcome {
        let Some(instance) = self.instances.get(&claimed.destination) else {
            return Outcome::Permanent(Failure::local("no_destination", "no such destination is configured"));
        };
        let memory = StoredMemory { store: &self.store, instance: &claimed.destination };
        let delivery = Delivery {
            event: &claimed.event,
            remote: claimed.remote.as_ref(),
            unsettled: claimed.unsettled,
            leased,
            memory: &memory,
        };
        let attempt = AssertUnwindSafe(instance.destination.deliver(delivery)).catch_unwind();
        match tokio::time::timeout(TRY_MAX, attempt).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Outcome::Ambiguous(Failure::local(
                "panic",
                "the delivery broke on a fault of ours; the log has it",
            )),
            Err(_elapsed) => Outcome::Ambiguous(Failure::local(
                "no_answer",
                format!("the delivery took more than {} s", TRY_MAX.as_secs()),
            )),
        }
    }
}

/// A try that the end of the process interrupts: no failure of anybody's.
fn broken_off(claimed: &Claimed, duration: Duration) -> Finished {
    Finished {
        id: claimed.id,
        fence: claimed.fence,
        conclusion: Conclusion::Postponed { wait: Duration::ZERO, counts: false },
        settlement: Settlement::Unsettled,
        duration,
        outcome: "interrupted",
        response_code: None,
        error_class: Some("interrupted".to_owned()),
        message: Some("the service was stopped during this try; it goes on when it runs again".to_owned()),
        request_id: None,
    }
}

/// What becomes of an execution after this outcome: the retry policy, with nothing left to read
/// between the lines. `jitter` is a random number from 0 to 1.
pub fn conclude(
    claimed: &Claimed,
    outcome: Outcome,
    duration: Duration,
    retry: &RetrySettings,
    jitter: f64,
) -> Finished {
    let failed = claimed.attempts.saturating_add(1);
    let again_or_give_up = |wait: Option<Duration>| {
        if failed >= retry.attempts_max {
            return Conclusion::Failed;
        }
        let planned = wait_before(retry, failed, jitter);
        Conclusion::Postponed { wait: wait.map_or(planned, |asked| planned.max(asked)), counts: true }
    };
    let uncounted = |wait| Conclusion::Postponed { wait, counts: false };
    let (word, conclusion, settlement, failure) = match outcome {
        Outcome::Delivered { remote, status, request_id } => {
            let answer = Failure { class: String::new(), message: String::new(), status, request_id };
            ("delivered", Conclusion::Success(remote), Settlement::Settled, answer)
        }
        Outcome::Skipped { reason } => {
            let declined =
                Failure { class: "skipped".into(), message: reason, status: None, request_id: None };
            ("skipped", Conclusion::Skipped, Settlement::Settled, declined)
        }
        Outcome::Permanent(failure) => ("permanent", Conclusion::Failed, Settlement::AsBefore, failure),
        Outcome::Gone(failure) => ("gone", Conclusion::Failed, Settlement::AsBefore, failure),
        Outcome::Transient { failure, wait } => {
            ("transient", again_or_give_up(wait), Settlement::AsBefore, failure)
        }
        // It is looked for at once; only then is it known whether to wait. The first write in doubt
        // is always looked for, so nothing is given up that may have been delivered.
        Outcome::Ambiguous(failure) => {
            let conclusion = match (claimed.unsettled, again_or_give_up(None)) {
                (Some(_), Conclusion::Failed) => Conclusion::Failed,
                _ => Conclusion::Postponed { wait: Duration::ZERO, counts: true },
            };
            ("ambiguous", conclusion, Settlement::Unsettled, failure)
        }
        Outcome::Unsettled { wait } => {
            let message =
                "an earlier write may still land; it is looked for again before anything is written";
            ("unsettled", uncounted(wait), Settlement::AsBefore, Failure::local("unsettled", message))
        }
        Outcome::Throttled { failure, wait } => {
            ("throttled", uncounted(wait.unwrap_or(THROTTLE_WAIT)), Settlement::AsBefore, failure)
        }
        Outcome::NeedsOperator(failure) => {
            ("needs_operator", uncounted(OPERATOR_WAIT), Settlement::AsBefore, failure)
        }
    };
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    Finished {
        id: claimed.id,
        fence: claimed.fence,
        conclusion,
        settlement,
        duration,
        outcome: word,
        response_code: failure.status,
        error_class: said(failure.class),
        message: said(failure.message),
        request_id: failure.request_id,
    }
}

/// Messages can quote what a customer wrote, so the log has class and code only.
fn log(finished: &Finished, duration: Duration) {
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (outcome, class, code) = (finished.outcome, finished.error_class.as_deref(), finished.response_code);
    let request_id = finished.request_id.as_deref();
    match &finished.conclusion {
        Conclusion::Success(_) => info!(duration_ms, code, request_id, "delivered"),
        Conclusion::Skipped => info!(duration_ms, outcome, "skipped"),
        Conclusion::Postponed { wait, .. } => {
            warn!(
                duration_ms,
                outcome,
                class,
                code,
                request_id,
                wait_s = wait.as_secs(),
                "not delivered, to be tried again"
            );
        }
        Conclusion::Failed => error!(duration_ms, outcome, class, code, request_id, "given up"),
    }
}
