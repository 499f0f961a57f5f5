//! Reads parameters and bodies, and answers what cannot be read with a problem document.

use crate::domain::execution::Status;
use crate::problem::Problem;
use crate::store::{Cursor, LIMIT_DEFAULT, LIMIT_MAX};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
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

/// No text of ours holds NUL, and Postgres takes none.
fn refuse_nul(encoded: &str) -> Result<(), Problem> {
    if encoded.contains("%00") {
        Err(Problem::bad_request("A NUL cannot be part of anything here."))
    } else {
        Ok(())
    }
}

/// The page asked for: its place and its size.
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

/// The status asked for, in the database's own word.
pub(super) fn status(word: Option<&str>) -> Result<Option<&'static str>, Problem> {
    word.map(|word| word.parse().map(Status::as_str))
        .transpose()
        .map_err(|error| Problem::bad_request(format!("status: {error}.")))
}
