//! What a destination says of one try to deliver: the type that decides whether to retry.
//!
//! The worker decides nothing by reading a message; it matches on [`Outcome`].

use serde_json::Value;
use std::time::Duration;

/// Where a delivered event can be found at its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The destination's id of what was written, such as a page id.
    pub id: String,
    /// A link that a person can open.
    pub url: Option<String>,
    /// The part of the destination in which it lies, such as a Notion data source; nothing where that
    /// is not known.
    pub place: Option<String>,
}

/// What went wrong in one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short stable word such as `rate_limited`; safe for logs and for grouping.
    pub class: String,
    /// What happened and what to do, for those who hold a key; may quote the destination's answer.
    pub message: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The destination's own id of the request, to quote to its support.
    pub request_id: Option<String>,
}

impl Failure {
    /// A failure that came without an answer from the destination.
    pub fn local(class: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class: class.into(), message: message.into(), status: None, request_id: None }
    }
}

/// What keeps a destination from working until its operator mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened.
    pub failure: Failure,
    /// What to do, in words of our own that anybody may read.
    pub remedy: String,
}

/// How one try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered, or found to have been delivered earlier.
    Delivered {
        /// Where it is now.
        remote: Remote,
        /// The HTTP status of the answer that settled it.
        status: Option<u16>,
        /// The destination's id of the request that settled it.
        request_id: Option<String>,
        /// In object mode what the object's place shows now, by which the next change is found.
        written: Option<Value>,
    },
    /// The destination declines it, with the reason; nothing failed.
    Skipped {
        /// Why, in a sentence.
        reason: String,
    },
    /// Trying again would end in the same way.
    Permanent(Failure),
    /// It may work later; nothing was written.
    Transient {
        /// What happened.
        failure: Failure,
        /// How long the destination asked to wait.
        wait: Option<Duration>,
    },
    /// The destination asks for less; this is no failed attempt.
    Throttled {
        /// What happened.
        failure: Failure,
        /// How long the destination asked to wait.
        wait: Option<Duration>,
    },
    /// A write was sent and nobody knows whether it was done: look before writing again.
    Ambiguous {
        /// What happened.
        failure: Failure,
        /// How long ago the write was sent.
        since: Duration,
    },
    /// Nothing may be written yet, as an earlier write of unknown outcome may still land; this is no
    /// failed attempt.
    InDoubt {
        /// What is waited for.
        failure: Failure,
        /// How long until the destination can no longer be holding that write.
        wait: Duration,
    },
    /// What was written earlier has since been removed by a person.
    Gone(Failure),
    /// Only the operator can mend this, and it concerns every delivery; this is no failed attempt.
    NeedsOperator(Trouble),
}
