//! Bulk operations: `POST /api/v1/executions/retry` and `POST /api/v1/events/replay`.
//!
//! Each creates a task, which is done in the background; a dry run counts and creates none. A call without a
//! filter must say `all=true`: a forgotten or misspelt variable must not select everything.

use super::extract::{self, NoBody, Query};
use super::idempotency::FirstAttempt;
use super::tasks::Task;
use super::{Api, NotDone, from_list};
use crate::bulk::{BulkError, BulkFilter, InvalidFilter, NOTE_CHARACTERS_MAX, ReplayFilter, RetryFilter};
use crate::domain::audit::Caller;
use crate::domain::destination_summary::seconds_for;
use crate::domain::execution::{Change, Status};
use crate::domain::humanize::capitalised;
use crate::problem::{Problem, ProblemCode};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

/// What a dry run counted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DryRun)]
pub struct Counted {
    /// True: nothing was changed.
    #[schema(example = true)]
    pub dry_run: bool,
    /// The executions that would be queued.
    #[schema(example = 1000)]
    pub count: u64,
    /// Whether the count stopped at its time limit. Then there may be more than it counted, and they take longer.
    #[schema(example = false)]
    pub count_is_cut: bool,
    /// The executions among them that would be created.
    #[schema(example = 0)]
    pub created: u64,
    /// How many seconds their delivery takes at the rates of their connections, with one call per execution;
    /// null if a destination has no rate or is not configured. Other work has priority.
    #[schema(example = 353)]
    pub delivery_seconds: Option<u64>,
}

/// Which executions to retry.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RetryQuery {
    /// Executions in this state: failed (the default), pending, success, skipped or cancelled.
    status: Option<Status>,
    /// Executions of events of this source. Requires a time range.
    source: Option<String>,
    /// Executions of events of these types: patterns and presets, separated by commas. Requires a time
    /// range.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Executions of this event: the sender's id, or the service's number of it.
    event_id: Option<String>,
    /// Executions of this destination instance. Requires a time range.
    destination: Option<String>,
    /// Executions whose last failure has this class, such as `validation_error`. Requires a time range.
    error_class: Option<String>,
    /// Failed executions of the failure group with this id.
    failure_group_id: Option<String>,
    /// Executions that were created at this time or later: a date, or a time as in RFC 3339.
    created_after: Option<String>,
    /// Executions that were created before this time.
    created_before: Option<String>,
    /// Required if there is no filter: every failed execution.
    all: Option<bool>,
    /// Change nothing; return what would be done.
    dry_run: Option<bool>,
    /// A note for the audit log: at most 500 characters.
    note: Option<String>,
}

/// Which events to replay.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReplayQuery {
    /// Only this event, if it matches the other filters too: the sender's id, or the service's number of it.
    event_id: Option<String>,
    /// Events of this source. Requires a time range.
    source: Option<String>,
    /// Events of these types: patterns and presets, separated by commas.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Events about the object of this id.
    object_id: Option<String>,
    /// Events of this connected account. Requires a time range or an object.
    account: Option<String>,
    /// Live events, or test events. Requires a time range or an object.
    livemode: Option<bool>,
    /// Events with an execution in this state. Requires a time range or an object.
    status: Option<Status>,
    /// Events that were received at this time or later: a date, or a time as in RFC 3339.
    received_after: Option<String>,
    /// Events that were received before this time.
    received_before: Option<String>,
    /// Deliver only to this destination instance. This is no filter of events.
    destination: Option<String>,
    /// Required if there is no filter: every event.
    all: Option<bool>,
    /// Change nothing; return what would be done.
    dry_run: Option<bool>,
    /// A note for the audit log: at most 500 characters.
    note: Option<String>,
}

/// Retries the executions that match a filter; with `all=true` and no filter, all failed ones.
///
/// The answer is a task, which is done in the background, newest executions first. It covers the executions that
/// exist now. They are delivered after new events. Running executions are not changed.
#[utoipa::path(
    post,
    path = "/api/v1/executions/retry",
    operation_id = "retry_executions",
    tag = "executions",
    params(RetryQuery),
    responses(
        (status = 200, description = "The result of a dry run", body = Counted),
        (status = 202, description = "The task that was created", body = Task, headers(("Location" = String, description = "The address of the task"))),
        (status = 400, description = "A parameter cannot be read, a filter or a time range is required, or no execution of this state can be retried", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no event or failure group with the given id", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Too many tasks are not finished", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn retry(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    first_attempt: Option<Extension<FirstAttempt>>,
    Query(query): Query<RetryQuery>,
    _: NoBody,
) -> Result<Response, Problem> {
    require_filter(
        query.all,
        &[
            ("status", query.status.is_some()),
            ("source", query.source.is_some()),
            ("type", query.event_type.is_some()),
            ("event_id", query.event_id.is_some()),
            ("destination", query.destination.is_some()),
            ("error_class", query.error_class.is_some()),
            ("failure_group_id", query.failure_group_id.is_some()),
            ("created_after", query.created_after.is_some()),
            ("created_before", query.created_before.is_some()),
        ],
    )?;
    let status = query.status.unwrap_or(Status::Failed);
    if status.after(Change::Retry).is_none() {
        return Err(Problem::invalid(
            "status",
            format_args!("{status} executions cannot be retried: {}", status.why_not_retryable()),
        ));
    }
    extract::types(&api, query.event_type.as_deref())?;
    let created = extract::window(
        ("created_after", query.created_after.as_deref()),
        ("created_before", query.created_before.as_deref()),
    )?;
    let filter = BulkFilter::Retry(RetryFilter {
        status: Some(status.as_str().to_owned()),
        source: query.source,
        event_type: query.event_type,
        event_id: query.event_id,
        destination: query.destination,
        error_class: query.error_class,
        failure_group_id: query.failure_group_id,
        created_after: created.after,
        created_before: created.before,
    });
    let first_attempt = first_attempt.map(|Extension(first)| first);
    answer(&api, &filter, query.note.as_deref(), query.dry_run, &caller, first_attempt).await
}

/// Delivers the events that match a filter again, to the destinations that subscribe to them now; with
/// `all=true` and no filter, every event.
///
/// A missing execution is created; a finished one is queued again. Executions that are running, pending,
/// superseded or cancelled are not changed. An object that was written before is updated, not written a
/// second time. An older state of an object never replaces a
/// newer one.
///
/// The answer is a task, which is done in the background, newest events first. It covers the events that are
/// stored now. The executions are delivered after new events.
#[utoipa::path(
    post,
    path = "/api/v1/events/replay",
    operation_id = "replay_events",
    tag = "events",
    params(ReplayQuery),
    responses(
        (status = 200, description = "The result of a dry run", body = Counted),
        (status = 202, description = "The task that was created", body = Task, headers(("Location" = String, description = "The address of the task"))),
        (status = 400, description = "A parameter cannot be read, a filter or a time range is required, or no such destination is configured", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no event with the given id", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Too many tasks are not finished", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn replay(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    first_attempt: Option<Extension<FirstAttempt>>,
    Query(query): Query<ReplayQuery>,
    _: NoBody,
) -> Result<Response, Problem> {
    if query.destination.as_ref().is_some_and(|name| !api.instances.contains(name)) {
        return Err(Problem::invalid("destination", "no instance of this name is configured"));
    }
    require_filter(
        query.all,
        &[
            ("event_id", query.event_id.is_some()),
            ("source", query.source.is_some()),
            ("type", query.event_type.is_some()),
            ("object_id", query.object_id.is_some()),
            ("account", query.account.is_some()),
            ("livemode", query.livemode.is_some()),
            ("status", query.status.is_some()),
            ("received_after", query.received_after.is_some()),
            ("received_before", query.received_before.is_some()),
        ],
    )?;
    extract::types(&api, query.event_type.as_deref())?;
    let received = extract::window(
        ("received_after", query.received_after.as_deref()),
        ("received_before", query.received_before.as_deref()),
    )?;
    let filter = BulkFilter::Replay(ReplayFilter {
        event_id: query.event_id,
        source: query.source,
        event_type: query.event_type,
        object_id: query.object_id,
        account: query.account,
        livemode: query.livemode,
        status: query.status.map(|status| status.as_str().to_owned()),
        received_after: received.after,
        received_before: received.before,
        destination: query.destination,
    });
    let first_attempt = first_attempt.map(|Extension(first)| first);
    answer(&api, &filter, query.note.as_deref(), query.dry_run, &caller, first_attempt).await
}

/// Creates the task, or counts what it would do.
async fn answer(
    api: &Api,
    filter: &BulkFilter,
    note: Option<&str>,
    dry_run: Option<bool>,
    caller: &Caller,
    first_attempt: Option<FirstAttempt>,
) -> Result<Response, Problem> {
    if note.is_some_and(|note| note.chars().count() > NOTE_CHARACTERS_MAX) {
        return Err(Problem::invalid(
            "note",
            format_args!("must have at most {NOTE_CHARACTERS_MAX} characters"),
        ));
    }
    if dry_run == Some(true) {
        let counted = api.bulk.count(filter).await.map_err(from_bulk)?;
        let queued = counted.queued();
        return Ok(Json(Counted {
            dry_run: true,
            count: queued.values().sum(),
            count_is_cut: counted.is_more,
            created: counted.created.values().sum(),
            delivery_seconds: seconds_for(&api.destinations, &queued),
        })
        .into_response());
    }
    let created = match first_attempt {
        Some(FirstAttempt(id)) => api.bulk.create_once(filter, note, caller, id).await,
        None => api.bulk.create(filter, note, caller, None).await,
    };
    let row = created.map_err(from_bulk)?;
    info!(task = %row.id, kind = row.kind.as_str(), who = caller.name(), "bulk task created");
    let location = format!("/api/v1/tasks/{}", row.id);
    let task = Task::of(row, &api.destinations);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(task)).into_response())
}

fn from_bulk(error: BulkError) -> Problem {
    match error {
        BulkError::Invalid(InvalidFilter { parameter, what }) => Problem::invalid(parameter, what),
        missing @ BulkError::NotFound { parameter, .. } => {
            Problem::not_found(format!("{}.", capitalised(&missing.to_string()))).with_param(parameter)
        }
        BulkError::List(error) => from_list(error),
        many @ BulkError::TooMany => Problem::new(
            StatusCode::CONFLICT,
            ProblemCode::TooManyTasks,
            "Too many tasks",
            format!("{many}."),
        ),
    }
}

/// Fails if no filter is given and the caller did not ask for everything.
fn require_filter(all: Option<bool>, filters: &[(&str, bool)]) -> Result<(), Problem> {
    if all == Some(true) || filters.iter().any(|(_, is_given)| *is_given) {
        return Ok(());
    }
    let names: Vec<_> = filters.iter().map(|(name, _)| *name).collect();
    Err(Problem::invalid(
        "all",
        format_args!(
            "must be true if there is no filter. Add all=true to select everything, or one of: {}",
            names.join(", ")
        ),
    ))
}
