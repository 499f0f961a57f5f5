//! Lists of a sender's events, from which is fetched what no webhook brought.

use crate::domain::event::NewEvent;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use std::time::Duration;

/// A list of a sender's events, newest first.
pub trait EventList: Send + Sync {
    /// Names the list among those of its source: the name of the API key that reads it.
    fn name(&self) -> &str;

    /// Changes if another key reads the list, which may be that of another account. It reveals nothing of the key.
    fn identity(&self) -> &str;

    /// How the list is read.
    fn settings(&self) -> PullSettings;

    /// Reads at most `pages_max` pages of the events that were created in a time range. The stream ends after the
    /// last page or an error. Dropping it cancels the request that runs.
    fn read(&self, range: CreatedRange, pages_max: usize) -> BoxStream<'_, Result<EventPage, ListError>>;
}

/// How a list of events is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullSettings {
    /// The time between two reads of the newest events.
    pub interval: Duration,
    /// Events that were created earlier are left alone; `None` for as many as the sender lists.
    pub since: Option<DateTime<Utc>>,
    /// For how long the sender lists events.
    pub listed_for: Duration,
    /// How long a webhook has precedence: younger events are left to it. Zero if none is expected.
    pub webhook_first: Duration,
}

/// A range of times at the sender, in whole seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreatedRange {
    /// Its beginning.
    pub from: Option<DateTime<Utc>>,
    /// Its end, which is not a part of it.
    pub until: Option<DateTime<Utc>>,
}

/// A page of a list of events.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events, newest first, as they are stored.
    pub events: Vec<NewEvent>,
    /// The ids of those that cannot be stored, each with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Whether older ones follow.
    pub has_more: bool,
    /// A time by the sender's clock at which the page was complete.
    pub asked_at: DateTime<Utc>,
}

/// Why a list cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ListError {
    /// The kind of failure, for logs.
    pub class: &'static str,
    /// What happened, as a sentence without its full stop. It contains no secret.
    pub message: String,
    /// What to do, as a sentence without its full stop.
    pub remedy: String,
    /// Whether it may pass without anyone's help.
    pub is_temporary: bool,
    /// How long the sender asks to wait.
    pub retry_after: Option<Duration>,
}
