//! `/api/v1/failures`: failed executions, grouped by cause, and their acknowledgement.

use super::extract::{Json as JsonBody, NoBody, NoQuery, Path, Query};
use super::paging::{FilterPrint, PageRequest};
use super::{Api, NotDone, NotRead, from_store};
use crate::domain::audit::{self, ACKNOWLEDGEMENT_NOTE_MAX, Caller};
use crate::domain::money::Money;
use crate::problem::Problem;
use crate::store::{self, FAILURES_COUNTED_MAX, FailureFilter};
use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

/// The failed executions of one cause at one destination.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureGroup {
    /// The id of the group, constant for the same cause.
    #[schema(example = "3f2a9c01d4e5b678")]
    pub id: String,
    /// The destination instance.
    #[schema(example = "notion")]
    pub destination: String,
    /// The class of the failures: the destination's own word, or the service's.
    #[schema(example = "validation_error")]
    pub error_class: String,
    /// Their common message, without ids, numbers, quoted texts and addresses.
    pub pattern: String,
    /// What to do.
    pub remedy: String,
    /// The number of failed executions, counted up to 10,000.
    #[schema(example = 12)]
    pub count: i64,
    /// Whether there are more than were counted.
    pub count_is_cut: bool,
    /// When the first one failed.
    pub first_seen_at: DateTime<Utc>,
    /// When the last one failed.
    pub last_seen_at: DateTime<Utc>,
    /// The money concerned in the newest failures, by currency; each object counts once. At most 1,000
    /// failures are read per request, divided equally among the groups of the page.
    pub money: Vec<Amount>,
    /// Whether there are more failures than were read for `money`.
    pub money_is_cut: bool,
    /// The newest failed execution.
    #[schema(example = 42)]
    pub sample_execution_id: i64,
    /// Its message; null if it has none.
    pub sample_message: Option<String>,
    /// Whether all of them are acknowledged. A later failure is not.
    pub acknowledged: bool,
    /// When the group was last acknowledged; null if it never was.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Who acknowledged it: the name of the key, or `cli:` and the user. Null if it is not acknowledged.
    #[schema(example = "ops")]
    pub acknowledged_by: Option<String>,
    /// The note of the acknowledgement; null if there is none.
    pub note: Option<String>,
}

/// An amount of money.
#[derive(Debug, Serialize, ToSchema)]
pub struct Amount {
    /// The currency, as in ISO 4217.
    #[schema(example = "EUR")]
    pub currency: String,
    /// The exact amount in major units.
    #[schema(example = "1234.50")]
    pub amount: String,
}

/// A page of failure groups.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureGroupList {
    /// The groups, the most recent first.
    pub data: Vec<FailureGroup>,
    /// The cursor of the next (older) page; null on the last page. New failures do not move a group.
    pub next_cursor: Option<String>,
}

/// Which groups to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FailureQuery {
    /// Groups of this destination instance.
    destination: Option<String>,
    /// Groups that are acknowledged, or those that are not.
    acknowledged: Option<bool>,
    /// The page size, at most 200; the default is 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// An acknowledgement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// What is known or done about the failures.
    #[schema(example = "The column Amount had the wrong type; fixed.", min_length = 1, max_length = 1000)]
    note: String,
}

/// Lists the failed executions in groups of one cause, the most recent first.
///
/// The list covers all executions that are failed now, of all time.
#[utoipa::path(
    get,
    path = "/api/v1/failures",
    operation_id = "list_failures",
    tag = "failures",
    params(FailureQuery),
    responses(
        (status = 200, description = "A page of groups", body = FailureGroupList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    print: FilterPrint,
    Query(query): Query<FailureQuery>,
) -> Result<Json<FailureGroupList>, Problem> {
    let request = PageRequest::read(query.cursor.as_deref(), query.limit, print)?;
    let filter =
        FailureFilter { key: None, destination: query.destination, acknowledged: query.acknowledged };
    let page = api
        .store
        .failure_groups
        .failures(&filter, request.cursor, request.limit)
        .await
        .map_err(from_store)?;
    Ok(Json(FailureGroupList {
        data: page.rows.into_iter().map(FailureGroup::from).collect(),
        next_cursor: request.next(page.next),
    }))
}

/// Returns one failure group.
///
/// A group exists while at least one of its executions is failed.
#[utoipa::path(
    get,
    path = "/api/v1/failures/{id}",
    operation_id = "get_failure",
    tag = "failures",
    params(("id" = String, Path, description = "The id of the group", example = "3f2a9c01d4e5b678")),
    responses(
        (status = 200, description = "The group", body = FailureGroup),
        (status = 400, description = "The path cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No execution of this group is failed", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<Json<FailureGroup>, Problem> {
    one(&api, id).await.map(Json)
}

/// Acknowledges the failures of a group.
///
/// A later failure of the group is not acknowledged. The change is recorded in the audit log.
#[utoipa::path(
    post,
    path = "/api/v1/failures/{id}/acknowledge",
    operation_id = "acknowledge_failure",
    tag = "failures",
    params(("id" = String, Path, description = "The id of the group", example = "3f2a9c01d4e5b678")),
    request_body = AcknowledgeRequest,
    responses(
        (status = 200, description = "The group, acknowledged", body = FailureGroup),
        (status = 400, description = "The path or the body cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No execution of this group is failed", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The content type of the body is not JSON", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn acknowledge(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    _: NoQuery,
    JsonBody(body): JsonBody<AcknowledgeRequest>,
) -> Result<Json<FailureGroup>, Problem> {
    let note = audit::note(&body.note, ACKNOWLEDGEMENT_NOTE_MAX).ok_or_else(|| {
        let what = format!("must have 1 to {ACKNOWLEDGEMENT_NOTE_MAX} characters that are not all blank");
        Problem::invalid("note", what)
    })?;
    if !api.store.failure_groups.acknowledge(&caller, &id, note).await.map_err(from_store)? {
        return Err(missing());
    }
    info!(group = id, who = caller.name(), "failure group acknowledged");
    one(&api, id).await.map(Json)
}

/// Removes the acknowledgement of a group.
///
/// If the group is not acknowledged, nothing changes. The change is recorded in the audit log, with the note.
#[utoipa::path(
    delete,
    path = "/api/v1/failures/{id}/acknowledge",
    operation_id = "unacknowledge_failure",
    tag = "failures",
    params(("id" = String, Path, description = "The id of the group", example = "3f2a9c01d4e5b678")),
    responses(
        (status = 200, description = "The group, not acknowledged", body = FailureGroup),
        (status = 400, description = "The path cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No execution of this group is failed", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn unacknowledge(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<FailureGroup>, Problem> {
    if api.store.failure_groups.unacknowledge(&caller, &id).await.map_err(from_store)? {
        info!(group = id, who = caller.name(), "acknowledgement removed");
    }
    one(&api, id).await.map(Json)
}

async fn one(api: &Api, id: String) -> Result<FailureGroup, Problem> {
    let filter = FailureFilter { key: Some(id), ..FailureFilter::default() };
    let page = api.store.failure_groups.failures(&filter, None, 1).await.map_err(from_store)?;
    page.rows.into_iter().next().map(FailureGroup::from).ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::not_found("No failed execution has this group; /api/v1/failures lists the groups.")
}

impl From<store::FailureGroup> for FailureGroup {
    fn from(group: store::FailureGroup) -> Self {
        Self {
            id: group.key,
            destination: group.destination,
            error_class: group.error_class,
            pattern: group.pattern,
            remedy: group.remedy,
            count: group.count,
            count_is_cut: group.count >= i64::from(FAILURES_COUNTED_MAX),
            first_seen_at: group.first_seen,
            last_seen_at: group.last_seen,
            money: group.money.iter().map(Amount::from).collect(),
            money_is_cut: group.is_money_cut,
            sample_execution_id: group.sample,
            sample_message: group.sample_message,
            acknowledged: group.is_acknowledged,
            acknowledged_at: group.acknowledged_at,
            acknowledged_by: group.acknowledged_by,
            note: group.note,
        }
    }
}

impl From<&Money> for Amount {
    fn from(money: &Money) -> Self {
        Self { currency: money.currency().to_string(), amount: money.decimal() }
    }
}
