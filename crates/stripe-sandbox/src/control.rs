//! The control API for other processes: JSON below `/_sandbox/`.
//!
//! A write requires `Content-Type: application/json`, or is a `PUT` or `DELETE`. A page of another origin in
//! the same browser can send neither without a preflight.

use crate::api_error::ApiError;
use crate::deliveries::Stage;
use crate::delivery_faults::{DeliveryFault, DeliveryRule};
use crate::faults::{Fault, FaultRule};
use crate::handle::SandboxHandle;
use crate::keys::ApiKey;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The routes of the control API.
pub fn router(handle: SandboxHandle) -> Router {
    Router::new()
        .route("/_sandbox/stats", get(stats))
        .route("/_sandbox/wait", get(wait))
        .route("/_sandbox/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/_sandbox/delivery_faults", get(delivery_faults).post(add_delivery_fault))
        .route("/_sandbox/delivery_faults", delete(clear_delivery_faults))
        .route("/_sandbox/requests", get(requests).delete(clear_requests))
        .route("/_sandbox/keys", post(add_key))
        .route("/_sandbox/keys/{key}", delete(revoke_key))
        .route("/_sandbox/clock", get(clock).put(set_clock))
        .route("/_sandbox/events", post(publish))
        .route("/_sandbox/sales", post(sell))
        .route("/_sandbox/objects", put(put_object))
        .route("/_sandbox/objects/{id}", delete(delete_object))
        .route("/_sandbox/endpoints", get(endpoints))
        .route("/_sandbox/endpoints/{id}", put(change_endpoint))
        .route("/_sandbox/deliveries", get(deliveries))
        .route("/_sandbox/deliveries/retry", put(retry))
        .route("/_sandbox/account", put(change_account))
        .with_state(handle)
}

type Answer = Result<Json<Value>, Problem>;

/// An error response of the control API.
struct Problem(ApiError);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.respond(&self.0.body("control", false, ""))
    }
}

async fn stats(State(sandbox): State<SandboxHandle>) -> Json<Value> {
    Json(counts(&sandbox))
}

#[derive(Deserialize)]
struct Awaited {
    #[serde(default)]
    events: usize,
    #[serde(default)]
    requests: u64,
    #[serde(default)]
    succeeded: usize,
    #[serde(default = "default_timeout_ms")]
    timeout_ms: u64,
}

const WAIT_MS_MAX: u64 = 60_000;

fn default_timeout_ms() -> u64 {
    10_000
}

async fn wait(State(sandbox): State<SandboxHandle>, Query(awaited): Query<Awaited>) -> Response {
    let deadline = Duration::from_millis(awaited.timeout_ms.min(WAIT_MS_MAX));
    let reached = sandbox.until(|sandbox| {
        let succeeded = |delivery: &&crate::Delivery| delivery.stage == Stage::Succeeded;
        sandbox.request_count() >= awaited.requests
            && sandbox.event_count() >= awaited.events
            && sandbox.deliveries().iter().filter(succeeded).count() >= awaited.succeeded
    });
    let status = match tokio::time::timeout(deadline, reached).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    };
    (status, Json(counts(&sandbox))).into_response()
}

fn counts(sandbox: &SandboxHandle) -> Value {
    let deliveries = sandbox.deliveries();
    let count = |stage| deliveries.iter().filter(|delivery| delivery.stage == stage).count();
    json!({
        "now": sandbox.now(),
        "events": sandbox.event_count(),
        "requests": sandbox.request_count(),
        "peak_concurrency": sandbox.peak_concurrency(),
        "deliveries": {
            "waiting": count(Stage::Waiting) + count(Stage::Sending),
            "succeeded": count(Stage::Succeeded),
            "failed": count(Stage::Failed),
            "dropped": count(Stage::Dropped),
            "lost": count(Stage::Lost),
        },
    })
}

async fn faults(State(sandbox): State<SandboxHandle>) -> Json<Vec<FaultRule>> {
    Json(sandbox.faults())
}

async fn add_fault(State(sandbox): State<SandboxHandle>, Json(rule): Json<Value>) -> Answer {
    // The fault is also read alone: for an unknown name, a tagged enum has a clearer error outside of a
    // flattened struct.
    serde_json::from_value::<Fault>(rule.clone()).map_err(|error| bad(&error))?;
    let rule: FaultRule = serde_json::from_value(rule).map_err(|error| bad(&error))?;
    sandbox.fault(rule).map_err(|error| bad(&error))?;
    Ok(Json(json!(sandbox.faults())))
}

async fn clear_faults(State(sandbox): State<SandboxHandle>) -> StatusCode {
    sandbox.clear_faults();
    StatusCode::NO_CONTENT
}

async fn delivery_faults(State(sandbox): State<SandboxHandle>) -> Json<Vec<DeliveryRule>> {
    Json(sandbox.delivery_faults())
}

async fn add_delivery_fault(State(sandbox): State<SandboxHandle>, Json(rule): Json<Value>) -> Answer {
    serde_json::from_value::<DeliveryFault>(rule.clone()).map_err(|error| bad(&error))?;
    let rule: DeliveryRule = serde_json::from_value(rule).map_err(|error| bad(&error))?;
    if !sandbox.delivery_fault(rule) {
        let message = "the probability must be from 0 to 1, and there may be at most 1,000 rules";
        return Err(Problem(ApiError::new(400, message)));
    }
    Ok(Json(json!(sandbox.delivery_faults())))
}

async fn clear_delivery_faults(State(sandbox): State<SandboxHandle>) -> StatusCode {
    sandbox.clear_delivery_faults();
    StatusCode::NO_CONTENT
}

async fn requests(State(sandbox): State<SandboxHandle>) -> Json<Value> {
    Json(json!(sandbox.requests()))
}

async fn clear_requests(State(sandbox): State<SandboxHandle>) -> StatusCode {
    sandbox.clear_requests();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct NewKey {
    key: String,
    permissions: Option<Vec<String>>,
    account: Option<String>,
}

async fn add_key(State(sandbox): State<SandboxHandle>, Json(new): Json<NewKey>) -> StatusCode {
    let key = match new.permissions {
        Some(permissions) => ApiKey::restricted(&new.key, &permissions),
        None => ApiKey::secret(&new.key),
    };
    sandbox.add_key(match new.account {
        Some(account) => key.of_account(&account),
        None => key,
    });
    StatusCode::NO_CONTENT
}

async fn revoke_key(
    State(sandbox): State<SandboxHandle>,
    Path(key): Path<String>,
) -> Result<StatusCode, Problem> {
    found(sandbox.revoke_key(&key), "key", "")
}

async fn clock(State(sandbox): State<SandboxHandle>) -> Json<Value> {
    Json(json!({ "now": sandbox.now() }))
}

#[derive(Deserialize)]
struct NewClock {
    speed: Option<f64>,
    advance_seconds: Option<u64>,
    skew_seconds: Option<i64>,
}

const ADVANCE_SECONDS_MAX: u64 = 366 * 86_400;

async fn set_clock(State(sandbox): State<SandboxHandle>, Json(new): Json<NewClock>) -> Json<Value> {
    if let Some(speed) = new.speed {
        sandbox.set_speed(speed);
    }
    if let Some(seconds) = new.skew_seconds {
        sandbox.set_skew(seconds);
    }
    if let Some(seconds) = new.advance_seconds {
        sandbox.advance(Duration::from_secs(seconds.min(ADVANCE_SECONDS_MAX)));
    }
    clock(State(sandbox)).await
}

async fn publish(State(sandbox): State<SandboxHandle>, Json(event): Json<Value>) -> Answer {
    if event.get("type").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(Problem(ApiError::new(400, "an event has a type and data.object")));
    }
    Ok(Json(json!({ "id": sandbox.publish(&event) })))
}

async fn sell(State(sandbox): State<SandboxHandle>, Json(_): Json<Value>) -> Result<StatusCode, Problem> {
    found(sandbox.sell(), "shop", "")
}

async fn put_object(
    State(sandbox): State<SandboxHandle>,
    Json(object): Json<Value>,
) -> Result<StatusCode, Problem> {
    if sandbox.put_object(object) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem(ApiError::new(400, "an object has an object and an id")))
    }
}

async fn delete_object(
    State(sandbox): State<SandboxHandle>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    found(sandbox.delete_object(&id), "object", &id)
}

async fn endpoints(State(sandbox): State<SandboxHandle>) -> Json<Value> {
    let endpoints = sandbox.endpoints();
    let show = |endpoint: &crate::Endpoint| {
        json!({
            "id": endpoint.id,
            "payload": endpoint.payload.name(),
            "url": endpoint.url,
            "status": endpoint.status(),
            "enabled_events": endpoint.enabled_events,
            "api_version": endpoint.api_version,
            "secret": endpoint.newest_secret(),
        })
    };
    Json(endpoints.iter().map(show).collect())
}

#[derive(Deserialize)]
struct EndpointChange {
    enabled: Option<bool>,
    api_version: Option<String>,
    rotate_secret_seconds: Option<u64>,
}

async fn change_endpoint(
    State(sandbox): State<SandboxHandle>,
    Path(id): Path<String>,
    Json(change): Json<EndpointChange>,
) -> Answer {
    let Some(mut secret) = sandbox.secret_of(&id) else {
        return Err(Problem(ApiError::missing("endpoint", &id)));
    };
    match change.enabled {
        Some(true) => drop(sandbox.enable_endpoint(&id)),
        Some(false) => drop(sandbox.disable_endpoint(&id)),
        None => {}
    }
    if let Some(version) = change.api_version {
        sandbox.set_api_version(&id, &version);
    }
    if let Some(seconds) = change.rotate_secret_seconds {
        secret = sandbox.rotate_secret(&id, Duration::from_secs(seconds)).unwrap_or(secret);
    }
    Ok(Json(json!({ "id": id, "secret": secret })))
}

async fn deliveries(State(sandbox): State<SandboxHandle>) -> Json<Value> {
    Json(json!(sandbox.deliveries()))
}

async fn retry(State(sandbox): State<SandboxHandle>) -> StatusCode {
    sandbox.retry_now();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct AccountChange {
    api_version: Option<String>,
    deliver_to: Option<String>,
}

async fn change_account(
    State(sandbox): State<SandboxHandle>,
    Json(change): Json<AccountChange>,
) -> StatusCode {
    if let Some(version) = change.api_version {
        sandbox.set_account_version(&version);
    }
    if let Some(origin) = change.deliver_to {
        sandbox.set_deliver_to(Some(origin.as_str()).filter(|origin| !origin.is_empty()));
    }
    StatusCode::NO_CONTENT
}

fn found(exists: bool, what: &str, id: &str) -> Result<StatusCode, Problem> {
    if exists { Ok(StatusCode::NO_CONTENT) } else { Err(Problem(ApiError::missing(what, id))) }
}

fn bad(error: &dyn std::error::Error) -> Problem {
    Problem(ApiError::new(400, error.to_string()))
}
