//! The middleware of every request, in one layer: the request id, a tracing span, the request timeout,
//! a response if a handler panics, and security headers.
//!
//! A layer for each of these would cost a boxed service and a boxed future each. Nine layers cost a webhook
//! more than reading its event.

use super::headers::{PublicByHttps, add_security_headers, came_by_https};
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

/// The longest time for a response. Stripe waits longer than this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that a caller may choose.
const REQUEST_ID_LENGTH_MAX: usize = 128;

/// What the middleware needs.
pub struct Middleware {
    /// Counts panics of handlers.
    pub metrics: Metrics,
    /// At which hosts, and from which pages, requests are accepted.
    pub access: Arc<Access>,
    /// Whether the service's public address is HTTPS.
    pub by_https: PublicByHttps,
}

/// Answers a request within its timeout, even if its handler panics.
pub async fn middleware(State(middleware): State<Arc<Middleware>>, request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    let is_https = middleware.by_https.0 || came_by_https(request.headers());
    // Only the path: a query can contain personal data.
    let span = info_span!(
        "request",
        method = request.method().as_str(),
        path = request.uri().path(),
        request_id = request_id.to_str().unwrap_or_default()
    );
    let mut response = middleware.answer(request, next).instrument(span).await;
    add_security_headers(response.headers_mut(), is_https);
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

impl Middleware {
    async fn answer(&self, request: Request, next: Next) -> Response {
        let began = Instant::now();
        if let Err(problem) = auth::check_origin(&self.access, &request) {
            return problem.into_response();
        }
        let answering = catch_panic(&self.metrics, Panicked::Handler, next.run(request));
        let response = match tokio::time::timeout(REQUEST_TIMEOUT, answering).await {
            Ok(Some(response)) => response,
            Ok(None) => Problem::internal().into_response(),
            Err(_elapsed) => {
                Problem::unavailable("The response took too long. The request may still take effect.", 5)
                    .into_response()
            }
        };
        // Failures are logged where they happen, and under load anyone can cause a 503.
        debug!(
            status = response.status().as_u16(),
            duration_ms = began.elapsed().as_millis(),
            "request answered"
        );
        response
    }
}

/// The caller's request id if it can be logged, otherwise a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_readable = |id: &&HeaderValue| {
        id.len() <= REQUEST_ID_LENGTH_MAX && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(&REQUEST_ID).filter(is_readable).cloned().unwrap_or_else(|| {
        let id = Uuid::new_v4().to_string();
        // Hexadecimal digits and dashes are always valid in a header.
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}
