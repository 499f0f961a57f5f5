//! A list with its filter: read off the address, shown page by page, with the way to act on all of it.

use super::Ui;
use super::elements::{address, pager};
use super::filters::{NotListed, Pairs, has_blanks, told_at_form, window_note};
use super::frame::{self, Tab};
use super::guard::Visitor;
use super::query::{self, Query};
use super::refusal::Refusal;
use crate::store::{Cursor, Page};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What is wanted of a list, and how it is listed.
pub(super) trait Wanted: Clone + Send + Sync + DeserializeOwned {
    /// What a row is read as.
    type Row: Send;

    /// Where the list is.
    const PATH: &'static str;
    /// What it is called.
    const TITLE: &'static str;
    /// Where it stands in the bar.
    const TAB: Tab;

    /// The filter by the names and values that stand in an address.
    fn pairs(&self) -> Pairs<'_>;

    /// Since when.
    fn since(&self) -> Option<&str>;

    /// A page of what passes the filter, newest first. Where a time was not given and is wanted, it is
    /// written into the filter.
    fn page(
        &mut self,
        ui: &Ui,
        cursor: Option<Cursor>,
    ) -> impl Future<Output = Result<Page<Self::Row>, NotListed>> + Send;

    /// The filter's form, with what could not be read of it.
    fn form(&self, ui: &Ui, error: Option<&str>) -> Markup;

    /// The rows of a page.
    fn rows(ui: &Ui, rows: &[Self::Row]) -> Markup;

    /// The way to act on all that passes the filter.
    fn act(&self) -> Markup;
}

/// Which part of a list is asked for.
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
) -> Result<Response, Refusal> {
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
    let (page, told) = told_at_form(ready.page(&ui, cursor).await)?;
    let older = page.next.map(Cursor::encode).map(|cursor| here(Some(&cursor)));
    let newest = query.cursor.is_some().then(|| here(None));
    let body = html! {
        div.head {
            h1 { (W::TITLE) }
            @if visitor.may_write() && !page.rows.is_empty() { (ready.act()) }
        }
        (wanted.form(&ui, told.as_deref()))
        (window_note(wanted.since().is_some(), ready.since().is_some()))
        @if told.is_none() { div data-part="rows" { (W::rows(&ui, &page.rows)) } }
        (pager(newest.as_deref(), older.as_deref()))
    };
    let status = if told.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok((status, frame::page(&visitor, W::TAB, W::TITLE, &body)).into_response())
}
