//! `/api/v1/health`: whether the service works. It requires no key, so it returns no numbers of events, no
//! amounts and no ids.
//!
//! It shows the assessment of the command line and the dashboard, except for webhooks that are not accepted: anyone
//! can send these, so they must not degrade health.

use super::extract::NoQuery;
use super::{Api, NotAtThisHost};
use crate::domain::rejection::Cause;
use crate::health::{Destination, Finding, FindingKind, Level, Snapshot, Urgency, assess};
use crate::problem::Problem;
use crate::single_flight::SingleFlight;
use crate::store::{Db, StoreError};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;
use tracing::warn;
use utoipa::ToSchema;

/// The answer of the database is reused for this long.
const DATABASE_FRESH_FOR: Duration = Duration::from_secs(1);

/// An assessment is reused for this long.
const ASSESSMENT_FRESH_FOR: Duration = Duration::from_secs(2);

/// How long the database may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Whether the service works.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// `ok`; `degraded` if the operator should act; `unavailable` without a database.
    pub status: HealthStatus,
    /// The state of the database.
    pub database: Database,
    /// The problems, the most severe first; empty if the status is `ok`.
    pub findings: Vec<FindingView>,
    /// The destinations that are paused, and what to do about each.
    pub destinations: Vec<PausedDestination>,
    /// Why webhooks are rejected, if none was accepted since. Anyone can send a rejected webhook, so
    /// these do not change the status.
    pub warnings: Vec<Warning>,
    /// The program's version.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
}

/// Whether the service works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It works.
    Ok,
    /// It receives events, and the operator should act.
    Degraded,
    /// It receives no events.
    Unavailable,
}

/// A problem.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Finding)]
pub struct FindingView {
    /// What it is about.
    #[schema(example = "no_worker")]
    pub kind: FindingKind,
    /// How bad it is: `warning` or `critical`.
    #[schema(example = "critical")]
    pub level: Level,
    /// `wake` if an alert about it is sent during quiet hours too, otherwise `morning`.
    #[schema(example = "wake")]
    pub urgency: Urgency,
    /// What is wrong.
    #[schema(example = "No worker is running")]
    pub message: String,
    /// What to do.
    #[schema(example = "check whether a worker process runs, and read its log")]
    pub remedy: String,
}

/// A destination that is paused until its operator fixes the cause. Its executions wait and use no
/// attempts. It resumes by itself once it works again.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PausedDestination {
    /// The instance.
    #[schema(example = "notion")]
    pub name: String,
    /// When the pause began.
    pub paused_at: DateTime<Utc>,
    /// The class of the failure; null if an operator paused it.
    #[schema(example = "unauthorized")]
    pub error_class: Option<String>,
    /// What to do.
    pub remedy: String,
}

/// A cause of rejected webhooks, which the operator may have to fix.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = HealthWarning)]
pub struct Warning {
    /// The cause, as `/api/v1/rejections` names it.
    pub cause: Cause,
    /// When it was first seen.
    pub first_seen_at: DateTime<Utc>,
    /// What to do.
    pub remedy: String,
}

/// The last results of health and the probes. Cheap to clone: clones share them.
/// Anyone may ask, so concurrent callers share one query: its cost does not grow with their number.
#[derive(Debug, Clone, Default)]
pub struct HealthCache {
    database: SingleFlight<Database>,
    assessed: SingleFlight<Assessed>,
}

/// The state of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DatabaseState)]
pub enum Database {
    /// It answers, and has this program's schema.
    Ok,
    /// It answers, and its schema is older.
    NotMigrated,
    /// It does not answer.
    Unavailable,
}

/// The public part of an assessment.
#[derive(Debug, Clone, Default)]
struct Assessed {
    findings: Vec<FindingView>,
    destinations: Vec<PausedDestination>,
    warnings: Vec<Warning>,
}

/// Returns whether the service works: the database answers and has the required schema, a worker runs,
/// and no destination is paused, late, failing or unusually silent.
///
/// The result may be a few seconds old.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    operation_id = "get_health",
    tag = "health",
    responses(
        (status = 200, description = "Webhooks are accepted", body = Health),
        (status = 400, description = "A parameter was given; it has none", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Webhooks are not accepted", body = Health),
        NotAtThisHost,
    ),
    security(()),
)]
pub(super) async fn health(State(api): State<Api>, _: NoQuery) -> (StatusCode, Json<Health>) {
    let database = database(&api).await;
    let assessed = match database {
        Database::Ok => assessed(&api).await,
        Database::NotMigrated | Database::Unavailable => Assessed::default(),
    };
    let (status, code) = match database {
        Database::Ok if assessed.findings.is_empty() => (HealthStatus::Ok, StatusCode::OK),
        Database::Ok => (HealthStatus::Degraded, StatusCode::OK),
        Database::NotMigrated | Database::Unavailable => {
            (HealthStatus::Unavailable, StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    let Assessed { findings, destinations, warnings } = assessed;
    let version = env!("CARGO_PKG_VERSION");
    (code, Json(Health { status, database, findings, destinations, warnings, version }))
}

/// The state of the database, at most a second old.
pub(super) async fn database(api: &Api) -> Database {
    let db = api.db.clone();
    let state = async move { Ok(database_state(db).await) };
    api.health_cache.database.get(DATABASE_FRESH_FOR, state).await.unwrap_or(Database::Unavailable)
}

async fn database_state(db: Db) -> Database {
    let answered = tokio::time::timeout(ANSWER_WITHIN, db.is_migrated()).await;
    match answered.unwrap_or(Err(StoreError::TimedOut)) {
        Ok(true) => Database::Ok,
        Ok(false) => Database::NotMigrated,
        Err(error) => {
            warn!(%error, "database does not answer");
            Database::Unavailable
        }
    }
}

async fn assessed(api: &Api) -> Assessed {
    let read = {
        let api = api.clone();
        async move {
            Ok(read(&api).await.unwrap_or_else(|error| {
                warn!(%error, "health snapshot could not be read");
                Assessed::unknown()
            }))
        }
    };
    api.health_cache.assessed.get(ASSESSMENT_FRESH_FOR, read).await.unwrap_or_else(|_| Assessed::unknown())
}

async fn read(api: &Api) -> Result<Assessed, StoreError> {
    let snapshot = Snapshot::load(&api.store.health, &api.scope).await?;
    let findings = assess(&snapshot, &api.thresholds).findings;
    let warnings = snapshot
        .causes_of_rejections
        .into_iter()
        .filter(|found| found.is_current && found.cause.is_fixable())
        .map(|found| Warning { cause: found.cause, first_seen_at: found.first_at, remedy: found.remedy });
    Ok(Assessed {
        findings: findings.into_iter().filter_map(FindingView::of).collect(),
        destinations: snapshot.destinations.into_iter().filter_map(PausedDestination::of).collect(),
        warnings: warnings.collect(),
    })
}

impl Assessed {
    /// The database answers, but not in time for a snapshot.
    fn unknown() -> Self {
        let finding = FindingView {
            kind: FindingKind::Database,
            level: Level::Warning,
            urgency: Urgency::Morning,
            message: "The database takes too long to answer".to_owned(),
            remedy: "check what keeps the database busy, and read the log".to_owned(),
        };
        Self { findings: vec![finding], ..Self::default() }
    }
}

impl FindingView {
    /// The public part of a finding; `None` if anyone could cause it.
    fn of(finding: Finding) -> Option<Self> {
        let Finding { matter, level, headline, remedy, .. } = finding;
        (!matter.can_be_forged()).then(|| Self {
            kind: matter,
            level,
            urgency: matter.urgency(),
            message: headline,
            remedy,
        })
    }
}

impl PausedDestination {
    fn of(destination: Destination) -> Option<Self> {
        let Destination { name, paused, .. } = destination;
        let pause = paused?;
        Some(Self {
            name,
            paused_at: pause.since,
            error_class: pause.by.is_none().then_some(pause.class),
            remedy: pause.remedy,
        })
    }
}
