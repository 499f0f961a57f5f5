//! The only user of the database.
//!
//! Each part of the store serves one kind of caller, and the parts share two pools of connections. No method
//! opens a transaction: each statement commits separately, so no connection is held during an outside call.
//! Times come from the database's clock; callers pass and get durations.
//!
//! Interactive reads use a few separate connections with a short statement timeout. A slow filter delays
//! neither intake nor delivery.

mod db;
mod events;
mod maintenance;
mod queue;
mod reporting;

pub use db::{
    ANSWER_WITHIN, AddressError, Cursor, Db, LIMIT_DEFAULT, LIMIT_MAX, ListError, MigrateError, Migration,
    Page, PoolUse, Schema, ServerInfo, SnapshotHolder, SnapshotHolderKind, StoreError, UnknownCursor,
    WINDOW_DAYS_DEFAULT, WINDOW_DAYS_MAX, Window, database_is_private, unavailable_remedy,
};
pub use events::{
    EventFilter, EventRow, Events, FoundEvent, IncomingEvent, Indexed, Intake, PullFailing, PullKey,
    PullState, Pulls, REJECTIONS_KEPT, Rejections, RemovedPayload, SearchIndex, SignedPayload, Unindexed,
};
pub use maintenance::{
    Alerts, BackgroundJobs, CancelResult, CancelTaskResult, Condition, Counts, Cutoff, DueAlert,
    EndpointChecks, Erased, Erasure, Held, IdempotencyKeys, Interventions, KeyState, NamedLeases, NewTask,
    Removal, Replayed, Retention, RetryResult, RevokedSessions, SWEPT_AT_ONCE, StoredResponse, Swept,
    TASK_EXECUTIONS_COUNTED_MAX, TaskExecutions, TaskPage, TaskRow, Tasks, UNFINISHED_TASKS_MAX,
    WrittenEntry,
};
pub use queue::{
    Activity, Ask, Canary, ClaimRequest, Claimed, CompletedExecution, CompletedLane, Conclusion,
    DestinationRow, Destinations, DueProbe, EndedAttempt, ExecutionSnapshot, Fence, LaneState, Lease,
    Limiter, Notifier, Pause, PausedInstance, Position, Queue, RateLimits, Recorded, RefusedState,
    RemoteObject, RescueScope, Rescued, Resting, Settlement, Slot, WORKER_DEAD_AFTER, WorkClass, WorkerId,
};
use reporting::LastCount;
pub use reporting::{
    Addition, AttemptRow, AuditRow, BACKLOG_COUNTED_MAX, Backlog, Bucket, BusyHour, ChangeToken, Crashing,
    ExecutionFilter, ExecutionRow, FAILURES_COUNTED_MAX, FAILURES_SUMMED_MAX, FailureFilter, FailureGroup,
    FailureGroups, GROUPS_MAX, HOURS_KEPT, MINUTES_KEPT, OldestPending, PENDING, Per, Place,
    RecentFailureGroup, RecentFailures, Replica, Reports, Statistic, Statistics,
};

use secrecy::SecretString;

/// All parts of the store, for `app`, the commands and tests, which pass them on. Everything else receives
/// only the parts that it needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    /// Opening, migrating, checking and closing.
    pub db: Db,
    /// Writing incoming events.
    pub intake: Intake,
    /// Reading events.
    pub events: Events,
    /// Filling the index of events.
    pub search_index: SearchIndex,
    /// How far the lists of events at senders were read.
    pub pulls: Pulls,
    /// Rejected requests.
    pub rejections: Rejections,
    /// Claiming and completing executions.
    pub queue: Queue,
    /// Pauses of destination instances, and what these remember.
    pub destinations: Destinations,
    /// Rate limits of connections to receivers.
    pub rate_limits: RateLimits,
    /// Reading executions and workers.
    pub reports: Reports,
    /// Groups of failures.
    pub failure_groups: FailureGroups,
    /// Statistics.
    pub statistics: Statistics,
    /// Retry, cancel, replay, and the audit.
    pub interventions: Interventions,
    /// Bulk retries and replays.
    pub tasks: Tasks,
    /// Responses to requests that clients may repeat.
    pub idempotency_keys: IdempotencyKeys,
    /// Removing old data.
    pub retention: Retention,
    /// Removing a person's data.
    pub erasure: Erasure,
    /// Alert conditions.
    pub alerts: Alerts,
    /// Whether senders send to this service.
    pub endpoint_checks: EndpointChecks,
    /// Leases for background work.
    pub named_leases: NamedLeases,
    /// The progress of background work.
    pub background_jobs: BackgroundJobs,
    /// Sessions of the dashboard that were ended.
    pub revoked_sessions: RevokedSessions,
}

impl Store {
    /// Prepares at most `connections`, which are made when they are needed.
    pub fn connect_lazily(url: &SecretString, connections: u32) -> Result<Self, AddressError> {
        Self::connect_lazily_with_pooler(url, None, connections)
    }

    /// As [`connect_lazily`](Self::connect_lazily). If `direct_url` is given, `url` leads to a pooler in
    /// transaction mode, and `direct_url` past it.
    pub fn connect_lazily_with_pooler(
        url: &SecretString,
        direct_url: Option<&SecretString>,
        connections: u32,
    ) -> Result<Self, AddressError> {
        Ok(Self::over(Db::connect_lazily(url, direct_url, connections)?, LastCount::default()))
    }

    /// The same database for monitoring tasks. They read over the work connections, where no person's slow
    /// filter delays them and a statement has more time.
    #[must_use]
    pub fn unhurried(&self) -> Self {
        Self::over(self.db.unhurried(), self.reports.last_count.clone())
    }

    fn over(db: Db, last_count: LastCount) -> Self {
        Self {
            intake: Intake::new(&db),
            events: Events::new(&db),
            search_index: SearchIndex::new(&db),
            pulls: Pulls::new(&db),
            rejections: Rejections::new(&db),
            queue: Queue::new(&db),
            destinations: Destinations::new(&db),
            rate_limits: RateLimits::new(&db),
            reports: Reports::new(&db, last_count),
            failure_groups: FailureGroups::new(&db),
            statistics: Statistics::new(&db),
            interventions: Interventions::new(&db),
            tasks: Tasks::new(&db),
            idempotency_keys: IdempotencyKeys::new(&db),
            retention: Retention::new(&db),
            erasure: Erasure::new(&db),
            alerts: Alerts::new(&db),
            endpoint_checks: EndpointChecks::new(&db),
            named_leases: NamedLeases::new(&db),
            background_jobs: BackgroundJobs::new(&db),
            revoked_sessions: RevokedSessions::new(&db),
            db,
        }
    }
}
