//! `/livez` and `/readyz`, for orchestrators and load balancers. They require no key.

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
    /// `ok`; `silent` if the worker's heartbeat is late; `none` if this process has no worker, as
    /// without destinations or in the role `web`.
    #[schema(example = "ok")]
    pub worker: &'static str,
}

/// Returns 200 while the process runs and answers. It checks nothing else.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "get_livez",
    tag = "health",
    responses((status = 200, description = "The process runs", body = Live)),
    security(()),
)]
pub(super) async fn livez() -> Json<Live> {
    Json(Live { status: "alive" })
}

/// Returns whether requests should be routed here: the database answers and has the required schema,
/// and this process's worker sends heartbeats.
///
/// The state of the database may be one second old.
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
