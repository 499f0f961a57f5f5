//! The filters of bulk tasks: as the requests give them, as a task stores them, and as the store reads them.

use crate::domain::execution::{Change, Status};
use crate::domain::subscription::{TypeFilter, TypeVocabulary};
use crate::domain::task::TaskKind;
use crate::store::{EventFilter, ExecutionFilter, TaskRow, Window};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which executions a task retries. Absent fields do not restrict it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the API documents its parameters")]
pub struct RetryFilter {
    /// The state; `failed` if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_group_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<DateTime<Utc>>,
}

/// Which events a task replays. Absent fields do not restrict it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the API documents its parameters")]
pub struct ReplayFilter {
    /// Only this event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub livemode: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_after: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_before: Option<DateTime<Utc>>,
    /// The only destination to which they are delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// The filter of a task, by what the task does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkFilter {
    /// Executions to retry.
    Retry(RetryFilter),
    /// Events to replay.
    Replay(ReplayFilter),
}

/// The filter cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {what}")]
pub struct InvalidFilter {
    /// The parameter.
    pub parameter: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl InvalidFilter {
    pub(super) fn of(parameter: &'static str, error: impl std::fmt::Display) -> Self {
        Self { parameter, what: error.to_string() }
    }
}

impl BulkFilter {
    /// What a task with this filter does.
    pub const fn kind(&self) -> TaskKind {
        match self {
            Self::Retry(_) => TaskKind::RetryExecutions,
            Self::Replay(_) => TaskKind::ReplayEvents,
        }
    }

    /// The given parameters, as a task stores them.
    pub fn to_json(&self) -> Value {
        let written = match self {
            Self::Retry(filter) => serde_json::to_value(filter),
            Self::Replay(filter) => serde_json::to_value(filter),
        };
        // Texts, times and booleans can always be written.
        written.unwrap_or_default()
    }

    /// The filter of a task, which covers only what was there when the task was created.
    pub(super) fn of_task(task: &TaskRow) -> Result<Self, InvalidFilter> {
        let end =
            |before: Option<DateTime<Utc>>| before.map_or(task.created_at, |at| at.min(task.created_at));
        let unreadable = |error| InvalidFilter::of("filter", error);
        Ok(match task.kind {
            TaskKind::RetryExecutions => {
                let filter: RetryFilter = serde_json::from_value(task.filter.clone()).map_err(unreadable)?;
                let created_before = Some(end(filter.created_before));
                Self::Retry(RetryFilter { created_before, ..filter })
            }
            TaskKind::ReplayEvents => {
                let filter: ReplayFilter = serde_json::from_value(task.filter.clone()).map_err(unreadable)?;
                let received_before = Some(end(filter.received_before));
                Self::Replay(ReplayFilter { received_before, ..filter })
            }
        })
    }
}

impl RetryFilter {
    /// The state of the executions.
    pub(super) fn state(&self) -> Result<Status, InvalidFilter> {
        let status = self.status.as_deref().map_or(Ok(Status::Failed), str::parse);
        let status = status.map_err(|error| InvalidFilter::of("status", error))?;
        if status.after(Change::Retry).is_none() {
            let why = status.why_not_retryable();
            return Err(InvalidFilter::of(
                "status",
                format_args!("{status} executions cannot be retried: {why}"),
            ));
        }
        Ok(status)
    }

    /// The same for the store, except for the event.
    pub(super) fn read(&self, types: &TypeVocabulary) -> Result<ExecutionFilter, InvalidFilter> {
        Ok(ExecutionFilter {
            source: self.source.clone(),
            types: read_types(self.event_type.as_deref(), types)?,
            status: Some(self.state()?.as_str()),
            event: None,
            destination: self.destination.clone(),
            error_class: self.error_class.clone(),
            failure_group: self.failure_group_id.clone(),
            created: Window { after: self.created_after, before: self.created_before },
        })
    }
}

impl ReplayFilter {
    /// The same for the store, except for the event.
    pub(super) fn read(&self, types: &TypeVocabulary) -> Result<EventFilter, InvalidFilter> {
        let status = self.status.as_deref().map(|word| word.parse().map(Status::as_str)).transpose();
        Ok(EventFilter {
            key: None,
            source: self.source.clone(),
            types: read_types(self.event_type.as_deref(), types)?,
            object_id: self.object_id.clone(),
            account: self.account.clone(),
            livemode: self.livemode,
            status: status.map_err(|error| InvalidFilter::of("status", error))?,
            received: Window { after: self.received_after, before: self.received_before },
        })
    }
}

fn read_types(list: Option<&str>, types: &TypeVocabulary) -> Result<Option<TypeFilter>, InvalidFilter> {
    let read = list.map(|list| TypeFilter::parse(list, types)).transpose();
    read.map_err(|error| InvalidFilter::of("type", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_stores_only_what_was_given_and_reads_back() {
        let given = json!({"status": "failed", "type": "invoice.*", "created_after": "2026-11-23T00:00:00Z"});
        let filter: RetryFilter = serde_json::from_value(given.clone()).unwrap();
        assert_eq!(BulkFilter::Retry(filter).to_json(), given);
        assert_eq!(BulkFilter::Replay(ReplayFilter::default()).to_json(), json!({}));
    }

    #[test]
    fn only_states_that_allow_a_retry_are_accepted() {
        let state = |word: Option<&str>| {
            RetryFilter { status: word.map(str::to_owned), ..Default::default() }.state()
        };
        assert_eq!(state(None), Ok(Status::Failed));
        assert_eq!(state(Some("skipped")), Ok(Status::Skipped));
        for word in ["running", "superseded", "lost"] {
            let error = state(Some(word)).unwrap_err().to_string();
            assert!(error.starts_with("status: "), "{error}");
        }
    }
}
