//! The JSON API: events, executions, health, and its own description.
//!
//! Handlers read and write only through the store. Every error is a problem document.

mod audit;
mod bulk;
mod destinations;
mod events;
mod executions;
mod extract;
mod failures;
mod health;
mod idempotency;
mod metrics;
mod preview;
mod probes;
mod rejections;
mod search;
mod stats;
mod tasks;

pub use events::{EventDetail, EventView, Events};
pub use executions::{AttemptView, ExecutionDetail, ExecutionView, Executions};
pub use extract::{Json, Query};
pub use failures::{Acknowledgement, FailureView, Failures};
pub use health::{Health, HealthCache};
pub use idempotency::{IDEMPOTENCY_KEY, once_per_key};
pub use metrics::Scrape;
pub use preview::PreviewView;
pub use search::{Found, FoundView};

use crate::bulk::Bulk;
use crate::domain::destination_summary::DestinationSummary;
use crate::domain::humanize::capitalised;
use crate::domain::preview::Previewer;
use crate::domain::source::SourceCatalog;
use crate::health::{DATABASE_REMEDY, Scope, Thresholds};
use crate::operator_store::OperatorStore;
use crate::problem::Problem;
use crate::store::{Db, ListError, Notifier, StoreError};
use axum::http::StatusCode;
use std::sync::Arc;
use tracing::error;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What the handlers work with.
#[derive(Clone)]
pub struct Api {
    /// To ask whether the database answers.
    pub db: Db,
    /// What is read and changed.
    pub store: OperatorStore,
    /// Bulk tasks.
    pub bulk: Bulk,
    /// The names of the configured destination instances.
    pub instances: Arc<[String]>,
    /// The configured sources.
    pub sources: Arc<dyn SourceCatalog>,
    /// The same instances, with their subscriptions and rates.
    pub destinations: Arc<[DestinationSummary]>,
    /// Wakes the workers after a retry.
    pub notifier: Notifier,
    /// The source of `/metrics`.
    pub scrape: Scrape,
    /// Makes previews.
    pub previewer: Previewer,
    /// What the health assessment covers.
    pub scope: Scope,
    /// The limits by which health is assessed.
    pub thresholds: Thresholds,
    /// The last results of health and the probes.
    pub health_cache: HealthCache,
    /// Whether this process delivers.
    pub has_worker: bool,
}

/// The head of the API's description; the routes add themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "EventBridge API",
        description = "Receives signed webhooks, commits them to Postgres and delivers each one to every destination that subscribes to it.",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = "webhooks", description = "Receipt of events"),
        (name = "events", description = "Stored events"),
        (name = "executions", description = "Events on their way to destinations, with state and attempts"),
        (name = "tasks", description = "Bulk retries and replays, with their progress"),
        (name = "failures", description = "Failed executions, grouped by cause"),
        (name = "destinations", description = "Destinations, their pauses and their backlog"),
        (name = "audit", description = "The log of manual changes"),
        (name = "health", description = "Whether the service works"),
    ),
    security(("key" = [])),
    modifiers(&Keys),
)]
pub struct Description;

struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key of API_KEYS. In dev none is needed."))
            .build();
        openapi.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The routes that require a key.
pub fn protected() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(events::list))
        .routes(routes!(events::show))
        .routes(routes!(events::payload))
        .routes(routes!(search::search))
        .routes(routes!(executions::list))
        .routes(routes!(executions::show))
        .routes(routes!(preview::preview))
        .routes(routes!(executions::retry))
        .routes(routes!(failures::list))
        .routes(routes!(failures::show))
        .routes(routes!(failures::acknowledge, failures::unacknowledge))
        .routes(routes!(executions::cancel))
        .routes(routes!(bulk::retry))
        .routes(routes!(bulk::replay))
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::show))
        .routes(routes!(tasks::cancel))
        .routes(routes!(destinations::list))
        .routes(routes!(destinations::pause))
        .routes(routes!(destinations::resume))
        .routes(routes!(audit::list))
        .routes(routes!(rejections::rejections))
        .routes(routes!(stats::stats))
}

/// The routes that require no key.
pub fn open() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
}

/// The metrics. They require a key unless the settings allow access without one.
pub fn metrics() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(metrics::metrics))
}

/// Logs the cause and returns a problem that discloses no internal details.
#[expect(clippy::needless_pass_by_value, reason = "so that it can be handed to map_err")]
fn from_store(error: StoreError) -> Problem {
    error!(%error, "API request failed");
    match error {
        StoreError::Unavailable(_) => Problem::unavailable(
            format!("The database is not available. {}.", capitalised(DATABASE_REMEDY)),
            5,
        ),
        StoreError::TimedOut | StoreError::TookTooLong => Problem::unavailable(
            "The database took too long. Request less, for example a narrower time range, or try again later.",
            5,
        ),
        StoreError::Refused(_) | StoreError::Unexpected(_) => Problem::internal(),
    }
}

/// As [`from_store`], for listings. A filter that requires a time range gets its own message.
fn from_list(error: ListError) -> Problem {
    match error {
        ListError::Store(error) => from_store(error),
        wanted @ ListError::TimeRangeRequired { .. } => Problem::new(
            StatusCode::BAD_REQUEST,
            "time_range_required",
            "A time range is required",
            format!("{}.", capitalised(&wanted.to_string())),
        ),
    }
}

/// Error responses of every reading route.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it documents responses that are built elsewhere")]
enum NotRead {
    #[response(
        status = 401,
        description = "No key, or an unknown one",
        content_type = "application/problem+json"
    )]
    Unauthorized(Problem),
    #[response(
        status = 403,
        description = "In dev: the Host or Origin is not this machine's. With AUTH=off: the Host is not that of PUBLIC_URL",
        content_type = "application/problem+json"
    )]
    NotLocal(Problem),
    #[response(
        status = 500,
        description = "Internal error; the log has the cause",
        content_type = "application/problem+json"
    )]
    Internal(Problem),
    #[response(
        status = 503,
        description = "The database is unreachable or took too long, or too many responses wait for slow clients",
        content_type = "application/problem+json"
    )]
    Unavailable(Problem),
}

/// Error responses of every changing route.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it documents responses that are built elsewhere")]
enum NotDone {
    #[response(
        status = 401,
        description = "No key, or an unknown one",
        content_type = "application/problem+json"
    )]
    Unauthorized(Problem),
    #[response(
        status = 403,
        description = "A key that may only read. In dev: the Host or Origin is not this machine's. With AUTH=off: the Host is not that of PUBLIC_URL",
        content_type = "application/problem+json"
    )]
    Forbidden(Problem),
    #[response(
        status = 500,
        description = "Internal error; the log has the cause",
        content_type = "application/problem+json"
    )]
    Internal(Problem),
    #[response(
        status = 503,
        description = "The database is unreachable or took too long, or too many responses wait for slow clients",
        content_type = "application/problem+json"
    )]
    Unavailable(Problem),
}
