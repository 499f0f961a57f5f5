//! An execution's states, and the only table of legal transitions.
//!
//! Three words, each with one meaning:
//!
//! - An **execution** is the way of its [`Subject`], usually an event, to one destination instance. It has a
//!   state, and is claimed, completed, retried, cancelled.
//! - An **attempt** is one try of an execution, from its claim to its completion. It has an outcome; failed
//!   attempts are counted.
//! - A **delivery** is the act of calling the destination in an attempt.
//!
//! A retry begins in the states of [`Change::allowed_from`]. A claim begins in `pending`. A worker completes
//! only `running` executions, because it must hold their lease.

use super::event::StoredEvent;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// An execution's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId(pub i64);

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an execution delivers.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events")]
pub enum Subject {
    /// An event. Each event has one execution per destination, from the transaction that stores it.
    Event(StoredEvent),
    /// A row that many events change, in its newest version at the claim. A row has one execution per
    /// destination, which is queued again for each version that is requested.
    Row(RowVersion),
}

/// A version of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowVersion {
    /// Identifies the row.
    pub key: String,
    /// Grows with every change of the row.
    pub version: i64,
}

impl Subject {
    /// The event, unless it is a row.
    pub const fn event(&self) -> Option<&StoredEvent> {
        match self {
            Self::Event(event) => Some(event),
            Self::Row(_) => None,
        }
    }

    /// The row, unless it is an event.
    pub const fn row(&self) -> Option<&RowVersion> {
        match self {
            Self::Event(_) => None,
            Self::Row(row) => Some(row),
        }
    }
}

/// What of an event is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The event itself. Each event has a place of its own at the destination.
    #[default]
    Event,
    /// The state of the event's object. The events of an object share one place, which shows its newest state.
    Object,
}

impl Mode {
    /// The word in the database and in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Object => "object",
        }
    }
}

/// The text is not a mode.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be event or object")]
pub struct UnknownMode;

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Event, Self::Object].into_iter().find(|mode| mode.as_str() == text).ok_or(UnknownMode)
    }
}

/// An execution to be created with its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExecution {
    /// The destination instance.
    pub destination: String,
    /// What it delivers.
    pub mode: Mode,
    /// The executions of one lane run one at a time: those of an object at this instance. No event-mode
    /// subscription sets it, and none of an object without an id.
    pub lane: Option<String>,
}

/// The state of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExecutionStatus)]
pub enum Status {
    /// Waits, as its reason says: it is new, or is retried later.
    Pending,
    /// A worker leases it and makes an attempt.
    Running,
    /// Delivered. The remote id and the link are known.
    Success,
    /// Failed for good, with the reason.
    Failed,
    /// The destination declined it, with the reason.
    Skipped,
    /// A newer event of the same object was delivered instead.
    Superseded,
    /// Cancelled by an operator.
    Cancelled,
}

impl Status {
    /// Every state, in display order.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Skipped,
        Self::Superseded,
        Self::Cancelled,
    ];

    /// The states to which an execution returns if a retry or replay of it is cancelled: the destination has it, or
    /// declined it. After any other state the cancel leaves it cancelled.
    pub const RESTORED_BY_CANCEL: [Self; 2] = [Self::Success, Self::Skipped];

    /// The word in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// The word for people, such as `delivered`.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Success => "delivered",
            other => other.as_str(),
        }
    }

    /// The word for people for the name of a state; another text unchanged.
    pub fn name_in_words(name: &str) -> &str {
        match name.parse::<Self>() {
            Ok(status) => status.in_words(),
            Err(_) => name,
        }
    }

    /// Whether no attempt follows by itself.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Why an operator cannot retry it, for the states in which that is not possible.
    pub const fn why_not_retryable(self) -> &'static str {
        match self {
            Self::Running => "a worker runs it now; wait until its attempt has ended",
            Self::Superseded => "a newer event of the same object was delivered instead",
            _ => "it has just changed; try again",
        }
    }

    /// Why an operator cannot cancel it, for the states in which that is not possible.
    pub const fn why_not_cancellable(self) -> &'static str {
        match self {
            Self::Running => "a worker runs it now; wait until its attempt has ended",
            Self::Success => "it was delivered",
            Self::Failed | Self::Skipped | Self::Superseded => "it is already finished",
            Self::Pending | Self::Cancelled => "it has just changed; try again",
        }
    }

    /// The state after `change`; none if the change is not legal.
    pub const fn after(self, change: Change) -> Option<Self> {
        use Status::{Cancelled, Failed, Pending, Running, Skipped, Success, Superseded};
        match (self, change) {
            (Pending, Change::Claim) => Some(Running),
            // In object mode the newest state is delivered under the lease of its lane, whichever execution was
            // claimed. Its own execution may be pending, or superseded by one that turned out to be older.
            (Running | Pending | Success | Superseded, Change::Deliver) => Some(Success),
            (Running, Change::Decline) => Some(Skipped),
            (Running | Pending, Change::GiveUp) => Some(Failed),
            // A retry of a pending execution is harmless, so that it can be repeated.
            (Running, Change::Postpone | Change::Rescue)
            | (Pending | Success | Failed | Skipped | Cancelled, Change::Retry)
            // A superseded execution stays superseded, and a cancelled one stays cancelled.
            | (Success | Failed | Skipped, Change::Replay) => Some(Pending),
            (Running | Pending, Change::Supersede) => Some(Superseded),
            // A cancellation can be repeated. For what was delivered or declined before, see
            // RESTORED_BY_CANCEL.
            (Pending | Cancelled, Change::Cancel) => Some(Cancelled),
            _ => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an attempt ended. Later versions may add values: accept unknown ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The destination has it.
    Delivered,
    /// The destination declined it.
    Skipped,
    /// The destination refused it for good.
    Permanent,
    /// What it would write to does not exist any more.
    Gone,
    /// It failed, and a later attempt may succeed.
    Transient,
    /// The destination asked for fewer calls.
    Throttled,
    /// The write was sent, and its result is unknown.
    Ambiguous,
    /// An earlier write was searched for, and it is still unknown whether it took effect.
    InDoubt,
    /// Only the operator can fix the cause.
    NeedsOperator,
    /// Something outside the execution prevents it for now.
    Blocked,
    /// The worker was stopped during it.
    Interrupted,
    /// The worker died or stalled during it.
    Crashed,
}

impl AttemptOutcome {
    /// The word in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Skipped => "skipped",
            Self::Permanent => "permanent",
            Self::Gone => "gone",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Ambiguous => "ambiguous",
            Self::InDoubt => "in_doubt",
            Self::NeedsOperator => "needs_operator",
            Self::Blocked => "blocked",
            Self::Interrupted => "interrupted",
            Self::Crashed => "crashed",
        }
    }
}

/// The text is not a status.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a status; the statuses are pending, running, success, failed, skipped, superseded, cancelled"
)]
pub struct UnknownStatus(String);

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownStatus(text.chars().take(40).collect()))
    }
}

/// A change of an execution's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A worker claims it under a lease.
    Claim,
    /// It was delivered.
    Deliver,
    /// The destination declines it.
    Decline,
    /// It fails for good.
    GiveUp,
    /// It is scheduled for another attempt.
    Postpone,
    /// Its worker died or lost its lease.
    Rescue,
    /// A newer event of the object was delivered instead.
    Supersede,
    /// An operator cancels it.
    Cancel,
    /// An operator asks for another attempt.
    Retry,
    /// An operator has its event delivered again, with others.
    Replay,
}

impl Change {
    /// Every change.
    pub const ALL: [Self; 10] = [
        Self::Claim,
        Self::Deliver,
        Self::Decline,
        Self::GiveUp,
        Self::Postpone,
        Self::Rescue,
        Self::Supersede,
        Self::Cancel,
        Self::Retry,
        Self::Replay,
    ];

    /// The states in which the change is legal, in the words of the database.
    pub(crate) fn allowed_from_words(self) -> Vec<String> {
        self.allowed_from().into_iter().map(|status| status.as_str().to_owned()).collect()
    }

    /// The states in which the change is legal.
    pub fn allowed_from(self) -> Vec<Status> {
        Status::ALL.into_iter().filter(|status| status.after(self).is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table a second time: state by state, which changes lead where.
    #[test]
    fn every_pair_of_state_and_change_is_as_written() {
        use Change::*;
        use Status::*;
        let legal = [
            (Pending, Claim, Running),
            (Pending, Supersede, Superseded),
            (Pending, Cancel, Cancelled),
            (Pending, Retry, Pending),
            (Pending, Deliver, Success),
            (Success, Deliver, Success),
            (Superseded, Deliver, Success),
            (Pending, GiveUp, Failed),
            (Running, Supersede, Superseded),
            (Running, Deliver, Success),
            (Running, Decline, Skipped),
            (Running, GiveUp, Failed),
            (Running, Postpone, Pending),
            (Running, Rescue, Pending),
            (Success, Retry, Pending),
            (Failed, Retry, Pending),
            (Skipped, Retry, Pending),
            (Cancelled, Retry, Pending),
            (Cancelled, Cancel, Cancelled),
            (Success, Replay, Pending),
            (Failed, Replay, Pending),
            (Skipped, Replay, Pending),
        ];
        for from in Status::ALL {
            for change in Change::ALL {
                let expected =
                    legal.iter().find(|(a, b, _)| (*a, *b) == (from, change)).map(|(_, _, to)| *to);
                assert_eq!(from.after(change), expected, "{from} after {change:?}");
            }
        }
    }

    #[test]
    fn only_pending_and_running_can_still_move_by_themselves() {
        for status in Status::ALL.into_iter().filter(|status| status.is_terminal()) {
            let by_itself = [Change::Claim, Change::GiveUp, Change::Postpone, Change::Rescue];
            assert!(by_itself.into_iter().all(|change| status.after(change).is_none()), "{status}");
        }
    }

    #[test]
    fn a_cancel_restores_only_states_from_which_a_repetition_begins() {
        for status in Status::RESTORED_BY_CANCEL {
            assert!(status.is_terminal() && status.after(Change::Retry).is_some(), "{status}");
        }
    }

    #[test]
    fn words_read_back_to_their_state() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert_eq!(Status::Success.in_words(), "delivered");
        assert!("done".parse::<Status>().is_err());
    }
}
