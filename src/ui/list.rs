//! A paged list with its filter, which is part of the address, and a bulk operation on all its rows.

use super::Ui;
use super::auth::Visitor;
use super::elements::{address, pager};
use super::error_page::ErrorPage;
use super::filters::{ListFilter, NotListed};
use super::layout;
use super::query::{self, DAYS, Query};
use crate::store::{Cursor, Page};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "W: DeserializeOwned")]
pub(super) struct ListQuery<W> {
    #[serde(flatten)]
    wanted: W,
    cursor: Option<String>,
}

/// The list.
pub(super) async fn list<W: ListFilter>(
    State(ui): State<Ui>,
    visitor: Visitor,
    RawQuery(raw): RawQuery,
    Query(query): Query<ListQuery<W>>,
) -> Result<Response, ErrorPage> {
    let wanted = &query.wanted;
    let here = |cursor: Option<&str>| {
        let mut pairs = wanted.pairs();
        pairs.push(("cursor", cursor));
        address(W::PATH, &pairs)
    };
    if has_blanks(raw.as_deref()) {
        return Ok(Redirect::to(&here(query.cursor.as_deref())).into_response());
    }
    let mut ready = wanted.clone();
    let cursor = query::cursor(query.cursor.as_deref())?;
    let (page, error) = page_or_message(ready.page(&ui, cursor).await)?;
    let older = page.next.map(Cursor::encode).map(|cursor| here(Some(&cursor)));
    let newest = query.cursor.is_some().then(|| here(None));
    let body = html! {
        div.head {
            h1 { (W::TITLE) }
            @if visitor.may_write() && !page.rows.is_empty() { (ready.bulk_action()) }
        }
        (wanted.form(&ui, error.as_deref()))
        (window_note(wanted.since().is_some(), ready.since().is_some()))
        @if error.is_none() { div data-part="rows" { (W::rows(&ui, &page.rows)) } }
        (pager(newest.as_deref(), older.as_deref()))
    };
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok((status, layout::page(&visitor, W::TAB, W::TITLE, &body)).into_response())
}

/// A page of a list, or an empty one with the message for the form.
fn page_or_message<T>(listed: Result<Page<T>, NotListed>) -> Result<(Page<T>, Option<String>), ErrorPage> {
    match listed {
        Ok(page) => Ok((page, None)),
        Err(NotListed::Invalid(text)) => Ok((Page { rows: Vec::new(), next: None }, Some(text))),
        Err(NotListed::Failed(error)) => Err(error),
    }
}

/// The note that a list covers only the last days, if the reader gave no time range.
fn window_note(was_given: bool, is_given: bool) -> Markup {
    html! {
        @if !was_given && is_given { p.soft { "Of the last " (DAYS) " days; set a time range to see older ones." } }
    }
}

/// Whether a query string has empty fields. The list then redirects to a shorter URL, which can be shared.
fn has_blanks(query: Option<&str>) -> bool {
    query
        .is_some_and(|query| url::form_urlencoded::parse(query.as_bytes()).any(|(_, value)| value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_left_empty_are_seen_in_an_address() {
        assert!(has_blanks(Some("type=&status=failed")));
        assert!(!has_blanks(Some("status=failed")) && !has_blanks(None));
    }
}
