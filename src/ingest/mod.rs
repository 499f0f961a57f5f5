//! The way in: a signed request becomes a committed event, or an answer that says why not.
//!
//! 200 means committed. The handler never owns the write: it hands the event to the [`Writer`] and
//! waits, so a client that goes away cannot interrupt a transaction. Memory is set aside as a body
//! comes in; where there is none left the answer is 503, and the sender comes again.

mod rejection_log;
mod room;
mod writer;

pub use crate::domain::event::BODY_BYTES_MAX;
pub use rejection_log::RejectionLog;
pub use writer::{Reservation, Stored, WriteError, Writer, WriterSettings};

use crate::domain::event::NewEvent;
use crate::domain::execution::NewExecution;
use crate::domain::subscription::Subscription;
use crate::problem::Problem;
use crate::sources::{Registry, Rejection};
use crate::telemetry::{LogThrottle, Metrics, Webhook};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The same while it is crowded. Most bodies come with the head.
const BODY_TIMEOUT_WHEN_CROWDED: Duration = Duration::from_secs(2);

/// Seconds after which a sender that was turned away may come again.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Tells the time; a function, so that tests can choose it.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Tells whether others wait for a connection.
pub type IsUnderPressure = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the webhook route works with.
pub struct Ingest {
    /// Who verifies and reads.
    pub sources: Registry,
    /// Which instance wants which events.
    pub subscriptions: Arc<[Subscription]>,
    /// Who commits.
    pub writer: Writer,
    /// The time by which signatures are judged.
    pub clock: Clock,
    /// Says in the log what strangers can bring about.
    pub log: Log,
    /// By which slow senders are judged.
    pub is_under_pressure: IsUnderPressure,
    /// Counts what comes in.
    pub metrics: Metrics,
    /// Keeps some of what is rejected.
    pub rejection_log: RejectionLog,
}

/// What strangers can bring about as often as they like is told once a second at most.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Lines>);

#[derive(Debug, Default)]
struct Lines {
    rejected: LogThrottle,
    turned_away: LogThrottle,
}

/// The routes by which events come in; anybody may call them, since what comes in must be signed.
pub fn routes() -> OpenApiRouter<Arc<Ingest>> {
    OpenApiRouter::new().routes(routes!(receive))
}

/// The answer to an event that is safely stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct Received {
    /// Always `webhook received`.
    #[schema(example = "webhook received")]
    pub status: &'static str,
    /// Whether the event is new; `false` for one that was stored before.
    pub accepted: bool,
}

/// Receives a webhook.
///
/// The body is verified by the source's signature, committed with one execution for each
/// destination that wants it, and only then answered. A duplicate is answered 200 as well.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{source}",
    operation_id = "receive_webhook",
    tag = "webhooks",
    params(
        ("source" = String, Path, description = "The name of the source, such as stripe", example = "stripe"),
    ),
    request_body(content = serde_json::Value, description = "An event as its sender sends it, with its signature in a header such as Stripe-Signature; at most 2 MiB", content_type = "application/json"),
    responses(
        (status = 200, description = "Committed, now or earlier", body = Received),
        (status = 400, description = "Not signed by a known secret, or no event; nothing is stored", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such source", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 2 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not stored: the queue or the memory for bodies is full, or the database is away; come again", body = Problem, content_type = "application/problem+json"),
    ),
    security(()),
)]
async fn receive(
    State(ingest): State<Arc<Ingest>>,
    source: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    // A path that cannot be read names no source either.
    let source = source.map(|Path(source)| source).unwrap_or_default();
    let began = Instant::now();
    match ingest.accept(&source, request).await {
        Ok(received) => {
            ingest.metrics.acknowledged(began.elapsed());
            Json(received).into_response()
        }
        Err(refusal) => {
            ingest.metrics.webhook(refusal.counted);
            refusal.problem.into_response()
        }
    }
}

/// Why a webhook is not taken: for its sender, and for those who count.
struct Refusal {
    problem: Problem,
    counted: Webhook,
}

impl Refusal {
    /// It will never be taken.
    fn rejected(reason: &'static str, problem: Problem) -> Self {
        Self { problem, counted: Webhook::Rejected(reason) }
    }
}

impl Ingest {
    async fn accept(&self, source: &str, request: Request) -> Result<Received, Refusal> {
        let source = self.sources.get(source).ok_or_else(no_such_source)?;
        let (parts, body) = request.into_parts();
        refuse_announced_size(&parts.headers)?;
        let mut reservation = self.writer.reserve().await.map_err(|error| self.turned_away(error))?;
        let patience = if (self.is_under_pressure)() { BODY_TIMEOUT_WHEN_CROWDED } else { BODY_TIMEOUT };
        let body = tokio::time::timeout(patience, self.read(body, &mut reservation))
            .await
            .unwrap_or_else(|_| Err(too_slow(patience)))?;
        let event = source.receive(&parts.headers, body.clone(), (self.clock)()).map_err(|rejection| {
            self.rejection_log.note(|| source.sample(&parts.headers, &body, &rejection));
            self.rejected(source.name(), &rejection)
        })?;
        let event_id = event.event_id.clone();
        let executions = self.executions_for(&event);
        let stored = reservation.submit(event, executions).await.map_err(|error| self.turned_away(error))?;
        let accepted = stored == Stored::New;
        info!(event_id, accepted, "webhook received");
        Ok(Received { status: "webhook received", accepted })
    }

    /// Reads the body as it comes. Memory is set aside for what has come, not for what was announced:
    /// else a few senders that announce much and send nothing would keep all others out.
    async fn read(&self, mut body: Body, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
        let mut whole = BytesMut::new();
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = reservation.asked() => return Err(self.turned_away(WriteError::Full)),
            };
            let Some(frame) = frame else { break };
            let broken_off = |_| {
                let problem = Problem::bad_request("The body broke off before its end.");
                Refusal::rejected("body_broken_off", problem)
            };
            let Ok(piece) = frame.map_err(broken_off)?.into_data() else { continue };
            let length = whole.len() + piece.len();
            if length > BODY_BYTES_MAX {
                return Err(too_large());
            }
            reservation.cover(length).await.map_err(|error| self.turned_away(error))?;
            whole.extend_from_slice(&piece);
        }
        reservation.complete().map_err(|error| self.turned_away(error))?;
        Ok(whole.freeze())
    }

    fn rejected(&self, source: &str, rejection: &Rejection) -> Refusal {
        if let Some(suppressed) = self.log.0.rejected.admit() {
            warn!(source, check = rejection.check, suppressed, "webhook rejected: {rejection}");
        }
        let (title, detail) = ("The webhook was rejected", rejection.detail.clone());
        let problem = Problem::new(StatusCode::BAD_REQUEST, rejection.check, title, detail);
        Refusal::rejected(rejection.check, problem)
    }

    fn turned_away(&self, error: WriteError) -> Refusal {
        if let Some(suppressed) = self.log.0.turned_away.admit() {
            warn!(%error, suppressed, "webhook turned away");
        }
        turned_away(error)
    }

    fn executions_for(&self, event: &NewEvent) -> Vec<NewExecution> {
        self.subscriptions
            .iter()
            .filter_map(|subscription| subscription.execution_for(&event.source, &event.facts))
            .collect()
    }
}

/// Turns a body away that says by itself that it is too large, before a byte of it is read.
fn refuse_announced_size(headers: &HeaderMap) -> Result<(), Refusal> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match announced.map(usize::try_from) {
        None => Ok(()),
        Some(Ok(bytes)) if bytes <= BODY_BYTES_MAX => Ok(()),
        Some(_) => Err(too_large()),
    }
}

fn no_such_source() -> Refusal {
    Refusal::rejected("no_such_source", Problem::not_found("There is no such source of webhooks."))
}

fn too_large() -> Refusal {
    const CODE: &str = "body_too_large";
    let detail = format!("A webhook's body may hold at most {BODY_BYTES_MAX} bytes.");
    let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, CODE, "The body is too large", detail);
    Refusal::rejected(CODE, problem)
}

fn too_slow(patience: Duration) -> Refusal {
    const CODE: &str = "body_too_slow";
    let detail = format!("A webhook's body must be there within {} s.", patience.as_secs());
    let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, CODE, "The body came too slowly", detail);
    Refusal::rejected(CODE, problem)
}

fn turned_away(error: WriteError) -> Refusal {
    let (problem, counted) = match error {
        WriteError::Refused => (
            Problem::new(
                StatusCode::BAD_REQUEST,
                "event_refused",
                "The event cannot be stored",
                "The database refuses this event's data; the log tells why. Nothing was stored.",
            ),
            Webhook::Rejected("event_refused"),
        ),
        WriteError::Full => (
            Problem::unavailable(
                "More events are arriving than can be stored at once. Nothing was stored; send it again.",
                RETRY_AFTER_SECONDS,
            ),
            Webhook::TurnedAway("queue_full"),
        ),
        WriteError::Unavailable => (
            Problem::unavailable(
                "The database is not available. It is not known to be stored; send it again.",
                RETRY_AFTER_SECONDS,
            ),
            Webhook::TurnedAway("database_away"),
        ),
    };
    Refusal { problem, counted }
}
