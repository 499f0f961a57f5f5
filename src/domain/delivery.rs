//! What a destination returns for one try to deliver: the type that decides whether to retry.
//!
//! The worker reads no message to decide; it matches on [`Outcome`].

use serde_json::Value;
use std::time::Duration;

/// Where a delivered event can be found at its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The destination's id of what was written, such as a page id.
    pub id: String,
    /// A link that a person can open.
    pub url: Option<String>,
    /// The part of the destination in which it lies, such as a Notion data source, if that is known.
    pub place: Option<String>,
}

/// What went wrong in one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short stable word such as `rate_limited`; safe for logs and for grouping.
    pub class: String,
    /// What happened, for those who hold a key; may quote the destination's answer.
    pub message: String,
    /// What to do, in the instance's own setting names. Anybody may read it, so it quotes no answer.
    pub remedy: Option<String>,
    /// The HTTP status, or the like, if there was an answer.
    pub code: Option<u16>,
    /// The destination's own id of the request, to quote to its support.
    pub request_id: Option<String>,
}

impl Failure {
    /// A failure without an answer from the destination.
    pub fn local(class: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class: class.into(), message: message.into(), remedy: None, code: None, request_id: None }
    }

    /// The same failure with this remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// How one try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered now, or found to have been delivered earlier.
    Delivered {
        /// Where it is.
        remote: Remote,
        /// The HTTP status of the answer that settled it.
        status: Option<u16>,
        /// The destination's id of the request that settled it.
        request_id: Option<String>,
        /// In object mode what the entry shows now. The next delivery is compared with it.
        written: Option<Value>,
    },
    /// The destination declines it. Nothing failed.
    Skipped {
        /// Why, in a sentence.
        reason: String,
    },
    /// Another try would end in the same way.
    Permanent(Failure),
    /// Nothing was written, and another try may succeed.
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
    /// A write was sent and its outcome is unknown: look for it before you write again.
    Ambiguous {
        /// What happened.
        failure: Failure,
        /// How long ago the write was sent.
        since: Duration,
    },
    /// An earlier write is in doubt and may still land, so nothing may be written yet. This does not count
    /// as a failed attempt.
    InDoubt {
        /// What the try waits for.
        failure: Failure,
        /// How long until that write must have landed or never will.
        wait: Duration,
    },
    /// A person removed what was written earlier.
    Gone(Failure),
    /// Only the operator can solve this, and it concerns every delivery of the instance. This does not
    /// count as a failed attempt.
    NeedsOperator(Failure),
}

/// The answer to a delivery that wants to lock a key of its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLock {
    /// The delivery holds the lock until its lease ends.
    Acquired {
        /// How long ago another lane of this key began its last write of unknown outcome, if any did.
        in_doubt: Option<Duration>,
    },
    /// Another lane holds it, or the lease of this delivery is lost.
    Busy,
}
