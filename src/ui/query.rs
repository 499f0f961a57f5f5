//! Reads the parameters of pages; what cannot be read is a page that says so.

use super::refusal::Refusal;
use crate::store::{Cursor, Window};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

/// How many rows a list shows at a time.
pub(super) const ROWS: u32 = 50;

/// How far back a list goes whose filter has no index.
pub(super) const DAYS: i64 = 30;

/// The parameters after the question mark.
pub(super) struct Query<T>(pub T);

/// What a form sends.
pub(super) struct Form<T>(pub T);

/// The part of the path that varies.
pub(super) struct Path<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        refuse_nul(parts.uri.query().unwrap_or_default())?;
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| Refusal::bad_request(format!("The address: {}.", rejection.body_text())))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        axum::extract::Form::from_request(request, state)
            .await
            .map(|axum::extract::Form(form)| Self(form))
            .map_err(|rejection| {
                Refusal::bad_request(format!("The form: {}. Nothing was done.", rejection.body_text()))
            })
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        refuse_nul(parts.uri.path())?;
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|_| Refusal::not_found("Nothing has an address like this."))
    }
}

/// The place in a list that an address names.
pub(super) fn cursor(text: Option<&str>) -> Result<Option<Cursor>, Refusal> {
    text.map(Cursor::decode).transpose().map_err(|_| {
        Refusal::bad_request("The address names a place in the list that does not exist: begin anew.")
    })
}

/// The last days up to now.
pub(super) fn last_days(now: DateTime<Utc>) -> Window {
    Window { after: Some(now - TimeDelta::days(DAYS)), before: None }
}

/// A field of a form that was left empty counts as not given.
pub(super) fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// No text of ours holds NUL, and Postgres takes none.
pub(super) fn refuse_nul(encoded: &str) -> Result<(), Refusal> {
    if encoded.contains("%00") || encoded.contains('\0') {
        Err(Refusal::bad_request("A NUL cannot be part of anything here."))
    } else {
        Ok(())
    }
}
