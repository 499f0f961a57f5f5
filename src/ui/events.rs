//! `/events/{id}`: an event with its executions and its story; and the table of the list.

use super::auth::Visitor;
use super::elements::{
    Head::{Number, Text},
    address, capital, done, empty, in_parts, maybe, none, outside, status, table, time,
};
use super::error_page::ErrorPage;
use super::executions::{self, remote_button};
use super::layout::{self, Tab};
use super::payload::{self, Kept, kept};
use super::query::{Path, Query};
use super::timeline::{Names, timeline, waits};
use super::{Ui, origin};
use crate::domain::destination_summary::{Noun, noun};
use crate::domain::event::{EventKey, EventOrigin};
use crate::domain::humanize::time_in_words;
use crate::domain::money::Money;
use crate::domain::search::SearchText;
use crate::domain::story::{self, Execution};
use crate::store::{EventFilter, EventRow, FoundEvent, LIMIT_MAX, StoreError};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

/// The number of other events of the same object that an event's page shows.
const SIBLINGS: u32 = 11;

/// The query of the page: the last action.
#[derive(Debug, Deserialize)]
pub(super) struct ShowQuery {
    done: Option<String>,
}

/// One event: its facts, its executions, its story and its body.
pub(super) async fn show(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Result<Html<String>, ErrorPage> {
    let missing = || ErrorPage::not_found("There is no event with this id.");
    let key = key(&ui, &id).await?.ok_or_else(missing)?;
    let event = ui.store.events.event(key).await?.ok_or_else(missing)?;
    let of_object = EventFilter { object_id: event.object_id.clone(), ..EventFilter::default() };
    let siblings = async {
        match event.object_id {
            Some(_) => Ok(ui.store.events.events(&of_object, None, SIBLINGS).await?.rows),
            None => Ok::<_, ErrorPage>(Vec::new()),
        }
    };
    let story = async {
        let chapters = ui.store.reports.chapters(std::slice::from_ref(&event), &ui.instances);
        Ok(tokio::try_join!(chapters, ui.store.reports.now())?)
    };
    let found = async {
        let Some(sought) = SearchText::read(&event.event_id, &[]) else { return Ok(None) };
        let page = ui.store.events.search(&sought, None, LIMIT_MAX).await?;
        Ok(page.rows.into_iter().find(|found| found.event.id == event.id))
    };
    let ((chapters, now), kept, siblings, found) = tokio::try_join!(story, kept(&ui, key), siblings, found)?;
    let executions: Vec<_> = chapters.iter().flat_map(|chapter| &chapter.executions).collect();
    let names = Names { destinations: executions.len() > 1, ..Names::default() };
    let body = html! {
        (done(query.done.as_deref()))
        div.head {
            div { p.kicker { "Event" } h1 { (type_of(&event)) } p.mono.soft { (event.event_id) } }
        }
        section.card aria-labelledby="facts" data-part="facts" { h2.hidden id="facts" { "Facts" } (facts(&ui, &event, found.as_ref())) }
        section data-part="executions" aria-labelledby="executions" {
            h2 id="executions" { "Executions" }
            @if executions.is_empty() {
                (empty("No destination", "The event is stored. No destination subscribes to events of this type and mode."))
            } @else {
                div.cards.wide { @for execution in executions { (card(&visitor, noun(&ui.destinations, &execution.destination), execution)) } }
            }
        }
        section data-part="timeline" aria-labelledby="timeline-title" {
            h2 id="timeline-title" { "What happened" }
            (timeline(&story::lines(&chapters, &ui.destinations, now), &names))
        }
        (others(&event, &siblings))
        (payload::section(event.id, &kept))
    };
    Ok(layout::page(&visitor, Tab::Events, &event.event_id, &body))
}

/// The body, byte for byte.
pub(super) async fn payload(State(ui): State<Ui>, Path(id): Path<String>) -> Result<Response, ErrorPage> {
    let missing = || ErrorPage::not_found("There is no event with this id.");
    let key = key(&ui, &id).await?.ok_or_else(missing)?;
    let body = match kept(&ui, key).await? {
        Kept::Whole(body) => body,
        Kept::Removed(removed) => {
            let (at, why) = (time_in_words(removed.at), payload::why_removed(&removed));
            return Err(ErrorPage::gone(format!("The payload of this event was removed at {at}: {why}.")));
        }
        Kept::Nothing => return Err(missing()),
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// This service's key of an event, or its sender's id.
async fn key(ui: &Ui, id: &str) -> Result<Option<EventKey>, ErrorPage> {
    match id.parse() {
        Ok(number) => Ok(Some(EventKey(number))),
        Err(_) => Ok(ui.store.events.event_key(id).await?),
    }
}

/// An event of a list, with its amount once it is indexed.
pub(super) struct Listed {
    pub event: EventRow,
    pub amount: Option<Money>,
}

impl Listed {
    /// These events with their amounts.
    pub async fn read(ui: &Ui, events: Vec<EventRow>) -> Result<Vec<Self>, StoreError> {
        let keys: Vec<_> = events.iter().map(|event| event.id).collect();
        let mut amounts = ui.store.events.amounts(&keys).await?;
        Ok(events
            .into_iter()
            .map(|event| Self { amount: amounts.remove(&EventKey(event.id)), event })
            .collect())
    }
}

/// A table of events.
pub(super) fn rows(events: &[Listed]) -> Markup {
    html! {
        @if events.is_empty() {
            (empty("No events", "No event matches, or none has been received yet."))
        } @else {
            (table("Events", &[Text("Received"), Text("Type"), Number("Amount"), Text("Object"), Text("Event"), Text("Mode")], &html! {
                @for Listed { event, amount } in events {
                    tr {
                        td.when { (time(event.received_at)) }
                        td { a href=(format!("/events/{}", event.id)) { (type_of(event)) } }
                        td.number { @match amount { Some(amount) => (amount.to_string()), None => (none()) } }
                        td.mono { (maybe(event.object_id.as_deref())) }
                        td.mono { (event.event_id) }
                        td { (mode(event.livemode)) }
                    }
                }
            }))
        }
    }
}

/// The facts of an event; those from its body appear once it is indexed.
fn facts(ui: &Ui, event: &EventRow, found: Option<&FoundEvent>) -> Markup {
    let at_sender = ui.sources.event_link(&event.event_id, origin(event));
    let sender = ui.sources.sender_of(&event.source);
    html! {
        dl.facts {
            div { dt { "Created" } dd { @match event.created { Some(at) => (time(at)), None => (none()) } } }
            div { dt { "Received" } dd { (time(event.received_at)) } }
            div { dt { "Mode" } dd { (mode(event.livemode)) } }
            @match EventOrigin::of_word(&event.origin) {
                EventOrigin::Webhook => div { dt { "Verified by" } dd { (event.secret_name) } },
                EventOrigin::Api => div { dt { "Fetched with" } dd { "the API key " (event.secret_name) } },
            }
            div {
                dt { "Object" }
                dd {
                    @match event.object_id.as_deref() {
                        Some(id) => {
                            @match ui.sources.object_link(id, origin(event)) {
                                Some(link) => span.mono { (outside(&link, id)) },
                                None => span.mono { (id) },
                            }
                            @if let Some(kind) = &event.object_type { span.soft { " " (kind) } }
                        },
                        None => (none()),
                    }
                }
            }
            @if let Some(found) = found { (of_body(found)) }
            div { dt { "Account" } dd.mono { (maybe(event.account.as_deref())) } }
            div { dt { "API version" } dd { (maybe(event.api_version.as_deref())) } }
            div { dt { "In " (sender) } dd { @match at_sender { Some(link) => (outside(&link, "Open the event")), None => (none()) } } }
        }
    }
}

/// The money and the customer of an event, with a link to the customer's story.
fn of_body(found: &FoundEvent) -> Markup {
    let customer = found.customer.as_deref().or(found.customer_email.as_deref());
    html! {
        div { dt { "Amount" } dd { @match &found.amount { Some(amount) => (amount.to_string()), None => (none()) } } }
        div {
            dt { "Customer" }
            dd {
                @match customer {
                    Some(customer) => a href=(address("/search", &[("q", Some(customer))])) { bdi { (found.customer_email.as_deref().unwrap_or(customer)) } },
                    None => (none()),
                }
            }
        }
    }
}

/// The other events of the same object.
fn others(event: &EventRow, siblings: &[EventRow]) -> Markup {
    let others: Vec<_> = siblings.iter().filter(|sibling| sibling.id != event.id).collect();
    html! {
        @if let (Some(object), false) = (&event.object_id, others.is_empty()) {
            section aria-labelledby="siblings" data-part="siblings" {
                div.head {
                    h2 id="siblings" { "Other events of this object" }
                    div.links {
                        a href=(address("/search", &[("q", Some(object))])) { "Full story" }
                        a href=(address("/events", &[("object", Some(object))])) { "All events of it" }
                    }
                }
                ul.rows {
                    @for other in others {
                        li {
                            a.row href=(format!("/events/{}", other.id)) {
                                span.row-main { (in_parts(type_of(other))) }
                                span.row-soft.mono { (other.event_id) }
                                span.row-end { (time(other.received_at)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The state of one execution, with its buttons for visitors who may write.
fn card(visitor: &Visitor, noun: Noun, execution: &Execution) -> Markup {
    let (id, title) = (execution.id, format!("execution-{}", execution.id));
    html! {
        article.card.execution aria-labelledby=(title) {
            div.head {
                h3 id=(title) { a href=(format!("/executions/{id}")) { (execution.destination) } }
                (status(execution.status.as_str()))
            }
            @match (&execution.waiting, &execution.reason) {
                (Some(waiting), _) => p.soft { (waits(waiting)) },
                (None, Some(reason)) => p.soft { bdi { (capital(reason)) } },
                (None, None) => {},
            }
            div.action-bar {
                (remote_button(noun, execution.remote_url.as_deref()))
                a.button href=(format!("/executions/{id}/preview")) { "Preview" }
                (executions::buttons(visitor, id, execution.status))
            }
        }
    }
}

/// The display name of an event.
pub(super) fn type_of(event: &EventRow) -> &str {
    if event.event_type.is_empty() { "(no type)" } else { &event.event_type }
}

/// Live or test mode.
pub(super) fn mode(livemode: Option<bool>) -> Markup {
    match livemode {
        Some(true) => html! { span.tag.live { "live" } },
        Some(false) => html! { span.tag { "test" } },
        None => none(),
    }
}
