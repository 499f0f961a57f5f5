//! Previews: the exact requests that the next attempt of an execution would send.
//!
//! For a finished execution, the preview shows the requests of a retry. The delivery code builds them from
//! the same plan, columns and mapping as a delivery, and the client sends exactly the requests that are
//! shown. A preview has no lease, so no destination can write. It reads only columns that are not known
//! yet. If a request depends on a search at the destination, the preview shows both cases and does not
//! search.
//!
//! `app` passes the [`Previewer`] to the API and the dashboard as a function, so that they need not know
//! workers and destinations.

use super::execution::{ExecutionId, Status};
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Creates the preview of an execution.
pub type Previewer =
    Arc<dyn Fn(ExecutionId) -> BoxFuture<'static, Result<ExecutionPreview, NoPreview>> + Send + Sync>;

/// The effect of the next attempt, as a destination computes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The effect of the write.
    pub effect: Effect,
    /// The requests, in the order of sending.
    pub requests: Vec<PreviewRequest>,
    /// The columns of the entry, with their present and future values.
    pub columns: Vec<PreviewColumn>,
    /// Notes for the operator; they contain no data of the event, but may contain the destination's words.
    pub notes: Vec<String>,
}

impl Preview {
    /// Nothing would be sent, for this reason.
    pub fn nothing(reason: impl Into<String>) -> Self {
        Self {
            effect: Effect::Nothing,
            requests: Vec::new(),
            columns: Vec::new(),
            notes: vec![reason.into()],
        }
    }
}

/// A column with its present and its future value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewColumn {
    /// The name that the destination displays.
    pub name: String,
    /// The value from the event, for people; `None` if the column would be emptied or is left unchanged.
    pub now: Option<String>,
    /// The value that was written last, if that is known.
    pub last: Option<String>,
    /// Whether it would be written.
    pub is_written: bool,
}

/// The effect of an attempt. Later versions may add values: accept unknown ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PreviewEffect)]
pub enum Effect {
    /// It creates an entry at the destination.
    Create,
    /// It updates a known entry.
    Update,
    /// It searches first, then updates the entry that it finds or creates one.
    LookFirst,
    /// Nothing.
    Nothing,
}

impl Effect {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::LookFirst => "look_first",
            Self::Nothing => "nothing",
        }
    }
}

/// A request as it would be sent, without the token.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviewRequest {
    /// The method.
    pub method: String,
    /// The complete URL.
    pub url: String,
    /// The JSON body.
    pub body: Option<Value>,
    /// In which case it is sent.
    pub when: When,
}

/// In which case a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PreviewCondition)]
pub enum When {
    /// In any case.
    Always,
    /// If the search before it finds the entry, whose id then replaces `{found}` in the URL.
    Found,
    /// If the search before it finds no entry.
    NotFound,
}

impl When {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Found => "found",
            Self::NotFound => "not_found",
        }
    }
}

/// A preview of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionPreview {
    /// The state of the execution. If it is finished, the preview is that of a retry.
    pub status: Status,
    /// The execution whose event would be written: another one if a newer state of the object is known.
    pub writes: ExecutionId,
    /// The event's id at its sender.
    pub event_id: String,
    /// What would be sent.
    pub preview: Preview,
}

/// Why there is no preview.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPreview {
    /// There is no such execution.
    #[error("there is no such execution")]
    NotFound,
    /// Its destination is not configured.
    #[error("its destination {0:?} is not configured")]
    NoDestination(String),
    /// The destination does not work, and only the operator can fix it: what happened and what to do.
    #[error("{0}")]
    NeedsOperator(String),
    /// Temporarily unavailable: the reason, and the time after which to try again.
    #[error("{0}")]
    Unavailable(String, Duration),
}
