//! Who does something by hand, and what: the words of the audit.

/// The longest note of a hold, in characters.
pub const HOLD_NOTE_MAX: usize = 500;

/// The longest note of an acknowledgement, in characters.
pub const ACKNOWLEDGEMENT_NOTE_MAX: usize = 1000;

/// A note without the blanks around it; nothing where none is left, or more than `characters_max`.
pub fn note(text: &str, characters_max: usize) -> Option<&str> {
    let note = text.trim();
    (1..=characters_max).contains(&note.chars().count()).then_some(note)
}

/// Somebody who asks for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    name: String,
    may_write: bool,
}

impl Caller {
    /// The holder of a key, by the key's name.
    pub fn with_key(name: impl Into<String>, may_write: bool) -> Self {
        Self { name: name.into(), may_write }
    }

    /// Somebody of whom no key is asked.
    pub fn without_key() -> Self {
        Self { name: "(no key)".to_owned(), may_write: true }
    }

    /// A user of the command line on this machine.
    pub fn at_command_line(user: &str) -> Self {
        Self { name: format!("cli:{user}"), may_write: true }
    }

    /// What the audit calls them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether they may change anything.
    pub const fn may_write(&self) -> bool {
        self.may_write
    }
}

/// What is done by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// One execution is tried again.
    ExecutionRetried,
    /// One execution is not to be delivered.
    ExecutionCancelled,
    /// Executions are tried again, by a filter.
    ExecutionsRetried,
    /// Events are delivered again, by a filter.
    EventsReplayed,
    /// An instance is held.
    DestinationHeld,
    /// An instance goes on.
    DestinationResumed,
    /// A group of failures is known to somebody.
    FailureAcknowledged,
    /// An acknowledgement is taken back.
    FailureUnacknowledged,
    /// A customer's data is removed.
    CustomerForgotten,
    /// What is old is removed.
    EventsPruned,
}

impl Action {
    /// The word that stands in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExecutionRetried => "execution.retried",
            Self::ExecutionCancelled => "execution.cancelled",
            Self::ExecutionsRetried => "executions.retried",
            Self::EventsReplayed => "events.replayed",
            Self::DestinationHeld => "destination.held",
            Self::DestinationResumed => "destination.resumed",
            Self::FailureAcknowledged => "failure.acknowledged",
            Self::FailureUnacknowledged => "failure.unacknowledged",
            Self::CustomerForgotten => "customer.forgotten",
            Self::EventsPruned => "events.pruned",
        }
    }
}

/// What an audit entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// `execution`, `destination`, `failure` or `customer`; `executions` or `events` if there were many.
    pub kind: &'a str,
    /// Which one, if it is a single one.
    pub id: Option<&'a str>,
}

impl<'a> From<&'a str> for Subject<'a> {
    /// Reads it from a text such as `execution 42` or `events`, as the API writes it.
    fn from(text: &'a str) -> Self {
        match text.split_once(' ') {
            Some((kind, id)) => Self { kind, id: Some(id) },
            None => Self { kind: text, id: None },
        }
    }
}
