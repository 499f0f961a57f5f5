//! Bulk tasks: retries of many executions and replays of many events, done page by page in the background.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// What the text of a task's id begins with.
const PREFIX: &str = "task_";

/// The id of a task, such as `task_42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskId(pub i64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

/// The text is not the id of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of a task, such as task_42")]
pub struct InvalidTaskId;

impl FromStr for TaskId {
    type Err = InvalidTaskId;

    fn from_str(text: &str) -> Result<Self, InvalidTaskId> {
        let digits = text.strip_prefix(PREFIX).ok_or(InvalidTaskId)?;
        let id: i64 = digits.parse().map_err(|_| InvalidTaskId)?;
        // One task has one id: no sign and no leading zeros.
        let id = Self(id);
        if id.to_string() == text { Ok(id) } else { Err(InvalidTaskId) }
    }
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// It retries the executions that match a filter.
    RetryExecutions,
    /// It delivers the events that match a filter again.
    ReplayEvents,
}

impl TaskKind {
    const ALL: [Self; 2] = [Self::RetryExecutions, Self::ReplayEvents];

    /// The word in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RetryExecutions => "retry_executions",
            Self::ReplayEvents => "replay_events",
        }
    }
}

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It has not begun.
    Queued,
    /// Its first page is done or under way.
    Running,
    /// All that matched is queued.
    Succeeded,
    /// It cannot go on; `error` states why. What it queued stays queued.
    Failed,
    /// A person cancelled it. What it queued stays queued.
    Cancelled,
}

impl TaskStatus {
    const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it never changes again.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A word that is neither a kind nor a status of a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is unknown")]
pub struct UnknownTaskWord(String);

impl UnknownTaskWord {
    fn of(word: &str) -> Self {
        Self(word.chars().take(40).collect())
    }
}

impl FromStr for TaskKind {
    type Err = UnknownTaskWord;

    fn from_str(word: &str) -> Result<Self, UnknownTaskWord> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| UnknownTaskWord::of(word))
    }
}

impl FromStr for TaskStatus {
    type Err = UnknownTaskWord;

    fn from_str(word: &str) -> Result<Self, UnknownTaskWord> {
        Self::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(|| UnknownTaskWord::of(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        assert_eq!("task_42".parse(), Ok(TaskId(42)));
        assert_eq!(TaskId(42).to_string(), "task_42");
        for text in ["42", "task_", "task_042", "task_+42", "task_42 ", "task_99999999999999999999"] {
            assert_eq!(text.parse::<TaskId>(), Err(InvalidTaskId), "{text}");
        }
    }

    #[test]
    fn the_words_read_back() {
        for kind in TaskKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for status in TaskStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("done".parse::<TaskStatus>().is_err());
    }
}
