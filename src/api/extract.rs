//! Reads parameters and bodies. If one cannot be read, the response is a problem document.

use super::{Api, from_store};
use crate::domain::event::EventKey;
use crate::domain::execution::Status;
use crate::domain::parse_time::parse_time;
use crate::domain::subscription::TypeFilter;
use crate::problem::Problem;
use crate::store::{Cursor, LIMIT_DEFAULT, LIMIT_MAX, Window};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

/// Query parameters.
pub struct Query<T>(pub T);

/// Parameters of the path.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        refuse_nul(parts.uri.path())?;
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection| {
                Problem::bad_request(format!("The path cannot be read: {}.", rejection.body_text()))
            })
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        refuse_nul(parts.uri.query().unwrap_or_default())?;
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Self(query)).map_err(
            |rejection| Problem::bad_request(format!("The query cannot be read: {}.", rejection.body_text())),
        )
    }
}

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "The body must be JSON",
                "Send it with Content-Type: application/json.",
            )),
            Err(rejection) => {
                Err(Problem::bad_request(format!("The body cannot be read: {}.", rejection.body_text())))
            }
        }
    }
}

/// No stored text contains NUL, because Postgres refuses it.
fn refuse_nul(encoded: &str) -> Result<(), Problem> {
    if encoded.contains("%00") {
        Err(Problem::bad_request("NUL characters are not allowed."))
    } else {
        Ok(())
    }
}

/// The requested page: its position and size.
pub(super) fn paging(cursor: Option<&str>, limit: Option<u32>) -> Result<(Option<Cursor>, u32), Problem> {
    let cursor = cursor
        .map(Cursor::decode)
        .transpose()
        .map_err(|error| Problem::bad_request(format!("cursor: {error}.")))?;
    match limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok((cursor, limit)),
        other => Err(Problem::bad_request(format!("limit: must be from 1 to {LIMIT_MAX}, not {other}."))),
    }
}

/// The requested status, in the database's word.
pub(super) fn status(word: Option<&str>) -> Result<Option<&'static str>, Problem> {
    word.map(|word| word.parse().map(Status::as_str))
        .transpose()
        .map_err(|error| Problem::bad_request(format!("status: {error}.")))
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
    read.map_err(|error| Problem::bad_request(format!("type: {error}.")))
}

/// The time range between two parameters, each with its name.
pub(super) fn window(after: (&str, Option<&str>), before: (&str, Option<&str>)) -> Result<Window, Problem> {
    Ok(Window { after: time(after)?, before: time(before)? })
}

/// A time, or a date, which means its beginning.
fn time((name, text): (&str, Option<&str>)) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let parsed = parse_time(text).map(Some);
    parsed.map_err(|error| Problem::bad_request(format!("{name}: {error}. Write a + as %2B.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_time_is_named() {
        let problem = time(("received_after", Some("yesterday"))).expect_err("no time");
        assert!(problem.detail.starts_with("received_after"), "{}", problem.detail);
        assert!(time(("received_after", None)).expect("nothing is asked").is_none());
    }
}
