//! The outcome of one delivery attempt: the type that decides whether to retry.
//!
//! The worker matches on [`Outcome`] and never reads messages to decide.

use super::failure::with_remedy;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// Where a delivered event can be found at its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The destination's id of the entry, such as a page id.
    pub id: String,
    /// A link to the entry.
    pub url: Option<String>,
    /// The container of the entry at the destination, such as a table, if that is known.
    pub place: Option<String>,
}

/// The failure of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short stable word such as `rate_limited`; safe for logs and for grouping.
    pub class: String,
    /// What happened. Only callers with a key may read it, because it may quote the destination's response.
    pub message: String,
    /// What to do, with the instance's own setting names. Anyone may read it, so it quotes no response.
    pub remedy: Option<String>,
    /// The HTTP status or a similar code, if there was a response.
    pub code: Option<u16>,
    /// The destination's own id of the request, to quote to its support.
    pub request_id: Option<String>,
}

impl Failure {
    /// A failure without a response from the destination.
    pub fn local(class: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class: class.into(), message: message.into(), remedy: None, code: None, request_id: None }
    }

    /// The same failure with this remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// What happened and, if it is known, what to do.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_remedy(&self.message, self.remedy.as_deref()))
    }
}

/// The outcome of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered now, or found to have been delivered earlier.
    Delivered {
        /// The entry, if the destination has ids for entries.
        remote: Option<Remote>,
        /// The HTTP status of the decisive response.
        status: Option<u16>,
        /// The destination's id of the decisive request.
        request_id: Option<String>,
        /// In object mode, what the entry shows now. The next delivery is compared with it.
        written: Option<Value>,
        /// What the entry lacks although the event has it, and why: a sentence for each, for operators.
        left_out: Vec<String>,
    },
    /// The destination declines it. Nothing failed.
    Skipped {
        /// The reason, as a sentence.
        reason: String,
    },
    /// Another attempt would fail in the same way.
    Permanent(Failure),
    /// Nothing was written, and another attempt may succeed.
    Transient {
        /// What happened.
        failure: Failure,
        /// How long the destination asked to wait.
        wait: Option<Duration>,
    },
    /// The destination asks for fewer calls. This does not count as a failed attempt.
    Throttled {
        /// What happened.
        failure: Failure,
        /// How long the destination asked to wait.
        wait: Option<Duration>,
    },
    /// A write was sent and its outcome is unknown. The next attempt must search for it before it writes.
    Ambiguous {
        /// What happened.
        failure: Failure,
        /// How long ago the write was sent.
        since: Duration,
    },
    /// An earlier write is in doubt and may still land, so nothing may be written yet. This does not count
    /// as a failed attempt.
    InDoubt {
        /// What the attempt waits for.
        failure: Failure,
        /// How long until that write has either landed or never will.
        wait: Duration,
    },
    /// A person removed the entry that was written earlier.
    Gone(Failure),
    /// Only the operator can solve this, and it concerns every delivery of the instance. This does not
    /// count as a failed attempt.
    NeedsOperator(Failure),
    /// Only the operator can solve this, and it concerns some deliveries, such as those of new entries. The
    /// others continue. This does not count as a failed attempt.
    Blocked {
        /// What happened and what to do.
        failure: Failure,
        /// How long until another attempt is worth while.
        wait: Duration,
    },
}

impl Outcome {
    /// Delivered in full, with this entry and this status of the decisive response, if there are any.
    pub const fn delivered(remote: Option<Remote>, status: Option<u16>) -> Self {
        Self::Delivered { remote, status, request_id: None, written: None, left_out: Vec::new() }
    }
}

/// The result of locking a key of an instance for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLock {
    /// The delivery holds the lock until its lease ends.
    Acquired {
        /// How long ago another lane of this key began its last write of unknown outcome, if any did.
        in_doubt: Option<Duration>,
    },
    /// Another lane has the lock, or the lease of this delivery is lost.
    Busy,
}
