//! `/bulk/{first}`: the progress of a bulk operation, live.

use super::estimated_duration;
use crate::domain::audit::Action;
use crate::domain::execution::Status;
use crate::store::{BULK_OPERATION_COUNTED_MAX, BulkOperation, Counts};
use crate::ui::Ui;
use crate::ui::auth::Visitor;
use crate::ui::elements::{address, count, status, time};
use crate::ui::error_page::ErrorPage;
use crate::ui::filters::{EventsQuery, ExecutionsQuery, ListFilter as _, Pairs, in_words};
use crate::ui::layout::{self, Tab};
use crate::ui::query::{Path, Query};
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

/// The end of the operation, and where to continue.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct ProgressQuery {
    /// Its last audit entry, if there are several.
    last: Option<i64>,
    cursor: Option<String>,
}

/// Shows the states of the operation's executions.
pub(in crate::ui) async fn show(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(first): Path<i64>,
    Query(query): Query<ProgressQuery>,
) -> Result<Html<String>, ErrorPage> {
    let missing = || ErrorPage::not_found("There is no bulk operation with this id.");
    let operation =
        ui.store.reports.bulk_operation(first, query.last.unwrap_or(first)).await?.ok_or_else(missing)?;
    let is_replay = operation.first.action == Action::EventsReplayed.as_str();
    let note = operation.first.detail.get("note").and_then(Value::as_str);
    let filter = Filter::of(&operation, is_replay);
    let title = if is_replay { "Replay" } else { "Retry" };
    let headline = match operation.states.iter().map(|state| state.count).sum() {
        0 | 1 => title.to_owned(),
        all => format!("{title} of {} executions", number(all)),
    };
    let body = html! {
        div {
            p.kicker { a href="/audit" { "Audit" } }
            h1 { (headline) }
            p.lead { (operation.first.who) ", " (time(operation.first.at)) @if let Some(note) = note { ": " bdi { (note) } } }
        }
        section.card aria-label="Progress" data-part="progress" aria-live="polite" { (progress(&ui, &operation)) }
        @if let (Some(cursor), true) = (&query.cursor, visitor.may_write()) {
            section.strip aria-label="Continue" {
                span.strip-text { "These are the newest ones; there are more." }
                a.button.primary href=(filter.address(cursor)) { "Continue with the rest …" }
            }
        }
        (filter.summary())
    };
    Ok(layout::page(&visitor, Tab::Audit, title, &body))
}

/// The number of executions in each state, and the remaining time.
fn progress(ui: &Ui, operation: &BulkOperation) -> Markup {
    let of = |is_wanted: &dyn Fn(&str) -> bool| -> u64 {
        operation.states.iter().filter(|state| is_wanted(&state.status)).map(|state| state.count).sum()
    };
    let all = of(&|_| true);
    let is_open = |word: &str| word.parse::<Status>().is_ok_and(|status| !status.is_terminal());
    let (open, good, failed) = (of(&is_open), of(&|word| word == "success"), of(&|word| word == "failed"));
    let headline = match (open, failed) {
        (0, 0) => "All of them are finished.".to_owned(),
        (0, failed) => format!("All of them are finished; {} failed again.", number(failed)),
        (open, _) => format!("{} of {} remain.", number(open), number(all)),
    };
    let waiting: Counts = operation.states.iter().filter(|state| is_open(&state.status)).fold(
        Counts::new(),
        |mut waiting, state| {
            *waiting.entry(state.destination.clone()).or_default() += state.count;
            waiting
        },
    );
    html! {
        h2 { (headline) }
        (bar(all, good, failed, open))
        dl.figures.states {
            @for word in Status::ALL.map(Status::as_str) {
                @let some = of(&|of| of == word);
                @if some > 0 { div { dt { (status(word)) } dd { (number(some)) } } }
            }
            @if let (true, Some(time)) = (open > 0, estimated_duration(ui, &waiting)) { div { dt { "Takes about" } dd { (time) } } }
        }
        @if operation.is_more { p.soft { "Only the first " (number(u64::from(BULK_OPERATION_COUNTED_MAX))) " are counted." } }
        @if all == 0 { p.soft { "All of them were retried again since then, or were removed." } }
        @if failed > 0 { p { a href="/failures" { "Failures and their causes" } } }
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

fn number(some: u64) -> String {
    count(i64::try_from(some).unwrap_or(i64::MAX))
}

/// The filter of an operation, from the audit.
struct Filter {
    path: &'static str,
    pairs: Vec<(&'static str, String)>,
}

impl Filter {
    fn of(operation: &BulkOperation, is_replay: bool) -> Self {
        let filter = operation.first.detail.get("filter").and_then(Value::as_object);
        let text = |name: &str| {
            filter.and_then(|filter| filter.get(name)).map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        let names = |pairs: Pairs<'_>| pairs.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let mut known = if is_replay {
            names(EventsQuery::default().pairs())
        } else {
            names(ExecutionsQuery::default().pairs())
        };
        if is_replay {
            known.extend(["object_id", "destination"]);
        }
        let pairs = known.into_iter().filter_map(|name| Some((name, text(name)?))).collect();
        Self { path: if is_replay { EventsQuery::BULK_PATH } else { ExecutionsQuery::BULK_PATH }, pairs }
    }

    fn pairs(&self) -> Pairs<'_> {
        self.pairs.iter().map(|(name, value)| (*name, Some(value.as_str()))).collect()
    }

    /// The plan page for the rest.
    fn address(&self, cursor: &str) -> String {
        let mut pairs = self.pairs();
        pairs.push(("cursor", Some(cursor)));
        address(self.path, &pairs)
    }

    fn summary(&self) -> Markup {
        html! {
            @if !self.pairs.is_empty() {
                section.card aria-labelledby="asked" {
                    h2 id="asked" { "Filter" }
                    dl.facts { (in_words(&self.pairs())) }
                }
            }
        }
    }
}
