//! The only user of the database.
//!
//! No method opens a transaction: each statement stands by itself, so no connection is held while
//! anything outside is waited for. Times are the database's; callers hand in and get durations.
//!
//! What people read goes over a few connections of its own, where a statement ends soon: however slow a
//! filter is, it keeps no event from being taken in and none from being delivered.

mod db;
mod events;
mod maintenance;
mod queue;
mod reporting;

pub use db::{
    Cursor, Db, LIMIT_DEFAULT, LIMIT_MAX, ListError, MigrateError, Migration, Page, PoolUse, Schema,
    StoreError, UnknownCursor, Vitals, WINDOW_DAYS_MAX, Window,
};
pub use events::{
    EventFilter, EventRow, Events, FoundEvent, IncomingEvent, Indexed, Intake, REJECTIONS_KEPT, Rejections,
    RemovedPayload, SearchIndex, SignedPayload, Unindexed,
};
pub use maintenance::{
    Alerts, Answered, Cancelled, Condition, Counts, Cutoff, Erasure, Forgotten, Interventions, Named,
    NamedLeases, Person, Removal, Replayed, Retention, Retried, SWEPT_AT_ONCE, Swept, ToTell, WrittenPage,
};
pub use queue::{
    Claimed, Conclusion, DestinationRow, Destinations, DueProbe, Fate, Fence, Finished, HeldInstance, Hold,
    LaneState, LaneVerdict, LimiterRow, Notifier, Prospect, Queue, RateLimits, RemoteObject, Rescued,
    Settlement, Slot, Trial, Wanted, Watch, WorkerId,
};
pub use reporting::{
    ACT_COUNTED_MAX, Act, ActState, Addition, AttemptRow, AuditRow, BACKLOG_COUNTED_MAX, Backlog, Bin,
    ExecutionFilter, ExecutionRow, FAILURES_COUNTED_MAX, FAILURES_SUMMED_MAX, Failing, FailureFilter,
    FailureGroup, FailureGroups, FailuresOfLate, GROUPS_MAX, HOURS_KEPT, MINUTES_KEPT, PENDING, Per, Replica,
    Reports, Statistic, Statistics, Tide, Watched,
};

use secrecy::SecretString;

/// All parts of the store, for those who hand them out (`app`, the commands and tests). Everything else
/// receives only the parts that it needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    /// Opening, migrating, checking and closing.
    pub db: Db,
    /// Writing what comes in.
    pub intake: Intake,
    /// Reading events.
    pub events: Events,
    /// Filling the index of events.
    pub search_index: SearchIndex,
    /// Rejected requests.
    pub rejections: Rejections,
    /// Claiming and completing executions.
    pub queue: Queue,
    /// Pauses and memories of destination instances.
    pub destinations: Destinations,
    /// Rate limits of connections to receivers.
    pub rate_limits: RateLimits,
    /// Reading executions and what is known of workers.
    pub reports: Reports,
    /// Groups of failures.
    pub failure_groups: FailureGroups,
    /// Numbers over time.
    pub statistics: Statistics,
    /// Retry, cancel, replay, and the audit.
    pub interventions: Interventions,
    /// Removing what is old.
    pub retention: Retention,
    /// Removing what is stored about a person.
    pub erasure: Erasure,
    /// Conditions to send.
    pub alerts: Alerts,
    /// Leases for work in the background.
    pub named_leases: NamedLeases,
}

impl Store {
    /// Prepares at most so many connections; they are made when they are needed.
    pub fn connect_lazily(url: &SecretString, connections: u32) -> Result<Self, StoreError> {
        Self::connect_lazily_past(url, None, connections)
    }

    /// As [`connect_lazily`](Self::connect_lazily). If `direct_url` is given, `url` leads to a pooler in
    /// transaction mode, and `direct_url` past it.
    pub fn connect_lazily_past(
        url: &SecretString,
        direct_url: Option<&SecretString>,
        connections: u32,
    ) -> Result<Self, StoreError> {
        Ok(Self::over(Db::connect_lazily(url, direct_url, connections)?))
    }

    /// The same database for tasks that watch over it: they read over the connections for work, where no
    /// slow filter of a person is before them and a statement may take its time.
    #[must_use]
    pub fn unhurried(&self) -> Self {
        Self::over(self.db.unhurried())
    }

    fn over(db: Db) -> Self {
        Self {
            intake: Intake::new(&db),
            events: Events::new(&db),
            search_index: SearchIndex::new(&db),
            rejections: Rejections::new(&db),
            queue: Queue::new(&db),
            destinations: Destinations::new(&db),
            rate_limits: RateLimits::new(&db),
            reports: Reports::new(&db),
            failure_groups: FailureGroups::new(&db),
            statistics: Statistics::new(&db),
            interventions: Interventions::new(&db),
            retention: Retention::new(&db),
            erasure: Erasure::new(&db),
            alerts: Alerts::new(&db),
            named_leases: NamedLeases::new(&db),
            db,
        }
    }
}
