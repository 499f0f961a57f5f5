//! `/api/v1/health`: whether the service can do its work. Open to all, so it tells little: no numbers of
//! events, no amounts, no ids.
//!
//! It is the verdict of the command line and the dashboard, but for webhooks that are rejected: anybody
//! can send these, and nobody shall make a service look ill.

use super::{Api, rejections};
use crate::domain::verdict::{self, Matter, Trouble};
use crate::single_flight::SingleFlight;
use crate::store::{PausedInstance, Store, StoreError, Watched};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;
use tracing::warn;
use utoipa::ToSchema;

/// What the database answered is told again for so long without asking.
const DATABASE_FRESH_FOR: Duration = Duration::from_secs(1);

/// How things stand is told again for so long.
const STANDING_FRESH_FOR: Duration = Duration::from_secs(2);

/// How long the database may take to say that it is there.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Whether the service works.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// `ok`; `degraded` while something needs to be looked at or mended; `unavailable` without a database.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// `ok`, `unavailable`, or `not_migrated`.
    #[schema(example = "ok")]
    pub database: &'static str,
    /// What is wrong, the weightiest first; empty where the status is `ok`.
    pub troubles: Vec<TroubleView>,
    /// The destinations that are held, and what to do about each.
    pub destinations: Vec<HeldDestination>,
    /// Why webhooks are rejected, where nothing was accepted since. Anybody can send what is
    /// rejected, so this leaves the status as it is.
    pub warnings: Vec<Warning>,
    /// The program's version.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
}

/// Something that is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TroubleView {
    /// `held`, `no_worker`, `backlog`, `silence` or `failures`; `unknown` where the database took too long
    /// to tell how things stand.
    #[schema(example = "no_worker")]
    pub about: &'static str,
    /// `warning` or `critical`.
    #[schema(example = "critical")]
    pub level: &'static str,
    /// What it is.
    #[schema(example = "Nobody delivers")]
    pub says: String,
    /// What to do.
    #[schema(example = "see whether it runs, and what its log says")]
    pub remedy: String,
}

/// A destination that only its operator can mend. Its executions wait and burn no attempts; it goes
/// on by itself once it works again.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Warning {
    /// The cause, as `/api/v1/rejections` names it.
    #[schema(example = "wrong_secret")]
    pub cause: &'static str,
    /// Since when it is seen.
    pub since: DateTime<Utc>,
    /// What to do.
    pub remedy: String,
}

/// What health and probes saw last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Looks {
    database: SingleFlight<Database>,
    standing: SingleFlight<Standing>,
}

/// What there is of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    /// It answers, and has this program's schema.
    Ok,
    /// It answers, and its schema is older.
    NotMigrated,
    /// It does not answer.
    Unavailable,
}

/// How things stand, as far as anybody may know.
#[derive(Debug, Clone, Default)]
struct Standing {
    troubles: Vec<TroubleView>,
    destinations: Vec<HeldDestination>,
    warnings: Vec<Warning>,
}

/// Tells whether the service works: its database answers and has the right schema, somebody delivers,
/// nothing is held, late, given up or strangely silent.
///
/// What it tells may be some seconds old, however many ask.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    operation_id = "get_health",
    tag = "health",
    responses(
        (status = 200, description = "Events are taken", body = Health),
        (status = 503, description = "They are not", body = Health),
    ),
    security(()),
)]
pub(super) async fn health(State(api): State<Api>) -> (StatusCode, Json<Health>) {
    let database = database(&api).await;
    let seen = match database {
        Database::Ok => standing(&api).await,
        Database::NotMigrated | Database::Unavailable => Standing::default(),
    };
    let (status, code) = match database {
        Database::Ok if seen.troubles.is_empty() => ("ok", StatusCode::OK),
        Database::Ok => ("degraded", StatusCode::OK),
        Database::NotMigrated | Database::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
    };
    let Standing { troubles, destinations, warnings } = seen;
    let version = env!("CARGO_PKG_VERSION");
    (code, Json(Health { status, database: database.as_str(), troubles, destinations, warnings, version }))
}

/// What there is of the database, as of a moment ago.
pub(super) async fn database(api: &Api) -> Database {
    let store = api.store.clone();
    let look = async move { Ok(look_at_database(store).await) };
    api.looks.database.get(DATABASE_FRESH_FOR, look).await.unwrap_or(Database::Unavailable)
}

async fn look_at_database(store: Store) -> Database {
    let answered = tokio::time::timeout(ANSWER_WITHIN, store.db.is_migrated()).await;
    match answered.unwrap_or(Err(StoreError::TimedOut)) {
        Ok(true) => Database::Ok,
        Ok(false) => Database::NotMigrated,
        Err(error) => {
            warn!(%error, "the database does not answer");
            Database::Unavailable
        }
    }
}

async fn standing(api: &Api) -> Standing {
    let look = {
        let api = api.clone();
        async move {
            Ok(read(&api).await.unwrap_or_else(|error| {
                warn!(%error, "how things stand cannot be read");
                Standing::unknown()
            }))
        }
    };
    api.looks.standing.get(STANDING_FRESH_FOR, look).await.unwrap_or_else(|_| Standing::unknown())
}

async fn read(api: &Api) -> Result<Standing, StoreError> {
    let watched = Watched {
        instances: &api.instances,
        destinations: &api.destinations,
        sources: api.sources.as_ref(),
        silence_factor: api.silence_factor,
    };
    let ((standing, _), held, (_, _, causes)) = tokio::try_join!(
        api.store.standing(watched),
        api.store.destinations.paused(&api.instances),
        rejections::look(api),
    )?;
    let troubles = verdict::of(&standing).troubles;
    let warnings = causes
        .into_iter()
        .filter(|found| found.is_current && found.cause.is_to_be_mended())
        .map(|found| Warning { cause: found.cause.as_str(), since: found.first_at, remedy: found.remedy });
    Ok(Standing {
        troubles: troubles.into_iter().filter_map(TroubleView::of).collect(),
        destinations: held.into_iter().map(HeldDestination::from).collect(),
        warnings: warnings.collect(),
    })
}

impl Database {
    /// The word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotMigrated => "not_migrated",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Standing {
    /// The database answers, and does not tell in time how things stand.
    fn unknown() -> Self {
        let trouble = TroubleView {
            about: "unknown",
            level: verdict::Level::Warning.as_str(),
            says: "The database takes too long to tell how things stand".to_owned(),
            remedy: "see what keeps the database busy, and what the log says".to_owned(),
        };
        Self { troubles: vec![trouble], ..Self::default() }
    }
}

impl TroubleView {
    /// What anybody may know of a trouble; nothing of what anybody can feign.
    fn of(trouble: Trouble) -> Option<Self> {
        let Trouble { matter, level, headline, remedy, .. } = trouble;
        let is_feignable = matter == Matter::Rejected;
        (!is_feignable).then(|| Self {
            about: matter.as_str(),
            level: level.as_str(),
            says: headline,
            remedy,
        })
    }
}

impl From<PausedInstance> for HeldDestination {
    fn from(held: PausedInstance) -> Self {
        Self { name: held.name, since: held.since, class: held.pause.class, remedy: held.pause.remedy }
    }
}
