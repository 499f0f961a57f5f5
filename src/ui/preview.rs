//! `/executions/{id}/preview`: what the next try would write, beside what was written last. Nothing is sent.
//!
//! A page of its own that does not keep itself up to date: where the columns are not known, the
//! destination is asked for them.

use super::Ui;
use super::auth::Visitor;
use super::elements::{empty, status};
use super::error_page::ErrorPage;
use super::executions::missing;
use super::layout::{self, Tab};
use super::query::Path;
use crate::domain::destination_summary::{Noun, noun};
use crate::domain::execution::ExecutionId;
use crate::domain::preview::{
    Effect, ExecutionPreview, NoPreview, Preview, PreviewColumn, PreviewRequest, When,
};
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

/// The preview of an execution.
pub(super) async fn preview(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<i64>,
) -> Result<Html<String>, ErrorPage> {
    let execution = ui.store.reports.execution(ExecutionId(id)).await?.ok_or_else(missing)?;
    let made = match (ui.previewer)(ExecutionId(id)).await {
        Ok(made) => told(id, noun(&ui.destinations, &execution.destination), &made),
        Err(NoPreview::NotFound) => return Err(missing()),
        Err(NoPreview::NoDestination(name)) => empty(
            "Its destination is not configured",
            &format!("{name:?} is not among DESTINATIONS: configure it again."),
        ),
        Err(NoPreview::NeedsOperator(message)) => empty("Its destination does not work", &message),
        Err(NoPreview::Unavailable(message, again)) => {
            let again = again.as_secs().max(1);
            empty("Nobody can say just now", &format!("{message}. Load this page again in {again} s."))
        }
    };
    let title = format!("Preview of execution {id}");
    let body = html! {
        div.head {
            div {
                p.kicker { a href=(format!("/executions/{id}")) { "Execution " (id) } " to " (execution.destination) }
                h1 { "What would be written now" }
                p.lead { (execution.event_type) " " (status(&execution.status)) " Nothing is sent by looking." }
            }
            div.actions { a.button href=(format!("/executions/{id}")) { "Back" } }
        }
        (made)
    };
    Ok(layout::static_page(&visitor, Tab::Executions, &title, &body))
}

fn told(id: i64, noun: Noun, made: &ExecutionPreview) -> Markup {
    let preview = &made.preview;
    html! {
        section.card aria-labelledby="effect" {
            h2 id="effect" { (effect(noun, preview)) }
            @if made.writes != ExecutionId(id) {
                p.soft {
                    "The newest state of its object is that of "
                    a href=(format!("/executions/{}", made.writes)) { "execution " (made.writes) }
                    ", event " span.mono { (made.event_id) } ": that one is written."
                }
            }
            @if !preview.notes.is_empty() { ul.plain { @for note in &preview.notes { li { bdi { (note) } } } } }
        }
        @if !preview.columns.is_empty() { (columns(noun, preview)) }
        @if !preview.requests.is_empty() { (requests(noun, &preview.requests)) }
    }
}

fn effect(noun: Noun, preview: &Preview) -> String {
    let noun = noun.one;
    match preview.effect {
        Effect::Create => format!("A new {noun} would be made"),
        Effect::Update => format!("Its {noun} would be updated"),
        Effect::LookFirst => format!("It would be looked for first; then its {noun} is updated, or made"),
        Effect::Nothing => "Nothing would be written".to_owned(),
    }
}

fn columns(noun: Noun, preview: &Preview) -> Markup {
    let shown = Shown {
        last: preview.columns.iter().any(|column| column.last.is_some()),
        fate: preview.columns.iter().any(|column| !column.is_written || column.now.is_none()),
    };
    html! {
        section aria-labelledby="columns" {
            h2 id="columns" { "Column by column" }
            @if !shown.last && preview.effect == Effect::Update {
                p.soft.above { "What was written last is kept of objects alone, not of single events; the " (noun.one) " itself shows it." }
            }
            div.scroll tabindex="0" role="region" aria-label="Columns" {
                table.columns-table {
                    thead { tr {
                        th scope="col" { "Column" }
                        th scope="col" { (if preview.effect == Effect::Nothing { "Shows" } else { "Would show" }) }
                        @if shown.last { th scope="col" { "Written last" } }
                        @if shown.fate { th scope="col" { "Would be" } }
                    } }
                    tbody { @for column in &preview.columns { (row(column, shown)) } }
                }
            }
        }
    }
}

/// Which cells a row has beside its name and its value.
#[derive(Clone, Copy)]
struct Shown {
    /// What was written last.
    last: bool,
    /// Whether it would be written.
    fate: bool,
}

fn row(column: &PreviewColumn, shown: Shown) -> Markup {
    let is_changed = column.now != column.last;
    html! {
        tr.changed[shown.last && is_changed] {
            th scope="row" { (column.name) }
            td.value { (value(column.now.as_deref())) }
            @if shown.last { td.value { (value(column.last.as_deref())) } }
            @if shown.fate { td { (fate(column)) } }
        }
    }
}

fn fate(column: &PreviewColumn) -> Markup {
    match (column.is_written, column.now.is_some()) {
        (true, true) => html! { span.tag.live { "written" } },
        (true, false) => html! { span.tag.live { "emptied" } },
        (false, _) => html! { span.soft { "left alone" } },
    }
}

fn value(text: Option<&str>) -> Markup {
    html! { @match text { Some(text) => bdi { (text) }, None => span.none { "empty" } } }
}

/// The requests themselves, folded away.
fn requests(noun: Noun, requests: &[PreviewRequest]) -> Markup {
    html! {
        details.fold {
            summary { (if requests.len() == 1 { "The request" } else { "The requests, in their order" }) }
            div.stack-wide {
                @for request in requests {
                    div {
                        p { strong.mono { (request.method) " " (request.url) } span.soft { (when(noun, request.when)) } }
                        @if let Some(body) = &request.body {
                            pre.code tabindex="0" aria-label="Body of the request" { code { (format!("{body:#}")) } }
                        }
                    }
                }
            }
        }
    }
}

fn when(noun: Noun, when: When) -> String {
    match when {
        When::Always => String::new(),
        When::Found => format!(" where the look finds a {}", noun.one),
        When::NotFound => " where the look finds none".to_owned(),
    }
}
