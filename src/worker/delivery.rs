//! One attempt of an execution, from its claim to its completion.

use super::backoff::wait_before;
use super::completer::Completion;
use super::delivery_context::WorkerDeliveryContext;
use super::destination_map::DestinationMap;
use super::destination_pause::DestinationPause;
use super::instances::Instances;
use super::object::{self, Plan, Turn};
use super::store_parts::WorkerStore;
use crate::config::RetrySettings;
use crate::destinations::{Delivery, Object};
use crate::domain::delivery::{Failure, Outcome, Remote};
use crate::domain::execution::{ExecutionId, Mode};
use crate::domain::summary::EventSummary;
use crate::sources::Registry;
use crate::store::{Claimed, CompletedExecution, CompletedLane, Conclusion, Fate, RemoteObject, Settlement};
use crate::telemetry::{Metrics, Panicked, catch_panic};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

/// The longest a try may take, whatever the destination does: it may call more than once.
const TRY_MAX: Duration = Duration::from_secs(150);

/// Tries after the last attempt, which look for what was written and write nothing.
const LOOKS_MAX: u32 = 3;

/// How soon to try again where the database did not answer.
const DATABASE_AWAY: Duration = Duration::from_secs(1);

/// The shortest wait where a destination asks for less.
const THROTTLED_WAIT_MIN: Duration = Duration::from_millis(250);

/// Hands executions to their destinations.
pub(super) struct Deliverer {
    pub(super) destinations: DestinationMap,
    pub(super) instances: Arc<Instances>,
    pub(super) sources: Registry,
    pub(super) pauses: DestinationPause,
    pub(super) retry: RetrySettings,
    pub(super) store: WorkerStore,
    pub(super) metrics: Metrics,
}

impl Deliverer {
    /// Tries once and says what becomes of the execution. Neither a panic nor a destination that
    /// never answers gets any further than here. The lease was asked for at `leased`.
    ///
    /// When `cut` is cancelled the try is broken off: what it may have written is looked for later.
    pub(super) async fn deliver(
        &self,
        claimed: Claimed,
        leased: Instant,
        cut: &CancellationToken,
    ) -> Completion {
        let span = info_span!(
            "delivery",
            execution_id = claimed.id.0,
            event_id = claimed.event.event_id,
            destination = claimed.destination
        );
        async {
            let began = Instant::now();
            let try_once = async {
                if let Some(reason) = claimed.event.why_empty() {
                    let outcome = Outcome::Skipped { reason: reason.to_owned() };
                    return self.single(&claimed, outcome, began);
                }
                match claimed.mode {
                    Mode::Event => self.deliver_event(&claimed, leased, began).await,
                    Mode::Object => self.deliver_object(&claimed, leased, began).await,
                }
            };
            let completion = tokio::select! {
                completion = catch_panic(&self.metrics, Panicked::Delivery, try_once) => match completion {
                    Some(completion) => completion,
                    None => self.broken(&claimed, began).await,
                },
                () = cut.cancelled() => Completion::Single(broken_off(&claimed, began.elapsed())),
            };
            log(&completion, began.elapsed());
            completion
        }
        .instrument(span)
        .await
    }

    async fn deliver_event(&self, claimed: &Claimed, leased: Instant, began: Instant) -> Completion {
        let summary = self.sources.summarize(&claimed.event);
        let subject = Subject {
            summary: &summary,
            body: &claimed.event.payload,
            remote: claimed.remote.as_ref(),
            object: None,
        };
        let outcome = self.outcome(claimed, subject, leased).await;
        self.single(claimed, outcome, began)
    }

    /// Writes the newest state of the claimed execution's object, whichever event brought it.
    async fn deliver_object(&self, claimed: &Claimed, leased: Instant, began: Instant) -> Completion {
        let turn = match object::plan(&self.store.queue, &self.sources, claimed.into()).await {
            Ok(Plan::Write(turn)) => turn,
            Ok(Plan::Decline(reason)) => {
                return self.single(claimed, Outcome::Skipped { reason: reason.to_string() }, began);
            }
            Ok(Plan::NothingNew { newest, superseded }) => {
                return self.lane(claimed, newest, Fate::ShownBefore { superseded }, None, began);
            }
            Err(error) => {
                warn!(%error, "could not look at the states of the object");
                let failure = Failure::local("database_away", "the database did not answer");
                let outcome = Outcome::Throttled { failure, wait: Some(DATABASE_AWAY) };
                return self.single(claimed, outcome, began);
            }
        };
        let Turn { newest, summary, superseded, shown, is_asked_for, others } = *turn;
        let subject = Subject {
            summary: &summary,
            body: &newest.event.payload,
            remote: shown.as_ref().map(|shown| &shown.remote),
            object: Some(Object {
                written: shown.as_ref().map(|shown| &shown.written),
                is_asked_for,
                others: &others,
            }),
        };
        match self.outcome(claimed, subject, leased).await {
            Outcome::Delivered { remote, status, request_id, written } => {
                let object = RemoteObject {
                    execution: newest.execution,
                    remote,
                    written: written.unwrap_or_default(),
                };
                let answer = Some((status, request_id));
                self.lane(claimed, newest.execution, Fate::Shown { object, superseded }, answer, began)
            }
            Outcome::Permanent(failure) if newest.execution != claimed.id => {
                let head = conclude(claimed, Outcome::Permanent(failure), began.elapsed(), &self.retry, 0.0);
                let verdict = CompletedLane {
                    lane: claimed.lane.clone().unwrap_or_default(),
                    newest: newest.execution,
                    fate: Fate::Refused,
                };
                Completion::Lane(head, verdict)
            }
            outcome => self.single(claimed, outcome, began),
        }
    }

    /// A try that broke outside of its destination.
    async fn broken(&self, claimed: &Claimed, began: Instant) -> Completion {
        let outcome = fault();
        if self.instances.end_canary(&claimed.destination, claimed.id) {
            self.pauses.record_canary(&claimed.destination, &outcome).await;
        }
        self.single(claimed, outcome, began)
    }

    fn single(&self, claimed: &Claimed, outcome: Outcome, began: Instant) -> Completion {
        Completion::Single(conclude(claimed, outcome, began.elapsed(), &self.retry, rand::random()))
    }

    fn lane(
        &self,
        claimed: &Claimed,
        newest: ExecutionId,
        fate: Fate,
        answer: Option<(Option<u16>, Option<String>)>,
        began: Instant,
    ) -> Completion {
        let (status, request_id) = answer.unwrap_or_default();
        let remote = Remote { id: String::new(), url: None, place: None };
        let outcome = Outcome::Delivered { remote, status, request_id, written: None };
        let head = conclude(claimed, outcome, began.elapsed(), &self.retry, 0.0);
        let lane = claimed.lane.clone().unwrap_or_default();
        Completion::Lane(head, CompletedLane { lane, newest, fate })
    }

    async fn outcome(&self, claimed: &Claimed, subject: Subject<'_>, leased: Instant) -> Outcome {
        let Some(destination) = self.destinations.get(&claimed.destination) else {
            return Outcome::Permanent(Failure::local("no_destination", "no such destination is configured"));
        };
        let context = WorkerDeliveryContext {
            store: &self.store,
            leases: &self.pauses.leases,
            backoff: &self.pauses.backoff,
            fence: Some(claimed.fence),
            instance: &claimed.destination,
            lane: claimed.lane.as_deref(),
        };
        let delivery = Delivery {
            summary: subject.summary,
            body: subject.body,
            object: subject.object,
            remote: subject.remote,
            in_doubt: claimed.in_doubt,
            rewrite_after: match claimed.attempts {
                0 => Duration::ZERO,
                failed => wait_before(&self.retry, failed, 0.0),
            },
            is_last: claimed.attempts >= self.retry.attempts_max,
            leased,
            context: &context,
        };
        let attempt = catch_panic(&self.metrics, Panicked::Delivery, destination.deliver(delivery));
        let outcome = match tokio::time::timeout(TRY_MAX, attempt).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => fault(),
            Err(_elapsed) => {
                in_doubt("no_answer", format!("the delivery took more than {} s", TRY_MAX.as_secs()))
            }
        };
        self.instances.record(&claimed.destination, &outcome, Instant::now());
        if let Outcome::NeedsOperator(failure) = &outcome {
            self.pauses.pause(&claimed.destination, failure, Some(claimed.id)).await;
        }
        if self.instances.end_canary(&claimed.destination, claimed.id) {
            self.pauses.record_canary(&claimed.destination, &outcome).await;
        }
        outcome
    }
}

/// What a try is about: the claimed event, or the newest one of its object.
#[derive(Clone, Copy)]
struct Subject<'a> {
    summary: &'a EventSummary,
    body: &'a Bytes,
    remote: Option<&'a Remote>,
    object: Option<Object<'a>>,
}

/// A try that ended somewhere: whatever it wrote, it may have written just now.
fn in_doubt(class: &str, message: String) -> Outcome {
    Outcome::Ambiguous { failure: Failure::local(class, message), since: Duration::ZERO }
}

/// A try that broke on a fault of ours. The event that brings it about takes nobody with it, so it is
/// no suspect; it is tried again like any other, and given up when its attempts are used up.
fn fault() -> Outcome {
    in_doubt("panic", "the delivery broke on a fault of ours; the log has it".to_owned())
}

/// A try that the end of the process interrupts: no failure of anybody's.
fn broken_off(claimed: &Claimed, duration: Duration) -> CompletedExecution {
    CompletedExecution {
        id: claimed.id,
        fence: claimed.fence,
        conclusion: Conclusion::Postponed { wait: Duration::ZERO, counts: false },
        settlement: Settlement::InDoubt { since: Duration::ZERO },
        came_through: false,
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
) -> CompletedExecution {
    let failed = claimed.attempts.saturating_add(1);
    let again_or_give_up = |wait: Option<Duration>| {
        let looks = if claimed.in_doubt.is_some() { LOOKS_MAX } else { 0 };
        if failed >= retry.attempts_max.saturating_add(looks) {
            return Conclusion::Failed;
        }
        let planned = wait_before(retry, failed, jitter);
        Conclusion::Postponed { wait: wait.map_or(planned, |asked| planned.max(asked)), counts: true }
    };
    let uncounted = |wait| Conclusion::Postponed { wait, counts: false };
    let came_through = !matches!(outcome, Outcome::InDoubt { .. } | Outcome::Throttled { .. });
    let (word, conclusion, settlement, failure) = match outcome {
        Outcome::Delivered { remote, status, request_id, .. } => {
            let answer = Failure { code: status, request_id, ..Failure::local("", "") };
            ("delivered", Conclusion::Success(remote), Settlement::Settled, answer)
        }
        Outcome::Skipped { reason } => {
            let declined = Failure::local("skipped", reason);
            ("skipped", Conclusion::Skipped, Settlement::Settled, declined)
        }
        Outcome::Permanent(failure) => ("permanent", Conclusion::Failed, Settlement::AsBefore, failure),
        Outcome::Gone(failure) => ("gone", Conclusion::Failed, Settlement::AsBefore, failure),
        Outcome::Transient { failure, wait } => {
            ("transient", again_or_give_up(wait), Settlement::AsBefore, failure)
        }
        // The first write in doubt is looked for at once; only then is it known whether to wait. When
        // the attempts are used up there are a few looks more, so that nothing delivered is given up.
        Outcome::Ambiguous { failure, since } => {
            let conclusion = if failed >= retry.attempts_max.saturating_add(LOOKS_MAX) {
                Conclusion::Failed
            } else if claimed.in_doubt.is_none() {
                Conclusion::Postponed { wait: Duration::ZERO, counts: true }
            } else {
                Conclusion::Postponed { wait: wait_before(retry, failed, jitter), counts: true }
            };
            ("ambiguous", conclusion, Settlement::InDoubt { since }, failure)
        }
        Outcome::InDoubt { failure, wait } => ("unsettled", uncounted(wait), Settlement::AsBefore, failure),
        Outcome::Throttled { failure, wait } => (
            "throttled",
            uncounted(wait.unwrap_or_default().max(THROTTLED_WAIT_MIN)),
            Settlement::AsBefore,
            failure,
        ),
        // Its instance is paused now, so it is due as soon as that is resumed.
        Outcome::NeedsOperator(failure) => {
            ("needs_operator", uncounted(Duration::ZERO), Settlement::AsBefore, failure)
        }
    };
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    CompletedExecution {
        id: claimed.id,
        fence: claimed.fence,
        conclusion,
        settlement,
        came_through,
        duration,
        outcome: word,
        response_code: failure.code,
        error_class: said(failure.class),
        message: said(failure.message),
        request_id: failure.request_id,
    }
}

/// Messages can quote what a customer wrote, so the log has class and code only.
fn log(completion: &Completion, duration: Duration) {
    let finished = match completion {
        Completion::Single(finished) => finished,
        Completion::Lane(head, CompletedLane { newest, fate, .. }) => {
            let newest_execution_id = newest.0;
            let request_id = head.request_id.as_deref();
            match fate {
                Fate::Shown { superseded, .. } => {
                    info!(
                        newest_execution_id,
                        superseded = superseded.len(),
                        request_id,
                        "delivered the object's newest state"
                    );
                }
                Fate::ShownBefore { superseded } => {
                    info!(
                        newest_execution_id,
                        superseded = superseded.len(),
                        "a newer state was delivered before"
                    );
                }
                Fate::Refused => {
                    error!(newest_execution_id, request_id, "given up the object's newest state");
                }
            }
            return;
        }
    };
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
