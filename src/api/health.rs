//! `/api/v1/health`: whether the service can do its work. Open to all, so it tells little.

use super::{Api, rejections};
use crate::store::StoreError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::warn;
use utoipa::ToSchema;

/// Whether the service works.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`; `degraded` while a destination waits for its operator; `unavailable` without a database.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// `ok`, `unavailable`, or `not_migrated`.
    #[schema(example = "ok")]
    pub database: &'static str,
    /// The destinations that are held, and what to do about each.
    pub destinations: Vec<HeldDestination>,
    /// Why webhooks are rejected, where nothing was accepted since. Anybody can send what is
    /// rejected, so this leaves the status as it is.
    pub warnings: Vec<Warning>,
    /// The program's version.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
}

/// A destination that only its operator can mend. Its executions wait and burn no attempts; it goes
/// on by itself once it works again.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldDestination {
    /// The instance.
    #[schema(example = "notion")]
    pub name: String,
    /// Since when it is held.
    pub since: DateTime<Utc>,
    /// The kind of trouble, in a word.
    #[schema(example = "unauthorized")]
    pub class: String,
    /// What to do.
    pub remedy: String,
}

/// Something that may be for the operator to mend.
#[derive(Debug, Serialize, ToSchema)]
pub struct Warning {
    /// The cause, as `/api/v1/rejections` names it.
    #[schema(example = "wrong_secret")]
    pub cause: &'static str,
    /// Since when it is seen.
    pub since: DateTime<Utc>,
    /// What to do.
    pub remedy: String,
}

/// Tells whether the service works: its database answers and has the right schema, and which
/// destinations are held.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    tag = "health",
    responses(
        (status = 200, description = "Events are taken", body = Health),
        (status = 503, description = "They are not", body = Health),
    ),
    security(()),
)]
pub(super) async fn health(State(api): State<Api>) -> (StatusCode, Json<Health>) {
    let (database, (destinations, warnings)) = match look(&api).await {
        Ok(Some(seen)) => ("ok", seen),
        Ok(None) => ("not_migrated", Default::default()),
        Err(error) => {
            warn!(%error, "unhealthy");
            ("unavailable", Default::default())
        }
    };
    let (status, code) = match database {
        "ok" if destinations.is_empty() => ("ok", StatusCode::OK),
        "ok" => ("degraded", StatusCode::OK),
        _ => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
    };
    let version = env!("CARGO_PKG_VERSION");
    (code, Json(Health { status, database, destinations, warnings, version }))
}

/// The destinations that are held, and why webhooks are rejected; nothing where the schema is not
/// this program's.
async fn look(api: &Api) -> Result<Option<(Vec<HeldDestination>, Vec<Warning>)>, StoreError> {
    if !api.store.is_migrated().await? {
        return Ok(None);
    }
    let held = api.store.held(&api.instances).await?.into_iter().map(|held| HeldDestination {
        name: held.name,
        since: held.since,
        class: held.hold.class,
        remedy: held.hold.remedy,
    });
    let (_, _, causes) = rejections::look(api).await?;
    let warnings = causes
        .into_iter()
        .filter(|found| found.is_current && found.cause.is_to_be_mended())
        .map(|found| Warning { cause: found.cause.as_str(), since: found.first_at, remedy: found.remedy });
    Ok(Some((held.collect(), warnings.collect())))
}
