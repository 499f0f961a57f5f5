//! A line of a story, and its plain text.

use super::{Attempt, ManualOperation, Wait};
use crate::domain::event::{EventKey, EventOrigin};
use crate::domain::execution::{ExecutionId, Status};
use crate::domain::waiting::Waiting;
use chrono::{DateTime, Utc};
use std::fmt;

/// Something that happened, or the present state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: LineTime,
    /// The event.
    pub event: EventKey,
    /// The execution and the destination instance, if the line concerns one.
    pub execution: Option<(ExecutionId, String)>,
    /// What.
    pub what: What,
}

/// The time of a line. The present comes after everything that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineTime {
    /// In the past.
    At(DateTime<Utc>),
    /// Now.
    Now(DateTime<Utc>),
}

impl LineTime {
    /// The time.
    pub const fn time(self) -> DateTime<Utc> {
        match self {
            Self::At(time) | Self::Now(time) => time,
        }
    }
}

/// An entry that a destination wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What the destination calls it, such as `page`.
    pub noun: &'static str,
    /// A link to the entry.
    pub url: String,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} is {}", self.noun, self.url)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The sender created the event.
    Created {
        /// The source.
        source: String,
    },
    /// It was received, verified and stored.
    Received {
        /// How it came here.
        origin: EventOrigin,
        /// The name of the secret that it was signed with, or of the API key that fetched it.
        secret: String,
    },
    /// No destination subscribes to it.
    Unwanted,
    /// It was queued for a destination after it was received.
    Queued,
    /// Earlier attempts are omitted.
    EarlierAttempts {
        /// Their number.
        count: u32,
    },
    /// It waited.
    Waited {
        /// How long, and why.
        wait: Wait,
    },
    /// A worker attempted the delivery.
    Attempted {
        /// The number of the attempt.
        number: u32,
        /// Its result.
        one: Attempt,
        /// The entry that this attempt wrote, if the execution is still delivered.
        written: Option<Written>,
    },
    /// A manual action.
    Manual {
        /// What.
        operation: ManualOperation,
    },
    /// It finished.
    Ended {
        /// The final state.
        status: Status,
        /// The reason, if no attempt gave it.
        reason: Option<String>,
        /// The remedy, if it failed and the remedy is known.
        remedy: Option<String>,
        /// What was written.
        written: Option<Written>,
    },
    /// It waits.
    Pending {
        /// What for.
        waiting: Option<Waiting>,
    },
    /// A worker is processing it.
    Running,
    /// The body of the event was removed.
    PayloadRemoved {
        /// Whether that was part of a customer's erasure; otherwise retention removed it.
        is_erasure: bool,
    },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((id, destination)) = &self.execution {
            write!(f, "execution {id} to {destination}: ")?;
        }
        write!(f, "{}", self.what)?;
        if matches!(self.what, What::Received { .. }) {
            write!(f, ", and stored as event {}", self.event.0)?;
        }
        if matches!(self.at, LineTime::Now(_)) { f.write_str(" (now)") } else { Ok(()) }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { source } => write!(f, "created at {source}"),
            Self::Received { origin: EventOrigin::Webhook, secret } => {
                write!(f, "received, signed with the secret {secret}")
            }
            Self::Received { origin: EventOrigin::Api, secret } => {
                write!(f, "fetched from its sender's API with the key {secret}")
            }
            Self::Unwanted => f.write_str("no destination subscribes to its type and mode"),
            Self::Queued => f.write_str("queued"),
            Self::EarlierAttempts { count: 1 } => f.write_str("one earlier attempt is omitted"),
            Self::EarlierAttempts { count } => write!(f, "{count} earlier attempts are omitted"),
            Self::Waited { wait } => wait.fmt(f),
            Self::Attempted { number, one, written } => {
                write!(f, "attempt {number}: {one}")?;
                optional(f, ", ", written.as_ref())
            }
            Self::Manual { operation } => operation.fmt(f),
            Self::Ended { status, reason, remedy, written } => {
                f.write_str(status.in_words())?;
                optional(f, ": ", reason.as_deref().map(|reason| reason.trim_end_matches('.')).as_ref())?;
                optional(f, ", ", written.as_ref())?;
                optional(f, ". What to do: ", remedy.as_ref())
            }
            Self::Pending { waiting } => {
                f.write_str("pending")?;
                optional(f, ": ", waiting.as_ref())
            }
            Self::Running => f.write_str("a worker is processing it"),
            Self::PayloadRemoved { is_erasure: true } => {
                f.write_str("its payload was removed: its customer's data was erased")
            }
            Self::PayloadRemoved { is_erasure: false } => {
                f.write_str("its payload was removed: its retention period ended")
            }
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.outcome)?;
        optional(f, " ", self.code.as_ref())?;
        if let Some(class) = &self.class {
            write!(f, " ({class})")?;
        }
        write!(f, " after {} ms", self.duration_ms)?;
        optional(f, ": ", self.message.as_ref())?;
        if let Some(request) = &self.request {
            write!(f, " [request {request}]")?;
        }
        Ok(())
    }
}

impl fmt::Display for ManualOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.deed(), self.who)?;
        if self.with_others {
            f.write_str(", with others")?;
        }
        optional(f, ": ", self.consequence().as_ref())?;
        optional(f, ": ", self.note.as_ref())
    }
}

impl ManualOperation {
    /// What was done, as a word or a few.
    pub fn deed(&self) -> &str {
        if self.restored.is_some() { "repetition cancelled" } else { &self.action }
    }

    /// What that means for the execution, if it is not obvious.
    pub const fn consequence(&self) -> Option<&'static str> {
        match self.restored {
            Some(Status::Success) => Some("it stays delivered, as before"),
            Some(Status::Skipped) => Some("it stays skipped, as before"),
            _ => None,
        }
    }
}

/// Writes an optional part.
fn optional(f: &mut fmt::Formatter<'_>, before: &str, part: Option<&impl fmt::Display>) -> fmt::Result {
    part.map_or(Ok(()), |part| write!(f, "{before}{part}"))
}
