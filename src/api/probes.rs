//! `/livez` and `/readyz`, for orchestrators and load balancers. They require no key.

use super::health::{self, Database};
use super::{Api, NotAtThisHost};
use crate::store::WORKER_DEAD_AFTER;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Whether the process runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// Always `alive`.
    pub status: LivenessStatus,
}

/// The state of a process that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LivenessStatus {
    /// It runs.
    Alive,
}

/// Whether the service can do all of its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether requests should be routed here.
    pub status: ReadinessStatus,
    /// The state of the database.
    pub database: Database,
    /// `ok`; `silent` if the worker's heartbeat is late; `none` if this process has no worker, as
    /// without destinations or in the role `web`.
    pub worker: WorkerState,
}

/// Whether requests should be routed to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadinessStatus {
    /// They should.
    Ready,
    /// They should not.
    NotReady,
}

/// The state of a process's worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It sends heartbeats.
    Ok,
    /// Its heartbeat is late.
    Silent,
    /// The process has no worker.
    None,
}

/// Returns 200 while the process runs and answers.
///
/// It checks nothing else.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "get_livez",
    tag = "health",
    responses((status = 200, description = "The process runs", body = Liveness), NotAtThisHost),
    security(()),
)]
pub(super) async fn livez() -> Json<Liveness> {
    Json(Liveness { status: LivenessStatus::Alive })
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
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready", body = Readiness),
        NotAtThisHost,
    ),
    security(()),
)]
pub(super) async fn readyz(State(api): State<Api>) -> (StatusCode, Json<Readiness>) {
    let database = health::database(&api).await;
    let worker = match api.scrape.since_heartbeat() {
        _ if !api.has_worker => WorkerState::None,
        Some(age) if age < WORKER_DEAD_AFTER => WorkerState::Ok,
        _ => WorkerState::Silent,
    };
    let (status, code) = match (database, worker) {
        (Database::Ok, WorkerState::Ok | WorkerState::None) => (ReadinessStatus::Ready, StatusCode::OK),
        _ => (ReadinessStatus::NotReady, StatusCode::SERVICE_UNAVAILABLE),
    };
    (code, Json(Readiness { status, database, worker }))
}
