//! Why an execution waited before an attempt.

use crate::domain::humanize::humanize_age;
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;

/// Shorter waits are omitted: a worker usually takes this long to claim an execution.
const WAIT_SHOWN_MIN: TimeDelta = TimeDelta::seconds(1);

/// An instance was paused from one time to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastPause {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub reason: String,
}

impl PastPause {
    /// The part of a time range that it covers.
    fn within(&self, since: DateTime<Utc>, until: DateTime<Utc>) -> TimeDelta {
        self.until.min(until) - self.since.max(since)
    }
}

/// A wait that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// How long it was.
    pub length: TimeDelta,
    /// What for.
    pub cause: Cause,
}

/// The reason of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// For most of the time the instance was paused, for this reason.
    Paused(String),
    /// The destination had asked for fewer calls.
    Throttled,
    /// A write of unknown outcome had to settle, or had to be searched for.
    InDoubt,
    /// A retry after a failed attempt.
    Retry,
    /// Others came first, or the rate had no slot.
    Turn,
}

impl Wait {
    /// The wait between two times, or `None` if it is too short. `outcome` is the outcome of the attempt
    /// before it, if there was one.
    pub fn between(
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        outcome: Option<&str>,
        pauses: &[PastPause],
    ) -> Option<Self> {
        let length = until - since;
        if length < WAIT_SHOWN_MIN {
            return None;
        }
        let longest = pauses.iter().max_by_key(|pause| pause.within(since, until));
        let pause = longest.filter(|pause| pause.within(since, until) * 2 >= length);
        let cause = match (pause, outcome) {
            (Some(pause), _) => Cause::Paused(pause.reason.clone()),
            (None, Some("throttled")) => Cause::Throttled,
            (None, Some("ambiguous" | "in_doubt")) => Cause::InDoubt,
            (None, Some(_)) => Cause::Retry,
            (None, None) => Cause::Turn,
        };
        Some(Self { length, cause })
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waited {}", humanize_age(self.length))?;
        match &self.cause {
            Cause::Paused(reason) if reason.starts_with("by ") => {
                write!(f, " while its destination was paused {reason}")
            }
            Cause::Paused(reason) => write!(f, " while its destination was paused: {reason}"),
            Cause::Throttled => f.write_str(" because the destination had asked for fewer calls"),
            Cause::InDoubt => f.write_str(" to check whether an earlier write arrived"),
            Cause::Retry => f.write_str(" for its next attempt"),
            Cause::Turn => f.write_str(" for its turn"),
        }
    }
}
