//! `/api/v1/destinations`: the state of each instance, and its manual pause and resumption.

use super::extract::{Json as Body, NoBody, NoQuery, Path};
use super::{Api, NotDone, NotRead, from_store};
use crate::domain::audit::{self, Caller, PAUSE_NOTE_MAX};
use crate::domain::backing_off::BackingOff;
use crate::domain::destination_summary::seconds_for;
use crate::problem::Problem;
use crate::store::{Backlog, DestinationRow, Limiter};
use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tracing::info;
use utoipa::ToSchema;

/// The state of a destination instance.
#[derive(Debug, Serialize, ToSchema)]
pub struct Destination {
    /// The instance.
    #[schema(example = "notion")]
    pub name: String,
    /// Whether it is delivered to.
    pub state: DestinationState,
    /// Until when processes leave it alone after repeated failures; null if none does.
    pub back_off: Option<DestinationBackOff>,
    /// Why it is paused, and what to do; null while it is not paused.
    pub pause: Option<DestinationPause>,
    /// Its rate limit; null if it has none.
    pub rate_limit: Option<RateLimit>,
    /// Its pending executions.
    pub backlog: DestinationBacklog,
}

/// Whether a destination instance is delivered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DestinationState {
    /// It is.
    Working,
    /// No process delivers to it for a while, after repeated failures.
    BackingOff,
    /// It is paused, by an operator or for a cause that only the operator can fix.
    Paused,
}

/// An instance that processes leave alone after repeated failures. They try again with one execution at a time,
/// new ones first.
#[derive(Debug, Serialize, ToSchema)]
pub struct DestinationBackOff {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When the next attempt is made. If it is past, one is being made.
    pub next_attempt_at: DateTime<Utc>,
    /// What it follows, for people.
    #[schema(example = "repeated 502")]
    pub reason: String,
    /// How many processes leave the instance alone.
    #[schema(example = 1)]
    pub process_count: usize,
    /// How many processes deliver at all.
    #[schema(example = 1)]
    pub worker_count: usize,
}

/// Why an instance is paused.
#[derive(Debug, Serialize, ToSchema)]
pub struct DestinationPause {
    /// When the pause began.
    pub paused_at: DateTime<Utc>,
    /// Whether an operator or a failure caused it.
    pub origin: PauseOrigin,
    /// The class of the failure; null if an operator paused the instance.
    #[schema(example = "unauthorized")]
    pub error_class: Option<String>,
    /// What happened; in a manual pause the same as `note`.
    pub reason: String,
    /// The note of the operator who paused it; null if no operator did.
    pub note: Option<String>,
    /// Who paused it; null if no operator did.
    #[schema(example = "cli:ann")]
    pub paused_by: Option<String>,
    /// What to do.
    pub remedy: String,
    /// When the service next probes whether the instance works again; null if it does not probe, as in a
    /// manual pause.
    pub next_probe_at: Option<DateTime<Utc>>,
}

/// What paused an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PauseOrigin {
    /// An operator, who must also resume it.
    Operator,
    /// A failure; the service resumes the instance once a probe finds that it works again.
    Failure,
}

/// The rate limit of a connection. All its instances and all replicas share it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateLimit {
    /// The name of the connection. Instances with the same connection share its rate limit.
    pub connection: String,
    /// Calls per minute; null if they are not limited.
    #[schema(example = 170)]
    pub calls_per_minute: Option<u32>,
    /// No call begins before this time, because the destination asked for a break; null if it did not.
    pub blocked_until: Option<DateTime<Utc>>,
    /// When the next call may begin; null if it may begin immediately.
    pub next_call_at: Option<DateTime<Utc>>,
}

/// The pending executions of an instance.
#[derive(Debug, Serialize, ToSchema)]
pub struct DestinationBacklog {
    /// Pending executions, due or not. At most 20,000 are counted of each kind (new, late, quarantined,
    /// bulk).
    #[schema(example = 17)]
    pub pending: u64,
    /// Whether there are more than were counted.
    pub pending_is_cut: bool,
    /// The age in seconds of the oldest counted execution; null if none is pending.
    #[schema(example = 4)]
    pub oldest_pending_seconds: Option<u64>,
    /// How many seconds the backlog takes at this rate with one call per execution; null if unknown. If
    /// there are more than were counted, it takes longer.
    #[schema(example = 6)]
    pub clears_in_seconds: Option<u64>,
}

/// All configured destination instances.
#[derive(Debug, Serialize, ToSchema)]
pub struct DestinationList {
    /// The instances, by name.
    pub data: Vec<Destination>,
}

/// Why an operator pauses an instance.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// The reason, shown wherever the pause is shown: 1 to 500 characters.
    #[schema(example = "moving to another database", min_length = 1, max_length = 500)]
    note: String,
}

/// Lists the destination instances with their pauses, rate limits and backlogs.
///
/// All configured instances are on one page.
#[utoipa::path(
    get,
    path = "/api/v1/destinations",
    operation_id = "list_destinations",
    tag = "destinations",
    responses(
        (status = 200, description = "The instances", body = DestinationList),
        (status = 400, description = "A parameter was given; it has none", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(State(api): State<Api>, _: NoQuery) -> Result<Json<DestinationList>, Problem> {
    let names: Vec<_> = api.instances.iter().cloned().collect();
    Ok(Json(DestinationList { data: views(&api, &names).await? }))
}

/// Pauses an instance manually: nothing is delivered to it until an operator resumes it.
///
/// Running executions finish. New executions wait and use no attempts. No probe resumes the instance.
#[utoipa::path(
    post,
    path = "/api/v1/destinations/{name}/pause",
    operation_id = "pause_destination",
    tag = "destinations",
    params(("name" = String, Path, description = "The instance", example = "notion")),
    request_body = PauseRequest,
    responses(
        (status = 200, description = "The instance is paused", body = Destination),
        (status = 400, description = "The body cannot be read, or the note is too long or empty", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such instance is configured", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn pause(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    _: NoQuery,
    Body(request): Body<PauseRequest>,
) -> Result<Json<Destination>, Problem> {
    let name = configured(&api, name)?;
    let note = audit::note(&request.note, PAUSE_NOTE_MAX).ok_or_else(|| {
        let what = format!("must have 1 to {PAUSE_NOTE_MAX} characters that are not all blank");
        Problem::invalid("note", what)
    })?;
    api.store.destinations.pause_manually(&name, note, &caller).await.map_err(from_store)?;
    info!(instance = name, who = caller.name(), "destination paused manually");
    view(&api, name).await
}

/// Resumes an instance, whatever paused it.
///
/// If a problem paused it and the problem persists, the next delivery pauses it again.
#[utoipa::path(
    post,
    path = "/api/v1/destinations/{name}/resume",
    operation_id = "resume_destination",
    tag = "destinations",
    params(("name" = String, Path, description = "The instance", example = "notion")),
    responses(
        (status = 200, description = "The instance is working; it may not have been paused", body = Destination),
        (status = 400, description = "The name cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such instance is configured", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn resume(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<Destination>, Problem> {
    let name = configured(&api, name)?;
    if api.store.destinations.resume_manually(&name, &caller).await.map_err(from_store)? {
        info!(instance = name, who = caller.name(), "destination resumed manually");
        api.notifier.notify();
    }
    view(&api, name).await
}

fn configured(api: &Api, name: String) -> Result<String, Problem> {
    if api.instances.contains(&name) {
        Ok(name)
    } else {
        Err(Problem::not_found("No destination instance of this name is configured."))
    }
}

async fn view(api: &Api, name: String) -> Result<Json<Destination>, Problem> {
    views(api, &[name]).await?.pop().map(Json).ok_or_else(Problem::internal)
}

async fn views(api: &Api, names: &[String]) -> Result<Vec<Destination>, Problem> {
    let rows = api.store.destinations.destinations(names).await.map_err(from_store)?;
    let connections: Vec<_> =
        api.destinations.iter().filter_map(|target| target.connection.clone()).collect();
    let limiters = api.store.rate_limits.limiters(&connections).await.map_err(from_store)?;
    let backlogs = api.store.reports.backlog(names).await.map_err(from_store)?;
    let mut resting = api.store.reports.backing_off().await.map_err(from_store)?;
    let backlog_of = |name: &str| backlogs.iter().find(|backlog| backlog.destination == name);
    Ok(rows
        .into_iter()
        .map(|row| {
            let rest = resting.remove(&row.name);
            let state = match (&row.pause, &rest) {
                (Some(_), _) => DestinationState::Paused,
                (None, Some(rest)) if rest.is_everywhere() => DestinationState::BackingOff,
                (None, _) => DestinationState::Working,
            };
            (row, rest, state)
        })
        .map(|(row, rest, state)| Destination {
            state,
            back_off: rest.map(DestinationBackOff::from),
            rate_limit: RateLimit::of(api, &row.name, &limiters),
            backlog: DestinationBacklog::of(api, &row.name, backlog_of(&row.name)),
            pause: DestinationPause::of(&row),
            name: row.name,
        })
        .collect())
}

impl From<BackingOff> for DestinationBackOff {
    fn from(rest: BackingOff) -> Self {
        let BackingOff { since, until, fresh_until: _, after, processes, workers } = rest;
        Self {
            started_at: since,
            next_attempt_at: until,
            reason: after,
            process_count: processes,
            worker_count: workers,
        }
    }
}

impl DestinationPause {
    fn of(row: &DestinationRow) -> Option<Self> {
        let paused = row.pause.as_ref()?;
        Some(Self {
            paused_at: paused.since,
            origin: if paused.pause.is_manual() { PauseOrigin::Operator } else { PauseOrigin::Failure },
            error_class: paused.pause.error_class(),
            reason: paused.pause.reason.clone(),
            note: paused.pause.is_manual().then(|| paused.pause.reason.clone()),
            paused_by: paused.pause.by.clone(),
            remedy: paused.pause.remedy.clone(),
            next_probe_at: row.probe_at,
        })
    }
}

impl RateLimit {
    fn of(api: &Api, name: &str, limiters: &[Limiter]) -> Option<Self> {
        let target = api.destinations.iter().find(|target| target.name() == name)?;
        let connection = target.connection.clone()?;
        let known = limiters.iter().find(|limiter| limiter.connection == connection);
        Some(Self {
            calls_per_minute: target.per_minute.map(u32::from),
            blocked_until: known.and_then(|limiter| limiter.blocked_until),
            next_call_at: known.and_then(|limiter| limiter.next_at),
            connection,
        })
    }
}

impl DestinationBacklog {
    fn of(api: &Api, name: &str, backlog: Option<&Backlog>) -> Self {
        let pending = backlog.map_or(0, |backlog| backlog.pending);
        let pending_is_cut = backlog.is_some_and(|backlog| backlog.is_more);
        let counts = BTreeMap::from([(name.to_owned(), pending)]);
        Self {
            pending,
            pending_is_cut,
            oldest_pending_seconds: backlog
                .and_then(|backlog| backlog.oldest)
                .map(|oldest| oldest.waited.as_secs()),
            clears_in_seconds: seconds_for(&api.destinations, &counts),
        }
    }
}
