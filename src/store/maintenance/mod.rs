//! Changes outside the queue: by operators, by retention and by other background work.

mod alerts;
mod background_jobs;
mod bulk_operations;
mod endpoint_checks;
mod erasure;
mod idempotency_keys;
mod interventions;
mod named_leases;
mod retention;
mod revoked_sessions;
mod tasks;

pub use alerts::{Condition, DueAlert, Held};
pub use bulk_operations::{Counts, Replayed, TaskPage};
pub use erasure::{Erased, WrittenEntry};
pub use idempotency_keys::{KeyState, StoredResponse};
pub use interventions::{CancelResult, RetryResult};
pub use retention::{Cutoff, Removal, SWEPT_AT_ONCE, Swept};
pub(in crate::store) use tasks::TASKS_CHANNEL;
pub use tasks::{
    CancelTaskResult, NewTask, TASK_EXECUTIONS_COUNTED_MAX, TaskExecutions, TaskRow, UNFINISHED_TASKS_MAX,
};

use super::db::{Connections, Db};

/// What operators do to executions, one by one or in bulk, for the API, the dashboard and the commands. The
/// statement that makes a change also writes its audit entry.
#[derive(Debug, Clone)]
pub struct Interventions {
    pool: Connections,
    reading: Connections,
}

impl Interventions {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}

/// Removes old data in batches, for the background task and `prune`.
#[derive(Debug, Clone)]
pub struct Retention {
    pool: Connections,
}

impl Retention {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}

/// Finds and removes what is stored about a person, for `forget`.
#[derive(Debug, Clone)]
pub struct Erasure {
    pool: Connections,
}

impl Erasure {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}

/// The active alert conditions, and which of them are still to be sent, for `alerts`. One process sends each.
#[derive(Debug, Clone)]
pub struct Alerts {
    pool: Connections,
}

impl Alerts {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}

/// Whether senders send to this service, as one process found and all show it.
#[derive(Debug, Clone)]
pub struct EndpointChecks {
    pool: Connections,
    reading: Connections,
}

impl EndpointChecks {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}

/// Leader leases by name, for alerts, retention and the indexer: one process at a time holds each.
#[derive(Debug, Clone)]
pub struct NamedLeases {
    pool: Connections,
}

impl NamedLeases {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}

/// Sessions of the dashboard that ended before they expired.
#[derive(Debug, Clone)]
pub struct RevokedSessions {
    pool: Connections,
    reading: Connections,
}

impl RevokedSessions {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}

/// How far periodic work in the background has come, for retention.
#[derive(Debug, Clone)]
pub struct BackgroundJobs {
    pool: Connections,
}

impl BackgroundJobs {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}

/// Bulk tasks: created by the API, the dashboard and the commands, and done in the background.
#[derive(Debug, Clone)]
pub struct Tasks {
    pool: Connections,
    reading: Connections,
}

impl Tasks {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}

/// The responses to requests that clients may repeat, by their keys.
#[derive(Debug, Clone)]
pub struct IdempotencyKeys {
    pool: Connections,
}

impl IdempotencyKeys {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}
