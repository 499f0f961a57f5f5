//! `/api/v1/executions/{id}/preview`: the requests that a delivery would send now.

use super::executions::{execution_id, missing};
use super::extract::{NoQuery, Path};
use super::{Api, NotRead};
use crate::domain::execution::Status;
use crate::domain::preview::{self, Effect, NoPreview, When};
use crate::problem::{Problem, ProblemCode};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What the next attempt of an execution would send.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecutionPreview {
    /// The execution's number.
    #[schema(example = 42)]
    pub execution_id: i64,
    /// The execution's state. If it is final, the preview shows a retry.
    pub status: Status,
    /// The execution whose event would be written; in object mode, that of the newest state.
    #[schema(example = 42)]
    pub written_execution_id: i64,
    /// The sender's id of that event.
    pub event_id: String,
    /// What the attempt would do; `look_first` searches, then updates or creates.
    pub effect: Effect,
    /// The columns that would be written, by name.
    pub columns: Vec<String>,
    /// The requests, in the order of sending.
    pub requests: Vec<PreviewRequest>,
    /// Notes for the reader: what is left out and why, and what the execution waits for.
    pub notes: Vec<String>,
}

/// A request as it would be sent, without the token.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewRequest {
    /// In which case it is sent; `found` and `not_found` depend on the search before it.
    pub when: When,
    /// The method.
    #[schema(example = "POST")]
    pub method: String,
    /// The URL; `{found}` stands for the page that the lookup finds.
    #[schema(example = "https://api.notion.com/v1/pages")]
    pub url: String,
    /// The JSON body; null if the request has none.
    #[schema(value_type = Option<HashMap<String, Value>>)]
    pub body: Option<Value>,
}

/// Returns what the next attempt of an execution would send, and sends nothing.
///
/// It uses the columns that are known, and reads them if they are not. It works in every state of the
/// execution: for a final state it shows what a retry would send.
#[utoipa::path(
    get,
    path = "/api/v1/executions/{id}/preview",
    operation_id = "preview_execution",
    tag = "executions",
    params(("id" = i64, Path, description = "The execution's number", example = 42)),
    responses(
        (status = 200, description = "What would be sent", body = ExecutionPreview),
        (status = 400, description = "The id is not a number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such execution", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Its destination is not configured, or its operator must fix it first", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn preview(
    State(api): State<Api>,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<Json<ExecutionPreview>, Problem> {
    let id = execution_id(&id)?;
    let preview::ExecutionPreview { status, writes, event_id, preview } =
        (api.previewer)(id).await.map_err(untold)?;
    Ok(Json(ExecutionPreview {
        execution_id: id.0,
        status,
        written_execution_id: writes.0,
        event_id,
        effect: preview.effect,
        columns: preview
            .columns
            .into_iter()
            .filter(|column| column.is_written)
            .map(|column| column.name)
            .collect(),
        requests: preview.requests.into_iter().map(PreviewRequest::from).collect(),
        notes: preview.notes,
    }))
}

fn untold(reason: NoPreview) -> Problem {
    let conflict = |code: ProblemCode, title: &'static str, detail: String| {
        Problem::new(StatusCode::CONFLICT, code, title, detail)
    };
    match reason {
        NoPreview::NotFound => missing(),
        NoPreview::NoDestination(name) => conflict(
            ProblemCode::NoDestination,
            "Its destination is not configured",
            format!("The destination {name:?} is not among DESTINATIONS; configure it again."),
        ),
        NoPreview::NeedsOperator(message) => {
            conflict(ProblemCode::NeedsOperator, "Its destination does not work", message)
        }
        NoPreview::Unavailable(message, again) => Problem::unavailable(message, again.as_secs().max(1)),
    }
}

impl From<preview::PreviewRequest> for PreviewRequest {
    fn from(request: preview::PreviewRequest) -> Self {
        let preview::PreviewRequest { method, url, body, when } = request;
        Self { when, method, url, body }
    }
}
