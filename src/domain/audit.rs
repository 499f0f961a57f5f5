//! The audit log's callers, actions and subjects, and the limits of a note.

use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::ToSchema;

/// The longest note of a pause, in characters.
pub const PAUSE_NOTE_MAX: usize = 500;

/// The length limit of an acknowledgement's note, in characters.
pub const ACKNOWLEDGEMENT_NOTE_MAX: usize = 1000;

/// Trims a note. Returns `None` if nothing is left or if it exceeds `characters_max`.
pub fn note(text: &str, characters_max: usize) -> Option<&str> {
    let note = text.trim();
    (1..=characters_max).contains(&note.chars().count()).then_some(note)
}

/// The caller of an API request, a dashboard page or a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    name: String,
    may_write: bool,
}

impl Caller {
    /// The holder of an API key, identified by the key's name.
    pub fn with_key(name: impl Into<String>, may_write: bool) -> Self {
        Self { name: name.into(), may_write }
    }

    /// A caller of a service that requires no key.
    pub fn without_key() -> Self {
        Self { name: "(no key)".to_owned(), may_write: true }
    }

    /// A user of the command line on this machine.
    pub fn at_command_line(user: &str) -> Self {
        Self { name: format!("cli:{user}"), may_write: true }
    }

    /// The name in the audit.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the caller may change anything.
    pub const fn may_write(&self) -> bool {
        self.may_write
    }
}

/// A manual action. Later versions may add values: accept unknown ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AuditAction)]
pub enum Action {
    /// An execution is retried.
    #[serde(rename = "execution.retried")]
    ExecutionRetried,
    /// An execution is cancelled.
    #[serde(rename = "execution.cancelled")]
    ExecutionCancelled,
    /// A bulk task retried executions that match its filter.
    #[serde(rename = "executions.retried")]
    ExecutionsRetried,
    /// A bulk task replayed events that match its filter.
    #[serde(rename = "events.replayed")]
    EventsReplayed,
    /// A bulk task is cancelled.
    #[serde(rename = "task.cancelled")]
    TaskCancelled,
    /// An operator paused an instance.
    #[serde(rename = "destination.paused")]
    DestinationPaused,
    /// An operator resumed an instance.
    #[serde(rename = "destination.resumed")]
    DestinationResumed,
    /// A failure group is acknowledged.
    #[serde(rename = "failure.acknowledged")]
    FailureAcknowledged,
    /// The acknowledgement of a failure group is removed.
    #[serde(rename = "failure.unacknowledged")]
    FailureUnacknowledged,
    /// The data of a customer is erased.
    #[serde(rename = "customer.erased")]
    CustomerErased,
    /// Old events or payloads are removed.
    #[serde(rename = "events.pruned")]
    EventsPruned,
}

impl Action {
    /// The word in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExecutionRetried => "execution.retried",
            Self::ExecutionCancelled => "execution.cancelled",
            Self::ExecutionsRetried => "executions.retried",
            Self::EventsReplayed => "events.replayed",
            Self::TaskCancelled => "task.cancelled",
            Self::DestinationPaused => "destination.paused",
            Self::DestinationResumed => "destination.resumed",
            Self::FailureAcknowledged => "failure.acknowledged",
            Self::FailureUnacknowledged => "failure.unacknowledged",
            Self::CustomerErased => "customer.erased",
            Self::EventsPruned => "events.pruned",
        }
    }
}

/// What an audit entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// What kind of thing was changed.
    pub kind: SubjectKind,
    /// Which one; `None` if there were many, or if it has no id.
    pub id: Option<&'a str>,
}

/// What kind of thing a manual action changed. Later versions may add values: accept unknown ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuditSubjectKind)]
pub enum SubjectKind {
    /// One execution.
    Execution,
    /// The events older than a time.
    Events,
    /// A bulk task, and with it the executions or events that match its filter.
    Task,
    /// A destination instance.
    Destination,
    /// A failure group.
    Failure,
    /// A customer.
    Customer,
}

impl SubjectKind {
    const ALL: [Self; 6] =
        [Self::Execution, Self::Events, Self::Task, Self::Destination, Self::Failure, Self::Customer];

    /// The word in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::Events => "events",
            Self::Task => "task",
            Self::Destination => "destination",
            Self::Failure => "failure",
            Self::Customer => "customer",
        }
    }
}

/// The word is not the kind of an audit subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must begin with execution, events, task, destination, failure or customer")]
pub struct UnknownSubjectKind;

impl FromStr for SubjectKind {
    type Err = UnknownSubjectKind;

    fn from_str(word: &str) -> Result<Self, UnknownSubjectKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or(UnknownSubjectKind)
    }
}
