//! `/api/v1/events`: the stored events.

use super::executions::Execution;
use super::extract::{self, NoQuery, Path, Query};
use super::paging::{FilterPrint, PageRequest, TimeWindow};
use super::{Api, NotRead, from_list, from_store};
use crate::domain::event::EventOrigin;
use crate::domain::execution::Status;
use crate::domain::humanize::time_in_words;
use crate::problem::{Problem, ProblemCode};
use crate::store::{EventFilter, EventRow, ExecutionFilter, LIMIT_MAX, RemovedPayload};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

/// A stored event.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// The service's number of the event. Other objects call it `event_key`.
    #[schema(example = 42)]
    pub id: i64,
    /// Its source.
    pub source: String,
    /// The sender's id of the event; unique within the source.
    pub event_id: String,
    /// Its type; empty if the sender gave none.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The id of the object that it is about; null if it names none.
    pub object_id: Option<String>,
    /// The kind of that object; null if it names none.
    pub object_type: Option<String>,
    /// The connected account concerned; null if it is the sender's own.
    pub account: Option<String>,
    /// Whether real money is concerned; null if the sender gave no mode.
    pub livemode: Option<bool>,
    /// The API version that shaped the body; null if the sender gave none.
    pub api_version: Option<String>,
    /// When it was created, according to its sender; null if the sender gave no time.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was received.
    pub received_at: DateTime<Utc>,
    /// How it came here.
    pub origin: Origin,
    /// The name of the secret that signed it, or of the API key that fetched it.
    #[schema(example = "secret-1")]
    pub verified_by: String,
}

/// How an event came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EventOrigin)]
pub enum Origin {
    /// Its sender posted it, signed.
    Webhook,
    /// It was fetched from its sender's API, so it has no signature.
    Api,
}

/// An event with its body and its executions.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventDetail {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// The body as JSON; null if it was removed.
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    pub payload: Option<Box<RawValue>>,
    /// When and why the body was removed; null while it is stored.
    pub payload_removal: Option<PayloadRemoval>,
    /// One execution for each subscribed destination.
    pub executions: Vec<Execution>,
}

/// The removal of an event's body. The event cannot be delivered again.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayloadRemoval {
    /// When it was removed.
    pub removed_at: DateTime<Utc>,
    /// Why it was removed.
    pub reason: PayloadRemovalReason,
}

/// Why the body of an event was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayloadRemovalReason {
    /// Its retention period ended.
    Retention,
    /// Its customer's data was erased.
    Erasure,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    /// The events, newest first.
    pub data: Vec<Event>,
    /// The cursor of the next (older) page; null on the last page.
    pub next_cursor: Option<String>,
    /// The time range that the list covers.
    pub window: TimeWindow,
}

/// Which events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Events of this source.
    source: Option<String>,
    /// Events of these types: patterns such as `invoice.*` and presets such as `@payments`,
    /// separated by commas.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Events about the object of this id.
    object_id: Option<String>,
    /// Events of this connected account.
    account: Option<String>,
    /// Live events, or test events.
    livemode: Option<bool>,
    /// Events with an execution in this state.
    status: Option<Status>,
    /// Events that were received at this time or later: a date, or a time as in RFC 3339.
    received_after: Option<String>,
    /// Events that were received before this time.
    received_before: Option<String>,
    /// The page size, at most 200; the default is 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page. It continues the time range of that page.
    cursor: Option<String>,
}

/// Lists events, newest first.
///
/// The filters `source`, `account`, `livemode` and `status` need a time range, unless `object_id` is given too:
/// at most 31 days, by default the last 30 days. Otherwise the list covers all time unless you give a range. The
/// answer states its range as `window`.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    operation_id = "list_events",
    tag = "events",
    params(EventQuery),
    responses(
        (status = 200, description = "A page of events", body = EventList),
        (status = 400, description = "A parameter cannot be read, or the time range is too long for the filter", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    print: FilterPrint,
    Query(query): Query<EventQuery>,
) -> Result<Json<EventList>, Problem> {
    let page = PageRequest::read(query.cursor.as_deref(), query.limit, print)?;
    let mut filter = EventFilter {
        key: None,
        source: query.source,
        types: extract::types(&api, query.event_type.as_deref())?,
        object_id: query.object_id,
        account: query.account,
        livemode: query.livemode,
        status: query.status.map(Status::as_str),
        received: extract::window(
            ("received_after", query.received_after.as_deref()),
            ("received_before", query.received_before.as_deref()),
        )?,
    };
    filter.received = page.window(&api, filter.received, filter.needs_time_range()).await?;
    let found = api.store.events.events(&filter, page.cursor, page.limit).await.map_err(from_list)?;
    Ok(Json(EventList {
        data: found.rows.into_iter().map(Event::from).collect(),
        next_cursor: page.next_in(found.next, filter.received),
        window: filter.received.into(),
    }))
}

/// Returns one event with its body and its executions.
///
/// If the body was removed, `payload` is null and `payload_removal` states when and why.
#[utoipa::path(
    get,
    path = "/api/v1/events/{id}",
    operation_id = "get_event",
    tag = "events",
    params(("id" = String, Path, description = "Our number of the event, or its id at the sender", example = "42")),
    responses(
        (status = 200, description = "The event", body = EventDetail),
        (status = 400, description = "The path cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such event", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<Json<EventDetail>, Problem> {
    let key = extract::event_key(&api, &id).await?.ok_or_else(missing)?;
    let event = api.store.events.event(key).await.map_err(from_store)?.ok_or_else(missing)?;
    let payload = api.store.events.payload(key).await.map_err(from_store)?.ok_or_else(missing)?;
    let removed = api.store.events.payload_removed(key).await.map_err(from_store)?;
    let payload = match &removed {
        None => Some(serde_json::from_slice(&payload.body).map_err(|_| Problem::internal())?),
        Some(_) => None,
    };
    let filter = ExecutionFilter { event: Some(key), ..ExecutionFilter::default() };
    let executions = api.store.reports.executions(&filter, None, LIMIT_MAX).await.map_err(from_list)?;
    Ok(Json(EventDetail {
        event: event.into(),
        payload,
        payload_removal: removed.as_ref().map(PayloadRemoval::from),
        executions: executions.rows.into_iter().map(|row| Execution::new(row, &api)).collect(),
    }))
}

/// Returns the body of an event, byte for byte as received.
///
/// The header `x-signature` and the secret that `x-verified-by` names allow the signature to be
/// verified again. An event that was fetched has the exact text of the answer and no `x-signature`;
/// `x-verified-by` is the name of the API key.
#[utoipa::path(
    get,
    path = "/api/v1/events/{id}/payload",
    operation_id = "get_event_payload",
    tag = "events",
    params(("id" = String, Path, description = "Our number of the event, or its id at the sender", example = "42")),
    responses(
        (
            status = 200, description = "The exact bytes", body = HashMap<String, serde_json::Value>, content_type = "application/json",
            headers(
                ("x-signature" = String, description = "The signature header that was received with it"),
                ("x-verified-by" = String, description = "The name of the secret that signed it"),
                ("content-disposition" = String, description = "A file name, for browsers"),
            ),
        ),
        (status = 400, description = "The path cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such event", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The body was removed", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn payload(
    State(api): State<Api>,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let key = extract::event_key(&api, &id).await?.ok_or_else(missing)?;
    if let Some(removed) = api.store.events.payload_removed(key).await.map_err(from_store)? {
        return Err(gone(&removed));
    }
    let payload = api.store.events.payload(key).await.map_err(from_store)?.ok_or_else(missing)?;
    // The service's number is a safe file name; the sender's id may not be.
    let file = format!("attachment; filename=\"event-{}.json\"", key.0);
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, file),
        (HeaderName::from_static("x-signature"), payload.signature),
        (HeaderName::from_static("x-verified-by"), payload.secret_name),
    ];
    let mut response = payload.body.into_response();
    // A fetched event has no signature.
    for (name, text) in headers.into_iter().filter(|(_, text)| !text.is_empty()) {
        // A received header fits into a header. Text that does not fit is left out.
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn gone(removed: &RemovedPayload) -> Problem {
    let why = match PayloadRemovalReason::of(removed) {
        PayloadRemovalReason::Erasure => "its customer's data was erased",
        PayloadRemovalReason::Retention => "its retention period ended",
    };
    Problem::new(
        StatusCode::GONE,
        ProblemCode::PayloadRemoved,
        "The payload was removed",
        format!("The body of this event was removed at {}: {why}.", time_in_words(removed.at)),
    )
}

fn missing() -> Problem {
    Problem::not_found("There is no event of this id.")
}

impl PayloadRemovalReason {
    fn of(removed: &RemovedPayload) -> Self {
        match removed.why.as_str() {
            "erasure" => Self::Erasure,
            _ => Self::Retention,
        }
    }
}

impl From<&RemovedPayload> for PayloadRemoval {
    fn from(removed: &RemovedPayload) -> Self {
        Self { removed_at: removed.at, reason: PayloadRemovalReason::of(removed) }
    }
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            source: row.source,
            event_id: row.event_id,
            event_type: row.event_type,
            object_id: row.object_id,
            object_type: row.object_type,
            account: row.account,
            livemode: row.livemode,
            api_version: row.api_version,
            created_at: row.created,
            received_at: row.received_at,
            origin: match EventOrigin::of_word(&row.origin) {
                EventOrigin::Webhook => Origin::Webhook,
                EventOrigin::Api => Origin::Api,
            },
            verified_by: row.secret_name,
        }
    }
}
