//! `/search`: one field for an id, an e-mail address or a link to an entry at a destination.
//!
//! It leads to the event, or to the story of the object, the customer or another common property of the
//! events that were found.

use super::auth::Visitor;
use super::elements::{
    Head::{Number, Text},
    address, capital, empty, maybe, none, outside, pager, status, table, time,
};
use super::error_page::ErrorPage;
use super::events::{mode, type_of};
use super::layout::{self, Tab};
use super::query::{self, Query};
use super::timeline::{Names, timeline};
use super::{Ui, origin};
use crate::domain::event::EventKey;
use crate::domain::search::{SearchText, term};
use crate::domain::story::{self, EventStory};
use crate::store::{Cursor, EventRow, FoundEvent};
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The length limit of a search text, in characters.
const CHARACTERS_MAX: usize = 1000;

/// The number of events of a story on one page.
const EVENTS: u32 = 20;

/// The query of the search page.
#[derive(Debug, Deserialize)]
pub(super) struct SearchQuery {
    #[serde(default)]
    q: String,
    cursor: Option<String>,
}

/// The events that were found, and their story.
pub(super) async fn search(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<SearchQuery>,
) -> Result<Response, ErrorPage> {
    let sought = Some(query.q.as_str())
        .filter(|text| text.chars().count() <= CHARACTERS_MAX)
        .and_then(|text| SearchText::read(text, &ui.destinations))
        .ok_or_else(|| {
            ErrorPage::bad_request("The search text must have 1 to 1000 characters that are not all blanks.")
        })?;
    let page = ui.store.events.search(&sought, query::cursor(query.cursor.as_deref())?, EVENTS).await?;
    if let [found] = page.rows.as_slice()
        && found.event.event_id == sought.event_id
    {
        return Ok(Redirect::to(&format!("/events/{}", found.event.id)).into_response());
    }
    let events: Vec<EventRow> = page.rows.iter().map(|found| found.event.clone()).collect();
    let (chapters, now) =
        tokio::try_join!(ui.store.reports.chapters(&events, &ui.instances), ui.store.reports.now())?;
    let here = |cursor: Option<&str>| address("/search", &[("q", Some(&query.q)), ("cursor", cursor)]);
    let older = page.next.map(Cursor::encode).map(|cursor| here(Some(&cursor)));
    let newest = query.cursor.is_some().then(|| here(None));
    let subject = Subject::of(&sought, &page.rows);
    let body = html! {
        div {
            p.kicker { (capital(subject.kind())) }
            h1 { bdi { (query.q.trim()) } }
            @if older.is_some() { p.lead { "The newest " (EVENTS) " matching events; there are older ones." } }
        }
        (subject.facts(&ui))
        section data-part="rows" aria-labelledby="events-title" {
            h2 id="events-title" { "Events" }
            (rows(&page.rows, &chapters, &subject))
        }
        // It exists without events too, so that an open page can show the first.
        section data-part="timeline" aria-labelledby="timeline-title" hidden[chapters.is_empty()] {
            h2 id="timeline-title" { "What happened" }
            (timeline(&story::lines(&chapters, &ui.destinations, now), &names(&events, &chapters)))
        }
        (pager(newest.as_deref(), older.as_deref()))
    };
    Ok(layout::page(&visitor, Tab::Search, query.q.trim(), &body).into_response())
}

/// The common property of the events that were found.
#[derive(Debug)]
enum Subject<'a> {
    /// An object, with one of its events.
    Object(&'a EventRow),
    /// A customer, with the newest event that has them.
    Customer(&'a FoundEvent),
    /// Something else.
    Other,
}

impl<'a> Subject<'a> {
    fn of(sought: &SearchText, found: &'a [FoundEvent]) -> Self {
        let is_meant = |text: Option<&String>| text.is_some_and(|text| term(text) == sought.term);
        let of_customer =
            |one: &&FoundEvent| is_meant(one.customer.as_ref()) || is_meant(one.customer_email.as_ref());
        let of_object = |one: &&FoundEvent| is_meant(one.event.object_id.as_ref());
        if let Some(one) = found.iter().find(of_customer) {
            return Self::Customer(one);
        }
        found.iter().find(of_object).map_or(Self::Other, |one| Self::Object(&one.event))
    }

    fn kind(&self) -> &str {
        match self {
            Self::Object(event) => event.object_type.as_deref().unwrap_or("Object"),
            Self::Customer(_) => "Customer",
            Self::Other => "Search",
        }
    }

    fn facts(&self, ui: &Ui) -> Markup {
        let (event, customer) = match self {
            Self::Object(event) => (*event, None),
            Self::Customer(found) => (&found.event, Some(*found)),
            Self::Other => return html! {},
        };
        let link = |id: Option<&str>| {
            let at_sender = id.and_then(|id| ui.sources.object_link(id, origin(event)));
            html! { @match (id, at_sender) { (Some(id), Some(link)) => (outside(&link, id)), (id, _) => (maybe(id)) } }
        };
        html! {
            section.card aria-labelledby="facts" {
                h2.hidden id="facts" { "Facts" }
                dl.facts {
                    @if let Some(customer) = customer {
                        div { dt { "Customer" } dd.mono { (link(customer.customer.as_deref())) } }
                        div { dt { "E-mail" } dd { (maybe(customer.customer_email.as_deref())) } }
                    } @else {
                        div { dt { "Object" } dd.mono { (link(event.object_id.as_deref())) } }
                        div { dt { "Kind" } dd { (maybe(event.object_type.as_deref())) } }
                    }
                    div { dt { "Mode" } dd { (mode(event.livemode)) } }
                    div { dt { "Account" } dd.mono { (maybe(event.account.as_deref())) } }
                }
            }
        }
    }
}

/// The names for the lines of a story of several events. A single destination is not named.
fn names(events: &[EventRow], chapters: &[EventStory]) -> Names {
    let destinations: BTreeSet<_> = chapters
        .iter()
        .flat_map(|chapter| &chapter.executions)
        .map(|execution| &execution.destination)
        .collect();
    Names {
        events: events.iter().map(|event| (EventKey(event.id), type_of(event).to_owned())).collect(),
        destinations: destinations.len() > 1,
    }
}

fn rows(found: &[FoundEvent], chapters: &[EventStory], subject: &Subject<'_>) -> Markup {
    if found.is_empty() {
        return empty(
            "No results",
            "Events are found by their id immediately, and by everything else 1 to 2 s after receipt. Use complete ids and addresses.",
        );
    }
    // The subject of the page is not repeated in each row.
    let (is_object, is_customer) =
        (matches!(subject, Subject::Object(_)), matches!(subject, Subject::Customer(_)));
    let mut heads =
        vec![Text("Received"), Text("Type"), Text("Executions"), Number("Amount"), Text("Invoice")];
    heads.extend((!is_customer).then_some(Text("Customer")));
    heads.extend((!is_object).then_some(Text("Object")));
    table(
        "Events found",
        &heads,
        &html! {
            @for (one, chapter) in found.iter().zip(chapters) {
                tr {
                    td.when { (time(one.event.received_at)) }
                    td { a href=(format!("/events/{}", one.event.id)) { (type_of(&one.event)) } }
                    td {
                        @if chapter.executions.is_empty() { (none()) }
                        @for execution in &chapter.executions { (status(execution.status.as_str())) " " }
                    }
                    td.number { @match &one.amount { Some(amount) => (amount.to_string()), None => (none()) } }
                    td { (maybe(one.invoice_number.as_deref())) }
                    @if !is_customer { td { (maybe(one.customer_email.as_deref().or(one.customer.as_deref()))) } }
                    @if !is_object { td.mono { (maybe(one.event.object_id.as_deref())) } }
                }
            }
        },
    )
}
