//! Extractors for the parameters of pages; invalid parameters lead to an error page.

use super::error_page::ErrorPage;
use crate::store::{Cursor, WINDOW_DAYS_DEFAULT, Window};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

/// The rows of one page of a list.
pub(super) const ROWS: u32 = 50;

/// The time range, in days, of a list whose filter has no index.
pub(super) const DAYS: i64 = WINDOW_DAYS_DEFAULT;

/// The query string.
pub(super) struct Query<T>(pub T);

/// A form.
pub(super) struct Form<T>(pub T);

/// The variable part of the path.
pub(super) struct Path<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ErrorPage;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ErrorPage> {
        reject_nul(parts.uri.query().unwrap_or_default())?;
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| ErrorPage::bad_request(format!("The address: {}.", rejection.body_text())))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = ErrorPage;

    async fn from_request(request: Request, state: &S) -> Result<Self, ErrorPage> {
        axum::extract::Form::from_request(request, state)
            .await
            .map(|axum::extract::Form(form)| Self(form))
            .map_err(|rejection| {
                ErrorPage::bad_request(format!("The form: {}. Nothing was changed.", rejection.body_text()))
            })
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ErrorPage;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ErrorPage> {
        reject_nul(parts.uri.path())?;
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|_| ErrorPage::not_found("There is no such page."))
    }
}

/// The cursor in an address.
pub(super) fn cursor(text: Option<&str>) -> Result<Option<Cursor>, ErrorPage> {
    text.map(Cursor::decode).transpose().map_err(|_| {
        ErrorPage::bad_request("The cursor in the URL is invalid: start again at the first page.")
    })
}

/// The last days up to now.
pub(super) fn last_days(now: DateTime<Utc>) -> Window {
    Window { after: Some(now - TimeDelta::days(DAYS)), before: None }
}

/// Treats an empty form field as missing.
pub(super) fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Rejects NUL, which Postgres does not accept in text.
pub(super) fn reject_nul(encoded: &str) -> Result<(), ErrorPage> {
    if encoded.contains("%00") || encoded.contains('\0') {
        Err(ErrorPage::bad_request("NUL characters are not allowed."))
    } else {
        Ok(())
    }
}
