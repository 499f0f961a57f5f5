//! Reads parameters and bodies. If one cannot be read, the response is a problem document that names it.

use super::fields::{self, FieldError};
use super::{Api, from_store};
use crate::domain::event::EventKey;
use crate::domain::parse_time::parse_time;
use crate::domain::subscription::TypeFilter;
use crate::problem::{Problem, ProblemCode};
use crate::store::{LIMIT_DEFAULT, LIMIT_MAX, Window};
use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;

/// Query parameters.
pub struct Query<T>(pub T);

/// Parameters of the path.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unreadable = || Problem::bad_request("The path cannot be read: it must be UTF-8.");
        // The error for a path that is not UTF-8 follows.
        if let Ok(params) = RawPathParams::from_request_parts(parts, state).await {
            params.iter().try_for_each(|(name, text)| refuse_nul(name, text))?;
        }
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(match error.into_kind() {
                ErrorKind::InvalidUtf8InPathParam { key } => Problem::invalid(key, "must be UTF-8"),
                ErrorKind::ParseErrorAtKey { key, .. } => Problem::invalid(key, "is no valid value"),
                _ => unreadable(),
            }),
            Err(_) => Err(unreadable()),
        }
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        pairs.iter().try_for_each(|(name, text)| refuse_nul(name, text))?;
        fields::from_query(pairs).map(Self).map_err(|error| problem(error, "The query"))
    }
}

/// Refuses query parameters, for a request that has none: one that is not read would not do what was meant.
pub struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct None {}
        Query::<None>::from_request_parts(parts, state).await.map(|_| Self)
    }
}

/// Refuses a body, for a request whose parameters are in its path and its query: a filter in a body that is not read
/// would select more than was meant.
pub struct NoBody;

impl<S: Sync> FromRequestParts<S> for NoBody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let is_empty = length.is_none_or(|length| length.as_bytes() == b"0")
            && !parts.headers.contains_key(header::TRANSFER_ENCODING);
        if is_empty {
            return Ok(Self);
        }
        Err(Problem::bad_request(
            "This request takes no body; its parameters belong in the query. Nothing was changed.",
        ))
    }
}

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ProblemCode::NotJson,
                "The body must be JSON",
                "Send it with Content-Type: application/json.",
            )
            .with_param("Content-Type"));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    ProblemCode::BodyTooLarge,
                    "The body is too large",
                    "A body may have at most 2 MiB.",
                )
            } else {
                Problem::bad_request("The body ended before it was complete.")
            }
        })?;
        let value: Value = serde_json::from_slice(&body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem::bad_request(format!(
                "The body is not valid JSON; the error is at line {line}, column {column}."
            ))
        })?;
        fields::from_json(value).map(Self).map_err(|error| problem(error, "The body"))
    }
}

/// Whether the content type is JSON, or a type that is written as JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn problem(error: FieldError, whole: &str) -> Problem {
    match error.name {
        Some(name) => Problem::invalid(name, error.what),
        None => Problem::bad_request(format!("{whole} {}.", error.what)),
    }
}

/// No stored text contains NUL, because Postgres refuses it.
fn refuse_nul(name: &str, text: &str) -> Result<(), Problem> {
    match (name.contains('\0'), text.contains('\0')) {
        (true, _) => Err(Problem::bad_request("NUL characters are not allowed.")),
        (false, true) => Err(Problem::invalid(name, "NUL characters are not allowed")),
        (false, false) => Ok(()),
    }
}

/// The size of the requested page.
pub(super) fn limit(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        other => Err(Problem::invalid("limit", format_args!("must be from 1 to {LIMIT_MAX}, not {other}"))),
    }
}

/// The service's key of an event, given by the service's number or the sender's id; `None` if no event
/// has that id. Whether an event has the number is not checked.
pub(super) async fn event_key(api: &Api, id: &str) -> Result<Option<EventKey>, Problem> {
    match id.parse() {
        Ok(number) => Ok(Some(EventKey(number))),
        Err(_) => api.store.events.event_key(id).await.map_err(from_store),
    }
}

/// The requested types, as a list of patterns.
pub(super) fn types(api: &Api, list: Option<&str>) -> Result<Option<TypeFilter>, Problem> {
    let read = list.map(|list| TypeFilter::parse(list, api.sources.types())).transpose();
    read.map_err(|error| Problem::invalid("type", error))
}

/// The time range between two parameters, each with its name.
pub(super) fn window(after: (&str, Option<&str>), before: (&str, Option<&str>)) -> Result<Window, Problem> {
    Ok(Window { after: time(after)?, before: time(before)? })
}

/// A time, or a date, which means its beginning.
fn time((name, text): (&str, Option<&str>)) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let parsed = parse_time(text).map(Some);
    parsed.map_err(|error| {
        let mut problem = Problem::invalid(name, error);
        problem.detail.push_str(" Write a + as %2B.");
        problem
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_time_is_named() {
        let problem = time(("received_after", Some("yesterday"))).expect_err("no time");
        assert!(problem.detail.starts_with("received_after"), "{}", problem.detail);
        assert_eq!(problem.param.as_deref(), Some("received_after"));
        assert!(time(("received_after", None)).expect("nothing is asked").is_none());
    }
}
