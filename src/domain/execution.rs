//! An execution's states and the table of legal transitions, written here once.
//!
//! A retry asks [`Change::allowed_from`] where it may start. Claims start from `pending`, and what a
//! worker reports from `running`, which the lease it must hold vouches for.

use std::fmt;
use std::str::FromStr;

/// An execution's id: one event on its way to one destination instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId(pub i64);

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an execution delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The event itself: each has a place of its own at the destination.
    #[default]
    Event,
    /// The state of the event's object: its events share one place, which shows the newest state.
    Object,
}

impl Mode {
    /// The word that stands in the database and in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Object => "object",
        }
    }
}

/// A text that names no mode.
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
    /// What must stay in order: an object of this instance. None in event mode, and for an object
    /// that has no id.
    pub lane: Option<String>,
}

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waits: new, or for a retry, or for something that its reason names.
    Pending,
    /// Leased by a worker.
    Running,
    /// Delivered; the remote id and link are known.
    Success,
    /// Given up, with the reason.
    Failed,
    /// A destination declined it, with the reason.
    Skipped,
    /// A newer event of the same object was delivered instead.
    Superseded,
    /// Cancelled by a person.
    Cancelled,
}

impl Status {
    /// Every state, in the order in which people read them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Skipped,
        Self::Superseded,
        Self::Cancelled,
    ];

    /// The word that stands in the database and in the API.
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

    /// Whether it is no longer worked on.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Why a person cannot retry it in this state, for the states in which that is so.
    pub const fn why_not_retryable(self) -> &'static str {
        match self {
            Self::Running => "a worker has it just now; wait for its verdict",
            Self::Superseded => "a newer event of the same object was delivered instead",
            _ => "it changed just now; ask again",
        }
    }

    /// Why a person cannot cancel it in this state, for the states in which that is so.
    pub const fn why_not_cancellable(self) -> &'static str {
        match self {
            Self::Running => "a worker has it just now; wait for its verdict",
            Self::Success => "it was delivered",
            Self::Failed | Self::Skipped | Self::Superseded => "nothing more is done about it as it is",
            Self::Pending | Self::Cancelled => "it changed just now; ask again",
        }
    }

    /// The state after `change`, or nothing where the change is not legal.
    pub const fn after(self, change: Change) -> Option<Self> {
        use Status::{Cancelled, Failed, Pending, Running, Skipped, Success, Superseded};
        match (self, change) {
            (Pending, Change::Claim) => Some(Running),
            // In object mode the newest state is delivered under the lease of its lane, whichever
            // execution was claimed: it may wait behind that one, or have been taken for an older one.
            (Running | Pending | Success | Superseded, Change::Deliver) => Some(Success),
            (Running, Change::Decline) => Some(Skipped),
            (Running | Pending, Change::GiveUp) => Some(Failed),
            // A retry of what waits anyway is harmless: so it can be asked for again and again.
            (Running, Change::Postpone | Change::Rescue)
            | (Pending | Success | Failed | Skipped | Cancelled, Change::Retry)
            // What is superseded stays so, and what a person cancelled.
            | (Success | Failed | Skipped, Change::Replay) => Some(Pending),
            (Running | Pending, Change::Supersede) => Some(Superseded),
            // Asking twice does no harm.
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

/// A text that names no status.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no status; the statuses are pending, running, success, failed, skipped, superseded, cancelled"
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

/// What can happen to an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A worker takes it under a lease.
    Claim,
    /// The destination has it.
    Deliver,
    /// The destination declines it.
    Decline,
    /// It failed for good.
    GiveUp,
    /// It is tried again later.
    Postpone,
    /// Its worker died or lost its lease.
    Rescue,
    /// A newer event of the object was delivered instead.
    Supersede,
    /// A person cancels it.
    Cancel,
    /// A person asks for another try.
    Retry,
    /// A person has its event delivered again, with others.
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

    /// The states from which the change is legal, as the database has them.
    pub(crate) fn allowed_from_words(self) -> Vec<String> {
        self.allowed_from().into_iter().map(|status| status.as_str().to_owned()).collect()
    }

    /// The states from which the change is legal.
    pub fn allowed_from(self) -> Vec<Status> {
        Status::ALL.into_iter().filter(|status| status.after(self).is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, said a second time: state by state, which changes lead where.
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
    fn words_read_back_to_their_state() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("done".parse::<Status>().is_err());
    }
}
