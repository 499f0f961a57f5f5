//! The handler of `/v1/`: it checks token, version, rate limit and body, applies the requested faults, and
//! executes the call.

use super::api_error::ApiError;
use super::calls::Call;
use super::faults::{DrawnFault, Fault};
use super::limiter::Exceeded;
use super::property_filter::PropertyFilter;
use super::search;
use super::shared::Shared;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sandbox_http::CutHandle;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The only version of the API that the sandbox supports.
pub const NOTION_VERSION: &str = "2026-03-11";

/// Answers a request to the API.
pub async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<CutHandle>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = ReceivedBody::read(&parts.headers, body).await;
    let in_flight = RequestInFlight::begin(&shared, &parts, &body);
    let request_id = Uuid::new_v4().to_string();

    let call = authorize(&shared, &parts.headers).and_then(|()| {
        let path = parts.uri.path().strip_prefix("/v1/").unwrap_or_default();
        let (call, body) = (Call::parse(&parts.method, path)?, body.json()?);
        let filter = PropertyFilter::parse(parts.uri.query())?;
        filter.check(&shared.state(), call, &body)?;
        Ok((call, body, filter))
    });
    let outcome = match call {
        Ok((call, body, filter)) => {
            let drawn = shared.faults().draw(call.route(), &body);
            let delay = drawn.slow;
            let outcome = execute_with_fault(&shared, call, &body, drawn);
            wait(&shared, delay).await;
            match outcome {
                Outcome::Done(value) => Outcome::Done(filter.apply(value)),
                other => other,
            }
        }
        Err(error) => Outcome::Refused(error),
    };

    let mut response = match outcome {
        Outcome::Done(value) => done(value, &request_id),
        Outcome::Refused(error) => error.into_response_with_id(&request_id),
        Outcome::Html => edge_error(),
        Outcome::Cut => {
            connection.cut();
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", value.clone());
        response.headers_mut().insert("x-notion-request-id", value);
    }
    in_flight.end(response.status().as_u16());
    response
}

/// How a request ends.
enum Outcome {
    Done(Value),
    Refused(ApiError),
    Html,
    Cut,
}

/// The checks that precede the parsing of the call.
fn authorize(shared: &Shared, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let token = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if token != Some(shared.token().as_str()) {
        return Err(ApiError::of_status(401));
    }
    match text("notion-version") {
        Some(NOTION_VERSION) => {}
        None => {
            return Err(ApiError::new(
                400,
                "missing_version",
                "Notion-Version header failed validation: Notion-Version header should be defined, \
                 instead was `undefined`.",
            ));
        }
        Some(other) => {
            return Err(ApiError::validation(format!(
                "Notion-Version header failed validation: Notion-Version header should be \
                 `\"{NOTION_VERSION}\"`, instead was `{}`.",
                json!(other)
            )));
        }
    }
    shared.limits().take(Instant::now()).map_err(|exceeded| match exceeded {
        Exceeded::Connection(seconds) => ApiError { retry_after: Some(seconds), ..ApiError::of_status(429) },
        Exceeded::Workspace(seconds) => ApiError { retry_after: Some(seconds), ..workspace_limited(seconds) },
    })
}

/// All connections of the workspace together made too many requests.
fn workspace_limited(seconds: u64) -> ApiError {
    let reason = "public_api_space_request_rate_limit";
    let data = json!({ "rate_limit_reason": reason, "retry_after": seconds });
    ApiError { additional_data: Some(data), ..ApiError::of_status(429) }
}

async fn wait(shared: &Shared, delay: Duration) {
    if delay.is_zero() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = shared.stopped.cancelled() => {}
    }
}

/// Executes the call, or what a fault turns it into.
fn execute_with_fault(shared: &Arc<Shared>, call: Call, body: &Arc<Value>, drawn: DrawnFault) -> Outcome {
    let lag = drawn.lag;
    let execute = || match shared.execute(call, body, lag) {
        Ok(value) => Outcome::Done(value),
        Err(error) => Outcome::Refused(error),
    };
    let Some(fault) = drawn.fault else { return execute() };
    match fault {
        Fault::RateLimited { retry_after, blocked } => {
            let mut error = ApiError::of_status(429);
            error.retry_after = retry_after;
            if blocked {
                let reason = json!({ "rate_limit_reason": "public_api_request_blocked" });
                error.additional_data = Some(reason);
            }
            Outcome::Refused(error)
        }
        Fault::WorkspaceLimited { retry_after } => Outcome::Refused(workspace_limited(retry_after)),
        Fault::Overloaded { retry_after } => {
            Outcome::Refused(ApiError { retry_after, ..ApiError::of_status(529) })
        }
        // Delays combine with the call or with another fault, and are applied elsewhere.
        Fault::Slow { .. } | Fault::QueryLag { .. } => execute(),
        Fault::Conflict => Outcome::Refused(ApiError::of_status(409)),
        Fault::Unauthorized => Outcome::Refused(ApiError::of_status(401)),
        Fault::Restricted => Outcome::Refused(ApiError::of_status(403)),
        Fault::Unshared if call == Call::Search => Outcome::Done(search::nothing()),
        Fault::Unshared => Outcome::Refused(call.unshared(body)),
        Fault::Invalid { message } => Outcome::Refused(ApiError::validation(message)),
        Fault::Error { status } => Outcome::Refused(ApiError::of_status(status)),
        Fault::Html => Outcome::Html,
        Fault::Drop => Outcome::Cut,
        Fault::ErrorAfterWrite { status } => match execute() {
            Outcome::Done(_) => Outcome::Refused(ApiError::of_status(status)),
            refused => refused,
        },
        Fault::Committed => match execute() {
            Outcome::Done(value) => Outcome::Refused(committed(&value)),
            refused => refused,
        },
        Fault::Partial => match execute() {
            Outcome::Done(value) => {
                Outcome::Done(json!({ "object": value.get("object"), "id": value.get("id") }))
            }
            refused => refused,
        },
        Fault::Unfiltered => {
            let mut unfiltered = Value::clone(body);
            unfiltered.as_object_mut().and_then(|members| members.remove("filter"));
            match shared.execute(call, &unfiltered, lag) {
                Ok(value) => Outcome::Done(value),
                Err(error) => Outcome::Refused(error),
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

fn committed(written: &Value) -> ApiError {
    let mut error = ApiError::of_status(503);
    error.additional_data = Some(json!({
        "committed_resource_id": written.get("id"),
        "retry_guidance": ["The write was saved.", "Do not send it again."],
    }));
    error
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

/// A body whose errors are reported later: token and rate limit are checked first.
struct ReceivedBody {
    json: Result<Arc<Value>, ApiError>,
    bytes: usize,
}

/// The largest request body that Notion accepts.
const BODY_BYTES_MAX: usize = 500_000;

/// How much is read before a body is rejected, so that the error reaches a client that sends its
/// whole body before it reads the response.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

impl ReceivedBody {
    async fn read(headers: &HeaderMap, body: Body) -> Self {
        let too_large = || {
            ApiError::validation(format!(
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
                _ => Err(ApiError::new(400, "invalid_json", "Error parsing JSON body.")),
            }
        };
        Self { json, bytes: bytes.len() }
    }

    fn json(&self) -> Result<Arc<Value>, ApiError> {
        self.json.clone()
    }
}

/// A running request. If the client disconnects, the value is dropped and the request counts as ended.
struct RequestInFlight<'a> {
    shared: &'a Shared,
    number: u64,
    status: Option<u16>,
}

impl<'a> RequestInFlight<'a> {
    fn begin(shared: &'a Shared, parts: &Parts, body: &ReceivedBody) -> Self {
        let json = body.json.clone().unwrap_or_default();
        let number = shared.traffic().arrived(parts.method.as_str(), &parts.uri, json, body.bytes);
        shared.changed();
        Self { shared, number, status: None }
    }

    fn end(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for RequestInFlight<'_> {
    fn drop(&mut self) {
        self.shared.traffic().ended(self.number, self.status);
        self.shared.changed();
    }
}
