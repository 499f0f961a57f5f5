//! What holds for every request, in one layer: an id, a span for the log, a time within which it is
//! answered, an answer where a handler breaks, and headers by which a browser is safe.
//!
//! A layer for each of these would be a boxed service and a boxed future for each; a webhook's way
//! through nine of them cost more than reading its event.

use super::headers::{PublicByHttps, came_by_https, make_safe};
use crate::auth;
use crate::config::Access;
use crate::problem::Problem;
use crate::telemetry::{Metrics, Panicked, catch_panic};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{Instrument, debug, info_span};
use uuid::Uuid;

/// The longest that an answer may take. Stripe waits longer than this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a caller's own.
const REQUEST_ID_LENGTH_MAX: usize = 128;

/// What is known of all requests.
pub struct Around {
    /// Counts handlers that break.
    pub metrics: Metrics,
    /// Whether requests from elsewhere are refused altogether.
    pub access: Arc<Access>,
    /// Whether people reach the service by HTTPS.
    pub by_https: PublicByHttps,
}

/// Answers a request within its time, whatever its handler does.
pub async fn around(State(around): State<Arc<Around>>, request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    let is_https = around.by_https.0 || came_by_https(request.headers());
    // The path alone: a query can hold what a customer wrote.
    let span = info_span!(
        "request",
        method = request.method().as_str(),
        path = request.uri().path(),
        request_id = request_id.to_str().unwrap_or_default()
    );
    let mut response = around.answer(request, next).instrument(span).await;
    make_safe(response.headers_mut(), is_https);
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

impl Around {
    async fn answer(&self, request: Request, next: Next) -> Response {
        let began = Instant::now();
        if !auth::is_allowed_here(&self.access, &request) {
            return auth::not_local().into_response();
        }
        let answering = catch_panic(&self.metrics, Panicked::Handler, next.run(request));
        let response = match tokio::time::timeout(REQUEST_TIMEOUT, answering).await {
            Ok(Some(response)) => response,
            Ok(None) => Problem::internal().into_response(),
            Err(_elapsed) => {
                Problem::unavailable("The answer took too long. What was asked may still be done.", 5)
                    .into_response()
            }
        };
        // What fails is told where it fails, and anybody can have a 503 when much comes.
        debug!(status = response.status().as_u16(), within_ms = began.elapsed().as_millis(), "answered");
        response
    }
}

/// A caller's id of its request is kept where it is fit for a log; else it gets one of ours.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_readable = |id: &&HeaderValue| {
        id.len() <= REQUEST_ID_LENGTH_MAX && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(&REQUEST_ID).filter(is_readable).cloned().unwrap_or_else(|| {
        let id = Uuid::new_v4().to_string();
        // Hexadecimal digits and dashes are always fit for a header.
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}
