//! `/executions/retry`: retries many executions.

use super::{AuditEntry, BATCH_ROWS, Batch, Labels, NOTE_CHARACTERS_MAX, Totals, detail, plan_page};
use crate::domain::execution::{Change, ExecutionId, Status};
use crate::store::{Cursor, ExecutionFilter};
use crate::ui::Ui;
use crate::ui::auth::Visitor;
use crate::ui::error_page::ErrorPage;
use crate::ui::filters::{ExecutionsQuery, ListFilter as _, NotListed};
use crate::ui::forms::optional_note_of;
use crate::ui::layout::{self, Tab};
use crate::ui::query::{self, Form, Query};
use axum::extract::State;
use axum::response::{Html, Redirect};
use maud::html;
use serde::Deserialize;
use tracing::info;

const LABELS: Labels = Labels {
    verb: "Retry",
    things: ["execution", "executions"],
    path: ExecutionsQuery::BULK_PATH,
    list: ExecutionsQuery::PATH,
    notes: &[
        "New events have priority.",
        "What an earlier delivery wrote is updated and never written twice.",
        "The count of attempts starts again at 0.",
    ],
};

/// The executions, and where to continue.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct PlanQuery {
    #[serde(flatten)]
    wanted: ExecutionsQuery,
    cursor: Option<String>,
}

/// The form of the plan.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct RetryForm {
    #[serde(flatten)]
    wanted: ExecutionsQuery,
    cursor: Option<String>,
    #[serde(default)]
    note: String,
}

/// Shows what would be retried; changes nothing.
pub(in crate::ui) async fn plan(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<PlanQuery>,
) -> Result<Html<String>, ErrorPage> {
    let PlanQuery { mut wanted, cursor } = query;
    let from = query::cursor(cursor.as_deref())?;
    let totals = totals(&ui, &mut wanted, from, None).await.map_err(NotListed::into_error_page)?;
    let more = html! {};
    let mut pairs = wanted.pairs();
    pairs.push(("cursor", cursor.as_deref()));
    let body = plan_page(&ui, &visitor, &LABELS, &pairs, &more, &totals);
    Ok(layout::static_page(&visitor, Tab::Executions, "Retry", &body))
}

/// Retries them and shows the progress.
pub(in crate::ui) async fn retry(
    State(ui): State<Ui>,
    visitor: Visitor,
    Form(form): Form<RetryForm>,
) -> Result<Redirect, ErrorPage> {
    let RetryForm { mut wanted, cursor, note } = form;
    let cursor = query::cursor(cursor.as_deref())?;
    let note = optional_note_of(&note, NOTE_CHARACTERS_MAX)?;
    let entry = Some((note, &visitor));
    let totals = totals(&ui, &mut wanted, cursor, entry).await.map_err(NotListed::into_error_page)?;
    info!(executions = totals.count(), who = visitor.who.name(), "bulk retry queued");
    ui.notifier.notify();
    ui.badge.invalidate();
    totals.progress_page()
}

/// Covers the selected executions; without a state in the filter, the failed ones.
async fn totals(
    ui: &Ui,
    wanted: &mut ExecutionsQuery,
    cursor: Option<Cursor>,
    entry: Option<(Option<&str>, &Visitor)>,
) -> Result<Totals, NotListed> {
    let status = match wanted.status.as_deref() {
        Some(word) => {
            word.parse::<Status>().map_err(|error| NotListed::Invalid(format!("State: {error}.")))?
        }
        None => Status::Failed,
    };
    if status.after(Change::Retry).is_none() {
        return Err(NotListed::Invalid(format!(
            "Executions in the state {status} cannot be retried: {}.",
            status.why_not_retryable()
        )));
    }
    wanted.status = Some(status.as_str().to_owned());
    let filter = wanted.read(ui).await?;
    let detail = detail(&wanted.detail(), entry.and_then(|(note, _)| note));
    let entry = entry.map(|(_, visitor)| AuditEntry { detail: &detail, caller: &visitor.who });
    Totals::of(cursor, |cursor| run_batch(ui, &filter, status, cursor, entry)).await
}

async fn run_batch(
    ui: &Ui,
    filter: &ExecutionFilter,
    status: Status,
    cursor: Option<Cursor>,
    entry: Option<AuditEntry<'_>>,
) -> Result<Batch, NotListed> {
    let page = ui.store.reports.executions(filter, cursor, BATCH_ROWS).await?;
    let ids: Vec<_> = page.rows.iter().map(|row| ExecutionId(row.id)).collect();
    let retried = match entry {
        None => ui.store.interventions.would_bulk_retry(&ids, status.as_str()).await?,
        Some(AuditEntry { detail, caller }) => {
            ui.store.interventions.bulk_retry(&ids, status.as_str(), detail, caller).await?
        }
    };
    Ok(Batch { counts: retried.counts, created: 0, line: retried.line, next: page.next })
}
