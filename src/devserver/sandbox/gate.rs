//! Everything that a request to `/v1/` passes before and after the call itself: the token, the
//! version, the rate limit, the body, and the faults that the sandbox was told to show.

use super::calls::Call;
use super::connection::Line;
use super::faults::{Fault, Misfortune};
use super::refusal::Refusal;
use super::search;
use super::shared::Shared;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The one version of the API that the sandbox speaks.
pub const NOTION_VERSION: &str = "2026-03-11";

/// Answers a request to the API.
pub async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = Received::read(&parts.headers, body).await;
    let visit = Visit::begin(&shared, parts.method.as_str(), parts.uri.path(), &body);
    let request_id = Uuid::new_v4().to_string();

    let call = admit(&shared, &parts.headers).and_then(|()| {
        let path = parts.uri.path().strip_prefix("/v1/").unwrap_or_default();
        Ok((Call::parse(&parts.method, path)?, body.json()?))
    });
    let outcome = match call {
        Ok((call, body)) => {
            let misfortune = shared.faults().draw(call.route(), &body);
            let delay = misfortune.slow;
            let outcome = suffer(&shared, call, &body, misfortune);
            pause(&shared, delay).await;
            outcome
        }
        Err(refusal) => Outcome::Refused(refusal),
    };

    let mut response = match outcome {
        Outcome::Done(value) => done(value, &request_id),
        Outcome::Refused(refusal) => refusal.into_answer(&request_id),
        Outcome::Html => edge_error(),
        Outcome::Cut => {
            line.cut();
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    visit.end(response.status().as_u16());
    response
}

/// How a request ends.
enum Outcome {
    Done(Value),
    Refused(Refusal),
    Html,
    Cut,
}

/// The checks that come before anything is known of the call.
fn admit(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let token = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if token != Some(shared.token().as_str()) {
        return Err(Refusal::of_status(401));
    }
    match text("notion-version") {
        Some(NOTION_VERSION) => {}
        None => {
            return Err(Refusal::new(
                400,
                "missing_version",
                "Notion-Version header failed validation: Notion-Version header should be defined, \
                 instead was `undefined`.",
            ));
        }
        Some(other) => {
            return Err(Refusal::validation(format!(
                "Notion-Version header failed validation: Notion-Version header should be \
                 `\"{NOTION_VERSION}\"`, instead was `{}`.",
                json!(other)
            )));
        }
    }
    shared.limiter().take(Instant::now()).map_err(|wait_seconds| {
        let mut refusal = Refusal::of_status(429);
        refusal.retry_after = Some(wait_seconds);
        refusal
    })
}

async fn pause(shared: &Shared, delay: Duration) {
    if delay.is_zero() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = shared.stopped.cancelled() => {}
    }
}

/// Does the call, or what a fault makes of it.
fn suffer(shared: &Arc<Shared>, call: Call, body: &Arc<Value>, misfortune: Misfortune) -> Outcome {
    let lag = misfortune.lag;
    let execute = || match shared.execute(call, body, lag) {
        Ok(value) => Outcome::Done(value),
        Err(refusal) => Outcome::Refused(refusal),
    };
    let Some(fault) = misfortune.fault else { return execute() };
    match fault {
        Fault::RateLimited { retry_after, blocked } => {
            let mut refusal = Refusal::of_status(429);
            refusal.retry_after = retry_after;
            if blocked {
                let reason = json!({ "rate_limit_reason": "public_api_request_blocked" });
                refusal.additional_data = Some(reason);
            }
            Outcome::Refused(refusal)
        }
        Fault::Overloaded { retry_after } => {
            Outcome::Refused(Refusal { retry_after, ..Refusal::of_status(529) })
        }
        // Delays go along with the call, or with another fault, and are drawn apart from it.
        Fault::Slow { .. } | Fault::QueryLag { .. } => execute(),
        Fault::Conflict => Outcome::Refused(Refusal::of_status(409)),
        Fault::Unauthorized => Outcome::Refused(Refusal::of_status(401)),
        Fault::Restricted => Outcome::Refused(Refusal::of_status(403)),
        Fault::Unshared if call == Call::Search => Outcome::Done(search::nothing()),
        Fault::Unshared => Outcome::Refused(call.unshared(body)),
        Fault::Invalid { message } => Outcome::Refused(Refusal::validation(message)),
        Fault::Error { status } => Outcome::Refused(Refusal::of_status(status)),
        Fault::Html => Outcome::Html,
        Fault::Drop => Outcome::Cut,
        Fault::ErrorAfterWrite { status } => match execute() {
            Outcome::Done(_) => Outcome::Refused(Refusal::of_status(status)),
            refused => refused,
        },
        Fault::Committed => match execute() {
            Outcome::Done(value) => Outcome::Refused(committed(&value)),
            refused => refused,
        },
        Fault::Unfiltered => {
            let mut unfiltered = Value::clone(body);
            unfiltered.as_object_mut().and_then(|members| members.remove("filter"));
            match shared.execute(call, &unfiltered, lag) {
                Ok(value) => Outcome::Done(value),
                Err(refusal) => Outcome::Refused(refusal),
            }
        }
        Fault::DropAfterWrite => {
            execute();
            Outcome::Cut
        }
        Fault::DropThenWrite { delay_ms } => {
            shared.execute_later(call, Arc::clone(body), Duration::from_millis(delay_ms), lag);
            Outcome::Cut
        }
    }
}

fn committed(written: &Value) -> Refusal {
    let mut refusal = Refusal::of_status(503);
    refusal.additional_data = Some(json!({
        "committed_resource_id": written.get("id"),
        "retry_guidance": "The write was saved. Do not send it again.",
    }));
    refusal
}

fn done(mut value: Value, request_id: &str) -> Response {
    if let Some(members) = value.as_object_mut() {
        members.insert("request_id".to_owned(), json!(request_id));
    }
    axum::Json(value).into_response()
}

fn edge_error() -> Response {
    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad \
                Gateway</h1></center>\r\n</body>\r\n</html>\r\n";
    (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

/// A body as it came, not yet judged: the token and the limit come first.
struct Received {
    json: Result<Arc<Value>, Refusal>,
    bytes: usize,
}

/// The most that Notion takes in one request.
const BODY_BYTES_MAX: usize = 500_000;

/// The most that is read before a body is refused, so that the refusal reaches a client that sends
/// its whole body before it looks at the answer.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

impl Received {
    async fn read(headers: &HeaderMap, body: Body) -> Self {
        let too_large = || {
            Refusal::validation(format!(
                "body failed validation: the request should have {BODY_BYTES_MAX} bytes at most."
            ))
        };
        let Ok(bytes) = axum::body::to_bytes(body, READ_BYTES_MAX).await else {
            return Self { json: Err(too_large()), bytes: 0 };
        };
        let json = if bytes.len() > BODY_BYTES_MAX {
            Err(too_large())
        } else if bytes.is_empty() {
            Ok(Arc::new(json!({})))
        } else {
            let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let is_json = kind.is_some_and(|kind| kind.trim_start().starts_with("application/json"));
            match serde_json::from_slice::<Value>(&bytes) {
                Ok(value @ Value::Object(_)) if is_json => Ok(Arc::new(value)),
                _ => Err(Refusal::new(400, "invalid_json", "Error parsing JSON body.")),
            }
        };
        Self { json, bytes: bytes.len() }
    }

    fn json(&self) -> Result<Arc<Value>, Refusal> {
        self.json.clone()
    }
}

/// A request under way. One that is dropped half-way, because the client left, is counted as ended.
struct Visit<'a> {
    shared: &'a Shared,
    number: u64,
    status: Option<u16>,
}

impl<'a> Visit<'a> {
    fn begin(shared: &'a Shared, method: &str, path: &str, body: &Received) -> Self {
        let json = body.json.clone().unwrap_or_default();
        let number = shared.traffic().arrived(method, path, json, body.bytes);
        shared.changed();
        Self { shared, number, status: None }
    }

    fn end(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.shared.traffic().ended(self.number, self.status);
        self.shared.changed();
    }
}
