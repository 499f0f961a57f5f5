//! The health snapshot: the facts that an assessment is made of, read from the store.
//!
//! Every report of health is based on it, so all of them use the same facts, with one exception: screens show
//! all open failures, alerts are about recent ones. It assesses nothing.

use super::finding::FindingKind;
use super::{estimate, pattern, silence};
use crate::domain::backing_off::BackingOff;
use crate::domain::destination_summary::{DestinationSummary, find, seconds_for};
use crate::domain::endpoint::EndpointCheck;
use crate::domain::humanize::humanize_age;
use crate::domain::money::Money;
use crate::domain::rejection::{Diagnosis, RejectionStreak, causes, rejection_streak};
use crate::domain::source::SourceCatalog;
use crate::domain::unanswered::UnansweredEvent;
use crate::store::{
    Backlog, BusyHour, Crashing, Destinations, EndpointChecks, FAILURES_COUNTED_MAX, FailureFilter,
    FailureGroup, FailureGroups, OldestPending, PausedInstance, Per, PullState, Pulls, RecentFailures,
    Rejections, Reports, SnapshotHolder, Statistics, Store, StoreError, WORKER_DEAD_AFTER,
};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
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
    /// To read whether events are fetched.
    pub pulls: Pulls,
    /// To read and acknowledge failure groups.
    pub failure_groups: FailureGroups,
    /// To read counts over time.
    pub statistics: Statistics,
    /// To read whether the senders send to this service.
    pub endpoint_checks: EndpointChecks,
}

impl From<&Store> for HealthStore {
    fn from(store: &Store) -> Self {
        Self {
            reports: store.reports.clone(),
            destinations: store.destinations.clone(),
            rejections: store.rejections.clone(),
            pulls: store.pulls.clone(),
            failure_groups: store.failure_groups.clone(),
            statistics: store.statistics.clone(),
            endpoint_checks: store.endpoint_checks.clone(),
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

/// The facts at one time. A fact that was not read is `None` or empty, and leads to no finding.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The time of the snapshot, by the database's clock.
    pub now: DateTime<Utc>,
    /// When events arrived.
    pub arrivals: Arrivals,
    /// The configured destinations, by name.
    pub destinations: Vec<Destination>,
    /// Whether at least one worker is running, in any process.
    pub has_worker: Option<bool>,
    /// The unfinished executions that ended their worker, if there are any.
    pub crashing: Option<Crashing>,
    /// The executions that failed.
    pub failures: Failures,
    /// The webhooks that were rejected since the last one was accepted.
    pub rejected: Option<RejectionStreak>,
    /// The events that were not accepted and whose sender waits for that, the oldest first.
    pub unanswered: Vec<UnansweredEvent>,
    /// The lists of events that are read for what no webhook brought.
    pub fetching: Vec<PullState>,
    /// What holds snapshots in the database, the oldest first.
    pub snapshot_holders: Vec<SnapshotHolder>,
    /// Whether the senders send to this service, as the last checks at them found it.
    pub endpoints: Vec<EndpointCheck>,
    /// The causes of all rejected webhooks of which samples are kept, the newest first.
    pub causes_of_rejections: Vec<Diagnosis>,
}

/// The executions that failed, by group. Screens show all that are open; alerts are about recent ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failures {
    /// The unacknowledged failure groups.
    Open(OpenFailures),
    /// Those of them in which an execution failed in the last hour, or of which an alert was sent.
    Recent(RecentFailures),
}

impl Default for Failures {
    fn default() -> Self {
        Self::Open(OpenFailures::default())
    }
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
    /// Until when processes leave it alone after repeated failures, if any does.
    pub backing_off: Option<BackingOff>,
    /// The last day on which its token works, if that is known.
    pub token_expires: Option<NaiveDate>,
    /// What is pending; `None` if it was not read.
    pub backlog: Option<DestinationBacklog>,
}

/// The pending executions of a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DestinationBacklog {
    /// The number of pending executions.
    pub pending: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// How many of them wait for the time of their next attempt.
    pub later: u64,
    /// The earliest of these times.
    pub next_at: Option<DateTime<Utc>>,
    /// The pending execution that has waited longest.
    pub oldest: Option<OldestPending>,
    /// The execution that has waited longest for another attempt, if its last one failed because the destination
    /// has reached its limit of blocks.
    pub at_block_limit: Option<OldestPending>,
    /// How long it takes to deliver everything that is due, if that can be estimated; longer if there are more
    /// than were counted.
    pub clears_in: Option<TimeDelta>,
}

impl DestinationBacklog {
    /// How long it takes, in words; `None` if it is unknown, or so short that it does not matter.
    pub fn clears_in_words(&self) -> Option<String> {
        let time = self.clears_in.filter(|time| *time >= estimate::SHORTEST)?;
        let more = if self.is_more { "more than " } else { "" };
        Some(format!("{more}{}", humanize_age(time)))
    }
}

/// Why a destination is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The class of the failure, in one word.
    pub class: String,
    /// What to do; public.
    pub remedy: String,
    /// Who paused it and their note, if an operator did.
    pub by: Option<(String, String)>,
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
    /// The class of the failures.
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
#[derive(Debug)]
pub struct PartialSnapshot {
    /// The facts that were read.
    pub snapshot: Snapshot,
    /// The subjects whose facts were all read. Nothing is known of the others.
    pub read: Vec<FindingKind>,
}

/// The purpose of a snapshot.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    /// For a screen, which needs every fact.
    Screen,
    /// For alerts, which use the facts that can be read, each within this time.
    Alerts(Duration),
}

impl Snapshot {
    /// Reads the facts for everyone who shows them.
    pub async fn load(store: &HealthStore, scope: &Scope) -> Result<Self, StoreError> {
        Ok(PartialSnapshot::load(store, scope, Purpose::Screen).await?.snapshot)
    }

    /// Reads the facts for alerts, each within this time. A fact that cannot be read does not keep the
    /// others from being assessed.
    pub async fn load_for_alerts(
        store: &HealthStore,
        scope: &Scope,
        within: Duration,
    ) -> Result<PartialSnapshot, StoreError> {
        PartialSnapshot::load(store, scope, Purpose::Alerts(within)).await
    }

    /// The backlogs of all destinations, each with its destination; `None` if they were not read.
    pub fn backlogs(&self) -> Option<Vec<(&Destination, DestinationBacklog)>> {
        self.destinations.iter().map(|of| Some((of, of.backlog?))).collect()
    }

    /// The open failure groups; `None` in a snapshot for alerts.
    pub fn open_failures(&self) -> Option<&OpenFailures> {
        match &self.failures {
            Failures::Open(open) => Some(open),
            Failures::Recent(_) => None,
        }
    }
}

impl PartialSnapshot {
    /// Reads the facts one after the other, so that a snapshot never takes more than one connection.
    async fn load(store: &HealthStore, scope: &Scope, purpose: Purpose) -> Result<Self, StoreError> {
        let now = purpose.limit(store.reports.now()).await?;
        let mut snapshot = Snapshot { now, ..Snapshot::default() };
        let mut read = Vec::new();
        snapshot.has_worker = purpose.fact("workers", has_worker(store)).await?;
        read.extend(snapshot.has_worker.map(|_| FindingKind::NoWorker));

        let pauses = purpose.fact("pauses", store.destinations.paused(&scope.instances)).await?;
        let backlog = purpose.fact("backlog", store.reports.backlog(&scope.instances)).await?;
        let resting =
            purpose.fact("circuit breakers", store.reports.backing_off()).await?.unwrap_or_default();
        let throughput = match &backlog {
            Some(backlogs) if backlogs.iter().any(|of| of.pending > of.later) => {
                let minutes =
                    store.statistics.statistics(Per::Minute, now - estimate::OF_LATE, this_minute(now));
                let minutes = purpose.fact("throughput", minutes).await?.unwrap_or_default();
                estimate::throughput(&minutes)
            }
            _ => BTreeMap::new(),
        };
        if let Some(pauses) = pauses {
            read.extend([FindingKind::Paused, FindingKind::ExpiringToken]);
            // Without the pauses it is unknown whether one of them causes the backlog.
            read.extend(backlog.iter().flat_map(|_| [FindingKind::Backlog, FindingKind::BlockLimit]));
            snapshot.destinations =
                destinations(scope, &pauses, backlog.as_deref(), &Pace { now, resting, throughput });
        }

        let crashing = purpose.fact("crashing executions", store.reports.crashing(&scope.instances)).await?;
        snapshot.crashing = crashing.flatten();

        if let Some(failures) = purpose.fact("failures", purpose.failures(store)).await? {
            read.push(FindingKind::Failures);
            snapshot.failures = failures;
        }

        let holders = purpose.fact("old snapshots", store.reports.snapshot_holders()).await;
        snapshot.snapshot_holders = match holders {
            // A role may be forbidden to read what others do.
            Err(StoreError::Refused(_)) => Vec::new(),
            holders => holders?.unwrap_or_default(),
        };

        if let Some(unanswered) = purpose.fact("unanswered events", store.rejections.unanswered()).await? {
            read.extend([
                FindingKind::UnansweredInvoice,
                FindingKind::UnansweredTestInvoice,
                FindingKind::UnansweredUnverified,
            ]);
            snapshot.unanswered = unanswered;
        }

        if let Some(mut states) = purpose.fact("fetching", store.pulls.states()).await? {
            read.push(FindingKind::NotFetching);
            // The row of a key that was removed stays.
            states.retain(|state| scope.sources.reads_list(&state.source, &state.name));
            snapshot.fetching = states;
        }

        if let Some(endpoints) = purpose.fact("endpoints", store.endpoint_checks.all()).await? {
            read.push(FindingKind::EndpointUnknown);
            snapshot.endpoints = endpoints;
        }

        let accepted = purpose.fact("last event", store.rejections.accepted()).await?;
        let Some(accepted) = accepted else { return Ok(Self { snapshot, read }) };
        let last_at = accepted.last_at;
        snapshot.arrivals.last_at = last_at;
        // Whether anything is accepted decides which of the two it is.
        if read.contains(&FindingKind::EndpointUnknown) {
            read.extend([FindingKind::EndpointStopped, FindingKind::Endpoint]);
        }
        if let Some(rejections) = purpose.fact("rejections", store.rejections.rejections()).await? {
            read.push(FindingKind::Rejected);
            let sources = scope.sources.as_ref();
            snapshot.rejected = rejection_streak(&rejections, &accepted, sources, now);
            snapshot.causes_of_rejections = causes(&rejections, &accepted, sources, now);
        }
        if let Some(busy_hours) = purpose.fact("arrivals", busy_hours(store, last_at, now)).await? {
            read.extend([FindingKind::NotArriving, FindingKind::Silence]);
            snapshot.arrivals.busy_hours = busy_hours;
        }
        Ok(Self { snapshot, read })
    }
}

impl Purpose {
    /// Reads a fact; `None` if it cannot be read and the others are useful without it.
    async fn fact<T>(
        self,
        fact: &str,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Option<T>, StoreError> {
        match (self.limit(read).await, self) {
            (Err(error), Self::Alerts(_)) => {
                warn!(%error, fact, "health fact could not be read");
                Ok(None)
            }
            (result, _) => result.map(Some),
        }
    }

    async fn limit<T>(self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match self {
            Self::Screen => read.await,
            Self::Alerts(within) => {
                tokio::time::timeout(within, read).await.unwrap_or(Err(StoreError::TimedOut))
            }
        }
    }

    async fn failures(self, store: &HealthStore) -> Result<Failures, StoreError> {
        if let Self::Alerts(_) = self {
            return Ok(Failures::Recent(store.reports.recent_failures(FAILURES_ARE_RECENT_FOR).await?));
        }
        let unacknowledged = FailureFilter { acknowledged: Some(false), ..FailureFilter::default() };
        let groups = store.failure_groups.failures(&unacknowledged, None, OPEN_FAILURES_READ).await?;
        let count = store.failure_groups.open_failures(OPEN_FAILURES_MAX).await?;
        Ok(Failures::Open(OpenFailures {
            count: usize::try_from(count).unwrap_or_default(),
            groups: groups.rows.into_iter().map(OpenFailure::from).collect(),
        }))
    }
}

/// Whether at least one worker is running, in any process.
pub async fn has_worker(store: &HealthStore) -> Result<bool, StoreError> {
    store.reports.is_worker_running(WORKER_DEAD_AFTER).await
}

impl Arrivals {
    /// The usual gap between two events; `None` if too little is known.
    pub fn usual_gap(&self) -> Option<Duration> {
        silence::usual_gap(self.last_weeks())
    }

    /// The silence from which on something is wrong; `None` if too little is known or the factor is 0.
    pub fn silence_limit(&self, factor: u32) -> Option<Duration> {
        silence::limit(self.last_weeks(), factor)
    }

    /// Whether the silence until `now` contradicts what the same hours of the last weeks brought, by the clock of
    /// this zone. It must last for an hour and for `factor` times the usual gap; a factor of 0 means never.
    pub fn contradict_pattern(&self, factor: u32, now: DateTime<Utc>, zone: Tz) -> bool {
        let (Some(last_at), Some(gap)) = (self.last_at, self.usual_gap().filter(|_| factor > 0)) else {
            return false;
        };
        let silent_from = pattern::silent_from(&self.busy_hours, last_at);
        let silent_for = now.signed_duration_since(silent_from).to_std().unwrap_or_default();
        silent_for > gap.saturating_mul(factor).max(silence::LIMIT_MIN)
            && pattern::is_contradicted(&self.busy_hours, silent_from, now, zone)
    }

    /// The hours by which the length of a silence is judged.
    fn last_weeks(&self) -> &[BusyHour] {
        let first = self.last_at.map_or(0, |at| {
            self.busy_hours.partition_point(|hour| hour.at + TimeDelta::hours(1) <= at - silence::HISTORY)
        });
        self.busy_hours.get(first..).unwrap_or_default()
    }
}

async fn busy_hours(
    store: &HealthStore,
    last_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Vec<BusyHour>, StoreError> {
    match last_at {
        // A silence that lasts does not cost more and more.
        Some(last_at) => {
            let to = now.min(last_at + pattern::HISTORY);
            store.statistics.busy_hours(last_at - pattern::HISTORY, to).await
        }
        None => Ok(Vec::new()),
    }
}

/// The destinations, without backlogs if these were not read.
fn destinations(
    scope: &Scope,
    pauses: &[PausedInstance],
    backlogs: Option<&[Backlog]>,
    pace: &Pace,
) -> Vec<Destination> {
    let mut names: Vec<&String> = scope.instances.iter().collect();
    names.sort();
    names.dedup();
    let destination = |name: &String| {
        let pause = pauses.iter().find(|pause| pause.name == *name);
        let backlog = backlogs.and_then(|backlogs| backlogs.iter().find(|one| one.destination == *name));
        Destination {
            name: name.clone(),
            paused: pause.map(|pause| Pause {
                since: pause.since,
                class: pause.pause.class.clone(),
                remedy: pause.pause.remedy.clone(),
                by: pause.pause.by.clone().map(|by| (by, pause.pause.reason.clone())),
            }),
            backing_off: pace.resting.get(name).cloned(),
            token_expires: find(&scope.destinations, name).and_then(|known| known.token_expires),
            backlog: backlog.map(|backlog| destination_backlog(scope, backlog, pace)),
        }
    };
    names.into_iter().map(destination).collect()
}

/// What shows how soon executions are delivered.
struct Pace {
    now: DateTime<Utc>,
    resting: BTreeMap<String, BackingOff>,
    throughput: BTreeMap<String, u64>,
}

fn destination_backlog(scope: &Scope, backlog: &Backlog, pace: &Pace) -> DestinationBacklog {
    let Backlog { destination, pending, is_more, later, next_at, oldest, at_block_limit, .. } = backlog;
    let due = pending.saturating_sub(*later);
    let by_rate = seconds_for(&scope.destinations, &BTreeMap::from([(destination.clone(), due)]));
    let rest = pace.resting.get(destination).filter(|rest| rest.is_everywhere());
    let rest = rest.map_or(TimeDelta::zero(), |rest| (rest.until - pace.now).max(TimeDelta::zero()));
    DestinationBacklog {
        pending: *pending,
        is_more: *is_more,
        later: *later,
        next_at: *next_at,
        oldest: *oldest,
        at_block_limit: *at_block_limit,
        clears_in: estimate::clears_in(due, by_rate, pace.throughput.get(destination).copied(), rest),
    }
}

/// The beginning of the present minute, which the statistics do not fully cover yet.
fn this_minute(now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::seconds(now.timestamp().rem_euclid(60))
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
