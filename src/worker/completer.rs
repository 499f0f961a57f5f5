//! Records completions in batches: one statement records all that arrived while the previous one ran.
//!
//! A completion is written again until the database accepts or refuses it. A lease stays valid as long as
//! its process lives, so no other process would end these executions. If the database refuses the
//! destination's texts, the completion is recorded without them. If it refuses even that, the completion
//! is discarded, and this process frees the lease once it is 60 s old.

use super::lease_registry::RegisteredLease;
use super::schedule::POLL;
use crate::domain::execution::ExecutionId;
use crate::store::{
    Claimed, CompletedExecution, CompletedLane, Conclusion, Fate, Notifier, Queue, StoreError,
};
use crate::telemetry::{Ended, Metrics, Supervisor};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, warn};

/// The most completions that wait to be recorded; a delivery that ends then waits too.
const QUEUE_MAX: usize = 1024;

/// The most completions that one statement records.
const BATCH_MAX: usize = 256;

/// How long a statement may take. A completion that the database recorded without an answer is not
/// recorded again: its lease is gone by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The wait before a statement is sent again if the database did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Owns the task that records completions.
pub(super) struct Completer {
    sender: mpsc::Sender<Queued>,
    recording: JoinHandle<Option<()>>,
}

impl Completer {
    pub(super) fn start(
        queue: Queue,
        notifier: Notifier,
        metrics: Metrics,
        progress: watch::Sender<u64>,
        supervisor: &Supervisor,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let recorder = CompleterTask { queue, notifier, metrics, progress };
        Self {
            sender,
            recording: tokio::spawn(supervisor.clone().critical("recorder", recorder.run(receiver))),
        }
    }

    /// A sender for one delivery.
    pub(super) fn completions(&self) -> CompletionSender {
        CompletionSender(self.sender.clone())
    }

    /// Records all completions that were sent, and ends. Call it when no delivery runs any more.
    pub(super) async fn close(self) {
        drop(self.sender);
        if let Err(error) = self.recording.await {
            warn!(%error, "completer task failed");
        }
    }
}

/// Sends completions to the [`Completer`].
#[derive(Clone)]
pub(super) struct CompletionSender(mpsc::Sender<Queued>);

impl CompletionSender {
    /// Sends one; waits while the queue is full.
    pub(super) async fn send(&self, completed: Completed, stats: CompletionStats, lease: RegisteredLease) {
        if self.0.send(Queued { completed, stats, lease }).await.is_err() {
            warn!("completion discarded after shutdown; its execution will be rescued");
        }
    }
}

/// A completion that waits to be recorded, with the lease that it needs until then.
struct Queued {
    completed: Completed,
    stats: CompletionStats,
    lease: RegisteredLease,
}

/// What an attempt completed.
#[derive(Debug)]
pub(super) enum Completed {
    /// Its execution alone.
    Execution(CompletedExecution),
    /// The execution that headed its lane, and those that wait in the lane.
    Lane(CompletedLane),
}

/// What is needed of an execution once its completion is recorded.
#[derive(Debug)]
pub(super) struct CompletionStats {
    destination: String,
    /// When its event was received, by this machine's steady clock; none if that was before the
    /// machine started.
    received: Option<Instant>,
    /// Whether nothing was written before and no operator queued it. Only then does the time since
    /// the receipt measure this service.
    is_first: bool,
    /// Whether its end can make other work due: its lane's next execution, or a newer version of its row.
    others_may_wait: bool,
}

impl CompletionStats {
    /// The values at the claim.
    pub(super) fn of(claimed: &Claimed, leased: Instant) -> Self {
        Self {
            destination: claimed.destination.clone(),
            received: leased.checked_sub(claimed.age),
            is_first: claimed.remote.is_none() && !claimed.is_manual,
            others_may_wait: claimed.lane.is_some() || claimed.subject.row().is_some(),
        }
    }

    fn count(&self, completion: &CompletedExecution, metrics: &Metrics) {
        metrics.attempt(&self.destination, completion.attempt.outcome, completion.attempt.duration);
        match completion.conclusion {
            Conclusion::Success(_) => self.count_success(metrics),
            Conclusion::Failed => metrics.ended(&self.destination, Ended::Failed, 1),
            Conclusion::Skipped => metrics.ended(&self.destination, Ended::Skipped, 1),
            Conclusion::Postponed { .. } => {}
        }
    }

    fn count_lane(&self, lane: &CompletedLane, metrics: &Metrics) {
        metrics.attempt(&self.destination, lane.head.outcome, lane.head.duration);
        match &lane.fate {
            Fate::Shown { superseded, .. } => {
                self.count_success(metrics);
                metrics.ended(&self.destination, Ended::Superseded, superseded.len());
            }
            Fate::ShownBefore { superseded } => {
                metrics.ended(&self.destination, Ended::Superseded, superseded.len());
            }
            Fate::Refused => metrics.ended(&self.destination, Ended::Failed, 1),
        }
    }

    fn count_success(&self, metrics: &Metrics) {
        metrics.ended(&self.destination, Ended::Success, 1);
        if let Some(received) = self.received.filter(|_| self.is_first) {
            metrics.delivered_after(&self.destination, received.elapsed());
        }
    }
}

type StatsById = HashMap<ExecutionId, CompletionStats>;

/// The task behind the [`Completer`].
struct CompleterTask {
    queue: Queue,
    notifier: Notifier,
    metrics: Metrics,
    progress: watch::Sender<u64>,
}

impl CompleterTask {
    async fn run(self, mut receiver: mpsc::Receiver<Queued>) {
        // Each lane has a statement of its own. Ingest and claims need connections too.
        let lanes_at_once = (self.queue.statements_max() / 3).max(1);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let (mut completions, mut lanes) = (Vec::new(), Vec::new());
            let (mut leases, mut stats_by_id) = (Vec::new(), StatsById::new());
            for Queued { completed, stats, lease } in batch.drain(..) {
                leases.push(lease);
                match completed {
                    Completed::Execution(completion) => {
                        stats_by_id.insert(completion.attempt.execution, stats);
                        completions.push(completion);
                    }
                    Completed::Lane(lane) => lanes.push((lane, stats)),
                }
            }
            // In the order of all statements that lock many rows, so that there is no deadlock. No two of these
            // have an execution in common: one of a lane runs at a time.
            completions.sort_by_key(|completion| completion.attempt.execution.0);
            let lanes = async {
                for some in lanes.chunks(lanes_at_once) {
                    join_all(some.iter().map(|(lane, stats)| self.complete_lane(lane, stats))).await;
                }
            };
            tokio::join!(self.complete(&completions, &stats_by_id), lanes);
        }
    }

    /// Records a batch; if the database refuses it, each completion by itself.
    async fn complete(&self, batch: &[CompletedExecution], stats: &StatsById) {
        if batch.is_empty() {
            return;
        }
        let Err(error) = self.record(batch, stats).await else { return };
        warn!(%error, completions = batch.len(), "database refused a batch of completions");
        for completion in batch {
            let execution_id = completion.attempt.execution.0;
            let Err(error) = self.record(std::slice::from_ref(completion), stats).await else { continue };
            error!(%error, execution_id, "database refused a completion");
            let bare = completion.without_texts();
            if let Err(error) = self.record(std::slice::from_ref(&bare), stats).await {
                error!(%error, execution_id, "completion discarded; its lease will be rescued");
            }
        }
    }

    /// Records a lane's completion; if the database refuses it, the same without the destination's texts.
    async fn complete_lane(&self, lane: &CompletedLane, stats: &CompletionStats) {
        let execution_id = lane.head.execution.0;
        let Err(error) = self.record_lane(lane, stats).await else { return };
        error!(%error, execution_id, "database refused a completion");
        if let Err(error) = self.record_lane(&lane.without_texts(), stats).await {
            error!(%error, execution_id, "completion discarded; its lease will be rescued");
        }
    }

    /// Tries until the database accepts or refuses the completions. The error is the refusal.
    async fn record(&self, batch: &[CompletedExecution], stats: &StatsById) -> Result<(), StoreError> {
        loop {
            match in_time(self.queue.complete(batch)).await {
                Ok(changed) => {
                    for completion in batch {
                        let execution = completion.attempt.execution;
                        if !changed.contains(&execution) {
                            warn!(execution_id = execution.0, "lease lost; result discarded");
                        } else if let Some(stats) = stats.get(&execution) {
                            stats.count(completion, &self.metrics);
                        }
                    }
                    self.notify_after_short_waits(batch);
                    if batch.iter().any(|completion| lets_others_run(completion, stats)) {
                        self.notifier.notify();
                    }
                    self.progress.send_modify(|recorded| *recorded += changed.len() as u64);
                    return Ok(());
                }
                Err(error @ StoreError::Refused(_)) => return Err(error),
                Err(error) => {
                    warn!(%error, completions = batch.len(), "recording completions failed; trying again");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// As [`record`](Self::record), for a lane.
    async fn record_lane(&self, lane: &CompletedLane, stats: &CompletionStats) -> Result<(), StoreError> {
        loop {
            match in_time(self.queue.complete_lane(lane)).await {
                Ok(true) => {
                    // Others of the lane can run now.
                    self.notifier.notify();
                    stats.count_lane(lane, &self.metrics);
                    self.progress.send_modify(|recorded| *recorded += 1);
                    return Ok(());
                }
                Ok(false) => {
                    warn!(execution_id = lane.head.execution.0, "lease lost; result discarded");
                    return Ok(());
                }
                Err(error @ StoreError::Refused(_)) => return Err(error),
                Err(error) => {
                    warn!(%error, completions = 1, "recording completions failed; trying again");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// An execution that is due before the next poll gets a notification of its own.
    fn notify_after_short_waits(&self, batch: &[CompletedExecution]) {
        let waits = batch.iter().filter_map(|completion| match completion.conclusion {
            Conclusion::Postponed { wait, .. } => Some(wait),
            _ => None,
        });
        match waits.min() {
            Some(Duration::ZERO) => self.notifier.notify(),
            Some(wait) if wait < POLL => {
                let notifier = self.notifier.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    notifier.notify();
                });
            }
            _ => {}
        }
    }
}

/// Whether others of its lane can run now, or it can be due again with a newer version of its row.
fn lets_others_run(completion: &CompletedExecution, stats: &StatsById) -> bool {
    stats.get(&completion.attempt.execution).is_some_and(|stats| stats.others_may_wait)
        && !matches!(completion.conclusion, Conclusion::Postponed { .. })
}

/// Bounds the wait for an answer: a connection that died silently would block for much longer.
async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or(Err(StoreError::TimedOut))
}
