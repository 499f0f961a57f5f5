//! `/failures`: the failed executions in groups of one cause, with remedies and acknowledgements.
//!
//! The list is ordered by the last failure of each group, as of the time when its first page was read, so
//! that new failures move no group between pages. For each group it reads the first, the last and the
//! number of failures from one index. The sums of money cover the newest failures: 1,000 for a page of
//! groups. An acknowledgement covers the failures up to the newest one at that time. So it need not be
//! undone when another failure follows, and an operator can remove it.

use super::Ui;
use super::auth::Visitor;
use super::elements::{address, ago, count, done, empty, pager, time};
use super::error_page::ErrorPage;
use super::executions;
use super::forms::{note_field, note_of};
use super::layout::{self, Tab};
use super::query::{self, Form, Path, Query, ROWS};
use crate::domain::money::Money;
use crate::store::{Cursor, ExecutionFilter, FAILURES_COUNTED_MAX, FailureFilter, FailureGroup, Page};
use axum::extract::State;
use axum::response::{Html, Redirect};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use tracing::info;

/// The length limit of a note, in characters.
const NOTE_CHARACTERS_MAX: usize = 1000;

/// The number of groups on a page.
const GROUPS: u32 = 25;

/// The number of acknowledged groups in the collapsed section below the open ones.
const FOLDED: u32 = 10;

/// Which groups to list.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    /// The acknowledged ones.
    #[serde(default)]
    known: Option<String>,
    cursor: Option<String>,
    done: Option<String>,
}

/// Which of a group's failures to list.
#[derive(Debug, Deserialize)]
pub(super) struct ShowQuery {
    cursor: Option<String>,
}

/// The form of an acknowledgement.
#[derive(Debug, Deserialize)]
pub(super) struct AcknowledgeForm {
    #[serde(default)]
    note: String,
}

/// The open groups, and below them the acknowledged ones.
pub(super) async fn list(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Result<Html<String>, ErrorPage> {
    let cursor = query::cursor(query.cursor.as_deref())?;
    let wants_known = query.known.is_some();
    let here = |cursor: Option<&str>| {
        address("/failures", &[("known", wants_known.then_some("yes")), ("cursor", cursor)])
    };
    let folded = async {
        if wants_known || cursor.is_some() {
            return Ok(None);
        }
        groups(&ui, true, None, FOLDED).await.map(Some)
    };
    let (now, shown, known) = tokio::try_join!(
        async { Ok(ui.store.reports.now().await?) },
        groups(&ui, wants_known, cursor, GROUPS),
        folded
    )?;
    let older = shown.next.map(Cursor::encode).map(|cursor| here(Some(&cursor)));
    let newest = query.cursor.is_some().then(|| here(None));
    let body = html! {
        (done(query.done.as_deref()))
        div.head {
            div {
                h1 { (if wants_known { "Acknowledged failures" } else { "Failures" }) }
                p.lead { "Executions that have failed for good, grouped by cause." }
            }
            @if wants_known { a.button href="/failures" { "Open failures" } }
        }
        div.stack-wide data-part="open" {
            @if shown.rows.is_empty() { (nothing(wants_known)) }
            @for group in &shown.rows { (card(&visitor, group, now, Some(heading(group)))) }
        }
        (pager(newest.as_deref(), older.as_deref()))
        // It exists without groups too, so that an open page can show the first.
        @if let Some(known) = known {
            div data-part="known" {
                @if !known.rows.is_empty() {
                    details.fold id="known" {
                        summary { "Acknowledged" span.tag { (at_least(&known)) } }
                        div.stack-wide { @for group in &known.rows { (card(&visitor, group, now, Some(heading(group)))) } }
                        @if known.next.is_some() { p { a href="/failures?known=yes" { "All acknowledged failures" } } }
                    }
                }
            }
        }
    };
    Ok(layout::page(&visitor, Tab::Failures, "Failures", &body))
}

/// One group with its failures.
pub(super) async fn show(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(key): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Result<Html<String>, ErrorPage> {
    let now = ui.store.reports.now().await?;
    let filter = FailureFilter { key: Some(key.clone()), ..FailureFilter::default() };
    let of_group = ExecutionFilter { failure_group: Some(key.clone()), ..ExecutionFilter::default() };
    let cursor = query::cursor(query.cursor.as_deref())?;
    let (found, failed) = tokio::try_join!(
        async { Ok::<_, ErrorPage>(ui.store.failure_groups.failures(&filter, None, 1).await?) },
        async { Ok(ui.store.reports.executions(&of_group, cursor, ROWS).await?) },
    )?;
    if found.rows.is_empty() && !ui.store.failure_groups.exists(&key).await? {
        return Err(ErrorPage::not_found("There is no failure group with this id."));
    }
    let here = |cursor: Option<&str>| address(&format!("/failures/{key}"), &[("cursor", cursor)]);
    let older = failed.next.map(Cursor::encode).map(|cursor| here(Some(&cursor)));
    let newest = query.cursor.is_some().then(|| here(None));
    let body = html! {
        div data-part="heading" {
            p.kicker { a href="/failures" { "Failures" } }
            h1 { @match found.rows.first() { Some(group) => bdi { (message(group)) }, None => "No failed executions" } }
        }
        div.stack-wide data-part="group" {
            @match found.rows.first() {
                Some(group) => (card(&visitor, group, now, None)),
                None => (empty("No failed executions in this group", "Executions that succeeded after a retry are not listed. A new failure with the same cause appears here.")),
            }
        }
        section aria-labelledby="failed" data-part="rows" {
            h2 id="failed" { "Its failures" }
            (executions::rows(&failed.rows, &ui.instances))
        }
        (pager(newest.as_deref(), older.as_deref()))
    };
    Ok(layout::page(&visitor, Tab::Failures, "Failures of one cause", &body))
}

/// Acknowledges the present failures of a group.
pub(super) async fn acknowledge(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(key): Path<String>,
    Form(form): Form<AcknowledgeForm>,
) -> Result<Redirect, ErrorPage> {
    let note = note_of(&form.note, NOTE_CHARACTERS_MAX)?;
    if !ui.store.failure_groups.acknowledge(&visitor.who, &key, note).await? {
        return Err(ErrorPage::not_found("This group has no failed executions."));
    }
    info!(group = key, who = visitor.who.name(), "failure group acknowledged");
    ui.badge.invalidate();
    Ok(Redirect::to("/failures?done=acknowledged"))
}

/// Removes an acknowledgement: the group is open again.
pub(super) async fn unacknowledge(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(key): Path<String>,
) -> Result<Redirect, ErrorPage> {
    if !ui.store.failure_groups.unacknowledge(&visitor.who, &key).await? {
        return Err(ErrorPage::not_found("This group is not acknowledged, or it has no failed executions."));
    }
    info!(group = key, who = visitor.who.name(), "acknowledgement removed");
    ui.badge.invalidate();
    Ok(Redirect::to("/failures?done=unacknowledged"))
}

async fn groups(
    ui: &Ui,
    acknowledged: bool,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Page<FailureGroup>, ErrorPage> {
    let filter = FailureFilter { acknowledged: Some(acknowledged), ..FailureFilter::default() };
    Ok(ui.store.failure_groups.failures(&filter, cursor, limit).await?)
}

fn nothing(wants_known: bool) -> Markup {
    if wants_known {
        empty("No acknowledged failures", "Acknowledged groups are listed here.")
    } else {
        empty("No failures", "Executions that fail for good are listed here, with the cause and the remedy.")
    }
}

/// The common message of a group's failures.
fn message(group: &FailureGroup) -> &str {
    if group.pattern.is_empty() { "(no message)" } else { &group.pattern }
}

/// The message as the heading of a card, with a link to the group.
fn heading(group: &FailureGroup) -> Markup {
    html! {
        h2.failure-message id=(format!("group-{}", group.key)) {
            a href=(format!("/failures/{}", group.key)) { bdi { (message(group)) } }
        }
    }
}

/// A group: the number of failures, the remedy, and buttons for visitors who may write. On its own page
/// it has no heading, because the page has one.
fn card(visitor: &Visitor, group: &FailureGroup, now: DateTime<Utc>, heading: Option<Markup>) -> Markup {
    let title = heading.is_some().then(|| format!("group-{}", group.key));
    html! {
        article.card.failure.known[group.is_acknowledged] aria-labelledby=[title] {
            div.head {
                div.failure-what {
                    span.failure-count { (how_many(group)) }
                    span.soft { " failed at " (group.destination) }
                    @if !group.error_class.is_empty() { span.tag { (group.error_class) } }
                }
                span.soft { "last " (ago(group.last_seen, now)) }
            }
            @if let Some(heading) = heading { (heading) }
            p.remedy { (group.remedy) }
            dl.figures.small {
                div { dt { "Money concerned" } dd { (money(&group.money)) @if group.is_money_cut { " and more" } } }
                div { dt { "First failed" } dd { (time(group.first_seen)) } }
                div { dt { "Last failed" } dd { (time(group.last_seen)) } }
                div { dt { "Newest" } dd { a href=(format!("/executions/{}", group.sample)) { "Execution " (group.sample) } } }
            }
            @if let Some(note) = &group.note { (acknowledged(group, note)) }
            @if visitor.may_write() { (buttons(visitor, group)) }
        }
    }
}

fn acknowledged(group: &FailureGroup, note: &str) -> Markup {
    html! {
        p.note-shown {
            strong { (if group.is_acknowledged { "Acknowledged" } else { "Acknowledged before the newest failure" }) }
            @if let Some(who) = &group.acknowledged_by { " by " (who) }
            @if let Some(at) = group.acknowledged_at { ", " (time(at)) }
            ": " bdi { (note) }
        }
    }
}

fn buttons(visitor: &Visitor, group: &FailureGroup) -> Markup {
    let all = address("/executions/retry", &[("failure", Some(&group.key))]);
    html! {
        div.action-bar {
            a.button.primary[!group.is_acknowledged] href=(all) { "Retry all …" }
            (layout::post_form(visitor, &format!("/executions/{}/retry", group.sample), &html! {
                button type="submit" { "Retry the newest" }
            }))
            a.button.quiet href=(format!("/executions/{}/preview", group.sample)) { "Preview" }
            @if group.is_acknowledged {
                (layout::post_form(visitor, &format!("/failures/{}/unacknowledge", group.key), &html! {
                    button type="submit" { "Remove acknowledgement" }
                }))
            } @else {
                details.fold id=(format!("acknowledge-{}", group.key)) {
                    summary { "Acknowledge" }
                    (layout::post_form(visitor, &format!("/failures/{}/acknowledge", group.key), &html! {
                        (note_field(&group.key, "Note", "Amount was a text column; fixed", NOTE_CHARACTERS_MAX))
                        button type="submit" { "Acknowledge" }
                    }))
                }
            }
        }
    }
}

fn how_many(group: &FailureGroup) -> String {
    let number = count(group.count);
    if group.count >= i64::from(FAILURES_COUNTED_MAX) { format!("{number} or more") } else { number }
}

fn at_least(known: &Page<FailureGroup>) -> String {
    let number = known.rows.len();
    if known.next.is_some() { format!("more than {number}") } else { number.to_string() }
}

/// Sums, one for each currency.
fn money(sums: &[Money]) -> Markup {
    html! {
        @if sums.is_empty() { span.none { "none known" } }
        @for sum in sums { span.sum { (sum) } }
    }
}
