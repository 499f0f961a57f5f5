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
mod fields;
mod health;
mod idempotency;
mod metrics;
mod paging;
mod preview;
mod probes;
mod rejections;
mod search;
mod stats;
mod tasks;

pub use events::{Event, EventDetail, EventList};
pub use executions::{Attempt, Execution, ExecutionDetail, ExecutionList};
pub use extract::{Json, Query};
pub use failures::{AcknowledgeRequest, FailureGroup, FailureGroupList};
pub use health::{Health, HealthCache};
pub use idempotency::{IDEMPOTENCY_KEY, once_per_key};
pub use metrics::Scrape;
pub use preview::ExecutionPreview;
pub use search::{EventSearchResult, EventSearchResultList};

use crate::bulk::Bulk;
use crate::domain::destination_summary::DestinationSummary;
use crate::domain::humanize::capitalised;
use crate::domain::preview::Previewer;
use crate::domain::source::SourceCatalog;
use crate::health::{Scope, Thresholds, database_remedy};
use crate::operator_store::OperatorStore;
use crate::problem::{Problem, ProblemCode};
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
        contact(name = "The operator of this service"),
    ),
    servers((url = "/", description = "This service")),
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
            format!("The database is not available. {}.", capitalised(database_remedy())),
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
        ref wanted @ ListError::TimeRangeRequired { after, .. } => Problem::new(
            StatusCode::BAD_REQUEST,
            ProblemCode::TimeRangeRequired,
            "A time range of at most 31 days is required",
            format!("{}.", capitalised(&wanted.to_string())),
        )
        .with_param(after),
    }
}

/// Error responses of every route that requires no key.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it documents responses that are built elsewhere")]
enum NotAtThisHost {
    #[response(
        status = 403,
        description = "In dev: the Host or Origin is not this machine's. With AUTH=off: the Host is not that of PUBLIC_URL",
        content_type = "application/problem+json"
    )]
    NotLocal(Problem),
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

#[cfg(test)]
mod tests {
    use crate::domain::audit::{Action, SubjectKind};
    use crate::domain::execution::{AttemptOutcome, Status};
    use crate::domain::preview::{Effect, When};
    use crate::domain::rejection::{BodyForm, Cause};
    use crate::domain::task::{TaskKind, TaskStatus};
    use crate::health::{FindingKind, Level, Urgency};
    use crate::problem::ProblemCode;
    use crate::store::Per;
    use std::collections::BTreeSet;
    use utoipa::PartialSchema;
    use utoipa::openapi::{RefOr, Schema};

    /// The words of an enum in the API's description.
    fn described<T: PartialSchema>() -> BTreeSet<String> {
        let RefOr::T(Schema::Object(schema)) = T::schema() else { panic!("no enum") };
        let words = schema.enum_values.expect("an enum").into_iter();
        words.map(|word| word.as_str().expect("a word").to_owned()).collect()
    }

    /// The words of an enum in its own source file, which the database and other readers get.
    fn written(file: &str, of: &str) -> BTreeSet<String> {
        let words = file.split(&format!("impl {of} {{")).nth(1).expect(of);
        let words =
            words.split("fn as_str").nth(1).expect("as_str").split("\n    }\n").next().expect("an end");
        words
            .lines()
            .filter_map(|line| line.split_once("=> \"")?.1.split('"').next().map(str::to_owned))
            .collect()
    }

    #[test]
    fn the_description_has_the_words_that_the_database_and_the_answers_have() {
        let audit = include_str!("../domain/audit.rs");
        let execution = include_str!("../domain/execution.rs");
        let preview = include_str!("../domain/preview.rs");
        let finding = include_str!("../health/finding.rs");
        let task = include_str!("../domain/task.rs");
        for (described, written) in [
            (described::<Action>(), written(audit, "Action")),
            (described::<SubjectKind>(), written(audit, "SubjectKind")),
            (described::<AttemptOutcome>(), written(execution, "AttemptOutcome")),
            (described::<Status>(), written(execution, "Status")),
            (described::<Effect>(), written(preview, "Effect")),
            (described::<When>(), written(preview, "When")),
            (described::<BodyForm>(), written(include_str!("../domain/rejection/mod.rs"), "BodyForm")),
            (described::<Cause>(), written(include_str!("../domain/rejection/diagnosis.rs"), "Cause")),
            (described::<FindingKind>(), written(finding, "FindingKind")),
            (described::<Level>(), written(finding, "Level")),
            (described::<Urgency>(), written(finding, "Urgency")),
            (described::<TaskKind>(), written(task, "TaskKind")),
            (described::<TaskStatus>(), written(task, "TaskStatus")),
            (described::<ProblemCode>(), written(include_str!("../problem.rs"), "ProblemCode")),
            (described::<Per>(), written(include_str!("../store/reporting/statistics.rs"), "Per")),
        ] {
            assert!(described.len() > 1);
            assert_eq!(described, written);
        }
    }
}
