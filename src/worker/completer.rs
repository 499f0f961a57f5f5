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
    Claimed, CompletedExecution, CompletedLane, Conclusion, EndedAttempt, Notifier, Queue,
    Recorded as RecordedExecutions, RefusedState, StoreError,
};
use crate::telemetry::{Ended, Metrics, Supervisor};
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
    /// The newest state of its lane, which the destination refuses.
    Refused(RefusedState),
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

    fn count_success(&self, metrics: &Metrics, is_repeated: bool) {
        metrics.ended(&self.destination, Ended::Success, is_repeated, 1);
        if let Some(received) = self.received.filter(|_| self.is_first) {
            metrics.delivered_after(&self.destination, received.elapsed());
        }
    }
}

type StatsById = HashMap<ExecutionId, CompletionStats>;

/// A result that the database records.
trait Recorded: Sized {
    /// The most that one statement records.
    const BATCH_MAX: usize;

    /// The attempt that ended.
    fn attempt(&self) -> &EndedAttempt;

    /// The same without the destination's texts, which are the only part that a database can refuse.
    fn without_texts(&self) -> Self;

    /// Records these; returns those whose lease was not lost.
    async fn record(queue: &Queue, batch: &[Self]) -> Result<RecordedExecutions, StoreError>;

    /// Counts it. It may have ended like that before.
    fn count(&self, stats: &CompletionStats, metrics: &Metrics, is_repeated: bool);

    /// When other work can be due because of it; none if its end changes nothing.
    fn others_due_in(&self, stats: &CompletionStats) -> Option<Duration>;
}

impl Recorded for CompletedExecution {
    const BATCH_MAX: usize = BATCH_MAX;

    fn attempt(&self) -> &EndedAttempt {
        &self.attempt
    }

    fn without_texts(&self) -> Self {
        self.without_texts()
    }

    async fn record(queue: &Queue, batch: &[Self]) -> Result<RecordedExecutions, StoreError> {
        queue.complete(batch).await
    }

    fn count(&self, stats: &CompletionStats, metrics: &Metrics, is_repeated: bool) {
        match self.conclusion {
            Conclusion::Success(_) => stats.count_success(metrics, is_repeated),
            Conclusion::Failed => metrics.ended(&stats.destination, Ended::Failed, is_repeated, 1),
            Conclusion::Skipped => metrics.ended(&stats.destination, Ended::Skipped, is_repeated, 1),
            Conclusion::Postponed { .. } => {}
        }
    }

    fn others_due_in(&self, stats: &CompletionStats) -> Option<Duration> {
        match self.conclusion {
            Conclusion::Postponed { wait, .. } => Some(wait),
            _ => stats.others_may_wait.then_some(Duration::ZERO),
        }
    }
}

impl Recorded for CompletedLane {
    const BATCH_MAX: usize = BATCH_MAX;

    fn attempt(&self) -> &EndedAttempt {
        &self.head
    }

    fn without_texts(&self) -> Self {
        self.without_texts()
    }

    async fn record(queue: &Queue, batch: &[Self]) -> Result<RecordedExecutions, StoreError> {
        queue.complete_lanes(batch).await
    }

    fn count(&self, stats: &CompletionStats, metrics: &Metrics, is_repeated: bool) {
        if self.shown.is_some() {
            stats.count_success(metrics, is_repeated);
        }
        // A superseded execution cannot be retried, so it ends like that once.
        metrics.ended(&stats.destination, Ended::Superseded, false, self.superseded.len());
    }

    fn others_due_in(&self, _stats: &CompletionStats) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Recorded for RefusedState {
    // Rare, so it has a simple statement.
    const BATCH_MAX: usize = 1;

    fn attempt(&self) -> &EndedAttempt {
        &self.head
    }

    fn without_texts(&self) -> Self {
        self.without_texts()
    }

    async fn record(queue: &Queue, batch: &[Self]) -> Result<RecordedExecutions, StoreError> {
        let mut changed = RecordedExecutions::new();
        for refused in batch {
            if let Some(is_repeated) = queue.refuse_state(refused).await? {
                changed.insert(refused.head.execution, is_repeated);
            }
        }
        Ok(changed)
    }

    fn count(&self, stats: &CompletionStats, metrics: &Metrics, is_repeated: bool) {
        metrics.ended(&stats.destination, Ended::Failed, is_repeated, 1);
    }

    fn others_due_in(&self, _stats: &CompletionStats) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

/// The task behind the [`Completer`].
struct CompleterTask {
    queue: Queue,
    notifier: Notifier,
    metrics: Metrics,
    progress: watch::Sender<u64>,
}

impl CompleterTask {
    async fn run(self, mut receiver: mpsc::Receiver<Queued>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let (mut executions, mut lanes, mut refused) = (Vec::new(), Vec::new(), Vec::new());
            let (mut leases, mut stats_by_id) = (Vec::new(), StatsById::new());
            for Queued { completed, stats, lease } in batch.drain(..) {
                leases.push(lease);
                let execution = match &completed {
                    Completed::Execution(completed) => completed.attempt.execution,
                    Completed::Lane(completed) => completed.head.execution,
                    Completed::Refused(refused) => refused.head.execution,
                };
                stats_by_id.insert(execution, stats);
                match completed {
                    Completed::Execution(completed) => executions.push(completed),
                    Completed::Lane(completed) => lanes.push(completed),
                    Completed::Refused(completed) => refused.push(completed),
                }
            }
            // No two of these have an execution in common: one of a lane runs at a time.
            tokio::join!(
                self.complete(executions, &stats_by_id),
                self.complete(lanes, &stats_by_id),
                self.complete(refused, &stats_by_id)
            );
        }
    }

    /// Records these; if the database refuses a batch, each by itself.
    async fn complete<R: Recorded>(&self, mut completed: Vec<R>, stats: &StatsById) {
        // In the order of all statements that lock many rows, so that there is no deadlock.
        completed.sort_by_key(|completed| completed.attempt().execution.0);
        for batch in completed.chunks(R::BATCH_MAX) {
            let Err(error) = self.record(batch, stats).await else { continue };
            if let [completed] = batch {
                self.complete_bare(completed, &error, stats).await;
                continue;
            }
            warn!(%error, completions = batch.len(), "database refused a batch of completions");
            for completed in batch {
                if let Err(error) = self.record(std::slice::from_ref(completed), stats).await {
                    self.complete_bare(completed, &error, stats).await;
                }
            }
        }
    }

    /// Records a refused completion without the destination's texts.
    async fn complete_bare<R: Recorded>(&self, completed: &R, refusal: &StoreError, stats: &StatsById) {
        let execution_id = completed.attempt().execution.0;
        error!(error = %refusal, execution_id, "database refused a completion");
        let bare = completed.without_texts();
        if let Err(error) = self.record(std::slice::from_ref(&bare), stats).await {
            error!(%error, execution_id, "completion discarded; its lease will be rescued");
        }
    }

    /// Tries until the database accepts or refuses a batch. The error is the refusal.
    async fn record<R: Recorded>(&self, batch: &[R], stats: &StatsById) -> Result<(), StoreError> {
        loop {
            match in_time(R::record(&self.queue, batch)).await {
                Ok(changed) => {
                    self.count(batch, stats, &changed);
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

    fn count<R: Recorded>(&self, batch: &[R], stats: &StatsById, changed: &RecordedExecutions) {
        let mut due_in: Option<Duration> = None;
        for completed in batch {
            let attempt = completed.attempt();
            let Some(stats) = stats.get(&attempt.execution) else { continue };
            let Some(is_repeated) = changed.get(&attempt.execution) else {
                warn!(execution_id = attempt.execution.0, "lease lost; result discarded");
                continue;
            };
            self.metrics.attempt(&stats.destination, attempt.outcome, attempt.duration);
            completed.count(stats, &self.metrics, *is_repeated);
            let others = completed.others_due_in(stats);
            due_in = due_in.into_iter().chain(others).min();
        }
        self.notify_in(due_in);
    }

    /// Work that is due before the next poll gets a notification of its own.
    fn notify_in(&self, due_in: Option<Duration>) {
        match due_in {
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

/// Bounds the wait for an answer: a connection that died silently would block for much longer.
async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or(Err(StoreError::TimedOut))
}
