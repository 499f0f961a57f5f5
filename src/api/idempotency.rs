//! `Idempotency-Key`: a client that got no answer to a change repeats the request with the same key, and the change
//! is made once.
//!
//! The first response of success is stored for a day and sent again for each repetition. A refusal changes nothing,
//! so it gives the key back: the corrected request can have it. The request goes on if its client disconnects, so
//! that its response is stored. If the process dies before that, the key is free again after [`LOCK`].
//!
//! A handler that creates something takes [`FirstAttempt`] and recognizes by it what an earlier attempt created.
//! All other changes come to the same if they are made twice.

use super::from_store;
use crate::domain::audit::Caller;
use crate::problem::{Problem, ProblemCode};
use crate::store::{ANSWER_WITHIN, IdempotencyKeys, KeyState, StoredResponse};
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument, warn};
use uuid::Uuid;

/// The header with the key.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The header of a response that was sent before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// How long a key is kept.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// A request that takes longer, from before it takes its key, is given up.
const REQUEST_MAX: Duration = Duration::from_secs(45);

/// How long a request keeps its key without a response. The last statement of a request that was given up may get
/// its connection, and may run at the server, for a while after that.
const LOCK: Duration = REQUEST_MAX.saturating_add(ANSWER_WITHIN);

/// The longest key, in characters.
const KEY_LENGTH_MAX: usize = 255;

/// The largest body of a request with a key, in bytes. Forms of the API are far smaller.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// The largest response that is stored, in bytes. Those of changes are far smaller; after a larger one the key is
/// free again.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;

/// Processes a change once per key of its caller. Requests without a key, and those that only read, pass.
pub async fn once_per_key(State(keys): State<IdempotencyKeys>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !changes || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    let keyed = match Keyed::read(request).await {
        Ok(keyed) => keyed,
        Err(problem) => return problem.into_response(),
    };
    // In a task of its own: a client that disconnects would end it between its steps.
    match tokio::spawn(process(keys, keyed, next).in_current_span()).await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            // The middleware of every request counts it. The key stays locked for a while.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Problem::internal().into_response(),
        },
    }
}

/// Identifies all attempts at one request with a key, as long as the key is kept: an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstAttempt(pub(super) Uuid);

/// A request with a key.
struct Keyed {
    held: Held,
    hash: [u8; 32],
    request: Request,
}

impl Keyed {
    async fn read(request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let key = key_of(&parts.headers)?;
        let caller = parts.extensions.get::<Caller>().ok_or_else(Problem::internal)?.name().to_owned();
        let body = to_bytes(body, REQUEST_BYTES_MAX).await.map_err(|_| {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                ProblemCode::BodyTooLarge,
                "The body is too large",
                format!(
                    "The body of a request with an {IDEMPOTENCY_KEY} has at most {REQUEST_BYTES_MAX} bytes."
                ),
            )
        })?;
        let held = Held { caller, key, attempt: Uuid::new_v4() };
        let hash = hash(&parts, &body);
        Ok(Self { held, hash, request: Request::from_parts(parts, Body::from(body)) })
    }
}

/// A key that this request holds.
struct Held {
    caller: String,
    key: String,
    attempt: Uuid,
}

impl Held {
    fn name(&self) -> (&str, &str) {
        (&self.caller, &self.key)
    }
}

/// Processes the request if its key is free.
async fn process(keys: IdempotencyKeys, keyed: Keyed, next: Next) -> Response {
    let Keyed { held, hash, mut request } = keyed;
    let given_up_at = Instant::now() + REQUEST_MAX;
    match keys.take(held.name(), &hash, held.attempt, LOCK, KEPT_FOR).await {
        Ok(KeyState::Taken { first_attempt }) => {
            request.extensions_mut().insert(FirstAttempt(first_attempt));
            match tokio::time::timeout_at(given_up_at, next.run(request)).await {
                Ok(response) => keep(&keys, &held, response).await,
                // The key stays locked: the last statement may still be executed.
                Err(_elapsed) => {
                    Problem::unavailable("The response took too long. The request may still take effect.", 5)
                        .into_response()
                }
            }
        }
        Ok(KeyState::Stored(stored)) => replayed(stored),
        Ok(KeyState::InProgress) => in_use().into_response(),
        Ok(KeyState::OfAnotherRequest) => reused().into_response(),
        Err(error) => from_store(error).into_response(),
    }
}

fn in_use() -> Problem {
    let mut problem = Problem::new(
        StatusCode::CONFLICT,
        ProblemCode::IdempotencyKeyInUse,
        "The first request is not finished",
        format!("A request with this {IDEMPOTENCY_KEY} is being processed; repeat this one later."),
    );
    problem.retry_after = Some(1);
    problem
}

fn reused() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        ProblemCode::IdempotencyKeyReused,
        "The key belongs to another request",
        format!(
            "This {IDEMPOTENCY_KEY} was sent with another method, path, query or body. Use a new key for each change."
        ),
    )
    .with_param(IDEMPOTENCY_KEY)
}

fn key_of(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let is_printable = |key: &&str| {
        (1..=KEY_LENGTH_MAX).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    match (values.next().and_then(|value| value.to_str().ok()).filter(is_printable), values.next()) {
        (Some(key), None) => Ok(key.to_owned()),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            ProblemCode::IdempotencyKeyInvalid,
            "The key cannot be read",
            format!(
                "{IDEMPOTENCY_KEY} must be one value of 1 to {KEY_LENGTH_MAX} printable ASCII characters."
            ),
        )
        .with_param(IDEMPOTENCY_KEY)),
    }
}

/// What makes a request the same as another.
fn hash(parts: &Parts, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    // Neither a method nor a target contains a line feed.
    for part in [parts.method.as_str(), target] {
        hash.update(part);
        hash.update("\n");
    }
    hash.update(body);
    hash.finalize().into()
}

/// Stores a response of success; otherwise the key is given back.
async fn keep(keys: &IdempotencyKeys, held: &Held, response: Response) -> Response {
    let bytes = response.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let is_small = bytes.is_some_and(|bytes| bytes <= RESPONSE_BYTES_MAX);
    if !response.status().is_success() || !is_small {
        if response.status().is_success() {
            warn!("response too large for its idempotency key");
        }
        let is_refused = response.status().is_client_error();
        if let Err(error) = keys.give_back(held.name(), held.attempt, is_refused).await {
            warn!(%error, "idempotency key not given back; it is free again later");
        }
        return response;
    }
    let (parts, body) = response.into_parts();
    // It has the size that it states.
    let Ok(body) = to_bytes(body, RESPONSE_BYTES_MAX).await else {
        return Problem::internal().into_response();
    };
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let stored = StoredResponse {
        status: parts.status.as_u16(),
        content_type: text(header::CONTENT_TYPE).map(str::to_owned),
        location: text(header::LOCATION).map(str::to_owned),
        body: body.to_vec(),
    };
    if let Err(error) = keys.store(held.name(), held.attempt, &stored).await {
        warn!(%error, "response not stored under its idempotency key");
    }
    Response::from_parts(parts, Body::from(body))
}

fn replayed(stored: StoredResponse) -> Response {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, stored.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for (name, text) in [(header::CONTENT_TYPE, stored.content_type), (header::LOCATION, stored.location)] {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_255_printable_characters() {
        let key = |text: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_bytes(text).unwrap());
            key_of(&headers).map_err(|problem| problem.code.into_owned())
        };
        assert_eq!(key(b"order 42"), Ok("order 42".to_owned()));
        assert_eq!(key("x".repeat(255).as_bytes()).map(|key| key.len()), Ok(255));
        for odd in [&b""[..], "x".repeat(256).as_bytes(), b"a\tb", "\u{e4}".as_bytes()] {
            assert_eq!(key(odd), Err("idempotency_key_invalid".to_owned()), "{odd:?}");
        }
        let mut headers = HeaderMap::new();
        for text in ["a", "b"] {
            headers.append("idempotency-key", HeaderValue::from_static(text));
        }
        assert!(key_of(&headers).is_err(), "two keys are none");
    }
}
