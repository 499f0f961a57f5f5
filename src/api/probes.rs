//! `/livez` and `/readyz`: for whatever starts, stops and routes to the service. Open to all.

use super::Api;
use super::health::{self, Database};
use crate::store::WORKER_DEAD_AFTER;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Whether the process runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Live {
    /// Always `alive`.
    #[schema(example = "alive")]
    pub status: &'static str,
}

/// Whether the service can do all of its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// `ready` or `not_ready`.
    #[schema(example = "ready")]
    pub status: &'static str,
    /// `ok`, `unavailable`, or `not_migrated`.
    #[schema(example = "ok")]
    pub database: &'static str,
    /// `ok`; `silent` where the worker has not told the database that it lives; `none` where this
    /// process has none, as without destinations or in the role `web`.
    #[schema(example = "ok")]
    pub worker: &'static str,
}

/// Tells that the process runs and answers; it looks at nothing else.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "get_livez",
    tag = "health",
    responses((status = 200, description = "It runs", body = Live)),
    security(()),
)]
pub(super) async fn livez() -> Json<Live> {
    Json(Live { status: "alive" })
}

/// Tells whether requests should be sent here: the database answers and has the right schema, and
/// this process's worker beats.
///
/// What it tells of the database may be a second old, however many ask.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "get_readyz",
    tag = "health",
    responses(
        (status = 200, description = "Ready", body = Ready),
        (status = 503, description = "Not ready", body = Ready),
    ),
    security(()),
)]
pub(super) async fn readyz(State(api): State<Api>) -> (StatusCode, Json<Ready>) {
    let database = health::database(&api).await;
    let worker = match api.scrape.since_heartbeat() {
        _ if !api.has_worker => "none",
        Some(age) if age < WORKER_DEAD_AFTER => "ok",
        _ => "silent",
    };
    let (status, code) = match (database, worker) {
        (Database::Ok, "ok" | "none") => ("ready", StatusCode::OK),
        _ => ("not_ready", StatusCode::SERVICE_UNAVAILABLE),
    };
    (code, Json(Ready { status, database: database.as_str(), worker }))
}
