//! What would be sent for an execution now, before anything is: the exact requests.

use super::execution::{ExecutionId, Status};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Makes previews of executions. Handed to those who show them, since they know nothing of destinations.
pub type Previewer =
    Arc<dyn Fn(ExecutionId) -> BoxFuture<'static, Result<ExecutionPreview, NoPreview>> + Send + Sync>;

/// What the next try would come to, as a destination tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// What would be written.
    pub effect: Effect,
    /// The requests, in the order in which they would go out.
    pub requests: Vec<PreviewRequest>,
    /// What its place shows and would show, column by column.
    pub columns: Vec<PreviewColumn>,
    /// What a person should know of it; quotes nothing of the event.
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

/// A column, as it is and as it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewColumn {
    /// The name that people know.
    pub name: String,
    /// What the event makes of it, for people; nothing where it would be emptied, or is let alone.
    pub now: Option<String>,
    /// What was written to it last, where that is known.
    pub last: Option<String>,
    /// Whether it would be written.
    pub is_written: bool,
}

/// What a try would write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A new place at the destination.
    Create,
    /// A place that is known.
    Update,
    /// One or the other, as a look shows that comes first.
    LookFirst,
    /// Nothing.
    Nothing,
}

impl Effect {
    /// The word that stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::LookFirst => "look_first",
            Self::Nothing => "nothing",
        }
    }
}

/// A request as it would go out, without the token.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviewRequest {
    /// The method.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// The JSON body.
    pub body: Option<Value>,
    /// In which case it goes out.
    pub when: When,
}

/// In which case a request goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In any case.
    Always,
    /// Where the look before it finds the place; its id then stands for `{found}` in the address.
    Found,
    /// Where the look before it finds none.
    NotFound,
}

impl When {
    /// The word that stands in the API.
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
    /// The state that the execution is in. Where it came to its end, the preview is of a retry.
    pub status: Status,
    /// The execution whose event would be written: another one where a newer state of the object is
    /// known.
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
    #[error("its destination {0:?} is not among those that are configured")]
    NoDestination(String),
    /// Only the operator can mend what keeps the destination from working; what happened and what to do.
    #[error("{0}")]
    NeedsOperator(String),
    /// Nobody can say just now; why, and after which time to ask again.
    #[error("{0}")]
    Unavailable(String, Duration),
}
