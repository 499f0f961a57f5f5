//! Errors as RFC 9457 problem documents.
//!
//! A problem document explains what to do and discloses no internals: causes go to the log.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// A problem document (RFC 9457), sent as `application/problem+json`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem, as a URN: `urn:eventbridge:problem:` and the `code`.
    #[serde(rename = "type")]
    #[schema(example = "urn:eventbridge:problem:bad_request")]
    pub kind: String,
    /// The kind in a few words.
    #[schema(example = "The request cannot be read")]
    pub title: Cow<'static, str>,
    /// The HTTP status.
    #[schema(example = 400)]
    pub status: u16,
    /// What happened and what to do, for people. Its wording may change.
    #[schema(example = "limit: must be from 1 to 200, not 0.")]
    pub detail: String,
    /// The kind of problem, for programs.
    #[schema(value_type = ProblemCode)]
    pub code: Cow<'static, str>,
    /// The parameter, the header or the field of the body that is wrong, such as `limit` or `filter.status`; null
    /// if the problem is not in one of them.
    #[schema(example = "limit")]
    pub param: Option<String>,
    /// Seconds to wait before a retry, also sent as `Retry-After`; null if a retry does not help.
    #[schema(example = json!(null))]
    pub retry_after: Option<u64>,
    #[serde(skip)]
    challenge: Option<&'static str>,
}

/// The kind of a problem. Later versions may add codes: treat an unknown one by its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// A parameter, the path or the body cannot be read; `param` names it.
    BadRequest,
    /// The filter requires a time range of at most 31 days.
    TimeRangeRequired,
    /// The database rejects the event's data.
    EventRefused,
    /// No key, or an unknown one.
    Unauthorized,
    /// The key may only read.
    Forbidden,
    /// Without keys, the service does not answer at this host name.
    WrongHost,
    /// In dev, the service answers only this machine.
    NotLocal,
    /// Without keys, pages of other origins may change nothing.
    ForeignPage,
    /// There is nothing with this id or at this address.
    NotFound,
    /// The address exists, but not for this method.
    MethodNotAllowed,
    /// The body arrived too slowly.
    BodyTooSlow,
    /// The execution cannot be retried in its present state.
    NotRetryable,
    /// The execution cannot be cancelled in its present state.
    NotCancellable,
    /// The destination of the execution is not configured.
    NoDestination,
    /// The operator must fix the destination first.
    NeedsOperator,
    /// The payload of the event was removed.
    PayloadRemoved,
    /// Too many bulk tasks are not finished.
    TooManyTasks,
    /// The bulk task has ended, so it cannot be cancelled.
    TaskFinished,
    /// The `Idempotency-Key` cannot be read.
    IdempotencyKeyInvalid,
    /// A request with this `Idempotency-Key` is being processed.
    IdempotencyKeyInUse,
    /// This `Idempotency-Key` belongs to another request.
    IdempotencyKeyReused,
    /// The body is too large.
    BodyTooLarge,
    /// The content type of the body is not JSON.
    NotJson,
    /// An error of the service; the log has the cause.
    Internal,
    /// It should work again soon; see `retry_after`.
    Unavailable,
}

impl ProblemCode {
    /// The word in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::TimeRangeRequired => "time_range_required",
            Self::EventRefused => "event_refused",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::WrongHost => "wrong_host",
            Self::NotLocal => "not_local",
            Self::ForeignPage => "foreign_page",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooSlow => "body_too_slow",
            Self::NotRetryable => "not_retryable",
            Self::NotCancellable => "not_cancellable",
            Self::NoDestination => "no_destination",
            Self::NeedsOperator => "needs_operator",
            Self::PayloadRemoved => "payload_removed",
            Self::TooManyTasks => "too_many_tasks",
            Self::TaskFinished => "task_finished",
            Self::IdempotencyKeyInvalid => "idempotency_key_invalid",
            Self::IdempotencyKeyInUse => "idempotency_key_in_use",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::BodyTooLarge => "body_too_large",
            Self::NotJson => "not_json",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<ProblemCode> for Cow<'static, str> {
    fn from(code: ProblemCode) -> Self {
        code.as_str().into()
    }
}

impl Problem {
    /// A problem of this status and code: a [`ProblemCode`], or the check of a source that rejects a webhook.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        let code = code.into();
        Self {
            kind: format!("urn:eventbridge:problem:{code}"),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            param: None,
            retry_after: None,
            challenge: None,
        }
    }

    /// 400 for a request that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ProblemCode::BadRequest, "The request cannot be read", detail)
    }

    /// 400 for a parameter or a field of the body; `what` is wrong with it, without a full stop.
    pub fn invalid(param: impl Into<String>, what: impl std::fmt::Display) -> Self {
        let param = param.into();
        Self::bad_request(format!("{param}: {what}.")).with_param(param)
    }

    /// The same, in this parameter, header or field.
    #[must_use]
    pub fn with_param(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// 404 for a missing resource.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ProblemCode::NotFound, "Not found", detail)
    }

    /// 500 for an error of the service. The cause is logged under the request's id.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ProblemCode::Internal,
            "Internal error",
            "The service could not answer. Its log has the cause, under this response's x-request-id.",
        )
    }

    /// 503 for something that should work again soon.
    pub fn unavailable(detail: impl Into<String>, retry_after: u64) -> Self {
        let mut problem =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, ProblemCode::Unavailable, "Not available now", detail);
        problem.retry_after = Some(retry_after);
        problem
    }

    /// 401 with the way to authenticate.
    pub fn unauthorized(detail: impl Into<String>, challenge: &'static str) -> Self {
        let mut problem =
            Self::new(StatusCode::UNAUTHORIZED, ProblemCode::Unauthorized, "A key is needed", detail);
        problem.challenge = Some(challenge);
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (retry_after, challenge) = (self.retry_after, self.challenge);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
