//! The webhook route: a signed request becomes a committed event, or gets an error response.
//!
//! 200 means committed. The handler does not write itself: it submits the event to the [`Writer`] and waits
//! for the reply, so a client that disconnects cannot interrupt a transaction. Memory is reserved while a
//! body arrives. If there is none left, the request is shed with 503 and the sender retries.

mod body_budget;
mod pull;
mod rejection_log;
mod reply;
mod unanswered_log;
mod writer;

pub use crate::domain::event::BODY_BYTES_MAX;
pub use pull::{EventLists, Puller, pull};
pub use rejection_log::RejectionLog;
pub use reply::{Stored, WriteError};
pub use writer::{Reservation, Writer, WriterSettings};

use crate::domain::event::{NewEvent, is_far_ahead};
use crate::domain::execution::NewExecution;
use crate::domain::source::WEBHOOKS;
use crate::domain::subscription::Subscription;
use crate::domain::unanswered::ClaimedEvent;
use crate::problem::{Problem, ProblemCode};
use crate::sources::{Registry, Rejection, astray};
use crate::telemetry::{LogThrottle, Metrics, Webhook};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The timeout of a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The same under pressure. Most bodies arrive together with the head.
const BODY_TIMEOUT_UNDER_PRESSURE: Duration = Duration::from_secs(2);

/// Seconds after which the sender of a shed request may retry.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Returns the time; a function, so that tests can choose it.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Returns whether most connections are in use.
pub type IsUnderPressure = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the webhook route needs.
pub struct Ingest {
    /// The sources, which verify and parse.
    pub sources: Registry,
    /// The events that each instance subscribes to.
    pub subscriptions: Arc<[Subscription]>,
    /// Commits events.
    pub writer: Writer,
    /// The time for checking signatures.
    pub clock: Clock,
    /// Logs rejected and shed requests.
    pub log: LogThrottles,
    /// Decides the timeout of bodies.
    pub is_under_pressure: IsUnderPressure,
    /// Counts requests.
    pub metrics: Metrics,
    /// Keeps samples of rejected requests.
    pub rejection_log: RejectionLog,
}

/// Limits the log messages that anyone can cause to one per second.
#[derive(Debug, Clone, Default)]
pub struct LogThrottles(Arc<Throttles>);

#[derive(Debug, Default)]
struct Throttles {
    rejected: LogThrottle,
    shed: LogThrottle,
}

/// The webhook routes. They need no key, since requests must be signed.
pub fn routes() -> OpenApiRouter<Arc<Ingest>> {
    OpenApiRouter::new().routes(routes!(receive))
}

/// The response to an event that is stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookReceipt {
    /// Always `webhook received`.
    pub status: ReceiptStatus,
    /// Whether the event is new; `false` for one that was stored before.
    pub accepted: bool,
}

/// The state of a webhook whose event is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum ReceiptStatus {
    /// Its event is committed.
    #[serde(rename = "webhook received")]
    Received,
}

/// Receives a webhook.
///
/// Verifies the body by the source's signature and commits it with one execution for each destination
/// that subscribes to it. The response follows the commit. A duplicate also gets 200.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{source}",
    operation_id = "receive_webhook",
    tag = "webhooks",
    params(
        ("source" = String, Path, description = "The name of the source"),
    ),
    request_body(content = serde_json::Value, description = "An event as its sender sends it, signed in a header; at most 2 MiB", content_type = "application/json"),
    responses(
        (status = 200, description = "Committed, now or earlier", body = WebhookReceipt),
        (status = 400, description = "Not signed with a configured secret, or not an event; nothing is stored", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "In dev: the Host or Origin is neither this machine's nor that of PUBLIC_URL", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such source; the response to a signed request has the right path", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body arrived too slowly", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 2 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not stored: the queue or the memory for bodies is full, or the database is unavailable; retry later", body = Problem, content_type = "application/problem+json"),
    ),
    security(()),
)]
async fn receive(
    State(ingest): State<Arc<Ingest>>,
    source: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    // A path that cannot be decoded names no source.
    let source = source.map(|Path(source)| source).ok();
    ingest.respond(source.as_deref(), request).await
}

/// Receives a webhook for which there is no route. If its path differs from a source's only by slashes or by
/// case, it is received there. Otherwise it is rejected, and the response has the right path.
pub async fn receive_astray(ingest: &Ingest, request: Request) -> Response {
    let source = source_in(request.uri().path()).map(str::to_owned);
    ingest.respond(source.as_deref(), request).await
}

/// The name of the source in a path that may have further slashes or another case.
fn source_in(path: &str) -> Option<&str> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    for expected in WEBHOOKS.split('/').filter(|segment| !segment.is_empty()) {
        segments.next().filter(|segment| segment.eq_ignore_ascii_case(expected))?;
    }
    let source = segments.next()?;
    segments.next().is_none().then_some(source)
}

/// Why a webhook is not accepted: the response, and how metrics count it.
struct NotAccepted {
    problem: Problem,
    counted: Webhook,
}

impl NotAccepted {
    /// A retry would be rejected too.
    fn rejected(reason: &'static str, problem: Problem) -> Self {
        Self { problem, counted: Webhook::Rejected(reason) }
    }
}

impl Ingest {
    /// Whether a request claims to be a webhook: it has the signature header of a source.
    pub fn is_webhook(&self, request: &Request) -> bool {
        request.method() == Method::POST && self.sources.signed_for(request.headers()).next().is_some()
    }

    async fn respond(&self, source: Option<&str>, request: Request) -> Response {
        let began = Instant::now();
        match self.accept(source, request).await {
            Ok(received) => {
                self.metrics.acknowledged(began.elapsed());
                Json(received).into_response()
            }
            Err(error) => {
                self.metrics.webhook(error.counted);
                error.problem.into_response()
            }
        }
    }

    async fn accept(&self, source: Option<&str>, request: Request) -> Result<WebhookReceipt, NotAccepted> {
        let Some(source) = source.and_then(|name| self.sources.meant(name)) else {
            return Err(self.reject_astray(request).await);
        };
        let (parts, body) = request.into_parts();
        let (body, reservation) = self.take(&parts.headers, body).await?;
        let event = source.receive(&parts.headers, body.clone(), (self.clock)()).map_err(|rejection| {
            self.rejection_log.note(|| source.sample(&parts.headers, &body, &rejection));
            if let Some(event) = source.claimed(&parts.headers, &body, &rejection) {
                self.rejection_log.note_unanswered(event);
            }
            self.rejected(StatusCode::BAD_REQUEST, source.name(), &rejection)
        })?;
        if is_far_ahead(&event.facts, (self.clock)()) {
            let created = event.facts.created.map(|created| created.to_rfc3339());
            warn!(
                event_id = event.event_id,
                created, "event is dated far ahead; the time of its arrival counts"
            );
        }
        let event_id = event.event_id.clone();
        let executions = self.executions_for(&event);
        let awaited = source.awaits_answer(&event.facts).then(|| claimed(&event));
        let stored = reservation.submit(event, executions).await.map_err(|error| {
            if let Some(event) = awaited {
                self.rejection_log.note_unanswered(event);
            }
            self.shed(error)
        })?;
        let accepted = stored == Stored::New;
        info!(event_id, accepted, "webhook received");
        Ok(WebhookReceipt { status: ReceiptStatus::Received, accepted })
    }

    /// Rejects a request that names no source. With the signature header of a source it is a webhook that went
    /// astray: it is sampled, and the response has the path of the source that can verify it.
    async fn reject_astray(&self, request: Request) -> NotAccepted {
        let (parts, body) = request.into_parts();
        let meant: Vec<_> = self.sources.signed_for(&parts.headers).collect();
        let Some(first) = meant.first() else { return no_such_source() };
        let body = match self.take(&parts.headers, body).await {
            Ok((body, _reservation)) => body,
            Err(error) => return error,
        };
        let now = (self.clock)();
        let verifying = meant.iter().find(|source| source.receive(&parts.headers, body.clone(), now).is_ok());
        let source = verifying.unwrap_or(first);
        let rejection = astray::rejection(source.name());
        self.rejection_log.note(|| source.sample(&parts.headers, &body, &rejection));
        if let Some(event) = source.claimed(&parts.headers, &body, &rejection) {
            let is_signed = event.is_signed || verifying.is_some();
            self.rejection_log.note_unanswered(ClaimedEvent { is_signed, ..event });
        }
        self.rejected(StatusCode::NOT_FOUND, source.name(), &rejection)
    }

    /// Reads the body in time, with memory reserved for it.
    async fn take(&self, headers: &HeaderMap, body: Body) -> Result<(Bytes, Reservation), NotAccepted> {
        let declared = declared_length(headers)?;
        let mut reservation = self.writer.reserve().await.map_err(|error| self.shed(error))?;
        let timeout = if (self.is_under_pressure)() { BODY_TIMEOUT_UNDER_PRESSURE } else { BODY_TIMEOUT };
        let body = tokio::time::timeout(timeout, self.read(body, declared, &mut reservation))
            .await
            .unwrap_or_else(|_| Err(too_slow(timeout)))?;
        Ok((body, reservation))
    }

    /// Reads the body. Memory is reserved as it is received, not for the declared length: otherwise a few
    /// senders that declare much and send nothing would block all others. What is reserved is what the buffer
    /// occupies: at most half more than was received, and never more than was declared.
    async fn read(
        &self,
        mut body: Body,
        declared: Option<usize>,
        reservation: &mut Reservation,
    ) -> Result<Bytes, NotAccepted> {
        let most = declared.unwrap_or(BODY_BYTES_MAX);
        let mut whole = Vec::new();
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = reservation.shed() => return Err(self.shed(WriteError::Full)),
            };
            let Some(frame) = frame else { break };
            let broken_off = |_| {
                let problem = Problem::bad_request("The body ended before it was complete.");
                NotAccepted::rejected("body_broken_off", problem)
            };
            let Ok(piece) = frame.map_err(broken_off)?.into_data() else { continue };
            let length = whole.len() + piece.len();
            if length > BODY_BYTES_MAX {
                return Err(too_large());
            }
            if length > whole.capacity() {
                let half_more = whole.capacity() + whole.capacity() / 2;
                let capacity = length.max(half_more.min(most));
                reservation.extend_to(capacity).await.map_err(|error| self.shed(error))?;
                whole.reserve_exact(capacity - whole.len());
            }
            whole.extend_from_slice(&piece);
        }
        reservation.complete().map_err(|error| self.shed(error))?;
        Ok(whole.into())
    }

    fn rejected(&self, status: StatusCode, source: &str, rejection: &Rejection) -> NotAccepted {
        if let Some(suppressed) = self.log.0.rejected.admit() {
            warn!(source, check = rejection.check, suppressed, "webhook rejected: {rejection}");
        }
        let (title, detail) = ("The webhook was rejected", rejection.detail.clone());
        let problem = Problem::new(status, rejection.check, title, detail);
        NotAccepted::rejected(rejection.check, problem)
    }

    fn shed(&self, error: WriteError) -> NotAccepted {
        if let Some(suppressed) = self.log.0.shed.admit() {
            warn!(%error, suppressed, "webhook shed");
        }
        not_stored(error)
    }

    fn executions_for(&self, event: &NewEvent) -> Vec<NewExecution> {
        self.subscriptions
            .iter()
            .filter_map(|subscription| subscription.execution_for(&event.source, &event.facts))
            .collect()
    }
}

/// A verified event that may not be stored.
fn claimed(event: &NewEvent) -> ClaimedEvent {
    ClaimedEvent {
        source: event.source.to_string(),
        event_id: event.event_id.clone(),
        event_type: event.facts.event_type.clone(),
        livemode: event.facts.livemode,
        is_signed: true,
    }
}

/// The `Content-Length`, if there is one. A body that is too large is rejected without reading it.
fn declared_length(headers: &HeaderMap) -> Result<Option<usize>, NotAccepted> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match declared.map(usize::try_from) {
        None => Ok(None),
        Some(Ok(bytes)) if bytes <= BODY_BYTES_MAX => Ok(Some(bytes)),
        Some(_) => Err(too_large()),
    }
}

fn no_such_source() -> NotAccepted {
    NotAccepted::rejected("no_such_source", Problem::not_found("There is no source of this name."))
}

fn too_large() -> NotAccepted {
    const CODE: &str = ProblemCode::BodyTooLarge.as_str();
    let detail = format!("A webhook's body may have at most {BODY_BYTES_MAX} bytes.");
    let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, CODE, "The body is too large", detail);
    NotAccepted::rejected(CODE, problem)
}

fn too_slow(timeout: Duration) -> NotAccepted {
    const CODE: &str = ProblemCode::BodyTooSlow.as_str();
    let detail = format!("A webhook's body must arrive within {} s.", timeout.as_secs());
    let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, CODE, "The body arrived too slowly", detail);
    NotAccepted::rejected(CODE, problem)
}

fn not_stored(error: WriteError) -> NotAccepted {
    let (problem, counted) = match error {
        WriteError::Refused => (
            Problem::new(
                StatusCode::BAD_REQUEST,
                ProblemCode::EventRefused,
                "The event cannot be stored",
                "The database rejects this event's data; the log has the reason. Nothing was stored.",
            ),
            Webhook::Rejected("event_refused"),
        ),
        WriteError::Full => (
            Problem::unavailable(
                "More events are arriving than can be stored at once. Nothing was stored; send it again.",
                RETRY_AFTER_SECONDS,
            ),
            Webhook::Shed("queue_full"),
        ),
        WriteError::Unavailable => (
            Problem::unavailable(
                "The database is not available. The event may not be stored; send it again.",
                RETRY_AFTER_SECONDS,
            ),
            Webhook::Shed("database_unavailable"),
        ),
    };
    NotAccepted { problem, counted }
}
