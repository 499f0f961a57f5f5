//! The health snapshot: the facts that an assessment is made of, read from the store.
//!
//! Every report of health is based on it, so all of them use the same facts. It assesses nothing.

use super::finding::Matter;
use super::silence;
use crate::domain::destination_summary::{DestinationSummary, seconds_for};
use crate::domain::money::Money;
use crate::domain::rejection::{InARow, rejected_in_a_row};
use crate::domain::source::SourceCatalog;
use crate::store::{
    Backlog, BusyHour, Destinations, FAILURES_COUNTED_MAX, FailureFilter, FailureGroup, FailureGroups,
    PausedInstance, RecentFailures, Rejections, Reports, Statistics, Store, StoreError, WORKER_DEAD_AFTER,
};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// Open failure groups are counted up to this number.
const OPEN_FAILURES_MAX: u32 = 100;

/// This many open failure groups are read with their details.
const OPEN_FAILURES_READ: u32 = 3;

/// A failure group raises an alert for this long after its last failure.
const FAILURES_ARE_RECENT_FOR: Duration = Duration::from_hours(1);

/// The parts of the store that a snapshot is read from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HealthStore {
    /// To read executions, backlogs and workers.
    pub reports: Reports,
    /// To read, pause and resume destination instances.
    pub destinations: Destinations,
    /// To read samples of rejected requests.
    pub rejections: Rejections,
    /// To read and acknowledge failure groups.
    pub failure_groups: FailureGroups,
    /// To read counts over time.
    pub statistics: Statistics,
}

impl From<&Store> for HealthStore {
    fn from(store: &Store) -> Self {
        Self {
            reports: store.reports.clone(),
            destinations: store.destinations.clone(),
            rejections: store.rejections.clone(),
            failure_groups: store.failure_groups.clone(),
            statistics: store.statistics.clone(),
        }
    }
}

/// What is assessed: the configured parts of this service.
#[derive(Clone)]
pub struct Scope {
    /// The names of the destination instances.
    pub instances: Arc<[String]>,
    /// What they want and how fast they can be served. If an instance is missing, the time until its
    /// backlog clears is unknown.
    pub destinations: Arc<[DestinationSummary]>,
    /// The sources, which find the causes of rejected requests.
    pub sources: Arc<dyn SourceCatalog>,
}

/// The facts at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The time of the snapshot, by the database's clock.
    pub now: DateTime<Utc>,
    /// When events arrived.
    pub arrivals: Arrivals,
    /// The configured destinations, by name.
    pub destinations: Vec<Destination>,
    /// Whether at least one worker is running, in any process.
    pub has_worker: bool,
    /// The unacknowledged failure groups.
    pub open_failures: OpenFailures,
    /// The failure groups for alerts; empty unless the snapshot was read for alerts.
    pub recent_failures: RecentFailures,
    /// The webhooks that were rejected since the last one was accepted.
    pub rejected: Option<InARow>,
}

/// When events arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// When the last event arrived; `None` if there was none.
    pub last_at: Option<DateTime<Utc>>,
    /// The hours before that in which events arrived, in ascending order.
    pub busy_hours: Vec<BusyHour>,
}

/// The state of a destination instance.
#[derive(Debug, Clone, Default)]
pub struct Destination {
    /// The name of the instance.
    pub name: String,
    /// Why it is paused, if it is.
    pub paused: Option<Pause>,
    /// The number of pending executions.
    pub pending: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// How long the oldest pending execution has waited.
    pub oldest: Option<Duration>,
    /// The id of the execution that has waited longest.
    pub oldest_execution: Option<i64>,
    /// How long it takes to deliver everything pending, if that can be estimated.
    pub clears_in: Option<TimeDelta>,
}

/// Why a destination is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The class of the failure, in one word.
    pub class: String,
    /// What to do, in words that anybody may read.
    pub remedy: String,
}

/// The unacknowledged failure groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenFailures {
    /// How many there are, counted up to 100.
    pub count: usize,
    /// Some of them, the one with the newest failure first.
    pub groups: Vec<OpenFailure>,
}

/// An open failure group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFailure {
    /// The key of the group.
    pub key: String,
    /// The destination instance.
    pub destination: String,
    /// The class of the failures; empty if there is none.
    pub error_class: String,
    /// The number of failed executions.
    pub count: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// What they amount to, by currency.
    pub money: Vec<Money>,
    /// Whether they amount to more than that.
    pub is_money_cut: bool,
    /// The newest failed execution.
    pub sample: i64,
}

/// A snapshot of which some facts may be missing, for alerts.
#[derive(Debug, Default)]
pub struct PartialSnapshot {
    /// The facts that were read; the others are empty.
    pub snapshot: Snapshot,
    /// The matters of which every fact was read. Of the others nothing is known.
    pub read: Vec<Matter>,
}

impl Snapshot {
    /// Reads the facts for everyone who shows them.
    pub async fn load(store: &HealthStore, scope: &Scope) -> Result<Self, StoreError> {
        let unacknowledged = FailureFilter { acknowledged: Some(false), ..FailureFilter::default() };
        let (now, last_at, pauses, backlog, has_worker, count, groups, rejections) = tokio::try_join!(
            store.reports.now(),
            store.rejections.last_accepted_at(),
            store.destinations.paused(&scope.instances),
            store.reports.backlog(&scope.instances),
            has_worker(store),
            store.failure_groups.open_failures(OPEN_FAILURES_MAX),
            store.failure_groups.failures(&unacknowledged, None, OPEN_FAILURES_READ),
            store.rejections.rejections(),
        )?;
        Ok(Self {
            now,
            arrivals: Arrivals { last_at, busy_hours: busy_hours(store, last_at, now).await? },
            destinations: destinations(scope, &pauses, &backlog),
            has_worker,
            open_failures: OpenFailures {
                count: usize::try_from(count).unwrap_or_default(),
                groups: groups.rows.into_iter().map(OpenFailure::from).collect(),
            },
            recent_failures: RecentFailures::default(),
            rejected: rejected_in_a_row(&rejections, last_at, scope.sources.as_ref(), now),
        })
    }

    /// Reads the facts for alerts, one after the other, each within this time. A fact that cannot be read
    /// does not keep the others from being assessed.
    ///
    /// Left out is what raises no alert: workers, and the failures that are not recent.
    pub async fn load_for_alerts(store: &HealthStore, scope: &Scope, within: Duration) -> PartialSnapshot {
        let mut partial = PartialSnapshot::default();
        let PartialSnapshot { snapshot, read } = &mut partial;
        let Some(now) = part("time", within, store.reports.now()).await else { return partial };
        snapshot.now = now;
        let pauses = part("pauses", within, store.destinations.paused(&scope.instances)).await;
        let backlog = part("backlog", within, store.reports.backlog(&scope.instances)).await;
        if let Some(pauses) = pauses {
            read.push(Matter::Paused);
            // Without the pauses it is unknown whether one of them causes the backlog.
            read.extend(backlog.as_ref().map(|_| Matter::Backlog));
            snapshot.destinations = destinations(scope, &pauses, &backlog.unwrap_or_default());
        }
        if let Some(recent) =
            part("failures", within, store.reports.recent_failures(FAILURES_ARE_RECENT_FOR)).await
        {
            snapshot.recent_failures = recent;
            read.push(Matter::Failures);
        }
        let Some(last_at) = part("last event", within, store.rejections.last_accepted_at()).await else {
            return partial;
        };
        snapshot.arrivals.last_at = last_at;
        if let Some(rejections) = part("rejections", within, store.rejections.rejections()).await {
            snapshot.rejected = rejected_in_a_row(&rejections, last_at, scope.sources.as_ref(), now);
            read.push(Matter::Rejected);
        }
        if let Some(busy_hours) = part("arrivals", within, busy_hours(store, last_at, now)).await {
            snapshot.arrivals.busy_hours = busy_hours;
            read.push(Matter::Silence);
        }
        partial
    }
}

/// Whether at least one worker is running, in any process.
pub async fn has_worker(store: &HealthStore) -> Result<bool, StoreError> {
    store.reports.a_worker_beats(WORKER_DEAD_AFTER).await
}

impl Arrivals {
    /// The usual gap between two events; `None` if too little is known.
    pub fn usual_gap(&self) -> Option<Duration> {
        silence::usual_gap(&self.busy_hours)
    }

    /// The silence from which on something is wrong; `None` if too little is known or the factor is 0.
    pub fn silence_limit(&self, factor: u32) -> Option<Duration> {
        silence::limit(&self.busy_hours, factor)
    }
}

async fn part<T>(
    fact: &str,
    within: Duration,
    read: impl Future<Output = Result<T, StoreError>>,
) -> Option<T> {
    let read = tokio::time::timeout(within, read).await.unwrap_or(Err(StoreError::TimedOut));
    read.inspect_err(|error| warn!(%error, fact, "health fact could not be read")).ok()
}

async fn busy_hours(
    store: &HealthStore,
    last_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Vec<BusyHour>, StoreError> {
    match last_at {
        Some(last_at) => store.statistics.busy_hours(last_at - silence::HISTORY, now).await,
        None => Ok(Vec::new()),
    }
}

fn destinations(scope: &Scope, pauses: &[PausedInstance], backlog: &[Backlog]) -> Vec<Destination> {
    let mut names: Vec<&String> = scope.instances.iter().collect();
    names.sort();
    names.dedup();
    let destination = |name: &String| {
        let pause = pauses.iter().find(|pause| pause.name == *name);
        let waiting = backlog.iter().find(|waiting| waiting.destination == *name);
        let pending = waiting.map_or(0, |waiting| waiting.pending);
        let is_more = waiting.is_some_and(|waiting| waiting.is_more);
        let seconds = seconds_for(&scope.destinations, &BTreeMap::from([(name.clone(), pending)]))
            .filter(|_| pending > 0 && !is_more);
        Destination {
            name: name.clone(),
            paused: pause.map(|pause| Pause {
                since: pause.since,
                class: pause.pause.class.clone(),
                remedy: pause.pause.remedy.clone(),
            }),
            pending,
            is_more,
            oldest: waiting.and_then(|waiting| waiting.oldest),
            oldest_execution: waiting.and_then(|waiting| waiting.oldest_execution),
            clears_in: seconds
                .and_then(|seconds| i64::try_from(seconds).ok())
                .and_then(TimeDelta::try_seconds),
        }
    };
    names.into_iter().map(destination).collect()
}

impl From<FailureGroup> for OpenFailure {
    fn from(group: FailureGroup) -> Self {
        Self {
            is_more: group.count >= i64::from(FAILURES_COUNTED_MAX),
            count: u64::try_from(group.count).unwrap_or_default(),
            key: group.key,
            destination: group.destination,
            error_class: group.error_class,
            money: group.money,
            is_money_cut: group.is_money_cut,
            sample: group.sample,
        }
    }
}
