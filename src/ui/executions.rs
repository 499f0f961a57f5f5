//! `/executions/{id}`: an execution with its state, its story, and its retry and cancel buttons; and the
//! table of the list.

use super::auth::Visitor;
use super::elements::{
    Head::{Number, Text},
    capital, done, empty, is_web, none, outside, status, table, time, took,
};
use super::error_page::ErrorPage;
use super::layout::{self, Tab};
use super::payload::{self, kept};
use super::query::{Path, Query};
use super::timeline::{Names, timeline, waits};
use super::{Ui, origin};
use crate::domain::destination_summary::{Noun, noun};
use crate::domain::event::EventKey;
use crate::domain::execution::{Change, ExecutionId, Status};
use crate::domain::story::{self, What};
use crate::domain::waiting::Waiting;
use crate::store::{CancelResult, EventRow, ExecutionRow, RetryResult};
use axum::extract::State;
use axum::response::{Html, Redirect};
use maud::{Markup, html};
use serde::Deserialize;
use tracing::info;

/// The query of the page: the last action.
#[derive(Debug, Deserialize)]
pub(super) struct ShowQuery {
    done: Option<String>,
}

/// One execution: its state and the reason, its story, and the body that it delivers.
pub(super) async fn show(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<i64>,
    Query(query): Query<ShowQuery>,
) -> Result<Html<String>, ErrorPage> {
    let execution = ui.store.reports.execution(ExecutionId(id)).await?.ok_or_else(missing)?;
    let key = EventKey(execution.event_key);
    let (event, now, kept) = tokio::try_join!(
        async { Ok(ui.store.events.event(key).await?) },
        async { Ok(ui.store.reports.now().await?) },
        kept(&ui, key),
    )?;
    let event = event.ok_or_else(missing)?;
    let mut chapters = ui.store.reports.chapters(std::slice::from_ref(&event), &ui.instances).await?;
    for chapter in &mut chapters {
        chapter.executions.retain(|execution| execution.id == ExecutionId(id));
    }
    let mut lines = story::lines(&chapters, &ui.destinations, now);
    // The head of the page says what to do.
    for line in &mut lines {
        if let What::Pending { waiting: Some(Waiting::Paused { remedy, .. }) } = &mut line.what {
            *remedy = None;
        }
    }
    let title = format!("Execution {id}");
    let body = html! {
        (done(query.done.as_deref()))
        div.head data-part="state" {
            div {
                p.kicker { (title) " to " (execution.destination) }
                h1 { (execution.event_type) " " (status(&execution.status)) }
                @if let Some(why) = why(&execution, &ui.instances) { p.lead { (why) } }
            }
            div.actions {
                (remote_button(noun(&ui.destinations, &execution.destination), execution.remote_url.as_deref()))
                a.button href=(format!("/executions/{id}/preview")) { "Preview" }
                @if let Ok(status) = execution.status.parse() { (buttons(&visitor, ExecutionId(id), status)) }
            }
        }
        section.card aria-labelledby="facts" data-part="facts" {
            h2.hidden id="facts" { "Facts" }
            (facts(&ui, &execution, &event))
        }
        section aria-labelledby="timeline-title" data-part="timeline" {
            h2 id="timeline-title" { "What happened" }
            (timeline(&lines, &Names::default()))
        }
        (payload::section(event.id, &kept))
    };
    Ok(layout::page(&visitor, Tab::Executions, &title, &body))
}

/// Retries an execution now.
pub(super) async fn retry(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<i64>,
) -> Result<Redirect, ErrorPage> {
    match ui.store.interventions.retry(ExecutionId(id), &visitor.who).await? {
        RetryResult::Done => {
            info!(execution_id = id, who = visitor.who.name(), "execution retried manually");
            ui.notifier.notify();
            Ok(Redirect::to(&format!("/executions/{id}?done=retried")))
        }
        RetryResult::NotFound => Err(missing()),
        RetryResult::PayloadRemoved => Err(without_payload()),
        RetryResult::Refused(status) => Err(ErrorPage::conflict(format!(
            "The execution cannot be retried: {}. Nothing was changed.",
            status.why_not_retryable()
        ))),
    }
}

/// Cancels a pending execution: it is not delivered.
pub(super) async fn cancel(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<i64>,
) -> Result<Redirect, ErrorPage> {
    match ui.store.interventions.cancel(ExecutionId(id), &visitor.who).await? {
        CancelResult::Done(status) => {
            info!(execution_id = id, who = visitor.who.name(), "execution cancelled manually");
            // The next execution of its lane may be due now.
            ui.notifier.notify();
            let done = if status == Status::Cancelled { "cancelled" } else { "restored" };
            Ok(Redirect::to(&format!("/executions/{id}?done={done}")))
        }
        CancelResult::NotFound => Err(missing()),
        CancelResult::Refused(status) => Err(ErrorPage::conflict(format!(
            "The execution cannot be cancelled: {}. Nothing was changed.",
            status.why_not_cancellable()
        ))),
    }
}

/// A table of executions.
pub(super) fn rows(executions: &[ExecutionRow], instances: &[String]) -> Markup {
    html! {
        @if executions.is_empty() {
            (empty("No executions", "No execution matches, or no destination subscribes to the received events."))
        } @else {
            (table("Executions", &[Text("Created"), Text("State"), Text("Type"), Text("To"), Number("Attempts"), Number("Took"), Text("Why")], &html! {
                @for execution in executions {
                    tr {
                        td.when { (time(execution.created_at)) }
                        td { (status(&execution.status)) }
                        td { a href=(format!("/executions/{}", execution.id)) { (execution.event_type) } }
                        td { (execution.destination) }
                        td.number { (execution.attempt_count()) }
                        td.number { @match execution.duration_ms { Some(duration) => (took(duration)), None => (none()) } }
                        td.why { @match why(execution, instances) { Some(why) => (why), None => (none()) } }
                    }
                }
            }))
        }
    }
}

fn facts(ui: &Ui, execution: &ExecutionRow, event: &EventRow) -> Markup {
    html! {
        dl.facts {
            div { dt { "Event" } dd { a.mono href=(format!("/events/{}", event.id)) { (event.event_id) } } }
            div {
                dt { "Object" }
                dd.mono {
                    @match event.object_id.as_deref() {
                        Some(id) => @match ui.sources.object_link(id, origin(event)) {
                            Some(link) => (outside(&link, id)),
                            None => (id),
                        },
                        None => (none()),
                    }
                }
            }
            div {
                // The timeline shows those before the retry too.
                dt { @if execution.retried_at.is_some() { "Counted attempts since the retry" } @else { "Counted attempts" } }
                dd { (execution.attempt_count()) }
            }
            div { dt { "Last answer" } dd { @match execution.response_code { Some(code) => (code), None => (none()) } } }
            div {
                dt { "Next attempt" }
                dd { @match execution.run_at.filter(|_| execution.is_put_off) { Some(next) => (time(next)), None => (none()) } }
            }
            div {
                dt { (capital(noun(&ui.destinations, &execution.destination).one)) }
                dd.mono {
                    @match (&execution.remote_id, &execution.remote_url) {
                        (Some(id), Some(url)) => (outside(url, id)),
                        (Some(id), None) => (id),
                        (None, _) => (none()),
                    }
                }
            }
        }
    }
}

/// The reason of an execution's state.
fn why(execution: &ExecutionRow, instances: &[String]) -> Option<Markup> {
    match execution.waiting(instances) {
        Some(waiting) => Some(waits(&waiting)),
        None => execution.reason.as_deref().map(|reason| html! { bdi { (capital(reason)) } }),
    }
}

/// The buttons for an execution in this state, for visitors who may write.
pub(super) fn buttons(visitor: &Visitor, id: ExecutionId, status: Status) -> Markup {
    let is_retryable = status.after(Change::Retry).is_some();
    html! {
        @if visitor.may_write() && status == Status::Pending {
            (layout::post_form(visitor, &format!("/executions/{id}/cancel"), &html! {
                button type="submit" { "Cancel execution" }
            }))
        }
        @if visitor.may_write() && is_retryable {
            (layout::post_form(visitor, &format!("/executions/{id}/retry"), &html! {
                button.primary[status == Status::Failed] type="submit" { "Retry now" }
            }))
        }
    }
}

/// The button that opens the written entry, if it has a link.
pub(super) fn remote_button(noun: Noun, link: Option<&str>) -> Markup {
    html! {
        @if let Some(link) = link.filter(|link| is_web(link)) {
            a.button href=(link) target="_blank" rel="noopener noreferrer" { "Open the " (noun.one) span.hidden { " (opens in a new tab)" } }
        }
    }
}

fn without_payload() -> ErrorPage {
    ErrorPage::conflict(
        "The payload of its event was removed, so there is nothing to deliver. Nothing was changed.",
    )
}

pub(super) fn missing() -> ErrorPage {
    ErrorPage::not_found("There is no execution with this id.")
}
