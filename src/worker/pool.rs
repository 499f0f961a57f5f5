//! The pool: claims what the [schedule](super::schedule) decides, delivers it in tasks of their own, and
//! hands the completions to the completer.
//!
//! A process claims no more than it can begin at once, so that no lease ages in a queue. A notification
//! wakes it at once; polling finds what a lost notification left behind.

use super::completer::{Completer, CompletionStats};
use super::delivery::{Deliverer, StateMemory};
use super::destination_map::DestinationMap;
use super::destination_pause::DestinationPause;
use super::heartbeat::Heartbeat;
use super::instances::{Began, CanaryGuard, InstanceStates, Trial, TrialGuard};
use super::lease_registry::LeaseRegistry;
use super::rate_limit_backoff::RateLimitBackoff;
use super::schedule::{Batch, Claim, Rest, Schedule, Taken};
use super::store_parts::WorkerStore;
use crate::config::{Concurrency, RetrySettings};
use crate::destinations::Instance;
use crate::sources::Registry;
use crate::store::{Ask, Canary, ClaimRequest, Claimed, Notifier, Position, StoreError, WorkClass, WorkerId};
use crate::telemetry::{Metrics, Supervisor};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long a claim may take. Its leases count as unknown only later than this.
const CLAIM_WITHIN: Duration = Duration::from_secs(20);

/// The most executions that one statement claims.
const CLAIM_MAX: usize = 256;

/// The most bytes of bodies that a process holds for claimed executions, beside the last claimed one: thousands
/// of usual ones, sixteen of the largest.
const BODIES_MAX: usize = 32 * 1024 * 1024;

/// The classes in which work waits that needs no worker of its own.
const ALL_CLASSES: [WorkClass; 3] = [WorkClass::Fresh, WorkClass::Retry, WorkClass::Bulk];

/// What a pool works with.
#[derive(Clone)]
pub struct WorkerSettings {
    /// How many executions run at once.
    pub concurrency: Concurrency,
    /// How failed attempts are repeated.
    pub retry: RetrySettings,
    /// The time between two probes of a paused instance.
    pub probe_every: Duration,
    /// How long running deliveries may continue after the signal to stop.
    pub grace: Duration,
    /// Counts the recorded completions; its watchers see when something has changed.
    pub progress: watch::Sender<u64>,
    /// Counts how executions end.
    pub metrics: Metrics,
    /// Is notified if a task of the pool fails.
    pub supervisor: Supervisor,
}

/// Works the queue for these instances until `stop` is cancelled. Then running deliveries may end within
/// the grace; the others are interrupted.
pub async fn run(
    store: WorkerStore,
    notifier: Notifier,
    sources: Registry,
    instances: Vec<Instance>,
    settings: WorkerSettings,
    stop: CancellationToken,
) {
    let WorkerSettings { concurrency, retry, probe_every, grace, progress, metrics, supervisor } = settings;
    let leases = LeaseRegistry::default();
    let destinations = DestinationMap::new(instances);
    let instances = Arc::new(InstanceStates::new(destinations.rates(), concurrency));
    let pauses = DestinationPause {
        store: store.clone(),
        notifier: notifier.clone(),
        leases: leases.clone(),
        backoff: RateLimitBackoff::default(),
        destinations: destinations.clone(),
        instances: instances.clone(),
        probe_every,
        metrics: metrics.clone(),
    };
    let probing =
        tokio::spawn(supervisor.clone().critical("probes", pauses.clone().probe_until(stop.clone())));
    let queue = &store.queue;
    let mut pool = Pool {
        heartbeat: Heartbeat::start(
            queue.clone(),
            notifier.clone(),
            leases.clone(),
            instances.clone(),
            metrics.clone(),
            progress.subscribe(),
            &supervisor,
        ),
        completer: Completer::start(queue.clone(), notifier.clone(), metrics.clone(), progress, &supervisor),
        deliverer: Arc::new(Deliverer {
            sources,
            destinations,
            instances: instances.clone(),
            pauses: pauses.clone(),
            retry,
            store: store.clone(),
            metrics,
            states: StateMemory::default(),
        }),
        schedule: Schedule::new(&instances, Instant::now()),
        slots: Arc::new(Semaphore::new(instances.slots())),
        slots_max: instances.slots(),
        deliveries: TaskTracker::new(),
        interrupt: CancellationToken::new(),
        freed: Arc::default(),
        bodies: BodyBytes::default(),
        store,
        notifier,
        leases,
        instances,
        pauses,
    };
    while !stop.is_cancelled() {
        pool.run_round(&stop).await;
    }
    pool.drain(grace).await;
    if let Err(error) = probing.await {
        warn!(%error, "probe task failed");
    }
}

struct Pool {
    store: WorkerStore,
    notifier: Notifier,
    leases: LeaseRegistry,
    instances: Arc<InstanceStates>,
    pauses: DestinationPause,
    deliverer: Arc<Deliverer>,
    schedule: Schedule,
    slots: Arc<Semaphore>,
    slots_max: usize,
    deliveries: TaskTracker,
    /// Interrupts the deliveries that still run when the grace is over.
    interrupt: CancellationToken,
    /// Notified when a delivery has ended and its slot is free.
    freed: Arc<Notify>,
    bodies: BodyBytes,
    heartbeat: Heartbeat,
    completer: Completer,
}

/// The role of an execution that is the only one of its instance. Dropping it ends the role.
#[expect(dead_code, reason = "kept for the effect of dropping it")]
enum SoloRole {
    /// It is the trial of a half-open circuit breaker.
    Trial(TrialGuard),
    /// It is the canary of a paused instance.
    Canary(CanaryGuard),
}

impl Pool {
    /// One round: waits for free slots, claims, begins, rests. A stop ends the waits. It does not end a
    /// claim, because the database might then lease executions that no process knows of.
    async fn run_round(&mut self, stop: &CancellationToken) {
        let Some(worker) = stop.run_until_cancelled(self.heartbeat.worker()).await else { return };
        let Some(Some(slots)) = stop.run_until_cancelled(self.free_slots()).await else { return };
        if stop.run_until_cancelled(self.bodies.have_room()).await.is_none() {
            return;
        }
        self.schedule.begin_round(slots.len(), &self.instances, Instant::now());
        let rest = match self.claim(worker, slots).await {
            // What did not fit is claimed as soon as bodies are delivered.
            Ok(Filled { is_cut: true, .. }) => None,
            Ok(Filled { slots, .. }) => self.schedule.end_round(slots, jitter(), Instant::now()),
            Err(error) => {
                warn!(%error, "claiming executions failed");
                Some(Schedule::end_failed_round(jitter()))
            }
        };
        if let Some(Rest { pause, .. }) = rest
            && !pause.is_zero()
        {
            let _stopped = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        let began = Instant::now();
        if let Some(instances) = self.schedule.quarantine_check(&self.instances, began)
            && self.run_quarantined(worker, &instances, stop).await
        {
            self.schedule.record_quarantine_run(began);
        }
        if let Some(Rest { idle_max, .. }) = rest {
            let was_notified = stop.run_until_cancelled(self.idle(idle_max)).await.unwrap_or_default();
            self.schedule.end_rest(was_notified);
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

    /// Executes the claims of a round.
    async fn claim(
        &mut self,
        worker: WorkerId,
        mut slots: Vec<OwnedSemaphorePermit>,
    ) -> Result<Filled, StoreError> {
        let free = slots.len();
        let mut is_cut = false;
        while let Some(claim) = self.schedule.next_claim(slots.len(), &self.instances, Instant::now()) {
            match claim {
                Claim::Canary(instance) => self.claim_canary(worker, &instance, &mut slots).await?,
                Claim::Batch(batch) => is_cut = self.claim_batch(worker, &batch, &mut slots).await?,
                Claim::Trial(trial) => self.claim_trial(worker, trial, &mut slots).await?,
            }
            if is_cut {
                break;
            }
        }
        Ok(Filled { slots: free - slots.len(), is_cut })
    }

    /// Claims a canary for a paused instance. If nothing waits, the instance is resumed, and its next
    /// execution shows whether it works.
    async fn claim_canary(
        &self,
        worker: WorkerId,
        instance: &str,
        slots: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<(), StoreError> {
        let leased = Instant::now();
        let claimed = match self.store.queue.canary(instance).await? {
            Canary::NotNow => return Ok(()),
            Canary::NothingWaits => {
                self.pauses.resume(instance).await;
                return Ok(());
            }
            Canary::Failed { execution, class, position } => {
                let asks = [Ask { from: position, ..first_of_class(instance, class) }];
                let request = ClaimRequest { only: Some(execution), ..ClaimRequest::one(&asks) };
                self.claim_now(worker, ClaimRequest { paused_too: true, ..request }).await?
            }
            Canary::Any => Vec::new(),
        };
        // If its lane is busy or another process has it, any other one will do.
        let claimed = if claimed.is_empty() {
            let asks = first_of(&[instance.to_owned()], &ALL_CLASSES);
            self.claim_now(worker, ClaimRequest { paused_too: true, ..ClaimRequest::one(&asks) }).await?
        } else {
            claimed
        };
        for claimed in claimed {
            let canary = self.instances.begin_canary(instance, claimed.id);
            // Without the record another replica might try a second one. That does no harm.
            if let Err(error) = self.store.queue.record_canary(instance, claimed.id).await {
                warn!(%error, instance, "recording a canary failed");
            }
            self.begin(claimed, began(leased, false), slots.pop(), Some(SoloRole::Canary(canary)));
        }
        Ok(())
    }

    /// Claims the trial of an instance whose circuit breaker is not closed: new work before retries, since a
    /// retry may fail because of itself.
    async fn claim_trial(
        &self,
        worker: WorkerId,
        trial: Trial,
        slots: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<(), StoreError> {
        let Trial { instance, is_fresh_only } = trial;
        let classes: &[WorkClass] = if is_fresh_only { &[WorkClass::Fresh] } else { &ALL_CLASSES };
        let asks = first_of(std::slice::from_ref(&instance), classes);
        // Registered before the claim, since the trial may end before the claim returns.
        let mut trial = Some(self.instances.begin_trial(instance));
        let leased = Instant::now();
        for claimed in self.claim_now(worker, ClaimRequest::one(&asks)).await? {
            self.begin(claimed, began(leased, false), slots.pop(), trial.take().map(SoloRole::Trial));
        }
        Ok(())
    }

    /// Claims a batch, and reports to the schedule what it took. Returns whether the bytes of the bodies
    /// limited it.
    async fn claim_batch(
        &mut self,
        worker: WorkerId,
        batch: &Batch,
        slots: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<bool, StoreError> {
        let room = self.bodies.room();
        let request =
            ClaimRequest { limit: narrow(batch.limit), bytes: wide(room), ..ClaimRequest::one(&batch.asks) };
        let mut rooms: BTreeMap<_, _> =
            batch.asks.iter().map(|ask| (&ask.destination, self.instances.room(&ask.destination))).collect();
        let leased = Instant::now();
        let claimed = match self.claim_now(worker, request).await {
            Ok(claimed) => claimed,
            Err(error) => {
                if let Ok(newest) = self.store.queue.newest_place().await {
                    self.schedule.record_failed(batch, newest, leased.elapsed(), Instant::now());
                }
                return Err(error);
            }
        };
        let took = leased.elapsed();
        let taken: Vec<_> = claimed.iter().map(Taken::from).collect();
        let is_cut = claimed.iter().map(body_bytes).sum::<usize>() >= room;
        for taken in &taken {
            if let Some(room) = rooms.get_mut(&taken.destination) {
                *room = room.saturating_sub(1);
            }
        }
        for claimed in claimed {
            let was_saturated = rooms.get(&claimed.destination) == Some(&0);
            // There are never more than slots: they limited the claim.
            self.begin(claimed, began(leased, was_saturated), slots.pop(), None);
        }
        for examined in self.schedule.record_taken(batch, &taken, took, &self.instances, Instant::now()) {
            let began = Instant::now();
            let next = self.store.queue.first_unexamined(&examined.ask).await?;
            self.schedule.record_examined(&examined, next, began.elapsed(), Instant::now());
        }
        Ok(is_cut)
    }

    /// Runs a quarantined execution of these instances, which may have crashed a worker, alone. Returns
    /// whether all other executions had to rest for it.
    async fn run_quarantined(
        &self,
        worker: WorkerId,
        instances: &[String],
        stop: &CancellationToken,
    ) -> bool {
        match self.store.queue.has_quarantined(instances).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                warn!(%error, "looking for quarantined executions failed");
                return false;
            }
        }
        let all_slots = self.slots.clone().acquire_many_owned(narrow(self.slots_max));
        let Some(Ok(slots)) = stop.run_until_cancelled(all_slots).await else { return false };
        let asks = first_of(instances, &[WorkClass::Quarantined]);
        let request = ClaimRequest { alone: true, ..ClaimRequest::one(&asks) };
        let leased = Instant::now();
        match self.claim_now(worker, request).await {
            Ok(claimed) => {
                let mut slots = Some(slots);
                for claimed in claimed {
                    self.begin(claimed, began(leased, false), slots.take(), None);
                }
            }
            Err(error) => warn!(%error, "claiming a quarantined execution failed"),
        }
        true
    }

    /// Claims with a bound on the wait. The leases of a claim whose answer was lost are rescued.
    async fn claim_now(
        &self,
        worker: WorkerId,
        request: ClaimRequest<'_>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let claimed = tokio::time::timeout(CLAIM_WITHIN, self.store.queue.claim(worker, request))
            .await
            .unwrap_or(Err(StoreError::TimedOut))?;
        if !self.heartbeat.is_current(worker) {
            warn!("this process was declared dead while it claimed; others have its executions");
            return Ok(Vec::new());
        }
        Ok(claimed)
    }

    /// Begins the delivery of a claimed execution.
    fn begin(
        &self,
        claimed: Claimed,
        began: Began,
        slot: Option<OwnedSemaphorePermit>,
        alone: Option<SoloRole>,
    ) {
        let deliverer = self.deliverer.clone();
        let completions = self.completer.completions();
        let interrupt = self.interrupt.clone();
        let lease = self.leases.register(claimed.fence);
        let began = Began { is_retry: claimed.class != WorkClass::Fresh, ..began };
        let stats = CompletionStats::of(&claimed, began.leased);
        let running = self.instances.begin(claimed.destination.clone());
        let freed = self.freed.clone();
        let body = self.bodies.hold(body_bytes(&claimed));
        self.deliveries.spawn(async move {
            let completed = deliverer.deliver(claimed, began, &interrupt).await;
            drop((alone, body));
            completions.send(completed, stats, lease).await;
            drop((slot, running));
            freed.notify_one();
        });
    }

    /// Waits until a notification comes, an instance that was full has a free slot again, or the time is
    /// over; returns whether it was a notification.
    async fn idle(&self, at_most: Duration) -> bool {
        tokio::select! {
            () = self.notifier.notified() => true,
            // More executions of a full instance may be due.
            () = self.freed.notified(), if self.instances.is_any_full() => false,
            () = tokio::time::sleep(at_most) => false,
        }
    }

    async fn drain(self, grace: Duration) {
        self.deliveries.close();
        if tokio::time::timeout(grace, self.deliveries.wait()).await.is_err() {
            warn!(deliveries = self.deliveries.len(), "grace is over; interrupting running deliveries");
            self.interrupt.cancel();
            self.deliveries.wait().await;
        }
        self.completer.close().await;
        self.heartbeat.stop().await;
    }
}

/// What the claims of a round did.
struct Filled {
    /// How many slots they filled.
    slots: usize,
    /// Whether the bytes of the bodies limited them.
    is_cut: bool,
}

fn body_bytes(claimed: &Claimed) -> usize {
    claimed.subject.event().map_or(0, |event| event.payload.len())
}

/// An attempt that begins now. Its claim was sent at `leased`.
fn began(leased: Instant, was_saturated: bool) -> Began {
    Began { leased, at: Instant::now(), was_saturated, is_retry: false }
}

/// Keeps processes that started together from claiming together.
fn jitter() -> Duration {
    Duration::from_millis(rand::random_range(0..200))
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The first execution of these classes, for each of these instances, wherever it is.
fn first_of(instances: &[String], classes: &[WorkClass]) -> Vec<Ask> {
    let of = |instance| classes.iter().map(move |class| first_of_class(instance, *class));
    instances.iter().flat_map(|instance| of(instance)).collect()
}

fn first_of_class(instance: &str, class: WorkClass) -> Ask {
    Ask { destination: instance.to_owned(), class, from: Position::START, until: None, most: 1 }
}

impl From<&Claimed> for Taken {
    fn from(claimed: &Claimed) -> Self {
        Self {
            destination: claimed.destination.clone(),
            class: claimed.class,
            position: claimed.position,
            is_in_lane: claimed.lane.is_some(),
        }
    }
}

/// Counts the bytes of the bodies that claimed executions hold. Cheap to clone.
#[derive(Clone, Default)]
struct BodyBytes(Arc<BodyBytesInner>);

#[derive(Default)]
struct BodyBytesInner {
    held: AtomicUsize,
    freed: Notify,
}

/// The bytes of a body; dropping it gives them back.
struct HeldBytes {
    all: BodyBytes,
    count: usize,
}

impl BodyBytes {
    fn room(&self) -> usize {
        BODIES_MAX.saturating_sub(self.0.held.load(Ordering::Relaxed))
    }

    /// Waits until a body may be claimed.
    async fn have_room(&self) {
        while self.room() == 0 {
            self.0.freed.notified().await;
        }
    }

    fn hold(&self, count: usize) -> HeldBytes {
        self.0.held.fetch_add(count, Ordering::Relaxed);
        HeldBytes { all: self.clone(), count }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.all.0.held.fetch_sub(self.count, Ordering::Relaxed);
        self.all.0.freed.notify_one();
    }
}
