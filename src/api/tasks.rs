//! `/api/v1/tasks`: bulk retries and replays, with their progress.

use super::extract::{NoBody, NoQuery, Path, Query};
use super::paging::{FilterPrint, PageRequest};
use super::{Api, NotDone, NotRead, from_store};
use crate::domain::audit::Caller;
use crate::domain::destination_summary::{DestinationSummary, seconds_for};
use crate::domain::execution::Status;
use crate::domain::task::{InvalidTaskId, TaskId, TaskKind, TaskStatus};
use crate::problem::{Problem, ProblemCode};
use crate::store::{CancelTaskResult, TASK_EXECUTIONS_COUNTED_MAX, TaskExecutions, TaskRow};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tracing::info;
use utoipa::{IntoParams, ToSchema};

/// A bulk retry or replay.
#[derive(Debug, Serialize, ToSchema)]
pub struct Task {
    /// Its id.
    #[schema(example = "task_42")]
    pub id: String,
    /// What it does.
    pub kind: TaskKind,
    /// Its state.
    pub status: TaskStatus,
    /// False: a dry run creates no task.
    #[schema(example = false)]
    pub dry_run: bool,
    /// The parameters that were given; none means everything.
    #[schema(value_type = Object)]
    pub filter: Value,
    /// Who created it: the name of the key, or `cli:` and the user.
    #[schema(example = "ops")]
    pub actor: String,
    /// The note.
    pub note: Option<String>,
    /// What it did so far.
    pub progress: TaskProgress,
    /// How many seconds the delivery of all that is queued so far takes at the rates of the connections, with one
    /// call per execution; null if a destination has no rate or is not configured. Other work has priority.
    #[schema(example = 353)]
    pub delivery_seconds: Option<u64>,
    /// When it was created. It covers only what existed then.
    pub created_at: DateTime<Utc>,
    /// When its first page began; null while it is queued.
    pub started_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it ended; null until then.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it failed; null unless it did.
    pub error: Option<String>,
}

/// What a task did so far.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskProgress {
    /// The executions, or for a replay the events, that it examined.
    #[schema(example = 1000)]
    pub examined: u64,
    /// The executions that it queued.
    #[schema(example = 980)]
    pub queued: u64,
    /// The executions among them that it created.
    #[schema(example = 0)]
    pub created: u64,
    /// The executions that it queued, by destination instance.
    pub by_destination: BTreeMap<String, u64>,
}

/// A task, and the present states of its executions.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskDetail {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// The present states of its executions.
    pub executions: TaskExecutionStates,
}

/// The present states of a task's executions. Those that were retried again since are not among them.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskExecutionStates {
    /// Pending or running.
    #[schema(example = 400)]
    pub pending: u64,
    /// Delivered.
    #[schema(example = 570)]
    pub success: u64,
    /// Failed again.
    #[schema(example = 10)]
    pub failed: u64,
    /// Skipped, superseded or cancelled.
    #[schema(example = 0)]
    pub other: u64,
    /// Whether there are more than the 20,000 that were counted.
    #[schema(example = false)]
    pub is_cut: bool,
}

/// A task that was cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub struct CancelledTask {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// What happens with the executions that it had queued.
    #[schema(
        example = "The 1000 executions that it had queued stay queued; POST /api/v1/executions/{id}/cancel cancels one."
    )]
    pub detail: String,
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskList {
    /// The tasks, newest first.
    pub data: Vec<Task>,
    /// The cursor of the next (older) page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Which tasks to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TaskQuery {
    /// The page size, at most 200; the default is 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Lists bulk retries and replays, newest first.
///
/// Those that ended are kept for 30 days.
#[utoipa::path(
    get,
    path = "/api/v1/tasks",
    operation_id = "list_tasks",
    tag = "tasks",
    params(TaskQuery),
    responses(
        (status = 200, description = "A page of tasks", body = TaskList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    print: FilterPrint,
    Query(query): Query<TaskQuery>,
) -> Result<Json<TaskList>, Problem> {
    let request = PageRequest::read(query.cursor.as_deref(), query.limit, print)?;
    let page = api.bulk.tasks.tasks(request.cursor, request.limit).await.map_err(from_store)?;
    Ok(Json(TaskList {
        data: page.rows.into_iter().map(|row| Task::of(row, &api.destinations)).collect(),
        next_cursor: request.next(page.next),
    }))
}

/// Returns a task.
///
/// With its progress, and the present states of its executions.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/{id}",
    operation_id = "get_task",
    tag = "tasks",
    params(("id" = String, Path, description = "Its id", example = "task_42")),
    responses(
        (status = 200, description = "The task", body = TaskDetail),
        (status = 400, description = "This is no id of a task", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<Json<TaskDetail>, Problem> {
    let id = task_id(&id)?;
    let row = api.bulk.tasks.task(id).await.map_err(from_store)?.ok_or_else(missing)?;
    let states = api.bulk.tasks.executions(id).await.map_err(from_store)?;
    Ok(Json(TaskDetail {
        task: Task::of(row, &api.destinations),
        executions: TaskExecutionStates::of(&states),
    }))
}

/// Cancels a task that is not finished; repeating the request is harmless.
///
/// The executions that it had queued stay queued and are delivered.
#[utoipa::path(
    post,
    path = "/api/v1/tasks/{id}/cancel",
    operation_id = "cancel_task",
    tag = "tasks",
    params(("id" = String, Path, description = "Its id", example = "task_42")),
    responses(
        (status = 200, description = "The cancelled task", body = CancelledTask),
        (status = 400, description = "This is no id of a task", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has ended already", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<CancelledTask>, Problem> {
    let id = task_id(&id)?;
    match api.bulk.tasks.cancel(id, &caller).await.map_err(from_store)? {
        CancelTaskResult::Done(row) => {
            info!(task = %id, who = caller.name(), "bulk task cancelled");
            let task = Task::of(*row, &api.destinations);
            let detail = match task.progress.queued {
                0 => "It had queued no execution.".to_owned(),
                queued => format!(
                    "{queued} executions that it had queued stay queued; POST /api/v1/executions/{{id}}/cancel cancels one."
                ),
            };
            Ok(Json(CancelledTask { task, detail }))
        }
        CancelTaskResult::Refused(status) => Err(Problem::new(
            StatusCode::CONFLICT,
            ProblemCode::TaskFinished,
            "The task has ended",
            format!(
                "Task {id} has {}; it cannot be cancelled any more. To cancel an execution that is pending: POST /api/v1/executions/{{id}}/cancel.",
                status.as_str()
            ),
        )),
        CancelTaskResult::NotFound => Err(missing()),
    }
}

fn task_id(text: &str) -> Result<TaskId, Problem> {
    text.parse().map_err(|error: InvalidTaskId| Problem::invalid("id", error))
}

fn missing() -> Problem {
    Problem::not_found("There is no task with this id. Tasks that ended are kept for 30 days.")
}

impl Task {
    pub(super) fn of(row: TaskRow, destinations: &[DestinationSummary]) -> Self {
        let by_destination = row.queued();
        Self {
            id: row.id.to_string(),
            kind: row.kind,
            status: row.status,
            dry_run: false,
            filter: row.filter,
            actor: row.who,
            note: row.note,
            delivery_seconds: seconds_for(destinations, &by_destination),
            progress: TaskProgress {
                examined: row.examined,
                queued: by_destination.values().sum(),
                created: row.created.values().sum(),
                by_destination,
            },
            created_at: row.created_at,
            started_at: row.started_at,
            updated_at: row.updated_at,
            finished_at: row.finished_at,
            error: row.error,
        }
    }
}

impl TaskExecutionStates {
    fn of(states: &[TaskExecutions]) -> Self {
        let count = |is_meant: &dyn Fn(&str) -> bool| -> u64 {
            states.iter().filter(|of| is_meant(&of.status)).map(|of| of.count).sum()
        };
        let known = [Status::Pending, Status::Running, Status::Success, Status::Failed].map(Status::as_str);
        Self {
            pending: count(&|word| word == Status::Pending.as_str() || word == Status::Running.as_str()),
            success: count(&|word| word == Status::Success.as_str()),
            failed: count(&|word| word == Status::Failed.as_str()),
            other: count(&|word| !known.contains(&word)),
            is_cut: count(&|_| true) >= u64::from(TASK_EXECUTIONS_COUNTED_MAX),
        }
    }
}
