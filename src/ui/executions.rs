//! `/executions`: each event on its way to a destination, why it is where it is, and another try.

use super::elements::{
    Head::{Number, Text},
    address, done, empty, maybe, none, outside, pager, status, table, time, took,
};
use super::events::{kept, payload_section};
use super::filters::{ExecutionsWanted, has_blanks, told_at_form, window_note};
use super::frame::{self, Tab};
use super::guard::Visitor;
use super::query::{self, Path, Query, ROWS};
use super::refusal::Refusal;
use super::timeline::timeline;
use super::{Ui, bulk, dashboard_link};
use crate::domain::event::EventKey;
use crate::domain::execution::{Change, ExecutionId, Status};
use crate::store::{Answered, Cancelled, Cursor, EventRow, ExecutionRow};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tracing::info;

/// Which executions to list.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    #[serde(flatten)]
    wanted: ExecutionsWanted,
    cursor: Option<String>,
}

/// What was just done.
#[derive(Debug, Deserialize)]
pub(super) struct ShowQuery {
    done: Option<String>,
}

/// The list.
pub(super) async fn list(
    State(ui): State<Ui>,
    visitor: Visitor,
    RawQuery(raw): RawQuery,
    Query(query): Query<ListQuery>,
) -> Result<Response, Refusal> {
    let wanted = &query.wanted;
    let here = |cursor: Option<&str>| {
        let mut pairs = wanted.pairs();
        pairs.push(("cursor", cursor));
        address("/executions", &pairs)
    };
    if has_blanks(raw.as_deref()) {
        return Ok(Redirect::to(&here(query.cursor.as_deref())).into_response());
    }
    let mut ready = wanted.clone();
    let cursor = query::cursor(query.cursor.as_deref())?;
    let listed = async { Ok(ui.store.executions(&ready.read(&ui).await?, cursor, ROWS).await?) };
    let (page, told) = told_at_form(listed.await)?;
    let older = page.next.map(Cursor::encode).map(|cursor| here(Some(&cursor)));
    let newest = query.cursor.is_some().then(|| here(None));
    let body = html! {
        div.head {
            h1 { "Executions" }
            @if visitor.may_write() && !page.rows.is_empty() { (bulk::retry_link(&ready)) }
        }
        (wanted.form(&ui, told.as_deref()))
        (window_note(wanted.created_after.is_some(), ready.created_after.is_some()))
        @if told.is_none() { div data-part="rows" { (rows(&page.rows, &ui.instances)) } }
        (pager(newest.as_deref(), older.as_deref()))
    };
    let status = if told.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok((status, frame::page(&visitor, Tab::Executions, "Executions", &body)).into_response())
}

/// One execution: where it stands and why, what happened so far, and the body that it delivers.
pub(super) async fn show(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<i64>,
    Query(query): Query<ShowQuery>,
) -> Result<Html<String>, Refusal> {
    let execution = ui.store.execution(ExecutionId(id)).await?.ok_or_else(missing)?;
    let key = EventKey(execution.event_key);
    let (event, attempts, kept) = tokio::try_join!(
        async { Ok(ui.store.event(key).await?) },
        async { Ok(ui.store.attempts(ExecutionId(id)).await?) },
        kept(&ui, key),
    )?;
    let event = event.ok_or_else(missing)?;
    let title = format!("Execution {id}");
    let body = html! {
        (done(query.done.as_deref()))
        div.head data-part="state" {
            div {
                p.kicker { (title) " to " (execution.destination) }
                h1 { (execution.event_type) " " (status(&execution.status)) }
                @if let Some(why) = execution.why(&ui.instances) { p.lead { (why) } }
            }
            div.actions {
                @if let Some(link) = execution.remote_url.as_deref().filter(|link| is_web(link)) {
                    a.button href=(link) target="_blank" rel="noopener noreferrer" { "Open the page" span.hidden { " (opens in a new tab)" } }
                }
                a.button href=(format!("/executions/{id}/preview")) { "Preview" }
                (buttons(&visitor, &execution))
            }
        }
        section.card aria-labelledby="facts" data-part="facts" {
            h2.hidden id="facts" { "Facts" }
            (facts(&execution, &event))
        }
        section aria-labelledby="timeline-title" data-part="timeline" {
            h2 id="timeline-title" { "What happened" }
            (timeline(&event, &execution, &attempts, &ui.instances))
        }
        (payload_section(event.id, &kept))
    };
    Ok(frame::page(&visitor, Tab::Executions, &title, &body))
}

/// Tries an execution again, now.
pub(super) async fn retry(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<i64>,
) -> Result<Redirect, Refusal> {
    match ui.store.retry(ExecutionId(id), &visitor.who).await? {
        Answered::Done => {
            info!(execution_id = id, who = visitor.who.name(), "retried by hand");
            ui.wake.ring();
            Ok(Redirect::to(&format!("/executions/{id}?done=retried")))
        }
        Answered::NotFound => Err(missing()),
        Answered::PayloadRemoved => Err(without_payload()),
        Answered::Refused(status) => Err(Refusal::conflict(format!(
            "The execution is {status}: {}. Nothing was done.",
            status.why_not_retryable()
        ))),
    }
}

/// Sets an execution that waits aside: it is not delivered.
pub(super) async fn cancel(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<i64>,
) -> Result<Redirect, Refusal> {
    match ui.store.cancel(ExecutionId(id), &visitor.who).await? {
        Cancelled::Done => {
            info!(execution_id = id, who = visitor.who.name(), "cancelled by hand");
            // What waited behind it in its lane may be due now.
            ui.wake.ring();
            Ok(Redirect::to(&format!("/executions/{id}?done=cancelled")))
        }
        Cancelled::NotFound => Err(missing()),
        Cancelled::Refused(status) => Err(Refusal::conflict(format!(
            "The execution is {status}: {}. Nothing was done.",
            status.why_not_cancellable()
        ))),
    }
}

/// A table of executions.
pub(super) fn rows(executions: &[ExecutionRow], instances: &[String]) -> Markup {
    html! {
        @if executions.is_empty() {
            (empty("No execution here", "Nothing matches, or no destination wanted what came in."))
        } @else {
            (table("Executions", &[Text("Created"), Text("State"), Text("Type"), Text("To"), Number("Tries"), Number("Took"), Text("Why")], &html! {
                @for execution in executions {
                    tr {
                        td.when { (time(execution.created_at)) }
                        td { (status(&execution.status)) }
                        td { a href=(format!("/executions/{}", execution.id)) { (execution.event_type) } }
                        td { (execution.destination) }
                        td.number { (execution.attempts) }
                        td.number { @match execution.duration_ms { Some(duration) => (took(duration)), None => (none()) } }
                        td.why { (maybe(execution.why(instances).as_deref())) }
                    }
                }
            }))
        }
    }
}

fn facts(execution: &ExecutionRow, event: &EventRow) -> Markup {
    let (account, livemode) = (event.account.as_deref(), event.livemode);
    html! {
        dl.facts {
            div { dt { "Event" } dd { a.mono href=(format!("/events/{}", event.id)) { (event.event_id) } } }
            div {
                dt { "Object" }
                dd.mono {
                    @match event.object_id.as_deref() {
                        Some(id) => @match dashboard_link::object(id, account, livemode) {
                            Some(link) => (outside(&link, id)),
                            None => (id),
                        },
                        None => (none()),
                    }
                }
            }
            div { dt { "Failed tries" } dd { (execution.attempts) } }
            div { dt { "Last answer" } dd { @match execution.response_code { Some(code) => (code), None => (none()) } } }
            div {
                dt { "Next try" }
                dd { @if execution.status == Status::Pending.as_str() { (time(execution.run_at)) } @else { (none()) } }
            }
            div { dt { "Page" } dd.mono { (maybe(execution.remote_id.as_deref())) } }
        }
    }
}

fn buttons(visitor: &Visitor, execution: &ExecutionRow) -> Markup {
    let status = execution.status.parse::<Status>().ok();
    let is_retryable = status.is_some_and(|status| status.after(Change::Retry).is_some());
    let is_wanted = status == Some(Status::Failed);
    html! {
        @if visitor.may_write() && status == Some(Status::Pending) {
            (frame::post(visitor, &format!("/executions/{}/cancel", execution.id), &html! {
                button type="submit" { "Cancel delivery" }
            }))
        }
        @if visitor.may_write() && is_retryable {
            (frame::post(visitor, &format!("/executions/{}/retry", execution.id), &html! {
                button.primary[is_wanted] type="submit" { "Retry now" }
            }))
        }
    }
}

/// Whether a link that a destination gave leads to the web, and not to a script.
fn is_web(link: &str) -> bool {
    link.starts_with("https://") || link.starts_with("http://")
}

fn without_payload() -> Refusal {
    Refusal::conflict(
        "The payload of its event was removed, so there is nothing left to deliver. Nothing was done.",
    )
}

pub(super) fn missing() -> Refusal {
    Refusal::not_found("There is no execution of this number.")
}
