//! `/executions/retry`: many executions tried again.

use super::{Deed, NOTE_CHARACTERS_MAX, ROWS_AT_ONCE, Step, Tally, Words, detail, plan_page};
use crate::domain::execution::{Change, ExecutionId, Status};
use crate::store::{Cursor, ExecutionFilter};
use crate::ui::Ui;
use crate::ui::elements::address;
use crate::ui::filters::{ExecutionsWanted, NotListed};
use crate::ui::forms::optional_note_of;
use crate::ui::frame::{self, Tab};
use crate::ui::guard::Visitor;
use crate::ui::list::Wanted as _;
use crate::ui::query::{self, Form, Query};
use crate::ui::refusal::Refusal;
use axum::extract::State;
use axum::response::{Html, Redirect};
use maud::{Markup, html};
use serde::Deserialize;
use tracing::info;

const WORDS: Words = Words {
    verb: "Retry",
    things: ["execution", "executions"],
    path: "/executions/retry",
    list: "/executions",
    notes: &[
        "What comes in meanwhile goes first.",
        "What was delivered before is updated and never written a second time.",
        "Attempts are counted anew.",
    ],
};

/// Which executions, and where to go on.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct PlanQuery {
    #[serde(flatten)]
    wanted: ExecutionsWanted,
    cursor: Option<String>,
}

/// What the form of the plan sends.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct RetryForm {
    #[serde(flatten)]
    wanted: ExecutionsWanted,
    cursor: Option<String>,
    #[serde(default)]
    note: String,
}

/// From a list to the plan, where what is listed can be retried.
pub(in crate::ui) fn retry_link(wanted: &ExecutionsWanted) -> Markup {
    let is_possible = wanted.status.as_deref().is_none_or(|status| status.parse().is_ok_and(can_be_retried));
    let all_failed = wanted.status.is_none() && wanted.failure.is_none();
    html! {
        @if is_possible {
            a.button href=(address(WORDS.path, &wanted.pairs())) {
                (if all_failed { "Retry the failed ones …" } else { "Retry these …" })
            }
        }
    }
}

/// What would be retried, with nothing changed.
pub(in crate::ui) async fn plan(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<PlanQuery>,
) -> Result<Html<String>, Refusal> {
    let PlanQuery { mut wanted, cursor } = query;
    let from = query::cursor(cursor.as_deref())?;
    let tally = tally(&ui, &mut wanted, from, None).await.map_err(NotListed::refusal)?;
    let more = html! {};
    let mut pairs = wanted.pairs();
    pairs.push(("cursor", cursor.as_deref()));
    let body = plan_page(&ui, &visitor, &WORDS, &pairs, &more, &tally);
    Ok(frame::still(&visitor, Tab::Executions, "Retry", &body))
}

/// Retries them, and shows how they get on.
pub(in crate::ui) async fn retry(
    State(ui): State<Ui>,
    visitor: Visitor,
    Form(form): Form<RetryForm>,
) -> Result<Redirect, Refusal> {
    let RetryForm { mut wanted, cursor, note } = form;
    let cursor = query::cursor(cursor.as_deref())?;
    let note = optional_note_of(&note, NOTE_CHARACTERS_MAX)?;
    let deed = Some((note, &visitor));
    let tally = tally(&ui, &mut wanted, cursor, deed).await.map_err(NotListed::refusal)?;
    info!(executions = tally.count(), who = visitor.who.name(), "retried many by hand");
    ui.notifier.notify();
    ui.badge.invalidate();
    tally.watched()
}

/// Goes through what is wanted, in the state that is retried where none is named.
async fn tally(
    ui: &Ui,
    wanted: &mut ExecutionsWanted,
    cursor: Option<Cursor>,
    deed: Option<(Option<&str>, &Visitor)>,
) -> Result<Tally, NotListed> {
    let status = match wanted.status.as_deref() {
        Some(word) => word.parse::<Status>().map_err(|error| NotListed::Told(format!("State: {error}.")))?,
        None => Status::Failed,
    };
    if !can_be_retried(status) {
        return Err(NotListed::Told(format!(
            "What is {status} cannot be retried: {}.",
            status.why_not_retryable()
        )));
    }
    wanted.status = Some(status.as_str().to_owned());
    let filter = wanted.read(ui).await?;
    let detail = detail(&wanted.detail(), deed.and_then(|(note, _)| note));
    let deed = deed.map(|(_, visitor)| Deed { detail: &detail, caller: &visitor.who });
    Tally::of(cursor, |cursor| step(ui, &filter, status, cursor, deed)).await
}

async fn step(
    ui: &Ui,
    filter: &ExecutionFilter,
    status: Status,
    cursor: Option<Cursor>,
    deed: Option<Deed<'_>>,
) -> Result<Step, NotListed> {
    let page = ui.store.reports.executions(filter, cursor, ROWS_AT_ONCE).await?;
    let ids: Vec<_> = page.rows.iter().map(|row| ExecutionId(row.id)).collect();
    let retried = match deed {
        None => ui.store.interventions.would_bulk_retry(&ids, status.as_str()).await?,
        Some(Deed { detail, caller }) => {
            ui.store.interventions.bulk_retry(&ids, status.as_str(), detail, caller).await?
        }
    };
    Ok(Step { counts: retried.counts, created: 0, line: retried.line, next: page.next })
}

fn can_be_retried(status: Status) -> bool {
    status.after(Change::Retry).is_some()
}
