//! `/api/v1/executions`: the state of each execution, its manual retry and its cancellation.

use super::extract::{self, NoBody, NoQuery, Path, Query};
use super::paging::{FilterPrint, PageRequest, TimeWindow};
use super::{Api, NotDone, NotRead, from_list, from_store};
use crate::domain::audit::Caller;
use crate::domain::execution::{AttemptOutcome, ExecutionId, Status};
use crate::problem::{Problem, ProblemCode};
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
pub struct Execution {
    /// Its number.
    #[schema(example = 42)]
    pub id: i64,
    /// The service's number of the event: the `id` of the event.
    #[schema(example = 42)]
    pub event_key: i64,
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
    /// Its state.
    #[schema(value_type = Status, example = "success")]
    pub status: String,
    /// The reason for its state; if it is pending, what it waits for; if it was delivered, what was left out. Null
    /// if there is none.
    pub reason: Option<String>,
    /// The class of the last failure, such as `validation_error`: the destination's own word, or the service's. Null
    /// if the last attempt did not fail.
    #[schema(example = "validation_error")]
    pub error_class: Option<String>,
    /// Attempts since it was created or last retried manually that have ended: those that failed, and the one that
    /// delivered or declined it. An attempt that only had to wait does not count.
    pub attempt_count: i32,
    /// The HTTP status of the destination's last response; null if there was none.
    #[schema(example = 200)]
    pub response_code: Option<i32>,
    /// The duration of the last attempt in milliseconds; null before the first one has ended.
    pub duration_ms: Option<i32>,
    /// The destination's id of the written object; null until it is written.
    pub remote_id: Option<String>,
    /// The link to the written object; null if there is none.
    pub remote_url: Option<String>,
    /// When the next attempt is due; null unless pending.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When the last attempt began; null before the first one.
    pub started_at: Option<DateTime<Utc>>,
    /// When it reached its final state; null until then.
    pub finished_at: Option<DateTime<Utc>>,
}

/// An execution with its attempts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecutionDetail {
    /// The execution.
    #[serde(flatten)]
    pub execution: Execution,
    /// The newest 100 attempts, newest first.
    pub attempts: Vec<Attempt>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Its duration in milliseconds.
    pub duration_ms: i32,
    /// How it ended.
    #[schema(value_type = AttemptOutcome, example = "delivered")]
    pub outcome: String,
    /// The HTTP status of the destination's response; null if there was none.
    #[schema(example = 200)]
    pub response_code: Option<i32>,
    /// The class of the failure: the destination's own word, or the service's. Null if it did not fail.
    #[schema(example = "validation_error")]
    pub error_class: Option<String>,
    /// What happened; null if there is nothing to add.
    pub message: Option<String>,
    /// The destination's id of the request, to quote to its support; null if it gave none.
    pub remote_request_id: Option<String>,
}

/// A page of executions.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecutionList {
    /// The executions, newest first.
    pub data: Vec<Execution>,
    /// The cursor of the next (older) page; null on the last page.
    pub next_cursor: Option<String>,
    /// The time range that the list covers.
    pub window: TimeWindow,
}

/// Which executions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExecutionQuery {
    /// Executions of events of this source.
    source: Option<String>,
    /// Executions of events of these types: patterns such as `invoice.*` and presets such as
    /// `@payments`, separated by commas.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Executions in this state.
    status: Option<Status>,
    /// Executions of this event: the sender's id, or the service's number of it.
    event_id: Option<String>,
    /// Executions of this destination instance.
    destination: Option<String>,
    /// Executions whose last failure has this class, such as `validation_error`.
    error_class: Option<String>,
    /// Failed executions of the failure group with this id.
    failure_group_id: Option<String>,
    /// Executions that were created at this time or later: a date, or a time as in RFC 3339.
    created_after: Option<String>,
    /// Executions that were created before this time.
    created_before: Option<String>,
    /// The page size, at most 200; the default is 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page. It continues the time range of that page.
    cursor: Option<String>,
}

/// Lists executions, newest first.
///
/// The filters `source`, `type`, `destination`, `error_class` and every `status` but `failed` need a time range,
/// unless `event_id` or `failure_group_id` is given too: at most 31 days, by default the last 30 days. Otherwise
/// the list covers all time unless you give a range. The answer states its range as `window`.
#[utoipa::path(
    get,
    path = "/api/v1/executions",
    operation_id = "list_executions",
    tag = "executions",
    params(ExecutionQuery),
    responses(
        (status = 200, description = "A page of executions", body = ExecutionList),
        (status = 400, description = "A parameter cannot be read, or the time range is too long for the filter", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    print: FilterPrint,
    Query(query): Query<ExecutionQuery>,
) -> Result<Json<ExecutionList>, Problem> {
    let page = PageRequest::read(query.cursor.as_deref(), query.limit, print)?;
    let created = extract::window(
        ("created_after", query.created_after.as_deref()),
        ("created_before", query.created_before.as_deref()),
    )?;
    let event = match query.event_id {
        None => None,
        Some(event) => {
            let key = extract::event_key(&api, &event).await?;
            if key.is_none() {
                // A missing event has no executions.
                let window = page.window(&api, created, false).await?.into();
                return Ok(Json(ExecutionList { data: Vec::new(), next_cursor: None, window }));
            }
            key
        }
    };
    let mut filter = ExecutionFilter {
        source: query.source,
        types: extract::types(&api, query.event_type.as_deref())?,
        status: query.status.map(Status::as_str),
        event,
        destination: query.destination,
        error_class: query.error_class,
        failure_group: query.failure_group_id,
        created,
    };
    filter.created = page.window(&api, filter.created, filter.needs_time_range()).await?;
    let found = api.store.reports.executions(&filter, page.cursor, page.limit).await.map_err(from_list)?;
    Ok(Json(ExecutionList {
        data: found.rows.into_iter().map(|row| Execution::new(row, &api)).collect(),
        next_cursor: page.next_in(found.next, filter.created),
        window: filter.created.into(),
    }))
}

/// Returns one execution with its attempts.
///
/// While it is pending, `reason` states what it waits for.
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
    _: NoQuery,
) -> Result<Json<ExecutionDetail>, Problem> {
    let id = execution_id(&id)?;
    let execution = api.store.reports.execution(id).await.map_err(from_store)?.ok_or_else(missing)?;
    let attempts = api.store.reports.attempts(id).await.map_err(from_store)?;
    Ok(Json(ExecutionDetail {
        execution: Execution::new(execution, &api),
        attempts: attempts.into_iter().map(Attempt::from).collect(),
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
        (status = 202, description = "The execution is pending", body = Execution),
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
    _: NoQuery,
    _: NoBody,
) -> Result<(StatusCode, Json<Execution>), Problem> {
    let id = execution_id(&id)?;
    match api.store.interventions.retry(id, &caller).await.map_err(from_store)? {
        RetryResult::Done => {
            info!(execution_id = id.0, who = caller.name(), "execution retried manually");
            let execution = api.store.reports.execution(id).await.map_err(from_store);
            api.notifier.notify();
            let execution = execution?.ok_or_else(missing)?;
            Ok((StatusCode::ACCEPTED, Json(Execution::new(execution, &api))))
        }
        RetryResult::NotFound => Err(missing()),
        RetryResult::PayloadRemoved => Err(without_payload()),
        RetryResult::Refused(status) => Err(Problem::new(
            StatusCode::CONFLICT,
            ProblemCode::NotRetryable,
            "It cannot be retried now",
            format!("The execution cannot be retried: {}.", status.why_not_retryable()),
        )),
    }
}

/// Cancels a pending execution.
///
/// It is not delivered unless it is retried manually. If it was delivered or skipped before, only its repetition is
/// cancelled: it is `success` or `skipped` again. The request can be repeated.
#[utoipa::path(
    post,
    path = "/api/v1/executions/{id}/cancel",
    operation_id = "cancel_execution",
    tag = "executions",
    params(("id" = i64, Path, description = "The execution's number", example = 42)),
    responses(
        (status = 200, description = "The execution is cancelled, or its repetition is", body = Execution),
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
    _: NoQuery,
    _: NoBody,
) -> Result<Json<Execution>, Problem> {
    let id = execution_id(&id)?;
    match api.store.interventions.cancel(id, &caller).await.map_err(from_store)? {
        CancelResult::Done(_) => {
            info!(execution_id = id.0, who = caller.name(), "execution cancelled manually");
            // The next execution in its lane may be due now.
            api.notifier.notify();
            let execution = api.store.reports.execution(id).await.map_err(from_store)?.ok_or_else(missing)?;
            Ok(Json(Execution::new(execution, &api)))
        }
        CancelResult::NotFound => Err(missing()),
        CancelResult::Refused(status) => Err(Problem::new(
            StatusCode::CONFLICT,
            ProblemCode::NotCancellable,
            "It cannot be cancelled now",
            format!("The execution cannot be cancelled: {}.", status.why_not_cancellable()),
        )),
    }
}

fn without_payload() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        ProblemCode::PayloadRemoved,
        "There is nothing left to deliver",
        "The payload of its event was removed, by retention or because its customer's data was erased.",
    )
}

pub(super) fn execution_id(text: &str) -> Result<ExecutionId, Problem> {
    text.parse().map(ExecutionId).map_err(|_| Problem::invalid("id", "must be the number of an execution"))
}

pub(super) fn missing() -> Problem {
    Problem::not_found("There is no execution of this id.")
}

impl Execution {
    /// How an execution is shown, with the reason if its destination is no longer configured.
    pub(super) fn new(row: ExecutionRow, api: &Api) -> Self {
        let waits = row.status == "pending";
        let attempt_count = row.attempt_count();
        Self {
            reason: row.why(&api.instances),
            id: row.id,
            event_key: row.event_key,
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
            next_attempt_at: row.run_at.filter(|_| waits),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        Self {
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            outcome: row.outcome,
            response_code: row.response_code,
            error_class: row.error_class,
            message: row.message,
            remote_request_id: row.request_id,
        }
    }
}
