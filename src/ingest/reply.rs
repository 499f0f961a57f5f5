//! The reply to a handler that wants its event stored.

/// The reply for an event that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is new.
    New,
    /// It was stored before.
    Duplicate,
}

/// Why an event was not confirmed as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The queue, or the memory for bodies, is full.
    #[error("the queue or the memory for bodies is full")]
    Full,
    /// The database is unavailable or too slow.
    #[error("the database is not available")]
    Unavailable,
    /// The database rejects this event.
    #[error("the database rejects the event")]
    Refused,
}
