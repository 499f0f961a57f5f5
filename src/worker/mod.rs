//! The background pool: claims what is due, delivers it, records how it ended.
//!
//! A process claims no more than it can begin at once, so that no lease ages in a queue. Work wakes
//! it at once; polling finds whatever a lost wake-up left behind. No connection to the database is
//! held while a destination is called.

mod backoff;
mod circuit_breaker;
mod completer;
mod delivery;
mod delivery_context;
mod destination_pause;
mod heartbeat;
mod indexer;
mod instances;
mod lease_registry;
mod object;
mod preview;
mod rate_limit_backoff;
mod slot_quota;

pub use backoff::wait_before;
pub use delivery::conclude;
pub use indexer::index;
pub use preview::Previewer;

use crate::config::RetrySettings;
use crate::destinations::Instance;
use crate::sources::Registry;
use crate::store::{
    Canary, Claimed, Destinations, Notifier, Queue, RateLimits, StoreError, Wanted, WorkerId,
};
use crate::telemetry::{Metrics, Supervisor};
use completer::{Completer, CompletionStats};
use delivery::Deliverer;
use destination_pause::DestinationPause;
use heartbeat::Heartbeat;
use instances::{CanaryGuard, Instances, TrialGuard};
use lease_registry::LeaseRegistry;
use rate_limit_backoff::RateLimitBackoff;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long an idle pool waits before it looks for work that nobody announced.
const POLL: Duration = Duration::from_secs(1);

/// How long to wait after a claim that found nothing, though somebody may ring meanwhile: events
/// for a paused instance, or work that another process claimed, are no reason to ask a thousand times a second.
const REST_AFTER_NOTHING: Duration = Duration::from_millis(20);

/// The shortest time between two looks behind the fresh work, for what is late or in bulk. Only where slots
/// are free does anybody look there.
const LOOK_BEHIND_EVERY: Duration = Duration::from_millis(50);

/// How long to wait before asking a database again that did not answer.
const DATABASE_AWAY: Duration = Duration::from_secs(1);

/// How long a claim may take. Its leases are taken for forgotten only later than this.
const CLAIM_WITHIN: Duration = Duration::from_secs(20);

/// The most executions that one statement claims.
const CLAIM_MAX: usize = 256;

/// One claimed execution in so many is a late retry, as far as there are any.
const LATE_SHARE: usize = 5;

/// The parts of the store that a worker uses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerStore {
    /// To claim and complete executions.
    pub queue: Queue,
    /// To pause, probe and resume destination instances.
    pub destinations: Destinations,
    /// To keep to the rate limits that all replicas share.
    pub rate_limits: RateLimits,
}

/// What a pool works with.
#[derive(Clone)]
pub struct WorkerSettings {
    /// How many executions run at once.
    pub concurrency: usize,
    /// How failed tries are repeated.
    pub retry: RetrySettings,
    /// The time between two probes of a paused instance.
    pub probe_every: Duration,
    /// How long running work may go on after the signal to stop.
    pub grace: Duration,
    /// Counts the verdicts recorded; whoever watches it sees when something has changed.
    pub progress: watch::Sender<u64>,
    /// Counts what becomes of executions.
    pub metrics: Metrics,
    /// Told when a part of the pool breaks.
    pub supervisor: Supervisor,
}

/// Works the queue for these instances until told to stop; then lets what runs come to its end
/// within the grace, and gives back what does not.
pub async fn run(
    store: WorkerStore,
    notifier: Notifier,
    sources: Registry,
    instances: Vec<Instance>,
    settings: WorkerSettings,
    stop: CancellationToken,
) {
    let leases = LeaseRegistry::default();
    let instances = Arc::new(Instances::new(instances));
    let pauses = DestinationPause {
        store: store.clone(),
        notifier: notifier.clone(),
        leases: leases.clone(),
        backoff: RateLimitBackoff::default(),
        instances: instances.clone(),
        probe_every: settings.probe_every,
        metrics: settings.metrics.clone(),
    };
    let supervisor = settings.supervisor;
    let probing =
        tokio::spawn(supervisor.clone().critical("probes", pauses.clone().probe_until(stop.clone())));
    let mut pool = Pool {
        pauses: pauses.clone(),
        heartbeat: Heartbeat::start(
            store.queue.clone(),
            notifier.clone(),
            leases.clone(),
            settings.metrics.clone(),
            &supervisor,
        ),
        completer: Completer::start(
            store.queue.clone(),
            notifier.clone(),
            settings.metrics.clone(),
            settings.progress,
            &supervisor,
        ),
        deliverer: Arc::new(Deliverer {
            instances: instances.clone(),
            sources,
            pauses,
            retry: settings.retry,
            store: store.clone(),
            metrics: settings.metrics,
        }),
        slots: Arc::new(Semaphore::new(settings.concurrency)),
        concurrency: settings.concurrency,
        deliveries: TaskTracker::new(),
        cut: CancellationToken::new(),
        freed: Arc::default(),
        late_credit: 0,
        was_rung: false,
        look_behind_at: Instant::now(),
        owes_look_behind: false,
        quarantine_check_at: Instant::now(),
        all_rest_since: None,
        queue: store.queue,
        notifier,
        leases,
        instances,
    };
    while !stop.is_cancelled() {
        pool.work(&stop).await;
    }
    pool.drain(settings.grace).await;
    if let Err(error) = probing.await {
        warn!(%error, "the task that probes paused destinations failed");
    }
}

/// What an execution proves that is the only one of its instance, until this is dropped.
#[expect(dead_code, reason = "held for what dropping it does")]
enum Alone {
    /// It is the trial of a half-open circuit breaker.
    Trial(TrialGuard),
    /// It is the canary of a paused instance.
    Canary(CanaryGuard),
}

struct Pool {
    queue: Queue,
    notifier: Notifier,
    leases: LeaseRegistry,
    instances: Arc<Instances>,
    pauses: DestinationPause,
    deliverer: Arc<Deliverer>,
    slots: Arc<Semaphore>,
    concurrency: usize,
    deliveries: TaskTracker,
    /// Breaks off what still runs when the grace is over.
    cut: CancellationToken,
    /// Rings when a delivery has come to its end.
    freed: Arc<Notify>,
    /// Claimed executions that have not yet earned a late retry its slot.
    late_credit: usize,
    /// Whether somebody rang for this round.
    was_rung: bool,
    look_behind_at: Instant,
    /// Whether slots are free, and the look behind the fresh work was put off.
    owes_look_behind: bool,
    quarantine_check_at: Instant,
    /// Since when all else rests because a quarantined execution runs alone.
    all_rest_since: Option<Instant>,
    heartbeat: Heartbeat,
    completer: Completer,
}

impl Pool {
    /// One round: waits for room, claims, begins. Waits end when a stop is asked for; a claim that is
    /// under way does not, so that no lease is taken whose execution nobody knows.
    async fn work(&mut self, stop: &CancellationToken) {
        let Some(worker) = stop.run_until_cancelled(self.heartbeat.worker()).await else { return };
        let Some(Some(slots)) = stop.run_until_cancelled(self.free_slots()).await else { return };
        if let Some(since) = self.all_rest_since.take() {
            // All else now runs for as long as it rested: quarantined executions take at most half of the time.
            self.quarantine_check_at = Instant::now() + since.elapsed().max(POLL);
        }
        let wanted = slots.len();
        let rest = match self.claim(worker, slots).await {
            Ok(begun) if begun == wanted => None,
            Ok(0) if self.was_rung => {
                let _stopped = stop.run_until_cancelled(tokio::time::sleep(REST_AFTER_NOTHING)).await;
                Some(self.until_next_look())
            }
            Ok(_) => Some(self.until_next_look()),
            Err(error) => {
                warn!(%error, "could not claim work");
                Some(DATABASE_AWAY + jitter())
            }
        };
        if self.quarantine_check_at <= Instant::now() {
            let since = Instant::now();
            self.quarantine_check_at = since + POLL;
            if self.run_quarantined(worker, stop).await {
                self.all_rest_since = Some(since);
            }
        }
        if let Some(at_most) = rest {
            self.was_rung = stop.run_until_cancelled(self.rest(at_most)).await.unwrap_or_default();
        }
    }

    /// How long to wait for a ring, where none comes.
    fn until_next_look(&self) -> Duration {
        if self.owes_look_behind {
            return self.look_behind_at.saturating_duration_since(Instant::now());
        }
        POLL + jitter()
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

    /// Claims for as many slots as there are and begins what was claimed; returns how many.
    async fn claim(
        &mut self,
        worker: WorkerId,
        mut slots: Vec<OwnedSemaphorePermit>,
    ) -> Result<usize, StoreError> {
        let wanted = slots.len();
        for name in self.instances.take_canaries() {
            let Some(slot) = slots.pop() else { break };
            slots.extend(self.claim_canary(worker, &name, slot).await?);
        }
        let allowances = self.instances.allowances(Instant::now());
        self.owes_look_behind = false;
        if !allowances.all.is_empty() {
            self.late_credit += wanted;
            let late = self.late_credit / LATE_SHARE;
            self.late_credit %= LATE_SHARE;
            self.claim_for(worker, &allowances.all, late, false, &mut slots).await?;
            // What the fresh work leaves free is for late retries too, and then for what is in bulk.
            let free = slots.len();
            self.owes_look_behind = free > 0 && self.look_behind_at > Instant::now();
            if free > 0
                && !self.owes_look_behind
                && self.claim_for(worker, &allowances.all, free, true, &mut slots).await? == 0
            {
                self.look_behind_at = Instant::now() + LOOK_BEHIND_EVERY;
            }
        }
        for name in allowances.one {
            let Some(slot) = slots.pop() else { break };
            let mut single = vec![slot];
            self.claim_trial(worker, name, &mut single).await?;
            slots.append(&mut single);
        }
        Ok(wanted - slots.len())
    }

    /// Claims the trial of an instance whose circuit breaker is half-open.
    async fn claim_trial(
        &self,
        worker: WorkerId,
        name: String,
        slot: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<(), StoreError> {
        let destinations = [name.clone()];
        let wanted = Wanted { limit: 1, late: 1, bulk: true, ..Wanted::nothing(&destinations) };
        // Before it is claimed: it may have ended before this line continues.
        let mut trial = Some(self.instances.begin_trial(name));
        let leased = Instant::now();
        for claimed in self.ask(worker, wanted).await? {
            self.begin(claimed, leased, slot.pop(), trial.take().map(Alone::Trial));
        }
        Ok(())
    }

    /// Claims a canary for a paused instance; returns the slot if none was begun. If nothing waits, the
    /// instance is resumed, and its next execution shows whether it works.
    async fn claim_canary(
        &self,
        worker: WorkerId,
        name: &str,
        slot: OwnedSemaphorePermit,
    ) -> Result<Option<OwnedSemaphorePermit>, StoreError> {
        let execution = match self.queue.choose_canary(name).await? {
            Canary::With(execution) => execution,
            Canary::NotNow => return Ok(Some(slot)),
            Canary::NothingWaits => {
                self.pauses.resume(name).await;
                return Ok(Some(slot));
            }
        };
        // Before it is claimed: it may have ended before this line continues.
        let mut canary = Some(self.instances.begin_canary(name, execution));
        let destinations = [name.to_owned()];
        let wanted = Wanted { canary: Some(execution), ..Wanted::nothing(&destinations) };
        let (leased, mut slot) = (Instant::now(), Some(slot));
        // If another process has claimed it meanwhile, the next probe chooses another.
        for claimed in self.ask(worker, wanted).await? {
            self.begin(claimed, leased, slot.take(), canary.take().map(Alone::Canary));
        }
        Ok(slot)
    }

    async fn claim_for(
        &self,
        worker: WorkerId,
        destinations: &[String],
        late: usize,
        bulk: bool,
        slots: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<usize, StoreError> {
        if slots.is_empty() {
            return Ok(0);
        }
        let free = self.instances.free_slots(destinations, self.concurrency);
        let own: Vec<_> = free.reserved.into_iter().map(count).collect();
        let wanted = Wanted {
            limit: whole(slots.len()),
            own: &own,
            shared: count(free.shared),
            late: whole(late),
            bulk,
            ..Wanted::nothing(destinations)
        };
        let leased = Instant::now();
        let claimed = self.ask(worker, wanted).await?;
        let found = claimed.len();
        for claimed in claimed {
            // There are never more than slots: the claim was limited to these.
            self.begin(claimed, leased, slots.pop(), None);
        }
        Ok(found)
    }

    /// Claims, and waits no longer than an answer can take: a lease whose answer was lost is freed.
    async fn ask(&self, worker: WorkerId, wanted: Wanted<'_>) -> Result<Vec<Claimed>, StoreError> {
        tokio::time::timeout(CLAIM_WITHIN, self.queue.claim(worker, wanted))
            .await
            .unwrap_or(Err(StoreError::TimedOut))
    }

    /// Runs one quarantined execution, which may have crashed a worker, with nothing beside it. Returns
    /// whether all else had to rest for it.
    async fn run_quarantined(&self, worker: WorkerId, stop: &CancellationToken) -> bool {
        let destinations = self.instances.allowances(Instant::now()).all;
        match self.queue.has_quarantined(&destinations).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                warn!(%error, "looking for quarantined executions failed");
                return false;
            }
        }
        let everything = self.slots.clone().acquire_many_owned(whole(self.concurrency));
        let Some(Ok(slots)) = stop.run_until_cancelled(everything).await else { return false };
        let wanted = Wanted { limit: 1, quarantined: true, ..Wanted::nothing(&destinations) };
        let leased = Instant::now();
        match self.ask(worker, wanted).await {
            Ok(claimed) => {
                let mut slots = Some(slots);
                for claimed in claimed {
                    self.begin(claimed, leased, slots.take(), None);
                }
            }
            Err(error) => warn!(%error, "claiming a quarantined execution failed"),
        }
        true
    }

    fn begin(
        &self,
        claimed: Claimed,
        leased: Instant,
        slot: Option<OwnedSemaphorePermit>,
        alone: Option<Alone>,
    ) {
        let deliverer = self.deliverer.clone();
        let completions = self.completer.completions();
        let cut = self.cut.clone();
        let lease = self.leases.register(claimed.fence);
        let stats = CompletionStats::of(&claimed, leased);
        let under_way = self.instances.begin(claimed.destination.clone());
        let freed = self.freed.clone();
        self.deliveries.spawn(async move {
            let completion = deliverer.deliver(claimed, leased, &cut).await;
            drop(alone);
            completions.send(completion, stats, lease).await;
            drop((slot, under_way));
            freed.notify_one();
        });
    }

    /// Waits until somebody rings, there is room again, or the time is over; tells whether somebody rang.
    async fn rest(&self, at_most: Duration) -> bool {
        tokio::select! {
            () = self.notifier.notified() => true,
            // An instance may have more that is due, and have had no room for it.
            () = self.freed.notified(), if self.is_anyone_without_room() => false,
            () = tokio::time::sleep(at_most) => false,
        }
    }

    /// Whether an instance has as much under way as it may, though there may be free slots.
    fn is_anyone_without_room(&self) -> bool {
        let free = self.instances.free_slots(&self.instances.names(), self.concurrency);
        free.shared == 0 && free.reserved.contains(&0)
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
        self.completer.close().await;
        self.heartbeat.stop().await;
    }
}

/// So that processes which began together do not go on asking together.
fn jitter() -> Duration {
    Duration::from_millis(rand::random_range(0..200))
}

fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn count(slots: usize) -> i64 {
    i64::try_from(slots).unwrap_or(i64::MAX)
}
