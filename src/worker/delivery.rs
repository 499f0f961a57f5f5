//! One attempt of an execution: the delivery to its destination, from the claim to the completion.
//!
//! In object mode an attempt writes the newest state of the claimed execution's object, whichever event
//! brought it, and completes all executions of the lane that it stands for.

use super::backoff::wait_before;
use super::completer::Completed;
use super::completion::{NEEDS_OPERATOR, conclude, delivered_in_lane, interrupted, refused_in_lane};
use super::delivery_context::WorkerDeliveryContext;
use super::destination_map::DestinationMap;
use super::destination_pause::DestinationPause;
use super::instances::{Began, InstanceStates};
use super::lane_plan::{self, LaneHead, Plan, Write};
use super::store_parts::WorkerStore;
use crate::config::RetrySettings;
use crate::destinations::{Delivery, LazySummary, Object};
use crate::domain::delivery::{Failure, Outcome, Remote};
use crate::domain::event::StoredEvent;
use crate::domain::execution::{Mode, Subject};
use crate::domain::failure::own_remedy;
use crate::sources::Registry;
use crate::store::{
    Claimed, CompletedExecution, CompletedLane, Conclusion, Lease, RefusedState, RemoteObject, StoreError,
};
use crate::telemetry::{Metrics, Panicked, catch_panic};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

/// The longest a delivery may take. It may consist of several calls.
const DELIVERY_MAX: Duration = Duration::from_secs(150);

/// The wait before the next attempt if the database did not answer.
const DATABASE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The wait before the next attempt at a row, which only another version of the program can deliver.
const ROW_RETRY_DELAY: Duration = Duration::from_mins(1);

/// The memory for states that are compared with others, and the most that those of one object need beside the
/// one that is shown.
const STATES_KIB_MAX: usize = 32 * 1024;
const STATES_OF_ONE_KIB: u32 = 512;

/// Delivers executions to their destinations.
pub(super) struct Deliverer {
    pub(super) destinations: DestinationMap,
    pub(super) instances: Arc<InstanceStates>,
    pub(super) sources: Registry,
    pub(super) pauses: DestinationPause,
    pub(super) retry: RetrySettings,
    pub(super) store: WorkerStore,
    pub(super) metrics: Metrics,
    pub(super) states: StateMemory,
}

/// The memory for the states of objects that are compared.
pub(super) struct StateMemory(Semaphore);

impl Default for StateMemory {
    fn default() -> Self {
        Self(Semaphore::new(STATES_KIB_MAX))
    }
}

impl StateMemory {
    /// Waits until the states of one more object fit.
    async fn reserve(&self) -> Option<SemaphorePermit<'_>> {
        self.0.acquire_many(STATES_OF_ONE_KIB).await.ok()
    }
}

/// Gives back what of a reservation these events do not need.
fn keep(reserved: &mut SemaphorePermit<'_>, events: &[StoredEvent]) {
    let bytes: usize = events.iter().map(|event| event.payload.len()).sum();
    let needed = bytes.div_ceil(1024);
    drop(reserved.split(reserved.num_permits().saturating_sub(needed)));
}

impl Deliverer {
    /// Makes one attempt and returns the completion, even if the destination panics or never answers. The
    /// attempt takes its slot at `start`.
    ///
    /// Cancelling `interrupt` ends the attempt. The next one looks for what it may have written.
    pub(super) async fn deliver(
        &self,
        claimed: Claimed,
        start: Began,
        interrupt: &CancellationToken,
    ) -> Completed {
        let span = info_span!(
            "delivery",
            execution_id = claimed.id.0,
            event_id = claimed.subject.event().map(|event| event.event_id.as_str()),
            destination = claimed.destination
        );
        async {
            let began = Instant::now();
            let attempt =
                catch_panic(&self.metrics, Panicked::Delivery, self.attempt(&claimed, start, began));
            let completed = tokio::select! {
                completed = attempt => match completed {
                    Some(completed) => completed,
                    None => self.panicked(&claimed, began).await,
                },
                () = interrupt.cancelled() => Completed::Execution(interrupted(&claimed, began.elapsed())),
            };
            log(&completed, began.elapsed());
            completed
        }
        .instrument(span)
        .await
    }

    async fn attempt(&self, claimed: &Claimed, start: Began, began: Instant) -> Completed {
        let event = match &claimed.subject {
            Subject::Event(event) => event,
            Subject::Row(_) => return self.conclude(claimed, no_rows_outcome(), began),
        };
        if let Some(reason) = event.why_empty() {
            return self.conclude(claimed, Outcome::Skipped { reason: reason.to_owned() }, began);
        }
        match claimed.mode {
            Mode::Event => {
                let (related, _reserved) = match self.related_events(event).await {
                    Ok(found) => found,
                    Err(error) => return self.conclude(claimed, unreadable(&error), began),
                };
                let summarize = || self.sources.summarize(event, &related);
                let summary = LazySummary::new(&summarize);
                let item = Item { event, summary: &summary, remote: claimed.remote.as_ref(), object: None };
                let outcome = self.call(claimed, item, start).await;
                self.conclude(claimed, outcome, began)
            }
            Mode::Object => self.attempt_object(claimed, event, start, began).await,
        }
    }

    /// The events that the summary of an event needs beside it, and the memory for their bodies.
    async fn related_events(
        &self,
        event: &StoredEvent,
    ) -> Result<(Vec<StoredEvent>, Option<SemaphorePermit<'_>>), StoreError> {
        let Some(object_id) = self.sources.related_object(event) else { return Ok((Vec::new(), None)) };
        let mut reserved = self.states.reserve().await;
        let related = self.store.queue.related_events(event, &object_id).await?;
        if let Some(reserved) = &mut reserved {
            keep(reserved, &related);
        }
        Ok((related, reserved))
    }

    async fn attempt_object(
        &self,
        claimed: &Claimed,
        event: &StoredEvent,
        start: Began,
        began: Instant,
    ) -> Completed {
        let head = LaneHead::of(claimed, event);
        let mut reserved = self.states.reserve().await;
        let write = match lane_plan::plan(&self.store.queue, &self.sources, head).await {
            Ok(Plan::Write(write)) => write,
            Ok(Plan::Decline(reason)) => {
                return self.conclude(claimed, Outcome::Skipped { reason: reason.to_string() }, began);
            }
            Ok(Plan::NothingNew { lane, newest, superseded }) => {
                let head = delivered_in_lane(claimed, None, None, &[], began.elapsed());
                return Completed::Lane(CompletedLane { head, lane, newest, superseded, shown: None });
            }
            Err(error) => return self.conclude(claimed, unreadable(&error), began),
        };
        let Write { lane, newest, superseded, shown, is_asked_for, others } = *write;
        if let Some(reserved) = &mut reserved {
            keep(reserved, &others);
        }
        let summarize = || self.sources.summarize(&newest.event, &[]);
        let summary = LazySummary::new(&summarize);
        let others = || others.iter().map(|event| self.sources.summarize(event, &[])).collect();
        let item = Item {
            event: &newest.event,
            summary: &summary,
            remote: shown.as_ref().and_then(|shown| shown.remote.as_ref()),
            object: Some(Object {
                written: shown.as_ref().and_then(|shown| shown.written.as_ref()),
                is_asked_for,
                others: &others,
            }),
        };
        match self.call(claimed, item, start).await {
            Outcome::Delivered { remote, status, request_id, written, left_out } => {
                let newest = newest.execution;
                let shown = Some(RemoteObject { execution: newest, remote, written });
                let head = delivered_in_lane(claimed, status, request_id, &left_out, began.elapsed());
                Completed::Lane(CompletedLane { head, lane, newest, superseded, shown })
            }
            Outcome::Permanent(failure) if newest.execution != claimed.id => {
                let head = refused_in_lane(claimed, failure, began.elapsed());
                Completed::Refused(RefusedState { head, newest: newest.execution })
            }
            outcome => self.conclude(claimed, outcome, began),
        }
    }

    /// Calls the destination, and passes the outcome to its circuit breaker and its pause.
    async fn call(&self, claimed: &Claimed, item: Item<'_>, start: Began) -> Outcome {
        let Some(destination) = self.destinations.get(&claimed.destination) else {
            return no_destination_outcome();
        };
        let context = WorkerDeliveryContext {
            store: &self.store,
            leases: &self.pauses.leases,
            backoff: &self.pauses.backoff,
            lease: Some(Lease { execution: claimed.id, fence: claimed.fence }),
            instance: &claimed.destination,
            lane: claimed.lane.as_deref(),
        };
        let delivery = Delivery {
            event_id: &item.event.event_id,
            summary: item.summary,
            body: &item.event.payload,
            object: item.object,
            remote: item.remote,
            in_doubt: claimed.in_doubt,
            rewrite_after: match claimed.attempts {
                0 => Duration::ZERO,
                failed => wait_before(&self.retry, failed, 0.0),
            },
            is_last: claimed.attempts >= self.retry.attempts_max,
            leased: start.leased,
            context: &context,
        };
        let delivering = catch_panic(&self.metrics, Panicked::Delivery, destination.deliver(delivery));
        let outcome = match tokio::time::timeout(DELIVERY_MAX, delivering).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => panic_outcome(),
            Err(_elapsed) => timeout_outcome(),
        };
        if let Some(limit) = self.instances.record(&claimed.destination, &outcome, start, Instant::now()) {
            self.metrics.limit(&claimed.destination, limit);
        }
        if let Outcome::NeedsOperator(failure) = &outcome {
            self.pauses.pause(&claimed.destination, failure, Some(claimed.id)).await;
        }
        self.record_canary(claimed, &outcome).await;
        outcome
    }

    /// The attempt panicked outside the call of its destination.
    async fn panicked(&self, claimed: &Claimed, began: Instant) -> Completed {
        let outcome = panic_outcome();
        self.record_canary(claimed, &outcome).await;
        self.conclude(claimed, outcome, began)
    }

    async fn record_canary(&self, claimed: &Claimed, outcome: &Outcome) {
        if self.instances.end_canary(&claimed.destination, claimed.id) {
            self.pauses.record_canary(&claimed.destination, outcome).await;
        }
    }

    fn conclude(&self, claimed: &Claimed, outcome: Outcome, began: Instant) -> Completed {
        let completion = conclude(claimed, outcome, began.elapsed(), &self.retry, rand::random());
        Completed::Execution(completion)
    }
}

/// The outcome of an attempt whose events could not be read.
fn unreadable(error: &StoreError) -> Outcome {
    warn!(%error, "reading the events of an object failed");
    let failure = Failure::local("database_unavailable", "the database did not answer");
    Outcome::Throttled { failure, wait: Some(DATABASE_RETRY_DELAY) }
}

/// What an attempt delivers: the claimed event, or the newest one of its object.
#[derive(Clone, Copy)]
struct Item<'a> {
    event: &'a StoredEvent,
    summary: &'a LazySummary<'a>,
    remote: Option<&'a Remote>,
    object: Option<Object<'a>>,
}

/// A failure of the worker itself, with the remedy of its class.
fn own_failure(class: &str, message: impl Into<String>) -> Failure {
    Failure { remedy: own_remedy(class).map(str::to_owned), ..Failure::local(class, message) }
}

/// An attempt that ended at an unknown point. It may have written something just now.
fn ambiguous(class: &str, message: impl Into<String>) -> Outcome {
    Outcome::Ambiguous { failure: own_failure(class, message), since: Duration::ZERO }
}

/// An attempt that panicked. It affects no other execution, so this one is not quarantined. It is tried
/// again like any other, until its attempts are used up.
fn panic_outcome() -> Outcome {
    ambiguous("panic", "the delivery failed because of a bug in this program; the log has the details")
}

/// An attempt that took longer than [`DELIVERY_MAX`].
fn timeout_outcome() -> Outcome {
    ambiguous("delivery_timeout", format!("the delivery took more than {} s", DELIVERY_MAX.as_secs()))
}

/// An attempt whose destination is not configured.
fn no_destination_outcome() -> Outcome {
    Outcome::Permanent(own_failure("no_destination", "no such destination is configured"))
}

/// An execution of a row, which a newer version of the program requested.
fn no_rows_outcome() -> Outcome {
    let failure = own_failure("no_rows", "this version of the program cannot deliver rows");
    Outcome::Throttled { failure, wait: Some(ROW_RETRY_DELAY) }
}

/// Messages can quote what a customer wrote, so the log gets only class and code.
fn log(completed: &Completed, duration: Duration) {
    match completed {
        Completed::Execution(completion) => log_execution(completion, duration),
        Completed::Lane(lane) => log_lane(lane),
        Completed::Refused(refused) => {
            let newest_execution_id = refused.newest.0;
            let request_id = refused.head.request_id.as_deref();
            error!(newest_execution_id, request_id, "execution of the object's newest state failed");
        }
    }
}

fn log_execution(completion: &CompletedExecution, duration: Duration) {
    let attempt = &completion.attempt;
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (outcome, class, code) = (attempt.outcome, attempt.error_class.as_deref(), attempt.response_code);
    let request_id = attempt.request_id.as_deref();
    match &completion.conclusion {
        Conclusion::Success(_) => info!(duration_ms, code, request_id, "delivered"),
        Conclusion::Skipped => info!(duration_ms, outcome, "skipped"),
        // It waits until an operator has fixed the cause, and not for a time.
        Conclusion::Postponed { .. } if outcome == NEEDS_OPERATOR => {
            warn!(duration_ms, outcome, class, code, request_id, "not delivered; it waits for an operator");
        }
        Conclusion::Postponed { wait, .. } => {
            let wait_s = wait.as_secs();
            warn!(duration_ms, outcome, class, code, request_id, wait_s, "not delivered; trying again");
        }
        Conclusion::Failed => error!(duration_ms, outcome, class, code, request_id, "execution failed"),
    }
}

fn log_lane(lane: &CompletedLane) {
    let newest_execution_id = lane.newest.0;
    let request_id = lane.head.request_id.as_deref();
    let superseded = lane.superseded.len();
    if lane.shown.is_some() {
        info!(newest_execution_id, superseded, request_id, "delivered the object's newest state");
    } else {
        info!(newest_execution_id, superseded, "the object's newest state was delivered before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_worker_itself_has_a_remedy_of_its_own_class() {
        for (outcome, expected) in [
            (panic_outcome(), "panic"),
            (timeout_outcome(), "delivery_timeout"),
            (no_destination_outcome(), "no_destination"),
        ] {
            let (Outcome::Ambiguous { failure, .. } | Outcome::Permanent(failure)) = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(failure.class, expected);
            assert!(failure.remedy.is_some_and(|remedy| remedy.ends_with("retry.")), "{expected}");
        }
    }
}
