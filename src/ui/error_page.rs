//! The error page: why a page cannot be shown or a request was not carried out.

use super::document::{self, Script};
use crate::domain::humanize::capitalised;
use crate::health::database_remedy;
use crate::single_flight::Aborted;
use crate::store::{ListError, StoreError};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;
use std::borrow::Cow;
use tracing::error;

/// A page with the error and the remedy. Causes are only logged.
#[derive(Debug, Clone)]
pub(super) struct ErrorPage {
    status: StatusCode,
    title: &'static str,
    detail: Cow<'static, str>,
    next: Next,
}

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing on this page.
    Leave,
    /// Opening the page again, as a person decides: it is slow because of what it asks for.
    Ask,
    /// Opening the page again as soon as the service works, which the page does itself.
    Wait,
    /// Looking whether the change was made: its result is not known.
    Check,
    /// Sending the form again: nothing was changed.
    SendAgain,
}

impl ErrorPage {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, title, detail: detail.into(), next: Next::Leave }
    }

    fn and(self, next: Next) -> Self {
        Self { next, ..self }
    }

    /// The same as the answer to a form. A form is not sent again by itself.
    pub fn after_a_change(self) -> Self {
        let next = match self.next {
            // The statement was undone.
            Next::Ask => Next::SendAgain,
            Next::Wait => Next::Check,
            _ if self.status == StatusCode::INTERNAL_SERVER_ERROR => Next::Check,
            known => known,
        };
        self.and(next)
    }

    pub fn not_found(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", detail)
    }

    pub fn gone(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GONE, "Removed", detail)
    }

    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Invalid request", detail)
    }

    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "Not possible now", detail)
    }

    pub fn busy(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not available now", detail)
    }

    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error",
            "See the log for the cause, under the x-request-id of this response.",
        )
    }

    pub fn signed_out() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "You are logged out",
            "The session has expired or its key was removed. Nothing was changed: log in and try again.",
        )
    }

    pub fn read_only() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "This key is read-only",
            "Nothing was changed: log in with a key of the scope write.",
        )
    }

    pub fn foreign() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Not from this page",
            "The request did not come from a page of this dashboard. Nothing was changed. Programs use the API.",
        )
    }

    pub fn stale_form() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "This form is out of date",
            "The form belongs to another session. Nothing was changed: go back, reload the page and try again.",
        )
    }

    pub fn form_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too large",
            "A form is limited to 16 KiB. Nothing was changed.",
        )
    }
}

impl From<StoreError> for ErrorPage {
    fn from(error: StoreError) -> Self {
        error!(%error, "dashboard request failed");
        match error {
            // Repeating it by itself would only make the database slower.
            StoreError::TookTooLong => {
                Self::busy("The database took too long: narrow the filter, or try again later.").and(Next::Ask)
            }
            StoreError::TimedOut => Self::busy(format!(
                "The database did not answer in time. {}.",
                capitalised(database_remedy())
            ))
            .and(Next::Wait),
            error if error.is_without_connection() => Self::busy(format!(
                "No connection to the database became free in time: slow pages use all of them, or it accepts none. {}.",
                capitalised(database_remedy())
            ))
            .and(Next::Wait),
            StoreError::Unavailable(_) => Self::busy(format!(
                "The database is not available. Until it is back, webhooks get 503, and the sender retries them. {}.",
                capitalised(database_remedy())
            ))
            .and(Next::Wait),
            StoreError::Refused(_) | StoreError::Unexpected(_) => Self::internal(),
        }
    }
}

impl From<Aborted> for ErrorPage {
    /// The panic is in the log already.
    fn from(Aborted: Aborted) -> Self {
        Self::internal()
    }
}

impl From<ListError> for ErrorPage {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Store(error) => error.into(),
            wanted @ ListError::TimeRangeRequired { .. } => Self::bad_request(format!("{wanted}.")),
        }
    }
}

impl IntoResponse for ErrorPage {
    fn into_response(self) -> Response {
        let body = html! {
            main.narrow id="main" {
                p.kicker { (self.status.as_u16()) }
                h1 { (self.title) }
                p.lead { (self.detail) }
                @match self.next {
                    Next::Wait => p.soft id="retry" hidden { "This page opens again by itself as soon as it works." },
                    Next::Check => p.soft { "It is not known whether the change was made: go back, reload the page and look." },
                    Next::SendAgain => p.soft { "Nothing was changed: go back and try again." },
                    Next::Leave | Next::Ask => {}
                }
                p {
                    // An empty address is that of this page.
                    @if self.next == Next::Ask { a.button href="" { "Try again" } " " }
                    a.button href="/" { "To the overview" }
                }
            }
        };
        let script = if self.next == Next::Wait { Script::Retry } else { Script::Still };
        let mut response = (self.status, document::bare(self.title, script, &body)).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
