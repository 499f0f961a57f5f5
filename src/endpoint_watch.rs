//! Watches at the senders whether they send to this service: one replica at a time asks, every few minutes, and
//! records what it found. `health` assesses the record, so that every process shows the same.
//!
//! A check only reads. If one fails, what the last one found stays, and is shown as unknown since then.

use crate::domain::endpoint::{CheckedPart, EndpointCheck, UnknownPart, WantedEndpoint};
use crate::sources::CheckEndpoint;
use crate::store::{BackgroundJobs, EndpointChecks, NamedLeases, Store, StoreError};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

/// The lease of the process that checks, and the name of the job.
const JOB: &str = "endpoint watch";

/// The lease ends if its holder has not renewed it for this long, which is longer than a check takes.
const LEASE: Duration = Duration::from_mins(2);

/// How long a check with one key may take, with all retries.
const CHECK_WITHIN: Duration = Duration::from_mins(1);

/// How long one statement may take.
const STATEMENT_WITHIN: Duration = Duration::from_secs(10);

/// How the checks are spread over time. With the default, a change at the sender is recorded within four minutes, so
/// that an alert about it is sent within five.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time between two looks whether a check is due.
    pub look_interval: Duration,
    /// The shortest time between two checks; the longest is a quarter longer.
    pub check_interval: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { look_interval: Duration::from_secs(15), check_interval: Duration::from_secs(100) }
    }
}

/// The parts of the store that the watch uses.
#[derive(Debug, Clone)]
pub struct WatchStore {
    /// One process at a time checks.
    pub leases: NamedLeases,
    /// When the next check is due.
    pub jobs: BackgroundJobs,
    /// What was found.
    pub checks: EndpointChecks,
}

impl From<&Store> for WatchStore {
    fn from(store: &Store) -> Self {
        Self {
            leases: store.named_leases.clone(),
            jobs: store.background_jobs.clone(),
            checks: store.endpoint_checks.clone(),
        }
    }
}

/// What is watched: each checker with the name of its source, and what is wanted of the endpoints.
#[derive(Clone)]
pub struct Watched {
    /// The checkers.
    pub checkers: Arc<[(String, Arc<dyn CheckEndpoint>)]>,
    /// What is wanted.
    pub wanted: Arc<WantedEndpoint>,
}

/// Makes the next check due now: something has just changed at the sender.
pub async fn check_soon(jobs: &BackgroundJobs) -> Result<(), StoreError> {
    in_time(jobs.record(JOB, 0, Duration::ZERO)).await
}

/// Checks until stopped. Without a checker it only removes what was found with keys that the settings had before.
pub async fn watch(store: WatchStore, watched: Watched, pace: Pace, stop: CancellationToken) {
    let process = Uuid::new_v4();
    let watching = async {
        loop {
            match round(&store, &watched, process, pace).await {
                Ok(()) if watched.checkers.is_empty() => return,
                Ok(()) => {}
                Err(error) => warn!(%error, "endpoint watch failed; it will be retried"),
            }
            tokio::time::sleep(jittered(pace.look_interval)).await;
        }
    };
    if stop.run_until_cancelled(watching).await.is_none() {
        // If this fails, the lease expires.
        let _released = in_time(store.leases.release(JOB, process)).await;
    }
}

async fn round(store: &WatchStore, watched: &Watched, process: Uuid, pace: Pace) -> Result<(), StoreError> {
    if watched.checkers.is_empty() {
        return in_time(store.checks.keep_only(&[])).await;
    }
    if !in_time(store.leases.acquire(JOB, process, LEASE)).await? {
        return Ok(());
    }
    // Read under the lease: another process may have just checked.
    if in_time(store.jobs.due(JOB)).await?.is_some() {
        let keys: Vec<_> =
            watched.checkers.iter().map(|(source, checker)| (source.as_str(), checker.key())).collect();
        in_time(store.checks.keep_only(&keys)).await?;
        for (source, checker) in watched.checkers.iter() {
            // Several keys together may take longer than the lease.
            if !in_time(store.leases.acquire(JOB, process, LEASE)).await? {
                return Ok(());
            }
            check(store, source, checker.as_ref(), &watched.wanted).await?;
        }
        in_time(store.jobs.record(JOB, 0, jittered(pace.check_interval))).await?;
    }
    in_time(store.leases.release(JOB, process)).await
}

/// Checks with one key and records the result.
async fn check(
    store: &WatchStore,
    source: &str,
    checker: &dyn CheckEndpoint,
    wanted: &WantedEndpoint,
) -> Result<(), StoreError> {
    let key = checker.key();
    let answer = tokio::time::timeout(CHECK_WITHIN, checker.check(wanted)).await;
    let found = match answer.unwrap_or_else(|_elapsed| Err(took_too_long())) {
        Ok(mut found) => {
            found.undelivered = in_time(store.checks.not_stored(source, found.undelivered)).await?;
            Ok(found)
        }
        Err(unknown) => {
            warn!(source, key, why = unknown.why, "endpoint could not be checked");
            Err(unknown)
        }
    };
    let (last, now) = in_time(store.checks.last(source, key)).await?;
    let check = EndpointCheck {
        source: source.to_owned(),
        key: key.to_owned(),
        livemode: checker.livemode(),
        checked_at: found.is_ok().then_some(now),
        state: last.after(found, now),
    };
    in_time(store.checks.record(&check)).await?;
    debug!(source, key, problems = check.state.problems.len(), "endpoint checked");
    Ok(())
}

fn took_too_long() -> UnknownPart {
    UnknownPart {
        part: CheckedPart::Endpoints,
        why: format!("the sender did not answer within {} s", CHECK_WITHIN.as_secs()),
        remedy: "wait: it is asked again".to_owned(),
        lacks_permission: false,
    }
}

/// The time, or up to a quarter more, so that replicas and services do not ask all at once.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(1.0 + rand::random::<f64>() / 4.0)
}

/// The answer of the database, if it comes in time.
async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(STATEMENT_WITHIN, answer).await.unwrap_or(Err(StoreError::TimedOut))
}
