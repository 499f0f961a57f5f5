//! The readable reason why an execution is pending.

use crate::domain::execution::ExecutionId;
use crate::domain::failure::with_remedy;
use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt;

/// What a pending execution waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Its destination instance is not configured (any more).
    NoDestination,
    /// Its destination instance is paused.
    Paused {
        /// Why, or the note of the operator who paused it.
        reason: String,
        /// Who paused it, if an operator did.
        by: Option<String>,
        /// What to do, if that is known.
        remedy: Option<String>,
    },
    /// The end of a rest: nothing is delivered to its destination after repeated failures.
    BackingOff {
        /// When the next attempt is made.
        until: DateTime<Utc>,
        /// What it follows, such as `after repeated 502`.
        cause: String,
        /// What it waited for before; `None` if it is new.
        reason: Option<String>,
    },
    /// Another execution of its lane, which comes first.
    Behind(ExecutionId),
    /// The time of its next attempt.
    Until {
        /// When that is.
        next_try: DateTime<Utc>,
        /// Why it was postponed.
        reason: Option<String>,
    },
    /// A free worker.
    Worker {
        /// Why it is due; `None` if it is new.
        reason: Option<String>,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDestination => f.write_str(
                "its destination is not among DESTINATIONS: it waits until that is configured again",
            ),
            Self::Paused { reason, by, remedy } => {
                f.write_str("its destination is paused")?;
                by.as_ref().map_or(Ok(()), |by| write!(f, " by {by}"))?;
                write!(f, ": {}", with_remedy(reason, remedy.as_deref()))
            }
            Self::BackingOff { until, cause, reason } => {
                let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
                write!(f, "its destination is backing off until {until} {cause}")?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            Self::Behind(first) => {
                write!(f, "waits for execution {first} of the same object, which comes first")
            }
            Self::Until { next_try, reason } => {
                write!(
                    f,
                    "waits for its next attempt at {}",
                    next_try.to_rfc3339_opts(SecondsFormat::Secs, true)
                )?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            Self::Worker { reason: Some(reason) } => write!(f, "due, waits for a worker: {reason}"),
            Self::Worker { reason: None } => f.write_str("new, waits for a worker"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_what_it_waits_for_and_the_reason_if_there_is_one() {
        let next_try = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let refused = || Some("Notion answered 409".to_owned());
        for (waiting, said) in [
            (
                Waiting::Paused { reason: "the token is refused".into(), by: None, remedy: None },
                "its destination is paused: the token is refused",
            ),
            (
                Waiting::Paused {
                    reason: "The token is refused.".into(),
                    by: None,
                    remedy: Some("set another".into()),
                },
                "its destination is paused: The token is refused. What to do: set another",
            ),
            (
                Waiting::Paused { reason: "test".into(), by: Some("cli:ann".into()), remedy: None },
                "its destination is paused by cli:ann: test",
            ),
            (
                Waiting::BackingOff { until: next_try, cause: "after repeated 502".into(), reason: None },
                "its destination is backing off until 2027-01-15T08:00:00Z after repeated 502",
            ),
            (Waiting::Behind(ExecutionId(7)), "waits for execution 7 of the same object, which comes first"),
            (
                Waiting::Until { next_try, reason: refused() },
                "waits for its next attempt at 2027-01-15T08:00:00Z: Notion answered 409",
            ),
            (Waiting::Until { next_try, reason: None }, "waits for its next attempt at 2027-01-15T08:00:00Z"),
            (Waiting::Worker { reason: refused() }, "due, waits for a worker: Notion answered 409"),
            (Waiting::Worker { reason: None }, "new, waits for a worker"),
        ] {
            assert_eq!(waiting.to_string(), said);
        }
    }
}
