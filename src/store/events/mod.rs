//! Incoming data: events with their bodies, the search index, and rejected requests.

mod indexing;
mod intake;
mod list;
mod payloads;
mod pulls;
mod rejections;
mod search;
mod unanswered;

pub use indexing::{Indexed, Unindexed};
pub use intake::IncomingEvent;
pub(in crate::store) use list::wanted_types;
pub use list::{EventFilter, EventRow};
pub(in crate::store) use payloads::stored_event;
pub use payloads::{RemovedPayload, SignedPayload};
pub use pulls::{PullFailing, PullKey, PullState};
pub use rejections::REJECTIONS_KEPT;
pub use search::FoundEvent;

use super::db::{Connections, Db};

/// Writes incoming events, for `ingest`. An event and its executions are committed together or not at all;
/// an event that exists already is left as it is.
#[derive(Debug, Clone)]
pub struct Intake {
    pool: Connections,
}

impl Intake {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}

/// Reads events, for the API, the dashboard and the commands: lists, single events, bodies, search. It uses
/// only the reading connections.
#[derive(Debug, Clone)]
pub struct Events {
    reading: Connections,
}

impl Events {
    pub(super) fn new(db: &Db) -> Self {
        Self { reading: db.reading.clone() }
    }
}

/// The search index of events, for the indexer: reads the events that are missing, and adds them. Every step
/// can be repeated without harm.
#[derive(Debug, Clone)]
pub struct SearchIndex {
    pool: Connections,
}

impl SearchIndex {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone() }
    }
}

/// How far the lists of events at senders were read, for `ingest`; health reads it.
#[derive(Debug, Clone)]
pub struct Pulls {
    pool: Connections,
    reading: Connections,
}

impl Pulls {
    pub(super) fn new(db: &Db) -> Self {
        Self { pool: db.pool.clone(), reading: db.reading.clone() }
    }
}

/// Samples of rejected requests: `ingest` writes them; health, API and dashboard read them.
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
