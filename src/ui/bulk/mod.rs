//! Bulk operations: retries of executions and replays of events, selected by the filters of their lists.
//!
//! A plan page first shows how many there are and how long they take, and changes nothing; its form creates a
//! task, and leads to the task's page.

mod replay;
mod retry;
mod tasks;

pub(super) use replay::{plan as plan_replay, replay};
pub(super) use retry::{plan as plan_retry, retry};
pub(super) use tasks::{cancel, list, show};

use super::Ui;
use super::auth::Visitor;
use super::elements::{address, count, empty, humanize_age, time_delta};
use super::error_page::ErrorPage;
use super::filters::{NotListed, Pairs, hidden, in_words};
use super::forms::{optional_note_field, optional_note_of};
use super::layout;
use crate::bulk::{BulkError, BulkFilter, Counted, NOTE_CHARACTERS_MAX};
use crate::domain::destination_summary::seconds_for;
use crate::store::Counts;
use axum::response::Redirect;
use maud::{Markup, html};
use tracing::info;

impl From<BulkError> for NotListed {
    fn from(error: BulkError) -> Self {
        match error {
            BulkError::Invalid(error) => Self::Invalid(super::elements::capital(&format!("{error}."))),
            missing @ BulkError::NotFound { .. } => {
                Self::Invalid(super::elements::capital(&format!("{missing}.")))
            }
            BulkError::List(error) => error.into(),
            many @ BulkError::TooMany => Self::Failed(ErrorPage::conflict(super::elements::capital(
                &format!("{many}. Nothing was changed."),
            ))),
        }
    }
}

/// Creates a task and leads to its page.
async fn begin(ui: &Ui, visitor: &Visitor, filter: &BulkFilter, note: &str) -> Result<Redirect, ErrorPage> {
    let note = optional_note_of(note, NOTE_CHARACTERS_MAX)?;
    let task = ui
        .bulk
        .create(filter, note, &visitor.who, None)
        .await
        .map_err(|error| NotListed::from(error).into_error_page())?;
    info!(task = %task.id, kind = task.kind.as_str(), who = visitor.who.name(), "bulk task created");
    ui.badge.invalidate();
    Ok(Redirect::to(&format!("/tasks/{}", task.id)))
}

/// The texts of one kind of operation.
struct Labels {
    /// The verb, as in "Retry 12 executions".
    verb: &'static str,
    /// The path of the page and its form.
    path: &'static str,
    /// The list that it started from.
    list: &'static str,
    /// Notes for the user.
    notes: &'static [&'static str],
}

/// The plan page with its form.
fn plan_page(
    ui: &Ui,
    visitor: &Visitor,
    labels: &Labels,
    pairs: &Pairs<'_>,
    more: &Markup,
    counted: &Counted,
) -> Markup {
    let queued = counted.queued();
    let (all, created) = (queued.values().sum(), counted.created.values().sum());
    let things = executions(all);
    let at_least = if counted.is_more { "at least " } else { "" };
    html! {
        div {
            p.kicker { a href=(address(labels.list, pairs)) { "Back to the list" } }
            h1 {
                @if all == 0 { "Nothing to " (labels.verb.to_lowercase()) }
                @else { (labels.verb) " " (at_least) (things) "?" }
            }
            p.lead { "Nothing has been changed yet." }
        }
        @if all == 0 {
            (empty("No matching executions", "Running executions and events without a payload are skipped."))
        } @else {
            section.card aria-labelledby="plan" {
                h2.hidden id="plan" { "Plan" }
                dl.figures {
                    @for (destination, some) in queued.iter().filter(|(_, some)| **some > 0) {
                        div { dt { "To " (destination) } dd { (number(*some)) } }
                    }
                    @if created > 0 { div { dt { "Not delivered before" } dd { (number(created)) } } }
                    @if let Some(time) = estimated_duration(ui, &queued) { div { dt { "Takes about" } dd { (time) } } }
                }
                ul.plain.soft {
                    @for note in labels.notes { li { (note) } }
                    @if counted.is_more { li { "The count stopped after some seconds; there are more." } }
                }
                @if pairs.iter().any(|(_, value)| value.is_some()) { dl.facts.asked { (in_words(pairs)) } }
                (more)
                @if visitor.may_write() {
                    div.action-bar {
                        (layout::post_form(visitor, labels.path, &html! {
                            (hidden(pairs))
                            (optional_note_field("Note for the audit (optional)", "the column exists again", NOTE_CHARACTERS_MAX))
                            button.primary type="submit" { (labels.verb) " " (at_least) (things) }
                            a.button.quiet href=(address(labels.list, pairs)) { "Cancel" }
                        }))
                    }
                }
            }
        }
    }
}

/// The estimated duration at the rate of their connections; `None` without a rate.
fn estimated_duration(ui: &Ui, counts: &Counts) -> Option<String> {
    let time = seconds_for(&ui.destinations, counts).and_then(time_delta)?;
    Some(if time.is_zero() { "less than 1 s".to_owned() } else { humanize_age(time) })
}

fn number(some: u64) -> String {
    count(i64::try_from(some).unwrap_or(i64::MAX))
}

fn executions(some: u64) -> String {
    format!("{} {}", number(some), if some == 1 { "execution" } else { "executions" })
}
