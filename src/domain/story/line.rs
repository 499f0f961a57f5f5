//! A line of a story, and how it reads as plain text.

use super::{Act, Try, Wait};
use crate::domain::event::EventKey;
use crate::domain::execution::{ExecutionId, Status};
use crate::domain::waiting::Waiting;
use chrono::{DateTime, Utc};
use std::fmt;

/// Something that happened, or that is so now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Moment,
    /// To which event.
    pub event: EventKey,
    /// On which way to a destination, where it concerns one: the execution and the instance.
    pub delivery: Option<(ExecutionId, String)>,
    /// What.
    pub what: What,
}

/// When something happened. What is so now comes after all that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Then.
    At(DateTime<Utc>),
    /// It is so now.
    Now(DateTime<Utc>),
}

impl Moment {
    /// The time.
    pub const fn time(self) -> DateTime<Utc> {
        match self {
            Self::At(time) | Self::Now(time) => time,
        }
    }
}

/// Something that a destination wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What the destination calls it, such as `page`.
    pub noun: &'static str,
    /// A link that a person can open.
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
    /// The sender made the event.
    Created {
        /// Who that is.
        source: String,
    },
    /// It came, was verified, and was stored.
    Received {
        /// The name of the secret that it was signed with.
        secret: String,
    },
    /// No destination asks for such events.
    Unwanted,
    /// It was queued for a destination later than it came.
    Queued,
    /// There were more tries than are told.
    EarlierTries {
        /// So many.
        count: u32,
    },
    /// It waited.
    Waited {
        /// How long, and what for.
        wait: Wait,
    },
    /// A worker tried.
    Tried {
        /// The how manieth try it was.
        number: u32,
        /// How it went.
        one: Try,
        /// What this try wrote, if it is still delivered.
        written: Option<Written>,
    },
    /// A person did something.
    ByHand {
        /// What.
        act: Act,
    },
    /// It came to its end.
    Ended {
        /// In which state.
        status: Status,
        /// Why, where no try said so before.
        reason: Option<String>,
        /// What to do about it, if it failed and that is known.
        remedy: Option<String>,
        /// What was written.
        written: Option<Written>,
    },
    /// It waits.
    Waits {
        /// What for.
        waiting: Option<Waiting>,
    },
    /// A worker has it.
    Runs,
    /// The body of the event was removed.
    PayloadRemoved {
        /// Because its customer was to be forgotten; else it was older than is kept.
        is_forgotten: bool,
    },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((id, destination)) = &self.delivery {
            write!(f, "execution {id} to {destination}: ")?;
        }
        write!(f, "{}", self.what)?;
        if matches!(self.what, What::Received { .. }) {
            write!(f, ", and stored as event {}", self.event.0)?;
        }
        if matches!(self.at, Moment::Now(_)) { f.write_str(" (now)") } else { Ok(()) }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { source } => write!(f, "created at {source}"),
            Self::Received { secret } => write!(f, "received, signed with the secret {secret}"),
            Self::Unwanted => f.write_str("no destination asks for events of its type and mode"),
            Self::Queued => f.write_str("queued"),
            Self::EarlierTries { count: 1 } => f.write_str("one earlier try is not told here"),
            Self::EarlierTries { count } => write!(f, "{count} earlier tries are not told here"),
            Self::Waited { wait } => wait.fmt(f),
            Self::Tried { number, one, written } => {
                write!(f, "try {number}: {one}")?;
                told(f, ", ", written.as_ref())
            }
            Self::ByHand { act } => act.fmt(f),
            Self::Ended { status, reason, remedy, written } => {
                f.write_str(status.as_str())?;
                told(f, ": ", reason.as_deref().map(|reason| reason.trim_end_matches('.')).as_ref())?;
                told(f, ", ", written.as_ref())?;
                told(f, ". What to do: ", remedy.as_ref())
            }
            Self::Waits { waiting } => {
                f.write_str("pending")?;
                told(f, ": ", waiting.as_ref())
            }
            Self::Runs => f.write_str("a worker has it just now"),
            Self::PayloadRemoved { is_forgotten: true } => {
                f.write_str("its payload was removed: its customer was forgotten")
            }
            Self::PayloadRemoved { is_forgotten: false } => {
                f.write_str("its payload was removed: it was older than is kept")
            }
        }
    }
}

impl fmt::Display for Try {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.outcome)?;
        told(f, " ", self.code.as_ref())?;
        if let Some(class) = &self.class {
            write!(f, " ({class})")?;
        }
        write!(f, " after {} ms", self.duration_ms)?;
        told(f, ": ", self.message.as_ref())?;
        if let Some(request) = &self.request {
            write!(f, " [request {request}]")?;
        }
        Ok(())
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.action, self.who)?;
        if self.with_others {
            f.write_str(", with others")?;
        }
        told(f, ": ", self.note.as_ref())
    }
}

/// A part that is not always there.
fn told(f: &mut fmt::Formatter<'_>, before: &str, part: Option<&impl fmt::Display>) -> fmt::Result {
    part.map_or(Ok(()), |part| write!(f, "{before}{part}"))
}
