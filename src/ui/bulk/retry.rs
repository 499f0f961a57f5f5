//! `/executions/retry`: retries many executions.

use super::{Labels, begin, plan_page};
use crate::bulk::{BulkFilter, RetryFilter};
use crate::domain::execution::{Change, Status};
use crate::ui::Ui;
use crate::ui::auth::Visitor;
use crate::ui::error_page::ErrorPage;
use crate::ui::filters::{ExecutionsQuery, ListFilter as _, NotListed};
use crate::ui::layout::{self, Tab};
use crate::ui::query::{Form, Query};
use axum::extract::State;
use axum::response::{Html, Redirect};
use maud::html;
use serde::Deserialize;

const LABELS: Labels = Labels {
    verb: "Retry",
    path: ExecutionsQuery::BULK_PATH,
    list: ExecutionsQuery::PATH,
    notes: &[
        "New events have priority.",
        "What an earlier delivery wrote is updated and never written twice.",
        "The count of attempts starts again at 0.",
    ],
};

/// The form of the plan.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct RetryForm {
    #[serde(flatten)]
    wanted: ExecutionsQuery,
    #[serde(default)]
    note: String,
}

/// Shows what would be retried; changes nothing.
pub(in crate::ui) async fn plan(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(mut wanted): Query<ExecutionsQuery>,
) -> Result<Html<String>, ErrorPage> {
    let filter = read(&ui, &mut wanted).await.map_err(NotListed::into_error_page)?;
    let counted = ui.bulk.count(&filter).await.map_err(|error| NotListed::from(error).into_error_page())?;
    let body = plan_page(&ui, &visitor, &LABELS, &wanted.pairs(), &html! {}, &counted);
    Ok(layout::static_page(&visitor, Tab::Executions, "Retry", &body))
}

/// Creates the task and shows its progress.
pub(in crate::ui) async fn retry(
    State(ui): State<Ui>,
    visitor: Visitor,
    Form(form): Form<RetryForm>,
) -> Result<Redirect, ErrorPage> {
    let RetryForm { mut wanted, note } = form;
    let filter = read(&ui, &mut wanted).await.map_err(NotListed::into_error_page)?;
    begin(&ui, &visitor, &filter, &note).await
}

/// Reads the filter; without a state in it, the failed executions are meant.
async fn read(ui: &Ui, wanted: &mut ExecutionsQuery) -> Result<BulkFilter, NotListed> {
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
    let created = wanted.read(ui).await?.created;
    Ok(BulkFilter::Retry(RetryFilter {
        status: wanted.status.clone(),
        source: wanted.source.clone(),
        event_type: wanted.event_type.clone(),
        event_id: wanted.event.clone(),
        destination: wanted.destination.clone(),
        error_class: wanted.error_class.clone(),
        failure_group_id: wanted.failure.clone(),
        created_after: created.after,
        created_before: created.before,
    }))
}
