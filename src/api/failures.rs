//! `/api/v1/failures`: what is failed now, in groups of one cause, and who knows of it.

use super::extract::{self, Json as JsonBody, Path, Query};
use super::{Api, NotDone, NotRead, from_store};
use crate::domain::audit::{self, ACKNOWLEDGEMENT_NOTE_MAX, Caller};
use crate::domain::destination_summary::{DestinationSummary, remedy};
use crate::domain::money::Money;
use crate::problem::Problem;
use crate::store::{Cursor, FAILURES_COUNTED_MAX, FailureFilter, FailureGroup};
use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

/// Failures of one cause at one destination.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureView {
    /// The group; it stays the same for the same cause.
    #[schema(example = "3f2a9c01d4e5b678")]
    pub group: String,
    /// The destination instance.
    #[schema(example = "notion")]
    pub destination: String,
    /// The kind of failure, in a word.
    #[schema(example = "validation_error")]
    pub error_class: String,
    /// What they have in common: the message without ids, numbers, quoted texts and addresses.
    pub pattern: String,
    /// What to do, in plain words.
    pub remedy: String,
    /// How many executions are failed so now, counted up to 10000.
    #[schema(example = 12)]
    pub count: i64,
    /// Whether there are more than were counted.
    pub count_is_cut: bool,
    /// When the first of them failed.
    pub first_seen: DateTime<Utc>,
    /// When the last of them failed.
    pub last_seen: DateTime<Utc>,
    /// What the newest of them are about, by currency; an object counts once. Those that are counted so
    /// are 1000 in all, in equal parts for each group of the page: asked for alone, a group has all.
    pub money: Vec<Sum>,
    /// Whether there are more failures than were counted so.
    pub money_is_cut: bool,
    /// The newest of them.
    #[schema(example = 42)]
    pub sample_execution: i64,
    /// What that one says.
    pub sample_message: Option<String>,
    /// Whether somebody knows of all of them; what fails later is news again.
    pub acknowledged: bool,
    /// When somebody acknowledged it last.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Who that was.
    pub acknowledged_by: Option<String>,
    /// What they noted.
    pub note: Option<String>,
}

/// An amount of money.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sum {
    /// The currency.
    #[schema(example = "EUR")]
    pub currency: String,
    /// The amount in major units, exact.
    #[schema(example = "1234.50")]
    pub amount: String,
}

/// A page of groups of failures.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failures {
    /// The groups, the one that was last seen first.
    pub data: Vec<FailureView>,
    /// Ask with this cursor for what was seen earlier; null at the end. What fails meanwhile moves no group.
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
    /// How many, at most 200; 50 where nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What is to be noted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// What is known or done about it.
    #[schema(example = "The column Amount was a text; mended.", min_length = 1, max_length = 1000)]
    note: String,
}

/// Lists what is failed now, in groups of one cause, the one that was last seen first.
#[utoipa::path(
    get,
    path = "/api/v1/failures",
    operation_id = "list_failures",
    tag = "failures",
    params(FailureQuery),
    responses(
        (status = 200, description = "A page of groups", body = Failures),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<FailureQuery>,
) -> Result<Json<Failures>, Problem> {
    let (cursor, limit) = extract::paging(query.cursor.as_deref(), query.limit)?;
    let filter =
        FailureFilter { key: None, destination: query.destination, acknowledged: query.acknowledged };
    let page = api.store.failure_groups.failures(&filter, cursor, limit).await.map_err(from_store)?;
    Ok(Json(Failures {
        data: page.rows.into_iter().map(|group| FailureView::of(group, &api.destinations)).collect(),
        next_cursor: page.next.map(Cursor::encode),
    }))
}

/// Shows one group of failures.
#[utoipa::path(
    get,
    path = "/api/v1/failures/{group}",
    operation_id = "get_failure",
    tag = "failures",
    params(("group" = String, Path, description = "The group", example = "3f2a9c01d4e5b678")),
    responses(
        (status = 200, description = "The group", body = FailureView),
        (status = 400, description = "The path cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Nothing is failed in such a group", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(group): Path<String>,
) -> Result<Json<FailureView>, Problem> {
    one(&api, group).await.map(Json)
}

/// Says that somebody knows of what is failed in a group by now.
///
/// What fails in it later is news again. It is written down in the audit.
#[utoipa::path(
    post,
    path = "/api/v1/failures/{group}/acknowledge",
    operation_id = "acknowledge_failure",
    tag = "failures",
    params(("group" = String, Path, description = "The group", example = "3f2a9c01d4e5b678")),
    request_body = Acknowledgement,
    responses(
        (status = 200, description = "The group, acknowledged", body = FailureView),
        (status = 400, description = "The path or the body cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Nothing is failed in such a group", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn acknowledge(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
    JsonBody(said): JsonBody<Acknowledgement>,
) -> Result<Json<FailureView>, Problem> {
    let note = audit::note(&said.note, ACKNOWLEDGEMENT_NOTE_MAX).ok_or_else(|| {
        Problem::bad_request(format!(
            "note: must hold 1 to {ACKNOWLEDGEMENT_NOTE_MAX} characters, not only blanks."
        ))
    })?;
    if !api.store.failure_groups.acknowledge(&caller, &group, note).await.map_err(from_store)? {
        return Err(missing());
    }
    info!(group, who = caller.name(), "a group of failures was acknowledged");
    one(&api, group).await.map(Json)
}

/// Takes an acknowledgement back: all that is failed in the group is news again.
///
/// Where nobody had acknowledged it nothing changes. It is written down in the audit, with what was noted.
#[utoipa::path(
    delete,
    path = "/api/v1/failures/{group}/acknowledge",
    operation_id = "unacknowledge_failure",
    tag = "failures",
    params(("group" = String, Path, description = "The group", example = "3f2a9c01d4e5b678")),
    responses(
        (status = 200, description = "The group, not acknowledged", body = FailureView),
        (status = 400, description = "The path cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Nothing is failed in such a group", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn unacknowledge(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
) -> Result<Json<FailureView>, Problem> {
    if api.store.failure_groups.unacknowledge(&caller, &group).await.map_err(from_store)? {
        info!(group, who = caller.name(), "an acknowledgement was taken back");
    }
    one(&api, group).await.map(Json)
}

async fn one(api: &Api, group: String) -> Result<FailureView, Problem> {
    let filter = FailureFilter { key: Some(group), ..FailureFilter::default() };
    let page = api.store.failure_groups.failures(&filter, None, 1).await.map_err(from_store)?;
    let group = page.rows.into_iter().next().ok_or_else(missing)?;
    Ok(FailureView::of(group, &api.destinations))
}

fn missing() -> Problem {
    Problem::not_found("Nothing is failed in such a group; /api/v1/failures lists the groups.")
}

impl FailureView {
    /// A group, with the remedy that its destination knows.
    pub(crate) fn of(group: FailureGroup, destinations: &[DestinationSummary]) -> Self {
        Self {
            remedy: remedy(destinations, &group.destination, &group.error_class),
            group: group.key,
            destination: group.destination,
            error_class: group.error_class,
            pattern: group.pattern,
            count: group.count,
            count_is_cut: group.count >= i64::from(FAILURES_COUNTED_MAX),
            first_seen: group.first_seen,
            last_seen: group.last_seen,
            money: group.money.iter().map(Sum::from).collect(),
            money_is_cut: group.is_money_cut,
            sample_execution: group.sample,
            sample_message: group.sample_message,
            acknowledged: group.is_acknowledged,
            acknowledged_at: group.acknowledged_at,
            acknowledged_by: group.acknowledged_by,
            note: group.note,
        }
    }
}

impl From<&Money> for Sum {
    fn from(money: &Money) -> Self {
        Self { currency: money.currency().to_string(), amount: money.decimal() }
    }
}
