//! `/api/v1/health`: whether the service can do its work. Open to all, so it tells little.

use super::Api;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tracing::warn;
use utoipa::ToSchema;

/// Whether the service works.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or `unavailable`.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// `ok`, `unavailable`, or `not_migrated`.
    #[schema(example = "ok")]
    pub database: &'static str,
    /// The program's version.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
}

/// Tells whether the service works: its database answers and has the right schema.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    tag = "health",
    responses(
        (status = 200, description = "It works", body = Health),
        (status = 503, description = "It does not", body = Health),
    ),
    security(()),
)]
pub(super) async fn health(State(api): State<Api>) -> (StatusCode, Json<Health>) {
    let database = match api.store.is_migrated().await {
        Ok(true) => "ok",
        Ok(false) => "not_migrated",
        Err(error) => {
            warn!(%error, "unhealthy");
            "unavailable"
        }
    };
    let (status, code) = match database {
        "ok" => ("ok", StatusCode::OK),
        _ => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
    };
    (code, Json(Health { status, database, version: env!("CARGO_PKG_VERSION") }))
}
