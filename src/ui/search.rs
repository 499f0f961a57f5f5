//! `/search`: one box for whatever people have in hand: an id, an e-mail address, a Notion link.

use super::Ui;
use super::elements::{
    Head::{Number, Text},
    address, empty, maybe, none, pager, table, time,
};
use super::frame::{self, Tab};
use super::guard::Visitor;
use super::query::{self, Query, ROWS};
use super::refusal::Refusal;
use crate::domain::search::Sought;
use crate::store::{Cursor, FoundEvent};
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;

/// The longest text that is looked for.
const CHARACTERS_MAX: usize = 1000;

/// What is looked for.
#[derive(Debug, Deserialize)]
pub(super) struct SearchQuery {
    #[serde(default)]
    q: String,
    cursor: Option<String>,
}

/// What was found.
pub(super) async fn search(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<SearchQuery>,
) -> Result<Html<String>, Refusal> {
    let sought = Some(query.q.as_str())
        .filter(|text| text.chars().count() <= CHARACTERS_MAX)
        .and_then(Sought::read)
        .ok_or_else(|| Refusal::bad_request("Search for 1 to 1000 characters, not only blanks."))?;
    let page = ui.store.search(&sought, query::cursor(query.cursor.as_deref())?, ROWS).await?;
    let here = |cursor: Option<&str>| address("/search", &[("q", Some(&query.q)), ("cursor", cursor)]);
    let older = page.next.map(Cursor::encode).map(|cursor| here(Some(&cursor)));
    let newest = query.cursor.is_some().then(|| here(None));
    let body = html! {
        div { p.kicker { "Search" } h1 { (query.q.trim()) } }
        div data-part="rows" { (rows(&page.rows)) }
        (pager(newest.as_deref(), older.as_deref()))
    };
    Ok(frame::page(&visitor, Tab::Search, "Search", &body))
}

fn rows(found: &[FoundEvent]) -> Markup {
    html! {
        @if found.is_empty() {
            (empty("Nothing was found", "Events are found by their id at once, and by all else a second or two after they came. Give whole ids and addresses."))
        } @else {
            (table("Events found", &[Text("Received"), Text("Type"), Number("Amount"), Text("Customer"), Text("Invoice"), Text("Object")], &html! {
                @for one in found {
                    tr {
                        td.when { (time(one.event.received_at)) }
                        td { a href=(format!("/events/{}", one.event.id)) { (one.event.event_type) } }
                        td.number { @match &one.amount { Some(amount) => (amount.to_string()), None => (none()) } }
                        td { (maybe(one.customer_email.as_deref().or(one.customer.as_deref()))) }
                        td { (maybe(one.invoice_number.as_deref())) }
                        td.mono { (maybe(one.event.object_id.as_deref())) }
                    }
                }
            }))
        }
    }
}
