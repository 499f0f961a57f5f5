//! `/tasks` and `/tasks/{id}`: bulk tasks, and the progress of one, live.

use super::{estimated_duration, executions as in_number, number};
use crate::domain::execution::Status;
use crate::domain::task::{TaskId, TaskKind, TaskStatus};
use crate::store::{CancelTaskResult, Counts, Cursor, TASK_EXECUTIONS_COUNTED_MAX, TaskExecutions, TaskRow};
use crate::ui::Ui;
use crate::ui::auth::Visitor;
use crate::ui::elements::{Head::Text, address, empty, pager, status, table, time};
use crate::ui::error_page::ErrorPage;
use crate::ui::executions;
use crate::ui::filters::in_words;
use crate::ui::layout::{self, Tab};
use crate::ui::query::{self, Path, Query, ROWS};
use axum::extract::State;
use axum::response::{Html, Redirect};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use tracing::info;

/// The query of the list.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct ListQuery {
    cursor: Option<String>,
}

/// The list, newest first.
pub(in crate::ui) async fn list(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Result<Html<String>, ErrorPage> {
    let page = ui.bulk.tasks.tasks(query::cursor(query.cursor.as_deref())?, ROWS).await?;
    let older = page.next.map(Cursor::encode).map(|cursor| address("/tasks", &[("cursor", Some(&cursor))]));
    let newest = query.cursor.is_some().then_some("/tasks");
    let body = html! {
        div {
            p.kicker { a href="/audit" { "Audit" } }
            h1 { "Bulk tasks" }
            p.lead { "Retries of many executions and replays of many events." }
        }
        div data-part="rows" { (rows(&page.rows)) }
        (pager(newest, older.as_deref()))
    };
    Ok(layout::page(&visitor, Tab::Audit, "Bulk tasks", &body))
}

fn rows(tasks: &[TaskRow]) -> Markup {
    html! {
        @if tasks.is_empty() {
            (empty("No bulk tasks", "Tasks that ended are listed for 30 days."))
        } @else {
            (table("Bulk tasks", &[Text("When"), Text("Who"), Text("What"), Text("State"), Text("Queued")], &html! {
                @for task in tasks {
                    tr {
                        td.when { (time(task.created_at)) }
                        td { (task.who) }
                        td { a href=(format!("/tasks/{}", task.id)) { (verb(task.kind)) " " (task.id) } }
                        td { (status(task.status.as_str())) }
                        td { (in_number(total(&task.queued()))) }
                    }
                }
            }))
        }
    }
}

/// Shows a task, and the states of its executions.
pub(in crate::ui) async fn show(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Html<String>, ErrorPage> {
    let task = ui.bulk.tasks.task(task_id(&id)?).await?.ok_or_else(missing)?;
    let cursor = query::cursor(query.cursor.as_deref())?;
    let (states, of_task) = tokio::try_join!(
        ui.bulk.tasks.executions(task.id),
        ui.store.reports.executions_of_task(task.id, cursor, ROWS)
    )?;
    let here = |cursor: Option<&str>| address(&format!("/tasks/{}", task.id), &[("cursor", cursor)]);
    let older = of_task.next.map(Cursor::encode).map(|cursor| here(Some(&cursor)));
    let newest = query.cursor.is_some().then(|| here(None));
    let title = verb(task.kind);
    let headline = match total(&task.queued()) {
        0 => title.to_owned(),
        queued => format!("{title} of {}", in_number(queued)),
    };
    let asked = asked(&task.filter);
    let pairs = asked.iter().map(|(name, value)| (*name, Some(value.as_str()))).collect();
    let body = html! {
        div {
            p.kicker { a href="/tasks" { "Bulk tasks" } }
            h1 data-part="title" { (headline) }
            p.lead { (task.who) ", " (time(task.created_at)) @if let Some(note) = &task.note { ": " bdi { (note) } } }
            @if visitor.may_write() {
                div data-part="actions" {
                    @if !task.status.is_finished() {
                        div.action-bar {
                            (layout::post_form(&visitor, &format!("/tasks/{}/cancel", task.id), &html! {
                                button type="submit" { "Cancel this task" }
                            }))
                            span.soft { "What it has queued stays queued." }
                        }
                    }
                }
            }
        }
        section.card aria-label="Progress" data-part="progress" aria-live="polite" { (progress(&ui, &task, &states)) }
        section.card aria-labelledby="asked" {
            h2 id="asked" { "Filter" }
            @if asked.is_empty() { p { "Everything." } } @else { dl.facts { (in_words(&pairs)) } }
        }
        section aria-labelledby="of-task" data-part="rows" {
            h2 id="of-task" { "Its executions" }
            @if of_task.rows.is_empty() {
                (empty("No executions", "What the task has queued is listed here, unless it was retried again since."))
            } @else {
                (executions::rows(&of_task.rows, &ui.instances))
            }
        }
        (pager(newest.as_deref(), older.as_deref()))
    };
    Ok(layout::page(&visitor, Tab::Audit, title, &body))
}

/// Cancels a task.
pub(in crate::ui) async fn cancel(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let id = task_id(&id)?;
    match ui.bulk.tasks.cancel(id, &visitor.who).await? {
        CancelTaskResult::Done(_) => {
            info!(task = %id, who = visitor.who.name(), "bulk task cancelled");
            Ok(Redirect::to(&format!("/tasks/{id}")))
        }
        CancelTaskResult::Refused(_) => {
            Err(ErrorPage::conflict("The task has ended already. Nothing was changed."))
        }
        CancelTaskResult::NotFound => Err(missing()),
    }
}

fn task_id(text: &str) -> Result<TaskId, ErrorPage> {
    text.parse().map_err(|_| missing())
}

fn missing() -> ErrorPage {
    ErrorPage::not_found("There is no task with this id. Tasks that ended are kept for 30 days.")
}

fn verb(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::RetryExecutions => "Retry",
        TaskKind::ReplayEvents => "Replay",
    }
}

fn total(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// What the task did so far, the number of its executions in each state, and the remaining time.
fn progress(ui: &Ui, task: &TaskRow, states: &[TaskExecutions]) -> Markup {
    let of = |is_wanted: &dyn Fn(&str) -> bool| -> u64 {
        states.iter().filter(|state| is_wanted(&state.status)).map(|state| state.count).sum()
    };
    let all = of(&|_| true);
    let is_open = |word: &str| word.parse::<Status>().is_ok_and(|status| !status.is_terminal());
    let (open, good, failed) = (of(&is_open), of(&|word| word == "success"), of(&|word| word == "failed"));
    let queued = total(&task.queued());
    let waiting: Counts =
        states.iter().filter(|state| is_open(&state.status)).fold(Counts::new(), |mut waiting, state| {
            *waiting.entry(state.destination.clone()).or_default() += state.count;
            waiting
        });
    let examined = match task.kind {
        TaskKind::RetryExecutions => in_number(task.examined),
        TaskKind::ReplayEvents if task.examined == 1 => "1 event".to_owned(),
        TaskKind::ReplayEvents => format!("{} events", number(task.examined)),
    };
    html! {
        h2 { (headline(task, queued, all, open, failed)) }
        p { span.soft { "Queueing: " } (status(task.status.as_str())) " " span.soft { "Examined: " (examined) ". Queued: " (in_number(queued)) "." } }
        @if let Some(error) = &task.error { p.error role="alert" { bdi { (error) } } }
        @if queued > 0 {
            (bar(all, good, failed, open))
            dl.figures.states {
                @for word in Status::ALL.map(Status::as_str) {
                    @let some = of(&|of| of == word);
                    @if some > 0 { div { dt { (status(word)) } dd { (number(some)) } } }
                }
                @if let (true, Some(time)) = (open > 0, estimated_duration(ui, &waiting)) { div { dt { "Takes about" } dd { (time) } } }
            }
            @if all >= u64::from(TASK_EXECUTIONS_COUNTED_MAX) {
                p.soft { "Only the states of the first " (number(u64::from(TASK_EXECUTIONS_COUNTED_MAX))) " are counted." }
            }
            @if all == 0 { p.soft { "All of them were retried again since then, or were removed." } }
            @if failed > 0 { p { a href="/failures" { "Failures and their causes" } } }
        }
    }
}

fn headline(task: &TaskRow, queued: u64, all: u64, open: u64, failed: u64) -> String {
    match (task.status, queued, open, failed) {
        (TaskStatus::Queued, ..) => "It has not begun yet.".to_owned(),
        (TaskStatus::Running, ..) => "Executions are being queued.".to_owned(),
        (TaskStatus::Failed, ..) => "It could not go on.".to_owned(),
        (TaskStatus::Cancelled, 0, ..) => "Cancelled before anything was queued.".to_owned(),
        (TaskStatus::Cancelled, ..) => {
            format!("Cancelled. {} that it had queued stay queued.", in_number(queued))
        }
        (TaskStatus::Succeeded, 0, ..) if task.examined == 0 => "Nothing matched.".to_owned(),
        (TaskStatus::Succeeded, 0, ..) => {
            "Nothing to do: what matched is pending or running already, or was cancelled.".to_owned()
        }
        (TaskStatus::Succeeded, _, 0, 0) => "All of them are finished.".to_owned(),
        (TaskStatus::Succeeded, _, 0, failed) => {
            format!("All of them are finished; {} failed again.", number(failed))
        }
        (TaskStatus::Succeeded, _, open, _) => format!("{} of {} remain.", number(open), number(all)),
    }
}

/// The shares as a bar; the figures below it have the same numbers.
fn bar(all: u64, good: u64, failed: u64, open: u64) -> Markup {
    // In thousandths of the whole.
    let share = |some: u64| some.saturating_mul(1000).checked_div(all).unwrap_or_default();
    let still = all.saturating_sub(good + failed + open);
    let mut from = 0;
    let parts = [("good", good), ("still", still), ("bad", failed)].map(|(tone, some)| {
        let part = (tone, from, share(some));
        from += share(some);
        part
    });
    html! {
        svg.progress viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.rest width="1000" height="10" {}
            @for (tone, x, width) in parts { @if width > 0 { rect class=(tone) x=(x) width=(width) height="10" {} } }
        }
    }
}

/// The parameters of the filter that the dashboard knows, in its order.
fn asked(filter: &Value) -> Vec<(&'static str, String)> {
    const KNOWN: [&str; 14] = [
        "status",
        "type",
        "event_id",
        "object_id",
        "destination",
        "error_class",
        "failure_group_id",
        "livemode",
        "account",
        "source",
        "created_after",
        "created_before",
        "received_after",
        "received_before",
    ];
    KNOWN
        .into_iter()
        .filter_map(|name| {
            let value = match filter.get(name)? {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some((name, value))
        })
        .collect()
}
