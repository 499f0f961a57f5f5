//! `/api/v1/destinations`: the state of each instance, and its manual pause and resumption.

use super::extract::{Json as Body, Path};
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
pub struct DestinationView {
    /// The instance.
    #[schema(example = "notion")]
    pub name: String,
    /// `working`; `backing_off`: no process delivers to it for a while, after repeated failures; or `paused`.
    #[schema(example = "working")]
    pub state: &'static str,
    /// Until when processes leave it alone after repeated failures; null if none does.
    pub backing_off: Option<BackingOffView>,
    /// Why it is paused, and what to do; null while it is working.
    pub pause: Option<PauseView>,
    /// Its rate limit; null if it has none.
    pub limiter: Option<LimiterView>,
    /// Its pending executions.
    pub backlog: BacklogView,
}

/// An instance that processes leave alone after repeated failures. They try again with one execution at a time,
/// new ones first.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackingOffView {
    /// Since when.
    pub since: DateTime<Utc>,
    /// When the next attempt is made. If it is past, one is being made.
    pub until: DateTime<Utc>,
    /// What it follows.
    #[schema(example = "repeated 502")]
    pub after: String,
    /// How many processes do so.
    #[schema(example = 1)]
    pub processes: usize,
    /// How many processes deliver at all.
    #[schema(example = 1)]
    pub workers: usize,
}

/// Why an instance is paused.
#[derive(Debug, Serialize, ToSchema)]
pub struct PauseView {
    /// When the pause began.
    pub since: DateTime<Utc>,
    /// The class of the failure; `manual` if an operator paused the instance.
    #[schema(example = "unauthorized")]
    pub class: String,
    /// What happened, or the operator's note.
    pub reason: String,
    /// Who paused it; null if no operator did.
    #[schema(example = "cli:ann")]
    pub by: Option<String>,
    /// What to do.
    pub remedy: String,
    /// When the service next probes whether the instance works again; null if it does not probe, as in a
    /// manual pause.
    pub next_probe_at: Option<DateTime<Utc>>,
}

/// The rate limit of a connection. All its instances and all replicas share it.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimiterView {
    /// The name of the connection. Instances with the same connection share its rate limit.
    pub connection: String,
    /// Calls per minute; null if they are not limited.
    #[schema(example = 170)]
    pub per_minute: Option<u32>,
    /// No call begins before this time, because the destination asked for a break; null if it did not.
    pub blocked_until: Option<DateTime<Utc>>,
    /// When the next call may begin; null if it may begin immediately.
    pub next_slot_at: Option<DateTime<Utc>>,
}

/// The pending executions of an instance.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogView {
    /// Pending executions, due or not. At most 20,000 are counted of each kind (new, late, quarantined,
    /// bulk).
    #[schema(example = 17)]
    pub pending: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// The age in seconds of the oldest counted execution; null if none is pending.
    #[schema(example = 4)]
    pub oldest_seconds: Option<u64>,
    /// How many seconds the backlog takes at this rate with one call per execution; null if unknown. If
    /// there are more than were counted, it takes longer.
    #[schema(example = 6)]
    pub seconds_to_drain: Option<u64>,
}

/// All configured destination instances.
#[derive(Debug, Serialize, ToSchema)]
pub struct Destinations {
    /// The instances, by name.
    pub data: Vec<DestinationView>,
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
#[utoipa::path(
    get,
    path = "/api/v1/destinations",
    operation_id = "list_destinations",
    tag = "destinations",
    responses(
        (status = 200, description = "The instances", body = Destinations),
        NotRead,
    ),
)]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<Destinations>, Problem> {
    let names: Vec<_> = api.instances.iter().cloned().collect();
    Ok(Json(Destinations { data: views(&api, &names).await? }))
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
        (status = 200, description = "The instance is paused", body = DestinationView),
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
    Body(request): Body<PauseRequest>,
) -> Result<Json<DestinationView>, Problem> {
    let name = configured(&api, name)?;
    let note = audit::note(&request.note, PAUSE_NOTE_MAX).ok_or_else(|| {
        Problem::bad_request(format!(
            "note: must have 1 to {PAUSE_NOTE_MAX} characters that are not all blank."
        ))
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
        (status = 200, description = "The instance is working; it may not have been paused", body = DestinationView),
        (status = 400, description = "The name cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such instance is configured", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn resume(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<DestinationView>, Problem> {
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

async fn view(api: &Api, name: String) -> Result<Json<DestinationView>, Problem> {
    views(api, &[name]).await?.pop().map(Json).ok_or_else(Problem::internal)
}

async fn views(api: &Api, names: &[String]) -> Result<Vec<DestinationView>, Problem> {
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
                (Some(_), _) => "paused",
                (None, Some(rest)) if rest.is_everywhere() => "backing_off",
                (None, _) => "working",
            };
            (row, rest, state)
        })
        .map(|(row, rest, state)| DestinationView {
            state,
            backing_off: rest.map(BackingOffView::from),
            limiter: LimiterView::of(api, &row.name, &limiters),
            backlog: BacklogView::of(api, &row.name, backlog_of(&row.name)),
            pause: PauseView::of(&row),
            name: row.name,
        })
        .collect())
}

impl From<BackingOff> for BackingOffView {
    fn from(rest: BackingOff) -> Self {
        let BackingOff { since, until, fresh_until: _, after, processes, workers } = rest;
        Self { since, until, after, processes, workers }
    }
}

impl PauseView {
    fn of(row: &DestinationRow) -> Option<Self> {
        let paused = row.pause.as_ref()?;
        Some(Self {
            since: paused.since,
            class: paused.pause.class.clone(),
            reason: paused.pause.reason.clone(),
            by: paused.pause.by.clone(),
            remedy: paused.pause.remedy.clone(),
            next_probe_at: row.probe_at,
        })
    }
}

impl LimiterView {
    fn of(api: &Api, name: &str, limiters: &[Limiter]) -> Option<Self> {
        let target = api.destinations.iter().find(|target| target.name() == name)?;
        let connection = target.connection.clone()?;
        let known = limiters.iter().find(|limiter| limiter.connection == connection);
        Some(Self {
            per_minute: target.per_minute.map(u32::from),
            blocked_until: known.and_then(|limiter| limiter.blocked_until),
            next_slot_at: known.and_then(|limiter| limiter.next_at),
            connection,
        })
    }
}

impl BacklogView {
    fn of(api: &Api, name: &str, backlog: Option<&Backlog>) -> Self {
        let pending = backlog.map_or(0, |backlog| backlog.pending);
        let is_more = backlog.is_some_and(|backlog| backlog.is_more);
        let counts = BTreeMap::from([(name.to_owned(), pending)]);
        Self {
            pending,
            is_more,
            oldest_seconds: backlog.and_then(|backlog| backlog.oldest).map(|oldest| oldest.waited.as_secs()),
            seconds_to_drain: seconds_for(&api.destinations, &counts),
        }
    }
}
