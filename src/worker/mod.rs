//! The background pool: claims what is due, delivers it, records how it ended.
//!
//! A process claims no more than it can begin at once, so that no lease ages in a queue. Work wakes
//! it at once; polling finds whatever a lost wake-up left behind. No connection to the database is
//! held while a destination is called.

mod backoff;
mod delivery;
mod finisher;
mod held;
mod memory;
mod pulse;

pub use backoff::wait_before;
pub use delivery::conclude;

use crate::config::RetrySettings;
use crate::destinations::Instance;
use crate::store::{Claimed, Store, StoreError, Wake, WorkerId};
use delivery::Deliverer;
use finisher::Finisher;
use held::Held;
use pulse::Pulse;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long an idle pool waits before it looks for work that nobody announced.
const POLL: Duration = Duration::from_secs(1);

/// How long to wait before asking a database again that did not answer.
const DATABASE_AWAY: Duration = Duration::from_secs(1);

/// The most executions that one statement claims.
const CLAIM_MAX: usize = 100;

/// What a pool works with.
#[derive(Clone)]
pub struct WorkerSettings {
    /// How many executions run at once.
    pub concurrency: usize,
    /// How failed tries are repeated.
    pub retry: RetrySettings,
    /// How long running work may go on after the signal to stop.
    pub grace: Duration,
    /// Counts the verdicts recorded; whoever watches it sees when something has changed.
    pub progress: watch::Sender<u64>,
}

/// Works the queue for these instances until told to stop; then lets what runs come to its end
/// within the grace, and gives back what does not.
pub async fn run(
    store: Store,
    wake: Wake,
    instances: Vec<Instance>,
    settings: WorkerSettings,
    stop: CancellationToken,
) {
    let held = Held::default();
    let pulse = Pulse::start(store.clone(), wake.clone(), held.clone());
    let finisher = Finisher::start(store.clone(), wake.clone(), settings.progress);
    let pool = Pool {
        destinations: instances.iter().map(|instance| instance.subscription.destination.clone()).collect(),
        slots: Arc::new(Semaphore::new(settings.concurrency)),
        deliverer: Arc::new(Deliverer::new(instances, settings.retry, store.clone())),
        deliveries: TaskTracker::new(),
        cut: CancellationToken::new(),
        store,
        wake,
        held,
        pulse,
        finisher,
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = pool.work() => {}
    }
    pool.drain(settings.grace).await;
}

struct Pool {
    store: Store,
    wake: Wake,
    held: Held,
    destinations: Vec<String>,
    deliverer: Arc<Deliverer>,
    slots: Arc<Semaphore>,
    deliveries: TaskTracker,
    /// Breaks off what still runs when the grace is over.
    cut: CancellationToken,
    pulse: Pulse,
    finisher: Finisher,
}

impl Pool {
    async fn work(&self) {
        loop {
            let worker = self.pulse.worker().await;
            let Some(slots) = self.free_slots().await else { return };
            let wanted = slots.len();
            let began = Instant::now();
            match self.claim(worker, wanted).await {
                Ok(claimed) => {
                    let found = claimed.len();
                    for (claimed, slot) in claimed.into_iter().zip(slots) {
                        self.begin(claimed, began, slot);
                    }
                    if found < wanted {
                        self.rest(POLL).await;
                    }
                }
                Err(error) => {
                    warn!(%error, "could not claim work");
                    self.rest(DATABASE_AWAY).await;
                }
            }
        }
    }

    /// Waits for a free slot, then takes all that are free, up to one claim's worth.
    async fn free_slots(&self) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut slots = vec![self.slots.clone().acquire_owned().await.ok()?];
        while slots.len() < CLAIM_MAX {
            match self.slots.clone().try_acquire_owned() {
                Ok(slot) => slots.push(slot),
                Err(_) => break,
            }
        }
        Some(slots)
    }

    async fn claim(&self, worker: WorkerId, limit: usize) -> Result<Vec<Claimed>, StoreError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        self.store.claim(worker, &self.destinations, limit).await
    }

    fn begin(&self, claimed: Claimed, began: Instant, slot: OwnedSemaphorePermit) {
        let deliverer = self.deliverer.clone();
        let verdicts = self.finisher.verdicts();
        let cut = self.cut.clone();
        let holding = self.held.hold(claimed.fence);
        self.deliveries.spawn(async move {
            let finished = deliverer.deliver(claimed, began, &cut).await;
            verdicts.send(finished, holding).await;
            drop(slot);
        });
    }

    async fn rest(&self, at_most: Duration) {
        let jitter = Duration::from_millis(rand::random_range(0..200));
        tokio::select! {
            () = self.wake.rung() => {}
            () = tokio::time::sleep(at_most + jitter) => {}
        }
    }

    async fn drain(self, grace: Duration) {
        self.deliveries.close();
        if tokio::time::timeout(grace, self.deliveries.wait()).await.is_err() {
            warn!(
                unfinished = self.deliveries.len(),
                "deliveries did not end within the grace; they are broken off"
            );
            self.cut.cancel();
            self.deliveries.wait().await;
        }
        self.finisher.close().await;
        self.pulse.stop().await;
    }
}
