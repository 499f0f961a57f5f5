//! `/api/v1/events`: the stored events.

use super::executions::ExecutionView;
use super::extract::{self, Path, Query};
use super::{Api, NotRead, from_list, from_store};
use crate::problem::Problem;
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
pub struct EventView {
    /// The service's number of the event.
    #[schema(example = 42)]
    pub id: i64,
    /// Its source.
    pub source: String,
    /// The sender's id of the event; unique within the source.
    pub event_id: String,
    /// Its type; empty if the sender gave none.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The id of the object that it is about.
    pub object_id: Option<String>,
    /// The kind of that object.
    pub object_type: Option<String>,
    /// The connected account concerned.
    pub account: Option<String>,
    /// Whether real money is concerned.
    pub livemode: Option<bool>,
    /// The API version that shaped the body.
    pub api_version: Option<String>,
    /// When it happened, according to the sender.
    pub created: Option<DateTime<Utc>>,
    /// When it was received.
    pub received_at: DateTime<Utc>,
    /// The name of the secret that signed it.
    #[schema(example = "secret-1")]
    pub verified_by: String,
}

/// An event with its body and its executions.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventDetail {
    /// The event.
    #[serde(flatten)]
    pub event: EventView,
    /// The body as JSON; null if it was removed.
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Box<RawValue>>,
    /// When and why the body was removed; null while it is stored.
    pub payload_removed: Option<PayloadRemoved>,
    /// One execution for each subscribed destination.
    pub executions: Vec<ExecutionView>,
}

/// The removal of an event's body. The event cannot be delivered again.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayloadRemoved {
    /// When it was removed.
    pub at: DateTime<Utc>,
    /// `retention`: its retention period ended; `erasure`: its customer's data was erased.
    #[schema(example = "retention")]
    pub why: String,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    /// The events, newest first.
    pub data: Vec<EventView>,
    /// The cursor of the next (older) page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Which events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Events of this source. Requires a time range.
    source: Option<String>,
    /// Events of these types: patterns such as `invoice.*` and presets such as `@payments`,
    /// separated by commas.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Events about the object of this id.
    object_id: Option<String>,
    /// Events of this connected account. Requires a time range or an object.
    account: Option<String>,
    /// Live events, or test events. Requires a time range or an object.
    livemode: Option<bool>,
    /// Events with an execution in this state: pending, running, success, failed, skipped, superseded
    /// or cancelled. Requires a time range or an object.
    status: Option<String>,
    /// Events that were received at this time or later: a date, or a time as in RFC 3339.
    received_after: Option<String>,
    /// Events that were received before this time.
    received_before: Option<String>,
    /// The page size, at most 200; the default is 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Lists events, newest first.
///
/// A filter that requires a time range accepts at most 31 days: `received_after` and, if that is
/// longer ago, `received_before`.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    operation_id = "list_events",
    tag = "events",
    params(EventQuery),
    responses(
        (status = 200, description = "A page of events", body = Events),
        (status = 400, description = "A parameter cannot be read, or a time range is required", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<EventQuery>,
) -> Result<Json<Events>, Problem> {
    let (cursor, limit) = extract::paging(query.cursor.as_deref(), query.limit)?;
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
    let page = api.store.events.events(&filter, cursor, limit).await.map_err(from_list)?;
    Ok(Json(Events {
        data: page.rows.into_iter().map(EventView::from).collect(),
        next_cursor: page.next.map(crate::store::Cursor::encode),
    }))
}

/// Returns one event with its body and its executions.
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
        payload_removed: removed.map(|removed| PayloadRemoved { at: removed.at, why: removed.why }),
        executions: executions.rows.into_iter().map(|row| ExecutionView::new(row, &api)).collect(),
    }))
}

/// Returns the body of an event, byte for byte as received.
///
/// The header `x-signature` and the secret that `x-verified-by` names allow the signature to be
/// verified again.
#[utoipa::path(
    get,
    path = "/api/v1/events/{id}/payload",
    operation_id = "get_event_payload",
    tag = "events",
    params(("id" = String, Path, description = "Our number of the event, or its id at the sender", example = "42")),
    responses(
        (
            status = 200, description = "The exact bytes", body = Object, content_type = "application/json",
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
pub(super) async fn payload(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
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
    for (name, text) in headers {
        // A received header fits into a header. Text that does not fit is left out.
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn gone(removed: &RemovedPayload) -> Problem {
    let why = match removed.why.as_str() {
        "erasure" => "its customer's data was erased",
        _ => "its retention period ended",
    };
    Problem::new(
        StatusCode::GONE,
        "payload_removed",
        "The payload was removed",
        format!("The body of this event was removed at {}: {why}.", removed.at.to_rfc3339()),
    )
}

fn missing() -> Problem {
    Problem::not_found("There is no event of this id.")
}

impl From<EventRow> for EventView {
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
            created: row.created,
            received_at: row.received_at,
            verified_by: row.secret_name,
        }
    }
}
