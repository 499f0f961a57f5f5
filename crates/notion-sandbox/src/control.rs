//! The control API for other processes: JSON below `/_sandbox/`.
//!
//! A write requires `Content-Type: application/json`, or is a `PUT` or `DELETE`. A page of another
//! origin in the same browser can send neither without a preflight.

use super::api_error::ApiError;
use super::faults::{Fault, FaultRule};
use super::handle::{SandboxHandle, SandboxPage};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// The routes of the control API.
pub fn router(handle: SandboxHandle) -> Router {
    Router::new()
        .route("/_sandbox/stats", get(stats))
        .route("/_sandbox/wait", get(wait))
        .route("/_sandbox/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/_sandbox/rate", put(set_rate))
        .route("/_sandbox/workspace_rate", put(set_workspace_rate))
        .route("/_sandbox/block_limit", put(set_block_limit))
        .route("/_sandbox/token", put(set_token))
        .route("/_sandbox/requests", get(requests).delete(clear_requests))
        .route("/_sandbox/pages", get(pages).delete(wipe))
        .route("/_sandbox/pages/{id}", put(edit_page).delete(trash))
        .route("/_sandbox/pages/{id}/restore", put(restore))
        .route("/_sandbox/pages/{id}/archive", put(archive))
        .route("/_sandbox/pages/{id}/move", put(move_page))
        .route("/_sandbox/parent_page", put(set_parent_page))
        .route("/_sandbox/views", get(views))
        .route("/_sandbox/databases", post(add_database))
        .route("/_sandbox/databases/{id}/trash", put(trash_database))
        .route("/_sandbox/data_sources/{id}/trash", put(trash_data_source))
        .route("/_sandbox/data_sources/{id}/columns/{name}", put(put_column).patch(rename_column))
        .route("/_sandbox/data_sources/{id}/columns/{name}", delete(remove_column))
        .with_state(handle)
}

type Answer = Result<Json<Value>, Problem>;

/// An error response of the control API.
struct Problem(ApiError);

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.into_response_with_id("control")
    }
}

async fn stats(State(sandbox): State<SandboxHandle>) -> Json<Value> {
    Json(counts(&sandbox))
}

#[derive(Deserialize)]
struct Awaited {
    #[serde(default)]
    pages: usize,
    #[serde(default)]
    requests: u64,
    #[serde(default = "default_timeout_ms")]
    timeout_ms: u64,
}

const WAIT_MS_MAX: u64 = 60_000;

fn default_timeout_ms() -> u64 {
    10_000
}

async fn wait(State(sandbox): State<SandboxHandle>, Query(awaited): Query<Awaited>) -> Response {
    let deadline = Duration::from_millis(awaited.timeout_ms.min(WAIT_MS_MAX));
    let reached = sandbox.until(|sandbox| {
        sandbox.request_count() >= awaited.requests && sandbox.page_count() >= awaited.pages
    });
    let status = match tokio::time::timeout(deadline, reached).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    };
    (status, Json(counts(&sandbox))).into_response()
}

fn counts(sandbox: &SandboxHandle) -> Value {
    json!({
        "pages": sandbox.page_count(),
        "requests": sandbox.request_count(),
        "requests_under_way": sandbox.requests_under_way(),
        "peak_concurrency": sandbox.peak_concurrency(),
        "rate_per_minute": sandbox.rate(),
    })
}

async fn faults(State(sandbox): State<SandboxHandle>) -> Json<Vec<FaultRule>> {
    Json(sandbox.faults())
}

async fn add_fault(State(sandbox): State<SandboxHandle>, Json(rule): Json<Value>) -> Answer {
    // The fault is also read alone: for an unknown name, a tagged enum has a clearer error outside of a
    // flattened struct.
    serde_json::from_value::<Fault>(rule.clone()).map_err(|error| bad(&error))?;
    let rule: FaultRule = serde_json::from_value(rule).map_err(|error| bad(&error))?;
    sandbox.fault(rule).map_err(|error| bad(&error))?;
    Ok(Json(json!(sandbox.faults())))
}

async fn clear_faults(State(sandbox): State<SandboxHandle>) -> StatusCode {
    sandbox.clear_faults();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Rate {
    per_minute: Option<u32>,
}

async fn set_rate(State(sandbox): State<SandboxHandle>, Json(rate): Json<Rate>) -> Json<Value> {
    sandbox.set_rate(rate.per_minute);
    Json(counts(&sandbox))
}

#[derive(Deserialize)]
struct WorkspaceRate {
    requests: Option<u32>,
    #[serde(default = "default_window_seconds")]
    window_seconds: u64,
    #[serde(default)]
    used_by_others: u32,
}

const WINDOW_SECONDS_MAX: u64 = 86_400;

fn default_window_seconds() -> u64 {
    60
}

async fn set_workspace_rate(
    State(sandbox): State<SandboxHandle>,
    Json(rate): Json<WorkspaceRate>,
) -> StatusCode {
    let window = Duration::from_secs(rate.window_seconds.min(WINDOW_SECONDS_MAX));
    sandbox.set_workspace_rate(rate.requests, window, rate.used_by_others);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct BlockLimit {
    pages: Option<u64>,
}

async fn set_block_limit(State(sandbox): State<SandboxHandle>, Json(limit): Json<BlockLimit>) -> StatusCode {
    sandbox.set_block_limit(limit.pages);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

async fn set_token(State(sandbox): State<SandboxHandle>, Json(new): Json<Token>) -> StatusCode {
    sandbox.set_token(new.token);
    StatusCode::NO_CONTENT
}

async fn requests(State(sandbox): State<SandboxHandle>) -> Json<Value> {
    Json(json!(sandbox.requests()))
}

async fn clear_requests(State(sandbox): State<SandboxHandle>) -> StatusCode {
    sandbox.clear_requests();
    StatusCode::NO_CONTENT
}

async fn pages(State(sandbox): State<SandboxHandle>) -> Json<Vec<Value>> {
    Json(sandbox.pages().into_iter().map(|SandboxPage { json, .. }| json).collect())
}

async fn wipe(State(sandbox): State<SandboxHandle>) -> Result<StatusCode, Problem> {
    sandbox.wipe()?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Edit {
    properties: Value,
}

async fn edit_page(
    State(sandbox): State<SandboxHandle>,
    Path(id): Path<Uuid>,
    Json(edit): Json<Edit>,
) -> Answer {
    Ok(Json(sandbox.edit_page(id, &edit.properties)?))
}

async fn trash(State(sandbox): State<SandboxHandle>, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    sandbox.trash(id)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn restore(State(sandbox): State<SandboxHandle>, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    sandbox.restore(id)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Archived {
    archived: bool,
}

async fn archive(
    State(sandbox): State<SandboxHandle>,
    Path(id): Path<Uuid>,
    Json(new): Json<Archived>,
) -> Result<StatusCode, Problem> {
    sandbox.set_archived(id, new.archived)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct NewTable {
    data_source_id: Uuid,
}

async fn move_page(
    State(sandbox): State<SandboxHandle>,
    Path(id): Path<Uuid>,
    Json(new): Json<NewTable>,
) -> Result<StatusCode, Problem> {
    sandbox.move_page(id, new.data_source_id)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct ParentPage {
    in_trash: Option<bool>,
    hidden: Option<bool>,
}

async fn set_parent_page(State(sandbox): State<SandboxHandle>, Json(new): Json<ParentPage>) -> StatusCode {
    if let Some(in_trash) = new.in_trash {
        sandbox.trash_parent_page(in_trash);
    }
    if let Some(is_hidden) = new.hidden {
        sandbox.hide_parent_page(is_hidden);
    }
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Trashed {
    in_trash: bool,
}

async fn trash_database(
    State(sandbox): State<SandboxHandle>,
    Path(id): Path<Uuid>,
    Json(new): Json<Trashed>,
) -> Result<StatusCode, Problem> {
    sandbox.trash_database(id, new.in_trash)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn trash_data_source(
    State(sandbox): State<SandboxHandle>,
    Path(id): Path<Uuid>,
    Json(new): Json<Trashed>,
) -> Result<StatusCode, Problem> {
    sandbox.trash_data_source(id, new.in_trash)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn views(State(sandbox): State<SandboxHandle>) -> Json<Vec<Value>> {
    Json(sandbox.views())
}

#[derive(Deserialize)]
struct NewDatabase {
    template: super::template::Template,
}

async fn add_database(State(sandbox): State<SandboxHandle>, Json(new): Json<NewDatabase>) -> Answer {
    let (database, data_source) = sandbox.add_database(new.template)?;
    Ok(Json(json!({ "database_id": database, "data_source_id": data_source })))
}

#[derive(Deserialize)]
struct Column {
    r#type: String,
}

async fn put_column(
    State(sandbox): State<SandboxHandle>,
    Path((source, name)): Path<(Uuid, String)>,
    Json(column): Json<Column>,
) -> Result<StatusCode, Problem> {
    sandbox.add_column(source, &name, &column.r#type)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct NewName {
    name: String,
}

async fn rename_column(
    State(sandbox): State<SandboxHandle>,
    Path((source, name)): Path<(Uuid, String)>,
    Json(new): Json<NewName>,
) -> Result<StatusCode, Problem> {
    sandbox.rename_column(source, &name, &new.name)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_column(
    State(sandbox): State<SandboxHandle>,
    Path((source, name)): Path<(Uuid, String)>,
) -> Result<StatusCode, Problem> {
    sandbox.remove_column(source, &name)?;
    Ok(StatusCode::NO_CONTENT)
}

fn bad(error: &dyn std::error::Error) -> Problem {
    Problem(ApiError::validation(error.to_string()))
}
