//! Bulk operations: retries of executions and replays of events, selected by the filters of their lists.
//!
//! A plan page first shows how many there are and how long they take, and changes nothing; its form starts
//! the operation. An operation covers a limited number and returns where to continue, so no request takes
//! long.

mod progress;
mod replay;
mod retry;

pub(super) use progress::show;
pub(super) use replay::{plan as plan_replay, replay};
pub(super) use retry::{plan as plan_retry, retry};

use super::Ui;
use super::auth::Visitor;
use super::elements::{address, count, empty, humanize_age, time_delta};
use super::error_page::ErrorPage;
use super::filters::{NotListed, Pairs, hidden, in_words};
use super::forms::optional_note_field;
use super::layout;
use crate::domain::audit::Caller;
use crate::domain::destination_summary::seconds_for;
use crate::store::{Counts, Cursor};
use axum::response::Redirect;
use maud::{Markup, html};
use serde_json::Value;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// The rows of one statement.
const BATCH_ROWS: u32 = 1000;

/// The largest number of statements in one request.
const BATCHES_MAX: usize = 10;

/// After this time a request starts no further statement.
const TIME_MAX: Duration = Duration::from_secs(8);

/// The length limit of a note, in characters.
const NOTE_CHARACTERS_MAX: usize = 500;

/// The audit data of an operation: its detail and its caller.
#[derive(Debug, Clone, Copy)]
struct AuditEntry<'a> {
    detail: &'a Value,
    caller: &'a Caller,
}

/// The result of one statement, or of its dry run.
#[derive(Debug, Default)]
struct Batch {
    counts: Counts,
    created: u64,
    line: Option<i64>,
    next: Option<Cursor>,
}

/// The result of an operation, or of its dry run.
#[derive(Debug, Default)]
struct Totals {
    counts: Counts,
    created: u64,
    /// Its first and last audit entries.
    lines: Option<(i64, i64)>,
    /// Where to continue; `None` if all rows were covered.
    next: Option<Cursor>,
}

impl Totals {
    /// Runs batches until no rows are left or a limit is reached. If a batch fails after others succeeded,
    /// the operation ends early and can be continued.
    async fn of<F>(
        cursor: Option<Cursor>,
        mut run_batch: impl FnMut(Option<Cursor>) -> F,
    ) -> Result<Self, NotListed>
    where
        F: Future<Output = Result<Batch, NotListed>>,
    {
        let began = Instant::now();
        let mut totals = Self { next: cursor, ..Self::default() };
        for _ in 0..BATCHES_MAX {
            let Batch { counts, created, line, next } = match run_batch(totals.next).await {
                Ok(batch) => batch,
                Err(NotListed::Failed(error)) if totals.lines.is_some() => {
                    warn!(?error, "bulk operation ended early");
                    return Ok(totals);
                }
                Err(error) => return Err(error),
            };
            for (destination, count) in counts {
                *totals.counts.entry(destination).or_default() += count;
            }
            totals.created += created;
            totals.lines =
                line.map(|line| (totals.lines.map_or(line, |(first, _)| first), line)).or(totals.lines);
            totals.next = next;
            if totals.next.is_none() || began.elapsed() > TIME_MAX {
                break;
            }
        }
        Ok(totals)
    }

    fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Redirects to the page that shows the progress.
    fn progress_page(self) -> Result<Redirect, ErrorPage> {
        let Some((first, last)) = self.lines else {
            return Err(ErrorPage::conflict(
                "The list has changed and nothing matches any more. Nothing was changed.",
            ));
        };
        let (last, cursor) = (last.to_string(), self.next.map(Cursor::encode));
        let pairs = [("last", Some(last.as_str())), ("cursor", cursor.as_deref())];
        Ok(Redirect::to(&address(&format!("/bulk/{first}"), &pairs)))
    }
}

/// The texts of one kind of operation.
struct Labels {
    /// The verb, as in "Retry 12 executions".
    verb: &'static str,
    /// The object: singular and plural.
    things: [&'static str; 2],
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
    totals: &Totals,
) -> Markup {
    let all = totals.count();
    let number = count(i64::try_from(all).unwrap_or(i64::MAX));
    let [one, several] = labels.things;
    let things = if all == 1 { one } else { several };
    let is_more = totals.next.is_some();
    html! {
        div {
            p.kicker { a href=(address(labels.list, pairs)) { "Back to the list" } }
            h1 {
                @if all == 0 { "Nothing to " (labels.verb.to_lowercase()) }
                @else { (labels.verb) " " @if is_more { "the newest " } (number) " " (things) "?" }
            }
            p.lead { "Nothing has been changed yet." }
        }
        @if all == 0 {
            (empty("No matching executions", "Running executions and events without a payload are skipped."))
        } @else {
            section.card aria-labelledby="plan" {
                h2.hidden id="plan" { "Plan" }
                dl.figures {
                    @for (destination, some) in totals.counts.iter().filter(|(_, some)| **some > 0) {
                        div { dt { "To " (destination) } dd { (count(i64::try_from(*some).unwrap_or(i64::MAX))) } }
                    }
                    @if totals.created > 0 {
                        div { dt { "Not delivered before" } dd { (count(i64::try_from(totals.created).unwrap_or(i64::MAX))) } }
                    }
                    @if let Some(time) = estimated_duration(ui, &totals.counts) { div { dt { "Takes about" } dd { (time) } } }
                }
                ul.plain.soft {
                    @for note in labels.notes { li { (note) } }
                    @if is_more { li { "There are more. Continue with them after these are queued." } }
                }
                @if pairs.iter().any(|(_, value)| value.is_some()) { dl.facts.asked { (in_words(pairs)) } }
                (more)
                @if visitor.may_write() {
                    div.action-bar {
                        (layout::post_form(visitor, labels.path, &html! {
                            (hidden(pairs))
                            (optional_note_field("Note for the audit (optional)", "the column exists again", NOTE_CHARACTERS_MAX))
                            button.primary type="submit" { (labels.verb) " " (number) " " (things) }
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

/// The note and the filter, for the audit.
fn detail(filter: &Value, note: Option<&str>) -> Value {
    serde_json::json!({"filter": filter, "note": note})
}
