//! Bulk operations: `POST /api/v1/executions/retry` and `POST /api/v1/events/replay`.
//!
//! Each call processes a page of the matches, newest first, and returns the cursor of the next page. So
//! calls are short, and a client that stops can continue later. A call without a filter must say `all=true`: a
//! forgotten or misspelt variable must not select everything.

use super::extract::{self, Query};
use super::{Api, NotDone, from_list, from_store};
use crate::domain::audit::Caller;
use crate::domain::destination_summary::{seconds_for, wanted_of};
use crate::domain::event::EventKey;
use crate::domain::execution::{Change, ExecutionId, NewExecution, Status};
use crate::problem::Problem;
use crate::store::{Counts, Cursor, EventFilter, EventRow, ExecutionFilter};
use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

/// The default number of rows per call.
const ROWS_DEFAULT: u32 = 1000;

/// The most rows per call.
const ROWS_MAX: u32 = 5000;

/// The longest note, in characters.
const NOTE_CHARACTERS_MAX: usize = 500;

/// A dry run reads page after page, and begins none after this time.
const DRY_RUN_LONG: Duration = Duration::from_secs(5);

/// What a call did; for a dry run, what it would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bulk {
    /// Whether nothing was changed. The counts then show what the call would do for all matches.
    pub dry_run: bool,
    /// The executions that were queued.
    #[schema(example = 1000)]
    pub count: u64,
    /// Whether a dry run stopped at its time limit. Then there may be more than it counted, and they take
    /// longer.
    #[schema(example = false)]
    pub at_least: bool,
    /// The executions among them that were created.
    #[schema(example = 0)]
    pub created: u64,
    /// How many seconds their delivery takes at the rates of their connections, with one call per execution;
    /// null if a destination has no rate or is not configured. Other work has priority.
    #[schema(example = 353)]
    pub seconds: Option<u64>,
    /// The cursor of the next page; null after the last page.
    pub next_cursor: Option<String>,
}

/// Which executions to retry.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RetryQuery {
    /// Executions in this state: failed (the default), pending, success, skipped or cancelled.
    status: Option<String>,
    /// Executions of events of this source. Requires a time range.
    source: Option<String>,
    /// Executions of events of these types: patterns and presets, separated by commas. Requires a time
    /// range.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Executions of this event: our number of it, or the sender's id.
    event: Option<String>,
    /// Executions of this destination instance. Requires a time range.
    destination: Option<String>,
    /// Executions whose last failure has this class, such as `validation_error`. Requires a time range.
    error_class: Option<String>,
    /// Failed executions of this failure group.
    failure: Option<String>,
    /// Executions that were created at this time or later: a date, or a time as in RFC 3339.
    created_after: Option<String>,
    /// Executions that were created before this time.
    created_before: Option<String>,
    /// Required if there is no filter: every failed execution.
    all: Option<bool>,
    /// Change nothing; return what would be done.
    dry_run: Option<bool>,
    /// A note for the audit log: at most 500 characters.
    note: Option<String>,
    /// The number of executions to process, at most 5000; the default is 1000. A dry run reads all matches
    /// that it can read in a few seconds.
    #[param(minimum = 1, maximum = 5000)]
    limit: Option<u32>,
    /// `next_cursor` of the previous call.
    cursor: Option<String>,
}

/// Which events to replay.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReplayQuery {
    /// Events of this source. Requires a time range.
    source: Option<String>,
    /// Events of these types: patterns and presets, separated by commas.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Events about the object of this id.
    object_id: Option<String>,
    /// Events of this connected account. Requires a time range or an object.
    account: Option<String>,
    /// Live events, or test events. Requires a time range or an object.
    livemode: Option<bool>,
    /// Events with an execution in this state. Requires a time range or an object.
    status: Option<String>,
    /// Events that were received at this time or later: a date, or a time as in RFC 3339.
    received_after: Option<String>,
    /// Events that were received before this time.
    received_before: Option<String>,
    /// Deliver only to this destination instance. This is no filter of events.
    destination: Option<String>,
    /// Required if there is no filter: every event.
    all: Option<bool>,
    /// Change nothing; return what would be done.
    dry_run: Option<bool>,
    /// A note for the audit log: at most 500 characters.
    note: Option<String>,
    /// The number of events to process, at most 5000; the default is 1000. A dry run reads all matches
    /// that it can read in a few seconds.
    #[param(minimum = 1, maximum = 5000)]
    limit: Option<u32>,
    /// `next_cursor` of the previous call.
    cursor: Option<String>,
}

/// Retries the executions that match a filter; with `all=true` and no filter, all failed ones.
///
/// A call processes one page, newest first; call again with `next_cursor` for the next one. The
/// executions are delivered after new events. Running executions are not changed.
#[utoipa::path(
    post,
    path = "/api/v1/executions/retry",
    operation_id = "retry_executions",
    tag = "executions",
    params(RetryQuery),
    responses(
        (status = 200, description = "The queued executions; for a dry run, those that would be queued", body = Bulk),
        (status = 400, description = "A parameter cannot be read, a filter or a time range is required, or no execution of this state can be retried", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn retry(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<RetryQuery>,
) -> Result<Json<Bulk>, Problem> {
    require_filter(
        query.all,
        &[
            ("status", query.status.is_some()),
            ("source", query.source.is_some()),
            ("type", query.event_type.is_some()),
            ("event", query.event.is_some()),
            ("destination", query.destination.is_some()),
            ("error_class", query.error_class.is_some()),
            ("failure", query.failure.is_some()),
            ("created_after", query.created_after.is_some()),
            ("created_before", query.created_before.is_some()),
        ],
    )?;
    let status = extract::status(query.status.as_deref())?.unwrap_or(Status::Failed.as_str());
    if !Change::Retry.allowed_from().iter().any(|allowed| allowed.as_str() == status) {
        return Err(Problem::bad_request(format!("status: {status} executions cannot be retried.")));
    }
    let dry_run = query.dry_run.unwrap_or_default();
    let (cursor, limit) = page(query.cursor.as_deref(), query.limit, dry_run)?;
    let detail = detail(
        query.note.as_deref(),
        json!({"status": status, "source": query.source, "type": query.event_type, "event": query.event,
               "destination": query.destination, "error_class": query.error_class, "failure": query.failure,
               "created_after": query.created_after, "created_before": query.created_before,
               "all": query.all}),
    )?;
    let event = match &query.event {
        None => None,
        Some(event) => match extract::event_key(&api, event).await? {
            Some(key) => Some(key),
            // A missing event has no executions.
            None => return Ok(Totals::begin(None).response(&api, dry_run)),
        },
    };
    let filter = ExecutionFilter {
        source: query.source,
        types: extract::types(&api, query.event_type.as_deref())?,
        status: Some(status),
        event,
        destination: query.destination,
        error_class: query.error_class,
        failure_group: query.failure,
        created: extract::window(
            ("created_after", query.created_after.as_deref()),
            ("created_before", query.created_before.as_deref()),
        )?,
    };
    let mut totals = Totals::begin(cursor);
    loop {
        let page = api.store.reports.executions(&filter, totals.next, limit).await.map_err(from_list)?;
        let ids: Vec<_> = page.rows.iter().map(|row| ExecutionId(row.id)).collect();
        if !dry_run {
            let done = api
                .store
                .interventions
                .bulk_retry(&ids, status, &detail, &caller)
                .await
                .map_err(from_store)?;
            info!(
                executions = done.counts.values().sum::<u64>(),
                who = caller.name(),
                "executions retried in bulk"
            );
            api.notifier.notify();
            totals.add(done.counts, 0, page.next);
            return Ok(totals.response(&api, dry_run));
        }
        let would = api.store.interventions.would_bulk_retry(&ids, status).await.map_err(from_store)?;
        totals.add(would.counts, 0, page.next);
        if totals.is_enough() {
            return Ok(totals.response(&api, dry_run));
        }
    }
}

/// Delivers the events that match a filter again, to the destinations that subscribe to them now; with
/// `all=true` and no filter, every event.
///
/// A missing execution is created; a finished one is queued again. Executions that are running, pending,
/// superseded or cancelled are not changed. An object that was written before is updated, not written a
/// second time. An older state of an object never replaces a
/// newer one.
///
/// A call processes one page of events, newest first; call again with `next_cursor` for the next one.
/// The executions are delivered after new events.
#[utoipa::path(
    post,
    path = "/api/v1/events/replay",
    operation_id = "replay_events",
    tag = "events",
    params(ReplayQuery),
    responses(
        (status = 200, description = "The queued executions; for a dry run, those that would be queued", body = Bulk),
        (status = 400, description = "A parameter cannot be read, a filter or a time range is required, or no such destination is configured", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn replay(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ReplayQuery>,
) -> Result<Json<Bulk>, Problem> {
    if query.destination.as_ref().is_some_and(|name| !api.instances.contains(name)) {
        return Err(Problem::bad_request("destination: no instance of this name is configured."));
    }
    require_filter(
        query.all,
        &[
            ("source", query.source.is_some()),
            ("type", query.event_type.is_some()),
            ("object_id", query.object_id.is_some()),
            ("account", query.account.is_some()),
            ("livemode", query.livemode.is_some()),
            ("status", query.status.is_some()),
            ("received_after", query.received_after.is_some()),
            ("received_before", query.received_before.is_some()),
        ],
    )?;
    let dry_run = query.dry_run.unwrap_or_default();
    let (cursor, limit) = page(query.cursor.as_deref(), query.limit, dry_run)?;
    let detail = detail(
        query.note.as_deref(),
        json!({"source": query.source, "type": query.event_type, "object_id": query.object_id,
               "account": query.account, "livemode": query.livemode, "status": query.status,
               "received_after": query.received_after, "received_before": query.received_before,
               "destination": query.destination, "all": query.all}),
    )?;
    let filter = EventFilter {
        source: query.source,
        types: extract::types(&api, query.event_type.as_deref())?,
        object_id: query.object_id,
        account: query.account,
        livemode: query.livemode,
        status: extract::status(query.status.as_deref())?,
        received: extract::window(
            ("received_after", query.received_after.as_deref()),
            ("received_before", query.received_before.as_deref()),
        )?,
    };
    let mut totals = Totals::begin(cursor);
    loop {
        let page = api.store.events.events(&filter, totals.next, limit).await.map_err(from_list)?;
        let wanted: Vec<_> =
            page.rows.iter().flat_map(|row| wanted_now(&api, row, query.destination.as_deref())).collect();
        if !dry_run {
            let done = api.store.interventions.replay(&wanted, &detail, &caller).await.map_err(from_store)?;
            info!(
                executions = done.all().values().sum::<u64>(),
                who = caller.name(),
                "events replayed in bulk"
            );
            api.notifier.notify();
            totals.add(done.all(), done.created.values().sum(), page.next);
            return Ok(totals.response(&api, dry_run));
        }
        let would = api.store.interventions.would_replay(&wanted).await.map_err(from_store)?;
        totals.add(would.all(), would.created.values().sum(), page.next);
        if totals.is_enough() {
            return Ok(totals.response(&api, dry_run));
        }
    }
}

/// The executions of an event for the instances that subscribe to it now.
fn wanted_now(api: &Api, row: &EventRow, only: Option<&str>) -> Vec<(EventKey, NewExecution)> {
    let facts = row.facts();
    wanted_of(&api.destinations, only, &row.source, &facts)
        .map(|execution| (EventKey(row.id), execution))
        .collect()
}

/// The totals of a call's pages.
struct Totals {
    began: Instant,
    counts: Counts,
    created: u64,
    next: Option<Cursor>,
}

impl Totals {
    fn begin(cursor: Option<Cursor>) -> Self {
        Self { began: Instant::now(), counts: Counts::new(), created: 0, next: cursor }
    }

    fn add(&mut self, counts: Counts, created: u64, next: Option<Cursor>) {
        for (destination, count) in counts {
            *self.counts.entry(destination).or_default() += count;
        }
        self.created += created;
        self.next = next;
    }

    /// Whether a dry run ends here.
    fn is_enough(&self) -> bool {
        self.next.is_none() || self.began.elapsed() > DRY_RUN_LONG
    }

    fn response(self, api: &Api, dry_run: bool) -> Json<Bulk> {
        Json(Bulk {
            dry_run,
            count: self.counts.values().sum(),
            at_least: dry_run && self.next.is_some(),
            created: self.created,
            seconds: seconds_for(&api.destinations, &self.counts),
            next_cursor: self.next.map(Cursor::encode),
        })
    }
}

/// Fails if no filter is given and the caller did not ask for everything.
fn require_filter(all: Option<bool>, filters: &[(&str, bool)]) -> Result<(), Problem> {
    if all == Some(true) || filters.iter().any(|(_, is_given)| *is_given) {
        return Ok(());
    }
    let names: Vec<_> = filters.iter().map(|(name, _)| *name).collect();
    Err(Problem::bad_request(format!(
        "all: must be true if there is no filter. Add all=true to select everything, or one of: {}.",
        names.join(", ")
    )))
}

/// Where a call begins and how many rows it reads per page. A dry run continues with further pages.
fn page(cursor: Option<&str>, limit: Option<u32>, dry_run: bool) -> Result<(Option<Cursor>, u32), Problem> {
    let (cursor, _) = extract::paging(cursor, None)?;
    match limit.unwrap_or(ROWS_DEFAULT) {
        1..=ROWS_MAX if dry_run => Ok((cursor, ROWS_MAX)),
        limit @ 1..=ROWS_MAX => Ok((cursor, limit)),
        other => Err(Problem::bad_request(format!("limit: must be from 1 to {ROWS_MAX}, not {other}."))),
    }
}

/// The audit log's details: the filter, if there is one, and the note.
fn detail(note: Option<&str>, filter: Value) -> Result<Value, Problem> {
    if note.is_some_and(|note| note.chars().count() > NOTE_CHARACTERS_MAX) {
        return Err(Problem::bad_request(format!(
            "note: must have at most {NOTE_CHARACTERS_MAX} characters."
        )));
    }
    let given = match filter {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    };
    Ok(json!({"filter": given, "note": note}))
}
