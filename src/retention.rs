//! Removes old data in the background: one replica at a time, as the settings require. Old bulk tasks and
//! idempotency keys are always removed.
//!
//! It works in small batches and pauses at least twice as long as each took, so that intake and deliveries are
//! not slowed down.

use crate::config;
use crate::store::{BackgroundJobs, Cutoff, NamedLeases, Removal, Retention, SWEPT_AT_ONCE, StoreError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

/// How the work is spread over time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time between two checks whether a round is due.
    pub check_interval: Duration,
    /// The time between two rounds through all events.
    pub round_interval: Duration,
    /// The shortest pause between two batches.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_mins(1),
            round_interval: Duration::from_hours(1),
            pause: Duration::from_millis(200),
        }
    }
}

/// The lease ends if its holder has not renewed it for this long.
const LEASE: Duration = Duration::from_mins(2);

/// The parts of the store that retention uses.
#[derive(Debug, Clone)]
pub struct RetentionStore {
    /// One process at a time removes data of one kind.
    pub leases: NamedLeases,
    /// How far it has come.
    pub jobs: BackgroundJobs,
    /// Removes a batch.
    pub retention: Retention,
}

/// How long tasks are kept after their end, unless `RETENTION_DAYS` is shorter.
pub const TASKS_KEPT_FOR: Duration = Duration::from_hours(24 * 30);

/// How long a client can repeat a request with the same idempotency key.
pub const KEYS_KEPT_FOR: Duration = Duration::from_hours(24);

/// The job that removes old tasks and idempotency keys, whatever the settings keep.
const RECORDS: &str = "remove old tasks and keys";

/// Removes old data until stopped.
pub async fn keep(store: RetentionStore, settings: config::Retention, pace: Pace, stop: CancellationToken) {
    let jobs = [
        ("remove old payloads", Removal::Payloads, settings.payloads),
        ("remove old events", Removal::Rows, settings.rows),
    ];
    let tasks_kept_for = settings.rows.map_or(TASKS_KEPT_FOR, |rows| rows.min(TASKS_KEPT_FOR));
    let process = Uuid::new_v4();
    while stop.run_until_cancelled(tokio::time::sleep(pace.check_interval)).await.is_some() {
        for (name, removal, age) in jobs {
            let Some(age) = age else { continue };
            let round = Round { store: &store, process, name, removal, age, pace, stop: &stop };
            if let Err(error) = round.run().await {
                warn!(%error, job = name, "retention failed; it will be retried");
            }
        }
        if let Err(error) = remove_records(&store, process, tasks_kept_for, pace, &stop).await {
            warn!(%error, job = RECORDS, "retention failed; it will be retried");
        }
    }
}

/// Removes tasks that ended, and idempotency keys, once they are old.
async fn remove_records(
    store: &RetentionStore,
    process: Uuid,
    tasks_kept_for: Duration,
    pace: Pace,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    if !store.leases.acquire(RECORDS, process, LEASE).await? {
        return Ok(());
    }
    if store.jobs.due(RECORDS).await?.is_some() {
        let mut removed = 0;
        loop {
            let batch = store.retention.remove_finished_tasks(tasks_kept_for).await?
                + store.retention.remove_idempotency_keys(KEYS_KEPT_FOR).await?;
            removed += batch;
            if batch == 0 {
                store.jobs.record(RECORDS, 0, pace.round_interval).await?;
                break;
            }
            if stop.run_until_cancelled(tokio::time::sleep(pace.pause)).await.is_none()
                || !store.leases.acquire(RECORDS, process, LEASE).await?
            {
                break;
            }
        }
        if removed > 0 {
            info!(job = RECORDS, removed, "removed old data");
        }
    }
    store.leases.release(RECORDS, process).await
}

/// One round through all events, or the rest of one that another process began.
struct Round<'a> {
    store: &'a RetentionStore,
    process: Uuid,
    name: &'static str,
    removal: Removal,
    age: Duration,
    pace: Pace,
    stop: &'a CancellationToken,
}

impl Round<'_> {
    async fn run(&self) -> Result<(), StoreError> {
        if !self.acquire().await? {
            return Ok(());
        }
        // Read under the lease: another process may have just ended the round.
        if let Some(position) = self.store.jobs.due(self.name).await? {
            self.remove_from(position).await?;
        }
        self.store.leases.release(self.name, self.process).await
    }

    async fn acquire(&self) -> Result<bool, StoreError> {
        self.store.leases.acquire(self.name, self.process, LEASE).await
    }

    /// Goes through the events after `position`, until the end, the signal to stop or the loss of the lease.
    async fn remove_from(&self, mut position: i64) -> Result<(), StoreError> {
        let retention = &self.store.retention;
        let mut removed = 0;
        let mut at_once = SWEPT_AT_ONCE;
        loop {
            let began = Instant::now();
            let swept = retention.sweep(self.removal, Cutoff::Age(self.age), position, at_once, false).await;
            let swept = match swept {
                // The same batch would time out again and again; a smaller one makes progress.
                Err(StoreError::TimedOut | StoreError::TookTooLong) if at_once > 1 => {
                    at_once /= 2;
                    warn!(job = self.name, events = at_once, "batch timed out; trying a smaller one");
                    if self.rest_at(position, began).await? {
                        continue;
                    }
                    return Ok(());
                }
                swept => swept?,
            };
            at_once = at_once.saturating_mul(2).min(SWEPT_AT_ONCE);
            removed += swept.removed;
            position = swept.position;
            if swept.is_last {
                if self.removal == Removal::Rows {
                    retention.regroup_lost_failures().await?;
                    retention.remove_idle_groups(Cutoff::Age(self.age), false).await?;
                }
                self.store.jobs.record(self.name, 0, self.pace.round_interval).await?;
                if removed > 0 {
                    info!(job = self.name, removed, "removed old data");
                }
                return Ok(());
            }
            if !self.rest_at(position, began).await? {
                return Ok(());
            }
        }
    }

    /// Records the position, and pauses for as long as the last batch requires. Returns `false` if the round
    /// must end: at the signal to stop, or if the lease is lost.
    async fn rest_at(&self, position: i64, began: Instant) -> Result<bool, StoreError> {
        let rest = self.pace.pause.max(began.elapsed() * 2).min(LEASE / 2);
        if !self.acquire().await? {
            return Ok(false);
        }
        self.store.jobs.record(self.name, position, Duration::ZERO).await?;
        Ok(self.stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_some())
    }
}
