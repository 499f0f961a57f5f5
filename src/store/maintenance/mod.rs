//! What is changed beside the queue: by operators, by retention and by other work in the background.

mod alerts;
mod bulk_operations;
mod chores;
mod erasure;
mod interventions;
mod retention;

pub use alerts::{Condition, ToTell};
pub use bulk_operations::{Counts, Replayed, Retried};
pub use erasure::{Forgotten, Named, Person, WrittenPage};
pub use interventions::{Answered, Cancelled};
pub use retention::{Cutoff, Removal, SWEPT_AT_ONCE, Swept};

use super::db::{Connections, Db};

/// What an operator does to executions, one by one or in bulk, for the API, the dashboard and the commands.
/// Each change writes its line of the audit in the same statement.
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

/// Removes what is older than the settings keep, for the background task and `prune`, in batches.
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

/// Conditions that last, and which of them still have to be sent, for `alerts`. One process sends each.
#[derive(Debug, Clone)]
pub struct Alerts {
    pool: Connections,
}

impl Alerts {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}

/// Leases by name, for work in the background that one process at a time does.
#[derive(Debug, Clone)]
pub struct NamedLeases {
    pool: Connections,
}

impl NamedLeases {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}
