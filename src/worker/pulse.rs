//! A process's sign of life. As long as it beats, its leases hold; when it has been silent for
//! [`SILENCE`], any process frees them.

use super::held::Held;
use crate::store::{Rescued, Store, StoreError, Wake, Watch, WorkerId};
use crate::telemetry::{Ended, Metrics, Overseer};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The time between two beats, and between two looks for the dead.
const BEAT: Duration = Duration::from_secs(3);

/// How long a look for the dead may take: with the beat and the rest between two beats it stays
/// within the silence that makes others take this process for dead.
const RESCUE_WITHIN: Duration = Duration::from_secs(3);

/// The silence after which a worker is taken for dead. With the time between two looks it keeps
/// the leases of a dead process from standing for 20 s.
const SILENCE: Duration = Duration::from_secs(12);

/// How much sooner than others this process stops trusting its leases: a request must be on its way.
const MARGIN: Duration = Duration::from_secs(1);

/// How long a process must have beaten without a miss before it takes others for dead: as long as
/// those who survived an outage of the database need to say so.
const STEADY: Duration = Duration::from_secs(7);

/// Keeps this process registered.
pub(super) struct Pulse {
    worker: watch::Receiver<Option<WorkerId>>,
    stop: CancellationToken,
    beating: JoinHandle<Option<()>>,
    store: Store,
    metrics: Metrics,
}

impl Pulse {
    pub(super) fn start(store: Store, wake: Wake, held: Held, metrics: Metrics, overseer: &Overseer) -> Self {
        let (sender, worker) = watch::channel(None);
        let stop = CancellationToken::new();
        let beat = Beat { store: store.clone(), wake, held, metrics: metrics.clone(), worker: sender };
        let beating = tokio::spawn(overseer.clone().vital("beat", beat.run(stop.clone())));
        Self { worker, stop, beating, store, metrics }
    }

    /// This process's id; waits until it has one.
    pub(super) async fn worker(&self) -> WorkerId {
        let mut worker = self.worker.clone();
        match worker.wait_for(Option::is_some).await.map(|known| *known) {
            Ok(Some(worker)) => worker,
            // Nobody beats any more: the process is stopping, and nothing is to be claimed.
            _ => std::future::pending().await,
        }
    }

    /// Stops beating and signs off, which frees at once what is still leased.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.beating.await {
            warn!(%error, "the beat broke");
        }
        let last = *self.worker.borrow();
        let Some(worker) = last else { return };
        match self.store.queue.retire(worker).await {
            Ok(freed) => count(&self.metrics, &freed),
            Err(error) => warn!(%error, "could not sign off; the leases run out by themselves"),
        }
    }
}

/// Counts what was freed, with the try that its worker's death was, and what was given up so.
fn count(metrics: &Metrics, freed: &[Rescued]) {
    for execution in freed {
        metrics.crashed(&execution.destination);
        if execution.is_given_up {
            metrics.ended(&execution.destination, Ended::Failed, 1);
        }
    }
    metrics.rescued(freed.len());
}

/// Beats, and looks for executions that nobody works on.
struct Beat {
    store: Store,
    wake: Wake,
    held: Held,
    metrics: Metrics,
    worker: watch::Sender<Option<WorkerId>>,
}

impl Beat {
    async fn run(self, stop: CancellationToken) {
        // After an outage of the database nobody has beaten for a while: whoever is the first to
        // come back must not take the others for dead.
        let mut steady_since = Instant::now();
        loop {
            let buries_the_dead = steady_since.elapsed() >= STEADY;
            match tokio::time::timeout(BEAT, self.beat()).await {
                Ok(Ok(myself)) => self.look_for_the_dead(myself, buries_the_dead).await,
                Ok(Err(error)) => {
                    warn!(%error, "could not tell the database that this process lives");
                    steady_since = Instant::now();
                }
                Err(_elapsed) => {
                    warn!("the database takes too long to hear that this process lives");
                    steady_since = Instant::now();
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    /// Tells the database that this process lives, and under which id.
    async fn beat(&self) -> Result<WorkerId, StoreError> {
        let began = Instant::now();
        let known = *self.worker.borrow();
        let myself = match known {
            Some(worker) if self.store.queue.beat(worker).await? => worker,
            _ => {
                if known.is_some() {
                    warn!("this process was taken for dead; it begins anew under another id");
                    self.held.lose_all();
                }
                self.store.queue.register_worker().await?
            }
        };
        // The beat was recorded after it began, so the silence begins no earlier.
        self.held.renew_until(began + SILENCE.saturating_sub(MARGIN));
        self.metrics.beat();
        // Claims begin once the id is known, and what they lease must hold by then.
        if known != Some(myself) {
            self.worker.send_replace(Some(myself));
        }
        Ok(myself)
    }

    /// Frees what nobody works on. Where that fails or takes too long, this process lives all the same.
    async fn look_for_the_dead(&self, myself: WorkerId, buries_the_dead: bool) {
        let held = self.held.fences();
        let silence = buries_the_dead.then_some(SILENCE);
        let looking = self.store.queue.rescue(Watch { silence, myself: Some(myself), held: &held });
        match tokio::time::timeout(RESCUE_WITHIN, looking).await.unwrap_or(Err(StoreError::TimedOut)) {
            Ok(rescued) if rescued.is_empty() => {}
            Ok(rescued) => {
                count(&self.metrics, &rescued);
                info!(executions = rescued.len(), "freed executions that nobody works on");
                self.wake.ring();
            }
            Err(error) => warn!(%error, "could not look for executions that nobody works on"),
        }
    }
}
