//! `/executions/{id}/preview`: what the next attempt would write, beside what was written last. Nothing is
//! sent.
//!
//! The page does not update itself, because creating a preview may read the columns from the destination.

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
        Ok(made) => sections(id, noun(&ui.destinations, &execution.destination), &made),
        Err(NoPreview::NotFound) => return Err(missing()),
        Err(NoPreview::NoDestination(name)) => empty(
            "Its destination is not configured",
            &format!("{name:?} is not in DESTINATIONS: configure it again."),
        ),
        Err(NoPreview::NeedsOperator(message)) => empty("Its destination does not work", &message),
        Err(NoPreview::Unavailable(message, again)) => {
            let again = again.as_secs().max(1);
            empty("The preview is not available now", &format!("{message}. Reload this page in {again} s."))
        }
    };
    let title = format!("Preview of execution {id}");
    let body = html! {
        div.head {
            div {
                p.kicker { a href=(format!("/executions/{id}")) { "Execution " (id) } " to " (execution.destination) }
                h1 { "What would be written now" }
                p.lead { (execution.event_type) " " (status(&execution.status)) " A preview sends nothing." }
            }
            div.actions { a.button href=(format!("/executions/{id}")) { "Back" } }
        }
        (made)
    };
    Ok(layout::static_page(&visitor, Tab::Executions, &title, &body))
}

fn sections(id: i64, noun: Noun, made: &ExecutionPreview) -> Markup {
    let preview = &made.preview;
    html! {
        section.card aria-labelledby="effect" {
            h2 id="effect" { (effect(noun, preview)) }
            @if made.writes != ExecutionId(id) {
                p.soft {
                    "The newest state of its object is from "
                    a href=(format!("/executions/{}", made.writes)) { "execution " (made.writes) }
                    ", event " span.mono { (made.event_id) } ", which is written instead."
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
        Effect::Create => format!("A new {noun} would be created"),
        Effect::Update => format!("Its {noun} would be updated"),
        Effect::LookFirst => format!("It would search for its {noun} first, then update or create it"),
        Effect::Nothing => "Nothing would be written".to_owned(),
    }
}

fn columns(noun: Noun, preview: &Preview) -> Markup {
    let shown = Shown {
        last: preview.columns.iter().any(|column| column.last.is_some()),
        effect: preview.columns.iter().any(|column| !column.is_written || column.now.is_none()),
    };
    html! {
        section aria-labelledby="columns" {
            h2 id="columns" { "Columns" }
            @if !shown.last && preview.effect == Effect::Update {
                p.soft.above { "The last written values are stored only for objects, not for single events; see the " (noun.one) " itself." }
            }
            div.scroll tabindex="0" role="region" aria-label="Values by column" {
                table.columns-table {
                    thead { tr {
                        th scope="col" { "Column" }
                        th scope="col" { (if preview.effect == Effect::Nothing { "Shows" } else { "Would show" }) }
                        @if shown.last { th scope="col" { "Written last" } }
                        @if shown.effect { th scope="col" { "Effect" } }
                    } }
                    tbody { @for column in &preview.columns { (row(column, shown)) } }
                }
            }
        }
    }
}

/// The optional cells of a row.
#[derive(Clone, Copy)]
struct Shown {
    /// The last written value.
    last: bool,
    /// Whether the value would be written.
    effect: bool,
}

fn row(column: &PreviewColumn, shown: Shown) -> Markup {
    let is_changed = column.now != column.last;
    html! {
        tr.changed[shown.last && is_changed] {
            th scope="row" { (column.name) }
            td.value { (value(column.now.as_deref())) }
            @if shown.last { td.value { (value(column.last.as_deref())) } }
            @if shown.effect { td { (column_effect(column)) } }
        }
    }
}

fn column_effect(column: &PreviewColumn) -> Markup {
    match (column.is_written, column.now.is_some()) {
        (true, true) => html! { span.tag.live { "written" } },
        (true, false) => html! { span.tag.live { "emptied" } },
        (false, _) => html! { span.soft { "unchanged" } },
    }
}

fn value(text: Option<&str>) -> Markup {
    html! { @match text { Some(text) => bdi { (text) }, None => span.none { "empty" } } }
}

/// The requests, collapsed.
fn requests(noun: Noun, requests: &[PreviewRequest]) -> Markup {
    html! {
        details.fold {
            summary { (if requests.len() == 1 { "The request" } else { "The requests, in order" }) }
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
        When::Found => format!(" if the search finds a {}", noun.one),
        When::NotFound => " if the search finds none".to_owned(),
    }
}
