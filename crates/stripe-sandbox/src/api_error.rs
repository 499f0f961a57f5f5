//! Stripe's errors, with its types, codes and messages.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// An error response of Stripe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// Stripe's type, such as `invalid_request_error`.
    pub kind: &'static str,
    /// Stripe's code, such as `resource_missing`.
    pub code: Option<&'static str>,
    /// What is wrong, in Stripe's words.
    pub message: String,
    /// The parameter that is wrong.
    pub param: Option<String>,
    /// The seconds of the `Retry-After` header.
    pub retry_after: Option<u64>,
    /// The `Stripe-Should-Retry` header.
    pub should_retry: Option<bool>,
}

impl ApiError {
    /// An error about the request.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: "invalid_request_error",
            code: None,
            message: message.into(),
            param: None,
            retry_after: None,
            should_retry: None,
        }
    }

    /// Stripe's usual error of this status.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 => Self::new(400, "The request is not valid."),
            401 => Self::new(401, "Invalid API Key provided."),
            403 => {
                Self::new(403, "The provided key does not have the required permissions for this endpoint.")
            }
            409 => Self::new(
                409,
                "This object cannot be accessed right now because another API request or Stripe process is \
                 currently accessing it. If you see this error intermittently, retry the request.",
            )
            .code("lock_timeout"),
            429 => Self::new(
                429,
                "Request rate limit exceeded. You can learn more about rate limits here \
                 https://stripe.com/docs/rate-limits.",
            )
            .code("rate_limit"),
            500.. => Self {
                kind: "api_error",
                ..Self::new(
                    status,
                    "An unknown error occurred. Please retry the request, and contact \
                     https://support.stripe.com if it happens again.",
                )
            },
            _ => Self::new(status, "The request cannot be answered."),
        }
    }

    /// The same error with a code.
    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same error about a parameter.
    #[must_use]
    pub fn param(self, param: &str) -> Self {
        Self { param: Some(param.to_owned()), ..self }
    }

    /// The object does not exist.
    pub fn missing(what: &str, id: &str) -> Self {
        Self::new(404, format!("No such {what}: '{id}'")).code("resource_missing").param("id")
    }

    /// A parameter has a wrong value.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::new(400, message).param(param)
    }

    /// The address is none of the API's.
    pub fn unrecognized(method: &str, path: &str) -> Self {
        Self::new(
            404,
            format!(
                "Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can \
                 help at https://support.stripe.com/."
            ),
        )
    }

    /// The body, in the form of the API's first or second version.
    pub fn body(&self, request_id: &str, is_v2: bool, dashboard: &str) -> Value {
        let mut error = Map::new();
        if let Some(code) = self.v_code(is_v2) {
            error.insert("code".to_owned(), code.into());
            if !is_v2 {
                error.insert(
                    "doc_url".to_owned(),
                    format!("https://stripe.com/docs/error-codes/{code}").into(),
                );
            }
        }
        error.insert("message".to_owned(), self.message.clone().into());
        if let Some(param) = self.param.as_ref().filter(|_| !is_v2) {
            error.insert("param".to_owned(), param.clone().into());
        }
        if !is_v2 {
            let log = format!("{dashboard}/logs/{request_id}");
            error.insert("request_log_url".to_owned(), log.into());
        }
        if !is_v2 || matches!(self.status, 401 | 403 | 429) {
            let kind = if is_v2 && self.status == 429 { "rate_limit" } else { self.kind };
            error.insert("type".to_owned(), kind.into());
        }
        json!({ "error": error })
    }

    /// The code: in the API's second version every error has one.
    fn v_code(&self, is_v2: bool) -> Option<&'static str> {
        if !is_v2 {
            return self.code;
        }
        Some(match (self.status, self.code) {
            (404, _) => "not_found",
            (429, _) => "rate_limit_exceeded",
            (500.., _) => "internal_error",
            (_, Some(code)) => code,
            _ => "invalid_fields",
        })
    }

    /// The response with its body.
    pub fn respond(&self, body: &Value) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(retry) = self.should_retry {
            let text = if retry { "true" } else { "false" };
            headers.insert("stripe-should-retry", HeaderValue::from_static(text));
        }
        if self.status == 429 {
            headers.insert("stripe-rate-limited-reason", HeaderValue::from_static("global-rate"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_form_of_its_version() {
        let error = ApiError::missing("charge", "ch_1");
        let first = error.body("req_1", false, "https://dashboard.stripe.com/test");
        assert_eq!(first["error"]["code"], "resource_missing");
        assert_eq!(first["error"]["param"], "id");
        assert_eq!(first["error"]["type"], "invalid_request_error");
        let second = error.body("req_1", true, "");
        assert_eq!(second, json!({ "error": { "code": "not_found", "message": "No such charge: 'ch_1'" } }));
    }
}
