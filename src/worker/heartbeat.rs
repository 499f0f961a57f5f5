//! The heartbeat of this process, and the rescue of executions whose process died.
//!
//! Every [`BEAT`] a process records that it lives. Its leases are valid as long as it does so. When it has
//! been silent for [`WORKER_DEAD_AFTER`], any other process frees them. After each beat a process frees the
//! leases of dead processes, and its own leases that it does not know of because a claim's answer was lost.

use super::circuit_breaker::Rest;
use super::instances::InstanceStates;
use super::lease_registry::LeaseRegistry;
use crate::store::{
    Activity, Notifier, Queue, RescueScope, Rescued, Resting, StoreError, WORKER_DEAD_AFTER, WorkerId,
};
use crate::telemetry::{Ended, Metrics, Supervisor};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The time between two beats, and between two searches for leases to rescue.
const BEAT: Duration = Duration::from_secs(3);

/// The timeout of a search for leases to rescue. Together with the beat and the rest between two beats it is
/// shorter than the silence after which others rescue the leases of this process.
const RESCUE_WITHIN: Duration = Duration::from_secs(3);

/// The time between two thorough searches, which read the whole table of leases. Others read it only if a
/// process has just died.
const THOROUGH_EVERY: Duration = Duration::from_secs(12);

/// Thorough searches may take one part in so many of the time.
const SEARCH_SHARE: u32 = 20;

/// How much sooner than others this process stops trusting its leases: it must send a request before.
const MARGIN: Duration = Duration::from_secs(1);

/// How long a process must have beaten without a miss before it declares others dead. After an outage of
/// the database the survivors need this long to record that they live.
const STEADY: Duration = Duration::from_secs(7);

/// Keeps this process registered.
pub(super) struct Heartbeat {
    worker: watch::Receiver<Option<WorkerId>>,
    stop: CancellationToken,
    beating: JoinHandle<Option<()>>,
    queue: Queue,
    metrics: Metrics,
}

impl Heartbeat {
    pub(super) fn start(
        queue: Queue,
        notifier: Notifier,
        leases: LeaseRegistry,
        instances: Arc<InstanceStates>,
        metrics: Metrics,
        progress: watch::Receiver<u64>,
        supervisor: &Supervisor,
    ) -> Self {
        let (sender, worker) = watch::channel(None);
        let stop = CancellationToken::new();
        let beat = Beat {
            queue: queue.clone(),
            notifier,
            leases,
            instances,
            metrics: metrics.clone(),
            progress,
            worker: sender,
        };
        let beating = tokio::spawn(supervisor.clone().critical("beat", beat.run(stop.clone())));
        Self { worker, stop, beating, queue, metrics }
    }

    /// This process's id; waits until it has one.
    pub(super) async fn worker(&self) -> WorkerId {
        let mut worker = self.worker.clone();
        match worker.wait_for(Option::is_some).await.map(|known| *known) {
            Ok(Some(worker)) => worker,
            // The heartbeat has ended: the process stops and claims nothing more.
            _ => std::future::pending().await,
        }
    }

    /// Whether this is still the process's id: it was not declared dead since.
    pub(super) fn is_current(&self, worker: WorkerId) -> bool {
        *self.worker.borrow() == Some(worker)
    }

    /// Stops beating and unregisters this process, which frees its remaining leases at once.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.beating.await {
            warn!(%error, "the heartbeat failed");
        }
        let last = *self.worker.borrow();
        let Some(worker) = last else { return };
        match self.queue.retire(worker).await {
            Ok(freed) => count(&self.metrics, &freed),
            Err(error) => warn!(%error, "unregistering this worker failed; its leases will be rescued"),
        }
    }
}

/// An open circuit breaker, as the heartbeat reports it to other processes.
fn resting((destination, rest): (String, Rest)) -> Resting {
    let Rest { left, fresh_left, lasts, after } = rest;
    Resting::new(destination, [left, fresh_left, lasts], after)
}

/// Counts rescued executions, each with the attempt that the death of its worker ended, and those that
/// failed with it.
fn count(metrics: &Metrics, freed: &[Rescued]) {
    for execution in freed {
        metrics.crashed(&execution.destination);
        if execution.is_given_up {
            error!(
                execution_id = execution.id.0,
                destination = execution.destination,
                class = WORKER_LOST,
                "execution failed"
            );
            metrics.ended(&execution.destination, Ended::Failed, execution.is_repeated, 1);
        }
    }
    metrics.rescued(freed.len());
}

/// The class of an execution that failed because its workers died.
const WORKER_LOST: &str = "worker_lost";

/// The task behind the [`Heartbeat`].
struct Beat {
    queue: Queue,
    notifier: Notifier,
    leases: LeaseRegistry,
    instances: Arc<InstanceStates>,
    metrics: Metrics,
    /// Counts the recorded completions.
    progress: watch::Receiver<u64>,
    worker: watch::Sender<Option<WorkerId>>,
}

impl Beat {
    async fn run(self, stop: CancellationToken) {
        // After an outage of the database no process has beaten for a while: the first to come back
        // must not declare the others dead.
        let mut steady_since = Instant::now();
        let mut thorough_at = Instant::now();
        loop {
            let is_steady = steady_since.elapsed() >= STEADY;
            match tokio::time::timeout(BEAT, self.beat()).await {
                Ok(Ok(myself)) => {
                    let began = Instant::now();
                    let thorough = thorough_at <= began;
                    let is_done = self.rescue(myself, is_steady, thorough).await;
                    // A search over many dead rows takes long, and must not take all of the time.
                    let rest = began.elapsed() * SEARCH_SHARE;
                    if !is_done {
                        thorough_at = Instant::now() + rest;
                    } else if thorough {
                        thorough_at = Instant::now() + THOROUGH_EVERY.max(rest);
                    }
                }
                Ok(Err(error)) => {
                    warn!(%error, "heartbeat not recorded");
                    steady_since = Instant::now();
                }
                Err(_elapsed) => {
                    warn!(error = %StoreError::TimedOut, "heartbeat not recorded");
                    steady_since = Instant::now();
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    /// Records that this process lives, and returns the id under which it does.
    async fn beat(&self) -> Result<WorkerId, StoreError> {
        let began = Instant::now();
        let known = *self.worker.borrow();
        let activity = Activity { running: self.leases.fences().len(), ended: *self.progress.borrow() };
        let resting: Vec<_> = self.instances.resting(Instant::now()).into_iter().map(resting).collect();
        let myself = match known {
            Some(worker) if self.queue.beat(worker, activity, &resting).await? => worker,
            _ => {
                if known.is_some() {
                    warn!("this worker was declared dead; its leases are lost and it registers again");
                    self.leases.clear();
                }
                self.queue.register_worker().await?
            }
        };
        // The beat was recorded after it began, so the silence begins no earlier.
        self.leases.trust_until(began + WORKER_DEAD_AFTER.saturating_sub(MARGIN));
        self.metrics.heartbeat();
        // Claims begin once the id is known, and their leases must be valid by then.
        if known != Some(myself) {
            self.worker.send_replace(Some(myself));
        }
        Ok(myself)
    }

    /// Frees the leases on which no process works. A failure or a timeout does not end the heartbeat. Returns
    /// `false` if there may be more: a rescue leaves locked leases to the next one.
    async fn rescue(&self, myself: WorkerId, is_steady: bool, thorough: bool) -> bool {
        let held = self.leases.fences();
        let silence = is_steady.then_some(WORKER_DEAD_AFTER);
        let rescuing =
            self.queue.rescue(RescueScope { silence, myself: Some(myself), held: &held, thorough });
        match tokio::time::timeout(RESCUE_WITHIN, rescuing).await.unwrap_or(Err(StoreError::TimedOut)) {
            Ok(rescued) if rescued.is_empty() => return true,
            Ok(rescued) => {
                count(&self.metrics, &rescued);
                info!(executions = rescued.len(), "rescued executions without a live worker");
                self.notifier.notify();
            }
            Err(error) => warn!(%error, "rescue failed"),
        }
        false
    }
}
