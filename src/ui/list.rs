//! A paged list with its filter, which is part of the address, and a bulk operation on all its rows.

use super::Ui;
use super::auth::Visitor;
use super::elements::{address, pager};
use super::error_page::ErrorPage;
use super::filters::{NotListed, Pairs, has_blanks, page_or_message, window_note};
use super::layout::{self, Tab};
use super::query::{self, Query};
use crate::store::{Cursor, Page};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A filter of a list, and how the list is shown.
pub(super) trait Wanted: Clone + Send + Sync + DeserializeOwned {
    /// The type of a row.
    type Row: Send;

    /// The path of the list.
    const PATH: &'static str;
    /// The title.
    const TITLE: &'static str;
    /// The tab.
    const TAB: Tab;

    /// The filter as names and values of the address.
    fn pairs(&self) -> Pairs<'_>;

    /// The start of the time range.
    fn since(&self) -> Option<&str>;

    /// A page of the matching rows, newest first. If the filter needs a time range and has none, it is set.
    fn page(
        &mut self,
        ui: &Ui,
        cursor: Option<Cursor>,
    ) -> impl Future<Output = Result<Page<Self::Row>, NotListed>> + Send;

    /// The filter's form, with an error message.
    fn form(&self, ui: &Ui, error: Option<&str>) -> Markup;

    /// The rows of a page.
    fn rows(ui: &Ui, rows: &[Self::Row]) -> Markup;

    /// The bulk operation on all matching rows.
    fn bulk_action(&self) -> Markup;
}

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "W: DeserializeOwned")]
pub(super) struct ListQuery<W> {
    #[serde(flatten)]
    wanted: W,
    cursor: Option<String>,
}

/// The list.
pub(super) async fn list<W: Wanted>(
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
