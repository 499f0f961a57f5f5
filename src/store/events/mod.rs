//! What came in: events with their bodies, the index to search them by, and rejected requests.

mod indexing;
mod intake;
mod list;
mod payloads;
mod rejections;
mod search;

pub use indexing::{Indexed, Unindexed};
pub use intake::IncomingEvent;
pub(in crate::store) use list::wanted_types;
pub use list::{EventFilter, EventRow};
pub(in crate::store) use payloads::stored_event;
pub use payloads::{RemovedPayload, SignedPayload};
pub use rejections::REJECTIONS_KEPT;
pub use search::FoundEvent;

use super::NamedLeases;
use super::db::{Connections, Db};

/// Writes what comes in, for `ingest`. An event and its executions are committed together or not at all;
/// an event that is there already is left as it is.
#[derive(Debug, Clone)]
pub struct Intake {
    pool: Connections,
}

impl Intake {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}

/// Events as people read them, for the API, the dashboard and the commands: lists, single events, bodies,
/// search. It reads over the connections for reading alone.
#[derive(Debug, Clone)]
pub struct Events {
    reading: Connections,
}

impl Events {
    pub(super) fn new(db: &Db) -> Self {
        Self { reading: db.reading.clone() }
    }
}

/// The index by which people find events, for the worker's indexer: what is missing, and what is added.
/// Everything it does may be done twice without harm.
#[derive(Debug, Clone)]
pub struct SearchIndex {
    pool: Connections,
    leases: NamedLeases,
}

impl SearchIndex {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), leases: NamedLeases::new(db) }
    }
}

/// Samples of rejected requests: `ingest` keeps them, and whoever assesses or shows them reads them.
#[derive(Debug, Clone)]
pub struct Rejections {
    pool: Connections,
    reading: Connections,
}

impl Rejections {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}
