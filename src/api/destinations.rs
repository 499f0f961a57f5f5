//! `/api/v1/destinations`: how each instance stands, and holding and resuming it by hand.

use super::extract::{Json as Body, Path};
use super::{Api, NotDone, NotRead, from_store};
use crate::domain::audit::{self, Caller, HOLD_NOTE_MAX};
use crate::domain::destination_summary::seconds_for;
use crate::problem::Problem;
use crate::store::{Backlog, DestinationRow, LimiterRow};
use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tracing::info;
use utoipa::ToSchema;

/// How a destination instance stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct DestinationView {
    /// The instance.
    #[schema(example = "notion")]
    pub name: String,
    /// `working`, or `held`: nothing is delivered to it.
    #[schema(example = "working")]
    pub state: &'static str,
    /// Why it is held, and what to do; null while it is working.
    pub hold: Option<HoldView>,
    /// The rate that it keeps to; null where it keeps to none.
    pub limiter: Option<LimiterView>,
    /// What waits for it.
    pub backlog: BacklogView,
}

/// Why an instance is held.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldView {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The kind of trouble in a word; `manual` where a person holds it.
    #[schema(example = "unauthorized")]
    pub class: String,
    /// What happened, or the note of whoever holds it.
    pub reason: String,
    /// What to do.
    pub remedy: String,
    /// When it is looked at next whether it works again; null where that is not looked at, as where a
    /// person holds it.
    pub next_probe_at: Option<DateTime<Utc>>,
}

/// The rate of a connection, which all its instances and all replicas share.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimiterView {
    /// Names the connection: instances of one name share it.
    pub connection: String,
    /// Calls in a minute; null where there is no limit.
    #[schema(example = 170)]
    pub per_minute: Option<u32>,
    /// Until when the destination wants to be left alone; null where it does not.
    pub blocked_until: Option<DateTime<Utc>>,
    /// When the next call may begin; null where it may at once.
    pub next_slot_at: Option<DateTime<Utc>>,
}

/// What waits for an instance.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogView {
    /// Pending executions, due or not. Of each kind (fresh, late, suspect, in bulk) no more than
    /// 20,000 are counted.
    #[schema(example = 17)]
    pub pending: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// How many seconds ago the oldest of those counted was created; null where nothing waits.
    #[schema(example = 4)]
    pub oldest_seconds: Option<u64>,
    /// How long it takes at this rate, with one call for each; null where nobody can tell. Where there are
    /// more than were counted, it takes at least so long.
    #[schema(example = 6)]
    pub seconds_to_drain: Option<u64>,
}

/// All destination instances that are configured.
#[derive(Debug, Serialize, ToSchema)]
pub struct Destinations {
    /// The instances, by name.
    pub data: Vec<DestinationView>,
}

/// Why somebody holds an instance.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// For those who wonder why nothing is delivered: 1 to 500 characters.
    #[schema(example = "moving to another database", min_length = 1, max_length = 500)]
    note: String,
}

/// Lists the destination instances: what holds each, its rate, what waits for it.
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

/// Holds an instance by hand: nothing is delivered to it until a person resumes it.
///
/// What runs comes to its end, and what comes in waits and burns no attempts. No probe resumes it.
#[utoipa::path(
    post,
    path = "/api/v1/destinations/{name}/hold",
    operation_id = "hold_destination",
    tag = "destinations",
    params(("name" = String, Path, description = "The instance", example = "notion")),
    request_body = HoldRequest,
    responses(
        (status = 200, description = "It is held", body = DestinationView),
        (status = 400, description = "The body cannot be read, or the note is too long or empty", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such instance is configured", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn hold(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Body(request): Body<HoldRequest>,
) -> Result<Json<DestinationView>, Problem> {
    let name = configured(&api, name)?;
    let note = audit::note(&request.note, HOLD_NOTE_MAX).ok_or_else(|| {
        Problem::bad_request(format!("note: must have 1 to {HOLD_NOTE_MAX} characters, not only blanks."))
    })?;
    api.store.destinations.pause_manually(&name, note, &caller).await.map_err(from_store)?;
    info!(instance = name, who = caller.name(), "held by hand");
    view(&api, name).await
}

/// Lets an instance go on, whatever it is held for. Where that was trouble and the trouble is still
/// there, the next delivery holds it again.
#[utoipa::path(
    post,
    path = "/api/v1/destinations/{name}/resume",
    operation_id = "resume_destination",
    tag = "destinations",
    params(("name" = String, Path, description = "The instance", example = "notion")),
    responses(
        (status = 200, description = "It goes on; it may not have been held", body = DestinationView),
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
        info!(instance = name, who = caller.name(), "resumed by hand");
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
    let backlog_of = |name: &str| backlogs.iter().find(|backlog| backlog.destination == name);
    Ok(rows
        .into_iter()
        .map(|row| DestinationView {
            state: if row.pause.is_some() { "held" } else { "working" },
            limiter: LimiterView::of(api, &row.name, &limiters),
            backlog: BacklogView::of(api, &row.name, backlog_of(&row.name)),
            hold: HoldView::of(&row),
            name: row.name,
        })
        .collect())
}

impl HoldView {
    fn of(row: &DestinationRow) -> Option<Self> {
        let held = row.pause.as_ref()?;
        Some(Self {
            since: held.since,
            class: held.pause.class.clone(),
            reason: held.pause.reason.clone(),
            remedy: held.pause.remedy.clone(),
            next_probe_at: row.probe_at,
        })
    }
}

impl LimiterView {
    fn of(api: &Api, name: &str, limiters: &[LimiterRow]) -> Option<Self> {
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
            oldest_seconds: backlog.and_then(|backlog| backlog.oldest).map(|age| age.as_secs()),
            seconds_to_drain: seconds_for(&api.destinations, &counts),
        }
    }
}
