//! The sandbox's errors: Notion's error document, with Notion's codes and messages.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

/// An error response of Notion.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// Notion's code, such as `validation_error`.
    pub code: &'static str,
    /// What is wrong, in Notion's words.
    pub message: String,
    /// Further data, such as the id of a page that was written despite the error.
    pub additional_data: Option<Value>,
    /// The seconds for the `Retry-After` header.
    pub retry_after: Option<u64>,
}

/// The longest part of a request that an error quotes, in characters.
const QUOTE_CHARS_MAX: usize = 200;

impl ApiError {
    /// An error with this status, code and message.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), additional_data: None, retry_after: None }
    }

    /// Notion's usual error of this status.
    pub fn of_status(status: u16) -> Self {
        let (code, message) = match status {
            400 => ("validation_error", "The request is not valid."),
            401 => ("unauthorized", "API token is invalid."),
            403 => ("restricted_resource", "Insufficient permissions for this endpoint."),
            409 => ("conflict_error", "Conflict occurred while saving. Please try again."),
            429 => ("rate_limited", "You have been rate limited. Please try again in a few minutes."),
            502 => ("bad_gateway", "Notion is unavailable. Please try again later."),
            503 => ("service_unavailable", "Notion is unavailable. Please try again later."),
            504 => ("gateway_timeout", "Notion timed out. Please try again later."),
            529 => ("service_overload", "Notion is overloaded. Please try again later."),
            _ => ("internal_server_error", "Unexpected error occurred."),
        };
        Self::new(status, code, message)
    }

    /// A well-formed request with an invalid value.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "validation_error", message)
    }

    /// A part of the body that has the wrong type; `None` stands for a missing part.
    pub fn malformed(path: &str, should_be: &str, found: Option<&Value>) -> Self {
        Self::validation(format!(
            "body failed validation: {path} should be {should_be}, instead was `{}`.",
            found.map_or_else(|| "undefined".to_owned(), quoted)
        ))
    }

    /// Something that does not exist or is not shared with the integration; Notion does not say which.
    pub fn not_found(what: &str, id: Uuid) -> Self {
        Self::new(
            404,
            "object_not_found",
            format!(
                "Could not find {what} with ID: {id}. Make sure the relevant pages and databases are \
                 shared with your integration."
            ),
        )
    }

    /// The response, with the request's id.
    pub fn into_response_with_id(self, request_id: &str) -> Response {
        let mut body = json!({
            "object": "error",
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "request_id": request_id,
        });
        if let (Some(data), Some(members)) = (self.additional_data, body.as_object_mut()) {
            members.insert("additional_data".to_owned(), data);
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn quoted(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= QUOTE_CHARS_MAX {
        return text;
    }
    text.chars().take(QUOTE_CHARS_MAX).chain(std::iter::once('…')).collect()
}
