//! `/audit`: who changed what manually.

use super::Ui;
use super::auth::Visitor;
use super::elements::{Head::Text, address, capital, count, empty, pager, table, time};
use super::error_page::ErrorPage;
use super::layout::{self, Tab};
use super::query::{self, Query, ROWS};
use crate::domain::audit::{Subject, SubjectKind};
use crate::domain::execution::Status;
use crate::store::{AuditRow, Cursor};
use axum::extract::State;
use axum::response::Html;
use chrono::DateTime;
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
            (table("Audit", &[Text("When"), Text("Who"), Text("Action"), Text("Subject"), Text("Details")], &html! {
                @for line in lines {
                    tr {
                        td.when { (time(line.at)) }
                        td { bdi { (line.who) } }
                        td { (action(&line.action)) }
                        td { (subject(line)) }
                        td.details { (detail(&line.detail)) }
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
            html! { a href=(format!("/executions/{id}")) { (plain_subject(line)) } }
        }
        _ => plain_subject(line),
    }
}

/// The subject without a link.
pub(super) fn plain_subject(line: &AuditRow) -> Markup {
    let id = line.subject_id.as_deref();
    let task = id.and_then(|id| id.strip_prefix("task_"));
    match (line.subject_kind.as_str(), task) {
        ("task", Some(number)) => html! { "Bulk task " (number) },
        ("failure", _) => html! { "Failure group" @if let Some(id) = id { " " (id) } },
        (kind, _) => html! { (capital(&in_words(kind))) @if let Some(id) = id { " " bdi { (id) } } },
    }
}

/// What was done, in words. The subject is shown beside it.
pub(super) fn action(action: &str) -> String {
    match action {
        "executions.retried" => "Retried in bulk".to_owned(),
        "events.replayed" => "Replayed".to_owned(),
        "failure.unacknowledged" => "Acknowledgement removed".to_owned(),
        "events.pruned" => "Removed old data".to_owned(),
        other => capital(&in_words(other.split_once('.').map_or(other, |(_, what)| what))),
    }
}

/// The fields of a detail, each with its name, and those of a filter.
fn detail(detail: &Value) -> Markup {
    let Value::Object(fields) = detail else { return html! {} };
    let given = fields.iter().filter(|(_, value)| !value.is_null());
    html! {
        @for (place, (name, value)) in given.enumerate() {
            @if place > 0 { ", " }
            @match (name.as_str(), value.as_str()) {
                ("is", Some("done")) => "finished",
                ("is", Some(word)) => (word),
                (name, _) => { (label(name)) ": " (field(name, value)) }
            }
        }
    }
}

fn field(name: &str, value: &Value) -> Markup {
    match value {
        Value::Object(filter) if filter.is_empty() => html! { "everything" },
        Value::Object(_) => detail(value),
        Value::String(word) => match (name, DateTime::parse_from_rfc3339(word)) {
            ("was" | "status" | "restored", _) => html! { (Status::name_in_words(word)) },
            ("error_class" | "kind", _) => html! { (in_words(word)) },
            (_, Ok(at)) => time(at.to_utc()),
            (_, Err(_)) => html! { bdi { (word) } },
        },
        Value::Bool(is_live) if name == "livemode" => html! { (if *is_live { "live" } else { "test" }) },
        Value::Bool(is_so) => html! { (if *is_so { "yes" } else { "no" }) },
        Value::Number(number) => {
            html! { (number.as_i64().map_or_else(|| number.to_string(), count)) }
        }
        other => html! { (other.to_string()) },
    }
}

/// What a field means, for those whose name does not say it.
fn label(name: &str) -> String {
    match name {
        "was" => "before",
        "error_class" => "paused because of",
        "before" => "older than",
        "again" => "queued again",
        "created" => "not delivered before",
        "count" => "queued",
        "payloads" => "payloads removed",
        "cancelled" => "executions cancelled",
        "object_id" => "object",
        "event_id" => "event",
        "failure_group_id" => "failure group",
        "livemode" => "mode",
        other => return in_words(other),
    }
    .to_owned()
}

/// A word of the API, such as `needs_operator`, in words.
fn in_words(word: &str) -> String {
    word.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn details_are_plain_words() {
        for (given, expected) in [
            (json!({"is": "begun", "events": 3}), "events: 3, begun"),
            (
                json!({"is": "done", "removed": 12_345, "before": "2026-11-01T00:00:00Z"}),
                "older than: <time datetime=\"2026-11-01T00:00:00.000Z\">2026-11-01 00:00:00</time>, finished, \
                 removed: 12,345",
            ),
            (json!({"was": "success"}), "before: delivered"),
            (json!({"filter": {}, "note": null}), "filter: everything"),
            (
                json!({"filter": {"status": "failed", "livemode": true}, "count": 1_200}),
                "queued: 1,200, filter: mode: live, status: failed",
            ),
            (json!({"error_class": "block_limit"}), "paused because of: block limit"),
            (json!({"restored": "success"}), "restored: delivered"),
            (json!({"note": "<b>"}), "note: <bdi>&lt;b&gt;</bdi>"),
            (json!("text"), ""),
        ] {
            assert_eq!(detail(&given).into_string(), expected, "{given}");
        }
    }

    #[test]
    fn actions_and_their_subjects_are_words() {
        let line = |kind: &str, id: Option<&str>| AuditRow {
            id: 1,
            at: DateTime::UNIX_EPOCH,
            who: "ann".to_owned(),
            action: "execution.retried".to_owned(),
            subject_kind: kind.to_owned(),
            subject_id: id.map(str::to_owned),
            detail: Value::Null,
        };
        for (kind, id, expected) in [
            ("execution", Some("42"), "Execution <bdi>42</bdi>"),
            ("task", Some("task_3"), "Bulk task 3"),
            ("events", None, "Events"),
            ("failure", Some("d3"), "Failure group d3"),
            ("new_kind", None, "New kind"),
        ] {
            assert_eq!(plain_subject(&line(kind, id)).into_string(), expected);
        }
        for (word, expected) in [
            ("execution.retried", "Retried"),
            ("executions.retried", "Retried in bulk"),
            ("failure.unacknowledged", "Acknowledgement removed"),
            ("thing.turned_over", "Turned over"),
        ] {
            assert_eq!(action(word), expected);
        }
    }
}
