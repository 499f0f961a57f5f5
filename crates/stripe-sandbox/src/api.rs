//! The handler of `/v1/` and `/v2/`: it checks the key and the account, applies the requested faults, and
//! answers the call with Stripe's headers.

use crate::api_error::ApiError;
use crate::calls::{Call, Caller};
use crate::cut_body::CutBody;
use crate::faults::Fault;
use crate::idempotency::Reply;
use crate::keys::{ApiKey, given_key};
use crate::params::Params;
use crate::shared::Shared;
use crate::state::State;
use crate::traffic::request_id;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use chrono::DateTime;
use sandbox_http::CutHandle;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Answers a request to the API.
pub async fn answer(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<CutHandle>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let key = given_key(&parts.headers);
    let running = Running::begin(&shared, &parts, key.as_deref(), &body);
    let outcome = perform(&shared, &parts, &body).await;
    let is_v2 = parts.uri.path().starts_with("/v2/");
    let mut response = match outcome {
        Outcome::Done(value) => Json(value).into_response(),
        Outcome::Replayed(status, value) => replayed(status, value),
        Outcome::Refused(error) => {
            let livemode = key.as_deref().is_some_and(|key| ApiKey::secret(key).is_live());
            let dashboard = format!(
                "https://dashboard.stripe.com/{}{}",
                shared.state().options.account,
                if livemode { "" } else { "/test" }
            );
            error.respond(&error.body(&running.request_id(), is_v2, &dashboard))
        }
        Outcome::Html(status) => edge_error(status),
        Outcome::Cut => {
            connection.cut();
            return StatusCode::BAD_GATEWAY.into_response();
        }
        Outcome::CutBody(value) => {
            let bytes = Bytes::from(value.to_string());
            let length = HeaderValue::from(bytes.len());
            let mut response = Body::new(CutBody::new(&bytes, connection)).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CONTENT_LENGTH, length);
            response
        }
    };
    add_headers(&shared, &parts.headers, &running, response.headers_mut());
    running.end(response.status().as_u16());
    response
}

/// How a request ends.
enum Outcome {
    Done(Value),
    Replayed(u16, Value),
    Refused(ApiError),
    Html(u16),
    Cut,
    CutBody(Value),
}

async fn perform(shared: &Arc<Shared>, parts: &Parts, body: &Bytes) -> Outcome {
    let caller = match authorize(&shared.state(), &parts.headers) {
        Ok(caller) => caller,
        Err(error) => return Outcome::Refused(error),
    };
    let drawn = shared.faults().draw(parts.uri.path());
    let outcome = match drawn.fault {
        Some(Fault::Timeout) => {
            shared.stopped.cancelled().await;
            Outcome::Cut
        }
        Some(Fault::Drop) => Outcome::Cut,
        Some(Fault::Html { status }) => Outcome::Html(status),
        Some(Fault::RateLimited { retry_after, should_retry }) => {
            Outcome::Refused(ApiError { retry_after, should_retry, ..ApiError::of_status(429) })
        }
        Some(Fault::Error { status, should_retry }) => {
            Outcome::Refused(ApiError { should_retry, ..ApiError::of_status(status) })
        }
        Some(Fault::ErrorAfterWrite { status }) => {
            execute(shared, parts, body, caller);
            Outcome::Refused(ApiError::of_status(status))
        }
        Some(Fault::DropBody) => match execute(shared, parts, body, caller) {
            Outcome::Done(value) => Outcome::CutBody(value),
            other => other,
        },
        Some(Fault::Slow { .. }) | None => execute(shared, parts, body, caller),
    };
    wait(shared, drawn.slow).await;
    outcome
}

fn execute(shared: &Arc<Shared>, parts: &Parts, body: &Bytes, caller: Caller) -> Outcome {
    let path = parts.uri.path();
    let is_v2 = path.starts_with("/v2/");
    let reads = parts.method == Method::GET;
    let json = match body.as_ref() {
        [] => Value::Null,
        bytes if is_v2 => match serde_json::from_slice(bytes) {
            Ok(json) => json,
            Err(_) => return Outcome::Refused(ApiError::new(400, "The request body is not valid JSON.")),
        },
        _ => Value::Null,
    };
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let params = Params::parse(if reads || is_v2 || body.is_empty() { query } else { body });
    let mut state = shared.state();
    let now = state.advance();
    let replay_key = replay_key(parts, &caller);
    if let Some(reply) = replay_key.as_deref().and_then(|key| state.replies.find(key)) {
        return if reply.request == body.as_ref() {
            Outcome::Replayed(reply.status, reply.body.clone())
        } else {
            let message = "Keys for idempotent requests can only be used with the same parameters they were \
                           first used with.";
            Outcome::Refused(ApiError { kind: "idempotency_error", ..ApiError::new(400, message) })
        };
    }
    let call = Call { method: &parts.method, path, params, json, caller, now };
    let answer = call.execute(&mut state);
    if let (Some(key), Ok(answer)) = (replay_key, &answer) {
        state.replies.keep(Reply { key, request: body.to_vec(), status: 200, body: answer.clone() });
    }
    drop(state);
    shared.changed();
    match answer {
        Ok(value) => Outcome::Done(value),
        Err(error) => Outcome::Refused(error),
    }
}

/// What identifies a write that must not be repeated.
fn replay_key(parts: &Parts, caller: &Caller) -> Option<String> {
    let key = parts.headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let key = key.filter(|_| parts.method == Method::POST)?;
    Some(format!("{} {} {key}", caller.key.key(), parts.uri.path()))
}

/// Who calls: the key decides the mode and the account, which headers may name.
fn authorize(state: &State, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let key = state.keys.authenticate(headers)?;
    let own = key.account().unwrap_or(&state.options.account).to_owned();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = text("stripe-context").or_else(|| text("stripe-account")).filter(|text| !text.is_empty());
    let account = asked.and_then(|asked| asked.rsplit('/').next()).unwrap_or(&own).to_owned();
    if account != own {
        let message = format!(
            "The provided key '{}' does not have access to account '{account}' (or that account does not \
             exist). Application access may have been revoked.",
            crate::keys::masked(key.key())
        );
        return Err(ApiError::new(403, message).code("account_invalid"));
    }
    let is_foreign = key.is_foreign(&state.options.account);
    let is_other_mode = !is_foreign && key.is_live() != state.options.livemode;
    Ok(Caller { sees_nothing: is_foreign || is_other_mode, is_other_mode, account, key })
}

fn add_headers(shared: &Shared, asked: &HeaderMap, running: &Running<'_>, headers: &mut HeaderMap) {
    let (now, version) = {
        let state = shared.state();
        (state.clock.now() + state.clock.skew, state.options.api_version.clone())
    };
    let date = DateTime::from_timestamp(now, 0).unwrap_or_default();
    let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set("date", &date);
    set("request-id", &running.request_id());
    for name in ["stripe-account", "stripe-context", "idempotency-key", "stripe-version"] {
        match asked.get(name).and_then(|value| value.to_str().ok()) {
            Some(value) => set(name, value),
            None if name == "stripe-version" => set(name, &version),
            None => {}
        }
    }
}

fn replayed(status: u16, value: Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = (status, Json(value)).into_response();
    response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}

fn edge_error(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let page = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n");
    (status, Html(page)).into_response()
}

async fn wait(shared: &Shared, delay: Duration) {
    if !delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shared.stopped.cancelled() => {}
        }
    }
}

/// A request in the log, until its end; also if the client gives up.
struct Running<'a> {
    shared: &'a Shared,
    number: u64,
    has_ended: bool,
}

impl<'a> Running<'a> {
    fn begin(shared: &'a Shared, parts: &Parts, key: Option<&str>, body: &[u8]) -> Self {
        let number = shared.traffic().arrived(&parts.method, &parts.uri, &parts.headers, key, body);
        shared.changed();
        Self { shared, number, has_ended: false }
    }

    fn request_id(&self) -> String {
        request_id(self.number)
    }

    fn end(mut self, status: u16) {
        self.has_ended = true;
        self.shared.traffic().ended(self.number, Some(status));
        self.shared.changed();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.shared.traffic().ended(self.number, None);
            self.shared.changed();
        }
    }
}
