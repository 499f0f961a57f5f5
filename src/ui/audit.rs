//! `/audit`: who changed what manually.

use super::Ui;
use super::auth::Visitor;
use super::elements::{Head::Text, address, empty, pager, table, time};
use super::error_page::ErrorPage;
use super::layout::{self, Tab};
use super::query::{self, Query, ROWS};
use crate::domain::audit::{Subject, SubjectKind};
use crate::store::{AuditRow, Cursor};
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

/// The query of the page.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

/// The list, newest first.
pub(super) async fn list(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Result<Html<String>, ErrorPage> {
    let page = ui.store.reports.audited(None, query::cursor(query.cursor.as_deref())?, ROWS).await?;
    let older = page.next.map(Cursor::encode).map(|cursor| address("/audit", &[("cursor", Some(&cursor))]));
    let newest = query.cursor.is_some().then_some("/audit");
    let body = html! {
        div {
            h1 { "Audit" }
            p.lead { "Manual actions in the dashboard, the API and the command line." }
            p { a href="/tasks" { "Bulk tasks" } }
        }
        div data-part="rows" { (rows(&page.rows)) }
        (pager(newest, older.as_deref()))
    };
    Ok(layout::page(&visitor, Tab::Audit, "Audit", &body))
}

fn rows(lines: &[AuditRow]) -> Markup {
    html! {
        @if lines.is_empty() {
            (empty("No manual actions yet", "Retries and all other manual actions are listed here."))
        } @else {
            (table("Audit", &[Text("When"), Text("Who"), Text("What"), Text("Of"), Text("Detail")], &html! {
                @for line in lines {
                    tr {
                        td.when { (time(line.at)) }
                        td { (line.who) }
                        td { (line.action) }
                        td { (subject(line)) }
                        td.why { (detail(&line.detail)) }
                    }
                }
            }))
        }
    }
}

/// The subject, with a link if it has a page.
fn subject(line: &AuditRow) -> Markup {
    match line.subject() {
        Some(Subject { kind: SubjectKind::Task, id: Some(id) }) => {
            html! { a href=(format!("/tasks/{id}")) { (plain_subject(line)) } }
        }
        Some(Subject { kind: SubjectKind::Destination, .. }) => {
            html! { a href="/destinations" { (plain_subject(line)) } }
        }
        Some(Subject { kind: SubjectKind::Failure, id: Some(group) }) => {
            html! { a href=(format!("/failures/{group}")) { (plain_subject(line)) } }
        }
        Some(Subject { kind: SubjectKind::Execution, id: Some(id) }) => {
            html! { a href=(format!("/executions/{id}")) { "Execution " (id) } }
        }
        _ => plain_subject(line),
    }
}

/// The subject without a link.
pub(super) fn plain_subject(line: &AuditRow) -> Markup {
    html! { (line.subject_kind) @if let Some(id) = &line.subject_id { " " (id) } }
}

/// The fields of a detail as `name: value`, including those of a nested filter.
fn detail(detail: &Value) -> String {
    let Value::Object(fields) = detail else { return String::new() };
    let pairs = fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        Value::Object(filter) if filter.is_empty() => format!("{name}: all"),
        Value::Object(_) => self::detail(value),
        other => format!("{name}: {other}"),
    });
    pairs.collect::<Vec<_>>().join(", ")
}
