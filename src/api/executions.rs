//! `/api/v1/executions`: the state of each execution, its manual retry and its cancellation.

use super::extract::{self, Path, Query};
use super::{Api, NotDone, NotRead, from_list, from_store};
use crate::domain::audit::Caller;
use crate::domain::execution::ExecutionId;
use crate::problem::Problem;
use crate::store::{AttemptRow, CancelResult, ExecutionFilter, ExecutionRow, RetryResult};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

/// An event's way to one destination instance, with its state.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecutionView {
    /// Its number.
    #[schema(example = 42)]
    pub id: i64,
    /// Our number of the event.
    #[schema(example = 42)]
    pub event: i64,
    /// The source of the event.
    pub source: String,
    /// The sender's id of the event.
    pub event_id: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The destination instance.
    #[schema(example = "notion")]
    pub destination: String,
    /// pending, running, success, failed, skipped, superseded or cancelled.
    #[schema(example = "success")]
    pub status: String,
    /// The reason for its state; if it is pending, what it waits for; if it was delivered, what was left out.
    pub reason: Option<String>,
    /// The class of the last failure.
    pub error_class: Option<String>,
    /// Attempts since it was created or last retried manually that have ended: those that failed, and the one that
    /// delivered or declined it. An attempt that only had to wait does not count.
    pub attempt_count: i32,
    /// The HTTP status of the destination's last response.
    pub response_code: Option<i32>,
    /// The duration of the last attempt.
    pub duration_ms: Option<i32>,
    /// The destination's id of the written object.
    pub remote_id: Option<String>,
    /// The link to the written object.
    pub remote_url: Option<String>,
    /// When the next attempt is due; null unless pending.
    pub next_try_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When the last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it reached its final state.
    pub finished_at: Option<DateTime<Utc>>,
}

/// An execution with its attempts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecutionDetail {
    /// The execution.
    #[serde(flatten)]
    pub execution: ExecutionView,
    /// The newest 100 attempts, newest first.
    pub attempts: Vec<AttemptView>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptView {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Its duration.
    pub duration_ms: i32,
    /// Its outcome.
    #[schema(example = "delivered")]
    pub outcome: String,
    /// The HTTP status of the destination's response.
    pub response_code: Option<i32>,
    /// The class of the failure.
    pub error_class: Option<String>,
    /// What happened.
    pub message: Option<String>,
    /// The destination's id of the request, to quote to its support.
    pub request_id: Option<String>,
}

/// A page of executions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Executions {
    /// The executions, newest first.
    pub data: Vec<ExecutionView>,
    /// The cursor of the next (older) page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Which executions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExecutionQuery {
    /// Executions of events of this source. Requires a time range.
    source: Option<String>,
    /// Executions of events of these types: patterns such as `invoice.*` and presets such as
    /// `@payments`, separated by commas. Requires a time range.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Executions in this state: pending, running, success, failed, skipped, superseded or cancelled.
    /// All but `failed` require a time range.
    status: Option<String>,
    /// Executions of this event: our number of it, or the sender's id.
    event: Option<String>,
    /// Executions of this destination instance. Requires a time range.
    destination: Option<String>,
    /// Executions whose last failure has this class, such as `validation_error`. Requires a time range.
    error_class: Option<String>,
    /// Failed executions of this failure group.
    failure: Option<String>,
    /// Executions that were created at this time or later: a date, or a time as in RFC 3339.
    created_after: Option<String>,
    /// Executions that were created before this time.
    created_before: Option<String>,
    /// The page size, at most 200; the default is 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Lists executions, newest first.
///
/// A filter that requires a time range accepts at most 31 days: `created_after` and, if that is longer
/// ago, `created_before`. Together with `event` or `failure`, no filter requires one.
#[utoipa::path(
    get,
    path = "/api/v1/executions",
    operation_id = "list_executions",
    tag = "executions",
    params(ExecutionQuery),
    responses(
        (status = 200, description = "A page of executions", body = Executions),
        (status = 400, description = "A parameter cannot be read, or a time range is required", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ExecutionQuery>,
) -> Result<Json<Executions>, Problem> {
    let (cursor, limit) = extract::paging(query.cursor.as_deref(), query.limit)?;
    let event = match query.event {
        None => None,
        Some(event) => match extract::event_key(&api, &event).await? {
            Some(key) => Some(key),
            // A missing event has no executions.
            None => return Ok(Json(Executions { data: Vec::new(), next_cursor: None })),
        },
    };
    let filter = ExecutionFilter {
        source: query.source,
        types: extract::types(&api, query.event_type.as_deref())?,
        status: extract::status(query.status.as_deref())?,
        event,
        destination: query.destination,
        error_class: query.error_class,
        failure_group: query.failure,
        created: extract::window(
            ("created_after", query.created_after.as_deref()),
            ("created_before", query.created_before.as_deref()),
        )?,
    };
    let page = api.store.reports.executions(&filter, cursor, limit).await.map_err(from_list)?;
    Ok(Json(Executions {
        data: page.rows.into_iter().map(|row| ExecutionView::new(row, &api)).collect(),
        next_cursor: page.next.map(crate::store::Cursor::encode),
    }))
}

/// Returns one execution with its attempts.
#[utoipa::path(
    get,
    path = "/api/v1/executions/{id}",
    operation_id = "get_execution",
    tag = "executions",
    params(("id" = i64, Path, description = "The execution's number", example = 42)),
    responses(
        (status = 200, description = "The execution", body = ExecutionDetail),
        (status = 400, description = "The id is not a number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such execution", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<ExecutionDetail>, Problem> {
    let id = execution_id(&id)?;
    let execution = api.store.reports.execution(id).await.map_err(from_store)?.ok_or_else(missing)?;
    let attempts = api.store.reports.attempts(id).await.map_err(from_store)?;
    Ok(Json(ExecutionDetail {
        execution: ExecutionView::new(execution, &api),
        attempts: attempts.into_iter().map(AttemptView::from).collect(),
    }))
}

/// Retries an execution now.
///
/// Its attempts are counted from zero. The request can be repeated. An object that was written before
/// is updated, not written a second time.
#[utoipa::path(
    post,
    path = "/api/v1/executions/{id}/retry",
    operation_id = "retry_execution",
    tag = "executions",
    params(("id" = i64, Path, description = "The execution's number", example = 42)),
    responses(
        (status = 202, description = "The execution is pending", body = ExecutionView),
        (status = 400, description = "The id is not a number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such execution", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be retried in its present state, or the payload of its event was removed", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn retry(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<ExecutionView>), Problem> {
    let id = execution_id(&id)?;
    match api.store.interventions.retry(id, &caller).await.map_err(from_store)? {
        RetryResult::Done => {
            info!(execution_id = id.0, who = caller.name(), "execution retried manually");
            let execution = api.store.reports.execution(id).await.map_err(from_store);
            api.notifier.notify();
            let execution = execution?.ok_or_else(missing)?;
            Ok((StatusCode::ACCEPTED, Json(ExecutionView::new(execution, &api))))
        }
        RetryResult::NotFound => Err(missing()),
        RetryResult::PayloadRemoved => Err(without_payload()),
        RetryResult::Refused(status) => Err(Problem::new(
            StatusCode::CONFLICT,
            "not_retryable",
            "It cannot be retried now",
            format!("The execution is {status}: {}.", status.why_not_retryable()),
        )),
    }
}

/// Cancels a pending execution: it is not delivered unless it is retried manually.
#[utoipa::path(
    post,
    path = "/api/v1/executions/{id}/cancel",
    operation_id = "cancel_execution",
    tag = "executions",
    params(("id" = i64, Path, description = "The execution's number", example = 42)),
    responses(
        (status = 200, description = "The execution is cancelled", body = ExecutionView),
        (status = 400, description = "The id is not a number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such execution", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be cancelled in its present state", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<ExecutionView>, Problem> {
    let id = execution_id(&id)?;
    match api.store.interventions.cancel(id, &caller).await.map_err(from_store)? {
        CancelResult::Done => {
            info!(execution_id = id.0, who = caller.name(), "execution cancelled manually");
            // The next execution in its lane may be due now.
            api.notifier.notify();
            let execution = api.store.reports.execution(id).await.map_err(from_store)?.ok_or_else(missing)?;
            Ok(Json(ExecutionView::new(execution, &api)))
        }
        CancelResult::NotFound => Err(missing()),
        CancelResult::Refused(status) => Err(Problem::new(
            StatusCode::CONFLICT,
            "not_cancellable",
            "It cannot be cancelled now",
            format!("The execution is {status}: {}.", status.why_not_cancellable()),
        )),
    }
}

fn without_payload() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "payload_removed",
        "There is nothing left to deliver",
        "The payload of its event was removed, by retention or because its customer's data was erased.",
    )
}

pub(super) fn execution_id(text: &str) -> Result<ExecutionId, Problem> {
    text.parse().map(ExecutionId).map_err(|_| Problem::bad_request("The id of an execution is a number."))
}

pub(super) fn missing() -> Problem {
    Problem::not_found("There is no execution of this id.")
}

impl ExecutionView {
    /// How an execution is shown, with the reason if its destination is no longer configured.
    pub(super) fn new(row: ExecutionRow, api: &Api) -> Self {
        let waits = row.status == "pending";
        let attempt_count = row.attempt_count();
        Self {
            reason: row.why(&api.instances),
            id: row.id,
            event: row.event_key,
            source: row.source,
            event_id: row.event_id,
            event_type: row.event_type,
            destination: row.destination,
            status: row.status,
            error_class: row.error_class,
            attempt_count,
            response_code: row.response_code,
            duration_ms: row.duration_ms,
            remote_id: row.remote_id,
            remote_url: row.remote_url,
            next_try_at: row.run_at.filter(|_| waits),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

impl From<AttemptRow> for AttemptView {
    fn from(row: AttemptRow) -> Self {
        Self {
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            outcome: row.outcome,
            response_code: row.response_code,
            error_class: row.error_class,
            message: row.message,
            request_id: row.request_id,
        }
    }
}
