//! Many at once: `POST /api/v1/executions/retry` and `POST /api/v1/events/replay`.
//!
//! Each call looks at a page of what the filter finds, newest first, and answers where to go on. So no
//! call takes long, and whoever stops half-way goes on there.

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

/// How many rows a call looks at where nothing is said.
const ROWS_DEFAULT: u32 = 1000;

/// The most rows that a call looks at.
const ROWS_MAX: u32 = 5000;

/// The longest note, in characters.
const NOTE_CHARACTERS_MAX: usize = 500;

/// A dry run looks at page after page; after this time it begins no further one.
const DRY_RUN_LONG: Duration = Duration::from_secs(5);

/// What a call did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bulk {
    /// Whether nothing was changed: these are the counts of what would be, by all that the filter finds.
    pub dry_run: bool,
    /// Executions that are queued to be delivered.
    #[schema(example = 1000)]
    pub count: u64,
    /// Whether a dry run came to no end in its time: there may be more than it counted, and that takes
    /// longer than it says.
    #[schema(example = false)]
    pub at_least: bool,
    /// Those of them that were not there before.
    #[schema(example = 0)]
    pub created: u64,
    /// How long it takes to deliver these at the rate of their connections, one call for each; null
    /// where a destination has no rate or is not configured. Other work goes first.
    #[schema(example = 353)]
    pub seconds: Option<u64>,
    /// Ask with this cursor to go on; null when all were looked at.
    pub next_cursor: Option<String>,
}

/// Which executions to retry.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RetryQuery {
    /// Executions in this state: failed where nothing is said; also pending, success, skipped or cancelled.
    status: Option<String>,
    /// Executions of events of this source. Wants a window of time.
    source: Option<String>,
    /// Executions of events of these types: patterns and presets, separated by commas. Wants a window
    /// of time.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Executions of this event: our number of it, or the sender's id.
    event: Option<String>,
    /// Executions of this destination instance. Wants a window of time.
    destination: Option<String>,
    /// Executions whose last failure was of this class, such as `validation_error`. Wants a window of time.
    error_class: Option<String>,
    /// Failed executions of this group of failures.
    failure: Option<String>,
    /// Executions that were created at this time or later: a date, or a time as in RFC 3339.
    created_after: Option<String>,
    /// Executions that were created before this time.
    created_before: Option<String>,
    /// Change nothing, and tell what would be done.
    dry_run: Option<bool>,
    /// For the audit: at most 500 characters.
    note: Option<String>,
    /// How many executions to look at, at most 5000; 1000 where nothing is said. A dry run looks at all of
    /// them, as far as it comes in a few seconds.
    #[param(minimum = 1, maximum = 5000)]
    limit: Option<u32>,
    /// `next_cursor` of the call before.
    cursor: Option<String>,
}

/// Which events to replay.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReplayQuery {
    /// Events of this source. Wants a window of time.
    source: Option<String>,
    /// Events of these types: patterns and presets, separated by commas.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Events about the object of this id, such as `in_…`.
    object_id: Option<String>,
    /// Events of this connected account (`acct_…`). Wants a window of time, or an object.
    account: Option<String>,
    /// Events of real money, or of none. Wants a window of time, or an object.
    livemode: Option<bool>,
    /// Events with an execution in this state. Wants a window of time, or an object.
    status: Option<String>,
    /// Events that were received at this time or later: a date, or a time as in RFC 3339.
    received_after: Option<String>,
    /// Events that were received before this time.
    received_before: Option<String>,
    /// To this destination instance alone.
    destination: Option<String>,
    /// Change nothing, and tell what would be done.
    dry_run: Option<bool>,
    /// For the audit: at most 500 characters.
    note: Option<String>,
    /// How many events to look at, at most 5000; 1000 where nothing is said. A dry run looks at all of
    /// them, as far as it comes in a few seconds.
    #[param(minimum = 1, maximum = 5000)]
    limit: Option<u32>,
    /// `next_cursor` of the call before.
    cursor: Option<String>,
}

/// Tries many executions again, by the filters of the list.
///
/// A call looks at a page of them, newest first; ask again with `next_cursor` for the others. They go
/// behind what comes in meanwhile. What runs is left alone.
#[utoipa::path(
    post,
    path = "/api/v1/executions/retry",
    operation_id = "retry_executions",
    tag = "executions",
    params(RetryQuery),
    responses(
        (status = 200, description = "What was queued, or would be", body = Bulk),
        (status = 400, description = "A parameter cannot be read, a window of time is wanted, or no execution of this state can be retried", body = Problem, content_type = "application/problem+json"),
        NotDone,
    ),
)]
pub(super) async fn retry(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<RetryQuery>,
) -> Result<Json<Bulk>, Problem> {
    let status = extract::status(query.status.as_deref())?.unwrap_or(Status::Failed.as_str());
    if !Change::Retry.allowed_from().iter().any(|allowed| allowed.as_str() == status) {
        return Err(Problem::bad_request(format!("status: what is {status} cannot be retried.")));
    }
    let dry_run = query.dry_run.unwrap_or_default();
    let (cursor, limit) = page(query.cursor.as_deref(), query.limit, dry_run)?;
    let detail = detail(
        query.note.as_deref(),
        json!({"status": status, "source": query.source, "type": query.event_type, "event": query.event,
               "destination": query.destination, "error_class": query.error_class, "failure": query.failure,
               "created_after": query.created_after, "created_before": query.created_before}),
    )?;
    let event = match &query.event {
        None => None,
        Some(event) => match extract::event_key(&api, event).await? {
            Some(key) => Some(key),
            // What is not there has no executions.
            None => return Ok(Tally::begin(None).told(&api, dry_run)),
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
    let mut tally = Tally::begin(cursor);
    loop {
        let page = api.store.reports.executions(&filter, tally.next, limit).await.map_err(from_list)?;
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
                "retried many by hand"
            );
            api.notifier.notify();
            tally.add(done.counts, 0, page.next);
            return Ok(tally.told(&api, dry_run));
        }
        let would = api.store.interventions.would_bulk_retry(&ids, status).await.map_err(from_store)?;
        tally.add(would.counts, 0, page.next);
        if tally.is_enough() {
            return Ok(tally.told(&api, dry_run));
        }
    }
}

/// Delivers many events again, by the filters of the list, to the destinations that want them now.
///
/// Where there was no execution, one is made; one that came to an end is queued again. What runs or
/// waits, what is superseded and what a person cancelled is left as it is. What was delivered before
/// is updated and never written a second time, and no older state of an object takes the place of a
/// newer one.
///
/// A call looks at a page of events, newest first; ask again with `next_cursor` for the others. Their
/// executions go behind what comes in meanwhile.
#[utoipa::path(
    post,
    path = "/api/v1/events/replay",
    operation_id = "replay_events",
    tag = "events",
    params(ReplayQuery),
    responses(
        (status = 200, description = "What was queued, or would be", body = Bulk),
        (status = 400, description = "A parameter cannot be read, a window of time is wanted, or no such destination is configured", body = Problem, content_type = "application/problem+json"),
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
    let dry_run = query.dry_run.unwrap_or_default();
    let (cursor, limit) = page(query.cursor.as_deref(), query.limit, dry_run)?;
    let detail = detail(
        query.note.as_deref(),
        json!({"source": query.source, "type": query.event_type, "object_id": query.object_id,
               "account": query.account, "livemode": query.livemode, "status": query.status,
               "received_after": query.received_after, "received_before": query.received_before,
               "destination": query.destination}),
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
    let mut tally = Tally::begin(cursor);
    loop {
        let page = api.store.events.events(&filter, tally.next, limit).await.map_err(from_list)?;
        let wanted: Vec<_> =
            page.rows.iter().flat_map(|row| wanted_now(&api, row, query.destination.as_deref())).collect();
        if !dry_run {
            let done = api.store.interventions.replay(&wanted, &detail, &caller).await.map_err(from_store)?;
            info!(executions = done.all().values().sum::<u64>(), who = caller.name(), "replayed by hand");
            api.notifier.notify();
            tally.add(done.all(), done.created.values().sum(), page.next);
            return Ok(tally.told(&api, dry_run));
        }
        let would = api.store.interventions.would_replay(&wanted).await.map_err(from_store)?;
        tally.add(would.all(), would.created.values().sum(), page.next);
        if tally.is_enough() {
            return Ok(tally.told(&api, dry_run));
        }
    }
}

/// The executions that the configured instances want of an event now.
fn wanted_now(api: &Api, row: &EventRow, only: Option<&str>) -> Vec<(EventKey, NewExecution)> {
    let facts = row.facts();
    wanted_of(&api.destinations, only, &row.source, &facts)
        .map(|execution| (EventKey(row.id), execution))
        .collect()
}

/// What the pages of a call came to.
struct Tally {
    began: Instant,
    counts: Counts,
    created: u64,
    next: Option<Cursor>,
}

impl Tally {
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

    fn told(self, api: &Api, dry_run: bool) -> Json<Bulk> {
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

/// Where a call begins, and how many rows it looks at together. A dry run goes on to further pages.
fn page(cursor: Option<&str>, limit: Option<u32>, dry_run: bool) -> Result<(Option<Cursor>, u32), Problem> {
    let (cursor, _) = extract::paging(cursor, None)?;
    match limit.unwrap_or(ROWS_DEFAULT) {
        1..=ROWS_MAX if dry_run => Ok((cursor, ROWS_MAX)),
        limit @ 1..=ROWS_MAX => Ok((cursor, limit)),
        other => Err(Problem::bad_request(format!("limit: must be from 1 to {ROWS_MAX}, not {other}."))),
    }
}

/// What the audit says: the filter, as far as there is one, and the note.
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
