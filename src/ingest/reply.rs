//! The reply to a handler that wants its event stored.

/// The reply for an event that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is new.
    New,
    /// It was stored before.
    Duplicate,
}

/// Why it is unknown whether an event is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The queue is full.
    #[error("the ingest queue is full")]
    Full,
    /// The database is unavailable or too slow.
    #[error("the database is not available")]
    Unavailable,
    /// The database rejects this event.
    #[error("the database rejects the event")]
    Refused,
}
